"""In which passages a word stands: an FTS5 table that holds digests, not words.

The table is contentless and keeps no positions. Its terms are digests under a key of the conversation, so a
query reads that conversation's lists and no other's, whatever the file holds; and once the key
is gone (`forget`), what is left in the table says nothing and is never found. So erasing costs one row, and
the space comes back when the table is made anew. All is derived from the log, and may be dropped at any time.

Never here: text, ranking, decisions when to index.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from ...errors import InvalidSetting, SessionNotFound, StoreUnavailable
from .rows import SELECT_HEAD, Key

if TYPE_CHECKING:
    import sqlite3

    from .writes import Transaction

__all__ = [
    "Mark",
    "Passage",
    "Place",
    "SQLitePostings",
    "forget",
    "insert",
    "make_table",
    "places",
    "trim",
]

_T = TypeVar("_T")

_POSTINGS: Final = """CREATE VIRTUAL TABLE IF NOT EXISTS recall_postings
    USING fts5(terms, content='', columnsize=0, detail=none, tokenize='ascii')"""
_MERGE: Final = "INSERT INTO recall_postings (recall_postings, rank) VALUES ('automerge', 8)"
"""FTS5 merges by eights, not by fours: adding costs a third less, and a query the same (measured 2026-11)."""
_INSERT: Final = "INSERT INTO recall_postings (rowid, terms) VALUES (?, ?)"
_FIND: Final = "SELECT rowid FROM recall_postings WHERE recall_postings MATCH ? ORDER BY rowid DESC LIMIT ?"
_SELECT_MARK: Final = """
    SELECT secret, words, through, through_id, passages FROM recall_marks WHERE conversation = ?"""
_INSERT_MARK: Final = "INSERT OR REPLACE INTO recall_marks VALUES (?, ?, ?, 0, '', 0, 0)"
_ADVANCE: Final = """
    UPDATE recall_marks SET through = ?, through_id = ?, passages = ? WHERE conversation = ?"""
_COUNT_LOST: Final = """
    INSERT INTO recall_marks SELECT 0, x'', 0, 0, '', passages, 0 FROM recall_marks WHERE conversation = ?
    ON CONFLICT (conversation) DO UPDATE SET passages = passages + excluded.passages"""
_COUNT_CUT: Final = "UPDATE recall_marks SET cut = cut + ? WHERE conversation = ?"
_IS_MOSTLY_CUT: Final = "SELECT 1 FROM recall_marks WHERE conversation = ? AND cut > through - ?"
_SELECT_LOST: Final = """
    SELECT total(passages) FILTER (WHERE conversation = 0), total(passages) FILTER (WHERE conversation > 0)
    FROM recall_marks"""
_SHIFT: Final = 20
"""Bits of a rowid for the passage's number in its event; above them stands the seq."""
_LOST_LEAST: Final = 50_000
"""Forgotten passages, some 20 MB, from which on it pays to make the table anew."""
_DIGEST_BYTES: Final = 5
"""Of a term. In one of 200 conversations two of 100,000 words share one, which costs a look in vain."""
_DIGESTS_KEPT: Final = 1 << 15
"""Terms kept at hand for one key, some 5 MB."""
_DAMAGED: Final = frozenset({1, 11, 19})
"""SQLITE_ERROR (a part of the table is missing), SQLITE_CORRUPT, SQLITE_CONSTRAINT (its parts disagree)."""
_LAST: Final = (1 << _SHIFT) - 1
"""Number of a passage that no event has. It ends what one call added, under the empty word: FTS5 takes some
damaged tables for empty ones, and where the newest end is not found, that is what happened."""

Place = tuple[int, int]
"""Seq of an event, and a passage's number in it."""


class Passage(NamedTuple):
    """What is to be found: a passage's place in the log, and its words."""

    seq: int
    number: int
    words: frozenset[str]


class Mark(NamedTuple):
    """How far a conversation is indexed.

    Attributes:
        secret: The key of its terms.
        words: Version of the rules by which words were made.
        through: Seq of the last event indexed, 0 for none.
        through_id: That event's id, by which a new log under an old id is told.
        passages: How many are indexed.
        since: Seq up to which events were let go of again, 0 for none.
    """

    secret: bytes
    words: int
    through: int
    through_id: str
    passages: int
    since: int = 0


