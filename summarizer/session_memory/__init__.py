"""Virtual memory in a session: its pages are views of the log, and what the host made is in the log.

In come a conversation, its view and a budget; out goes a context with pages, and answers to the paging tools.
It keeps nothing that another process could not read, and never writes while it reads.
"""

from __future__ import annotations

from .memory import SessionMemory
from .opening import open_memory
from .request import PagedView

__all__ = ["PagedView", "SessionMemory", "open_memory"]
