"""Forks: where they begin, what they know, and that they leave the other conversation alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer import CannotFork, SessionManager, SessionNode
from summarizer.ancestry import inheritance_of
from summarizer.context.policies import KeepLast
from summarizer.errors import (
    InvalidSetting,
    OrphanToolResult,
    SessionErased,
    SessionExists,
    SessionNotFound,
)
from summarizer.events import Event, EventKind, batch_effects
from summarizer.meter import Usage
from summarizer.stores import Erased, EventStore, MemoryStore
from summarizer.stores.protocol import Owner
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.talk import (
    asking,
    calls_tool,
    is_valid,
    said,
    scripted,
    soft_only,
    talk,
    told,
    tool_result,
)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


def manager(store: EventStore, root: str = "c", **settings: Any) -> SessionManager:
    """One whose segments are opened before its calls return."""
    given: dict[str, Any] = {"policy": soft_only(), "summarizer": "extractive", "segmentation": "inline"}
    return SessionManager(root, store=store, **{**given, "system_prompt": "Be brief.", **settings})


async def long_one(store: EventStore, turns: int = 40, **settings: Any) -> SessionManager:
    """A conversation of several segments."""
    made = manager(store, **settings)
    await talk(made, turns)
    assert len(await made.get_session_chain()) > 2
    return made


def contents(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["content"] for row in rows]


def seq_of(rows: Sequence[dict[str, Any]], content: str) -> int:
    return next(row["seq"] for row in rows if row["content"] == content)


async def state_of(store: EventStore, root: str = "c", owner: Owner = None) -> Any:
    """Everything that a store says of a conversation, but for its forks."""
    return (
        await store.load(owner, root),
        await store.read(owner, root),
        await store.segments(owner, root, summaries=True),
    )


# The three uses


async def test_a_user_message_is_said_otherwise(fresh: Fresh) -> None:
    """`before=` a user message: the fork ends behind the turn before, and goes on with another message."""
    sm = await long_one(fresh.store)
    rows = await sm.get_conversation()
    before = await state_of(fresh.store)
    fork = await sm.fork(before=seq_of(rows, said(38)))
    await fork.turn("No, cancel all of it.", "Cancelled.")
    cold = SessionManager(fork.session_id, store=await fresh.second(), create=False)

    assert contents(await cold.get_conversation()) == [
        *contents(rows)[:76],
        "No, cancel all of it.",
        "Cancelled.",
    ]
    assert (await cold.context()).messages[-2]["content"] == "No, cancel all of it."
    assert await state_of(await fresh.second()) == before


async def test_an_answer_is_made_anew(fresh: Fresh) -> None:
    """`at=` a user message: the fork waits for its answer, with what the model read then, to the byte."""
    sm = manager(fresh.store)
    await talk(sm, 5)
    await sm.user_says("And now?")
    asked = (await sm.context()).messages
    await sm.ai_responds("A bad answer.")
    await talk(sm, 3, 6)
    rows = await sm.get_conversation()
    fork = await sm.fork(at=seq_of(rows, "And now?"))

    assert (await fork.context()).messages == asked
    await fork.ai_responds("A good answer.")
    assert contents(await fork.get_conversation())[-2:] == ["And now?", "A good answer."]


async def test_a_sub_agent_goes_on_from_the_end(fresh: Fresh) -> None:
    """Without a place all is kept: the prompt is the same to the byte, and the two part from there."""
    sm = await long_one(fresh.store)
    fork = await sm.fork(session_id="helper", metadata={"task": "prices"})
    same = (await sm.context()).messages
    await sm.user_says("Not for the helper.")
    await fork.user_says("Look up the prices.")
    shown = (await fork.context()).messages

    assert shown == [*same, {"role": "user", "content": "Look up the prices."}]
    assert fork.conversation_id == "helper"
    assert "Not for the helper." not in contents(await fork.get_conversation())


async def test_a_sub_agent_may_have_the_seed_alone(fresh: Fresh) -> None:
    """`before=` the open session's first event: its notes go along, its messages do not."""
    sm = await long_one(fresh.store)
    start = (await sm.segments())[-1].start_seq
    fork = await sm.fork(before=start, system_prompt="You look up prices.")
    system, seed = (await fork.context()).messages

    assert system == {"role": "system", "content": "You look up prices."}
    assert seed == (await sm.context()).messages[1]
    assert (await fork.get_stats()).context_tokens == (await sm.get_stats()).seed_tokens
    await fork.user_says("What does a room cost?")
    assert contents(await fork.get_conversation())[-1] == "What does a room cost?"


