"""The same interface for synchronous callers: Flask, Django, scripts, and threads of any program.

In come the calls of `summarizer`, without `await`; they run on one background event loop per process, and
block only the thread that makes them. Never here: a second implementation of anything.
"""

from __future__ import annotations

from .. import segmentation, tracking
from .background import close, run
from .blocking import blocking as _blocking
from .session import SessionManager

__all__ = [
    "SessionManager",
    "close",
    "get_conversation_history",
    "get_session_stats",
    "run",
    "settle",
    "track_conversation",
    "track_infinite_conversation",
    "track_llm_call",
    "track_tool_use",
]

track_conversation = _blocking(tracking.track_conversation)
track_infinite_conversation = _blocking(tracking.track_infinite_conversation)
track_llm_call = _blocking(tracking.track_llm_call, calls="llm_function")
track_tool_use = _blocking(tracking.track_tool_use)
get_session_stats = _blocking(tracking.get_session_stats)
get_conversation_history = _blocking(tracking.get_conversation_history)
settle = _blocking(segmentation.settle)
