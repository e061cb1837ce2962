"""Redis stores for the contract suite: every server that we can start, each test under keys of its own."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from summarizer.stores import RedisStore
from tests.redis_servers import shared, shared_cluster


class FreshRedis:
    """A prefix of its own is as good as an empty server, and works on a Cluster."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}?prefix=t{secrets.token_hex(6)}"
        self.opened: list[RedisStore] = []
        self.store = self.open()

    def open(self) -> RedisStore:
        self.opened.append(RedisStore.from_url(self.url))
        return self.opened[-1]

    async def second(self) -> RedisStore:
        return self.open()


@asynccontextmanager
async def fresh_redis(url: Callable[[], str]) -> AsyncIterator[FreshRedis]:
    fresh = FreshRedis(url())
    try:
        yield fresh
    finally:
        for store in fresh.opened:
            await store.close()


def _server_url(kind: str) -> str:
    return shared(kind).url


def _cluster_url() -> str:
    return shared_cluster().url


REDIS_FACTORIES: dict[str, Callable[[], AbstractAsyncContextManager[FreshRedis]]] = {
    "redis": partial(fresh_redis, partial(_server_url, "valkey")),
    "redis-6.2": partial(fresh_redis, partial(_server_url, "redis-6.2")),
    "redis-8": partial(fresh_redis, partial(_server_url, "redis-8")),
    "cluster": partial(fresh_redis, _cluster_url),
}
FACTORIES = REDIS_FACTORIES
