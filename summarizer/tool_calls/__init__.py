"""The session's guard, made durable: what its log says is what the guard knows.

In: tool calls, and the events of the log. Out: verdicts, results, traces, and events that any other worker
folds into the same guard. Never: keeps state that the log does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .session_tools import SessionTools

__all__ = ["SessionTools"]


def __getattr__(name: str) -> Any:
    """Load the guard at its first use: a conversation without tools spares it."""
    if name != "SessionTools":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .session_tools import SessionTools

    return SessionTools


def __dir__() -> list[str]:
    return __all__
