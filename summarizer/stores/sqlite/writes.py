"""What each writing call does inside a transaction; runs in the writer's thread.

Every method checks everything before it changes anything, so a call that raises a typed
error leaves nothing to undo and its neighbours in the group commit. Appends are gathered and
written together at `flush`; all else writes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from ...config import TOMBSTONE_S
from ...errors import PartialBatch, SessionErased, SessionExists, SessionNotFound, StaleFence, StoreConflict
from ..protocol import Claim, Erased, Head, Owner
from ..traces.sqlite import erase_traces
from .postings import forget, trim
from .rows import MAX_SEQ, SELECT_HEAD, Batch, EventRow, Held, Key, Row, dump, read_head

if TYPE_CHECKING:
    import sqlite3

__all__ = ["HandOver", "Transaction", "Written"]

_INSERT_ID: Final = "INSERT INTO ids (conversation, event_id, seq) VALUES (?, ?, ?)"
_RETIRE: Final = """
    INSERT INTO retired (place, event_id) SELECT place, event_id FROM events WHERE place > ? AND place < ?"""
_FORGET_IDS: Final = """
    DELETE FROM ids WHERE conversation = ?1 AND event_id IN (
        SELECT event_id FROM events WHERE place BETWEEN ?2 AND ?3
        UNION ALL SELECT event_id FROM retired WHERE place BETWEEN ?2 AND ?3)"""
_INSERT_EVENT: Final = "INSERT INTO events (place, cumulative, event_id, body) VALUES (?, ?, ?, ?)"
_INSERT_SEGMENT: Final = (
    "INSERT INTO segments (place, start_seq, end_seq, start_tokens, opened_at, summary) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_WITH_FORKS: Final = """
    WITH RECURSIVE below (digest) AS (
        VALUES (?1) UNION SELECT c.digest FROM conversations c JOIN below ON c.ancestor = below.digest)
    SELECT digest FROM below"""
_LET_FORKS_GO: Final = """
    UPDATE conversations SET ancestor = NULL
    WHERE ancestor = (SELECT digest FROM conversations WHERE id = ?)"""
_UPDATE_HEAD: Final = """
    UPDATE heads SET tip = ?, start_seq = ?, last_seq = ?, total_tokens = ?, start_tokens = ?,
        seed_tokens = ?, opened_seq = ?, opened_turns = ?, settings_seq = ?, message_seq = ?, skipped_seq = ?,
        report = ?, report_total = ?, counters = ?, fence = ?, first_seq = ?, lease_until = ?, touched = ?
    WHERE conversation = ?"""
_SELECT_OTHERS: Final = """
    SELECT place, cumulative, event_id, body FROM events
    WHERE place > ? AND place <= ? AND place NOT BETWEEN ? AND ? ORDER BY place"""


class Written(NamedTuple):
    """An append's answer, others' events still encoded."""

    head: Head
    first_seq: int
    last_seq: int
    duplicate: bool
    others: list[EventRow]


@dataclass(frozen=True, slots=True)
class HandOver:
    """What `segment` is to do: close session `index` at `cut`; the summary is JSON."""

    index: int
    cut: int
    summary: str
    seed_tokens: int
    fence: int


class Transaction:
    """One write transaction on behalf of a group of callers.

    Args:
        connection: Inside BEGIN IMMEDIATE.
        heads: Heads known to be current; filled and changed here, thrown away by the writer on rollback.
        careful: Look every event id up before writing. Else ids are trusted to be new, and the
            unique key raises `sqlite3.IntegrityError` if one is not: repeats are rare, look-ups are not free.
    """

    def __init__(self, connection: sqlite3.Connection, heads: dict[str, Row], *, careful: bool) -> None:
        self._connection = connection
        self._heads = heads
        self._careful = careful
        self._ids: list[tuple[int, str, int]] = []
        self._events: list[EventRow] = []
        self._dirty: dict[int, Row] = {}

    @property
    def connection(self) -> sqlite3.Connection:
        """For those who keep other tables than the log's in the same file."""
        return self._connection

    def flush(self) -> None:
        """Write what was gathered; one update per changed head."""
        if self._ids:
            self._connection.executemany(_INSERT_ID, self._ids)
            self._connection.executemany(_INSERT_EVENT, self._events)
            self._ids, self._events = [], []
        if self._dirty:
            self._connection.executemany(_UPDATE_HEAD, [_head_row(row) for row in self._dirty.values()])
            self._dirty = {}

    def create(self, key: Key, settings: str, held: Held | None, now: float) -> Head:
        """See `EventStore.create`."""
        if self._erased(key, now):
            raise SessionErased(key.root)
        execute = self._connection.execute
        if execute("SELECT 1 FROM conversations WHERE digest = ?", (key.digest,)).fetchone():
            raise SessionExists(key.root)
        micros = round(now * 1e6)
        held = held or Held(Head(key.root), [(0, 1, None, 0, micros, None)], [], None, 0)
        ancestor = fork_seq = None
        if held.ancestor is not None:
            self._find(held.ancestor, now)
            ancestor, fork_seq = held.ancestor.digest, held.fork_seq
        number = execute(
            """INSERT INTO conversations (digest, owner, root, created_at, settings, ancestor, fork_seq)
            VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (key.digest, key.owner, key.root, micros, settings, ancestor, fork_seq),
        ).lastrowid
        assert number is not None
        row = Row(number, held.head, 0.0, now)
        execute("INSERT INTO heads (conversation) VALUES (?)", (number,))
        for index, start, end, tokens, opened_at, summary in held.segments:
            execute(_INSERT_SEGMENT, (number << 32 | index, start, end, tokens, opened_at, summary))
        self._ids += [(number, event_id, seq) for seq, _, event_id, _ in held.events]
        self._events += [(number << 32 | seq, total, name, body) for seq, total, name, body in held.events]
        self._change(row)
        self._heads[key.digest] = row
        return row.head

    def append(
        self, key: Key, batch: Batch, expect: int | None, after_seq: int | None, now: float
    ) -> Written:
        """See `EventStore.append`."""
        row = self._find(key, now)
        before, known = row.head.last_seq, None
        surprised = expect is not None and expect != before
        if self._careful or surprised:
            known = self._known(row, batch)
        if known is None:
            if surprised:
                raise StoreConflict(f"expected last seq {expect}, the log is at {before}; load and try again")
            self._write(row, batch, now)
        first = known or before + 1
        last = first + len(batch.ids) - 1
        others: list[EventRow] = []
        if after_seq is not None and (after_seq < first - 1 or last < row.head.last_seq):
            others = self._others(row, after_seq, first, last)
        return Written(_answer(row, now), first, last, known is not None, others)

    def claim(self, key: Key, index: int, lease_s: float, now: float, *, preempt: bool) -> Claim:
        """See `EventStore.claim`."""
        row = self._find(key, now)
        if row.head.index != index or (row.lease_until > now and not preempt):
            return Claim(None, _answer(row, now))
        row.head = replace(row.head, fence=row.head.fence + 1)
        row.lease_until = now + lease_s
        self._change(row)
        return Claim(row.head.fence, _answer(row, now))

    def renew(self, key: Key, fence: int, lease_s: float, now: float) -> bool:
        """See `EventStore.renew`; a lease of 0 seconds gives it back."""
        row = self._find(key, now)
        if row.head.fence != fence:
            return False
        row.lease_until = now + lease_s
        self._change(row)
        return True

    def release(self, key: Key, fence: int, now: float) -> None:
        """See `EventStore.release`."""
        try:
            self.renew(key, fence, 0.0, now)
        except (SessionNotFound, SessionErased):
            return

    def segment(self, key: Key, plan: HandOver, batch: Batch, now: float) -> Head:
        """See `EventStore.segment`."""
        row = self._find(key, now)
        head, cut, known = row.head, plan.cut, self._known(row, batch)
        if known is not None and head.index > plan.index:
            return _answer(row, now)
        if head.fence != plan.fence:
            raise StaleFence(
                f"fence {plan.fence} is stale, the newest is {head.fence}; adopt the newer session"
            )
        if head.index != plan.index or not head.start_seq - 1 <= cut <= head.last_seq:
            raise StoreConflict(
                f"cannot close session {plan.index} at seq {cut}: "
                f"the tip is {head.index}, open from {head.start_seq} to {head.last_seq}"
            )
        if known is not None:
            raise PartialBatch(f"batch of {batch.ids[0]!r} is in the log already; use fresh event ids")
        start_tokens = self._tokens_at(row, cut)
        self._write(row, batch, now)
        row.lease_until = 0.0
        row.head = replace(
            row.head,
            index=plan.index + 1,
            start_seq=cut + 1,
            start_tokens=start_tokens,
            seed_tokens=plan.seed_tokens,
            opened_seq=head.last_seq + 1,
            opened_turns=head.counters.user_messages,
        )
        place, opened_at = row.id << 32 | plan.index, round(now * 1e6)
        self._connection.execute("UPDATE segments SET end_seq = ? WHERE place = ?", (cut, place))
        self._connection.execute(
            _INSERT_SEGMENT, (place + 1, cut + 1, None, start_tokens, opened_at, plan.summary)
        )
        return row.head

    def retain(self, key: Key, before_index: int, now: float) -> int:
        """See `EventStore.retain`."""
        row = self._find(key, now)
        place = row.id << 32 | max(0, min(before_index, row.head.index))
        found = self._connection.execute("SELECT start_seq FROM segments WHERE place = ?", (place,))
        start = found.fetchone()[0]
        removed = max(0, start - row.head.first_seq)
        if removed:
            self.flush()
            low = row.id << 32
            self._connection.execute(_RETIRE, (low, low | start))
            self._connection.execute("DELETE FROM events WHERE place > ? AND place < ?", (low, low | start))
            trim(self._connection, row.id, start, removed)
            row.head = replace(row.head, first_seq=start)
            self._change(row)
        return removed

    def erase(self, owner: Owner, key: Key | None, now: float, *, keep_forks: bool) -> Erased:
        """See `EventStore.erase`."""
        execute = self._connection.execute
        if key is not None:
            digests = [key.digest] if keep_forks else [d for (d,) in execute(_WITH_FORKS, (key.digest,))]
        else:
            digests = [d for (d,) in execute("SELECT digest FROM conversations WHERE owner IS ?", (owner,))]
        gone = self.remove(digests, None)
        if key is None:
            gone = replace(gone, traces=erase_traces(self._connection, owner))
        if gone.conversations:
            until = now + TOMBSTONE_S
            execute("DELETE FROM tombstones WHERE until <= ?", (now,))
            for digest in digests:
                execute("INSERT OR REPLACE INTO tombstones (digest, until) VALUES (?, ?)", (digest, until))
        return gone

    def remove(self, digests: list[str], untouched_since: float | None) -> Erased:
        """Remove those conversations that are there and, if asked, still idle."""
        self.flush()
        conversations = sessions = events = 0
        for digest in digests:
            self._heads.pop(digest, None)
            row = self._connection.execute(SELECT_HEAD, (digest,)).fetchone()
            if row is None or (untouched_since is not None and row[18] > untouched_since):
                continue
            head = read_head("", row, 0.0)
            conversations += 1
            sessions += head.index + 1
            events += head.last_seq - head.first_seq + 1
            self._delete(row[0])
        return Erased(conversations, sessions, events)

    def _delete(self, number: int) -> None:
        low, high = number << 32, number << 32 | MAX_SEQ
        self._connection.execute(_FORGET_IDS, (number, low, high))
        forget(self._connection, number)
        # The id may be used anew, by a conversation that has no forks.
        self._connection.execute(_LET_FORKS_GO, (number,))
        for table in ("events", "retired", "segments"):
            self._connection.execute(f"DELETE FROM {table} WHERE place BETWEEN ? AND ?", (low, high))  # noqa: S608 - a fixed name
        self._connection.execute("DELETE FROM heads WHERE conversation = ?", (number,))
        self._connection.execute("DELETE FROM conversations WHERE id = ?", (number,))

    def _find(self, key: Key, now: float) -> Row:
        row = self._heads.get(key.digest)
        if row is None:
            found = self._connection.execute(SELECT_HEAD, (key.digest,)).fetchone()
            if found is None:
                self._refuse(key, now)
            row = Row(found[0], read_head(key.root, found, found[17]), found[17], found[18])
            self._heads[key.digest] = row
        if key.index > row.head.index:
            raise SessionNotFound(key.session_id)
        return row

    def _refuse(self, key: Key, now: float) -> NoReturn:
        if self._erased(key, now):
            raise SessionErased(key.session_id)
        raise SessionNotFound(key.session_id)

    def _erased(self, key: Key, now: float) -> bool:
        statement = "SELECT 1 FROM tombstones WHERE digest = ? AND until > ?"
        found = self._connection.execute(statement, (key.digest, now))
        return found.fetchone() is not None

    def _known(self, row: Row, batch: Batch) -> int | None:
        """Seq of the first event if the whole batch is in the log, `None` if none of it is."""
        self.flush()
        seqs: list[int | None] = []
        for event_id in batch.ids:
            found: tuple[int] | None = self._connection.execute(
                "SELECT seq FROM ids WHERE event_id = ? AND conversation = ?", (event_id, row.id)
            ).fetchone()
            seqs.append(found[0] if found else None)
        first = seqs[0]
        if not any(seqs):
            return None
        if first is None or seqs != list(range(first, first + len(seqs))):
            raise PartialBatch(f"batch of {batch.ids[0]!r} is in the log only in part; use fresh event ids")
        return first

    def _write(self, row: Row, batch: Batch, now: float) -> None:
        head, effects, number = row.head, batch.effects, row.id
        seq, total = head.last_seq, head.total_tokens
        for event_id, body, tokens in zip(batch.ids, batch.bodies, effects.tokens, strict=True):
            seq += 1
            total += tokens
            self._ids.append((number, event_id, seq))
            self._events.append((number << 32 | seq, total, event_id, body))
        if effects.settings is not None:
            self._connection.execute(
                "UPDATE conversations SET settings = ? WHERE id = ?", (dump(effects.settings), number)
            )
        row.head = head.advanced(seq, total, effects)
        row.touched = now
        self._change(row)

    def _others(self, row: Row, after_seq: int, first: int, last: int) -> list[EventRow]:
        self.flush()
        low = row.id << 32
        bounds = (low | max(0, min(after_seq, MAX_SEQ)), low | MAX_SEQ, low | first, low | last)
        return self._connection.execute(_SELECT_OTHERS, bounds).fetchall()

    def _tokens_at(self, row: Row, seq: int) -> int:
        if seq < row.head.start_seq:
            return row.head.start_tokens
        self.flush()
        statement = "SELECT cumulative FROM events WHERE place = ?"
        found = self._connection.execute(statement, (row.id << 32 | seq,))
        return found.fetchone()[0]

    def _change(self, row: Row) -> None:
        self._dirty[row.id] = row


def _answer(row: Row, now: float) -> Head:
    left = row.lease_until - now
    return replace(row.head, lease_s=left) if left > 0 else row.head


def _head_row(row: Row) -> tuple[Any, ...]:
    head = row.head
    return (
        head.index,
        head.start_seq,
        head.last_seq,
        head.total_tokens,
        head.start_tokens,
        head.seed_tokens,
        head.opened_seq,
        head.opened_turns,
        head.settings_seq,
        head.message_seq,
        head.skipped_seq,
        None if head.report is None else dump(head.report),
        head.report_total,
        dump(head.counters),
        head.fence,
        head.first_seq,
        row.lease_until,
        row.touched,
        row.id,
    )
