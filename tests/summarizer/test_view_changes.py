"""Law 11: what policies change in the view is told to the log, once, and changes nothing there."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from summarizer import SessionManager, open_store
from summarizer.context.policies import (
    Age,
    ClearToolResults,
    Compose,
    Importance,
    KeepLast,
    Offload,
    Optimizer,
    Pin,
    TokenBudget,
    identity_of,
)
from summarizer.errors import InvalidSetting, StoreUnavailable
from summarizer.events import EventKind
from summarizer.stores.memory import MemoryStore

WINDOW = KeepLast(turns=4)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


async def turn(sm, n):
    """One turn, with a context read before its answer."""
    await sm.user_says(f"Question {n}?")
    context = await sm.context()
    await sm.ai_responds(f"Answer {n}.")
    return context


async def changes(sm):
    """The recorded view changes, oldest first."""
    return [e for e in await sm.read(include_all_segments=True) if e.kind is EventKind.VIEW_CHANGED]


async def test_a_window_that_slides_is_an_event_behind_the_next_write():
    """Each step stands in the log once, with its boundary, behind what the user wrote."""
    async with SessionManager(store="memory://", context_policies=WINDOW) as sm:
        contexts = [await turn(sm, n) for n in range(7)]
        found = await changes(sm)
        events = await sm.read()

    assert [e.data["first_seq"] for e in found] == [3, 5, 7]
    assert [c.boundary.first_seq for c in contexts] == [0, 0, 0, 0, 3, 5, 7]
    assert all(events[e.seq - 2].message.role == "assistant" for e in found)
    assert contexts[-1].messages[0]["content"] == "Question 3?"
    assert found[0].data == {
        "v": 1,
        "reason": "window",
        "policies": identity_of(Compose([WINDOW])).digest,
        "tools": "",
        "first_seq": 3,
        "cleared_through": 0,
        "others": "",
        "shown_tokens": 28,
    }


async def test_many_readers_leave_one_event(tmp_path):
    """Managers of one process and of others with cold caches, all of whom saw the step, record it once."""
    url = f"sqlite:///{tmp_path}/talk.db"
    stores = [open_store(url), open_store(url), open_store(url)]
    first = SessionManager("talk", store=stores[0])
    for n in range(6):
        await first.turn(f"Question {n}?", f"Answer {n}.")
    managers = [SessionManager("talk", store=s, context_policies=WINDOW) for s in stores for _ in range(3)]
    contexts = await asyncio.gather(*(sm.context() for sm in managers))
    await asyncio.gather(*(sm.user_says("And now?") for sm in managers))

    assert len({str(c.messages) for c in contexts}) == 1
    assert len(await changes(first)) == 1
    for store in stores:
        await store.close()


async def test_a_worker_that_comes_later_records_nothing_anew(tmp_path):
    """What the log says already is not said again after a restart."""
    url = f"sqlite:///{tmp_path}/talk.db"
    for worker in range(3):
        store = open_store(url)
        sm = SessionManager("talk", store=store, context_policies=KeepLast(units=40))
        for n in range(0 if worker else 52):
            await sm.user_says(f"Question {n}?")
        await sm.context()
        await sm.user_says(f"Worker {worker} was here.")
        found = await changes(sm)
        await store.close()

    assert len(found) == 1


async def test_reading_writes_nothing():
    """However often a view is read, the log is as it was until somebody writes."""
    async with SessionManager(store="memory://", context_policies=WINDOW) as sm:
        for n in range(9):
            await sm.user_says(f"Question {n}?")
        before = await sm.read()
        for _ in range(3):
            await sm.context()
            await sm.get_messages_for_llm(2000, policies=KeepLast(units=2))

        assert await sm.read() == before


@pytest.mark.parametrize("policies", [None, [], KeepLast(turns=50), Offload(20, 40)])
async def test_where_nothing_changes_nothing_is_recorded(policies):
    """Without policies, with a window that has room, with previews from the first sight: no event."""
    async with SessionManager(store="memory://", context_policies=policies) as sm:
        for n in range(8):
            await turn(sm, n)
            await sm.tool_used("look", {"n": n}, "It rains. " * 60)
        await sm.context(200)
        await sm.user_says("And now?")

        assert await changes(sm) == []


async def test_a_smaller_budget_for_one_call_is_no_view_change():
    """The boundary is that of the policies, whatever one call may spend."""
    async with SessionManager(store="memory://", context_policies=WINDOW) as sm:
        for n in range(6):
            await turn(sm, n)
        before, small = await sm.context(), await sm.context(40)
        count = len(await changes(sm))
        await sm.user_says("And now?")

        assert len(small.messages) < len(before.messages)
        assert small.boundary == before.boundary
        assert len(await changes(sm)) == count


async def test_each_change_says_why():
    """Another window, cleared results, other policies and other tools are told apart."""
    store = MemoryStore()

    async def after(policies, tools=None):
        sm = SessionManager("talk", store=store, context_policies=policies, tools=tools)
        await sm.context()
        await sm.user_says("And now?")
        return [e.data["reason"] for e in await changes(sm)]

    sm = SessionManager("talk", store=store)
    for n in range(8):
        await sm.user_says(f"Question {n}?")
        await sm.tool_used("look", {"n": n}, "It rains. " * 60)
    clearing = ClearToolResults(keep=2, batch=2)
    assert await after(clearing) == ["clearing"]
    assert await after(clearing, [TOOL]) == ["clearing", "tools"]
    assert await after(KeepLast(turns=4)) == ["clearing", "tools", "policy"]
    assert await after(KeepLast(turns=4)) == ["clearing", "tools", "policy", "window"]
    assert await after(KeepLast(turns=3)) == ["clearing", "tools", "policy", "window", "policy"]
    for n in range(2):
        await sm.tool_used("look", {"n": n}, "It rains. " * 60)
    assert (await after(clearing, [TOOL]))[-1] == "clearing"
    assert len({e.event_id for e in await changes(sm)}) == 6


async def test_a_changed_parameter_acts_on_the_past():
    """A larger window shows what a smaller one hid, and the log says that the policy changed."""
    async with SessionManager(store="memory://") as sm:
        for n in range(12):
            await sm.turn(f"Question {n}?", f"Answer {n}.")
        small = await sm.context(policies=KeepLast(turns=2))
        await sm.user_says("And now?")
        large = await sm.context(policies=KeepLast(turns=8))
        await sm.ai_responds("It rains.")

        assert len(small.messages) < len(large.messages)
        assert large.messages[-len(small.messages) - 1 : -1] == small.messages
        assert [e.data["reason"] for e in await changes(sm)] == ["window", "policy"]
        assert len(await sm.get_conversation()) == 26


async def test_what_was_seen_of_an_expired_log_is_not_told_to_a_new_one():
    """A conversation that expired and begins anew under its id has no boundary of the old one."""
    store = MemoryStore()
    sm = SessionManager("talk", store=store, context_policies=WINDOW)
    for n in range(6):
        await sm.turn(f"Question {n}?", f"Answer {n}.")
    await sm.context()
    await store.expire(None, idle_s=0)
    await sm.user_says("Hello again.")

    assert [e.kind for e in await sm.read()] == [EventKind.MESSAGE]


class Faulty(MemoryStore):
    """A store that refuses view changes while it is told to."""

    refuses = True

    async def append(self, owner, session_id, events, **kwargs):
        if self.refuses and events[0].kind is EventKind.VIEW_CHANGED:
            raise StoreUnavailable("no")
        return await super().append(owner, session_id, events, **kwargs)


async def test_a_fork_records_no_change_where_its_view_is_that_of_its_ancestor():
    """Only what differs is a change, though a fork numbers its sessions anew."""
    async with SessionManager(store="memory://", context_policies=WINDOW, infinite_context=True) as sm:
        for n in range(12):
            await turn(sm, n)
        await sm.segment()
        for n in range(12, 24):
            await turn(sm, n)
        shown = await sm.context()
        await sm.record({"role": "assistant", "content": "One thing more."})
        before = await changes(sm)
        fork = await sm.fork()
        same = await fork.context()
        await fork.record({"role": "assistant", "content": "And another."})

    assert same.boundary.first_seq == shown.boundary.first_seq > 0
    assert await changes(fork) == before


async def test_a_segmentation_is_not_told_twice():
    """A view that is whole again in the new session needs no event beside the segmentation's."""
    async with SessionManager(store="memory://", context_policies=WINDOW, token_threshold=150) as sm:
        for n in range(12):
            await turn(sm, n)
        before = await changes(sm)
        await sm.segment()
        shown = await sm.context()
        await sm.ai_responds("One thing more.")

    assert before[-1].seq >= (await sm.segments())[-1].start_seq
    assert shown.boundary.is_whole
    assert await changes(sm) == before


