"""Recorded patterns of calls, `tests/traces/*.json`: where the loop check speaks up, and where it is silent.

A trace is a list of steps: `user`, `assistant`, `segmentation` or `call`, each `times` over (1 if absent).
`expect` lists what is found, by the index of the call or of the assistant's text: `warn`, `block` or
`stop`. Whatever is not listed is allowed. A call that is blocked does not run: its answer is the refusal.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guards.calls import CallRecord, Outcome, PendingCall, fingerprint
from guards.checks.loop import LoopCheck, LoopPolicy
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding

TRACES = sorted((Path(__file__).parent.parent / "traces").glob("*.json"))
FOUND = {
    "alternation",
    "chanting",
    "cycle_of_three",
    "cycle_of_twelve",
    "loop_on_replays",
    "monologue",
    "page_with_a_clock",
    "page_with_a_line_of_noise",
    "pending_for_ever",
    "reworded_question",
    "same_call_same_result",
    "same_error_drifting_arguments",
    "same_error_same_arguments",
    "segmentation_repeats",
    "wandering",
}
NOT_FOUND = {
    "batch_equal_ok",
    "edit_and_test",
    "numeric_equal_answers",
    "pagination",
    "polling_changing_answer",
    "read_write_read",
    "scrolling",
    "short_poll",
    "transient_error",
    "user_asks_again",
}
"""What the check promises to find, and what it promises not to find; the corpus holds more."""

START = datetime(2026, 1, 1, tzinfo=UTC)


class Seen(NamedTuple):
    """What was found, and at which call or text."""

    kind: str
    index: int
    action: str
    reason_code: str


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def play(trace: dict[str, Any]) -> Iterator[Seen]:
    """Run a trace through the check, as a guard would."""
    presets = {"default": LoopPolicy, "smooth": LoopPolicy.smooth, "strict": LoopPolicy.strict}
    check = LoopCheck(presets[trace["preset"]]())
    calls = texts = 0
    for step in steps_of(trace):
        if "user" in step:
            check.user_spoke()
        elif "segmentation" in step:
            check.segmentation_happened(step["segmentation"])
        elif "assistant" in step:
            check.assistant_said(step["assistant"])
            yield from seen("text", texts, check.examine_text())
            texts += 1
        else:
            finding = one_call(check, step["call"], calls)
            yield from seen("call", calls, finding)
            calls += 1


def steps_of(trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for step in trace["steps"]:
        for _ in range(step.get("times", 1)):
            yield from step.get("repeat", [step])


def one_call(check: LoopCheck, call: dict[str, Any], index: int) -> Finding | None:
    name, arguments, read_only = call["name"], call["arguments"], call.get("read_only")
    call_id, at = f"call_{index}", START + timedelta(seconds=index)
    key = fingerprint(name, arguments)
    pending = PendingCall(call_id, name, arguments, arguments, key, at, read_only=read_only)
    finding = check.examine(
        pending, ToolSpec(name, read_only=read_only, loop_patience=call.get("patience", 1))
    )
    outcome, error = Outcome(call.get("outcome", "error" if "error" in call else "ok")), call.get("error")
    if finding is not None and finding.action is Action.BLOCK:
        outcome, error = Outcome.REFUSED, finding.message
    result = call.get("result") if outcome in (Outcome.OK, Outcome.REPLAYED) else None
    check.observe(CallRecord(call_id, name, arguments, outcome, key, at, result, error, read_only=read_only))
    return finding


def seen(kind: str, index: int, finding: Finding | None) -> Iterator[Seen]:
    if finding is not None:
        action = "stop" if finding.should_stop else finding.action.value
        yield Seen(kind, index, action, finding.reason_code)


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_trace_is_judged_as_it_says(path: Path) -> None:
    """Each call and text of a trace is found, and graded, as its author expects; all others are allowed."""
    trace = load(path)

    expected = [
        Seen("text" if "text" in e else "call", e.get("text", e.get("call")), e["action"], e["reason_code"])
        for e in trace["expect"]
    ]

    assert expected == list(play(trace))


def test_every_case_has_a_trace() -> None:
    """Each case that the check promises to find, or not to find, stands in the corpus."""
    traces = {path.stem: load(path) for path in TRACES}

    assert traces.keys() >= FOUND | NOT_FOUND
    assert all(traces[name]["expect"] for name in FOUND)
    assert not any(traces[name]["expect"] for name in NOT_FOUND)
    assert all(trace["licence"] == "own" and trace["name"] == name for name, trace in traces.items())
