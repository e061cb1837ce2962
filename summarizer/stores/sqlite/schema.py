"""Tables, migrations, connections, and what SQLite's errors mean to a caller.

Every event is one row under `place`, the conversation's number in the upper and the seq
in the lower 32 bits, so that the log of a conversation is one range of one B-tree and bodies up
to a page stay in place. What every append changes (`heads`) is apart from what may be large
and hardly ever changes (`conversations.settings`). `ids` outlives the events that `retain` removes; its
key begins with the event's id, which sorts by time, so that a commit for many conversations adds to one page
of it and not to one for each. `retired` names the ids of removed events, for the day the conversation goes.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...config import cached_bytes
from ...errors import InvalidSetting, SchemaTooNew, StoreError, StoreNotWritable, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "NO_FILE",
    "SCHEMA_VERSION",
    "connect",
    "file_identity",
    "is_busy",
    "locked_text",
    "patiently",
    "store_error",
]

_T = TypeVar("_T")

APPLICATION_ID: Final = 0x6C73706C
"""`lspl` in ASCII; tells our files from another program's."""
BUSY_SLEEP_S: Final = 0.0006
"""Longest pause between two tries for the write lock. SQLite's own handler sleeps in growing steps, which
starves writers: with 8 processes it waited 430 ms at worst, short random pauses 15 ms (measured 2026-11)."""
WRITER_SHARE: Final = 1 / 8
READER_SHARE: Final = 1 / 32
"""Of `LONGSPLICE_CACHE_BYTES`, what the writer and each of four readers keep as pages: together a quarter."""
SMALLEST_CACHE_KIB: Final = 64
"""Pages of one small transaction; less would be written before its end and read again."""
CHECKPOINT_PAGES: Final = 2000
"""Pages in the WAL (8 MB) at which a commit copies them into the file: once, however often each was written.
With 50 conversations SQLite's own 1,000 costs a tenth of the rate; 4,000 gains no more, and its commit stalls
for 15 ms where that of 1,000 takes 6 (measured 2026-11)."""
WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""What the WAL file is cut back to after a burst."""

NO_FILE: Final = (-1, -1)

_BUSY: Final = frozenset({5, 6, 15})  # SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL
_READONLY, _FULL, _CANTOPEN, _NOTADB, _CORRUPT, _TOOBIG = 8, 13, 14, 26, 11, 18

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE conversations (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, root TEXT NOT NULL,
            created_at INTEGER NOT NULL, settings TEXT NOT NULL)""",
        "CREATE INDEX conversations_by_owner ON conversations (owner, created_at DESC, root)",
        "CREATE INDEX conversations_by_age ON conversations (created_at DESC, root, owner)",
        # Filled by the update that ends the transaction which inserts the row.
        """CREATE TABLE heads (
            conversation INTEGER PRIMARY KEY, tip INTEGER, start_seq INTEGER, last_seq INTEGER,
            total_tokens INTEGER, start_tokens INTEGER, seed_tokens INTEGER, opened_seq INTEGER,
            opened_turns INTEGER, settings_seq INTEGER, message_seq INTEGER, skipped_seq INTEGER,
            report TEXT, report_total INTEGER, counters TEXT, fence INTEGER, first_seq INTEGER,
            lease_until REAL, touched REAL)""",
        """CREATE TABLE events (
            place INTEGER PRIMARY KEY, cumulative INTEGER NOT NULL, event_id TEXT NOT NULL,
            body TEXT NOT NULL)""",
        """CREATE TABLE ids (
            conversation INTEGER NOT NULL, event_id TEXT NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (event_id, conversation)) WITHOUT ROWID""",
        "CREATE TABLE retired (place INTEGER PRIMARY KEY, event_id TEXT NOT NULL)",
        """CREATE TABLE segments (
            place INTEGER PRIMARY KEY, start_seq INTEGER NOT NULL, end_seq INTEGER,
            start_tokens INTEGER NOT NULL, opened_at INTEGER NOT NULL, summary TEXT)""",
        "CREATE TABLE tombstones (digest TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
        # See `stores/traces/sqlite.py`.
        """CREATE TABLE trace_logs (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, log_id TEXT NOT NULL,
            last_seq INTEGER NOT NULL, through_seq INTEGER, sums TEXT)""",
        "CREATE INDEX trace_logs_by_owner ON trace_logs (owner)",
        """CREATE TABLE traces (
            place INTEGER PRIMARY KEY, log INTEGER NOT NULL, trace_id BLOB NOT NULL, owner TEXT,
            body TEXT NOT NULL)""",
        "CREATE UNIQUE INDEX traces_by_id ON traces (log, trace_id)",
        "CREATE INDEX traces_by_owner ON traces (owner) WHERE owner IS NOT NULL",
        # How far each conversation is indexed (`postings.py`, which makes what it marks when it is first
        # needed); row 0 counts the passages that were forgotten.
        """CREATE TABLE recall_marks (
    conversation INTEGER PRIMARY KEY, secret BLOB NOT NULL, words INTEGER NOT NULL, through INTEGER NOT NULL,
    through_id TEXT NOT NULL, passages INTEGER NOT NULL)""",
    ),
    (
        # `ancestor` is the digest of the conversation that this one was forked from, while that is there.
        "ALTER TABLE conversations ADD COLUMN ancestor TEXT",
        "ALTER TABLE conversations ADD COLUMN fork_seq INTEGER",
        "CREATE INDEX forks ON conversations (ancestor) WHERE ancestor IS NOT NULL",
        # How many events were cut since a conversation's index was made.
        "ALTER TABLE recall_marks ADD COLUMN cut INTEGER NOT NULL DEFAULT 0",
    ),
)
"""One tuple of statements per version, forward only; a released one is never edited."""

