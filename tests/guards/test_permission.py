"""Permission: who is denied, who is asked for, and what a person's word covers."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from inline_snapshot import snapshot

from guards.calls import PendingCall, fingerprint
from guards.checks.permission import Confirmations, PermissionCheck, PermissionPolicy
from guards.errors import InvalidArgumentsError, UnknownCallError
from guards.tools import ToolSpec
from guards.verdicts import Action
from tests.guards.calls import pending, wrapped

CALL = pending("drop", {"table": "t"})
DROP = ToolSpec("drop", destructive=True, requires_confirmation=True)


def answer(policy: PermissionPolicy, spec: ToolSpec, name: str | None = None) -> str | None:
    """The reason code for a call of the tool, `None` for a free one."""
    finding = PermissionCheck(policy).examine(pending(name or spec.name), spec)
    return finding and finding.reason_code


def restored(check: PermissionCheck) -> PermissionCheck:
    """The check of the next process."""
    return PermissionCheck.restore(json.loads(json.dumps(check.snapshot())), check.policy)


@pytest.mark.parametrize(
    ("policy", "spec", "expected"),
    [
        ({}, {"destructive": True}, None),
        ({}, {}, None),
        ({}, {"requires_confirmation": True}, "permission.confirm"),
        ({"confirm_destructive": True}, {"destructive": True}, "permission.confirm"),
        ({"confirm_destructive": True}, {"read_only": False}, None),
        (
            {"confirm_destructive": True},
            {"destructive": True, "requires_confirmation": False},
            None,
        ),
        ({"confirm_unknown": True}, {}, "permission.confirm"),
        ({"confirm_unknown": True}, {"read_only": True}, None),
        ({"confirm_unknown": True}, {"destructive": False}, None),
        ({"confirm_open_world": True}, {"open_world": True}, "permission.confirm"),
        ({"confirm_open_world": True}, {}, None),
    ],
)
def test_the_tools_nature_and_the_policy_say_who_is_asked_for(
    policy: dict[str, bool], spec: dict[str, Any], expected: str | None
) -> None:
    """A bare policy asks only for tools that say so themselves; the tool's own word beats its nature."""
    assert expected == answer(PermissionPolicy(**policy), ToolSpec("t", **spec))


@pytest.mark.parametrize(
    ("policy", "name", "denied"),
    [
        ({"deny": ["rm"]}, "rm", True),
        ({"deny": ["rm"]}, "shell.rm", True),
        ({"deny": ["rm"]}, "rmdir", False),
        ({"deny": ("shell.*",)}, "shell.rm", True),
        ({"deny": {"RM"}}, "rm", False),
        ({"allow_only": ["search"]}, "search", False),
        ({"allow_only": ["search"]}, "evil.search", True),
        ({"allow_only": ["web.*"]}, "web.search", False),
        ({"allow_only": []}, "search", True),
        ({"allow_only": ["rm"], "deny": ["rm"]}, "rm", True),
    ],
)
def test_names_and_patterns_say_who_is_denied(policy: dict[str, Any], name: str, denied: bool) -> None:
    """A denial looks at the last part of a dotted name too, a permission at the whole."""
    assert ("permission.denied" if denied else None) == answer(PermissionPolicy(**policy), ToolSpec(name))


def test_one_text_is_no_collection_of_names() -> None:
    """`deny="rm"` would deny `r` and `m`."""
    text: Any = "rm"

    with pytest.raises(TypeError, match=r"deny='rm' is one text; use a collection such as \('rm',\)"):
        PermissionPolicy(deny=text)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (None, "permission.confirm"),
        (Action.ALLOW, None),
        (Action.CONFIRM, "permission.confirm"),
        (Action.BLOCK, "permission.denied"),
        (Action.REPLAY, "permission.confirm"),
        (True, "permission.confirm"),
    ],
)
def test_the_hosts_hook_decides_before_the_tools_nature(decision: Any, expected: str | None) -> None:
    """`None` goes on with the policy; an answer that means nothing here is taken with care."""
    assert expected == answer(PermissionPolicy(hook=lambda _call, _spec: decision), DROP)


def test_a_denied_tool_is_denied_whatever_the_hook_says() -> None:
    """The list is looked at first."""
    policy = PermissionPolicy(deny=["drop"], hook=lambda _call, _spec: Action.ALLOW)

    assert answer(policy, DROP) == "permission.denied"


def test_a_hook_that_raises_is_logged_and_a_person_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    """The careful answer, the traceback, the ids; no arguments."""

    def hook(call: PendingCall, spec: ToolSpec) -> Action | None:
        raise RuntimeError("no connection")

    with caplog.at_level(logging.ERROR, "guards"):
        finding = PermissionCheck(PermissionPolicy(hook=hook)).examine(CALL, ToolSpec("drop"))

    assert finding is not None
    assert (finding.action, finding.evidence) == (Action.CONFIRM, {"call": "c1", "because": "hook"})
    assert [record.message for record in caplog.records] == ["permission.hook_failed"]
    assert caplog.records[0].exc_info is not None
    assert "table" not in caplog.text


