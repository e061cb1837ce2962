"""What each reading call asks; runs inside one read transaction.

Rows go out as values, bodies decoded here, in the reading thread. Never here: writing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ...config import make_session_id
from ...errors import SessionNotFound
from ...events import Event
from ..protocol import ANY_OWNER, AnyOwner, ConversationRow, Fork, Head, Loaded, Owner, Segment
from .rows import MAX_SEQ, SELECT_HEAD, Key, from_micros, read_events, read_head, to_micros

if TYPE_CHECKING:
    import sqlite3

__all__ = ["forks", "head", "idle", "listing", "load", "log", "segments"]

_SELECT_EVENTS: Final = """
    SELECT place, cumulative, event_id, body FROM events WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"""
_SELECT_SEGMENTS: Final = """
    SELECT place, start_seq, end_seq, start_tokens, opened_at, iif(?, summary, NULL) FROM segments
    WHERE place BETWEEN ? AND ? ORDER BY place"""
_SELECT_LIST: Final = """
    SELECT root, owner, created_at FROM conversations WHERE {where}
    ORDER BY created_at DESC, root, owner LIMIT ?"""
_AFTER: Final = """ AND created_at <= ?1 AND (created_at < ?1 OR root > ?2
    OR (root = ?2 AND owner IS NOT NULL AND (?3 IS NULL OR owner > ?3)))"""


def head(connection: sqlite3.Connection, key: Key, now: float) -> tuple[int, Head]:
    """The conversation's number and head; raises `SessionNotFound`."""
    row = connection.execute(SELECT_HEAD, (key.digest,)).fetchone()
    if row is None or key.index > row[1]:
        raise SessionNotFound(key.session_id)
    return row[0], read_head(key.root, row, now)


def load(connection: sqlite3.Connection, key: Key, after_seq: int | None, now: float) -> Loaded:
    """See `EventStore.load`."""
    number, found = head(connection, key, now)
    after = -1 if after_seq is None else after_seq
    settings = summary = None
    if found.settings_seq > after:
        row = connection.execute("SELECT settings FROM conversations WHERE id = ?", (number,)).fetchone()
        settings = json.loads(row[0])
    if found.opened_seq > after:
        place = number << 32 | found.index
        row = connection.execute("SELECT summary FROM segments WHERE place = ?", (place,)).fetchone()
        summary = None if row[0] is None else json.loads(row[0])
    events = _range(connection, number, max(found.start_seq, after + 1), MAX_SEQ, -1)
    return Loaded(found, settings, summary, events)


def log(
    connection: sqlite3.Connection, key: Key, after_seq: int, until_seq: int | None, limit: int | None
) -> tuple[Event, ...]:
    """See `EventStore.read`."""
    number, _ = head(connection, key, 0.0)
    last = MAX_SEQ if until_seq is None else min(until_seq, MAX_SEQ)
    return _range(connection, number, after_seq + 1, last, -1 if limit is None else max(0, limit))


def segments(connection: sqlite3.Connection, key: Key, *, summaries: bool) -> tuple[Segment, ...]:
    """See `EventStore.segments`."""
    number, _ = head(connection, key, 0.0)
    rows = connection.execute(_SELECT_SEGMENTS, (summaries, number << 32, number << 32 | MAX_SEQ))
    return tuple(_segment(key.root, row) for row in rows)


def forks(connection: sqlite3.Connection, key: Key) -> tuple[Fork, ...]:
    """See `EventStore.forks`."""
    head(connection, key, 0.0)
    statement = "SELECT root, fork_seq FROM conversations WHERE ancestor = ? ORDER BY fork_seq, root"
    return tuple(Fork(root, seq) for root, seq in connection.execute(statement, (key.digest,)))


def listing(
    connection: sqlite3.Connection, owner: Owner | AnyOwner, limit: int, after: ConversationRow | None
) -> tuple[ConversationRow, ...]:
    """See `EventStore.list`; one range of an index, wherever the page is."""
    where, parameters = "1", []
    if after is not None:
        parameters: list[Any] = [to_micros(after.created_at), after.conversation_id, after.owner]
    if owner is not ANY_OWNER:
        where = f"owner IS ?{len(parameters) + 1}"
        parameters.append(owner)
    statement = _SELECT_LIST.format(where=where + (_AFTER if after is not None else ""))
    statement = statement.replace("LIMIT ?", f"LIMIT ?{len(parameters) + 1}")
    rows = connection.execute(statement, (*parameters, limit))
    return tuple(ConversationRow(root, who, from_micros(at)) for root, who, at in rows)


def idle(connection: sqlite3.Connection, owner: Owner | AnyOwner, untouched_since: float) -> list[str]:
    """Digests of conversations to which nothing was written since then."""
    statement = """
        SELECT c.digest FROM heads h JOIN conversations c ON c.id = h.conversation
        WHERE h.touched <= ?1 AND (?2 OR c.owner IS ?3)"""
    anyone = owner is ANY_OWNER
    rows = connection.execute(statement, (untouched_since, anyone, None if anyone else owner))
    return [digest for (digest,) in rows]


def _range(
    connection: sqlite3.Connection, number: int, first: int, last: int, limit: int
) -> tuple[Event, ...]:
    first, last = max(0, min(first, MAX_SEQ)), max(0, last)
    low = number << 32
    return read_events(connection.execute(_SELECT_EVENTS, (low | first, low | last, limit)).fetchall())


def _segment(root: str, row: tuple[int, int, int | None, int, int, str | None]) -> Segment:
    place, start_seq, end_seq, start_tokens, opened_at, summary = row
    index = place & MAX_SEQ
    return Segment(
        make_session_id(root, index),
        make_session_id(root, index - 1) if index else None,
        index,
        start_seq,
        end_seq,
        start_tokens,
        from_micros(opened_at),
        None if summary is None else json.loads(summary),
    )