# Where


@pytest.mark.parametrize(("turns", "kept"), [(0, 0), (1, 1), (17, 17), (40, 40), (-1, 39), (-40, 0)])
async def test_whole_turns_are_kept(turns: int, kept: int) -> None:
    """`turns=` counts from the beginning, below 0 from the end; across segments."""
    sm = await long_one(MemoryStore())
    fork = await sm.fork(turns=turns)

    assert contents(await fork.get_conversation()) == [
        text for i in range(kept) for text in (said(i), told(i))
    ]
    assert (await fork.get_stats()).user_messages == kept


async def test_turns_of_a_fork_count_from_its_first_ancestor() -> None:
    """A turn has the same number in a fork, and the place may lie before it was forked."""
    sm = await long_one(MemoryStore())
    fork = await sm.fork(turns=30)
    await talk(fork, 2, 100)
    later, earlier = await fork.fork(turns=31), await fork.fork(turns=5)

    assert contents(await later.get_conversation())[-3:] == [told(29), said(100), told(100)]
    assert contents(await earlier.get_conversation())[-1] == told(4)
    assert [node.parent for node in await later.tree()] == [fork.session_id]
    assert [node.parent for node in await earlier.tree()] == ["c"]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"at": 0}, CannotFork),
        ({"at": -1}, CannotFork),
        ({"at": 10_000}, CannotFork),
        ({"before": 0}, CannotFork),
        ({"before": 10_000}, CannotFork),
        ({"turns": 41}, CannotFork),
        ({"turns": -41}, CannotFork),
        ({"at": 3, "before": 4}, InvalidSetting),
        ({"at": True}, InvalidSetting),
        ({"at": "3"}, InvalidSetting),
        ({"turns": 1.5}, InvalidSetting),
    ],
)
async def test_a_place_that_is_none_is_refused(place: dict[str, Any], error: type[Exception]) -> None:
    """Beyond the log, before it, two at once, or no place at all: nothing is made."""
    sm = await long_one(MemoryStore())
    with pytest.raises(error):
        await sm.fork(**place)

    assert await sm.store.forks(None, "c") == ()


async def test_an_event_is_a_place() -> None:
    """An event that was read is taken as its seq; one of another conversation is refused."""
    sm = await long_one(MemoryStore())
    other = manager(sm.store, "other")
    await talk(other, 2)
    event = (await sm.read(include_all_segments=True))[6]

    assert (await (await sm.fork(at=event)).get_conversation())[-1]["seq"] == event.seq
    with pytest.raises(CannotFork, match="no event of this conversation"):
        await sm.fork(at=(await other.read())[1])


async def test_nothing_was_said_yet() -> None:
    """An id that nobody wrote to cannot be forked; an empty conversation can."""
    store = MemoryStore()
    with pytest.raises(SessionNotFound):
        await SessionManager("nobody", store=store).fork()
    empty = manager(store)
    await empty.update_system_prompt(None)
    fork = await empty.fork()
    await fork.user_says("Hello")

    assert contents(await fork.get_conversation()) == ["Hello"]


async def test_only_the_owner_forks() -> None:
    """Another owner's conversation is a missing one."""
    store = MemoryStore()
    await talk(manager(store, owner="ann"), 2)
    with pytest.raises(SessionNotFound):
        await manager(store, owner="bob").fork()


async def test_what_was_removed_cannot_be_forked(fresh: Fresh) -> None:
    """A place before what retention kept is refused; an erased conversation has no place."""
    sm = await long_one(fresh.store)
    chain = await sm.segments()
    await fresh.store.retain(None, "c", before_index=2)
    with pytest.raises(CannotFork, match="removed") as refused:
        await sm.fork(at=chain[2].start_seq - 1)

    assert refused.value.nearest == (chain[2].start_seq,)
    assert (await sm.fork(at=chain[2].start_seq)).session_id
    await fresh.store.erase(None, "c")
    with pytest.raises((SessionNotFound, SessionErased)):
        await sm.fork()