async def test_changes_are_recorded_at_the_managers_time():
    """A replay's clock dates view changes and settings too, so retention by age sees no event of today."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    sm = SessionManager(store="memory://", context_policies=WINDOW, clock=lambda: past)
    async with sm:
        for n in range(7):
            await turn(sm, n)
        await sm.update_system_prompt("Be brief.")
        found = await sm.read()

    assert {event.kind for event in found} >= {EventKind.VIEW_CHANGED, EventKind.SETTINGS}
    assert {event.at for event in found} == {past}


async def test_a_failure_to_record_never_fails_the_write():
    """The message is there, the failure is logged, and the change goes with the next write."""
    store = Faulty()
    sm = SessionManager("talk", store=store, context_policies=WINDOW)
    for n in range(6):
        await sm.turn(f"Question {n}?", f"Answer {n}.")
    await sm.context()
    with capture_logs() as logs:
        await sm.user_says("And now?")
    assert [log["event"] for log in logs] == ["view.record_failed"]
    assert await changes(sm) == []

    store.refuses = False
    await sm.ai_responds("It rains.")

    assert len(await changes(sm)) == 1
    assert [m["content"] for m in await sm.get_conversation()][-2:] == ["And now?", "It rains."]


async def test_a_view_change_is_no_content():
    """It makes no segmentation due, has no tokens, and no message count or total moves."""
    async with SessionManager(store="memory://", context_policies=WINDOW, max_turns_per_segment=9) as sm:
        for n in range(6):
            await turn(sm, n)
        stats, plain = await sm.get_stats(), SessionManager(store="memory://")
        for n in range(6):
            await plain.turn(f"Question {n}?", f"Answer {n}.")
        found = await changes(sm)
        expected = await plain.get_stats()

    assert found
    assert {e.tokens for e in found} == {0}
    for name in ("total_tokens", "total_messages", "session_segments", "context_tokens"):
        assert stats[name] == expected[name]


@pytest.mark.parametrize(
    "policies", [WINDOW, TokenBudget(300), KeepLast(items=900) | TokenBudget(3000), Age(timedelta(days=9))]
)
async def test_contexts_do_not_depend_on_what_was_recorded(policies):
    """Of two conversations of one text, one records its view changes: both show the same to the byte."""
    store = MemoryStore()
    told, silent = (
        SessionManager("told", store=store, context_policies=policies),
        SessionManager("x", store=store),
    )
    reader = SessionManager("x", store=store, context_policies=policies)
    for n in range(1200):
        text = f"Question {n}: " + "what is the weather? " * (n % 5)
        await silent.user_says(text)
        await told.user_says(text)
        if n % 7 == 0:
            await told.context()
        if n % 61 == 0 or n > 1194:
            assert (await told.context()).messages == (await reader.context()).messages

    assert bool(await changes(told)) == (not isinstance(policies, Age))
    assert await changes(silent) == []


async def test_the_managers_policies_hold_where_a_call_gives_none():
    """A call's own go before them, and an empty list shows all; nothing of it is stored."""
    store = MemoryStore()
    async with SessionManager("talk", store=store, context_policies=KeepLast(units=2)) as sm:
        for n in range(9):
            await sm.user_says(f"Question {n}?")

        assert len((await sm.context()).messages) == 2
        assert len(await sm.get_messages_for_llm()) == 2
        assert len((await sm.context(policies=KeepLast(units=4))).messages) == 4
        assert len((await sm.context(policies=[])).messages) == 9
    assert len((await SessionManager("talk", store=store).context()).messages) == 9


