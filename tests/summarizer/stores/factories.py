"""The stores that the contract suite runs over, by name.

A factory is an async context manager that yields an object with `store`, an empty store, and
`second()`, which opens another, cold instance on the same data. It may have `advance(seconds)`,
which moves the store's clock; without it, tests wait in real time, or are skipped if that is long.
"""

import importlib.util
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from summarizer.stores import EventStore, MemoryStore, SQLiteStore


class Fresh(Protocol):
    """What a factory yields."""

    @property
    def store(self) -> EventStore: ...

    async def second(self) -> EventStore: ...


Factory = Callable[[], AbstractAsyncContextManager[Fresh]]


class Clock:
    """Real time plus what a test has let pass."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class FreshMemory:
    """Memory has no second instance: it is its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock)

    async def second(self) -> EventStore:
        return self.store

    def advance(self, seconds: float) -> None:
        self.clock.ahead += seconds


class FreshSQLite:
    """A file in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.path = path
        self.store = SQLiteStore(path, clock=self.clock)
        self.opened = [self.store]

    async def second(self) -> EventStore:
        self.opened.append(SQLiteStore(self.path, clock=self.clock))
        return self.opened[-1]

    def advance(self, seconds: float) -> None:
        self.clock.ahead += seconds


@asynccontextmanager
async def memory() -> AsyncIterator[FreshMemory]:
    yield FreshMemory()


@asynccontextmanager
async def sqlite() -> AsyncIterator[FreshSQLite]:
    with tempfile.TemporaryDirectory() as folder:
        fresh = FreshSQLite(Path(folder) / "data" / "log.db")
        try:
            yield fresh
        finally:
            for store in fresh.opened:
                await store.close()


FACTORIES: dict[str, Factory] = {"memory": memory, "sqlite": sqlite}

if importlib.util.find_spec("tests.summarizer.stores.factories_redis") is not None:
    from tests.summarizer.stores.factories_redis import FACTORIES as REDIS_FACTORIES

    FACTORIES.update(REDIS_FACTORIES)
