"""Who may call what: denied tools, calls that need a person, and what the person said.

A confirmation is for one call with its arguments, to the byte: approved, it lets that call through once. It
is saved before it is answered for, so that it outlives the process that asked.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, Self, cast

from guards.calls import PendingCall, fingerprint, plain
from guards.errors import InvalidArgumentsError, UnknownCallError
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = ["Confirmation", "ConfirmationState", "Confirmations", "PermissionCheck", "PermissionPolicy"]

_LOG: Final = logging.getLogger("guards.permission")

Hook = Callable[[PendingCall, ToolSpec], Action | None]


@dataclass(frozen=True, slots=True)
class PermissionPolicy:
    """What may be called, and what needs a person.

    In this order: `deny` and `allow_only` refuse; `hook` decides; a spec's `requires_confirmation`
    decides; else the tool's nature does. A tool that says `requires_confirmation=False` is exempt
    from the last.

    Attributes:
        confirm_destructive: A destructive tool needs a person. Off: a guard alone has nobody to ask.
        confirm_unknown: A tool of which nobody said whether it reads or destroys needs a person.
        confirm_open_world: A tool known to reach beyond the host's own system needs a person.
        deny: Tools that are refused, by name or pattern (`*`, `?`, `[...]`, case counts). `rm` refuses
            `shell.rm` too: the part after the last dot is looked at as well.
        allow_only: The only tools that are not refused, by full name or pattern; `None`: all.
        hook: The host's own decision. `None`: go on with the policy; `allow`: no confirmation;
            `confirm`; `block`. If it raises or answers anything else, that is logged and the call needs a
            person. It is called each time a call is looked at, with copies, and must be quick.
    """

    confirm_destructive: bool = False
    confirm_unknown: bool = False
    confirm_open_world: bool = False
    deny: Collection[str] = ()
    allow_only: Collection[str] | None = None
    hook: Hook | None = None

    def __post_init__(self) -> None:
        for name in ("deny", "allow_only"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise TypeError(f"{name}={value!r} is one text; use a collection such as ({value!r},)")
            if value is not None:
                object.__setattr__(self, name, tuple(value))

    def denies(self, name: str) -> bool:
        """Whether a tool of that name is refused."""
        if any(fnmatchcase(name, p) or fnmatchcase(name.rpartition(".")[2], p) for p in self.deny):
            return True
        return self.allow_only is not None and not any(fnmatchcase(name, p) for p in self.allow_only)

    def why_confirm(self, spec: ToolSpec) -> str | None:
        """What about the tool needs a person: a flag's name, `unknown`, or `None` for nothing."""
        if spec.requires_confirmation is not None:
            return "requires_confirmation" if spec.requires_confirmation else None
        if self.confirm_destructive and spec.destructive:
            return "destructive"
        if self.confirm_open_world and spec.open_world:
            return "open_world"
        unknown = spec.read_only is None and spec.destructive is None
        return "unknown" if self.confirm_unknown and unknown else None


