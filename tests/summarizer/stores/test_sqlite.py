"""What SQLite adds to the contract: threads, loops, forks, processes, and what a call costs."""

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from summarizer.errors import StoreConflict
from summarizer.stores import ANY_OWNER, SQLiteStore
from summarizer.stores.sqlite.reader import THREADS
from summarizer.stores.sqlite.schema import connect
from tests.summarizer.stores.contract import (
    ROOT,
    handed_over,
    in_another_process,
    message,
    started,
    texts,
)
from tests.summarizer.stores.sqlite_parts import connection_of


async def test_one_failing_call_fails_alone(path: Path) -> None:
    """Callers of one transaction get their own outcomes: conflicts and repeats beside successes."""
    store = SQLiteStore(path)
    await started(store, count=1)
    known = [message("known")]
    await store.append(None, "c", known)
    outcomes = await asyncio.gather(
        store.append(None, "c", [message("a")]),
        store.append(None, "c", [message("x")], expect=0),
        store.append(None, "c", known),
        store.append(None, "missing", [message("x")]),
        store.append(None, "c", [message("b")]),
        return_exceptions=True,
    )

    assert [type(o).__name__ for o in outcomes] == [
        "Appended",
        "StoreConflict",
        "Appended",
        "SessionNotFound",
        "Appended",
    ]
    assert texts(await store.read(None, "c")) == ["m1", "known", "a", "b"]
    await store.close()


async def test_waiting_appends_share_commits(path: Path) -> None:
    """What waits together is committed together."""
    store = SQLiteStore(path)
    await started(store)
    commits: list[str] = []
    connection_of(store).set_trace_callback(lambda s: commits.append(s) if s == "COMMIT" else None)
    await asyncio.gather(*(store.append(None, "c", [message("x")]) for _ in range(100)))

    assert 1 <= len(commits) <= 20
    await store.close()


async def test_the_ids_of_removed_events_are_kept_until_the_conversation_goes(path: Path) -> None:
    """A repeat is known after `retain`; `erase` then leaves no row of the conversation in any table."""
    store = SQLiteStore(path)
    first = [message("first")]
    for root in ("c", "d"):
        await started(store, root=root)
        await store.append(None, root, first)
        await store.append(None, root, [message("second")])
        await handed_over(store, cut=1, root=root)
        await store.retain(None, root, before_index=1)
    repeated = await store.append(None, "c", first)
    await store.erase(None, "c")
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("conversations", "heads", "segments", "events", "ids", "retired")
        }

    assert (repeated.first_seq, repeated.duplicate) == (1, True)
    assert rows == {"conversations": 1, "heads": 1, "segments": 2, "events": 2, "ids": 3, "retired": 1}


