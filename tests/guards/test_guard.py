"""`ToolGuard` around a call: the promised names, what goes wrong, and what the state is afterwards."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel

from guards import (
    Action,
    Binding,
    CallInProgressError,
    GroundingPolicy,
    GuardLimitError,
    InvalidArgumentsError,
    Limits,
    Outcome,
    PermissionPolicy,
    SnapshotError,
    ToolGuard,
    ToolSpec,
    ToolStateManager,
    UnknownCallError,
    UnresolvedReferenceError,
    Verdict,
)
from guards.facts import Fact, Finished, Refused
from tests.guards.calls import NOON, Clock

READ = ToolSpec("read", read_only=True)
PAY = ToolSpec("pay", destructive=True)
ASKING = PermissionPolicy(confirm_destructive=True)


class Timer:
    """Monotonic seconds that stand until they are moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guarded(*specs: ToolSpec, **settings: Any) -> ToolGuard:
    """A guard of `read` and `pay` on clocks that stand still."""
    settings = {"clock": Clock(), "timer": Timer()} | settings
    return ToolGuard((READ, PAY, *specs), **settings)


def call(guard: ToolGuard, name: str, arguments: Any = None, result: Any = "ok", **ids: Any) -> Verdict:
    """One whole call: before, and after if it may run."""
    verdict = guard.before_call(name, arguments, **ids)
    if verdict.should_run:
        guard.after_call(verdict.call_id, result=result)
    return verdict


# The names that are promised


def test_a_verdict_has_what_is_promised() -> None:
    """A call that nothing stands against is allowed, with its arguments resolved."""
    guard = guarded()
    guard.bind_value("lookup", {}, {"id": 7})

    verdict = guard.before_call("read", {"order": "$v1.id"}, "c1")

    assert verdict.action == "allow"
    assert isinstance(verdict.action, StrEnum)
    assert (verdict.call_id, verdict.name, verdict.arguments) == ("c1", "read", {"order": 7})
    assert (verdict.message, verdict.reason_code, verdict.findings) == ("", None, ())
    assert (verdict.replayed, verdict.should_block, verdict.should_run) == (None, False, True)
    assert verdict.reference == "$v2"


def test_a_result_is_bound_and_an_error_is_not() -> None:
    """`after_call` gives the binding of a result, and `None` for an error, as text or as exception."""
    guard = guarded()
    for call_id in ("c1", "c2", "c3"):
        guard.before_call("read", {"path": call_id}, call_id)

    bound = guard.after_call("c1", result={"n": 1})

    assert isinstance(bound, Binding)
    assert (bound.id, bound.value) == ("v1", {"n": 1})
    assert guard.after_call("c2", error="no such file") is None
    assert guard.after_call("c3", error=OSError("no such file")) is None


def test_the_lines_that_users_of_an_older_library_write_work() -> None:
    """The manager's old name, and the calls on it, stand as they are promised."""
    tool_state = ToolStateManager()

    binding = tool_state.bind_value("sqrt", {"x": 16}, 4.0)
    status = tool_state.check_runaway()
    check = tool_state.check_ungrounded_call("normal_cdf", {"mean": 0, "std": 1, "x": 1.5})
    tool_state.reset_for_new_prompt()

    assert (binding.id, binding.value) == ("v1", 4.0)
    assert (status.action, status.should_block) == ("allow", False)
    assert (check.action, check.reason_code, check.should_block) == ("warn", "grounding.ungrounded", False)
    assert check.message


def test_a_bare_guard_confirms_and_replays_nothing_it_does_not_know() -> None:
    """An unknown tool runs each time, and no person is asked."""
    guard = ToolGuard()

    actions = [call(guard, "shell", {"command": "ls"}).action for _ in range(3)]

    assert actions == [Action.ALLOW] * 3


def test_a_known_reader_is_replayed_and_says_so() -> None:
    """The second equal call gets the first one's result, by its number."""
    guard = guarded()
    call(guard, "read", {"path": "a"}, {"lines": 3}, call_id="c1")

    again = guard.before_call("read", {"path": "a"}, "c2")

    assert (
        again.action,
        again.replayed,
        again.result,
        again.reference,
    ) == ("replay", "c1", {"lines": 3}, "$v1")
    assert again.reason_code == "cache.replay"
    assert "call 1" in again.message
    assert not again.should_run
    assert not again.should_block


def test_reason_codes_are_dotted() -> None:
    """Each finding's code begins with the check that saw it."""
    guard = guarded(limits=Limits(per_tool={"slow": 0}), permissions=PermissionPolicy(deny=("rm",)))

    codes = [
        guard.before_call("slow").reason_code,
        guard.before_call("rm").reason_code,
        guard.before_call("read", {"path": "$v9"}).reason_code,
    ]

    assert codes == ["budget.tool", "permission.denied", "references.unknown"]
    assert all(
        finding.reason_code.startswith(finding.check.value) for finding in guard.before_call("rm").findings
    )


