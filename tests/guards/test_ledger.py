"""At most once: what a key answers, before and after the call, a crash and a person's word."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from guards.calls import Outcome
from guards.errors import GuardLimitError
from guards.ledger import Done, Ledger, Standing
from guards.tools import ToolSpec
from guards.verdicts import Action
from tests.guards.calls import finished, pending, wrapped

DROP = ToolSpec("drop", destructive=True)
CALL = pending("drop", {"table": "t"})


def began(**settings: Any) -> Ledger:
    """A ledger in which `CALL` runs under the key `k`."""
    ledger = Ledger(**settings)
    ledger.begin("k", CALL)
    return ledger


def saved(ledger: Ledger) -> Ledger:
    """The ledger of the next process."""
    return Ledger.restore(json.loads(json.dumps(ledger.snapshot())))


def test_a_new_key_runs() -> None:
    """Nothing stands against a call that never began, or that has no key."""
    assert Ledger().examine("k", CALL) is None
    assert Ledger().examine(None, CALL) is None


def test_a_key_under_which_a_call_runs_lets_no_second_one_begin() -> None:
    """The finding blocks and names the call that runs."""
    finding = began().examine("k", CALL)

    assert finding is not None
    assert (finding.action, finding.reason_code) == (Action.BLOCK, "permission.running")
    assert finding.evidence == {"call": "c1", "standing": "running"}


def test_a_finished_call_answers_with_its_result_even_in_the_next_process() -> None:
    """The finding asks for a replay; the result is a copy."""
    ledger = began()
    ledger.finish(finished(CALL, {"rows": [1]}, binding="v2"))

    for each in (ledger, saved(ledger)):
        finding, done = each.examine("k", CALL), each.earlier("k")

        assert finding is not None
        assert (finding.action, finding.reason_code) == (Action.REPLAY, "permission.already_done")
        assert Done("c1", "v2", None, {"rows": [1]}, kept=True) == done


def test_a_failed_call_is_not_run_again_under_its_key() -> None:
    """The finding blocks, with the error quoted; the person or the model makes a new call."""
    ledger = began()
    ledger.finish(finished(CALL, outcome=Outcome.ERROR, error='no "t"'))
    finding, done = ledger.examine("k", CALL), ledger.earlier("k")

    assert finding is not None
    assert done is not None
    assert (
        finding.action,
        finding.reason_code,
        done.error,
    ) == (Action.BLOCK, "permission.already_done", 'no "t"')
    assert r'"no \"t\""' in finding.message


@pytest.mark.parametrize("end", ["crash", Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.UNKNOWN])
def test_what_was_cut_off_waits_for_a_person(end: str) -> None:
    """An unknown end asks for confirmation, and an approval lets the call begin again."""
    ledger = began()
    if isinstance(end, Outcome):
        ledger.finish(finished(CALL, outcome=end))
    ledger = saved(ledger)
    finding = ledger.examine("k", CALL)
    approved = ledger.examine("k", CALL, approved=True)
    ledger.begin("k", CALL)

    assert finding is not None
    assert (finding.action, finding.reason_code) == (Action.CONFIRM, "permission.outcome_unknown")
    assert approved is None
    assert Standing.RUNNING is ledger.standing("k", CALL.fingerprint)


def test_an_outcome_that_arrives_late_settles_the_key() -> None:
    """In the next process too; a refusal meanwhile, or another call under its id, does not."""
    ledger = saved(began())
    ledger.finish(finished(CALL, outcome=Outcome.REFUSED))
    ledger.finish(finished(pending("read"), 1))
    unknown = ledger.standing("k", CALL.fingerprint)
    ledger.finish(finished(CALL, 1))

    assert Standing.UNKNOWN is unknown
    assert Standing.DONE is ledger.standing("k", CALL.fingerprint)


def test_an_approval_does_not_run_a_finished_call_again() -> None:
    """It speaks for an unknown end only."""
    ledger = began()
    ledger.finish(finished(CALL, 1))

    assert ledger.examine("k", CALL, approved=True) is not None


def test_a_key_belongs_to_one_call() -> None:
    """The same key with other arguments is neither run nor answered with the other's result."""
    ledger = began()
    ledger.finish(finished(CALL, 1))
    finding = ledger.examine("k", pending("drop", {"table": "u"}))

    assert finding is not None
    assert (finding.action, finding.reason_code) == (Action.BLOCK, "permission.key_reused")


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.REPLAYED])
def test_a_call_that_did_not_run_gives_its_key_back(outcome: Outcome) -> None:
    """It may still run once."""
    ledger = began()
    ledger.finish(finished(CALL, outcome=outcome))

    assert Standing.NEW is ledger.standing("k", CALL.fingerprint)


