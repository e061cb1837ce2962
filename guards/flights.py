"""Equal calls at once: one runs, the others wait for what it brings. In one process, and across several."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

__all__ = ["CacheStore", "Flights", "MemoryCacheStore"]


class CacheStore(Protocol):
    """Results and claims that several processes share; one store serves one conversation of one owner.

    Texts are what `ResultCache.export` gives. Each call is atomic and raises if the store cannot be
    reached: a read that fails never looks like a miss.
    """

    async def get(self, key: str) -> str | None:
        """The text under `key`, `None` if there is none or it has expired."""
        ...

    async def put(self, key: str, text: str, ttl_s: float | None) -> None:
        """Keep `text` under `key` for `ttl_s` seconds by the store's clock, `None` for good."""
        ...

    async def claim(self, key: str, lease_s: float) -> str | None:
        """A token, if nobody holds `key`; `None` if somebody does. Of any number at once, one gets it.

        It lapses after `lease_s` seconds by the store's clock.
        """
        ...

    async def release(self, key: str, token: str) -> None:
        """Give the claim back, if `token` still holds it; else nothing."""
        ...


class MemoryCacheStore:
    """A `CacheStore` for one process; the oldest texts go beyond `limit_entries`."""

    def __init__(self, *, limit_entries: int = 10_000, timer: Callable[[], float] = time.monotonic) -> None:
        self._limit_entries = limit_entries
        self._timer = timer
        self._texts: OrderedDict[str, tuple[str, float | None]] = OrderedDict()
        self._claims: dict[str, tuple[str, float]] = {}

    async def get(self, key: str) -> str | None:
        text, until = self._texts.get(key, (None, None))
        return text if until is None or self._timer() < until else None

    async def put(self, key: str, text: str, ttl_s: float | None) -> None:
        self._texts[key] = (text, None if ttl_s is None else self._timer() + ttl_s)
        self._texts.move_to_end(key)
        while len(self._texts) > self._limit_entries:
            self._texts.popitem(last=False)

    async def claim(self, key: str, lease_s: float) -> str | None:
        now = self._timer()
        if now < self._claims.get(key, ("", now))[1]:
            return None
        token = uuid4().hex
        self._claims[key] = (token, now + lease_s)
        return token

    async def release(self, key: str, token: str) -> None:
        if self._claims.get(key, ("", 0.0))[0] == token:
            del self._claims[key]


class Flights:
    """Single flight: of equal calls, one is on its way at a time.

    The first in leads. Whoever waited looks into the cache again when it is let in, and runs the tool
    only if the leader brought nothing: an error or a cancellation is never shared, the next in line
    goes instead.
    """

    def __init__(
        self,
        store: CacheStore | None = None,
        *,
        lease_s: float = 60.0,
        poll_s: float = 0.05,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Open with nothing under way.

        Args:
            store: Where other processes claim the same calls; `None`: this process alone.
            lease_s: Seconds after which a claim whose holder died lapses. A call that takes longer may
                be run by a second process too, so give it more than the longest time limit.
            poll_s: Seconds between two looks at a claim that another process holds.
            sleep: Awaited with `poll_s`.
        """
        self._store = store
        self._lease_s, self._poll_s, self._sleep = lease_s, poll_s, sleep
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def join(self, fingerprint: str) -> AsyncGenerator[bool]:
        """Wait for one's turn with this call, and hold it inside the block.

        Yields:
            Whether this is the leader. If not, look into the cache before running the tool.
        """
        lock, waiting = self._locks.get(fingerprint) or (asyncio.Lock(), 0)
        self._locks[fingerprint] = (lock, waiting + 1)
        try:
            async with lock, self._claimed(fingerprint) as claimed_at_once:
                yield waiting == 0 and claimed_at_once
        finally:
            lock, waiting = self._locks.pop(fingerprint)
            if waiting > 1:
                self._locks[fingerprint] = (lock, waiting - 1)

    @asynccontextmanager
    async def _claimed(self, key: str) -> AsyncGenerator[bool]:
        if self._store is None:
            yield True
            return
        token, at_once = await self._store.claim(key, self._lease_s), True
        while token is None:
            at_once = False
            await self._sleep(self._poll_s)
            token = await self._store.claim(key, self._lease_s)
        try:
            yield at_once
        finally:
            await self._store.release(key, token)
