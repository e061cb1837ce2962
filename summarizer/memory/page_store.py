"""Where a memory survives a restart: one JSON value per session, behind two calls.

The value is what `MemoryManager.snapshot` gives: pages whole, residents, turn, counters. Who saves last
wins: let one process at a time serve a session's memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

__all__ = ["InMemoryPageStore", "PageStore"]


class PageStore(Protocol):
    """Keeps one snapshot per session id."""

    async def save(self, session_id: str, snapshot: Mapping[str, Any]) -> None:
        """Replace the session's snapshot; all of it or nothing. JSON values only."""
        ...

    async def load(self, session_id: str) -> Mapping[str, Any] | None:
        """The session's snapshot; `None` if it has none. A store that cannot be asked raises."""
        ...


class InMemoryPageStore:
    """Keeps snapshots in this process, as JSON texts, so that no later change reaches them."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def save(self, session_id: str, snapshot: Mapping[str, Any]) -> None:
        """See `PageStore`."""
        self._texts[session_id] = json.dumps(snapshot)

    async def load(self, session_id: str) -> Mapping[str, Any] | None:
        """See `PageStore`."""
        text = self._texts.get(session_id)
        return None if text is None else cast("dict[str, Any]", json.loads(text))