def test_a_loop_is_nudged_then_blocked_then_stopped() -> None:
    """The fourth equal call without progress warns, the sixth is not run, the ninth ends the run."""
    guard = guarded()

    verdicts = [call(guard, "poke", {"x": "same"}, "nothing") for _ in range(9)]

    assert [v.action for v in verdicts] == ["allow"] * 3 + ["warn"] * 2 + ["block"] * 4
    assert verdicts[3].reason_code == "loop.repeat"
    assert [v.should_stop for v in verdicts] == [False] * 8 + [True]
    assert guard.check_runaway().should_block


def test_resolve_raises_where_before_call_blocks() -> None:
    """An unknown reference is an error to the host that resolves, and a verdict to the one that calls."""
    guard = guarded()

    with pytest.raises(UnresolvedReferenceError, match=r"\$v9"):
        guard.resolve({"x": "$v9"})
    verdict = guard.before_call("read", {"x": "$v9"})

    assert verdict.action == "block"
    assert verdict.arguments == {"x": "$v9"}


def test_resolve_says_where_each_leaf_came_from() -> None:
    """Provenance is by path; nothing is counted as used by looking."""
    guard = guarded()
    guard.bind_value("t", {}, [1, 2])

    found = guard.resolve({"a": "$v1[1]", "b": 5})

    assert found.arguments == {"a": 2, "b": 5}
    assert {path: s.kind for path, s in found.provenance.items()} == {"$.a": "whole", "$.b": "literal"}
    assert guard.bindings.used == ()


def test_used_is_what_was_really_put_in() -> None:
    """A reference counts when the call runs, not when it is refused."""
    guard = guarded(limits=Limits(per_tool={"slow": 0}))
    guard.bind_value("t", {}, 1)
    guard.bind_value("t", {}, 2)

    guard.before_call("slow", {"x": "$v2"})
    guard.before_call("fast", {"x": "$v1"})

    assert [binding.id for binding in guard.bindings.used] == ["v1"]
    assert [binding.id for binding in guard.bindings.unused] == ["v2"]


def test_aliases_name_a_result() -> None:
    """`after_call(aliases=)` makes `$order` mean what `$v1` means."""
    guard = guarded()
    verdict = guard.before_call("read")
    guard.after_call(verdict.call_id, result={"id": 7}, aliases=["order"])

    assert guard.resolve({"x": "$order.id"}).arguments == {"x": 7}


# Numbers


def test_announced_calls_are_numbered_as_they_are_listed() -> None:
    """Parallel calls keep the order of the message, whichever begins or ends first."""
    guard = guarded()

    assert guard.announce(["a", "b", "c"]) == ("$v1", "$v2", "$v3")
    begun = {i: guard.before_call("read", {"path": i}, i).reference for i in ("c", "a", "b")}

    assert begun == {"c": "$v3", "a": "$v1", "b": "$v2"}
    assert guard.before_call("read", {"path": "d"}).reference == "$v4"


def test_a_number_that_was_given_out_is_not_announced_again() -> None:
    """A store's numbers begin behind what is taken; an earlier one is an error that says which is free."""
    guard = guarded()
    guard.bind_value("t", {}, 1)
    before = guard.snapshot()

    with pytest.raises(ValueError, match=r"first=1: numbers below 2"):
        guard.announce(["a"], first=1)

    assert before == guard.snapshot()
    assert guard.announce(["a", "b"], first=7) == ("$v7", "$v8")
    assert guard.before_call("read").reference == "$v9"


def test_a_call_without_an_id_gets_one_that_is_free() -> None:
    """An id that the guard makes never meets one of the provider's that is open or announced."""
    guard = guarded()
    guard.before_call("read", {"path": "a"}, "unnamed_2")
    guard.announce(["unnamed_3"])

    assert guard.before_call("read", {"path": "b"}).call_id == "unnamed_4"


# Bad input: a clear error, the state as it was


class Model(BaseModel):
    """A caller's own model."""

    total: Decimal
    on: date


@dataclass
class Point:
    """A caller's own dataclass."""

    x: int
    raw: bytes


