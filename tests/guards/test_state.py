"""`GuardState`: the fold of facts, part by part."""

from datetime import timedelta
from typing import Any

import pytest

from guards import Binding, GroundingPolicy, Limits, LoopPolicy, Outcome, PermissionPolicy, ToolSpec, Wording
from guards.calls import PendingCall
from guards.facts import Announced, Asked, Began, Bound, Decided, Fact, Finished, Prompted, Refused, Said
from guards.state import GuardState
from tests.guards.calls import NOON, Clock, finished, pending

READ = ToolSpec("read", read_only=True)
WRITE = ToolSpec("write")
PAY = ToolSpec("pay", destructive=True)
NONE = ToolSpec("-")


def fresh() -> GuardState:
    """A state that knows nothing yet."""
    return GuardState(
        limits=Limits(),
        loop=LoopPolicy(),
        grounding=GroundingPolicy(),
        permissions=PermissionPolicy(),
        wording=Wording(),
        clock=Clock(),
    )


def told(*facts: tuple[Fact, ToolSpec]) -> GuardState:
    """A state that was told these facts."""
    state = fresh()
    for fact, spec in facts:
        state.apply(fact, spec)
    return state


def numbered(call_id: str, number: int, name: str = "read", **fields: Any) -> PendingCall:
    """A call that has its number."""
    return pending(name, {"path": "a"}, call_id=call_id, number=number, **fields)


def end(call: PendingCall, result: Any = 1, **fields: Any) -> Finished:
    """A good end, bound under the call's number."""
    return Finished(finished(call, result, binding=f"v{call.number}", **fields))


def held(state: GuardState, binding_id: str) -> Binding:
    """A binding that must be there."""
    found = state.bindings.get(binding_id)
    assert found is not None
    return found


def test_a_call_begins_and_ends() -> None:
    """It is open in between; then its result has its name, and may be replayed."""
    call = numbered("c1", 1)
    state = told((Began(call), READ))

    assert list(state.open) == ["c1"]
    state.apply(end(call, {"n": 1}), READ)
    assert state.open == {}
    assert held(state, "v1").value == {"n": 1}
    assert state.cache.find(call, READ, state.epochs) is not None


def test_a_write_that_falls_into_a_read_keeps_it_from_being_replayed() -> None:
    """The result may be older than the write; one that was there before is out of date too."""
    before, during, write = numbered("c1", 1), numbered("c2", 2), numbered("c3", 3, "write")
    state = told((Began(before), READ), (end(before), READ), (Began(during), READ))

    assert state.cache.find(before, READ, state.epochs) is not None
    state.apply(Began(write), WRITE)
    assert state.cache.find(before, READ, state.epochs) is None
    state.apply(end(during), READ)
    assert state.cache.find(before, READ, state.epochs) is None


def test_the_tools_own_time_to_live_says_when_an_answer_may_change() -> None:
    """A new answer after it is no contradiction, though the cache would have kept the old one for longer."""
    short = ToolSpec("read", read_only=True, ttl_s=1)
    first, later = numbered("c1", 1), numbered("c2", 2, started_at=NOON + timedelta(seconds=1))
    state = told((Began(first), short), (end(first, "one"), short))
    for fact in (Began(later), end(later, "two")):
        state.apply(fact, short)

    assert state.cache.withdrawn == frozenset()


def test_an_announcement_takes_its_numbers() -> None:
    """Announced calls find theirs; the next free one comes behind them."""
    state = told((Announced(("a", "b"), 5), NONE))

    assert state.numbers == {"a": 5, "b": 6}
    assert state.bindings.next_number == 7


def test_leased_numbers_are_not_given_out_twice() -> None:
    """Numbers that were announced out of a leased block leave it."""
    state = fresh()
    state.bindings.reserve_block(1, 4)
    state.apply(Announced(("a", "b"), 1), NONE)

    assert [state.bindings.reserve() for _ in range(3)] == [3, 4, 5]


def test_announcements_are_bounded() -> None:
    """A model that announces without end fills no memory."""
    state = told((Announced(tuple(f"c{i}" for i in range(10_000)), 1), NONE))

    assert len(state.numbers) == 4096
    assert state.numbers["c9999"] == 10_000


@pytest.mark.parametrize("fact", ["finished", "refused"])
def test_an_announced_call_that_does_not_run_gives_up_its_number(fact: str) -> None:
    """The gap is legal; the same id may be announced anew."""
    call = pending("read", call_id="a")
    outcome = Outcome.REPLAYED if fact == "finished" else Outcome.REFUSED
    record = finished(call, outcome=outcome)
    ended = Finished(record) if fact == "finished" else Refused(record, "loop.repeat")
    state = told((Announced(("a",), 1), NONE), (ended, READ))

    assert state.numbers == {}


def test_a_decision_lets_the_call_begin_once() -> None:
    """Approved it passes, begun the approval is used up."""
    call = numbered("c1", 1, "pay")
    state = told((Asked(call, "permission.confirm"), PAY), (Decided("c1", approved=True), NONE))

    assert state.permission.confirmations.approved(call)
    state.apply(Began(call), PAY)
    assert not state.permission.confirmations.approved(call)


def test_a_value_bound_by_hand_is_known() -> None:
    """By name, and as a source of arguments."""
    state = told((Bound(2, "t", {}, NOON, "W-4711-XY", aliases=("order",)), NONE))

    assert held(state, "v2").value == "W-4711-XY"
    assert state.bindings.next_number == 3
    assert state.grounding.sources.find("W-4711-XY").grounded


def test_a_prompt_counts_turns_and_may_forget_bindings() -> None:
    """Numbers go on where they were."""
    state = told((Bound(1, "t", {}, NOON, 1), NONE), (Prompted("hello", keep_bindings=False), NONE))

    assert state.turn == 1
    assert len(state.bindings) == 0
    assert state.bindings.next_number == 2


@pytest.mark.parametrize(("origin", "known"), [("user", True), ("system", True), ("assistant", False)])
def test_what_the_model_says_is_no_source(origin: str, known: bool) -> None:
    """Values count if a person or the host said them."""
    state = told((Said(origin, "Order W-4711-XY."), NONE))

    assert state.grounding.sources.find("W-4711-XY").grounded is known


def test_the_state_may_be_taken_over_in_the_middle_of_a_call() -> None:
    """What is open in a snapshot ends in the state that was restored from it."""
    call = numbered("c1", 1)
    state, other = told((Began(call), READ)), fresh()
    other.load(state.snapshot())

    for one in (state, other):
        one.apply(end(call), READ)

    assert other.snapshot() == state.snapshot()


def test_a_broken_part_leaves_all_parts_as_they_were() -> None:
    """Loading is all or nothing."""
    state, kept = told((Bound(1, "t", {}, NOON, 1), NONE)), fresh().snapshot()
    before = state.snapshot()
    kept["epochs"] = None

    with pytest.raises(TypeError):
        state.load(kept)

    assert state.snapshot() == before
