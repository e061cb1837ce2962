"""Where logs live.

In come batches of events for a conversation's tip; out go heads, open segments and ranges.
Every engine keeps the promises of `protocol`. Never here: what an event means, or when to segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .memory import MemoryStore
from .opening import close_default_stores, default_store, open_store
from .protocol import (
    ANY_OWNER,
    AnyOwner,
    Appended,
    Beginning,
    Claim,
    ConversationRow,
    Erased,
    EventStore,
    Fork,
    Head,
    Loaded,
    Segment,
    conversation_digest,
)
from .traces import open_trace_store

if TYPE_CHECKING:
    from .redis import RedisStore
    from .sqlite import SQLiteStore

__all__ = [
    "ANY_OWNER",
    "AnyOwner",
    "Appended",
    "Beginning",
    "Claim",
    "ConversationRow",
    "Erased",
    "EventStore",
    "Fork",
    "Head",
    "Loaded",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "Segment",
    "close_default_stores",
    "conversation_digest",
    "default_store",
    "open_store",
    "open_trace_store",
]


def __getattr__(name: str) -> Any:
    """Engines are loaded when they are asked for: their drivers cost milliseconds to import."""
    if name == "SQLiteStore":
        from .sqlite import SQLiteStore

        return SQLiteStore
    if name == "RedisStore":
        from .redis import RedisStore

        return RedisStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
