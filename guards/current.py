"""The guard of the current context: of a session, a request or a task, never of the process."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from guards.guard import ToolGuard

__all__ = ["get_tool_state", "reset_tool_state", "tool_state"]

_current: ContextVar[ToolGuard | None] = ContextVar("longsplice_tool_state", default=None)


def get_tool_state() -> ToolGuard:
    """The current guard; the first use in a context that has none makes one.

    A context is a task or thread: what a task makes here, its parent and its siblings do not see. A server
    opens one for each request with `with tool_state():`.
    """
    guard = _current.get()
    if guard is None:
        guard = ToolGuard()
        _current.set(guard)
    return guard


def reset_tool_state() -> None:
    """Forget this context's guard; the next `get_tool_state` makes a new one."""
    _current.set(None)


@contextmanager
def tool_state(guard: ToolGuard | None = None) -> Generator[ToolGuard]:
    """Make a guard the current one within the block, and put back the one before.

    Args:
        guard: The guard; `None` makes a new one.
    """
    guard = guard or ToolGuard()
    token = _current.set(guard)
    try:
        yield guard
    finally:
        _current.reset(token)
