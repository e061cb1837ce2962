"""What one check saw, and what the guard says: values, never exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Action", "Check", "Finding", "Verdict", "strictest"]


class Action(StrEnum):
    """What becomes of a call, the mildest first."""

    ALLOW = "allow"
    WARN = "warn"
    REPLAY = "replay"
    CONFIRM = "confirm"
    BLOCK = "block"


class Check(StrEnum):
    """Who saw it."""

    LOOP = "loop"
    BUDGET = "budget"
    GROUNDING = "grounding"
    REFERENCES = "references"
    PERMISSION = "permission"


_SEVERITY = {action: i for i, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw.

    Attributes:
        check: Which check.
        action: What it asks for.
        reason_code: Dotted code for programs, such as `loop.repeat`; its first part is the check.
        message: For the model: what happened, what to do now.
        evidence: JSON values that prove it (call ids, counts, paths); no argument's or result's text.
        should_stop: The run ought to end, not just this call.
        repair: Arguments by leaf path that would mend it, such as `{"$.id": "$v2.id"}`; a proposal.
    """

    check: Check
    action: Action
    reason_code: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    should_stop: bool = False
    repair: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says about a call; the host takes the action.

    Attributes:
        action: `allow` and `warn`: run the tool with `arguments`, then `after_call`. `replay`: do
            not run it, the result is `result`. `confirm`: ask a person. `block`: do not run it, give the
            model `message` as the result.
        call_id: To be passed to `after_call`.
        name: The tool's name.
        arguments: Resolved arguments to run the tool with, a copy of the caller's own.
        message: For the model; empty where there is nothing to say.
        reason_code: Of the strictest finding; `None` if there is none.
        findings: What every check saw, the strictest first.
        reference: `$vN` that the result will have; `None` if the call is not run.
        replayed: The call id whose result is given again.
        result: The replayed result, a copy of the caller's own.
        shadow: The guard only watches: `action` is `allow`, the findings say what it would have done.
    """

    action: Action
    call_id: str
    name: str
    arguments: dict[str, Any]
    message: str = ""
    reason_code: str | None = None
    findings: tuple[Finding, ...] = ()
    reference: str | None = None
    replayed: str | None = None
    result: Any = None
    shadow: bool = False

    @property
    def should_block(self) -> bool:
        """The tool must not run now: blocked, or waiting for a person."""
        return self.action in (Action.BLOCK, Action.CONFIRM)

    @property
    def should_run(self) -> bool:
        """The host runs the tool."""
        return self.action in (Action.ALLOW, Action.WARN)

    @property
    def should_stop(self) -> bool:
        """The run ought to end: `block`, by a finding that says so."""
        return self.action is Action.BLOCK and any(finding.should_stop for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON, without arguments and result."""
        return {
            "action": self.action.value,
            "call_id": self.call_id,
            "name": self.name,
            "message": self.message,
            "reason_code": self.reason_code,
            "should_stop": self.should_stop,
            "findings": [
                {
                    "check": finding.check.value,
                    "action": finding.action.value,
                    "reason_code": finding.reason_code,
                    "evidence": dict(finding.evidence),
                }
                for finding in self.findings
            ],
        }


def strictest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, the strictest first; equal ones in their order, those that stop the run before others."""
    return tuple(sorted(findings, key=lambda f: (-_SEVERITY[f.action], not f.should_stop)))
