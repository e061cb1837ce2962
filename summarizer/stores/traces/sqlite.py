"""Traces in the file of a `SQLiteStore`, through its writer and its readers.

Every trace is one row under `place`, the log's number in the upper and its own in the lower 32 bits, so a
page is one range of one B-tree. `trace_logs` has what an append changes; `traces.owner` is filled in
the shared log alone, where an owner's traces have to be found.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import uuid4

from procedural.store import PAGE, Appended, Checkpoint, Page
from procedural.traces import Scope, Trace

from .packing import SHARED, LogKey, Packed, owner_digest, pack, pack_sums, trace_errors, unpack

if TYPE_CHECKING:
    import sqlite3

    from ..sqlite.writes import Transaction

__all__ = ["SQLiteTraces", "erase_traces"]

_T = TypeVar("_T")

_MOST: Final = 2**32 - 1
"""Most traces of one log: the lower half of `place`."""

_INSERT_LOG: Final = "INSERT INTO trace_logs (digest, owner, log_id, last_seq) VALUES (?, ?, ?, 0)"
_INSERT: Final = """
    INSERT INTO traces (place, log, trace_id, owner, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (log, trace_id) DO NOTHING"""
_SELECT_LOG: Final = "SELECT id, log_id, last_seq FROM trace_logs WHERE digest = ?"
_SELECT_STATE: Final = """
    SELECT id, log_id, last_seq, through_seq, iif(?, sums, NULL) FROM trace_logs WHERE digest = ?"""
_SELECT: Final = "SELECT place, body FROM traces WHERE place > ? AND place <= ? ORDER BY place LIMIT ?"
_SAVE: Final = """
    UPDATE trace_logs SET through_seq = ?1, sums = ?2
    WHERE digest = ?3 AND log_id = ?4 AND (through_seq IS NULL OR through_seq < ?1)"""
_RENEW: Final = "UPDATE trace_logs SET log_id = ?, through_seq = NULL, sums = NULL WHERE digest = ?"


class Write(Protocol):
    """Runs work in a write transaction of the store."""

    def __call__(self, work: Callable[[Transaction], Any], *, scrub: bool = False) -> Awaitable[Any]: ...


class Read(Protocol):
    """Runs work in a read transaction of the store."""

    def __call__(self, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...


class SQLiteTraces:
    """A `TraceStore` in one file; `SQLiteStore.traces` makes it.

    Each call is one transaction, `erase` included. What a call returned for survives what the store's
    `durability` says: the death of this process, or of the machine.

    Args:
        write: The store's writer.
        read: The store's readers.
    """

    def __init__(self, write: Write, read: Read) -> None:
        self._write = write
        self._read = read

    async def append(self, scope: Scope, traces: Sequence[Trace]) -> Appended:
        key, packed, log_id = LogKey.of(scope), pack(traces), uuid4().hex
        with trace_errors():
            return await self._write(lambda t: _append(t.connection, key, packed, log_id))

    async def read(self, scope: Scope, after: int | None = None, limit: int = PAGE) -> Page:
        key = LogKey.of(scope)
        with trace_errors():
            return await self._read(lambda connection: _page(connection, key, after, limit))

    async def save(self, scope: Scope, checkpoint: Checkpoint) -> bool:
        values = (
            checkpoint.through_seq,
            pack_sums(checkpoint.sums),
            LogKey.of(scope).digest,
            checkpoint.log_id,
        )
        with trace_errors():
            return await self._write(lambda t: t.connection.execute(_SAVE, values).rowcount > 0)

    async def erase(self, owner: str | None) -> int:
        with trace_errors():
            return await self._write(lambda t: erase_traces(t.connection, owner), scrub=True)


def erase_traces(connection: sqlite3.Connection, owner: str | None) -> int:
    """See `TraceStore.erase`; inside the caller's write transaction."""
    mine, removed, execute = owner_digest(owner), 0, connection.execute
    for (number,) in execute("SELECT id FROM trace_logs WHERE owner = ?", (mine,)).fetchall():
        bounds = (number << 32, number << 32 | _MOST)
        removed += execute("DELETE FROM traces WHERE place BETWEEN ? AND ?", bounds).rowcount
        execute("DELETE FROM trace_logs WHERE id = ?", (number,))
    shared = execute("DELETE FROM traces WHERE owner = ?", (mine,)).rowcount
    if shared:
        execute(_RENEW, (uuid4().hex, SHARED.digest))
    return removed + shared


def _append(connection: sqlite3.Connection, key: LogKey, packed: Sequence[Packed], log_id: str) -> Appended:
    execute = connection.execute
    row = execute(_SELECT_LOG, (key.digest,)).fetchone()
    if row is None:
        number, last = execute(_INSERT_LOG, (key.digest, key.owner, log_id)).lastrowid or 0, 0
    else:
        number, log_id, last = row
    added: set[str] = set()
    for trace in packed:
        owner = trace.owner if key == SHARED else None
        place = number << 32 | last + 1
        if execute(_INSERT, (place, number, trace.digest, owner, trace.body)).rowcount:
            last += 1
            added.add(trace.trace_id)
    if added:
        execute("UPDATE trace_logs SET last_seq = ? WHERE id = ?", (last, number))
    return Appended(log_id, last, frozenset(added))


def _page(connection: sqlite3.Connection, key: LogKey, after: int | None, limit: int) -> Page:
    row = connection.execute(_SELECT_STATE, (after is None, key.digest)).fetchone()
    if row is None:
        return Page("", 0, None, ())
    number, log_id, last, through, sums = row
    checkpoint = None if sums is None else Checkpoint(log_id, through, json.loads(sums))
    start = checkpoint.through_seq if checkpoint else max(0, min(after or 0, _MOST))
    bounds = (number << 32 | start, number << 32 | _MOST, max(0, limit))
    rows = connection.execute(_SELECT, bounds)
    return Page(log_id, last, checkpoint, tuple([(place & _MOST, unpack(body)) for place, body in rows]))