def test_rich_arguments_become_json() -> None:
    """Models, dataclasses, decimals, times and bytes arrive at the tool in their documented JSON form."""
    arguments = {
        "model": Model(total=Decimal("1.50"), on=date(2026, 1, 2)),
        "point": Point(1, b"\x00\xff"),
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "price": Decimal("0.10"),
        "pair": (1, 2),
    }

    assert guarded().before_call("read", arguments).arguments == {
        "model": {"total": "1.50", "on": "2026-01-02"},
        "point": {"x": 1, "raw": {"$bytes": "AP8="}},
        "at": "2026-01-02T00:00:00+00:00",
        "price": "0.10",
        "pair": [1, 2],
    }


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("{not json", id="no JSON"),
        pytest.param(b"\xff\xfe{", id="no text"),
        pytest.param("[1]", id="a list"),
        pytest.param('{"x": NaN}', id="NaN in text"),
        pytest.param('{"x": ' + "[" * 100_000, id="deep text"),
        pytest.param(CYCLE, id="cyclic"),
        pytest.param({"x": math.nan}, id="NaN"),
        pytest.param({"x": object()}, id="an object"),
        pytest.param({1: "x"}, id="a key that is no text"),
        pytest.param({"x": 10**5000}, id="a huge integer"),
        pytest.param(["x"], id="no mapping"),
        pytest.param(5, id="a number"),
    ],
)
def test_arguments_that_are_no_json_are_an_error_and_change_nothing(arguments: Any) -> None:
    """`before_call`, `check_ungrounded_call`, `resolve` and `bind_value` refuse them alike."""
    guard = guarded()
    call(guard, "read", {"path": "a"})
    before = guard.snapshot()

    for refuses in (
        lambda: guard.before_call("read", arguments),
        lambda: guard.check_ungrounded_call("read", arguments),
        lambda: guard.resolve(arguments),
        lambda: guard.bind_value("read", arguments, 1),
    ):
        with pytest.raises(InvalidArgumentsError):
            refuses()

    assert before == guard.snapshot()


@pytest.mark.parametrize("arguments", [None, "", "  ", b"", {}, "{}"])
def test_no_arguments_are_no_arguments(arguments: Any) -> None:
    """Models send nothing, empty text or an empty object for a tool without parameters."""
    assert guarded().before_call("now", arguments).arguments == {}


@pytest.mark.parametrize(
    "result",
    [math.nan, CYCLE, object(), {1: "a"}, {2, 3}, b"\x00", pytest.param(10**5000, id="a huge integer")],
)
def test_any_result_can_be_bound(result: Any) -> None:
    """A result never fails the call that brought it, whatever it is."""
    guard = guarded()
    verdict = guard.before_call("read")

    bound = guard.after_call(verdict.call_id, result=result)

    assert bound is not None
    assert json.loads(bound.json_text) == bound.value


def test_a_stand_in_is_not_replayed() -> None:
    """A result without JSON form is bound as its stand-in; an equal call runs again for the real one."""
    guard = guarded()

    call(guard, "read", {"path": "a"}, object())

    assert guard.before_call("read", {"path": "a"}).action == "allow"


def test_a_generator_is_neither_bound_nor_used_up() -> None:
    """What a tool returns lazily belongs to the host: there is no `$vN`, and no replay."""
    guard = guarded()
    verdict = guard.before_call("read", {"path": "a"}, "c1")
    numbers = (n for n in range(3))

    assert guard.after_call("c1", result=numbers) is None
    assert list(numbers) == [0, 1, 2]
    assert verdict.reference == "$v1"
    assert guard.before_call("use", {"x": "$v1"}).should_block
    assert guard.before_call("read", {"path": "a"}).should_run


def test_a_result_too_large_to_keep_leaves_a_binding_that_says_so() -> None:
    """50 MB do not stay; the model reads the start, and is told so if it refers to the rest."""
    guard = guarded()
    body = "x" * (50 * 1024 * 1024)
    verdict = guard.before_call("read", {"path": "big"})

    bound = guard.after_call(verdict.call_id, result=body)
    shown = guard.content_of(verdict, body, binding=bound)
    refused = guard.before_call("use", {"x": "$v1"})

    assert bound is not None
    assert ("oversize", len(body) + 2) == (bound.gone, bound.size)
    assert len(shown) < 20_000
    assert "too large" in shown
    assert (refused.action, refused.reason_code) == ("block", "references.oversize")


def test_ten_thousand_bindings_keep_their_values() -> None:
    """Numbers and values stay apart, however many there are."""
    guard = guarded()
    for i in range(10_000):
        guard.bind_value("t", {}, i)

    assert guard.resolve({"a": "$v1", "b": "$v10", "c": "$v10000"}).arguments == {"a": 0, "b": 9, "c": 9999}


def test_a_value_that_cannot_be_bound_by_hand_changes_nothing() -> None:
    """Too large, without JSON form, or under a name that is none: a typed error each, no number used."""
    guard = guarded()
    before = guard.snapshot()

    with pytest.raises(GuardLimitError):
        guard.bind_value("t", {}, "x" * (17 * 1024 * 1024))
    with pytest.raises(InvalidArgumentsError):
        guard.bind_value("t", {}, object())
    with pytest.raises(ValueError, match="alias"):
        guard.bind_value("t", {}, 1, aliases=["v3"])

    assert before == guard.snapshot()


