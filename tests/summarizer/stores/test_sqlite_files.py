"""SQLite and the file system: wrong paths, foreign files, locks, full and read-only disks."""

# ruff: noqa: ASYNC240 - the files are small and local

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from summarizer.errors import (
    InvalidMessage,
    InvalidSetting,
    SchemaTooNew,
    SessionNotFound,
    StoreNotWritable,
    StoreUnavailable,
)
from summarizer.stores import SQLiteStore
from tests.summarizer.stores.contract import (
    environment,
    handed_over,
    message,
    started,
    texts,
)
from tests.summarizer.stores.sqlite_parts import connection_of


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere; then the test goes on as nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def test_the_file_is_made_at_first_use(path: Path) -> None:
    """A store that is never used leaves no trace; the first call makes folder and file."""
    store = SQLiteStore(path)

    assert not path.parent.exists()
    with pytest.raises(SessionNotFound):
        await store.load(None, "c")
    assert path.is_file()
    await store.close()


async def test_a_closed_store_leaves_one_file(path: Path) -> None:
    """The last to close moves the write-ahead log into the file."""
    store, second = SQLiteStore(path), SQLiteStore(path)
    await started(store, count=2)
    await second.load(None, "c")
    await second.close()
    await store.close()

    assert [p.name for p in path.parent.iterdir()] == ["log.db"]


@pytest.mark.parametrize("use", ["read", "write"])
async def test_a_folder_is_no_file(tmp_path: Path, use: str) -> None:
    """A folder as path, or a file where a folder should be, is `InvalidSetting` that names it."""
    (tmp_path / "file").write_text("x")
    for wrong in (tmp_path, tmp_path / "file" / "log.db", tmp_path / "file" / "deeper" / "log.db"):
        store = SQLiteStore(wrong)
        with pytest.raises(InvalidSetting, match=str(tmp_path)):
            await (store.load(None, "c") if use == "read" else store.create(None, "c", {}))
        await store.close()


@pytest.mark.parametrize("content", [b"no database " * 1000, b"short"])
async def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is refused and keeps its content."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    store = SQLiteStore(path)
    with pytest.raises(InvalidSetting, match="not an SQLite database"):
        await store.create(None, "c", {})
    await store.close()

    assert path.read_bytes() == content


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """Tables of others are not mixed with ours."""
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    content = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(InvalidSetting, match="another program"):
        await store.create(None, "c", {})
    await store.close()

    assert path.read_bytes() == content


async def test_a_newer_schema_is_left_alone(path: Path) -> None:
    """A file that a newer release wrote is `SchemaTooNew`; nothing is touched."""
    store = SQLiteStore(path)
    await started(store, count=1)
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version=99")
    content = path.read_bytes()
    calls: list[Any] = [store.append(None, "c", [message("x")]), store.load(None, "c")]
    for call in calls:
        with pytest.raises(SchemaTooNew, match="version 99"):
            await call
    await store.close()

    assert path.read_bytes() == content