async def test_pages_are_counted_in_the_memory_setting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's and all readers' pages together keep within a quarter of `LONGSPLICE_CACHE_BYTES`."""
    monkeypatch.setenv("LONGSPLICE_CACHE_BYTES", str(8 * 1024 * 1024))
    store = SQLiteStore(path)
    await started(store)
    reader = connect(path, power=False, deadline_s=1, query_only=True)
    written, read = (
        -c.execute("PRAGMA cache_size").fetchone()[0] * 1024 for c in (connection_of(store), reader)
    )
    reader.close()
    await store.close()

    assert written + THREADS * read == 2 * 1024 * 1024


async def test_a_cancelled_append_disturbs_nobody(path: Path) -> None:
    """A caller that gives up leaves a write that lands or not; the others and the store go on."""
    store = SQLiteStore(path)
    await started(store)
    writes = [asyncio.ensure_future(store.append(None, "c", [message(f"m{i}")])) for i in range(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    found = set(texts(await store.read(None, "c")))

    assert [isinstance(o, asyncio.CancelledError) for o in outcomes] == [True, False] * 10
    assert found >= {f"m{i}" for i in range(1, 20, 2)}
    await store.close()


def test_a_store_serves_many_loops(path: Path) -> None:
    """One store object works in one event loop after the other, and in several threads' loops at once."""
    store = SQLiteStore(path)
    asyncio.run(started(store))

    async def write() -> None:
        for _ in range(20):
            written = await store.append(None, "c", [message("x")])
            await store.load(None, "c", after_seq=written.last_seq)

    threads = [threading.Thread(target=asyncio.run, args=(write(),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(asyncio.run(store.read(None, "c"))) == 100
    asyncio.run(store.close())


async def test_stores_of_a_process_share_the_writer(path: Path) -> None:
    """There is one writing connection per process and file, closed with its last store."""
    one, two = SQLiteStore(path), SQLiteStore(path)
    await started(one)
    await two.append(None, "c", [message("x")])
    shared = connection_of(one)

    assert connection_of(two) is shared
    await one.close()
    assert (await two.append(None, "c", [message("y")])).last_seq == 2
    await two.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        shared.execute("SELECT 1")


async def test_a_dropped_store_is_closed(path: Path) -> None:
    """A store that nobody holds any more lets go of its file, though nobody closed it."""
    store = SQLiteStore(path)
    await started(store, count=1)
    await store.load(None, "c")
    connection = connection_of(store)
    del store
    gc.collect()

    async with asyncio.timeout(10):
        while [file.name for file in path.parent.iterdir()] != ["log.db"]:  # noqa: ASYNC110 - another thread does it
            await asyncio.sleep(0.01)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_fork_may_go_on_writing(path: Path) -> None:
    """Parent, children and a thread that writes during the forks use one store object; nothing is lost."""
    store = SQLiteStore(path)
    codes = await in_another_process("worker_fork.py", store.url)
    ids = [e.event_id for e in await store.read(None, "c")]
    await store.close()

    assert codes == [0] * 6
    assert len(ids) == len(set(ids)) == 300 + 6 * 20 + 6 * 20


def test_an_idle_store_does_not_hold_up_the_exit(path: Path) -> None:
    """A script that never closes its store ends at once, silently, and has lost nothing."""
    code = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[2]); "
        "from summarizer.stores import open_store; s = open_store(sys.argv[1]); "
        "asyncio.run(s.create(None, 'c', {'n': 1})); asyncio.run(s.load(None, 'c'))"
    )
    url = SQLiteStore(path).url
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, url, str(ROOT)],
        capture_output=True,
        check=False,
        text=True,
        timeout=20,
    )
    store = SQLiteStore(path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert asyncio.run(store.load(None, "c")).settings == {"n": 1}
    asyncio.run(store.close())


async def test_an_unchanged_load_never_leaves_the_loop(path: Path) -> None:
    """Whether anything is new is answered without a thread, also after others' writes were seen."""
    store, other = SQLiteStore(path), SQLiteStore(path)
    await started(store, count=3)
    await store.load(None, "c")
    await other.append(None, "c", [message("m4")])
    unchanged = store.load(None, "c", after_seq=4)
    with pytest.raises(StopIteration) as stopped:
        unchanged.send(None)

    assert stopped.value.value.head.last_seq == 4
    await store.close()
    await other.close()


async def test_an_append_costs_the_same_at_any_length(path: Path) -> None:
    """The steps of SQLite's machine for an append do not grow with the log."""
    store = SQLiteStore(path)
    await started(store)

    async def steps() -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        connection = connection_of(store)
        connection.set_progress_handler(tick, 1)
        await store.append(None, "c", [message("x")])
        connection.set_progress_handler(None, 0)
        return count

    early = await steps()
    for _ in range(20):
        await store.append(None, "c", [message("x") for _ in range(200)])

    assert await steps() <= early * 1.1
    await store.close()


@pytest.mark.parametrize("owner", ["x", None, ANY_OWNER])
async def test_a_page_of_a_listing_is_a_range_of_an_index(path: Path, owner: Any) -> None:
    """No page scans or sorts the conversations."""
    store = SQLiteStore(path)
    for name in ("a", "b", "c"):
        await store.create("x", name, {})
    plans: list[str] = []
    page = await store.list("x", limit=1)
    assert store._open is not None
    [reader] = store._open.reader._idle
    statements: list[str] = []
    reader.set_trace_callback(statements.append)
    await store.list(owner, limit=1, after=page[0])
    reader.set_trace_callback(None)
    statement = next(s for s in statements if s.strip().startswith("SELECT root"))
    plans = [row[3] for row in reader.execute("EXPLAIN QUERY PLAN " + statement)]

    assert [plan for plan in plans if "conversations" in plan and "INDEX" in plan] == plans
    await store.close()


async def test_eight_processes_share_a_file(path: Path) -> None:
    """No writer is starved into an error, and the totals are exact."""
    store = SQLiteStore(path)
    await started(store)
    acked = await asyncio.gather(
        *(in_another_process("worker_append.py", store.url, "c", f"p{i}", 2, 20) for i in range(8))
    )

    assert (await store.load(None, "c")).head.last_seq == sum(map(len, acked))
    await store.close()


async def test_a_kept_head_is_dropped_when_another_process_writes(path: Path) -> None:
    """What the writer remembers of a conversation holds only until another process commits."""
    store = SQLiteStore(path)
    await started(store, count=1)
    await in_another_process("worker_append.py", store.url, "c", "p", 1, 1)
    claimed = await store.claim(None, "c", index=0, lease_s=60)
    with pytest.raises(StoreConflict):
        await store.append(None, "c", [message("x")], expect=1)

    assert claimed.head.last_seq == 2
    await store.close()