def test_a_bad_alias_leaves_the_call_open() -> None:
    """The call can be finished again, without it."""
    guard = guarded()
    verdict = guard.before_call("read")
    before = guard.snapshot()

    with pytest.raises(ValueError, match="alias"):
        guard.after_call(verdict.call_id, result=1, aliases=["no name"])

    assert before == guard.snapshot()
    assert guard.after_call(verdict.call_id, result=1) is not None


@pytest.mark.parametrize("ended", [True, False])
def test_an_end_for_no_open_call_is_an_error(ended: bool) -> None:
    """A second end, or one for an unknown id, changes nothing."""
    guard = guarded()
    if ended:
        call(guard, "read", call_id="c1")
    before = guard.snapshot()

    with pytest.raises(UnknownCallError, match="'c1' is not open"):
        guard.after_call("c1", result=1)
    with pytest.raises(UnknownCallError):
        guard.replay_open("c1")

    assert before == guard.snapshot()


def test_an_id_that_runs_is_not_begun_again() -> None:
    """Two calls never share an id while both run; afterwards it is free."""
    guard = guarded()
    guard.before_call("read", {"path": "a"}, "c1")
    before = guard.snapshot()

    with pytest.raises(CallInProgressError):
        guard.before_call("read", {"path": "b"}, "c1")

    assert before == guard.snapshot()
    guard.after_call("c1", result=1)
    assert guard.before_call("read", {"path": "b"}, "c1").should_run


@pytest.mark.parametrize(
    ("settings", "what"), [({"call_deadline_s": 0}, "call_deadline_s=0"), ({"offload_tokens": -1}, "-1")]
)
def test_a_setting_out_of_range_is_an_error(settings: dict[str, Any], what: str) -> None:
    """It names the setting and its value."""
    with pytest.raises(ValueError, match=what):
        ToolGuard(**settings)


# Nothing is shared with the caller


def test_what_the_caller_changes_later_changes_nothing() -> None:
    """Arguments, results and verdicts are copies, in and out."""
    guard = guarded()
    arguments: dict[str, Any] = {"ids": [1]}
    result = {"rows": [1]}
    verdict = guard.before_call("read", arguments, "c1")
    arguments["ids"].append(2)
    verdict.arguments["ids"].append(3)
    guard.open_calls[0].arguments["ids"].append(4)
    guard.snapshot()["open"][0]["arguments"]["ids"].append(5)

    bound = guard.after_call("c1", result=result)
    result["rows"].append(2)
    replay = guard.before_call("read", {"ids": [1]})
    replay.result["rows"].append(3)

    assert bound is not None
    assert {"rows": [1]} == bound.value == guard.before_call("read", {"ids": [1]}).result


# Ends


