"""Conversations without end: tracked, counted, priced, and summarized from segment to segment.

In come messages, tool calls and usage; out go the messages a model should see, and figures.
Never at import: network, files, logging configuration, litellm. Names are loaded at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .context import Context, Omission
    from .cost_policy import CostAwarePolicy
    from .economy import CacheHealth, Decision, Savings
    from .errors import (
        CannotFork,
        InvalidMessage,
        InvalidSetting,
        MissingExtra,
        OrphanToolResult,
        PartialBatch,
        SchemaTooNew,
        SessionErased,
        SessionExists,
        SessionManagerError,
        SessionNotFound,
        StaleFence,
        StoreConflict,
        StoreError,
        StoreNotWritable,
        StoreUnavailable,
        SummarizerError,
        SummaryError,
        SummaryModelError,
        SummaryRejected,
        TokenLimitExceeded,
        ValueTooLarge,
    )
    from .events import Event, EventKind, Origin
    from .forking import SessionNode
    from .messages import Message, ToolCall
    from .meter import Usage, count_tokens
    from .policy import Policy
    from .recall import RECALL_SCHEMA, RecallHit
    from .segmentation import SegmentationOutcome, settle
    from .session import SessionManager
    from .stats import SessionStats
    from .stores import ANY_OWNER, EventStore, open_store
    from .summary import Entry, EntryKind, Summarizer, Summary, SummaryRequest
    from .tracking import (
        get_conversation_history,
        get_session_stats,
        track_conversation,
        track_infinite_conversation,
        track_llm_call,
        track_tool_use,
    )

_HOMES: Final = {
    "context": ("Context", "Omission"),
    "cost_policy": ("CostAwarePolicy",),
    "economy": ("CacheHealth", "Decision", "Savings"),
    "errors": (
        "CannotFork",
        "InvalidMessage",
        "InvalidSetting",
        "MissingExtra",
        "OrphanToolResult",
        "PartialBatch",
        "SchemaTooNew",
        "SessionErased",
        "SessionExists",
        "SessionManagerError",
        "SessionNotFound",
        "StaleFence",
        "StoreConflict",
        "StoreError",
        "StoreNotWritable",
        "StoreUnavailable",
        "SummarizerError",
        "SummaryError",
        "SummaryModelError",
        "SummaryRejected",
        "TokenLimitExceeded",
        "ValueTooLarge",
    ),
    "events": ("Event", "EventKind", "Origin"),
    "forking": ("SessionNode",),
    "messages": ("Message", "ToolCall"),
    "meter": ("Usage", "count_tokens"),
    "policy": ("Policy",),
    "recall": ("RECALL_SCHEMA", "RecallHit"),
    "segmentation": ("SegmentationOutcome", "settle"),
    "session": ("SessionManager",),
    "stats": ("SessionStats",),
    "stores": ("ANY_OWNER", "EventStore", "open_store"),
    "summary": ("Entry", "EntryKind", "Summarizer", "Summary", "SummaryRequest"),
    "tracking": (
        "get_conversation_history",
        "get_session_stats",
        "track_conversation",
        "track_infinite_conversation",
        "track_llm_call",
        "track_tool_use",
    ),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ANY_OWNER",
    "RECALL_SCHEMA",
    "CacheHealth",
    "CannotFork",
    "Context",
    "CostAwarePolicy",
    "Decision",
    "Entry",
    "EntryKind",
    "Event",
    "EventKind",
    "EventStore",
    "InvalidMessage",
    "InvalidSetting",
    "Message",
    "MissingExtra",
    "Omission",
    "Origin",
    "OrphanToolResult",
    "PartialBatch",
    "Policy",
    "RecallHit",
    "Savings",
    "SchemaTooNew",
    "SegmentationOutcome",
    "SessionErased",
    "SessionExists",
    "SessionManager",
    "SessionManagerError",
    "SessionNode",
    "SessionNotFound",
    "SessionStats",
    "StaleFence",
    "StoreConflict",
    "StoreError",
    "StoreNotWritable",
    "StoreUnavailable",
    "Summarizer",
    "SummarizerError",
    "Summary",
    "SummaryError",
    "SummaryModelError",
    "SummaryRejected",
    "SummaryRequest",
    "TokenLimitExceeded",
    "ToolCall",
    "Usage",
    "ValueTooLarge",
    "count_tokens",
    "get_conversation_history",
    "get_session_stats",
    "open_store",
    "settle",
    "track_conversation",
    "track_infinite_conversation",
    "track_llm_call",
    "track_tool_use",
]


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