async def test_an_id_that_is_taken_is_refused() -> None:
    """A fork never writes into another conversation."""
    sm = await long_one(MemoryStore())
    await sm.fork(session_id="f")
    with pytest.raises(SessionExists):
        await sm.fork(session_id="f")


# Units


async def batched(store: EventStore) -> SessionManager:
    """A call of two tools, their results, an answer."""
    sm = manager(store, policy=None)
    await sm.user_says("Compare the two.")
    first, second = calls_tool("a"), calls_tool("b")
    await sm.record({**first, "tool_calls": first["tool_calls"] + second["tool_calls"]})
    await sm.record(tool_result("a", "one"))
    await sm.record(tool_result("b", "two"))
    await sm.ai_responds("The second.")
    return sm


async def test_a_batch_of_results_is_not_parted() -> None:
    """Between two results of one message's calls there is no place; the error names those nearby."""
    sm = await batched(MemoryStore())
    places: list[dict[str, Any]] = [{"at": 3}, {"before": 4}]
    for place in places:
        with pytest.raises(CannotFork, match="fork at=2 or at=4") as refused:
            await sm.fork(**place)
        assert refused.value.nearest == (2, 4)

    assert contents(await (await sm.fork(at=4)).get_conversation())[-2:] == ["one", "two"]


async def test_open_calls_are_answered_in_the_fork(fresh: Fresh) -> None:
    """Behind the calls and before their results: legal, and the fork takes results of its own."""
    sm = await batched(fresh.store)
    fork = await sm.fork(at=2)
    await fork.record(tool_result("a", "uno"))
    await fork.record(tool_result("b", "due"))
    messages = (await fork.context()).messages

    assert is_valid(messages)
    assert [m["content"] for m in messages[-2:]] == ["uno", "due"]
    with pytest.raises(OrphanToolResult):
        await fork.record(tool_result("a", "again"))


async def test_reasoning_is_not_parted_from_its_message() -> None:
    """A message that is reasoning and nothing else is no end of a fork."""
    sm = manager(MemoryStore(), policy=None)
    await sm.user_says("Think.")
    await sm.record({"role": "assistant", "content": None, "reasoning_content": "Hm."})
    await sm.record({"role": "assistant", "content": "Done."})
    with pytest.raises(CannotFork, match="reasoning") as refused:
        await sm.fork(at=2)

    assert refused.value.nearest == (1, 3)


async def test_records_go_with_their_message() -> None:
    """Usage that was reported behind an answer is kept with it; a place between the two is none."""
    sm = await long_one(MemoryStore())
    events = await sm.read(include_all_segments=True)
    opened = next(e.seq for e in events if e.kind is EventKind.SEGMENTED)
    fork = await sm.fork(at=opened - 1)
    kept = await fork.read()

    assert kept[-1].seq == opened
    with pytest.raises(CannotFork, match="records"):
        await sm.fork(before=opened)


# Totals


async def priced(store: EventStore, turns: int = 12) -> SessionManager:
    sm = manager(store, model="gpt-4o-mini")
    for i in range(turns):
        await sm.turn(said(i), told(i), usage=Usage(100 + i, 10))
    return sm


async def test_totals_go_on_from_the_fork(fresh: Fresh) -> None:
    """At any place they are what the conversation's were when that was its end."""
    sm = manager(fresh.store, model="gpt-4o-mini")
    seen: list[tuple[int, Any]] = []
    for i in range(14):
        await sm.turn(said(i), told(i), usage=Usage(100 + i, 10))
        seen.append(((await sm.get_stats()).total_events, await sm.get_stats()))
    for last, then in seen:
        now = await (await sm.fork(at=last)).get_stats()
        for name in ("total_tokens", "total_messages", "input_tokens", "estimated_cost", "cost_usd"):
            assert (last, name, now[name]) == (last, name, then[name])


