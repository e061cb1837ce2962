"""The laws of the loop check: repetition without progress is found, progress never blocks."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.calls import CallRecord, Outcome, PendingCall, fingerprint
from guards.checks.likeness import wish
from guards.checks.loop import LoopCheck, LoopPolicy, _Asked
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding

START = datetime(2026, 1, 1, tzinfo=UTC)


class Run:
    """An agent's calls, one after the other, through a check."""

    def __init__(self, policy: LoopPolicy | None = None) -> None:
        self.check = LoopCheck(policy)
        self.made = 0

    def ask(self, name: str, arguments: dict[str, Any], patience: float = 1.0) -> Finding | None:
        pending = PendingCall(
            f"c{self.made}", name, arguments, arguments, fingerprint(name, arguments), self.now()
        )
        return self.check.examine(pending, ToolSpec(name, loop_patience=patience))

    def now(self) -> datetime:
        return START + timedelta(seconds=self.made)

    def record(self, name: str, arguments: dict[str, Any], result: Any, **fields: Any) -> None:
        outcome = fields.pop("outcome", Outcome.OK)
        key = fingerprint(name, arguments)
        self.check.observe(
            CallRecord(f"c{self.made}", name, arguments, outcome, key, self.now(), result, **fields)
        )
        self.made += 1

    def call(self, name: str, arguments: dict[str, Any], result: Any, **fields: Any) -> Finding | None:
        finding = self.ask(name, arguments)
        self.record(name, arguments, result, **fields)
        return finding


def grade(finding: Finding | None) -> str:
    if finding is None:
        return "allow"
    return "stop" if finding.should_stop else finding.action.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from("abc")
CALLS = st.tuples(
    NAMES,
    st.fixed_dictionaries({"x": st.integers(0, 2) | st.sampled_from(["good red wine", "red wine good"])}),
    JSON | st.just({"status": "pending"}) | st.just("a result of more than forty characters, in words"),
    st.sampled_from(list(Outcome)),
    st.sampled_from([None, True, False]),
)


def test_grades_follow_the_policy() -> None:
    """An equal call is nudged before the 4th, blocked before the 6th and stopped before the 9th."""
    run = Run()

    grades = [grade(run.call("get", {"id": 1}, "no news", read_only=True)) for _ in range(10)]

    assert grades == ["allow"] * 3 + ["warn"] * 2 + ["block"] * 3 + ["stop"] * 2


@given(st.lists(CALLS, max_size=40), st.booleans())
def test_examining_changes_nothing(calls: list[tuple[Any, ...]], text: bool) -> None:
    """Whatever happened, looking at a call, at the text or at the whole leaves the state as it was."""
    run = Run()
    for name, arguments, result, outcome, read_only in calls:
        before = json.dumps(run.check.snapshot())
        run.ask(name, arguments)
        run.check.check_runaway()
        run.check.examine_text()

        assert before == json.dumps(run.check.snapshot())

        run.record(name, arguments, result, outcome=outcome, read_only=read_only, error="boom")
        if text:
            run.check.assistant_said("I am going to look at the very same thing again.")


