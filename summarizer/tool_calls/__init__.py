"""The session's guard, made durable: what its log says is what the guard knows.

In: tool calls, and the events of the log. Out: verdicts, results, and events that any other worker folds
into the same guard. Never: keeps state that the log does not hold.
"""

from .session_tools import SessionTools

__all__ = ["SessionTools"]
