"""The log of a conversation whose history somebody else owns."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from summarizer import SessionManager, open_store
from summarizer.conversation import cache_of
from summarizer.integrations.mirror import Mirror


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def calling(*ids, text=None):
    calls = [
        {"id": i, "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}} for i in ids
    ]
    return {"role": "assistant", "content": text, "tool_calls": calls}


def result(call_id, text="done"):
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def manager(store, **given):
    given.setdefault("session_id", "s")
    return SessionManager(given.pop("session_id"), store=store, segmentation="inline", **given)


def cold(sm):
    """A manager of the same conversation that remembers nothing."""
    cache_of(sm.store).drop(sm.owner, sm.conversation_id)
    return SessionManager(sm.conversation_id, store=sm.store, segmentation="inline")


async def texts(sm):
    """What the log holds, from its first message on, ancestors included."""
    events = await sm.read(include_all_segments=True)
    return [event.message.text or "calls" for event in events if event.message is not None]


async def test_only_what_is_new_is_recorded():
    """The log grows with the host's list, whoever recorded the answers."""
    sm = manager("memory://")
    mirror = Mirror(sm)
    host = [user("one")]

    first = await mirror.sync(host)
    await mirror.record(said("eins"), usage={"prompt_tokens": 5, "completion_tokens": 2}, model="gpt-4o-mini")
    host += [said("eins"), user("two")]
    second = await mirror.sync(host)
    again = await Mirror(cold(sm)).sync(host)

    assert (first.recorded, second.recorded, again.recorded) == (1, 1, 0)
    assert [first.forked, second.forked, again.forked] == [False] * 3
    assert await texts(sm) == ["one", "eins", "two"]
    assert (await sm.get_stats()).billed_tokens == 7


async def test_a_list_that_is_handed_over_whole_is_summarized_once():
    """However often the host sends everything, each message stands once in the chain of segments."""
    sm = manager("memory://", token_threshold=400)
    host = []
    for i in range(40):
        host.append(user(f"question {i}: what about the harbour of number {i}?"))
        mirror = Mirror(cold(sm) if i % 3 == 0 else sm)
        await mirror.sync(host)
        host.append(said(f"answer {i}: it has room for {i} ships, and a crane."))
        await mirror.record(host[-1])
    await mirror.sync(host)

    assert len(await sm.get_session_chain()) > 3
    assert await texts(sm) == [message["content"] for message in host]
    shown = await mirror.view()
    own = [part for part in shown.parts if isinstance(part, int)]
    assert own == list(range(own[0], 80))
    assert own[0] > 20
    assert [part["role"] for part in shown.parts if not isinstance(part, int)] == ["user"]


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        pytest.param([user("one"), said("EINS"), user("two")], 1, id="an answer"),
        pytest.param([user("ONE"), said("eins"), user("two")], 0, id="the first message"),
        pytest.param([user("one"), said("eins"), user("zwei")], 2, id="the newest message"),
        pytest.param([user("one")], 1, id="asked again"),
        pytest.param([], 0, id="emptied"),
    ],
)
async def test_a_rewritten_history_opens_a_fork(changed, where):
    """What was recorded stays as it was; the fork holds what the host holds now, in every worker."""
    sm = manager("memory://")
    host = [user("one"), said("eins"), user("two"), said("zwei")]
    await Mirror(sm).sync(host)

    mirror, other = Mirror(sm), Mirror(cold(sm))
    synced = await mirror.sync(changed)
    elsewhere = await other.sync(changed)

    assert (synced.forked, elsewhere.forked) == (True, False)
    assert mirror.sm.conversation_id == other.sm.conversation_id != sm.conversation_id
    assert synced.recorded == len(changed) - where
    assert await texts(sm) == ["one", "eins", "two", "zwei"]
    if changed:
        assert await texts(mirror.sm) == [message["content"] for message in changed]


async def test_answers_to_one_question_are_branches_beside_each_other():
    """Asked again and again, each answer has its fork, and the host's next list finds the one it holds."""
    sm = manager("memory://")
    answers = ["red", "green", "blue"]
    for answer in answers:
        mirror = Mirror(cold(sm))
        await mirror.sync([user("a colour?")])
        await mirror.record(said(answer))

    found = []
    for answer in answers:
        mirror = Mirror(cold(sm))
        await mirror.sync([user("a colour?"), said(answer), user("why?")])
        found.append(mirror.sm.conversation_id)
        assert await texts(mirror.sm) == ["a colour?", answer, "why?"]

    assert len(set(found)) == 3


async def test_two_workers_record_a_list_once():
    """Workers that are handed lists of different length at once write each message once."""
    store = open_store("memory://shared-mirror")
    host = [user("one"), said("eins"), user("two"), said("zwei"), user("three")]

    for _ in range(5):
        await asyncio.gather(*(Mirror(manager(store)).sync(host[:n]) for n in (5, 3, 5, 4, 5)))
    synced = await Mirror(manager(store)).sync(host)

    assert await texts(synced.sm) == [message["content"] for message in host]


async def test_two_answers_at_once_do_not_mix():
    """Two requests with one list both record their answers, each in a conversation of its own."""
    store = open_store("memory://two-answers")
    one, two = Mirror(manager(store)), Mirror(manager(store))
    await one.sync([user("a colour?")])
    await two.sync([user("a colour?")])

    await one.record(said("red"))
    await two.record(said("green"))

    assert await texts(one.sm) == ["a colour?", "red"]
    assert await texts(two.sm) == ["a colour?", "green"]


