"""Laws 18 to 22 on `ToolGuard`: random runs, and what must hold after each of them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from guards import (
    Action,
    CallInProgressError,
    GroundingPolicy,
    Limits,
    Outcome,
    PermissionPolicy,
    ToolGuard,
    ToolSpec,
    UnknownCallError,
)
from guards.facts import Fact, Segmented, fact_from_dict, fact_to_dict
from tests.guards.calls import Clock

SPECS = (
    ToolSpec("read", read_only=True, scope="file:{path}"),
    ToolSpec("list", read_only=True, group="discovery"),
    ToolSpec("put", idempotent=True, scope="file:{path}"),
    ToolSpec("pay", destructive=True),
    ToolSpec("shell"),
)
POLICIES: dict[str, Any] = {
    "limits": Limits(per_turn=12, per_group={"discovery": 4}, result_tokens=500),
    "permissions": PermissionPolicy(confirm_destructive=True, deny=("rm",)),
    "grounding": GroundingPolicy("block", grace=2, repair=True),
    "call_deadline_s": 100.0,
}

names = st.sampled_from(["read", "list", "put", "pay", "shell", "rm", "read_value"])
leaves = st.sampled_from(
    ["a", "b", "$v1", "$v2.id", "${v3} and more", "$$v1", "$v99", "W-4711-XY", 7, 1.0, None]
)
arguments = st.dictionaries(st.sampled_from(["path", "order_id", "amount"]), leaves, max_size=2)
results = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "ok", "W-4711-XY", '{"id": 3}']),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "n"]), inner, max_size=2)
    ),
    max_leaves=4,
)
ids = st.none() | st.sampled_from([f"c{i}" for i in range(6)])


class Run:
    """A guard on clocks that are turned by hand, and the facts it made."""

    def __init__(self, **changed: Any) -> None:
        self.clock = Clock()
        self.facts: list[Fact] = []
        self.guard = ToolGuard(
            SPECS, clock=self.clock, timer=self._timer, on_fact=self.facts.append, **(POLICIES | changed)
        )

    def _timer(self) -> float:
        return self.clock.now.timestamp()

    def other(self, **changed: Any) -> ToolGuard:
        """A second guard with the same policies and clocks, and no facts yet."""
        return ToolGuard(SPECS, clock=self.clock, timer=self._timer, **(POLICIES | changed))


def through_json(value: Any) -> Any:
    """A value as another process reads it."""
    return json.loads(json.dumps(value))


class GuardMachine(RuleBasedStateMachine):
    """Calls, ends, prompts, bindings and decisions in any order."""

    open_calls = Bundle("open_calls")

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.told = 0
        self.follower = self.run.other()
        self.references: set[str] = set()

    @rule(
        target=open_calls,
        name=names,
        given_arguments=arguments,
        call_id=ids,
        key=st.sampled_from([None, "k"]),
    )
    def begin(self, name: str, given_arguments: dict[str, Any], call_id: str | None, key: str | None) -> str:
        self.run.guard.close_overdue()
        before = self.run.guard.snapshot()
        try:
            verdict = self.run.guard.before_call(name, given_arguments, call_id, idempotency_key=key)
        except CallInProgressError:
            assert self.run.guard.snapshot() == before
            return ""
        after = self.run.guard.snapshot()
        if verdict.should_block:
            assert after["budget"] == before["budget"]
            assert after["bindings"] == before["bindings"]
        if verdict.should_run:
            self._numbered(verdict.reference)
        return verdict.call_id

    @rule(call_ids=st.lists(ids.filter(bool), min_size=1, max_size=3, unique=True), gap=st.integers(0, 2))
    def announce(self, call_ids: list[str], gap: int) -> None:
        free = self.run.guard.bindings.next_number
        references = self.run.guard.announce(call_ids, first=free + gap)

        assert references == tuple(f"$v{free + gap + i}" for i in range(len(call_ids)))

    @rule(call_id=consumes(open_calls), result=results, tokens=st.none() | st.integers(0, 90))
    def end(self, call_id: str, result: Any, tokens: int | None) -> None:
        self._end(call_id, result=result, result_tokens=tokens)

    @rule(
        call_id=consumes(open_calls),
        error=st.sampled_from(["not found", ValueError("bad"), TimeoutError(), KeyboardInterrupt()]),
    )
    def fail(self, call_id: str, error: BaseException | str) -> None:
        self._end(call_id, error=error, attempt_errors=("ConnectionError",))

    @rule(value=results)
    def bind(self, value: Any) -> None:
        self._numbered("$" + self.run.guard.bind_value("hand", {"x": 1}, value).id)

    @rule(name=names, given_arguments=arguments, result=results)
    def record(self, name: str, given_arguments: dict[str, Any], result: Any) -> None:
        bound = self.run.guard.record(name, given_arguments, result=result)

        assert bound is not None
        self._numbered("$" + bound.id)

    @rule(text=st.sampled_from(["do it", "pay W-4711-XY", None]), keep=st.booleans())
    def prompt(self, text: str | None, keep: bool) -> None:
        self.run.guard.reset_for_new_prompt(text, keep_bindings=keep)

    @rule(text=st.sampled_from(["I will look again.", "Order W-4711-XY."]))
    def say(self, text: str) -> None:
        self.run.guard.user_said(text)
        self.run.guard.system_said(text)
        self.run.guard.assistant_said(text)

    @rule(approve=st.booleans())
    def decide(self, approve: bool) -> None:
        for waiting in self.run.guard.waiting_calls[:1]:
            if approve:
                verdict = self.run.guard.approve(waiting.call_id, waiting.arguments)
                if verdict.should_run:
                    self._end(verdict.call_id, result="done")
            else:
                self.run.guard.reject(waiting.call_id, "no")

    @rule(seconds=st.sampled_from([1, 30, 101, 4000, -50]))
    def wait(self, seconds: int) -> None:
        self.run.clock.move(seconds)

    @rule(name=names, given_arguments=arguments)
    def look(self, name: str, given_arguments: dict[str, Any]) -> None:
        before = self.run.guard.snapshot()

        self.run.guard.check_runaway()
        self.run.guard.check_ungrounded_call(name, given_arguments)

        assert self.run.guard.snapshot() == before

    @invariant()
    def the_state_is_the_fold_of_its_facts(self) -> None:
        """Law 19: another process that is told the facts has the same state."""
        for fact in self.run.facts[self.told :]:
            self.follower.apply(fact_from_dict(through_json(fact_to_dict(fact))))
        self.told = len(self.run.facts)

        assert through_json(self.follower.snapshot()) == through_json(self.run.guard.snapshot())

    def _end(self, call_id: str, **end: Any) -> None:
        is_open = call_id in {call.call_id for call in self.run.guard.open_calls}
        before = self.run.guard.snapshot()
        try:
            bound = self.run.guard.after_call(call_id, **end)
        except UnknownCallError:
            assert not is_open
            assert self.run.guard.snapshot() == before
        else:
            assert is_open
            assert (bound is not None) == ("error" not in end)

    def _numbered(self, reference: str | None) -> None:
        """Law 18: no number is given out twice."""
        assert reference is not None
        assert reference not in self.references
        self.references.add(reference)

    def teardown(self) -> None:
        """Law 19: what a snapshot restores says the same of every next call."""
        kept = through_json(self.run.guard.snapshot())
        for name in ("read", "list", "put", "pay", "shell"):
            for path in ("a", "$v1", "$v2.id"):
                verdicts = []
                for guard in (self.run.other(), self.run.other()):
                    guard.load(kept)
                    verdicts.append(guard.before_call(name, {"path": path}, "next").to_dict())
                assert verdicts[0] == verdicts[1]


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

steps = st.lists(st.tuples(names, arguments, results, st.booleans()), max_size=25)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_a_restored_guard_gives_the_same_verdicts(run: list[tuple[str, dict[str, Any], Any, bool]]) -> None:
    """Law 19: a run that is taken over after each call goes on as one that was not."""
    one = Run()
    other: ToolGuard | None = None
    for name, given_arguments, result, good in run:
        other = one.other()
        other.load(through_json(one.guard.snapshot()))
        expected = one.guard.before_call(name, given_arguments)
        taken_over = other.before_call(name, given_arguments)

        assert taken_over == expected
        if expected.should_run:
            end = {"result": result} if good else {"error": str(result)}
            one.guard.after_call(expected.call_id, **end)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_shadow_mode_changes_nothing_but_references(run: list[tuple[str, dict[str, Any], Any, bool]]) -> None:
    """Law 22: every call is allowed, with the arguments that it was given, resolved where they can be."""
    shadow = Run(shadow=True).guard
    for name, given_arguments, result, good in run:
        resolved = _resolved(shadow, name, given_arguments)

        verdict = shadow.before_call(name, given_arguments)

        assert (verdict.action, verdict.message, verdict.replayed) == (Action.ALLOW, "", None)
        assert verdict.arguments == resolved
        shadow.after_call(verdict.call_id, **({"result": result} if good else {"error": str(result)}))
    assert shadow.waiting_calls == ()


def _resolved(guard: ToolGuard, name: str, given_arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return given_arguments if name == "read_value" else guard.resolve(given_arguments).arguments
    except ValueError:
        return given_arguments


@given(steps)
@settings(max_examples=40, deadline=None)
def test_refused_calls_cost_nothing(run: list[tuple[str, dict[str, Any], Any, bool]]) -> None:
    """Law 22: without the refused calls, the budgets and bindings of a run are the same."""
    one, other = Run(), Run()
    for name, given_arguments, result, good in run:
        verdict = one.guard.before_call(name, given_arguments, "c")
        if verdict.should_run:
            other.guard.record(name, verdict.arguments, call_id="c")
            one.guard.after_call("c", **({"result": None} if good else {"error": str(result)}))
    budget = one.guard.snapshot()["budget"]["windows"]["total"]

    assert budget["calls"] == other.guard.snapshot()["budget"]["windows"]["total"]["calls"]


@given(st.permutations(range(5)), st.permutations(range(5)))
@settings(max_examples=30, deadline=None)
def test_parallel_calls_are_numbered_as_listed(begun: list[int], ended: list[int]) -> None:
    """Law 18: neither the order of beginning nor that of ending matters."""
    guard = Run(limits=None, grounding=None).guard
    guard.announce([f"p{i}" for i in range(5)])

    for i in begun:
        guard.before_call("shell", {"n": str(i)}, f"p{i}")
    bound = {i: guard.after_call(f"p{i}", result=i) for i in ended}

    assert {i: binding.id for i, binding in bound.items() if binding} == {i: f"v{i + 1}" for i in range(5)}


@given(st.lists(st.sampled_from(["read a", "read b", "put a", "put b", "pay", "shell", "wait"]), max_size=20))
@settings(max_examples=80, deadline=None)
def test_only_what_may_be_replayed_is_replayed(run: list[str]) -> None:
    """Law 21: never an error, never after a write in its scope, never once it has expired."""
    one = Run(limits=None, grounding=None, permissions=None)
    fresh: dict[str, timedelta] = {}
    for i, step in enumerate(run):
        if step == "wait":
            one.clock.move(1000)
            continue
        name, _, path = step.partition(" ")
        call_arguments = {"path": path} if path else {"n": i}
        verdict = one.guard.before_call(name, call_arguments)
        now = timedelta(seconds=one.clock.now.timestamp())
        if verdict.action is Action.REPLAY:
            assert name in ("read", "put")
            assert now - fresh[step] < timedelta(hours=1)
            continue
        if not verdict.should_run:
            continue
        if name == "put":
            fresh = {key: at for key, at in fresh.items() if not key.endswith(path)}
        elif name in ("pay", "shell"):
            fresh.clear()
        good = i % 4 != 3
        one.guard.after_call(verdict.call_id, **({"result": i} if good else {"error": "failed"}))
        if good and name in ("read", "put"):
            fresh[step] = now


def test_a_segmentation_that_repeats_is_a_fact_like_others() -> None:
    """The loop check hears of it through the fold."""
    guard = Run().guard
    for _ in range(6):
        guard.apply(fact_from_dict(through_json(fact_to_dict(Segmented("full")))))

    assert guard.check_runaway().reason_code == "loop.segmentation"


def test_outcomes_are_known() -> None:
    """Every outcome that a host may pass can be recorded."""
    for outcome in Outcome:
        guard = Run().guard
        guard.before_call("shell", {}, "c")

        guard.after_call("c", result=1, outcome=outcome)

        assert guard.open_calls == ()
