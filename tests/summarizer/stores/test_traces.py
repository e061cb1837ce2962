"""What the engines do with traces beyond the contract: errors, lifetimes, and what is left in a file."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from procedural import Scope, Trace, TraceStoreError
from summarizer.stores import RedisStore, SQLiteStore
from tests.redis_servers import free_port, shared
from tests.summarizer.stores.factories_redis import FreshRedis

ANN, SHARED = Scope("ann"), Scope(shared=True)


def trace(trace_id: str, owner: str = "ann", **fields: str) -> Trace:
    return Trace(
        trace_id, "search", datetime(2026, 11, 2, tzinfo=UTC), success=True, owner=owner, choices=fields
    )


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(shared("valkey").url)) as client:
        yield client


async def test_a_locked_file_is_a_trace_store_error(path: Path) -> None:
    """A file that another process keeps locked says so as `procedural` promises it."""
    store = SQLiteStore(path, deadline_s=0.05)
    await store.traces.append(ANN, [trace("a")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TraceStoreError, match="stayed locked by another process"):
            await store.traces.append(ANN, [trace("b")])
    await store.traces.append(ANN, [trace("b")])
    page = await store.traces.read(ANN)
    await store.close()

    assert [seq for seq, _ in page.traces] == [1, 2]


async def test_an_absent_server_is_a_trace_store_error() -> None:
    """Reading is no empty log while the server is away."""
    store = RedisStore.from_url(f"redis://127.0.0.1:{free_port()}", deadline_s=0.05)
    for call in (store.traces.read(ANN), store.traces.append(ANN, [trace("a")]), store.traces.erase("ann")):
        with pytest.raises(TraceStoreError, match="did not answer within"):
            await call
    await store.close()


async def test_erased_traces_are_gone_from_the_file(path: Path) -> None:
    """After an erase neither a trace nor its owner's name is left in the file or beside it."""
    store = SQLiteStore(path)
    for scope in (Scope("Annabella"), SHARED):
        await store.traces.append(scope, [trace("a", "Annabella", unit="Fahrenheit")])
    before = b"".join(file.read_bytes() for file in path.parent.iterdir())
    await store.erase("Annabella")
    after = b"".join(file.read_bytes() for file in path.parent.iterdir())
    await store.close()

    assert b"Fahrenheit" in before
    assert b"Fahrenheit" not in after
    assert b"Annabella" not in after


async def test_a_log_vanishes_with_the_stores_ttl(server: redis.Redis) -> None:
    """Every key of an owner's logs expires, later with each append; the shared log stays."""
    fresh = FreshRedis(f"{shared('valkey').url}")
    prefix = fresh.url.rpartition("=")[2]
    store = RedisStore.from_url(f"{fresh.url}&ttl=600")
    for scope in (ANN, Scope("ann", "s"), SHARED):
        await store.traces.append(scope, [trace("a")])
    ends = {key: server.pttl(key) for key in server.scan_iter(f"{prefix}:t:*")}
    await store.close()

    assert len(ends) == 3 + 3 + 1 + 4
    for key, left in ends.items():
        assert left == -1 if b"{shared}" in key else 590_000 < left <= 600_000


async def test_a_newer_log_is_refused(server: redis.Redis) -> None:
    """What a newer version wrote is neither read, written nor half erased."""
    fresh = FreshRedis(f"{shared('valkey').url}")
    prefix = fresh.url.rpartition("=")[2]
    traces = fresh.store.traces
    await asyncio.gather(*(traces.append(scope, [trace("a")]) for scope in (ANN, SHARED)))
    for key in server.scan_iter(f"{prefix}:t:*m"):
        server.hset(key, "v", 2)
    for call in (
        traces.read(ANN),
        traces.append(ANN, [trace("b")]),
        traces.append(SHARED, [trace("b")]),
        traces.erase("ann"),
        traces.erase(None),
    ):
        with pytest.raises(TraceStoreError, match="trace log"):
            await call
    await fresh.store.close()

    assert [server.hget(key, "n") for key in server.scan_iter(f"{prefix}:t:*m")] == [b"1", b"1"]