def test_a_call_without_a_key_changes_nothing() -> None:
    """Records of other calls pass by."""
    ledger = Ledger()
    ledger.finish(finished(CALL, 1))

    assert ledger.snapshot() == {"entries": []}


def test_keys_are_of_events_then_of_turn_and_arguments() -> None:
    """A model that names its calls anew in each turn is not answered with an older turn's result."""
    explicit = Ledger.key_of(CALL, ToolSpec("drop"), idempotency_key="mine")
    event = Ledger.key_of(CALL, DROP, event_id="e1")
    later = pending("drop", {"table": "t"}, turn=1)
    other = pending("drop", {"table": "u"})
    bare = [Ledger.key_of(call, DROP) for call in (CALL, later, other)]

    assert (explicit, event) == ("key:mine", "event:e1:c1")
    assert len(set(bare)) == 3
    assert [
        Ledger.key_of(CALL, spec, event_id="e1") for spec in (ToolSpec("drop"), ToolSpec("a", read_only=True))
    ] == [None, None]


def test_the_oldest_finished_key_goes_first_and_an_open_one_never() -> None:
    """A full ledger forgets what ended; full of open calls it refuses."""
    ledger = began(limit=2)
    second, third = (pending("drop", {"n": n}, call_id=f"c{n}") for n in (2, 3))
    ledger.begin("k2", second)
    ledger.finish(finished(second, 1))
    ledger.begin("k3", third)

    assert Standing.NEW is ledger.standing("k2", second.fingerprint)
    assert Standing.RUNNING is ledger.standing("k", CALL.fingerprint)
    with pytest.raises(GuardLimitError, match="the limit is 2"):
        ledger.begin("k4", second)


def test_results_beyond_the_bound_go_and_their_keys_stay() -> None:
    """The call is still not run again; the sentence says that the result is gone."""
    ledger = began(limit_bytes=10)
    ledger.finish(finished(CALL, "x" * 20))
    finding, done = ledger.examine("k", CALL), ledger.earlier("k")

    assert finding is not None
    assert done is not None
    assert (finding.action, done.kept) == (Action.BLOCK, False)
    assert "no longer kept" in finding.message


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit_bytes": 0}])
def test_a_bound_that_keeps_nothing_is_refused(bad: dict[str, int]) -> None:
    """At most once cannot hold without a key."""
    with pytest.raises(ValueError, match="use 1 or more"):
        Ledger(**bad)


@given(st.lists(st.sampled_from(["call", "ok", "error", "timeout", "crash", "approve"]), max_size=30))
def test_without_a_persons_word_the_tool_runs_at_most_once(steps: list[str]) -> None:
    """Whatever happens between, the tool starts once, and once more for each approval of an unknown end."""
    ledger, starts, approvals, running = Ledger(), 0, 0, False
    for step in steps:
        if step in ("call", "approve"):
            unknown = ledger.standing("k", CALL.fingerprint) is Standing.UNKNOWN
            if ledger.examine("k", CALL, approved=step == "approve") is None:
                ledger.begin("k", CALL)
                starts, approvals, running = starts + 1, approvals + unknown, True
        elif step == "crash":
            ledger, running = saved(ledger), False
        elif running:
            ledger.finish(finished(CALL, 1, outcome=Outcome(step)))
            running = False

    assert starts <= 1 + approvals


def test_what_the_model_reads() -> None:
    """Each sentence says what happened and what to do now, and names the earlier call."""
    ledger, said = began(), list[str]()
    for outcome in (None, Outcome.UNKNOWN, Outcome.OK):
        if outcome:
            ledger.finish(finished(CALL, 1, outcome=outcome, binding="v3"))
        for call in (CALL, pending("drop", {"table": "u"})):
            finding = ledger.examine("k", call)
            assert finding is not None
            said.append(finding.message)

    assert wrapped([*said[:3:2], *said[3:5]]) == snapshot("""\
Not run: call "c1" is this very call of "drop" and still runs. Wait for its result.

Not run: call "c1" began this very call of "drop", and how it ended is unknown; it may have taken
effect. Read the state to find out, or wait for a person to approve another run.

Not run: the idempotency key of this call belongs to call "c1", which had another tool or other
arguments. Use a new key for a new call of "drop".

Already done: this is the result of call 3. Use it; "drop" was not run again.\
""")
