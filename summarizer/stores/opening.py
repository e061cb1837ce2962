"""Stores by URL: in comes a URL or nothing, out goes a store; nothing is touched before its first use.

| URL | store |
|---|---|
| `memory://` | this object's own memory |
| `memory://name` | one memory per process and name |
| `sqlite:///relative.db`, `sqlite:////absolute.db` | one file; `?durability=power` flushes every commit |
| `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` | Redis; see `RedisStore` |
"""

from __future__ import annotations

import asyncio
import os
from typing import Final
from weakref import WeakKeyDictionary

from ..config import default_store_url
from ..errors import InvalidSetting
from .memory import MemoryStore
from .protocol import EventStore

__all__ = ["close_default_stores", "default_store", "open_store"]

_REDIS: Final = ("redis", "rediss", "redis+sentinel", "redis+cluster")
_KNOWN: Final = "memory://, sqlite:///PATH, redis://, rediss://, redis+sentinel://, redis+cluster://"

_named: dict[str, MemoryStore] = {}
_defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], EventStore]] = (
    WeakKeyDictionary()
)


def open_store(url: str | None = None) -> EventStore:
    """A store of the caller's own, to be closed by the caller.

    A server that is down or a file that cannot be written is noticed at the first call, not here.

    Args:
        url: See the table above; `None` for what the environment says (`config.default_store_url`).

    Raises:
        InvalidSetting: An unknown scheme or option, or no path.
    """
    url = default_store_url() if url is None else url
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "memory":
        return _memory(rest)
    if separator and scheme == "sqlite":
        from .sqlite import SQLiteStore

        return SQLiteStore.from_url(url)
    if separator and scheme in _REDIS:
        from .redis import RedisStore

        return RedisStore.from_url(url)
    if separator:
        raise InvalidSetting(f"unknown store scheme {scheme!r}; use one of {_KNOWN}")
    raise InvalidSetting(f"store {url!r} is no URL; for a file write sqlite:///{url}; known: {_KNOWN}")


def default_store(url: str | None = None) -> EventStore:
    """The store that callers of this event loop share: one per URL, process and running loop.

    It is closed when its loop is gone; a caller need not close it.

    Raises:
        InvalidSetting: See `open_store`.
        RuntimeError: No event loop is running.
    """
    url = default_store_url() if url is None else url
    stores = _defaults.setdefault(asyncio.get_running_loop(), {})
    key = (url, os.getpid())
    if key not in stores:
        stores[key] = open_store(url)
    return stores[key]


async def close_default_stores() -> None:
    """Close the stores that callers of this event loop share; a later call opens them anew.

    For the end of a program, or of a server: nothing of them is left to the garbage collector.

    Raises:
        RuntimeError: No event loop is running.
    """
    for store in _defaults.pop(asyncio.get_running_loop(), {}).values():
        await store.close()


def _memory(name: str) -> MemoryStore:
    if not name:
        return MemoryStore()
    return _named.setdefault(name, MemoryStore(name=name))