async def test_a_sum_over_conversations_counts_each_event_once(fresh: Fresh) -> None:
    """`inherited=False` leaves out what a fork began with, forks of forks included."""
    sm = await priced(fresh.store)
    fork = await sm.fork(turns=-2)
    await fork.turn(said(90), told(90), usage=Usage(50, 5))
    deep = await fork.fork()
    await deep.turn(said(91), told(91), usage=Usage(50, 5))
    own = [await one.get_stats(inherited=False) for one in (sm, fork, deep)]
    whole = await deep.get_stats()

    assert [one.total_messages for one in own] == [24, 2, 2]
    assert [one.inherited_tokens for one in own] == [0, 0, 0]
    assert whole.total_messages == 20 + 2 + 2
    assert whole.total_tokens - whole.inherited_tokens == own[2].total_tokens
    assert whole.estimated_cost - whole.inherited_cost == own[2].estimated_cost
    assert sum(one.input_tokens for one in own) == sum(100 + i for i in range(12)) + 100


async def test_totals_survive_retention_of_the_ancestor() -> None:
    """They come from the end of the log, so what was removed at its beginning does not matter."""
    sm = await long_one(MemoryStore())
    place = (await sm.segments())[-1].start_seq
    whole = await (await sm.fork(at=place)).get_stats()
    await sm.store.retain(None, "c", before_index=2)
    again = await (await sm.fork(at=place)).get_stats()

    assert {**again, "session_id": "", "conversation_id": ""} == {
        **whole,
        "session_id": "",
        "conversation_id": "",
    }


async def test_a_fork_is_segmented_as_its_ancestor_would_be(fresh: Fresh) -> None:
    """Turns and tokens since the session was opened count on; the fork opens a child when they are due."""
    sm = manager(fresh.store, policy=soft_only(10**9, max_turns=6))
    await talk(sm, 15)
    at_end = await sm.fork()
    before, after = [(await fresh.store.load(None, one.session_id)).head for one in (sm, at_end)]
    await talk(sm, 3, 15)
    await talk(at_end, 3, 15)

    assert (after.opened_turns, after.seed_tokens, after.segment_tokens) == (
        before.opened_turns,
        before.seed_tokens,
        before.segment_tokens,
    )
    assert len(await at_end.get_session_chain()) == 2
    assert len(await sm.get_session_chain()) == before.index + 2
    assert (await at_end.context()).messages == (await sm.context()).messages


@given(st.lists(st.sampled_from(["turn", "call", "say", "segment", "fork"]), max_size=25), st.data())
@settings(max_examples=25, deadline=None)
def test_any_place_gives_a_lawful_fork(steps: list[str], data: st.DataObject) -> None:
    """Random talk, random place: the context is valid, totals are those of the path, the source untouched."""

    async def check() -> None:
        store = MemoryStore()
        sm = manager(store, policy=soft_only(120))
        await sm.user_says("Begin.")
        for i, step in enumerate(steps):
            sm = await acted(sm, step, i)
        path = await sm.read(include_all_segments=True)
        place = data.draw(st.sampled_from([event.seq for event in path]))
        before = await state_of(store, sm.conversation_id)
        places = (place,)
        try:
            await sm.fork(at=place)
        except CannotFork as refused:
            places = refused.nearest
        for one in places:
            await lawful(await sm.fork(at=one), path)

        assert len(places) > 0
        assert await state_of(store, sm.conversation_id) == before

    asyncio.run(check())


@given(st.lists(st.sampled_from(["turn", "call", "say", "segment", "fork"]), max_size=25), st.data())
@settings(max_examples=15, deadline=None)
def test_a_fork_begins_with_the_context_of_that_moment(steps: list[str], data: st.DataObject) -> None:
    """Wherever it is forked, prompt and totals are what they were when that was the end, to the byte."""

    async def check() -> None:
        store = MemoryStore()
        sm = manager(store, policy=soft_only(150), context_policies=[KeepLast(turns=4)])
        await sm.user_says("Begin.")
        then = {}
        for i, step in enumerate(steps):
            sm = await acted(sm, step, i)
            then[(await sm.get_stats()).total_events] = await moment(sm)
        path = await sm.read(include_all_segments=True)
        taken_over = [range(e.data["cut"] + 1, e.seq) for e in path if e.kind is EventKind.SEGMENTED]
        ends = [seq for seq in then if not any(seq in tail for tail in taken_over)]
        if ends:
            end = data.draw(st.sampled_from(ends))

            assert await moment(await sm.fork(at=end)) == then[end]

    asyncio.run(check())