@given(st.lists(CALLS, max_size=60), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_short_way_finds_what_the_long_way_finds(calls: list[tuple[Any, ...]], patience: float) -> None:
    """A call that is waved through at a glance is one in which no case is found."""
    run = Run(LoopPolicy(nudge_before=3, block_before=4, stop_before=6, window=3))
    for name, arguments, result, outcome, read_only in calls:
        finding = run.ask(name, arguments, patience)
        asked = _Asked(name, fingerprint(name, arguments), patience, lambda found=arguments: wish(found))

        assert run.check._worst(run.check._cases(asked), name, pending=True) == finding

        run.record(name, arguments, result, outcome=outcome, read_only=read_only, error="boom")


@given(st.lists(CALLS, max_size=40), st.lists(CALLS, max_size=20))
def test_a_restored_check_goes_on_as_the_old_one(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    """A snapshot is JSON, and a check restored from it finds and remembers the same as the old one."""
    run = Run()
    for name, arguments, result, outcome, read_only in before:
        run.record(name, arguments, result, outcome=outcome, read_only=read_only, error="boom")
    twin = Run()
    twin.made = run.made

    twin.check = LoopCheck.restore(json.loads(json.dumps(run.check.snapshot())))

    assert run.check.snapshot() == twin.check.snapshot()
    for name, arguments, result, outcome, read_only in after:
        fields = {"outcome": outcome, "read_only": read_only, "error": "boom"}
        assert run.call(name, arguments, result, **fields) == twin.call(name, arguments, result, **fields)
    assert run.check.snapshot() == twin.check.snapshot()


@given(st.integers(1, 12), st.booleans(), JSON)
def test_every_cycle_is_found_by_the_third_round(period: int, read_only: bool, result: Any) -> None:
    """A cycle of 1 to 12 calls with constant results is found when its third round is over."""
    run = Run()
    last = None
    for i in range(6 * period):
        if i == 3 * period:
            last = run.check.check_runaway()
        run.record("step", {"n": i % period}, result, read_only=read_only or None)

    assert last is not None
    assert last.reason_code in ("loop.repeat", "loop.cycle", "loop.no_progress", "loop.same_error")


@given(st.integers(2, 12))
def test_a_cycle_names_its_period_and_its_calls(period: int) -> None:
    """The evidence of a cycle is its period and the calls of its last round."""
    run = Run()
    for i in range(3 * period):
        run.record("get", {"page": "abcdefghijkl"[i % period]}, f"text {i % period}", read_only=True)

    finding = run.ask("get", {"page": "a"})

    assert finding is not None
    assert ("loop.cycle", period) == (finding.reason_code, finding.evidence["period"])
    assert [f"c{i}" for i in range(2 * period, 3 * period)] == finding.evidence["calls"]


@given(st.lists(st.integers(0, 10_000), min_size=20, max_size=60, unique=True), st.booleans())
def test_a_poll_whose_answer_changes_is_never_found(answers: list[int], pauses: bool) -> None:
    """The same call with ever new answers is polling, with pauses between or without."""
    run = Run()

    for answer in answers:
        assert run.call("status", {"job": 1}, {"rows": answer}, read_only=True) is None
        if pauses:
            assert run.call("sleep", {"s": 1}, "ok") is None


@given(st.lists(st.sampled_from(["ok", "done", "0", "null", ""]), min_size=20, max_size=60))
def test_distinct_calls_with_equal_small_answers_are_never_found(answers: list[str]) -> None:
    """A batch over distinct items is work, however alike the answers are."""
    run = Run()

    for item, answer in enumerate(answers):
        assert run.call("post", {"item": item}, answer) is None


@given(st.integers(2, 60), st.sampled_from([None, True, False]))
def test_failures_that_fall_are_progress(failures: int, read_only: bool | None) -> None:
    """Edit and test never block while the number of failures falls."""
    run = Run()

    for left in range(failures, 0, -1):
        assert run.call("edit", {"line": left}, "edited") is None
        assert run.call("test", {}, f"{left} failed in 0.{left}s", read_only=read_only) is None


@given(st.lists(st.integers(1, 3), min_size=5, max_size=20))
def test_a_users_message_is_progress(rounds: list[int]) -> None:
    """What the user asks for again is never found, as long as it is asked for."""
    run = Run()

    for times in rounds:
        run.check.user_spoke()
        for _ in range(times):
            assert run.call("get", {"id": 1}, "no news", read_only=True) is None


def test_a_model_that_ignores_a_block_is_stopped() -> None:
    """Refused calls keep counting, so that a block that is ignored becomes the end of the run."""
    run = Run()
    for _ in range(5):
        run.record("get", {"id": 1}, "no news")

    grades = []
    for _ in range(4):
        grades.append(grade(run.ask("get", {"id": 1})))
        run.record("get", {"id": 1}, None, outcome=Outcome.REFUSED)

    assert grades == ["block", "block", "block", "stop"]


def test_refusals_for_another_reason_count_too() -> None:
    """A call that was never allowed to run, sent again and again, is a loop."""
    run = Run()
    for _ in range(5):
        run.record("delete", {}, None, outcome=Outcome.REFUSED)

    assert grade(run.ask("delete", {})) == "block"


def test_replays_count() -> None:
    """A replayed result is the same answer, even where the record does not carry it."""
    run = Run()
    run.record("get", {"id": 1}, {"n": 1}, read_only=True)
    for _ in range(2):
        run.record("get", {"id": 1}, None, outcome=Outcome.REPLAYED, replay_of="c0")

    assert grade(run.ask("get", {"id": 1})) == "warn"


def test_a_tool_may_have_its_own_patience() -> None:
    """`loop_patience` moves all thresholds of a tool."""
    run = Run()
    for _ in range(5):
        run.record("press", {"key": "Down"}, "ok")

    assert grade(run.ask("press", {"key": "Down"}, patience=2.0)) == "allow"
    assert grade(run.ask("press", {"key": "Down"})) == "block"
    assert grade(run.ask("press", {"key": "Down"}, patience=0.5)) == "stop"


def test_a_write_between_is_progress() -> None:
    """A call never made before, of a tool that may write, ends the streaks of the others."""
    run = Run()

    for i in range(9):
        assert run.call("read", {"path": "a"}, "text", read_only=True) is None
        assert run.call("write", {"path": "b", "text": str(i)}, "ok") is None


def test_a_read_between_is_none() -> None:
    """A call that only reads ends no streak, though it was never made before."""
    run = Run()
    for i in range(3):
        run.record("read", {"path": "a"}, "text", read_only=True)
        run.record("read", {"path": str(i)}, f"text {i}", read_only=True)

    assert grade(run.ask("read", {"path": "a"})) == "warn"


def test_another_call_is_not_judged_by_the_loop() -> None:
    """The way out of a loop is open: a call that was not made before is allowed."""
    run = Run()
    for _ in range(12):
        run.record("get", {"id": 1}, "no news", read_only=True)

    assert grade(run.ask("get", {"id": 2})) == "allow"


def test_runaway_is_told_without_a_call() -> None:
    """The state as of now says what the next equal call would meet, until something progresses."""
    run = Run()
    told = []
    for _ in range(8):
        run.record("get", {"id": 1}, "no news")
        told.append(grade(run.check.check_runaway()))
    run.record("write", {"id": 1}, "ok")

    assert told == ["allow"] * 2 + ["warn"] * 2 + ["block"] * 3 + ["stop"]
    assert run.check.check_runaway() is None


def test_a_context_that_is_full_again_and_again_is_told() -> None:
    """Segmentations without anything new between them are a loop; with news they are none."""
    run = Run()
    for _ in range(3):
        run.check.segmentation_happened("tokens")
    found = run.check.check_runaway()
    run.record("get", {"id": 1}, "news")

    assert found is not None
    assert found.reason_code == "loop.segmentation"
    assert run.check.check_runaway() is None


def test_off_looks_at_nothing() -> None:
    """A check that is off finds nothing and remembers nothing."""
    run = Run(LoopPolicy.off())
    for _ in range(20):
        assert run.call("get", {"id": 1}, "no news") is None

    assert run.check.check_runaway() is None
    assert run.check.snapshot()["streaks"] == []


def test_thresholds_can_be_left_out() -> None:
    """A threshold that is None is never reached; the others keep their places."""
    run = Run(LoopPolicy(nudge_before=None, block_before=3, stop_before=None))

    grades = [grade(run.call("get", {"id": 1}, "no news")) for _ in range(20)]

    assert grades == ["allow"] * 2 + ["block"] * 18


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"nudge_before": 1}, "nudge_before=1"),
        ({"nudge_before": 7}, "nudge_before=7"),
        ({"waiting_factor": 0.5}, "waiting_factor=0.5"),
        ({"window": 1}, "window=1"),
        ({"memory": 8}, "memory=8"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(settings: dict[str, Any], named: str) -> None:
    """The error names the setting and its value."""
    with pytest.raises(ValueError, match=named):
        LoopPolicy(**settings)


def test_memory_is_bounded() -> None:
    """Ten thousand different calls with long answers leave a state of bounded size."""
    run = Run(LoopPolicy(memory=64))
    sizes = []
    for i in range(3_000):
        run.record(f"tool{i % 200}", {"text": f"word {i} " * 20}, f"{i} " + "long answer " * 300)
        if i % 1_000 == 999:
            sizes.append(len(json.dumps(run.check.snapshot())))

    assert sizes[-1] <= 1.05 * sizes[0]
    assert sizes[-1] < 1_500_000


def test_a_message_names_the_repetition_and_a_way_out() -> None:
    """A nudge, a block and a stop say what happened, what became of the call, and what to do."""
    run = Run()
    told = {grade(f): f.message for f in (run.call("get", {"id": 1}, "no news") for _ in range(9)) if f}

    what = '"get" was called {} times with the same arguments, and nothing new came of it. '
    out = "Use the answer that you have, ask for something else, or take another way."
    assert told == {
        "warn": what.format(4) + out,
        "block": what.format(7) + out + " This call was not run.",
        "stop": what.format(8)
        + out
        + " The run ends here: tell the user what was tried and what is missing.",
    }


def test_evidence_names_the_calls() -> None:
    """A finding proves itself by ids and indexes, without arguments or answers."""
    run = Run()
    for _ in range(3):
        run.record("get", {"id": "secret"}, "no news")

    finding = run.ask("get", {"id": "secret"})

    assert finding is not None
    assert Action.WARN is finding.action
    assert finding.evidence == {
        "count": 3,
        "tool": "get",
        "calls": ["c0", "c1", "c2"],
        "indexes": [0, 1, 2],
    }
