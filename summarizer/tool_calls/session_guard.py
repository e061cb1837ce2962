"""The guard inside a session: its numbers come from the log. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guards import Binding, GuardError, ToolGuard, Verdict

__all__ = ["SessionGuard"]


class SessionGuard(ToolGuard):
    """A guard whose numbers the log assigns: what the log did not number needs a leased one."""

    def announce(self, call_ids: Sequence[str], *, first: int | None = None) -> tuple[str, ...]:  # noqa: ARG002
        raise GuardError("the log numbers this guard's calls; record the assistant message that lists them")

    def before_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | bytes | None = None,
        call_id: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Verdict:
        self._check_number(name, call_id)
        return super().before_call(name, arguments, call_id, idempotency_key=idempotency_key)

    def record(self, name: str, arguments: Mapping[str, Any] | str | None, **ended: Any) -> Binding | None:
        self._check_number(name, ended.get("call_id"))
        return super().record(name, arguments, **ended)

    def _check_number(self, name: str, call_id: str | None) -> None:
        numbered = call_id in self._state.numbers or call_id in self._state.open
        if not numbered and not self.bindings.leased:
            raise GuardError(
                f"no number is kept for a call of {name!r}; use await sm.tools.before_call or run, "
                "or await sm.tool_used for one that ran"
            )

    def bind_value(
        self, name: str, arguments: Mapping[str, Any], value: Any, *, aliases: Sequence[str] = ()
    ) -> Binding:
        if not self.bindings.leased:
            raise GuardError(
                f"no number is leased for the value of {name!r}; await sm.tools.open(bindings=True) first"
            )
        return super().bind_value(name, arguments, value, aliases=aliases)
