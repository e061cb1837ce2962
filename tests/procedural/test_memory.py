"""The manager: recording, loading, scopes, checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from guards.calls import CallRecord, Outcome
from procedural import (
    Appended,
    Checkpoint,
    InMemoryTraceStore,
    Page,
    ProceduralContextFormatter,
    Scope,
    ToolMemoryManager,
    Trace,
    TraceError,
    TraceStoreError,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def manager(**options: Any) -> ToolMemoryManager:
    """A manager whose clock stands."""
    return ToolMemoryManager(clock=lambda: NOW, **options)


async def test_the_promised_lines_run() -> None:
    """What the front page shows works as it stands."""
    memory = ToolMemoryManager()
    await memory.record("calculator", {"op": "add", "a": 5, "b": 3}, result=8, success=True)

    text = ProceduralContextFormatter().format(memory.get_patterns())

    assert "calculator: 1 of 1 calls succeeded" in text


async def test_two_unrelated_questions_are_no_fix() -> None:
    """A failure for Atlantis and a success for Paris teach nothing, however often."""
    memory = manager()
    for _ in range(5):
        await memory.record("weather", {"city": "Atlantis"}, error="unknown city")
        await memory.record("weather", {"city": "Paris"}, {"degrees": 20})

    assert memory.get_patterns("weather")[0].fixes == ()


async def test_a_fix_needs_repeated_evidence() -> None:
    """Once may be chance; twice is a pattern, with its counts."""
    memory = manager()
    seen: list[int] = []
    for session in ("s1", "s2"):
        await memory.record("book", {"day": "2026/05/01"}, error="bad day: 2026/05/01", session_id=session)
        await memory.record("book", {"day": "2026-05-01"}, {"ok": True}, session_id=session)
        seen.append(len(memory.get_patterns("book")[0].fixes))

    fix = memory.get_patterns("book")[0].fixes[0]

    assert seen == [0, 1]
    assert (fix.rate.successes, fix.rate.calls, fix.sessions) == (2, 2, 2)
    assert fix.rate.low < 0.5 < fix.rate.high


async def test_a_change_that_fails_as_often_is_no_fix() -> None:
    """Attempts that did not work count against it."""
    memory = manager()
    for number in range(6):
        error = "bad day" if number % 2 else None
        await memory.record("book", {"day": "2026/05/01"}, error="bad day", session_id=str(number))
        await memory.record("book", {"day": "2026-05-01"}, error=error, session_id=str(number))

    assert memory.get_patterns("book")[0].fixes == ()


async def test_a_test_that_passes_after_an_edit_is_no_retry() -> None:
    """The same call succeeds because of the call between; to repeat it at once is no advice."""
    memory = manager()
    for session in ("s1", "s2", "s3"):
        await memory.record("shell", {"run": "tests"}, error="2 failed", session_id=session)
        await memory.record("edit", {"path": "a.py"}, session_id=session)
        await memory.record("shell", {"run": "tests"}, session_id=session)

    assert memory.get_patterns("shell")[0].fixes == ()


async def test_a_transient_error_teaches_to_try_again() -> None:
    """The same call at once, and it works."""
    memory = manager()
    for session in ("s1", "s2", "s3"):
        await memory.record("fetch", {"url": "x"}, error=TimeoutError("timed out"), session_id=session)
        await memory.record("fetch", {"url": "x"}, session_id=session)

    assert [fix.changes for fix in memory.get_patterns("fetch")[0].fixes] == [()]


async def test_a_corrected_failure_is_not_corrected_again() -> None:
    """The success after the correction belongs to nobody's failure."""
    memory = manager()
    await memory.record("book", {"day": "2026/05/01"}, error="bad day")
    first = await memory.record("book", {"day": "2026-05-01"})
    second = await memory.record("book", {"day": "2026-05-01"})

    assert first.correction is not None
    assert second.correction is None


@pytest.mark.parametrize(
    "result", [{"status": 200}, None, "x" * 5_000_000, list(range(10**6)), object(), b"\x00", float("nan")]
)
async def test_any_result_is_remembered(result: Any) -> None:
    """A status, nothing, or a huge result is a result like any other."""
    memory = manager()
    trace = await memory.record("fetch", {"url": "x"}, result)

    assert trace.success
    assert len(str(trace.to_json())) < 1000