SCHEMA_VERSION: Final = len(MIGRATIONS)


def connect(path: Path, *, power: bool, deadline_s: float, query_only: bool = False) -> sqlite3.Connection:
    """Open the file, make or migrate the tables if need be.

    Args:
        path: An absolute path; its folder is made if it is missing.
        power: Flush at every commit (`synchronous=FULL`), else at checkpoints only (`NORMAL`).
        deadline_s: Seconds to wait for another process that is making the tables.
        query_only: For a connection that reads; it never checkpoints.

    Raises:
        InvalidSetting: The path is a folder, or the file is not ours.
        StoreNotWritable: No permission, or no space.
        StoreUnavailable: Locked beyond the deadline, damaged, or unreadable.
        SchemaTooNew: Written by a newer longsplice; nothing was touched.
    """
    import sqlite3

    _check_path(path)
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        patiently(_prepare, connection, path, deadline_s=deadline_s)
        connection.execute(f"PRAGMA synchronous={'FULL' if power else 'NORMAL'}")
        connection.execute(f"PRAGMA fullfsync={int(power)}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        if query_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA secure_delete=ON")
        share = READER_SHARE if query_only else WRITER_SHARE
        pages_kib = max(SMALLEST_CACHE_KIB, int(cached_bytes() * share / 1024))
        connection.execute(f"PRAGMA cache_size=-{pages_kib}")
    except sqlite3.Error as error:
        _close(connection)
        raise store_error(error, path) from error
    except (StoreError, InvalidSetting):
        _close(connection)
        raise
    return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise InvalidSetting(f"{str(path)!r} is a folder; name a file, such as {str(path / 'sessions.db')!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        text = f"{str(path.parent)!r} is not a folder; choose another path for the store"
        raise InvalidSetting(text) from error
    except OSError as error:
        raise StoreNotWritable(
            f"the folder {str(path.parent)!r} cannot be made ({error.strerror}); "
            "grant write permission or choose another path"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # One snapshot: another process may be making the same file, and half of its work looks like a stranger's.
    connection.execute("BEGIN")
    try:
        version = _version(connection, path)
    finally:
        connection.execute("ROLLBACK")
    if _one(connection, "PRAGMA journal_mode") != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    if version < SCHEMA_VERSION:
        _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version, 0 for an empty file; refuses what is not ours or too new."""
    version = _one(connection, "PRAGMA user_version")
    if _one(connection, "PRAGMA application_id") == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise SchemaTooNew(f"store {str(path)!r}", version, SCHEMA_VERSION)
        return version
    if version or _one(connection, "SELECT count(*) FROM sqlite_master"):
        raise InvalidSetting(f"{str(path)!r} is another program's database; choose another path")
    return 0


def _one(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]


def patiently(work: Callable[..., _T], *arguments: Any, deadline_s: float) -> _T:
    """Call until the database is not busy; after the deadline SQLite's own error passes on."""
    import sqlite3

    end = time.monotonic() + deadline_s
    while True:
        try:
            return work(*arguments)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= end:
                raise
        time.sleep(random.random() * BUSY_SLEEP_S)  # noqa: S311 - spreads contenders, keeps no secret


def file_identity(path: Path) -> tuple[int, int]:
    """Which file the path names now; `NO_FILE` if none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once per commit; a Path method costs three times as much
    except OSError:
        return NO_FILE
    return found.st_dev, found.st_ino


def is_busy(error: sqlite3.Error) -> bool:
    """Whether the same statement may succeed in a moment."""
    return _code(error) in _BUSY


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def store_error(error: sqlite3.Error, path: Path) -> StoreError | InvalidSetting:
    """The typed error that says what happened to which file, and what to do."""
    code, name = _code(error), repr(str(path))
    if code == _FULL:
        return StoreNotWritable(f"the disk that holds {name} is full; nothing was written, free some space")
    if code == _READONLY or (code == _CANTOPEN and not _writable(path)):
        return StoreNotWritable(
            f"{name} cannot be written ({error}); grant write permission to the file and its folder, "
            "in which SQLite keeps the files -wal and -shm"
        )
    if code == _NOTADB:
        return InvalidSetting(f"{name} is not an SQLite database; choose another path for the store")
    if code == _CORRUPT:
        return StoreUnavailable(f"{name} is damaged ({error}); restore a backup, or run sqlite3's .recover")
    if code == _TOOBIG:
        return StoreNotWritable(f"{name} takes no value of this size; lower the store's max_event_bytes")
    if code in _BUSY:
        return StoreUnavailable(locked_text(path))
    return StoreUnavailable(f"{name} cannot be used now ({error}); check the disk, then try again")


def locked_text(path: Path) -> str:
    """What to say when the lock could not be had in time."""
    return f"{str(path)!r} stayed locked by another process; end its long transaction, then try again"


def _writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