async def test_a_read_only_place_says_so() -> None:
    """No permission on file or folder is `StoreNotWritable` that names the path; the log is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        store = SQLiteStore(path)
        await started(store, count=1)
        await store.close()
        Path(folder).chmod(0o555)
        path.chmod(0o444)
        with unprivileged():
            with pytest.raises(StoreNotWritable, match=str(path)):
                await store.append(None, "c", [message("x")])
            new = SQLiteStore(Path(folder) / "new" / "log.db")
            with pytest.raises(StoreNotWritable, match="new"):
                await new.create(None, "c", {})
            await store.close()
            await new.close()
        Path(folder).chmod(stat.S_IRWXU)
        path.chmod(0o644)

        assert texts((await store.load(None, "c")).events) == ["m1"]
        await store.close()


async def test_a_full_disk_says_so(path: Path) -> None:
    """What does not fit is `StoreNotWritable`; what fits is written, in the same group too."""
    store = SQLiteStore(path)
    await started(store, count=1)
    connection = connection_of(store)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 4}")
    outcomes = await asyncio.gather(
        store.append(None, "c", [message("small")]),
        store.append(None, "c", [message("fits"), message("x" * 500_000)]),
        store.append(None, "c", [message("small too")]),
        return_exceptions=True,
    )
    connection.execute("PRAGMA max_page_count=1000000")
    await store.append(None, "c", [message("end")])
    second = SQLiteStore(path)

    assert [type(o).__name__ for o in outcomes] == ["Appended", "StoreNotWritable", "Appended"]
    assert "full" in str(outcomes[1])
    assert texts(await second.read(None, "c")) == ["m1", "small", "small too", "end"]
    await second.close()
    await store.close()


async def test_a_locked_file_is_unavailable_after_the_deadline(path: Path) -> None:
    """Writers wait no longer than the deadline, readers not at all; afterwards all goes on."""
    store = SQLiteStore(path, deadline_s=0.05)
    await started(store, count=1)
    with locked(path):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.append(None, "c", [message("x")])

        assert texts((await store.load(None, "c")).events) == ["m1"]
    assert (await store.append(None, "c", [message("m2")])).last_seq == 2
    await store.close()


async def test_a_short_lock_is_waited_for(path: Path) -> None:
    """A write that meets a lock lands when the lock is gone."""
    store = SQLiteStore(path)
    await started(store)
    with locked(path):
        write = asyncio.ensure_future(store.append(None, "c", [message("m1")]))
        await asyncio.sleep(0.05)

        assert not write.done()
    assert (await write).last_seq == 1
    await store.close()


async def test_a_lost_file_is_noticed(path: Path) -> None:
    """If the file is removed under an open store, writes fail instead of vanishing."""
    store = SQLiteStore(path)
    await started(store, count=1)
    await store.load(None, "c")
    for name in list(path.parent.iterdir()):
        name.unlink()
    with pytest.raises(SessionNotFound):
        await store.append(None, "c", [message("x")])
    with pytest.raises(SessionNotFound):
        await store.load(None, "c", after_seq=1)
    await started(store, count=2)

    assert texts((await store.load(None, "c")).events) == ["m1", "m2"]
    await store.close()


async def test_erased_text_is_gone_from_the_disk(path: Path) -> None:
    """After `erase` and `retain` no file of the store holds what was removed."""
    store = SQLiteStore(path)
    await started(store, "x", "erased")
    await store.append("x", "erased", [message("SECRET-ONE " * 2000)])
    await started(store, None, "c")
    await store.append(None, "c", [message("SECRET-TWO")])
    await handed_over(store, cut=1)
    await store.append(None, "c", [message("kept text")])
    await store.erase("x")
    await store.retain(None, "c", before_index=1)
    content = b"".join(file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm"))

    assert [word in content for word in (b"SECRET-ONE", b"SECRET-TWO", b"kept text")] == [False, False, True]
    await store.close()


async def test_power_durability_flushes_every_commit(path: Path) -> None:
    """`durability="power"` is `synchronous=FULL`; the default is `NORMAL`, both over a write-ahead log."""
    for durability, expected in (("process", 1), ("power", 2)):
        store = SQLiteStore(path.with_name(durability), durability=durability)
        await started(store, count=1)
        connection = connection_of(store)

        assert connection.execute("PRAGMA synchronous").fetchone() == (expected,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        await store.close()


async def test_starting_together_makes_one_schema(path: Path) -> None:
    """Processes that meet an empty folder at once all find the tables made."""
    url = SQLiteStore(path).url
    code = (
        "import asyncio, sys; from summarizer.stores import open_store; s = open_store(sys.argv[1]); "
        "asyncio.run(s.create(None, sys.argv[2], {})); asyncio.run(s.close())"
    )
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, url, f"c{i}", stderr=subprocess.PIPE, env=environment()
        )
        for i in range(6)
    ]
    errors = [(await child.communicate())[1] for child in children]
    store = SQLiteStore(path)

    assert errors == [b""] * 6
    assert len(await store.list(None)) == 6
    await store.close()


async def test_broken_unicode_is_refused(path: Path) -> None:
    """A lone surrogate in an owner, an event id or a body is a typed error that says so."""
    store = SQLiteStore(path)
    await started(store)
    with pytest.raises(InvalidSetting, match="surrogate"):
        await store.create("\ud800", "c", {})
    for wrong in (message("x", event_id="\ud800"), message("x", metadata={"k": "\udfff"})):
        with pytest.raises(InvalidMessage, match="surrogate"):
            await store.append(None, "c", [message("first"), wrong])

    assert await store.read(None, "c") == ()
    await store.close()
