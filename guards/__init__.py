"""What a tool call may do.

In: a tool call before it runs, and its outcome after. Out: a verdict, resolved
arguments and a binding for the result. Never: runs a model, reads the log or does I/O.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guards.bindings import Binding, BindingManager
    from guards.cache import ResultCache
    from guards.calls import CallRecord, Outcome, PendingCall
    from guards.checks.grounding import GroundingPolicy, LeafProvenance
    from guards.checks.loop import LoopPolicy
    from guards.checks.permission import PermissionPolicy
    from guards.checks.ungrounded import UngroundedGuard
    from guards.current import get_tool_state, reset_tool_state, tool_state
    from guards.errors import (
        CallInProgressError,
        GuardError,
        GuardLimitError,
        InvalidArgumentsError,
        SnapshotError,
        UnknownCallError,
        UnresolvedReferenceError,
    )
    from guards.guard import ToolGuard, ToolStateManager
    from guards.limits import Limits
    from guards.reading import READ_VALUE_SCHEMA, read_value
    from guards.references import Resolution
    from guards.running import CallResult
    from guards.tools import ToolSpec
    from guards.verdicts import Action, Check, Finding, Verdict
    from guards.wording import Wording

_HOME_OF = {
    name: home
    for home, names in {
        "bindings": ("Binding", "BindingManager"),
        "cache": ("ResultCache",),
        "calls": ("CallRecord", "Outcome", "PendingCall"),
        "checks.grounding": ("GroundingPolicy", "LeafProvenance"),
        "checks.loop": ("LoopPolicy",),
        "checks.permission": ("PermissionPolicy",),
        "checks.ungrounded": ("UngroundedGuard",),
        "current": ("get_tool_state", "reset_tool_state", "tool_state"),
        "errors": (
            "CallInProgressError",
            "GuardError",
            "GuardLimitError",
            "InvalidArgumentsError",
            "SnapshotError",
            "UnknownCallError",
            "UnresolvedReferenceError",
        ),
        "guard": ("ToolGuard", "ToolStateManager"),
        "limits": ("Limits",),
        "reading": ("READ_VALUE_SCHEMA", "read_value"),
        "references": ("Resolution",),
        "running": ("CallResult",),
        "tools": ("ToolSpec",),
        "verdicts": ("Action", "Check", "Finding", "Verdict"),
        "wording": ("Wording",),
    }.items()
    for name in names
}

__all__ = [
    "READ_VALUE_SCHEMA",
    "Action",
    "Binding",
    "BindingManager",
    "CallInProgressError",
    "CallRecord",
    "CallResult",
    "Check",
    "Finding",
    "GroundingPolicy",
    "GuardError",
    "GuardLimitError",
    "InvalidArgumentsError",
    "LeafProvenance",
    "Limits",
    "LoopPolicy",
    "Outcome",
    "PendingCall",
    "PermissionPolicy",
    "Resolution",
    "ResultCache",
    "SnapshotError",
    "ToolGuard",
    "ToolSpec",
    "ToolStateManager",
    "UngroundedGuard",
    "UnknownCallError",
    "UnresolvedReferenceError",
    "Verdict",
    "Wording",
    "get_tool_state",
    "read_value",
    "reset_tool_state",
    "tool_state",
]

logging.getLogger("guards").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
