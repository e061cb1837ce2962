"""Redis that is down, full, read-only, locked, hung or failing over: clear errors, no loss, no doubles."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from summarizer.errors import StoreNotWritable, StoreUnavailable
from summarizer.events import Event, new_event_id
from summarizer.stores import RedisStore
from tests.redis_servers import NO_PERSISTENCE, Cluster, Sentinels, Server, running
from tests.summarizer.stores.contract import message, started, texts

FAILOVER_S = 25.0


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncIterator[RedisStore]:
    store = RedisStore.from_url(url, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


async def test_a_server_that_is_down_is_named_within_the_deadline(server: Server) -> None:
    """A read or write on a server that is down raises StoreUnavailable in time, and works once it is back."""
    async with opened(server.url, deadline_s=0.4) as store:
        await started(store, count=1)
        server.kill()
        began = time.monotonic()
        with pytest.raises(
            StoreUnavailable, match=rf"127.0.0.1:{server.port}.*within 0.4 s.*check that the server"
        ):
            await store.append(None, "c", [message("lost")])
        with pytest.raises(StoreUnavailable):
            await store.load(None, "c")
        waited = time.monotonic() - began
        server.start()
        await started(store, count=1)

        assert waited < 2.0
        assert texts(await store.read(None, "c")) == ["m1"]


async def test_a_short_outage_is_not_noticed(server: Server) -> None:
    """An append made while the server restarts waits for it and succeeds."""
    server.options = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
    server.kill()
    server.start()
    async with opened(server.url) as store:
        await started(store, count=1)
        server.kill()
        waiting = asyncio.create_task(store.append(None, "c", [message("m2")]))
        await asyncio.sleep(0.1)
        server.start()

        assert (await waiting).last_seq == 2
        assert texts(await store.read(None, "c")) == ["m1", "m2"]


async def test_a_hung_server_is_given_up(server: Server) -> None:
    """A server that never answers is StoreUnavailable; the write may land, a repeat does not double it."""
    async with opened(server.url, deadline_s=0.4) as store:
        await started(store, count=1)
        event = message("m2")
        server.pause()
        with pytest.raises(StoreUnavailable, match="may or may not have landed"):
            await store.append(None, "c", [event])
        server.resume()
        written = await store.append(None, "c", [event])

        assert written.last_seq == 2
        assert texts(await store.read(None, "c")) == ["m1", "m2"]


@pytest.mark.parametrize("kind", ["valkey", "redis-6.2", "redis-8"])
async def test_a_full_server_leaves_the_log_as_it_was(kind: str) -> None:
    """At maxmemory without eviction a write is StoreNotWritable, names the cause, and changes nothing."""
    with running(kind) as server, server.client() as client:
        async with opened(server.url) as store:
            await started(store, count=2)
            before = await store.load(None, "c")
            client.config_set("maxmemory", 1)
            with pytest.raises(StoreNotWritable, match="noeviction"):
                await store.append(None, "c", [message("x" * 1000)])
            with pytest.raises(StoreNotWritable):
                await store.create(None, "d", {})
            after = await store.load(None, "c")
            erased = await store.erase(None, "c")
            client.config_set("maxmemory", 0)

            assert after == before
            assert erased.events == 2
            assert await store.list(None) == ()


@pytest.mark.parametrize("kind", ["valkey", "redis-6.2"])
async def test_a_replica_takes_no_writes(kind: str) -> None:
    """The URL of a replica reads, and refuses writes with the advice to use the primary."""
    with (
        running(kind) as primary,
        running(kind, *NO_PERSISTENCE, "--replicaof", "127.0.0.1", str(primary.port)) as replica,
    ):
        async with opened(primary.url, durability="replica") as writer:
            await started(writer, count=1)
        async with opened(replica.url, deadline_s=0.3) as store:
            with pytest.raises(StoreNotWritable, match=r"read-only.*use the URL of the primary"):
                await store.append(None, "c", [message("x")])

            assert texts(await store.read(None, "c")) == ["m1"]


async def test_an_unconfirmed_write_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With durability "replica" and no replica, a write raises, and says that it is on the primary."""
    monkeypatch.setattr("summarizer.stores.redis.store._REPLICA_MS", 100)
    async with opened(server.url) as store:
        await started(store)
    async with opened(server.url, durability="replica") as careful:
        with pytest.raises(StoreUnavailable, match=r"no replica.*within 100 ms; it is on the primary"):
            await careful.append(None, "c", [message("m1")])

        assert texts(await careful.read(None, "c")) == ["m1"]


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("", "authentication at"),
        (":wr0ng@", "authentication at"),
        ("nobody:wr0ng@", "authentication at"),
        ("reader:r@", "permission"),
    ],
)
async def test_a_refused_login_is_named_at_once(login: str, said: str) -> None:
    """A missing or wrong password is StoreUnavailable at once, and in no text of the error or its causes."""
    with running("valkey", *NO_PERSISTENCE, "--requirepass", "r1ght") as server:
        with server.client(password="r1ght") as client:
            client.acl_setuser("reader", enabled=True, passwords=["+r"], categories=["+@read"], keys=["*"])
        began = time.monotonic()
        async with opened(server.url.replace("//", f"//{login}")) as store:
            with pytest.raises(StoreUnavailable, match=said) as caught:
                await store.create(None, "c", {})
        error: BaseException | None = caught.value
        while error is not None:
            assert "wr0ng" not in f"{error!r} {error}"
            error = error.__cause__

        assert time.monotonic() - began < 2.0
        async with opened(server.url.replace("//", "//:r1ght@")) as store:
            await started(store, count=1)


