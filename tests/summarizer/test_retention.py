"""Retention: by whole closed segments, behind a segmentation, and never what is still needed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from guards import ToolSpec, UnresolvedReferenceError
from summarizer import InvalidSetting, OrphanToolResult, SessionManager
from summarizer.errors import StoreUnavailable
from summarizer.events import EventKind
from summarizer.stores import MemoryStore
from tests.summarizer.histories import answering, calling
from tests.summarizer.requests import openai_faults
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.talk import SMALL
from tests.summarizer.talk import talk as long_talk

INLINE = {"segmentation": "inline", "max_turns_per_segment": 3}


@pytest.fixture(params=list(FACTORIES))
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


async def talk(sm: SessionManager, turns: int, start: int = 0) -> None:
    for n in range(start, start + turns):
        await sm.turn(f"What of parcel {n}?", f"Parcel {n} is on its way.")


async def kept_segments(sm: SessionManager) -> list[int]:
    """Numbers of the segments that have events."""
    seqs = {event.seq for event in await sm.read(include_all_segments=True)}
    return [s.index for s in await sm.segments() if s.start_seq in seqs]


async def test_the_last_segments_keep_their_events(fresh: Fresh) -> None:
    """With `retain=2` the open segment and two closed ones have events; summaries, seqs and totals stay."""
    sm = SessionManager("talk", store=fresh.store, retain=2, **INLINE)
    whole = SessionManager("whole", store=fresh.store, **INLINE)
    for manager in (sm, whole):
        await manager.turn("The door code is AB-7731.", "Noted.")
        await talk(manager, 20)

    chain = await sm.segments()
    kept = await kept_segments(sm)
    assert kept == [chain[-1].index - 2, chain[-1].index - 1, chain[-1].index]
    assert all(segment.summary for segment in chain[1:])
    events = await sm.read(include_all_segments=True)
    assert [e.seq for e in events] == list(range(chain[kept[0]].start_seq, events[-1].seq + 1))
    stats, expected = await sm.get_stats(), await whole.get_stats()
    assert (stats.total_tokens, stats.total_messages) == (expected.total_tokens, expected.total_messages)
    assert [m["content"] for m in await sm.get_messages_for_llm()][1:] == [
        m["content"] for m in await whole.get_messages_for_llm()
    ][1:]


async def test_what_was_removed_is_not_recalled(fresh: Fresh) -> None:
    """Recall finds it before, and no more after; the rest it still finds."""
    sm = SessionManager("talk", store=fresh.store, retain=1, **INLINE)
    await sm.turn("The door code of the north gate is AB-7731.", "Noted.")
    assert "AB-7731" in (await sm.recall("door code of the north gate"))[0].text
    await talk(sm, 12)

    assert all(hit.seq > 2 for hit in await sm.recall("door code of the north gate AB-7731"))
    assert "arcel 10" in (await sm.recall("parcel 10"))[0].text


async def test_without_a_choice_everything_stays() -> None:
    """The default keeps each event."""
    async with SessionManager(store="memory://", **INLINE) as sm:
        await talk(sm, 15)

        assert len(await sm.get_conversation()) == 30


async def test_segments_older_than_a_time_go() -> None:
    """A segment goes once its newest event is too old, at the next segmentation and not before."""
    now = datetime(2026, 11, 21, tzinfo=UTC)

    def clock() -> datetime:
        return now

    async with SessionManager(store="memory://", retain=timedelta(hours=4), clock=clock, **INLINE) as sm:
        for n in range(12):
            now += timedelta(hours=1)
            await talk(sm, 1, start=n)
        oldest = (await sm.read(include_all_segments=True))[0]
        chain = await sm.segments()
        newest_gone = oldest.seq - 1

        assert oldest.seq in {s.start_seq for s in chain}
        assert 0 < newest_gone < chain[-1].start_seq
        now += timedelta(days=9)
        assert (await sm.read(include_all_segments=True))[0] == oldest
        await talk(sm, 3, start=12)
        assert (await sm.read(include_all_segments=True))[0].seq == (await sm.segments())[-2].start_seq


async def test_a_segment_whose_call_may_be_answered_stays() -> None:
    """A call that was left open is not parted from a result that may come; once it came, its segment goes."""
    async with SessionManager(
        "c", store=MemoryStore(), token_threshold=SMALL, segmentation="inline", retain=0
    ) as sm:
        await sm.user_says("Where is order 77?")
        await sm.record(calling("late"))
        await long_talk(sm, 40)

        assert len(await sm.segments()) > 3
        assert (await sm.read(include_all_segments=True))[0].message.text == "Where is order 77?"

        await sm.record(answering("late", "Order 77 stands in Hull."))
        assert openai_faults(await sm.get_messages_for_llm()) == []
        await long_talk(sm, 40, start=40)

        assert (await sm.read(include_all_segments=True))[0].seq == (await sm.segments())[-1].start_seq
        with pytest.raises(OrphanToolResult):
            await sm.record(answering("late"))


class Watched(MemoryStore):
    """A store that counts what is read, and refuses to remove while it is told to."""

    refuses = False
    events_read = 0

    async def read(self, *args, **kwargs):
        found = await super().read(*args, **kwargs)
        self.events_read += len(found)
        return found

    async def retain(self, *args, **kwargs):
        if self.refuses:
            raise StoreUnavailable("no")
        return await super().retain(*args, **kwargs)


async def test_a_failure_is_logged_and_made_up_for() -> None:
    """The segmentation stands, nothing is lost, and the next one removes what was to go."""
    store = Watched()
    sm = SessionManager("c", store=store, retain=1, **INLINE)
    await talk(sm, 6)
    store.refuses = True
    with capture_logs() as logs:
        await talk(sm, 6)
    assert "retain.failed" in {log["event"] for log in logs}
    assert len(await kept_segments(sm)) > 2

    store.refuses = False
    await talk(sm, 3)

    assert len(await kept_segments(sm)) == 2


@pytest.mark.parametrize("keep", [0, 3, timedelta(days=1)])
async def test_it_costs_the_same_at_any_length(keep: int | timedelta) -> None:
    """Law 2: what a segmentation reads to remove does not grow with the chain."""
    store = Watched()
    sm = SessionManager("c", store=store, retain=keep, **INLINE)
    await talk(sm, 30)
    costs = []
    for _ in range(20):
        store.events_read = 0
        await talk(sm, 3)
        costs.append(store.events_read)

    assert max(costs) <= 80
    assert costs[-1] <= costs[0]


async def test_names_of_results_outlive_the_events_that_gave_them() -> None:
    """Law 18: `$v1` still resolves, and no number is given twice, after the segments that hold them went."""
    store = MemoryStore()
    sm = SessionManager("c", store=store, retain=0, **INLINE)
    sm.tools.configure([ToolSpec("look_up", read_only=True)])
    await sm.user_says("Look it up.")
    first = await sm.tools.run(lambda city: {"degrees": 12}, "look_up", {"city": "Oslo"})
    await sm.ai_responds("12 degrees.")
    await talk(sm, 9)
    other = SessionManager("c", store=store)
    other.tools.configure([ToolSpec("look_up", read_only=True)])
    guard = await other.tools.open()

    assert not any(e.kind is EventKind.GUARD for e in await other.read(include_all_segments=True))
    assert guard.resolve({"it": f"${first.binding.id}"}).arguments == {"it": {"degrees": 12}}
    second = await other.tools.run(lambda city: {"degrees": 13}, "look_up", {"city": "Hull"})
    assert second.binding.id != first.binding.id


async def test_values_too_large_to_be_written_down_are_let_go_of() -> None:
    """Where all values together do not fit into an event, the oldest are named as gone, and segments go."""
    store = MemoryStore()
    sm = SessionManager("c", store=store, retain=0, **INLINE)
    await sm.user_says("Look it up.")
    for city in ("Oslo", "Hull", "Rome", "Bonn", "Linz"):
        await sm.tools.run(lambda city: city * 450_000, "look_up", {"city": city})
    await sm.ai_responds("12 degrees.")
    await talk(sm, 9)
    guard = await SessionManager("c", store=store).tools.open()

    assert (await sm.read(include_all_segments=True))[0].seq == (await sm.segments())[-1].start_seq
    assert guard.resolve({"it": "$v5"}).arguments == {"it": "Linz" * 450_000}
    with pytest.raises(UnresolvedReferenceError, match="no longer held"):
        guard.resolve({"it": "$v1"})


async def test_what_the_guard_cannot_read_stays() -> None:
    """Where the guard's state cannot be written down, nothing is removed, and the logs say why."""
    store = MemoryStore()
    sm = SessionManager("c", store=store, **INLINE)
    await sm.user_says("Look it up.")
    await sm.tools.run(lambda city: 12, "look_up", {"city": "Oslo"})
    record = next(event for event in await sm.read() if event.kind is EventKind.GUARD)
    newer = replace(record, event_id="of-a-newer-version", data={"facts": [{"fact": "unheard_of"}]})
    await store.append(None, "c", [newer])
    sm = SessionManager("c", store=store, retain=0, **INLINE)
    await sm.ai_responds("12 degrees.")
    with capture_logs() as logs:
        await talk(sm, 9)

    assert {log["event"] for log in logs} >= {"segment.created", "retain.skipped"}
    assert (await sm.read(include_all_segments=True))[0].seq == 1


async def test_a_conversation_without_tools_gets_no_snapshot() -> None:
    """The guard is written down only where its state follows from what goes."""
    async with SessionManager(store="memory://", retain=0, **INLINE) as sm:
        await talk(sm, 12)

        assert not any(e.kind is EventKind.GUARD_SNAPSHOT for e in await sm.read(include_all_segments=True))


@pytest.mark.parametrize("keep", [-1, True, 1.5, "all", timedelta(0), timedelta(days=-1)])
def test_what_says_nothing_of_how_much_stays_is_refused(keep: object) -> None:
    """The constructor says so, before anything is read or written."""
    with pytest.raises(InvalidSetting, match="retain"):
        SessionManager(store="memory://", retain=keep)
