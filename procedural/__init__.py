"""What past tool calls teach.

In: finished tool calls, as traces. Out: patterns with their evidence, and short hints for
a model. Never: crosses owners unasked, runs a tool, or repeats a secret or an instruction.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from procedural.aggregates import Aggregate
    from procedural.errors import ProceduralError, TraceError, TraceStoreError
    from procedural.evidence import Rate
    from procedural.formatter import ProceduralContextFormatter
    from procedural.memory import ToolMemoryManager
    from procedural.patterns import (
        ArgumentPattern,
        Drift,
        ErrorPattern,
        Fix,
        Latency,
        Lift,
        Pattern,
        SequencePattern,
    )
    from procedural.store import Appended, Checkpoint, InMemoryTraceStore, Page, TraceStore
    from procedural.traces import Change, CompletedCall, Correction, Scope, Trace
    from procedural.wording import Wording

_HOMES: Final = {
    "aggregates": ("Aggregate",),
    "errors": ("ProceduralError", "TraceError", "TraceStoreError"),
    "evidence": ("Rate",),
    "formatter": ("ProceduralContextFormatter",),
    "memory": ("ToolMemoryManager",),
    "patterns": (
        "ArgumentPattern",
        "Drift",
        "ErrorPattern",
        "Fix",
        "Latency",
        "Lift",
        "Pattern",
        "SequencePattern",
    ),
    "store": ("Appended", "Checkpoint", "InMemoryTraceStore", "Page", "TraceStore"),
    "traces": ("Change", "CompletedCall", "Correction", "Scope", "Trace"),
    "wording": ("Wording",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Aggregate",
    "Appended",
    "ArgumentPattern",
    "Change",
    "Checkpoint",
    "CompletedCall",
    "Correction",
    "Drift",
    "ErrorPattern",
    "Fix",
    "InMemoryTraceStore",
    "Latency",
    "Lift",
    "Page",
    "Pattern",
    "ProceduralContextFormatter",
    "ProceduralError",
    "Rate",
    "Scope",
    "SequencePattern",
    "ToolMemoryManager",
    "Trace",
    "TraceError",
    "TraceStore",
    "TraceStoreError",
    "Wording",
]

logging.getLogger("procedural").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load a public name's home at its first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