async def test_results_that_the_guard_recorded_are_known():
    """A tool that ran through the session's guard is not recorded again, in whichever order results came."""
    sm = manager("memory://")
    mirror = Mirror(sm)
    await mirror.sync([user("look")])
    await mirror.record(calling("x", "y"))
    await sm.tools.run(lambda a: "second", "look", {"a": 1}, call_id="y")
    await sm.tools.run(lambda a: "first", "look", {"a": 1}, call_id="x")
    host = [user("look"), calling("x", "y"), result("x", "first"), result("y", "second"), user("thanks")]

    synced = await Mirror(cold(sm)).sync(host)
    again = Mirror(cold(sm))
    await again.sync(host)
    shown = await again.view()

    assert (synced.recorded, synced.forked) == (1, False)
    assert shown.parts == (0, 1, 2, 3, 4)


async def test_results_that_the_host_shortens_are_no_rewriting():
    """Clearing old results, reordering keys of arguments and marking for caches is not another history."""
    sm = manager("memory://")
    host = [user("look"), calling("x"), result("x", "long " * 50), said("done"), user("and?")]
    await Mirror(sm).sync(host)
    call = {"id": "x", "type": "function", "function": {"name": "look", "arguments": '{\n"a":1}'}}
    changed = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": "", "tool_calls": [call], "audio": None},
        result("x", "[cleared]"),
        *host[3:],
    ]

    synced = await Mirror(cold(sm)).sync(changed)

    assert (synced.recorded, synced.forked) == (0, False)


async def test_call_ids_that_come_back_are_results_of_their_own():
    """A model that numbers its calls anew each turn loses no result."""
    sm = manager("memory://")
    host = []
    for i in range(4):
        host += [user(f"look {i}"), calling("call_0"), result("call_0", f"seen {i}"), said(f"told {i}")]
        await Mirror(cold(sm) if i else sm).sync(host)

    assert [text for text in await texts(sm) if text.startswith("seen")] == [
        "seen 0",
        "seen 1",
        "seen 2",
        "seen 3",
    ]


async def test_a_host_that_took_the_seed_goes_on_behind_it():
    """A host that replaced its old messages by the seed has not rewritten its history."""
    sm = manager("memory://", token_threshold=300)
    mirror, host = Mirror(sm), []
    while len(await sm.get_session_chain() if host else []) < 2:
        host += [user(f"question {len(host)} about the harbour"), said(f"answer {len(host)} about its ships")]
        await mirror.sync(host)
    shown = await mirror.view()
    trimmed = [host[part] if isinstance(part, int) else part for part in shown.parts]

    synced = await Mirror(cold(sm)).sync([*trimmed, user("and now?")])
    later = await Mirror(cold(sm)).sync([*trimmed, user("and now?"), said("now this")])

    assert (synced.recorded, synced.forked, later.recorded, later.forked) == (1, False, 1, False)
    assert (await texts(sm))[-3:] == [host[-1]["content"], "and now?", "now this"]


async def test_a_fork_in_a_closed_segment_begins_where_the_lists_part():
    """A message of long ago that was edited opens a fork there, and what follows is recorded in it."""
    sm = manager("memory://", token_threshold=300)
    host = [said(f"line {i} of a long story about ships") if i % 2 else user(f"go on {i}") for i in range(60)]
    await Mirror(sm).sync(host)
    for i in range(60, 80):
        host.append(said(f"line {i} of a long story about ships") if i % 2 else user(f"go on {i}"))
        await Mirror(sm).sync(host)
    edited = [*host[:10], user("tell another"), *host[11:]]

    mirror = Mirror(cold(sm))
    synced = await mirror.sync(edited)

    assert synced.forked
    assert await texts(mirror.sm) == [message["content"] for message in edited]


async def test_objects_of_the_host_are_read_once():
    """With `wire_of`, messages that were handed over before are not translated again."""
    read, sm = [], manager("memory://")

    class Item:
        def __init__(self, text):
            self.text = text

    def wire_of(item):
        read.append(item.text)
        return user(item.text)

    items, mirror = [Item("a"), Item("b")], Mirror(sm)
    await mirror.sync(items, wire_of)
    read.clear()
    items.append(Item("c"))
    await mirror.sync(items, wire_of)

    assert set(read) == {"c"}
    assert await texts(sm) == ["a", "b", "c"]


async def test_what_the_host_lost_with_the_removed_beginning(tmp_path: Path):
    """Where the log's beginning was removed by retention, a host that still sends it all is recognized."""
    sm = SessionManager(
        "s", store=f"sqlite:///{tmp_path}/r.db", token_threshold=300, retain=0, segmentation="inline"
    )
    host = []
    for i in range(30):
        host += [user(f"question {i} about the harbour"), said(f"answer {i} about its many ships")]
        synced = await Mirror(sm).sync(host)

    assert not synced.forked
    assert (await sm.read(include_all_segments=True))[0].seq > 1
    assert (await sm.get_stats()).total_messages == 60


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "say", "edit", "cut", "again"]), st.integers(0, 30), st.booleans()
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_the_log_holds_what_the_host_holds(operations):
    """Whatever a host does to its list, the mirror's conversation holds that list, to the last message."""

    async def run():
        sm, host = manager("memory://", token_threshold=200), [user("begin with the harbour")]
        mirror = Mirror(sm)
        for number, (kind, at, is_cold) in enumerate(operations):
            if kind == "say":
                host = [*host, user(f"message {number} says a little"), said(f"and {number} is answered so")]
            elif kind == "edit":
                host = [
                    *host[: at % len(host)],
                    user(f"edited in step {number}"),
                    *host[at % len(host) + 1 :],
                ]
            elif kind == "cut":
                host = host[: at % len(host) + 1]
            if is_cold:
                mirror = Mirror(cold(sm))
            await mirror.sync(host)

            assert await texts(mirror.sm) == [message["content"] for message in host]

    asyncio.run(run())
