"""Strands Agents: conversation managers that hold a budget, sessions on our log, the guard around tools.

In come an agent's messages and tool calls; out go fewer messages, each recorded, and guarded results. The
modules translate; deciding, storing and summarizing is the house's. Tested with strands-agents 1.62.
"""

from __future__ import annotations

from ...errors import MissingExtra

try:
    import strands as _strands  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise MissingExtra("summarizer.integrations.strands", "strands") from error

from .estimate import Estimator
from .flags import tool_flags
from .guard import LongspliceGuard
from .history import SlidingWindowManager, SummarizingManager
from .reducing import Reduced
from .session import LongspliceSessionManager

__all__ = [
    "Estimator",
    "LongspliceGuard",
    "LongspliceSessionManager",
    "Reduced",
    "SlidingWindowManager",
    "SummarizingManager",
    "tool_flags",
]