def test_a_hook_cannot_change_the_call() -> None:
    """Law 22: it gets copies."""

    def hook(call: PendingCall, spec: ToolSpec) -> None:
        arguments: Any = call.arguments
        arguments["table"] = "users"

    PermissionCheck(PermissionPolicy(hook=hook)).examine(CALL, DROP)

    assert {"table": "t"} == CALL.arguments == CALL.raw_arguments


@pytest.mark.parametrize("restart", [lambda check: check, restored])
def test_an_approved_call_is_let_through_once(restart: Callable[[PermissionCheck], PermissionCheck]) -> None:
    """Before and after a restart: asked for, approved with what to run, let through, and asked for again."""
    check = PermissionCheck()
    asked = check.confirmations.ask(CALL)
    check = restart(check)
    waiting = check.confirmations.waiting()
    before = check.examine(CALL, DROP)
    approved = check.confirmations.approve("c1", {"table": "t"})
    check = restart(check)
    through = check.examine(CALL, DROP)
    check.began(CALL)
    check = restart(check)
    again = check.examine(CALL, DROP)

    assert (asked,) == waiting
    assert before is not None
    assert (approved.call_id, approved.name, approved.arguments) == ("c1", "drop", {"table": "t"})
    assert through is None
    assert again is not None


def test_an_approval_covers_these_arguments_only() -> None:
    """Another call under the same id waits anew; an approval of other arguments is refused."""
    check = PermissionCheck()
    check.confirmations.ask(CALL)
    with pytest.raises(InvalidArgumentsError, match="waits with other arguments"):
        check.confirmations.approve("c1", {"table": "users"})
    check.confirmations.approve("c1", {"table": "t"})

    assert check.examine(pending("drop", {"table": "users"}), DROP) is not None
    assert check.examine(pending("drop", {"table": "t"}, call_id="c2"), DROP) is not None


def test_an_id_that_was_asked_for_twice_must_be_approved_with_its_arguments() -> None:
    """What the person saw may be the call before."""
    confirmations = Confirmations()
    confirmations.ask(CALL)
    confirmations.ask(pending("drop", {"table": "users"}))

    with pytest.raises(InvalidArgumentsError, match="two sets of arguments"):
        confirmations.approve("c1")
    assert confirmations.get("c1").arguments == {"table": "users"}
    assert confirmations.approve("c1", {"table": "users"}).arguments == {"table": "users"}


def test_a_decision_read_back_from_a_log_is_applied_as_it_was_made() -> None:
    """Its arguments were compared when it was made; the host's key is there to begin the call under."""
    confirmations = Confirmations()
    confirmations.ask(CALL)
    confirmations.ask(pending("drop", {"table": "users"}), idempotency_key="mine")
    other = Confirmations.restore(confirmations.snapshot())
    decided = other.decide("c1", approved=True)

    assert (decided.arguments, decided.idempotency_key) == ({"table": "users"}, "mine")


@pytest.mark.parametrize("decide", ["approve", "reject"])
def test_what_does_not_wait_cannot_be_decided(decide: str) -> None:
    """Never asked for, or decided already: an error, and nothing changes."""
    confirmations = Confirmations()
    with pytest.raises(UnknownCallError, match="'c1'"):
        getattr(confirmations, decide)("c1")
    confirmations.ask(CALL)
    confirmations.approve("c1")
    before = confirmations.snapshot()

    with pytest.raises(UnknownCallError):
        getattr(confirmations, decide)("c1")
    assert before == confirmations.snapshot()


def test_a_rejected_call_is_blocked_with_the_reason_as_data() -> None:
    """The same arguments under another id too, in this turn; in the next they may be asked for again."""
    check = PermissionCheck()
    check.confirmations.ask(CALL)
    check.confirmations.reject("c1", 'wrong "t"\nuse u')
    check = restored(check)
    same, like, later = (
        check.examine(call, DROP)
        for call in (
            CALL,
            pending("drop", {"table": "t"}, call_id="c2"),
            pending("drop", {"table": "t"}, call_id="c3", turn=1),
        )
    )

    assert same is not None
    assert like is not None
    assert later is not None
    assert (same.action, same.reason_code) == (Action.BLOCK, "permission.rejected")
    assert r'"wrong \"t\"\nuse u"' in same.message
    assert same.message == like.message
    assert later.reason_code == "permission.confirm"