@pytest.mark.parametrize(
    "arguments",
    ["no json", '{"a": 1}', "[1, 2]", b"\xff", None, 3, [1], object(), {1: {2: {None: 3}}}, {"n": NOW}],
)
async def test_any_arguments_are_remembered(arguments: object) -> None:
    """Arguments that are no JSON are evidence too."""
    trace = await manager().record("odd", arguments)

    assert trace.tool_name == "odd"


async def test_cyclic_and_huge_arguments_cost_little() -> None:
    """Depth and width are bounded."""
    cycle: dict[str, Any] = {"many": {str(n): n for n in range(100_000)}}
    cycle["self"] = cycle

    trace = await manager().record("odd", cycle)

    assert len(trace.forms) <= 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"tool_name": ""},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - the fault under test
        {"duration_s": -1.0},
        {"duration_s": float("nan")},
        {"tokens": -5},
        {"cost_usd": "much"},
        {"cost_usd": Decimal(-1)},
    ],
)
async def test_a_figure_that_is_none_is_refused_and_nothing_is_kept(wrong: dict[str, Any]) -> None:
    """The error names the value; the memory is as it was."""
    memory = manager()
    with pytest.raises(TraceError):
        await memory.record(**{"tool_name": "fetch", **wrong})

    assert memory.get_patterns() == ()


async def test_unknown_figures_stay_unknown() -> None:
    """Calls without time, tokens or cost do not enter their means."""
    memory = manager()
    await memory.record("fetch")
    await memory.record("fetch", duration_s=2.0, tokens=10, cost_usd="0.5")
    known = memory.get_patterns("fetch")[0]
    await memory.record("bare")
    bare = memory.get_patterns("bare")[0]

    assert known.latency is not None
    assert (known.latency.calls, known.result_tokens, known.cost_usd) == (1, 10, Decimal("0.5"))
    assert known.cost_coverage == 0.5
    assert known.latency.p50_s == pytest.approx(2.0, rel=0.1)
    assert (bare.latency, bare.result_tokens, bare.cost_usd) == (None, None, None)


@dataclass
class Call:
    """A finished call, by its shape alone."""

    call_id: str = "c1"
    tool_name: str = "fetch"
    arguments: Any = None
    result: Any = None
    error: str | None = None
    error_kind: str | None = None
    success: bool = True
    at: datetime = NOW
    duration_s: float | None = 0.5
    result_tokens: int | None = None
    cost_usd: Decimal | None = None


async def test_a_call_remembered_twice_counts_once() -> None:
    """A replayed event is no second call; the same id in another session is."""
    memory = manager()
    await memory.remember(Call())
    await memory.remember(Call())
    await memory.remember(Call(), session_id="other")

    assert memory.get_patterns()[0].calls == 2


async def test_a_finished_call_of_the_guard_is_remembered_by_its_shape() -> None:
    """`guards.CallRecord` needs no translation, and no import of ours."""
    arguments = {"order": "#W123", "api_key": "sk-abcdefghijklmnop"}
    failed = CallRecord("c1", "fetch", arguments, Outcome.TIMEOUT, "f", NOW, error_kind="TimeoutError")
    memory = manager()
    trace = await memory.remember(failed)

    assert (trace.success, trace.error_class) == (False, "timeout")
    assert "sk-abc" not in str(trace.to_json())


async def test_a_call_recorded_again_does_not_follow_itself() -> None:
    """A repeated failure under one id is no failed retry."""
    memory = manager()
    await memory.record("fetch", {"q": 1}, error="bad", trace_id="t1")
    again = await memory.record("fetch", {"q": 1}, error="bad", trace_id="t1")

    assert again.correction is None


async def test_another_worker_sees_the_same_after_load() -> None:
    """Patterns are a function of the log alone, through checkpoints and without."""
    store = InMemoryTraceStore()
    writer = manager(store=store, owner="ann", checkpoint_every=7)
    for number in range(40):
        error = "timed out" if number % 3 == 0 else None
        await writer.record(f"tool{number % 3 % 2}", {"n": number}, error=error, duration_s=0.1 * number)
    reader = manager(store=store, owner="ann")
    await reader.load()

    assert writer.get_patterns() == reader.get_patterns()


async def test_two_workers_that_take_turns_agree() -> None:
    """What the other wrote is folded in when one records next, once."""
    store = InMemoryTraceStore()
    first, second = manager(store=store, checkpoint_every=3), manager(store=store, checkpoint_every=4)
    for number in range(20):
        await (first, second)[number % 2].record("fetch", {"n": number})
    await first.load()
    await second.load()

    assert first.get_patterns() == second.get_patterns()
    assert first.get_patterns()[0].calls == 20