async def moment(sm: SessionManager) -> Any:
    """What a model is sent, by policies and without, and what was spent."""
    stats = await sm.get_stats()
    return (
        (await sm.context()).messages,
        (await sm.context(policies=[])).messages,
        (stats.total_tokens, stats.context_tokens, stats.total_messages, stats.tool_calls),
    )


async def acted(sm: SessionManager, step: str, number: int) -> SessionManager:
    """One step of a random conversation; a fork is gone on with."""
    if step == "turn":
        await sm.turn(said(number), told(number))
    elif step == "say":
        await sm.user_says(said(number))
    elif step == "segment":
        await sm.segment()
    elif step == "call":
        first, second = calls_tool(f"a{number}"), calls_tool(f"b{number}")
        await sm.record({**first, "tool_calls": first["tool_calls"] + second["tool_calls"]})
        await sm.record(tool_result(f"b{number}", "two"))
        await sm.record(tool_result(f"a{number}", "one"))
    else:
        return await sm.fork()
    return sm


async def lawful(fork: SessionManager, path: Sequence[Event]) -> None:
    """What holds of every fork."""
    own, stats = await fork.read(include_all_segments=True), await fork.get_stats()
    events, before = (
        [event for event in one if event.kind is not EventKind.GUARD_SNAPSHOT] for one in (own, path)
    )
    counters = batch_effects(events).counters

    assert events == before[: len(events)]
    assert stats.total_tokens == sum(event.tokens for event in events)
    assert (stats.total_messages, stats.tool_calls) == (counters.messages, counters.tool_calls)
    assert is_valid((await fork.context()).messages)
    await fork.turn("One more.", "Good.")
    assert is_valid((await fork.context()).messages)
    assert (await fork.get_stats(inherited=False)).total_messages == 2


# The ancestor


async def test_a_fork_stands_on_its_own(fresh: Fresh) -> None:
    """Its ancestor erased and the fork kept: context, totals and what was copied are as before."""
    sm = await long_one(fresh.store)
    fork = await sm.fork(turns=30)
    shown, stats = (await fork.context()).messages, await fork.get_stats()
    rows = await fork.get_conversation()
    assert await fresh.store.erase(None, "c", keep_forks=True) != Erased()
    cold = SessionManager(fork.session_id, store=await fresh.second(), create=False)
    left = await cold.get_conversation()

    assert ((await cold.context()).messages, await cold.get_stats()) == (shown, stats)
    assert 0 < len(left) < len(rows)
    assert left == rows[-len(left) :]
    assert [node.parent for node in await cold.tree()] == [(await fork.tree())[0].parent]
    with pytest.raises(CannotFork, match="removed"):
        await cold.fork(turns=1)


async def test_another_log_under_the_ancestors_id_is_not_its_ancestor() -> None:
    """An id that expired and was taken anew: nothing of the newcomer is shown, recalled or forked."""
    clock = [1000.0]
    store = MemoryStore(clock=lambda: clock[0])
    sm = await long_one(store)
    fork = await sm.fork(turns=30)
    clock[0] += 100
    await fork.user_says("Still here.")
    await store.expire(None, idle_s=50)
    stranger = manager(store, policy=None)
    for i in range(40):
        await stranger.turn(f"The stranger's secret number {i}.", "I see.")
    texts = " ".join(contents(await fork.get_conversation()))

    assert "stranger" not in texts
    assert "Still here." in texts
    assert all("stranger" not in hit.text for hit in await fork.recall("stranger's secret number"))


async def test_forks_of_forks_show_the_whole_path(fresh: Fresh) -> None:
    """Each part once, in order, from whichever conversation holds it, be one in between gone."""
    sm = await long_one(fresh.store)
    one = await sm.fork(turns=35)
    await talk(one, 20, 100)
    two = await one.fork(turns=50)
    await talk(two, 2, 200)
    expected = [text for i in (*range(35), *range(100, 115), 200, 201) for text in (said(i), told(i))]
    whole = await two.read(include_all_segments=True)

    assert contents(await two.get_conversation()) == expected
    assert [e.seq for e in whole] == list(range(1, len(whole) + 1))
    await fresh.store.erase(None, one.conversation_id, keep_forks=True)
    cold = SessionManager(two.session_id, store=await fresh.second(), create=False)
    left = contents(await cold.get_conversation())
    assert left[:70] == expected[:70]
    assert left[70:] == expected[-len(left[70:]) :]


