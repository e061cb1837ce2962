"""`UngroundedGuard`: the grounding check on its own, without references, results or a session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from guards.calls import PendingCall, parse_arguments, plain
from guards.checks.grounding import GroundingCheck, GroundingPolicy
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding
from guards.wording import Wording

__all__ = ["UngroundedGuard"]

_NEVER: Final = datetime.fromtimestamp(0, UTC)


class UngroundedGuard:
    """The grounding check alone, for a host that wants nothing else.

        guard = UngroundedGuard(mode="block", grace=0)
        finding = guard.check("refund", {"order_id": "W-9"}, user_text="Refund order W-1, please.")

    Args:
        mode: `off`, `warn` or `block`.
        grace: With `block`, flagged calls that are let through in a prompt.
        exempt: Parameters that need no source.
        tolerance: Relative error allowed between a number and its source.
        wording: The sentences that the model reads.
    """

    def __init__(
        self,
        mode: Literal["off", "warn", "block"] = "warn",
        *,
        grace: int = 1,
        exempt: Iterable[str] = (),
        tolerance: float = 1e-6,
        wording: Wording | None = None,
    ) -> None:
        policy = GroundingPolicy(mode, grace, frozenset(exempt), tolerance)
        self._check = GroundingCheck(policy, wording=wording)

    def check(
        self,
        name: str,
        arguments: Mapping[str, Any] | str,
        *,
        user_text: str | None = None,
        system_text: str | None = None,
        bindings: Mapping[str, Any] | None = None,
        results: Iterable[Any] = (),
        spec: ToolSpec | None = None,
    ) -> Finding | None:
        """Look at a call, and remember what was said for the calls that follow.

        A flagged call that is let through uses up grace.

        Args:
            name: The tool's name.
            arguments: A mapping, or the JSON text that the model wrote; `$v1` in it is no literal.
            user_text: What the user has said since the last check.
            system_text: The system prompt, once.
            bindings: Values that may be named, by id (`v1`); each id is read once.
            results: Other tool results since the last check.
            spec: What the tool is; `None`: unknown, so everything is checked.

        Raises:
            InvalidArgumentsError: The arguments are no JSON object.
        """
        call_arguments = parse_arguments(arguments)
        if system_text is not None:
            self._check.system_said(system_text)
        if user_text is not None:
            self._check.user_said(user_text)
        for result in results:
            self._check.sources.add("tool", plain(result, lenient=True))
        for binding_id, value in (bindings or {}).items():
            self._check.bound(binding_id.removeprefix("$"), plain(value, lenient=True))
        call = PendingCall("", name, call_arguments, call_arguments, "", _NEVER)
        finding = self._check.examine(call, spec or ToolSpec(name))
        if finding is not None and finding.action is Action.WARN:
            self._check.use_grace()
        return finding

    def reset_for_new_prompt(self) -> None:
        """Grace begins anew; what was said stays known."""
        self._check.reset_for_new_prompt()