def test_what_is_no_policy_is_refused_at_once():
    """The constructor says so, before anything is read or written."""
    with pytest.raises(InvalidSetting, match="apply"):
        SessionManager(store="memory://", context_policies=3)


async def test_contexts_by_policies_are_kept():
    """Read again with nothing new, a context is not built again, unless a policy asks a function."""
    asked = []

    def score(unit):
        asked.append(unit.first_seq)
        return 1.0

    async with SessionManager(store="memory://") as sm:
        for n in range(40):
            await sm.user_says(f"Question {n}?")
        conversation = sm._access.seen
        window = await sm.context(policies=WINDOW)
        kept = dict(conversation.kept_views())
        window.messages.clear()
        again = await sm.context(policies=KeepLast(turns=4))
        assert again.messages
        assert conversation.kept_views() == kept

        for _ in range(2):
            asked.clear()
            await sm.context(policies=Importance(score, best=2))
            assert asked
        await sm.user_says("And now?")
        assert (await sm.context(policies=WINDOW)).messages[-1]["content"] == "And now?"


def _shorter(view):
    return view


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (KeepLast(turns=4), KeepLast(units=4)),
        (KeepLast(turns=4), KeepLast(turns=5)),
        (ClearToolResults(templates={"a": "x"}), ClearToolResults(templates={"a": "y"})),
        (Pin(roles={"tool"}), Pin(roles={"system"})),
        (Optimizer(_shorter, above=9), Optimizer(print, above=9)),
        (KeepLast(turns=4) | TokenBudget(9), KeepLast(turns=4)),
    ],
)
def test_policies_are_known_by_kind_and_parameters(one, other):
    """Equal ones have one digest, in every process; others have others."""
    first, second = identity_of(Compose([one])), identity_of(Compose([other]))

    assert first.digest != second.digest
    assert first == identity_of(Compose([replace(one)] if not isinstance(one, Compose) else [one]))


def test_a_digest_is_the_same_in_every_process():
    """It depends on no hash seed and no address."""
    policies = (
        Pin(roles={"tool", "system"}, first_user=True) | Optimizer(_shorter, above=9) | KeepLast(turns=4)
    )

    assert identity_of(policies).digest == "9e47ebb475a92f8c"
    assert not identity_of(policies).is_repeatable
    assert identity_of(Compose([KeepLast(turns=4)])).is_repeatable