class ConfirmationState(StrEnum):
    """`waiting` for a person, `approved` for one run, or `rejected`."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A call that a person decides on.

    Attributes:
        call_id: Its id.
        name: The tool's name.
        arguments: JSON values to run it with, a copy of the caller's own.
        fingerprint: Of name and arguments.
        asked_at: When it was first asked for, aware UTC.
        reason_code: Why, such as `permission.confirm` or `permission.outcome_unknown`.
        turn: How many prompts the user had given.
        state: What the person said.
        reason: Why it was rejected, in the person's words; may be empty.
        ambiguous: The same id was asked for with other arguments before: an approval must repeat them.
        idempotency_key: The host's key of the call, to begin it under when it is approved.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    fingerprint: str
    asked_at: datetime
    reason_code: str = "permission.confirm"
    turn: int = 0
    state: ConfirmationState = ConfirmationState.WAITING
    reason: str = ""
    ambiguous: bool = False
    idempotency_key: str | None = None


class Confirmations:
    """Calls that wait for a person, and what the person said. The oldest beyond `limit` are forgotten.

    A forgotten one cannot be approved any more; the call must be made, and asked for, anew.
    """

    def __init__(self, *, limit: int = 1000) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit!r} keeps no confirmation; use 1 or more")
        self._limit = limit
        self._asked: OrderedDict[str, Confirmation] = OrderedDict()
        self._rejected: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def waiting(self) -> tuple[Confirmation, ...]:
        """Copies of what nobody decided yet, the oldest first."""
        return tuple(_copy(c) for c in self._asked.values() if c.state is ConfirmationState.WAITING)

    def ask(
        self,
        call: PendingCall,
        reason_code: str = "permission.confirm",
        *,
        idempotency_key: str | None = None,
    ) -> Confirmation:
        """Let a call wait. Asked again it waits on; with other arguments it waits anew."""
        before = self._asked.pop(call.call_id, None)
        if before is not None and before.fingerprint == call.fingerprint:
            asked = replace(before, state=ConfirmationState.WAITING, reason_code=reason_code, turn=call.turn)
        else:
            asked = Confirmation(
                call.call_id,
                call.name,
                cast("dict[str, Any]", plain(call.arguments)),
                call.fingerprint,
                call.started_at,
                reason_code,
                call.turn,
                ambiguous=before is not None,
                idempotency_key=idempotency_key,
            )
        self._asked[call.call_id] = asked
        while len(self._asked) > self._limit:
            self._asked.popitem(last=False)
        return _copy(asked)

    def get(self, call_id: str) -> Confirmation:
        """The call that waits under this id, whatever its arguments: enough to reject it.

        Raises:
            UnknownCallError: Nothing waits under this id: never asked, decided, or forgotten.
        """
        return _copy(self._get(call_id))

    def find(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> Confirmation:
        """The call that waits under this id with these arguments, to approve it; nothing changes.

        Args:
            call_id: Its id.
            arguments: What the person saw; `None` trusts the id.

        Raises:
            UnknownCallError: Nothing waits under this id: never asked, decided, or forgotten.
            InvalidArgumentsError: The person saw other arguments than those that wait, or two calls waited
                under the id and `arguments` does not say which.
        """
        asked = self._get(call_id)
        if arguments is None and asked.ambiguous:
            raise InvalidArgumentsError(
                f"call {call_id!r} was asked for with two sets of arguments; pass those that were approved"
            )
        if arguments is not None and fingerprint(asked.name, plain(arguments)) != asked.fingerprint:
            raise InvalidArgumentsError(
                f"call {call_id!r} waits with other arguments than the approved ones; "
                "make the call with these, and have that one approved"
            )
        return _copy(asked)

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> Confirmation:
        """Let exactly this call through, once. Returns what to run.

        Raises:
            UnknownCallError: Nothing waits under this id.
            InvalidArgumentsError: Other arguments wait under it; see `find`.
        """
        self.find(call_id, arguments)
        return self.decide(call_id, approved=True)

    def reject(self, call_id: str, reason: str = "") -> Confirmation:
        """Refuse the call, and the same arguments under any id for the rest of the turn.

        Raises:
            UnknownCallError: Nothing waits under this id.
        """
        return self.decide(call_id, approved=False, reason=reason)

    def decide(self, call_id: str, *, approved: bool, reason: str = "") -> Confirmation:
        """Apply a decision read from a log, or checked before; an approval goes over a rejection made here.

        Raises:
            UnknownCallError: Nothing waits under this id.
        """
        asked = self._asked.get(call_id)
        if approved and asked is not None and asked.state is ConfirmationState.REJECTED:
            self._rejected.pop(asked.fingerprint, None)
        else:
            asked = self._get(call_id)
        state = ConfirmationState.APPROVED if approved else ConfirmationState.REJECTED
        decided = replace(asked, state=state, reason=reason)
        self._asked[call_id] = decided
        if not approved:
            self._rejected[asked.fingerprint] = (asked.turn, reason)
            while len(self._rejected) > self._limit:
                self._rejected.popitem(last=False)
        return _copy(decided)

    def approved(self, call: PendingCall) -> bool:
        """Whether a person let this call through with these arguments, and it has not begun since."""
        asked = self._asked.get(call.call_id)
        return (
            asked is not None
            and asked.state is ConfirmationState.APPROVED
            and asked.fingerprint == call.fingerprint
        )

    def rejection(self, call: PendingCall) -> str | None:
        """The reason for which a person refused this call or its like in this turn; `None` if nobody did."""
        asked = self._asked.get(call.call_id)
        if asked and asked.fingerprint == call.fingerprint:
            if asked.state is ConfirmationState.REJECTED and asked.turn == call.turn:
                return asked.reason
            if asked.state is ConfirmationState.APPROVED:
                return None
        turn, reason = self._rejected.get(call.fingerprint, (None, ""))
        return reason if turn == call.turn else None

    def began(self, call: PendingCall) -> None:
        """The call is let through: its approval is used up."""
        if self.approved(call):
            del self._asked[call.call_id]

    def snapshot(self) -> dict[str, Any]:
        """JSON, with the arguments that wait."""
        return {
            "asked": [_to_json(asked) for asked in self._asked.values()],
            "rejected": [[key, turn, reason] for key, (turn, reason) in self._rejected.items()],
        }

    @classmethod
    def restore(cls, value: Mapping[str, Any], **settings: Any) -> Self:
        """The inverse of `snapshot`; `settings` are those of the constructor."""
        confirmations = cls(**settings)
        for row in value["asked"]:
            asked = _from_json(row)
            confirmations._asked[asked.call_id] = asked
        for key, turn, reason in value["rejected"]:
            confirmations._rejected[str(key)] = (int(turn), str(reason))
        return confirmations

    def _get(self, call_id: str) -> Confirmation:
        asked = self._asked.get(call_id)
        if asked is None or asked.state is not ConfirmationState.WAITING:
            raise UnknownCallError(call_id)
        return asked


class PermissionCheck:
    """Says whether a call is denied, rejected, or needs a person.

    Attributes:
        confirmations: Where the guard lets calls wait (`ask`), and where hosts decide.
    """

    def __init__(
        self,
        policy: PermissionPolicy | None = None,
        *,
        wording: Wording | None = None,
        confirmations: Confirmations | None = None,
    ) -> None:
        self.policy = policy or PermissionPolicy()
        self.confirmations = Confirmations() if confirmations is None else confirmations
        self._wording = wording or Wording()

    def examine(self, call: PendingCall, spec: ToolSpec) -> Finding | None:
        """What stands against the call; `None` if nothing does, or a person approved it."""
        if self.policy.denies(call.name):
            return self._finding(Action.BLOCK, "denied", call)
        reason = self.confirmations.rejection(call)
        if reason is not None:
            template = "rejected_because" if reason else "rejected"
            return self._finding(Action.BLOCK, "rejected", call, template, reason=quoted(reason))
        action, why = self._asked_for(call, spec)
        if action is Action.BLOCK:
            return self._finding(Action.BLOCK, "denied", call)
        if action is Action.ALLOW or self.confirmations.approved(call):
            return None
        return self._finding(Action.CONFIRM, "confirm", call, because=why)

    def began(self, call: PendingCall) -> None:
        """The call is let through: its approval is used up."""
        self.confirmations.began(call)

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole; the policy is the host's."""
        return {"confirmations": self.confirmations.snapshot()}

    @classmethod
    def restore(
        cls, value: Mapping[str, Any], policy: PermissionPolicy | None = None, **settings: Any
    ) -> Self:
        """The inverse of `snapshot`; policy and `settings` are those of the constructor."""
        return cls(policy, confirmations=Confirmations.restore(value["confirmations"]), **settings)

    def _asked_for(self, call: PendingCall, spec: ToolSpec) -> tuple[Action, str]:
        decided = self._ask_hook(call, spec)
        if decided is not None:
            return decided, "hook"
        why = self.policy.why_confirm(spec)
        return (Action.ALLOW, "") if why is None else (Action.CONFIRM, why)

    def _ask_hook(self, call: PendingCall, spec: ToolSpec) -> Action | None:
        """The host's decision; the careful one, `confirm`, where it makes none."""
        if self.policy.hook is None:
            return None
        copied = replace(call, arguments=plain(call.arguments), raw_arguments=plain(call.raw_arguments))
        try:
            decided = self.policy.hook(copied, spec)
        except Exception:  # noqa: BLE001  The host's own callback.
            _LOG.exception("permission.hook_failed", extra={"call_id": call.call_id, "tool_name": call.name})
            return Action.CONFIRM
        if decided is None or decided in (Action.ALLOW, Action.CONFIRM, Action.BLOCK):
            return decided
        _LOG.error("permission.hook_misunderstood", extra={"call_id": call.call_id, "tool_name": call.name})
        return Action.CONFIRM

    def _finding(
        self,
        action: Action,
        code: str,
        call: PendingCall,
        template: str | None = None,
        *,
        because: str | None = None,
        **values: str,
    ) -> Finding:
        message = self._wording.say(f"permission_{template or code}", tool=quoted(call.name), **values)
        evidence = {"call": call.call_id} | ({"because": because} if because else {})
        return Finding(Check.PERMISSION, action, f"permission.{code}", message, evidence)


def _copy(asked: Confirmation) -> Confirmation:
    return replace(asked, arguments=plain(asked.arguments))


def _to_json(asked: Confirmation) -> dict[str, Any]:
    return asdict(asked) | {"asked_at": asked.asked_at.isoformat(), "state": asked.state.value}


def _from_json(row: Mapping[str, Any]) -> Confirmation:
    """The inverse of `_to_json`. Arguments that no longer fit their fingerprint were tampered with."""
    name, arguments = str(row["name"]), cast("dict[str, Any]", plain(row["arguments"]))
    asked_at = datetime.fromisoformat(row["asked_at"])
    if asked_at.tzinfo is None or fingerprint(name, arguments) != row["fingerprint"]:
        raise ValueError(f"the confirmation of call {row['call_id']!r} is damaged; ask for it anew")
    return Confirmation(
        str(row["call_id"]),
        name,
        arguments,
        str(row["fingerprint"]),
        asked_at,
        str(row["reason_code"]),
        int(row["turn"]),
        ConfirmationState(row["state"]),
        str(row["reason"]),
        bool(row["ambiguous"]),
        row.get("idempotency_key"),
    )