class Write(Protocol):
    """Runs work in a write transaction of the store."""

    def __call__(self, work: Callable[[Transaction], Any], *, scrub: bool = False) -> Awaitable[Any]: ...


class Read(Protocol):
    """Runs work in a read transaction of the store."""

    def __call__(self, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...


class SQLitePostings:
    """The postings of one conversation in the store's own file.

    Args:
        write: The store's writer.
        read: The store's readers.
        key: The conversation.
    """

    def __init__(self, write: Write, read: Read, key: Key) -> None:
        self._write = write
        self._read = read
        self._key = key

    async def mark(self, words: int) -> Mark | None:
        """How far it is indexed by these rules; `None` if not at all, or the table is gone."""
        return await self._read(lambda connection: _mark(connection, self._number(connection), words))

    async def begin(self, words: int, *, damaged: bool = False) -> Mark:
        """The mark, made under a new key if there is none.

        Args:
            words: The rules by which words are made.
            damaged: Make the table anew first, for all conversations of the file.

        Raises:
            InvalidSetting: SQLite was built without FTS5.
        """
        return await self._write(
            lambda t: _begin(t.connection, self._number(t.connection), words, damaged=damaged)
        )

    async def add(
        self, after: Mark, through: int, through_id: str, passages: Sequence[Passage]
    ) -> Mark | None:
        """Index the passages of the events `(after.through, through]`.

        Returns:
            The mark as it is now; another's, if another process was faster. `None` if the conversation was
            forgotten meanwhile, or the table turned out damaged and was dropped.
        """
        now = after._replace(through=through, through_id=through_id, passages=after.passages + len(passages))
        end = Passage(through, _LAST, frozenset({""}))
        rows = await asyncio.to_thread(rows_of, after.secret, [*passages, end])
        try:
            return await self._write(
                lambda t: _add(t.connection, self._number(t.connection), after, now, rows)
            )
        except _Damaged:
            await self._write(lambda t: _make_anew(t.connection, damaged=True))
            return None

    async def find(
        self, mark: Mark, queries: Sequence[Sequence[str]], most: int
    ) -> tuple[Sequence[Place], ...] | None:
        """See `places`; `None` if the table is damaged, or was made anew since `mark` was read."""
        return await self._read(lambda connection: _find(connection, mark, queries, most))

    def _number(self, connection: sqlite3.Connection) -> int:
        row = connection.execute(SELECT_HEAD, (self._key.digest,)).fetchone()
        if row is None:
            raise SessionNotFound(self._key.session_id)
        return row[0]


class _Damaged(StoreUnavailable):
    """The index cannot be written; the log is whole."""


def make_table(connection: sqlite3.Connection) -> None:
    """Make the empty table.

    Raises:
        InvalidSetting: SQLite was built without FTS5.
    """
    import sqlite3

    try:
        connection.execute(_POSTINGS)
        connection.execute(_MERGE)
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        raise InvalidSetting(
            f"SQLite {sqlite3.sqlite_version} of this Python has no FTS5, which recall needs; "
            "install a Python whose SQLite has it"
        ) from error


def rows_of(secret: bytes, passages: Sequence[Passage]) -> list[tuple[int, str]]:
    """The passages as the table takes them."""
    digest = _digests(secret).__getitem__
    return [(p.seq << _SHIFT | p.number, " ".join(map(digest, p.words))) for p in passages]


def insert(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Add rows, in order of their places; inside a transaction, or each row is one of its own."""
    connection.executemany(_INSERT, rows)


def places(
    connection: sqlite3.Connection, secret: bytes, queries: Sequence[Sequence[str]], most: int
) -> tuple[Sequence[Place], ...]:
    """For each query, where all of its words stand: at most the newest `most` places, newest first."""
    lists: list[Sequence[Place]] = []
    for query in queries:
        terms = " AND ".join([f'"{_digests(secret)[word]}"' for word in query])
        rows = connection.execute(_FIND, (terms, most)).fetchall()
        lists.append([(row >> _SHIFT, row & _LAST) for (row,) in rows])
    return tuple(lists)


def forget(connection: sqlite3.Connection, number: int) -> None:
    """Make a conversation's part of the table unreadable; its key is overwritten in the file."""
    connection.execute(_COUNT_LOST, (number,))
    connection.execute("DELETE FROM recall_marks WHERE conversation = ?", (number,))


def trim(connection: sqlite3.Connection, number: int, first_seq: int, cut: int) -> None:
    """Events before `first_seq` were removed, `cut` of them.

    The index stands, and whoever asks it leaves out what it says of them, until it says more of what was cut
    than of what stays; then it is forgotten.
    """
    connection.execute(_COUNT_CUT, (cut, number))
    if connection.execute(_IS_MOSTLY_CUT, (number, first_seq - 1)).fetchone() is not None:
        forget(connection, number)


def _mark(connection: sqlite3.Connection, number: int, words: int) -> Mark | None:
    row = connection.execute(_SELECT_MARK, (number,)).fetchone()
    mark = None if row is None else Mark(*row)
    return mark if mark is not None and mark.words == words and _stands(connection) else None


def _begin(connection: sqlite3.Connection, number: int, words: int, *, damaged: bool) -> Mark:
    stored = _mark(connection, number, words)
    if stored is not None and not damaged:
        return stored
    forget(connection, number)
    if damaged or not _stands(connection) or _is_mostly_forgotten(connection):
        _make_anew(connection, damaged=damaged)
    secret = secrets.token_bytes(16)
    connection.execute(_INSERT_MARK, (number, secret, words))
    return Mark(secret, words, 0, "", 0)


def _is_mostly_forgotten(connection: sqlite3.Connection) -> bool:
    lost, live = connection.execute(_SELECT_LOST).fetchone()
    return lost > max(live, _LOST_LEAST)


def _add(
    connection: sqlite3.Connection, number: int, after: Mark, now: Mark, rows: Sequence[tuple[int, str]]
) -> Mark | None:
    import sqlite3

    stored = _mark(connection, number, after.words)
    if stored != after:
        return stored
    try:
        # FTS5 writes what it gathered when a savepoint ends, else at the commit, which is no place to fail.
        connection.execute("SAVEPOINT recall")
        insert(connection, rows)
        connection.execute("RELEASE recall")
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise _Damaged(f"the index of recall is damaged ({error}); it is made anew") from error
        raise
    connection.execute(_ADVANCE, (now.through, now.through_id, now.passages, number))
    return now


def _find(
    connection: sqlite3.Connection, mark: Mark, queries: Sequence[Sequence[str]], most: int
) -> tuple[Sequence[Place], ...] | None:
    import sqlite3

    try:
        (ends,) = places(connection, mark.secret, [("",)], 1)
        if mark.through and (not ends or ends[0] < (mark.through, _LAST)):
            return None
        return places(connection, mark.secret, queries, most)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return None


class _Digests(dict[str, str]):
    """The terms of the words last met, under one key."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __missing__(self, word: str) -> str:
        if len(self) >= _DIGESTS_KEPT:
            self.clear()
        data = word.encode("utf-8", "surrogatepass")
        term = self[word] = blake2b(data, digest_size=_DIGEST_BYTES, key=self._secret).hexdigest()
        return term


@lru_cache(maxsize=4)
def _digests(secret: bytes) -> _Digests:
    return _Digests(secret)


def _stands(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'recall_postings'").fetchone()
    return found is not None


def _make_anew(connection: sqlite3.Connection, *, damaged: bool) -> None:
    """An empty table, and nothing indexed.

    A table whose pages may be damaged cannot be dropped; it is struck off the list of tables, and its pages
    are lost until a VACUUM. What they hold says nothing: the keys are overwritten first.
    """
    connection.execute("DELETE FROM recall_marks")
    parts = [f"recall_postings_{part}" for part in ("data", "idx", "config")]
    # A damaged virtual table cannot be dropped, only its parts can.
    _strike(connection, ["recall_postings", *(parts if damaged else [])])
    for part in [] if damaged else parts:
        connection.execute(f"DROP TABLE IF EXISTS {part}")
    make_table(connection)


def _strike(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    connection.execute("PRAGMA writable_schema=ON")
    connection.executemany("DELETE FROM sqlite_master WHERE tbl_name = ?", [(table,) for table in tables])
    connection.execute("PRAGMA writable_schema=RESET")


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