async def test_a_fork_of_a_fork_at_an_older_place() -> None:
    """A place among what a fork copied gives the same as the ancestor's own place there."""
    sm = await long_one(MemoryStore())
    fork = await sm.fork()
    copied = (await fork.segments())[0].start_seq
    rows = [row for row in await fork.get_conversation() if row["seq"] >= copied and row["role"] == "user"]
    mine, theirs = await fork.fork(at=rows[1]["seq"]), await sm.fork(at=rows[1]["seq"])

    assert (await mine.context()).messages == (await theirs.context()).messages
    ignored = {"session_id": "", "conversation_id": ""}
    assert {**(await mine.get_stats()), **ignored} == {**(await theirs.get_stats()), **ignored}
    assert await mine.get_conversation() == await theirs.get_conversation()


async def test_settings_are_those_of_now() -> None:
    """A system prompt that changed since goes along, and is not put back by the first write."""
    sm = await long_one(MemoryStore())
    await sm.update_system_prompt("Be kind.")
    fork = await sm.fork(turns=3)
    await fork.user_says("Hello")

    assert (await fork.context()).messages[0]["content"] == "Be kind."
    assert (await sm.context()).messages[0]["content"] == "Be kind."


async def test_many_forks_at_once() -> None:
    """Each is whole, and the ancestor names them all."""
    sm = await long_one(MemoryStore())
    forks = await asyncio.gather(*(sm.fork(turns=i) for i in range(20, 30)), sm.user_says("Meanwhile."))
    managers = [one for one in forks if isinstance(one, SessionManager)]

    assert [len(await one.get_conversation()) for one in managers] == [2 * i for i in range(20, 30)]
    assert len(await sm.store.forks(None, "c")) == 10


async def test_a_repeat_of_what_was_copied_is_no_second_record() -> None:
    """An idempotency key that was used before the fork holds in the fork."""
    sm = manager(MemoryStore(), policy=None)
    await sm.turn("Pay it.", "Paid.", idempotency_key="k1")
    fork = await sm.fork()
    await fork.turn("Pay it.", "Paid.", idempotency_key="k1")
    await fork.turn("Pay it.", "Paid.", idempotency_key="k2")

    assert len(await fork.get_conversation()) == 4


# The tree


async def test_the_tree_names_parents_and_children(fresh: Fresh) -> None:
    """Chains and forks, each session before its children."""
    sm = await long_one(fresh.store, 25)
    chain = await sm.segments()
    first = await sm.fork(at=chain[0].end_seq, session_id="first")
    late = await sm.fork(session_id="late")
    deep = await first.fork(session_id="deep")
    nodes = {node.session_id: node for node in await manager(await fresh.second()).tree()}

    assert list(nodes) == [*(s.session_id for s in chain), "first", "deep", "late"]
    assert nodes["c"] == SessionNode("c", None, ("c~1", "first"), 1, chain[0].end_seq)
    assert (nodes["c~1"].parent, nodes[chain[-1].session_id].children) == ("c", ("late",))
    assert nodes["first"] == SessionNode("first", "c", ("deep",), 1, None, chain[0].end_seq)
    assert (nodes["deep"].parent, nodes["deep"].children) == ("first", ())
    assert [node.session_id for node in await late.tree()] == ["late"]
    assert (await deep.tree())[0] == nodes["deep"]


async def test_erasing_reports_the_forks_too(fresh: Fresh) -> None:
    """One call removes the tree, and its counts are right."""
    sm = await long_one(fresh.store)
    fork = await sm.fork(turns=30)
    await talk(fork, 2)
    heads = [(await fresh.store.load(None, one.session_id)).head for one in (sm, fork)]
    events = sum(head.last_seq - head.first_seq + 1 for head in heads)

    assert await fresh.store.erase(None, "c") == Erased(2, sum(head.index + 1 for head in heads), events)
    with pytest.raises(SessionErased):
        await fork.user_says("Anybody?")