@pytest.mark.parametrize(
    ("error", "outcome", "kind", "text"),
    [
        (ValueError("bad id"), Outcome.ERROR, "ValueError", "ValueError: bad id"),
        ("bad id", Outcome.ERROR, "error", "bad id"),
        (TimeoutError(), Outcome.TIMEOUT, "TimeoutError", "TimeoutError"),
        (KeyboardInterrupt(), Outcome.CANCELLED, "KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_an_error_says_how_the_call_ended(error: Any, outcome: Outcome, kind: str, text: str) -> None:
    """A time limit and an interruption are no ordinary failures: nobody knows how far the tool came."""
    facts: list[Fact] = []
    guard = guarded(on_fact=facts.append)
    verdict = guard.before_call("read")

    guard.after_call(verdict.call_id, error=error)
    fact = facts[-1]

    assert isinstance(fact, Finished)
    assert (outcome, kind, text) == (fact.record.outcome, fact.record.error_kind, fact.record.error)


def test_a_call_is_timed_by_the_timer() -> None:
    """Seconds are those of the guard that ran it; one that took it over does not know them."""
    timer, facts = Timer(), list[Fact]()
    guard = guarded(timer=timer, on_fact=facts.append)
    guard.before_call("read", call_id="c1")
    other = ToolGuard.restore(guard.snapshot(), [READ], clock=Clock(), on_fact=facts.append)
    timer.now = 2.5

    guard.after_call("c1", result=1)
    other.after_call("c1", result=1)

    assert [fact.record.duration_s for fact in facts if isinstance(fact, Finished)] == [2.5, None]


def test_a_call_that_never_comes_back_is_closed_at_the_deadline() -> None:
    """It is recorded as unknown by the next call, and its end is then one of no open call."""
    timer, facts = Timer(), list[Fact]()
    guard = guarded(timer=timer, on_fact=facts.append, call_deadline_s=60)
    guard.before_call("read", call_id="lost")
    timer.now = 59.9
    guard.before_call("read", {"path": "b"})

    assert len(guard.open_calls) == 2
    timer.now = 60
    guard.close_overdue()

    assert [fact.record.outcome for fact in facts if isinstance(fact, Finished)] == [Outcome.UNKNOWN]
    with pytest.raises(UnknownCallError):
        guard.after_call("lost", result=1)


@pytest.mark.parametrize("jump_s", [-10_000_000, 10_000_000])
def test_a_clock_that_jumps_closes_no_call_and_revives_no_result(jump_s: float) -> None:
    """A call that began here is timed by the timer; a result of another time is not replayed."""
    clock = Clock()
    guard = guarded(clock=clock, limits=Limits(wall_s=None))
    call(guard, "read", {"path": "a"}, 1)
    guard.before_call("read", call_id="open")

    clock.move(jump_s)
    again = guard.before_call("read", {"path": "a"})

    assert again.action == "allow"
    assert "open" in {one.call_id for one in guard.open_calls}
    assert guard.after_call("open", result=1) is not None


def test_a_call_taken_over_is_closed_by_the_clock() -> None:
    """Another process's timer says nothing here."""
    clock = Clock()
    guard = guarded(clock=clock)
    guard.before_call("read", call_id="lost")
    other = ToolGuard.restore(guard.snapshot(), clock=clock, call_deadline_s=60)
    clock.move(60)

    other.before_call("read")

    assert {"lost"} & {one.call_id for one in other.open_calls} == set()


# Outside the guard, and by hand


def test_a_call_that_ran_elsewhere_is_recorded() -> None:
    """It is bound, may be replayed, and its time of beginning is kept; its duration is unknown."""
    facts: list[Fact] = []
    guard = guarded(on_fact=facts.append)

    bound = guard.record("read", '{"path": "a"}', result=5, at=NOON)
    failed = guard.record("read", "{no json", error="bad arguments")

    assert bound is not None
    assert failed is None
    assert guard.before_call("read", {"path": "a"}).result == 5
    record = next(fact.record for fact in facts if isinstance(fact, Finished))
    assert (record.at, record.duration_s) == (NOON, None)


def test_a_recorded_end_closes_the_open_call() -> None:
    """`record` with the id of a call that runs is its end."""
    guard = guarded()
    guard.before_call("read", {"path": "a"}, "c1")

    guard.record("read", {"path": "a"}, result=1, call_id="c1")

    assert guard.open_calls == ()


def test_an_open_call_may_end_with_a_result_that_came_meanwhile() -> None:
    """`replay_open` gives the result of an equal call, and `None` while there is none."""
    guard = guarded()
    guard.before_call("read", {"path": "a"}, "c1")
    guard.before_call("read", {"path": "a"}, "c2")

    assert guard.replay_open("c2") is None
    guard.after_call("c1", result=5)
    replayed = guard.replay_open("c2")

    assert replayed is not None
    assert (replayed.result, replayed.replayed) == (5, "c1")
    assert guard.open_calls == ()


# Prompts


def test_a_new_prompt_starts_budgets_and_grace_anew() -> None:
    """Turn limits and grace return; what the user says is a source; bindings stay unless told."""
    guard = guarded(limits=Limits(per_turn=1), grounding=GroundingPolicy("block", grace=0))
    guard.bind_value("t", {}, "x")

    assert guard.before_call("send", {"order_id": "W-4711"}).should_block
    guard.reset_for_new_prompt("Send order W-4711, please.")
    first, second = (guard.before_call("send", {"order_id": "W-4711"}) for _ in range(2))
    guard.reset_for_new_prompt(keep_bindings=False)

    assert (first.should_run, second.reason_code) == (True, "budget.turn")
    assert guard.before_call("send", {"x": "$v1"}).should_block
    assert len(guard.bindings) == 0


def test_texts_are_sources_and_monologues_are_seen() -> None:
    """System and user text ground arguments; the same answer over and over is nudged."""
    guard = guarded()
    guard.system_said("Account A-77 is the default.")
    guard.user_said("Use box B-88.")

    assert guard.check_ungrounded_call("send", {"account_id": "A-77", "box_id": "B-88"}).action == "allow"
    said = [guard.assistant_said("Let me think about that once more, step by step.").action for _ in range(3)]
    assert said == ["allow", "allow", "warn"]


def test_looking_changes_nothing() -> None:
    """`check_runaway`, `check_ungrounded_call`, `resolve`, `spec_of` and `snapshot` only read."""
    guard = guarded()
    call(guard, "read", {"path": "a"})
    guard.before_call("read", {"path": "b"})
    before = guard.snapshot()

    guard.check_runaway()
    guard.check_ungrounded_call("send", {"order_id": "W-1", "x": "$v1"})
    guard.check_ungrounded_call("send", {"x": "$v9"})
    guard.resolve({"x": "$v1"})
    guard.spec_of("nobody")

    assert before == guard.snapshot()


def test_a_repair_is_made_by_the_guard() -> None:
    """With `repair`, a value copied by hand is passed on as the bound one, and the verdict says so."""
    guard = guarded(grounding=GroundingPolicy(repair=True))
    call(guard, "read", {"path": "a"}, {"order_id": "W-4711-XY"})

    verdict = guard.before_call("send", {"order_id": "W-4711-XY"})

    assert (verdict.action, verdict.reason_code) == ("allow", "grounding.copied")
    assert [binding.id for binding in guard.bindings.used] == ["v1"]


# A person decides


def test_an_approved_call_runs_once_with_its_arguments() -> None:
    """Approval is for this call; a second decision finds nothing waiting."""
    guard = guarded(permissions=ASKING)
    asked = guard.before_call("pay", {"amount": 1}, "c1")

    assert (asked.action, asked.reason_code, asked.should_block) == ("confirm", "permission.confirm", True)
    assert [waiting.call_id for waiting in guard.waiting_calls] == ["c1"]
    verdict = guard.approve("c1", {"amount": 1})

    assert (verdict.action, verdict.call_id, verdict.arguments) == ("allow", "c1", {"amount": 1})
    for decide in (guard.approve, guard.reject):
        with pytest.raises(UnknownCallError):
            decide("c1")
    assert guard.after_call("c1", result="paid") is not None


def test_a_persons_word_goes_over_budgets_and_loops() -> None:
    """What was approved runs, even where the same call of the model's own would not."""
    guard = guarded(permissions=ASKING, limits=Limits(per_tool={"pay": 1}))
    guard.before_call("pay", {"amount": 1}, "c1")
    guard.before_call("pay", {"amount": 2}, "c2")

    assert guard.approve("c1").should_run
    assert guard.approve("c2").should_run
    assert guard.before_call("pay", {"amount": 3}).reason_code == "budget.tool"


def test_changed_arguments_are_not_approved() -> None:
    """What the person saw must be what waits, and the refusal changes nothing."""
    guard = guarded(permissions=ASKING)
    guard.before_call("pay", {"amount": 1}, "c1")
    before = guard.snapshot()

    with pytest.raises(InvalidArgumentsError, match="other arguments"):
        guard.approve("c1", {"amount": 1000})

    assert before == guard.snapshot()
    assert guard.approve("c1").should_run


def test_a_rejected_call_is_refused_with_its_reason() -> None:
    """The verdict tells the model why; the same arguments are refused for the rest of the turn."""
    guard = guarded(permissions=ASKING)
    guard.before_call("pay", {"amount": 1}, "c1")

    verdict = guard.reject("c1", "too much")
    again = guard.before_call("pay", {"amount": 1}, "c2")

    assert (verdict.action, verdict.reason_code, again.action) == ("block", "permission.rejected", "block")
    assert '"too much"' in verdict.message
    assert guard.open_calls == ()
    with pytest.raises(UnknownCallError):
        guard.approve("c1")


def test_a_waiting_call_survives_a_restart() -> None:
    """It is approved in another process, under its own number."""
    guard = guarded(permissions=ASKING)
    guard.announce(["c1", "c2"])
    guard.before_call("pay", {"amount": 1}, "c2")
    kept = json.loads(json.dumps(guard.snapshot()))

    other = ToolGuard.restore(kept, (READ, PAY), permissions=ASKING)

    assert other.approve("c2").reference == "$v2"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_destructive_call_sent_again_is_replayed_not_asked_for(restarted: bool) -> None:
    """After success the same call gives its result again, with or without a person to ask."""
    guard = guarded(permissions=ASKING)
    guard.before_call("pay", {"amount": 1}, "c1")
    guard.approve("c1")
    guard.after_call("c1", result="paid")
    if restarted:
        guard = ToolGuard.restore(guard.snapshot(), (READ, PAY), permissions=ASKING, clock=Clock())

    again = guard.before_call("pay", {"amount": 1}, "c1")

    assert (again.action, again.result) == ("replay", "paid")
    assert guard.waiting_calls == ()


def test_an_idempotency_key_runs_one_call() -> None:
    """Another id with the key replays; another call with it is refused; a failed one is not repeated."""
    guard = guarded()
    call(guard, "send", {"to": "a"}, "sent", idempotency_key="k")
    failed = guard.before_call("send", {"to": "b"}, idempotency_key="f")
    guard.after_call(failed.call_id, error="refused by the server")

    same = guard.before_call("send", {"to": "a"}, idempotency_key="k")
    other = guard.before_call("send", {"to": "c"}, idempotency_key="k")
    retried = guard.before_call("send", {"to": "b"}, idempotency_key="f")

    assert (same.action, same.result) == ("replay", "sent")
    assert [other.action, retried.action] == ["block", "block"]


def test_what_runs_under_a_key_is_not_begun_twice() -> None:
    """While the first call runs, a second one with its key waits for it."""
    guard = guarded()
    guard.before_call("send", {"to": "a"}, idempotency_key="k")

    assert guard.before_call("send", {"to": "a"}, idempotency_key="k").should_block


def test_an_approval_does_not_repeat_what_ran_meanwhile() -> None:
    """Two calls wait under one key: the second approval replays the first one's result."""
    guard = guarded(permissions=ASKING)
    for call_id in ("c1", "c2"):
        guard.before_call("pay", {"amount": 1}, call_id, idempotency_key="k")
    guard.approve("c1")
    guard.after_call("c1", result="paid")

    second = guard.approve("c2")

    assert (second.action, second.result, second.replayed) == ("replay", "paid", "c1")


def test_a_destructive_call_cut_off_by_a_crash_asks_a_person() -> None:
    """Nobody knows whether it happened: `outcome_unknown`, and an approval runs it."""
    guard = guarded()
    guard.before_call("pay", {"amount": 1}, "c1")
    other = ToolGuard.restore(guard.snapshot(), (READ, PAY), clock=Clock())

    asked = other.before_call("pay", {"amount": 1}, "c1")

    assert (asked.action, asked.reason_code) == ("confirm", "permission.outcome_unknown")
    assert other.approve("c1").should_run
    assert other.after_call("c1", result="paid") is not None
    assert other.before_call("pay", {"amount": 1}, "c1").action == "replay"


# What the model reads


def test_content_is_the_result_the_error_or_the_message() -> None:
    """One text for each end of a call."""
    guard = guarded(permissions=PermissionPolicy(deny=("rm",)))
    fine = guard.before_call("read", {"path": "a"})
    bound = guard.after_call(fine.call_id, result={"n": 1})
    denied = guard.before_call("rm")

    assert guard.content_of(fine, {"n": 1}, binding=bound) == '{"n":1}'
    assert guard.content_of(fine, error=OSError("gone")) == "The tool failed: OSError: gone"
    assert denied.message == guard.content_of(denied)


def test_a_large_result_is_shown_as_a_preview_also_when_it_is_replayed() -> None:
    """The body stays out of the context; the reference passes it on."""
    guard = guarded(offload_tokens=100)
    rows = [{"id": i, "name": f"row {i}"} for i in range(500)]
    first = guard.before_call("read", {"path": "a"})
    bound = guard.after_call(first.call_id, result=rows)
    again = guard.before_call("read", {"path": "a"})

    shown = [guard.content_of(first, rows, binding=bound), guard.content_of(again)]

    assert all(len(text) < 3_000 and "$v1" in text for text in shown)
    assert again.message in shown[1]


def test_what_was_paged_in_is_not_offloaded_again() -> None:
    """The answers of `read_value` are shown whole, and its arguments are names, not values."""
    guard = guarded(offload_tokens=10)
    guard.bind_value("t", {}, "x" * 1000)
    verdict = guard.before_call("read_value", {"reference": "$v1"})
    page = "y" * 1000

    assert verdict.arguments == {"reference": "$v1"}
    assert page == guard.content_of(verdict, page, binding=guard.after_call(verdict.call_id, result=page))


# Shadow


def test_shadow_mode_watches_only() -> None:
    """Every call runs; its findings say what would have become of it; references are resolved."""
    guard = guarded(shadow=True, limits=Limits(per_tool={"read": 1}), permissions=ASKING)
    guard.bind_value("t", {}, 5)
    call(guard, "read", {"path": "a"})

    verdicts = [
        guard.before_call("read", {"path": "a"}),
        guard.before_call("pay", {"amount": "$v1"}),
        guard.before_call("use", {"x": "$v9"}),
        guard.check_ungrounded_call("send", {"order_id": "W-1"}),
    ]

    assert [(v.action, v.message, v.shadow) for v in verdicts] == [("allow", "", True)] * 4
    assert verdicts[1].arguments == {"amount": 5}
    assert [verdict.reason_code for verdict in verdicts] == [
        "budget.tool",
        "permission.confirm",
        "references.unknown",
        "grounding.ungrounded",
    ]
    assert guard.waiting_calls == ()


# Snapshots


def test_a_snapshot_is_json_with_a_version() -> None:
    """It comes back equal, and gives the same verdicts."""
    guard = guarded()
    call(guard, "read", {"path": "a"}, 1)
    guard.before_call("read", {"path": "b"})
    kept = json.loads(json.dumps(guard.snapshot()))

    other = ToolGuard.restore(kept, (READ, PAY), clock=Clock(), timer=Timer())

    assert kept["v"] == 1
    assert kept == other.snapshot()
    assert other.before_call("read", {"path": "a"}).action == "replay"


def test_what_a_newer_version_adds_to_a_snapshot_is_left_out() -> None:
    """Keys that this version does not know do not keep it from reading."""
    guard = guarded()
    guard.before_call("read", call_id="c1")
    kept = guard.snapshot()
    more = kept | {"mood": "good", "open": [kept["open"][0] | {"mood": "good"}]}

    assert ToolGuard.restore(more, clock=Clock(), timer=Timer()).snapshot() == kept


def broken(change: str) -> Any:
    """A snapshot with one thing wrong."""
    guard = guarded(permissions=ASKING)
    call(guard, "read", {"path": "a"}, 1)
    guard.before_call("read", call_id="c1")
    guard.before_call("pay", call_id="c2")
    kept = guard.snapshot()
    match change:
        case "newer":
            kept["v"] = 2
        case "no version":
            del kept["v"]
        case "a part is gone":
            del kept["grounding"]
        case "a part is no object":
            kept["bindings"] = "x"
        case "a naive time":
            kept["open"][0]["started_at"] = "2026-01-02T12:00:00"
        case "a call without its name":
            del kept["open"][0]["name"]
        case "no number":
            kept["turn"] = "many"
        case _:
            kept["permission"]["confirmations"]["asked"][0]["arguments"] = {"amount": 10}
    return kept


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param("{}", id="text"),
        *(
            pytest.param(broken(change), id=change)
            for change in (
                "newer",
                "no version",
                "a part is gone",
                "a part is no object",
                "a naive time",
                "a call without its name",
                "no number",
                "an approval with other arguments",
            )
        ),
    ],
)
def test_a_broken_snapshot_is_refused_whole(snapshot: Any) -> None:
    """`restore` and `load` say so, and a guard that tried is as it was."""
    guard = guarded()
    call(guard, "read", {"path": "z"}, 1)
    before = guard.snapshot()

    with pytest.raises(SnapshotError):
        ToolGuard.restore(snapshot)
    with pytest.raises(SnapshotError):
        guard.load(snapshot)

    assert before == guard.snapshot()


def test_a_full_ledger_refuses_the_call_and_stays_as_it_was() -> None:
    """A destructive call that could not be remembered does not begin."""
    guard = guarded()
    for i in range(10_000):
        guard.before_call("pay", {"n": i}, f"c{i}")
    before = guard.snapshot()

    with pytest.raises(GuardLimitError):
        guard.before_call("pay", {"n": -1}, "last")

    assert before == guard.snapshot()


def test_each_change_is_told_as_a_fact() -> None:
    """`on_fact` hears them in order, and a refusal with its reason."""
    facts: list[Fact] = []
    guard = guarded(limits=Limits(per_tool={"slow": 0}), on_fact=facts.append)

    call(guard, "read", {"path": "a"})
    call(guard, "read", {"path": "a"})
    call(guard, "slow")

    assert [type(fact).__name__ for fact in facts] == ["Began", "Finished", "Finished", "Refused"]
    refused = facts[-1]
    assert isinstance(refused, Refused)
    assert refused.reason_code == "budget.tool"


def test_a_result_may_be_told_its_name() -> None:
    """With `name_results` the model reads each result's reference below it; a replay's is not repeated."""
    guard = ToolGuard(name_results=True)
    verdict = guard.before_call("look", {})
    binding = guard.after_call(verdict.call_id, result=[1])

    assert guard.content_of(verdict, [1], None, binding) == (
        "[1]\n\nThis result is $v1: pass it on by that name instead of copying it."
    )


def test_a_new_run_has_its_budget_anew() -> None:
    """A prompt leaves the budget of a run as it is, unless it begins one."""
    guard = ToolGuard(limits=Limits(per_run=1))

    def once() -> bool:
        verdict = guard.before_call("look", {})
        if verdict.should_run:
            guard.after_call(verdict.call_id, result=1)
        return verdict.should_run

    assert [once(), once()] == [True, False]
    guard.reset_for_new_prompt()
    assert not once()
    guard.reset_for_new_prompt(new_run=True)
    assert once()


@pytest.mark.parametrize(
    "ended",
    [{"cost_usd": Decimal("NaN")}, {"cost_usd": -1}, {"result_tokens": -1}, {"outcome": "fine"}],
    ids=str,
)
def test_a_figure_out_of_range_leaves_the_call_open(ended: dict[str, Any]) -> None:
    """A bad cost, count or outcome is refused before anything changes."""
    guard = ToolGuard(limits=Limits(cost_usd=1))
    verdict = guard.before_call("pay", {})
    before = guard.snapshot()

    with pytest.raises(ValueError):
        guard.after_call(verdict.call_id, result=1, **ended)
    assert before == guard.snapshot()
    assert guard.after_call(verdict.call_id, result=1, cost_usd=0.01) is not None


def test_a_limit_on_result_tokens_counts_where_the_host_does_not() -> None:
    """The decorator and `run` count by themselves."""
    guard = ToolGuard(limits=Limits(result_tokens=100, warn_at=None))

    @guard.tool(read_only=True)
    def read(i: int) -> str:
        return "x" * 4000

    assert read(i=1) == "x" * 4000
    assert read(i=2).startswith("Not run")
