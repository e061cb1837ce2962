"""The guard of the current context: of a session, a request or a task, never of the process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from guards.guard import ToolGuard

__all__ = ["get_tool_state", "provided", "reset_tool_state", "tool_state"]

_current: ContextVar[tuple[Callable[[], ToolGuard], ref[Any] | None] | None] = ContextVar(
    "longsplice_tool_state", default=None
)
"""What gives the guard, and the task or thread that it was made for on first use; `None` if a host set it."""


def get_tool_state() -> ToolGuard:
    """The current guard: that of the innermost `with tool_state():`, else one of this task or thread alone.

    The latter is made on first use. Other tasks and threads never see it, not even those that are started
    from here, so two users of a server cannot meet in it. `with tool_state():` around a request makes a
    guard that the request's own tasks and threads share.
    """
    runner = _runner()
    provide, owner = _current.get() or (None, None)
    if provide is None or (owner is not None and owner() is not runner):
        provide = _always(_new())
        _current.set((provide, ref(runner)))
    return provide()


def reset_tool_state() -> None:
    """Forget this context's guard; the next `get_tool_state` makes a new one."""
    _current.set(None)


@contextmanager
def tool_state(guard: ToolGuard | None = None) -> Generator[ToolGuard]:
    """Make a guard the current one within the block, and put back the one before.

    Args:
        guard: The guard; `None` makes a new one.
    """
    guard = guard or _new()
    with provided(_always(guard)):
        yield guard


@contextmanager
def provided(provide: Callable[[], ToolGuard]) -> Generator[None]:
    """Within the block, let `get_tool_state` give what `provide` gives; it is asked at each use.

    So a host makes its guard only if somebody asks for it.
    """
    before = _current.get()
    _current.set((provide, None))
    try:
        yield
    finally:
        _current.set(before)  # No token: a block may be left in another context than it was entered in.


def _always(guard: ToolGuard) -> Callable[[], ToolGuard]:
    return lambda: guard


def _new() -> ToolGuard:
    from guards.guard import ToolGuard

    return ToolGuard()


def _runner() -> Any:
    """The task that runs, or outside of one the thread."""
    if "asyncio" in sys.modules:
        from asyncio import current_task

        try:
            task = current_task()
        except RuntimeError:  # No loop runs in this thread.
            task = None
        if task is not None:
            return task
    return threading.current_thread()