# Recall


async def test_recall_reaches_into_the_ancestor_and_no_further(fresh: Fresh) -> None:
    """Up to the fork all is found, in the session it stands in; what was said after it never is."""
    sm = manager(fresh.store, policy=soft_only(2000))
    for i in range(160):
        await sm.turn(f"Parcel {i} goes to street number {i + 5000}.", f"Noted parcel {i}.")
    fork = await sm.fork(turns=100)
    await fork.turn("Parcel 900 is a harp.", "Noted.")
    deep = await fork.fork()
    await fork.user_says("The harp was sold.")
    cold = SessionManager(deep.session_id, store=await fresh.second(), create=False)
    old = await cold.recall("parcel 7 street 5007", limit=3)
    last = await cold.recall("parcel 99 street 5099", limit=3)

    assert old[0].text.startswith("Parcel 7 goes")
    assert old[0].session_id.split("~")[0] == "c"
    assert last[0].text.startswith("Parcel 99 goes")
    assert (await cold.recall("harp"))[0].text == "Parcel 900 is a harp."
    found = [
        text
        for query in ("parcel 130 street 5130", "parcel 100", "harp sold", "parcel 99", '"Parcel 100 goes"')
        for hit in await cold.recall(query, limit=50)
        for text in (hit.text, hit.before, hit.after)
    ]
    told = " ".join(found)
    assert not any(f"arcel {i} " in told for i in range(100, 160))
    assert "sold" not in told


async def test_a_context_brings_back_what_the_ancestor_knows() -> None:
    """`recall=True` in a fork: the newest question finds its answer before the fork."""
    sm = manager(MemoryStore(), policy=soft_only(1000))
    await sm.turn("The umbrella is in locker 4711.", "Noted.")
    await talk(sm, 60)
    fork = await sm.fork()
    await fork.user_says("Where is the umbrella?")

    assert "4711" in (await fork.context(recall=True)).messages[-1]["content"]
    assert "4711" in await fork.handle_recall({"query": "umbrella locker"})


async def test_the_settings_name_the_ancestors() -> None:
    """Only those that have something of the path to themselves, and the parent."""
    sm = await long_one(MemoryStore())
    fork = await sm.fork(turns=30)
    for _ in range(5):
        fork = await fork.fork(turns=30)
    loaded = await sm.store.load(None, fork.session_id)
    began = inheritance_of(loaded.settings or {})

    assert [one.conversation_id == "c" for one in began.ancestors] == [True, False]
    assert replace(began.ancestors[1], conversation_id="", session_id="") == replace(
        began.ancestors[0], conversation_id="", session_id=""
    )


async def test_a_model_reads_on_across_the_fork() -> None:
    """After an outage a fork's summary reads what no model has read yet, its ancestor's events included."""
    sm = await long_one(MemoryStore(), 25)
    fork = await sm.fork()
    model = scripted()
    healed = SessionManager(
        fork.session_id, store=sm.store, policy=soft_only(), summarizer=asking(model), segmentation="inline"
    )
    await talk(healed, 15, 25)
    asked = "".join(str(request) for request in model.requests)

    assert [number for number in range(25) if said(number) not in asked] == []


async def test_recall_by_meaning_reaches_into_the_ancestor_and_no_further(fresh: Fresh) -> None:
    """With embeddings too: what was said before the fork is found, what the ancestor said after it is not."""

    def vectors(texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "harp" in text or "instrument" in text else [0.0, 1.0] for text in texts]

    sm = manager(fresh.store, policy=soft_only(1000), recall_embeddings=vectors)
    await sm.turn("The harp is in locker 4711.", "Noted.")
    await talk(sm, 40)
    fork = await sm.fork()
    await sm.turn("The harp was stolen.", "Oh.")
    await talk(sm, 40, 100)
    await sm.recall("instrument")
    found = await fork.recall("which instrument do I own?")

    assert found[0].text == "The harp is in locker 4711."
    assert not any("stolen" in text for hit in found for text in (hit.text, hit.before, hit.after))