def test_a_call_id_that_comes_again_in_a_later_turn_is_asked_for_anew() -> None:
    """A provider counts its ids from the start; a rejection there holds for its own turn again."""
    check, later = PermissionCheck(), replace(CALL, turn=1)
    check.confirmations.ask(CALL)
    check.confirmations.reject(CALL.call_id)
    anew = check.examine(later, DROP)
    check.confirmations.ask(later)
    check.confirmations.reject(CALL.call_id)
    again = check.examine(later, DROP)

    assert anew is not None
    assert again is not None
    assert (anew.action, again.action) == (Action.CONFIRM, Action.BLOCK)


def test_a_rejection_without_a_reason_says_so_in_its_own_words() -> None:
    """No empty quotes."""
    check = PermissionCheck()
    check.confirmations.ask(CALL)
    check.confirmations.reject("c1")
    finding = check.examine(CALL, DROP)

    assert finding is not None
    assert '""' not in finding.message


def test_confirmations_are_bounded_and_what_is_forgotten_cannot_be_approved() -> None:
    """The oldest go."""
    confirmations = Confirmations(limit=2)
    for n in range(3):
        confirmations.ask(pending("drop", call_id=f"c{n}"))

    assert [asked.call_id for asked in confirmations.waiting()] == ["c1", "c2"]
    with pytest.raises(UnknownCallError):
        confirmations.approve("c0")


def test_what_waits_is_not_the_callers_object() -> None:
    """Neither the call's arguments nor a copy handed out change what will run."""
    mine: dict[str, Any] = {"table": "t"}
    confirmations = Confirmations()
    confirmations.ask(pending("drop", mine)).arguments["table"] = "users"
    mine["table"] = "users"

    assert confirmations.approve("c1").arguments == {"table": "t"}


def test_arguments_changed_in_the_store_are_noticed() -> None:
    """A snapshot whose arguments do not fit their fingerprint is refused."""
    check = PermissionCheck()
    check.confirmations.ask(CALL)
    snapshot = check.snapshot()
    snapshot["confirmations"]["asked"][0]["arguments"]["table"] = "users"

    with pytest.raises(ValueError, match="'c1' is damaged"):
        PermissionCheck.restore(snapshot)


class Asked(RuleBasedStateMachine):
    """A tool that needs a person runs as often as a person said so for these arguments, and no more."""

    calls = st.builds(
        lambda n, table: pending("drop", {"table": table}, call_id=f"c{n}"),
        st.integers(0, 1),
        st.sampled_from("tu"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.check = PermissionCheck()
        self.approvals: dict[str, int] = {}

    @rule(call=calls)
    def make(self, call: PendingCall) -> None:
        finding = self.check.examine(call, DROP)
        if finding is None:
            self.check.began(call)
            self.approvals[call.fingerprint] -= 1
        elif finding.action is Action.CONFIRM:
            self.check.confirmations.ask(call)

    @rule(n=st.integers(0, 1), table=st.sampled_from("tu"), yes=st.booleans())
    def decide(self, n: int, table: str, yes: bool) -> None:
        try:
            if yes:
                self.check.confirmations.approve(f"c{n}", {"table": table})
                key = fingerprint("drop", {"table": table})
                self.approvals[key] = self.approvals.get(key, 0) + 1
            else:
                self.check.confirmations.reject(f"c{n}")
        except (UnknownCallError, InvalidArgumentsError):
            pass

    @rule()
    def restart(self) -> None:
        self.check = restored(self.check)

    @rule(call=calls)
    def look(self, call: PendingCall) -> None:
        before = self.check.snapshot()
        self.check.examine(call, DROP)
        assert before == self.check.snapshot()

    @invariant()
    def no_run_without_a_word(self) -> None:
        assert all(left >= 0 for left in self.approvals.values())


TestAsked = Asked.TestCase
TestAsked.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)


def test_what_the_model_reads() -> None:
    """Each sentence says what happened and what to do now; a person's reason is quoted."""
    check, said = PermissionCheck(PermissionPolicy(deny=["rm"])), list[str]()
    check.confirmations.ask(CALL)
    for call in (pending("rm"), CALL):
        finding = check.examine(call, DROP)
        assert finding is not None
        said.append(finding.message)
    for reason in ("", "use u"):
        check.confirmations.ask(CALL)
        check.confirmations.reject("c1", reason)
        finding = check.examine(CALL, DROP)
        assert finding is not None
        said.append(finding.message)

    assert wrapped(said) == snapshot("""\
Not run: "rm" is not allowed here. Do not call it again; use another tool, or say what you cannot
do.

Not run yet: "drop" waits for a person to approve this call. Do not repeat it; do other work, or say
that you wait.

Not run: a person rejected this call of "drop". Do not repeat it; ask the user what to do instead.

Not run: a person rejected this call of "drop", with the reason "use u". Do not repeat it; follow
the reason, or ask the user.\
""")