async def written_until(store: RedisStore, root: str, stop: asyncio.Event) -> list[Event]:
    """Append batches of two until told to stop; what was acknowledged."""
    acknowledged: list[Event] = []
    while not stop.is_set():
        batch = [message("x", event_id=new_event_id(), tokens=2) for _ in range(2)]
        await store.append(None, root, batch)
        acknowledged += batch
        await asyncio.sleep(0.005)
    return acknowledged


async def survived(store: RedisStore, victim: Server, roots: list[str]) -> None:
    """Kill a server under writers, let each write on, and compare every log with what was acknowledged."""
    stop = asyncio.Event()
    await asyncio.gather(*(started(store, root=root) for root in roots))
    async with asyncio.timeout(FAILOVER_S):
        writers = [asyncio.create_task(written_until(store, root, stop)) for root in roots]
        await asyncio.sleep(0.5)
        # All that was acknowledged must be on the replica, or the server's promise is tested, not ours.
        victim.pause()
        await asyncio.sleep(0.2)
        victim.kill()
        await asyncio.gather(*(store.append(None, root, [message("after")]) for root in roots))
        stop.set()
        acknowledged = await asyncio.gather(*writers)
    for root, batches in zip(roots, acknowledged, strict=True):
        events = await store.read(None, root)
        head = (await store.load(None, root)).head
        seen = Counter(event.event_id for event in events)

        assert len(batches) > 20
        assert {event.event_id for event in batches} <= set(seen)
        assert max(seen.values()) == 1
        assert head.counters.messages == len(events) == head.last_seq
        assert head.total_tokens == sum(event.tokens for event in events) == events[-1].cumulative_tokens


@pytest.mark.slow
async def test_a_cluster_failover_loses_and_doubles_nothing() -> None:
    """A primary of a Cluster dies under 20 writers: they go on, and logs and totals are exact."""
    cluster = await asyncio.to_thread(Cluster.start)
    try:
        async with opened(cluster.url) as store:
            await survived(store, cluster.nodes[0], [f"c{i}" for i in range(20)])
    finally:
        cluster.stop()


@pytest.mark.slow
async def test_a_sentinel_failover_loses_and_doubles_nothing() -> None:
    """The primary that Sentinel watches dies under writers, and they go on at the promoted replica."""
    sentinels = await asyncio.to_thread(Sentinels.start)
    try:
        async with opened(sentinels.url) as store:
            await survived(store, sentinels.primary, [f"c{i}" for i in range(10)])
    finally:
        sentinels.stop()


@pytest.mark.slow
async def test_sentinels_and_servers_ask_for_passwords_of_their_own() -> None:
    """With both passwords writers outlive the primary; a wrong or missing one is named, and not shown."""
    sentinels = await asyncio.to_thread(Sentinels.start, password="d4ta", sentinel_password="w4tch")
    right = sentinels.url.replace("//", "//:d4ta@") + "?sentinel_password=w4tch"
    try:
        for wrong in (
            sentinels.url + "?sentinel_password=w4tch",
            right.replace("d4ta", "wr0ng"),
            right.replace("w4tch", "wr0ng"),
            right.partition("?")[0],
        ):
            began = time.monotonic()
            async with opened(wrong) as store:
                with pytest.raises(StoreUnavailable, match="authentication at") as caught:
                    await store.create(None, "c", {})
            said = f"{caught.value!r} {caught.value.__cause__!r}"

            assert time.monotonic() - began < 5.0
            assert not any(secret in said for secret in ("d4ta", "w4tch", "wr0ng"))
        async with opened(right) as store:
            await survived(store, sentinels.primary, [f"c{i}" for i in range(4)])
    finally:
        sentinels.stop()


@pytest.mark.slow
async def test_a_moving_slot_keeps_its_log() -> None:
    """While a slot moves to another node of a Cluster, key by key, its conversation is written on."""
    cluster = await asyncio.to_thread(Cluster.start)
    try:
        async with opened(cluster.url) as store:
            await started(store, count=5)
            stop = asyncio.Event()
            writer = asyncio.create_task(written_until(store, "c", stop))
            await asyncio.to_thread(move_slot, cluster, store, "c")
            stop.set()
            acknowledged = await writer
            events = await store.read(None, "c")

            assert len(events) == 5 + len(acknowledged)
            assert {event.event_id for event in acknowledged} <= {event.event_id for event in events}
    finally:
        cluster.stop()


def move_slot(cluster: Cluster, store: RedisStore, root: str) -> None:
    """Move the slot of a conversation to another primary, as cluster tools do."""
    from redis.crc import key_slot

    from summarizer.stores.redis.codec import keys_of

    key = keys_of(store._prefix, None, root).meta
    slot = key_slot(key)
    place = min(slot // 5461, 2)
    source, target = cluster.nodes[place], cluster.nodes[(place + 1) % 3]
    with source.client() as old, target.client() as new:
        old_id, new_id = (c.execute_command("CLUSTER MYID").decode() for c in (old, new))
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
        while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            for one in keys:
                old.execute_command("MIGRATE", "127.0.0.1", target.port, one, 0, 5000)
            time.sleep(0.05)
        for client in (new, old):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)


async def test_a_plain_url_of_a_cluster_gives_advice() -> None:
    """Whoever opens a Cluster node as a single server is told the right scheme."""
    from tests.redis_servers import shared_cluster

    url = f"redis://127.0.0.1:{shared_cluster().nodes[0].port}"
    async with opened(url, deadline_s=0.3, key_prefix=f"t{secrets.token_hex(6)}") as store:
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster://"):
            await asyncio.gather(*(store.create(None, f"c{i}", {}) for i in range(20)))