class CountingStore(InMemoryTraceStore):
    """Counts the traces that were read."""

    traces_read = 0

    async def read(self, scope: Scope, after: int | None = None, limit: int = 1000) -> Page:
        page = await super().read(scope, after, limit)
        self.traces_read += len(page.traces)
        return page


async def test_loading_reads_the_summary_and_the_few_traces_after_it() -> None:
    """However long the log, fewer traces than a checkpoint's interval are read."""
    store = CountingStore()
    writer = manager(store=store, checkpoint_every=50)
    for number in range(520):
        await writer.record("fetch", {"n": number})
    reader = manager(store=store)
    await reader.load()

    assert reader.get_patterns()[0].calls == 520
    assert store.traces_read < 50


async def test_an_unreadable_checkpoint_costs_a_scan_and_no_trace() -> None:
    """A newer version's summary is passed over; the log is the truth."""
    store = InMemoryTraceStore()
    writer = manager(store=store)
    for _ in range(5):
        await writer.record("fetch")
    page = await store.read(Scope())
    await store.save(Scope(), Checkpoint(page.log_id, 3, {"fetch": {"schema": 99}}))
    reader = manager(store=store)
    await reader.load()

    assert reader.get_patterns()[0].calls == 5


async def test_owners_never_see_each_other() -> None:
    """Not by patterns, not by recall, not through the unowned."""
    store = InMemoryTraceStore()
    await manager(store=store, owner="ann").record("fetch", {"unit": "metric"})
    others = [manager(store=store, owner=owner) for owner in ("bob", None, "")]
    for other in others:
        await other.load()

    assert [other.get_patterns() for other in others] == [(), (), ()]


async def test_a_session_learns_from_itself_alone() -> None:
    """The session scope holds neither other sessions nor the owner's other calls."""
    store = InMemoryTraceStore()
    await manager(store=store, owner="ann", session_id="s1", scope="session").record("fetch")
    other = manager(store=store, owner="ann", session_id="s2", scope="session")
    await other.load()

    assert other.get_patterns() == ()


async def test_sharing_is_a_choice_and_takes_no_values_along() -> None:
    """The shared log holds forms, never a value, a goal or a session."""
    store = InMemoryTraceStore()
    ann = manager(store=store, owner="ann", session_id="private", scope="shared")
    await ann.record("fetch", {"unit": "kelvin"}, error="bad unit: kelvin, use celsius", goal="my illness")
    await ann.record("fetch", {"unit": "celsius"}, goal="my illness")
    bob = manager(store=store, owner="bob", scope="shared")
    await bob.load()
    page = await store.read(Scope(shared=True))
    kept = str([trace.to_json() for _, trace in page.traces])

    assert bob.get_patterns()[0].calls == 2
    assert [word for word in ("celsius'", "kelvin'", "illness", "private") if word in kept] == []


async def test_erasing_an_owner_leaves_nothing_and_nobody_brings_it_back() -> None:
    """Traces, summaries and shared traces go; another worker's memory cannot restore them."""
    store = InMemoryTraceStore()
    ann, bob = (manager(store=store, owner=name, checkpoint_every=2) for name in ("ann", "bob"))
    shared = manager(store=store, owner="ann", scope="shared")
    late = manager(store=store, owner="ann", checkpoint_every=1)
    for memory in (ann, bob, shared):
        for _ in range(4):
            await memory.record("fetch", {"unit": "metric"})
    await late.load()

    removed = await ann.erase()
    await late.record("new_tool")
    fresh = manager(store=store, owner="ann")
    await fresh.load()
    await bob.load()

    assert removed == 8
    assert [pattern.tool_name for pattern in late.get_patterns()] == ["new_tool"]
    assert [pattern.tool_name for pattern in fresh.get_patterns()] == ["new_tool"]
    assert (await store.read(Scope(shared=True))).traces == ()
    assert bob.get_patterns()[0].calls == 4


async def test_after_an_erasure_by_another_nothing_erased_comes_back_in_a_correction() -> None:
    """What was erased in the store is gone from the window of the last calls, too."""
    store = InMemoryTraceStore()
    memory = manager(store=store, owner="ann")
    await memory.record("login", {"name": "zebra fish"})
    await memory.record("find", {"unit": "new zebra"}, error="bad unit")
    await store.erase("ann")
    trace = await memory.record("find", {"unit": "New Zebra"})
    kept = [one.to_json() for _, one in (await store.read(Scope("ann"))).traces]

    assert (trace.correction, trace.previous) == (None, ())
    assert len(kept) == 1
    assert "new zebra" not in str(kept)


