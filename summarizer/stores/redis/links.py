"""The way to the servers, per event loop: one server, the primary that Sentinel names, or a Cluster.

Everything that is asked of redis-py stands here. Its own retries are off: what may be
repeated, and for how long, is decided in `client` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from .address import Address
from .outbox import Outbox

if TYPE_CHECKING:
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.connection import AbstractConnection, ConnectionPool

__all__ = ["Link", "connect"]

_CONNECT_S: Final = 2.0
_SENTINEL_S: Final = 1.0
_NODE_S: Final = 5.0
"""Seconds for one reply of a Cluster node; below the deadline, so that another node is asked in time."""


class Link(Protocol):
    """Which outbox carries a key's calls."""

    def at_hand(self, key: bytes, *, writes: bool) -> Outbox | None:
        """The outbox of the server that has the key, if that is known without asking."""
        ...

    async def outbox(self, key: bytes, *, writes: bool) -> Outbox:
        """The outbox of the server that has the key."""
        ...

    def redirected(self, host: str, port: int) -> Outbox:
        """The outbox of the server that another one named."""
        ...

    async def refresh(self) -> None:
        """Learn anew which server has what."""
        ...

    async def close(self) -> None:
        """Wait for what is under way, then disconnect."""
        ...


class _Lanes:
    """The connections to one server: the first carries writes, the others reads, which may be long."""

    def __init__(self, make: Callable[[], Outbox], count: int) -> None:
        self._outboxes = [make() for _ in range(count)]

    def pick(self, *, writes: bool) -> Outbox:
        if writes or len(self._outboxes) == 1:
            return self._outboxes[0]
        return min(self._outboxes[1:], key=_load)

    async def close(self) -> None:
        for outbox in self._outboxes:
            await outbox.close()


def _load(outbox: Outbox) -> int:
    return outbox.load


class _ServerLink:
    """One server, or the primary that Sentinel names; a broken connection asks Sentinel again."""

    def __init__(self, pool: ConnectionPool, sentinels: Any, make: Callable[..., Outbox], lanes: int) -> None:
        self._pool = pool
        self._sentinels = sentinels
        self._lanes = _Lanes(lambda: make(pool.get_connection), lanes)

    def at_hand(self, key: bytes, *, writes: bool) -> Outbox:  # noqa: ARG002 - one server has all keys
        return self._lanes.pick(writes=writes)

    async def outbox(self, key: bytes, *, writes: bool) -> Outbox:
        return self.at_hand(key, writes=writes)

    def redirected(self, host: str, port: int) -> Outbox:
        from redis.exceptions import RedisClusterException

        raise RedisClusterException(
            f"the server belongs to a Cluster and names {host}:{port}; use redis+cluster://"
        )

    async def refresh(self) -> None:
        """Nothing to learn: connecting looks the server up."""

    async def close(self) -> None:
        await self._lanes.close()
        await self._pool.aclose()
        if self._sentinels is not None:
            for sentinel in self._sentinels.sentinels:
                await sentinel.aclose()


class _ClusterLink:
    """A Cluster: lanes per node, so that a dead node holds up its own slots only."""

    def __init__(self, cluster: RedisCluster, make: Callable[..., Outbox], lanes: int) -> None:
        self._cluster = cluster
        self._make = make
        self._count = lanes
        self._nodes: dict[str, _Lanes] = {}
        self._lock = asyncio.Lock()
        self._refreshed = 0

    def at_hand(self, key: bytes, *, writes: bool) -> Outbox | None:  # noqa: ARG002 - only asking tells
        return None

    async def outbox(self, key: bytes, *, writes: bool) -> Outbox:
        if not self._nodes:
            async with asyncio.timeout(_NODE_S):
                await self._cluster.initialize()
        return self._lanes(self._cluster.get_node_from_key(key)).pick(writes=writes)  # pyright: ignore[reportArgumentType]

    def redirected(self, host: str, port: int) -> Outbox:
        return self._lanes(self._cluster.get_node(host, port)).pick(writes=True)

    async def refresh(self) -> None:
        seen = self._refreshed
        async with self._lock:
            if seen != self._refreshed:
                return
            async with asyncio.timeout(_NODE_S):
                await self._cluster.initialize()
                await self._cluster.nodes_manager.initialize()
            self._refreshed += 1

    async def close(self) -> None:
        for lanes in self._nodes.values():
            await lanes.close()
        await self._cluster.aclose()

    def _lanes(self, node: ClusterNode | None) -> _Lanes:
        from redis.exceptions import RedisClusterException

        if node is None:
            raise RedisClusterException("a node of the Cluster is not known yet")
        if node.name not in self._nodes:
            self._nodes[node.name] = _Lanes(lambda: self._make(_connector(node)), self._count)
        return self._nodes[node.name]


def _connector(node: ClusterNode) -> Callable[[], Awaitable[AbstractConnection]]:
    async def connector() -> AbstractConnection:
        return node.acquire_connection()

    return connector


def connect(address: Address, *, connections: int, timeout_s: float, replica_ms: int | None) -> Link:
    """A link for the running loop; nothing is sent yet."""

    def make(connector: Callable[[], Awaitable[AbstractConnection]]) -> Outbox:
        return Outbox(connector, timeout_s=timeout_s, replica_ms=replica_ms)

    if address.kind == "cluster":
        return _ClusterLink(_cluster(address, connections), make, connections)
    if address.kind == "sentinel":
        manager = _sentinel(address)
        pool = manager.master_for(address.service, **_told(address), **_tls(address)).connection_pool
        return _ServerLink(pool, manager, make, connections)
    return _ServerLink(_pool(address, connections), None, make, connections)


def _told(address: Address) -> dict[str, Any]:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return {
        **address.credentials(),
        "db": address.db,
        # One timeout for a whole flight stands around it; one per reply would cost more than a reply.
        "socket_timeout": None,
        "socket_connect_timeout": _CONNECT_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(address: Address) -> dict[str, Any]:
    return {"ssl": True, **address.tls_arguments()} if address.tls else {}


def _pool(address: Address, connections: int) -> ConnectionPool:
    from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection

    host, port = address.hosts[0]
    return ConnectionPool(
        connection_class=SSLConnection if address.tls else Connection,
        max_connections=connections,
        host=host,
        port=port,
        **_told(address),
        **address.tls_arguments(),
    )


def _sentinel(address: Address) -> Any:
    from redis.asyncio.sentinel import Sentinel

    asked = {
        **address.sentinel_credentials(),
        "socket_timeout": _SENTINEL_S,
        "socket_connect_timeout": _SENTINEL_S,
        "retry": _told(address)["retry"],
    }
    return Sentinel(list(address.hosts), sentinel_kwargs={**asked, **_tls(address)})


def _cluster(address: Address, connections: int) -> RedisCluster:
    from redis.asyncio.cluster import ClusterNode, RedisCluster

    told = _told(address)
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        require_full_coverage=False,
        # Ours, and those with which redis-py asks for the layout of the Cluster.
        max_connections=connections + 4,
        **{**told, "socket_timeout": _NODE_S},
        **_tls(address),
    )
