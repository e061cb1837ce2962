"""SQLite under load: 50 tasks beside aiosqlite and hand-written SQL, and 8 processes on one file."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from summarizer import open_store
from summarizer.events import encode_event

from .harness import Figure, Result, interleaved, percentile
from .logs import QUESTION, grown, message_event
from .processes import write_from_processes

_TASKS = 50
_BATCH = 100
_SCHEMA = """
CREATE TABLE heads (conversation INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, tokens INTEGER NOT NULL);
CREATE TABLE events (conversation INTEGER, seq INTEGER, id TEXT, body TEXT, PRIMARY KEY (conversation, seq))
    WITHOUT ROWID;
CREATE UNIQUE INDEX ids ON events (conversation, id);
"""
"""What the other two write: one row with its counter row, and ids that cannot come twice."""


async def run(*, quick: bool = False) -> Result:
    """Measure one process, then eight."""
    each, rounds = (4, 1) if quick else (40, 9)
    with tempfile.TemporaryDirectory() as folder:
        figures, notes = await _one_process(Path(folder), each, rounds)
        figures += await _processes(Path(folder), 3 if quick else 200)
    return Result("sqlite_load", figures, notes)


async def _one_process(folder: Path, each: int, rounds: int) -> tuple[list[Figure], list[str]]:
    """Appends of one event, `each` by every task; every task has its own conversation."""
    store = open_store(f"sqlite:///{folder / 'ours.db'}")
    roots = [await grown(store, 2) for _ in range(_TASKS)]

    async def task(root: str) -> None:
        for _ in range(each):
            await store.append(None, root, [message_event("user", QUESTION)])

    async def ours() -> None:
        await asyncio.gather(*map(task, roots))

    connection = _opened(folder / "hand.db")

    async def by_hand() -> None:
        for start in range(0, _TASKS * each, _BATCH):
            _transaction(connection, range(start, start + _BATCH))

    ways: dict[str, Callable[[], Awaitable[object]]] = {"ours": ours, "hand": by_hand}
    async with _peer(folder / "wal.db", each, wal=True) as peer, _peer(folder / "plain.db", each) as plain:
        if peer and plain:
            ways |= {"peer": peer, "plain": plain}
        medians = await interleaved(ways, rounds=rounds, warm=1)
    connection.close()
    await store.close()
    over_peer, over_plain = (
        medians[name] / medians["ours"] if name in medians else None for name in ("peer", "plain")
    )
    over_hand = medians["hand"] / medians["ours"]
    ceiling = medians["peer"] / medians["hand"] if "peer" in medians else None
    return [
        Figure(f"{_TASKS} tasks: appends per second", _TASKS * each / medians["ours"], ""),
        Figure("our rate over aiosqlite's, equal settings (WAL, NORMAL)", over_peer, at_least=10),
        Figure(f"transactions of {_BATCH} by hand over aiosqlite, equal settings", ceiling),
        Figure("our rate over aiosqlite's, its default settings", over_plain),
        Figure(f"our rate over transactions of {_BATCH} by hand", over_hand, at_least=0.7),
    ], [] if peer else ["aiosqlite left out: pip install aiosqlite"]


@asynccontextmanager
async def _peer(
    path: Path, each: int, *, wal: bool = False
) -> AsyncIterator[Callable[[], Awaitable[object]] | None]:
    """The same appends through aiosqlite, each committed; `None` where it is not installed."""
    if find_spec("aiosqlite") is None:
        yield None
        return
    _opened(path, wal=wal).close()
    connection = await import_module("aiosqlite").connect(path, isolation_level=None)
    if wal:
        await connection.execute("PRAGMA synchronous=NORMAL")
    lock = asyncio.Lock()

    async def task(conversation: int) -> None:
        for _ in range(each):
            event = message_event("user", QUESTION)
            # One connection has one transaction at a time.
            async with lock:
                await connection.execute("BEGIN IMMEDIATE")
                for statement, values in _statements(conversation, event.event_id, encode_event(event)):
                    await connection.execute(statement, values)
                await connection.execute("COMMIT")

    async def appends() -> None:
        await asyncio.gather(*map(task, range(_TASKS)))

    yield appends
    await connection.close()


def _opened(path: Path, *, wal: bool = True) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_SCHEMA)
    connection.executemany("INSERT INTO heads VALUES (?, 0, 0)", [(i,) for i in range(_TASKS)])
    return connection


def _statements(conversation: int, event_id: str, body: str) -> list[tuple[str, tuple[object, ...]]]:
    add = "INSERT INTO events SELECT conversation, last_seq + 1, ?, ? FROM heads WHERE conversation = ?"
    up = "UPDATE heads SET last_seq = last_seq + 1, tokens = tokens + 100 WHERE conversation = ?"
    return [(add, (event_id, body, conversation)), (up, (conversation,))]


def _transaction(connection: sqlite3.Connection, numbers: range) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for number in numbers:
        event = message_event("user", QUESTION)
        for statement, values in _statements(number % _TASKS, event.event_id, encode_event(event)):
            connection.execute(statement, values)
    connection.execute("COMMIT")


async def _processes(folder: Path, turns: int) -> list[Figure]:
    """8 writers in 8 processes: without a pause, and with 10 ms between turns."""
    figures: list[Figure] = []
    url = f"sqlite:///{folder / 'shared.db'}"
    for pause_s, pace in ((0.0, "flat out"), (0.01, "10 ms between turns")):
        store = open_store(url)
        roots = [await grown(store, 2) for _ in range(8)]
        await store.close()
        done = await asyncio.to_thread(
            write_from_processes, url, roots, processes=8, turns=turns, pause_s=pause_s
        )
        lasts = [(await store.load(None, root, after_seq=2**53)).head for root in roots]
        await store.close()
        wrong = sum(
            head.last_seq != 2 * turns + 2 or head.total_tokens != 100 * head.last_seq for head in lasts
        )
        where = f"8 processes, {pace}"
        figures += [
            Figure(f"{where}: errors", len(done.errors), "", at_most=0),
            Figure(f"{where}: conversations with a wrong total", wrong, "", at_most=0),
            Figure(f"{where}: p50 of the wait", percentile(done.waits_s, 0.5) * 1e3, "ms"),
            Figure(f"{where}: p99.9 of the wait", percentile(done.waits_s, 0.999) * 1e3, "ms", at_most=50),
        ]
    return figures