async def test_a_correction_is_learned_beside_what_others_wrote_before() -> None:
    """The first look at a log that is there already clears nothing."""
    store = InMemoryTraceStore()
    await manager(store=store).record("other")
    memory = manager(store=store)
    await memory.record("book", {"day": "2026/05/01"}, error="bad day")
    trace = await memory.record("book", {"day": "2026-05-01"})

    assert trace.correction is not None


async def test_a_secret_as_a_name_is_not_kept() -> None:
    """Not as an argument's or a result's key, a tool's name, a kind of error or a changed argument."""
    secret = "sk-proj-abcdefghijklmnopqrstuv"
    under = secret.replace("-", "_")
    memory = manager()
    traces = [
        await memory.record("t", {"h": {secret: 1}}, {under: 1}),
        await memory.record(secret, {"q": 1}),
        await memory.record("t", {"q": 1}, error="", error_kind=under),
        await memory.record("t", {"q": 1, secret: 2}),
    ]
    kept = str([trace.to_json() for trace in traces])

    assert traces[3].correction is not None
    assert "abcdefgh" not in kept


async def test_a_long_name_of_words_and_numbers_is_no_secret() -> None:
    """Such tools are not taken for one another."""
    name = "mcp__github2__create_issue_comment"
    trace = await manager().record(name, {"shipping_address_line_2_street": "x"})

    assert trace.tool_name == name
    assert list(trace.forms) == ["shipping_address_line_2_street"]


async def test_a_shared_trace_drops_keys_that_look_like_ids_or_names() -> None:
    """What a call was about may stand in its keys."""
    memory = manager(scope="shared")
    trace = await memory.record("t", {"seats": {"Mary": 1, "W123": 2}, "day": "x"}, {"Mary": 1})

    assert set(trace.forms) == {"seats._", "day"}
    assert trace.result_shape == "object"


class FailingStore(InMemoryTraceStore):
    """Writes, and then says that it could not, once."""

    fail_next = True

    async def append(self, scope: Scope, traces: Sequence[Trace]) -> Appended:
        done = await super().append(scope, traces)
        if self.fail_next:
            self.fail_next = False
            raise TraceStoreError("no answer from the store")
        return done


async def test_a_failed_write_may_be_repeated_under_its_id() -> None:
    """The trace counts once, whether the first write landed or not."""
    memory = manager(store=FailingStore())
    with pytest.raises(TraceStoreError):
        await memory.record("fetch", trace_id="t1")
    await memory.record("fetch", trace_id="t1")

    assert memory.get_patterns()[0].calls == 1


async def test_a_hint_is_measured_in_two_arms() -> None:
    """Calls of which nobody knows whether a hint was shown enter neither."""
    memory = manager()
    for number in range(60):
        hinted = (None, True, False)[number % 3]
        failed = "bad" if hinted is False and number % 2 else None
        await memory.record("fetch", error=failed, hinted=hinted)
    lift = memory.lift()

    assert lift is not None
    assert (lift.hinted.calls, lift.plain.calls) == (20, 20)
    assert lift.gain == 0.5
    assert 0 < lift.low < 0.5 < lift.high < 1


async def test_recall_puts_the_tool_first_and_then_what_served_such_goals() -> None:
    """Words in another order and number still meet; unrelated tools stay away."""
    memory = manager()
    await memory.record("maps", goal="plan trip")
    await memory.record("mail", goal="write to the landlord")
    await memory.record("book")

    found = [pattern.tool_name for pattern in memory.recall("book", "planning a trip to the sea")]

    assert found == ["book", "maps"]


async def test_a_clock_that_jumps_breaks_nothing() -> None:
    """Calls from the future have the age 0, calls from the first day are old."""
    memory = manager()
    await memory.record("fetch", at=NOW + timedelta(days=900))
    await memory.record("fetch", at=datetime(1970, 1, 1, tzinfo=UTC))
    pattern = memory.get_patterns()[0]

    assert (pattern.calls, pattern.age_days) == (2, 0)


@pytest.mark.parametrize(
    "options", [{"scope": "session"}, {"scope": "all"}, {"half_life_days": 0}, {"checkpoint_every": 0}]
)
def test_a_wrong_setting_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    """Not in the middle of a run."""
    with pytest.raises(ValueError, match=r"use|give"):
        ToolMemoryManager(**options)
