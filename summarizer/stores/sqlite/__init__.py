"""The log in one SQLite file, the durable default for one machine.

In come the calls of `EventStore`; out go rows of a WAL database that many processes share.
Each process writes through one thread and one connection. Never here: what a body means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .store import SQLiteStore

__all__ = ["SQLiteStore"]


def __getattr__(name: str) -> Any:
    """The store, loaded at its first use: recall needs the index of this room and no file."""
    if name != "SQLiteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .store import SQLiteStore

    return SQLiteStore
