"""What Redis adds to the contract: one round trip, few bytes, scripts that reload, keys that end together."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator

import pytest

from summarizer.errors import SessionNotFound, StoreConflict
from summarizer.events import EventKind, Origin
from summarizer.stores import RedisStore
from summarizer.stores.redis.address import Address
from summarizer.stores.redis.codec import keys_of
from tests.redis_proxy import Proxy, proxied
from tests.redis_servers import NO_PERSISTENCE, Server, running, shared, shared_cluster
from tests.summarizer.stores.contract import handed_over, in_another_process, message, note, started, texts

TURN_OVERHEAD_BYTES = 700
REPORT = {"tokens": 123_456, "model": "gpt-4o-mini-2024-07-18", "ratio": 1.0625, "samples": 17}


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxied(shared("valkey").port) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[RedisStore]:
    """A store behind the counting proxy, with one connection that is open already."""
    store = RedisStore.from_url(proxy.url, key_prefix=f"t{secrets.token_hex(6)}", max_connections=1)
    await started(store, count=2)
    await store.load(None, "c")
    proxy.reset()
    yield store
    await store.close()


def turn(number: int) -> list:
    question = message(f"question {number}", tokens=40)
    usage = {"input_tokens": 3456, "output_tokens": 321, "cache_read_tokens": 1024}
    answer = message(
        f"answer {number}", role="assistant", tokens=80, usage=usage, cost_pico=7_123_456, report=REPORT
    )
    return [question, answer]


async def test_a_turn_is_one_round_trip(store: RedisStore, proxy: Proxy) -> None:
    """Appending a batch asks the server once, and so does loading the open segment."""
    await store.append(None, "c", turn(1), after_seq=0)
    appended = proxy.trips
    await store.load(None, "c")

    assert (appended, proxy.trips) == (1, 2)


async def test_a_turn_costs_few_bytes_at_any_length(store: RedisStore, proxy: Proxy) -> None:
    """Question and answer cost at most 700 bytes beyond their bodies, both ways, in a long log too."""
    from summarizer.events import encode_event

    await store.append(None, "c", [message("x", tokens=900) for _ in range(5000)])
    overhead = []
    for number in range(20):
        batch = turn(number)
        proxy.reset()
        await store.append(None, "c", batch)
        bodies = sum(len(encode_event(event).encode()) for event in batch)
        overhead.append(proxy.sent + proxy.received - bodies)

    assert max(overhead) <= TURN_OVERHEAD_BYTES


async def test_waiting_appends_share_a_round_trip(store: RedisStore, proxy: Proxy) -> None:
    """What 50 tasks append at once goes in two trips: the first alone or with all, the rest together."""
    await asyncio.gather(*(store.append(None, "c", [message(str(i))]) for i in range(50)))

    assert proxy.trips <= 2
    assert len(await store.read(None, "c")) == 52


async def test_scripts_reload_after_a_flush(store: RedisStore, proxy: Proxy) -> None:
    """A server that forgot the scripts learns them anew, and nothing fails."""
    with shared("valkey").client() as client:
        client.script_flush()
    written = await store.append(None, "c", [message("m3")])

    assert (written.last_seq, written.duplicate) == (3, False)
    assert texts((await store.load(None, "c")).events) == ["m1", "m2", "m3"]


async def test_a_lost_reply_stores_once(store: RedisStore, proxy: Proxy) -> None:
    """A turn whose reply is lost on the way is in the log once, and the caller hears its seqs."""
    proxy.swallow = 1
    written = await store.append(None, "c", turn(1))

    assert (written.first_seq, written.last_seq) == (3, 4)
    assert len(await store.read(None, "c")) == 4
    assert written.head.counters.messages == 4
    assert written.head.report == REPORT


async def test_a_lost_reply_claims_once(store: RedisStore, proxy: Proxy) -> None:
    """A claim whose reply is lost is not refused by itself, and takes one fence number."""
    proxy.swallow = 1
    claim = await store.claim(None, "c", index=0, lease_s=60)

    assert (claim.fence, claim.head.fence) == (1, 1)


async def test_a_lost_reply_segments_once(store: RedisStore, proxy: Proxy) -> None:
    """A hand-over whose reply is lost opens one child, and the caller gets the head."""
    claim = await store.claim(None, "c", index=0, lease_s=60)
    assert claim.fence is not None
    proxy.swallow = 1
    head = await store.segment(
        None,
        "c",
        index=0,
        cut=1,
        summary={},
        seed_tokens=5,
        fence=claim.fence,
        events=[note(EventKind.SEGMENTED)],
    )

    assert (head.index, head.start_seq, head.last_seq) == (1, 2, 3)
    assert len(await store.segments(None, "c")) == 2


async def test_a_lost_reply_creates_once(store: RedisStore, proxy: Proxy) -> None:
    """A create whose reply is lost does not say that the id is taken."""
    await store.create(None, "d", {})
    for swallowed in range(3):
        await store.erase(None, f"e{swallowed}")
        proxy.swallow = 1
        head = await store.create(None, f"e{swallowed}", {"n": swallowed})

        assert head.conversation_id == f"e{swallowed}"
    assert {row.conversation_id for row in await store.list(None)} == {"c", "d", "e0", "e1", "e2"}


async def test_a_cancelled_append_leaves_no_reply_behind(store: RedisStore) -> None:
    """Callers that are cancelled at any moment never make another call read their reply."""
    tasks = [asyncio.create_task(store.append(None, "c", [message(f"t{i}")])) for i in range(40)]
    for i, task in enumerate(tasks):
        if i % 3:
            await asyncio.sleep(0)
            task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    kept = [written for written in done if not isinstance(written, BaseException)]
    events = await store.read(None, "c")

    assert len(kept) >= 14
    for number, written in enumerate(done):
        if not isinstance(written, BaseException):
            assert events[written.first_seq - 1].message.text == f"t{number}"
    assert len(events) == len({event.event_id for event in events})


async def test_each_of_many_callers_gets_its_own_reply(store: RedisStore) -> None:
    """Of more calls than a flight carries, large and small, some cancelled, none reads another's reply."""
    tasks = [
        asyncio.create_task(store.append(None, "c", [message(f"t{i}", note="x" * (i % 7 == 0) * 100_000)]))
        for i in range(600)
    ]
    await asyncio.sleep(0.01)
    for task in tasks[::3]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    events = await store.read(None, "c")
    kept = {
        f"t{number}": written.first_seq
        for number, written in enumerate(done)
        if not isinstance(written, BaseException)
    }

    assert len(kept) >= 400
    assert {text: events[seq - 1].message.text for text, seq in kept.items()} == {text: text for text in kept}


async def test_a_connection_lost_under_load_stores_all_once(store: RedisStore, proxy: Proxy) -> None:
    """When the connection breaks with several flights under way, every call succeeds, and none twice."""
    first = [asyncio.create_task(store.append(None, "c", [message(f"t{i}")])) for i in range(400)]
    proxy.swallow = 1
    written = await asyncio.gather(*first)
    events = await store.read(None, "c", after_seq=2)

    assert sorted(one.first_seq for one in written) == [*range(3, 403)]
    assert sorted(texts(events)) == sorted(f"t{i}" for i in range(400))


async def test_64_claimants_get_one_fence() -> None:
    """However many instances race for the lease, one gets it."""
    prefix = f"t{secrets.token_hex(6)}"
    stores = [
        RedisStore.from_url(shared("valkey").url, key_prefix=prefix, max_connections=1) for _ in range(8)
    ]
    await started(stores[0])
    claims = await asyncio.gather(*(stores[i % 8].claim(None, "c", index=0, lease_s=60) for i in range(64)))
    for store in stores:
        await store.close()

    assert [claim.fence for claim in claims if claim.fence is not None] == [1]


async def test_one_store_serves_many_loops() -> None:
    """A store works on every event loop it is used on, and a loop that ends leaves no connection open."""
    server = shared("valkey")
    store = RedisStore.from_url(server.url, key_prefix=f"t{secrets.token_hex(6)}")
    await started(store)

    def write(name: str) -> None:
        asyncio.run(store.append(None, "c", [message(name)]))

    await asyncio.gather(*(asyncio.to_thread(write, f"loop {i}") for i in range(4)))
    events = await store.read(None, "c")
    await store.close()

    assert sorted(texts(events)) == [f"loop {i}" for i in range(4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_store_survives_a_fork() -> None:
    """Parent, thread and forked children go on with one store object, each over its own connections."""
    url = f"{shared('valkey').url}?prefix=t{secrets.token_hex(6)}"
    codes = await in_another_process("worker_fork.py", url)
    store = RedisStore.from_url(url)
    events = await store.read(None, "c")
    await store.close()

    assert codes == [0] * 6
    assert len({event.event_id for event in events}) == len(events) == 300 + 12 * 20


async def test_a_closed_store_opens_anew() -> None:
    """Close waits for calls under way; the next call connects again."""
    store = RedisStore.from_url(shared("valkey").url, key_prefix=f"t{secrets.token_hex(6)}")
    await started(store)
    waiting = asyncio.create_task(store.append(None, "c", [message("late")]))
    await asyncio.sleep(0)
    await store.close()

    assert (await waiting).last_seq == 1
    assert texts(await store.read(None, "c")) == ["late"]
    await store.close()


async def test_all_keys_of_a_conversation_end_together() -> None:
    """With a lifetime, every key gets one deadline, which later writes move on; then the id is free again."""
    server = shared("valkey")
    store = RedisStore.from_url(f"{server.url}?ttl=3600&prefix=t{secrets.token_hex(6)}")
    await started(store, count=2)
    await handed_over(store, cut=1)
    prefix = Address.parse(store.url).prefix
    keys = keys_of(prefix or "", None, "c")
    with server.client() as client:
        before = {key: client.pttl(key) for key in keys if client.exists(key)}
        for key in before:
            client.pexpire(key, 100_000)
        await store.append(None, "c", [message(str(i)) for i in range(16)])
        after = [client.pttl(key) for key in before]
        for key in before:
            client.pexpire(key, 1)

    assert len(before) >= 4
    assert min(before.values()) > 3_590_000
    assert min(after) > 3_590_000
    await asyncio.sleep(0.01)
    with pytest.raises(SessionNotFound):
        await store.load(None, "c")
    assert await store.list(None) == ()
    await store.create(None, "c", {})
    await store.close()


async def test_ids_are_kept_for_two_generations_at_most() -> None:
    """Ids outside the open segment are forgotten after their time, so their memory is bounded."""
    server = shared("valkey")
    store = RedisStore(Address.parse(server.url), key_prefix=f"t{secrets.token_hex(6)}", ids_kept_s=0.0)
    await started(store)
    keys = keys_of(store._prefix, None, "c")
    kept = []
    for index in range(6):
        batch = [message(str(i)) for i in range(20)]
        last = (await store.append(None, "c", batch)).last_seq
        await handed_over(store, cut=last, index=index)
        repeated = await store.append(None, "c", batch)
        with server.client() as client:
            kept.append(client.hlen(keys.ids) + client.hlen(keys.old_ids))

        assert (repeated.duplicate, repeated.last_seq) == (True, last)
    await store.close()

    assert max(kept) <= 2 * 21


async def test_a_long_batch_is_one_batch(store: RedisStore) -> None:
    """Ten thousand events go in at once, are known when repeated, and come back in pages."""
    batch = [message(str(i), tokens=1) for i in range(10_000)]
    first = await store.append(None, "c", batch)
    again = await store.append(None, "c", batch)

    assert (first.first_seq, first.last_seq, again.first_seq, again.duplicate) == (3, 10_002, 3, True)
    assert len(await store.read(None, "c", after_seq=2)) == 10_000
    assert len(await store.read(None, "c", after_seq=2, limit=1500)) == 1500


async def test_sums_are_exact_beyond_32_bits_and_14_digits(store: RedisStore) -> None:
    """Costs and tokens that Lua would round when it prints them are exact."""
    amounts = [123_456_789_012_345, 987_654_321_098_765, 1]
    for amount in amounts:
        await store.append(
            None, "c", [message("x", role="assistant", usage={"input_tokens": amount}, cost_pico=amount)]
        )
    head = (await store.load(None, "c")).head

    assert head.counters.cost_pico == head.counters.input_tokens == sum(amounts)


async def test_any_text_may_be_an_event_id(store: RedisStore) -> None:
    """Ids with tabs, line ends, spaces or lone surrogates come back as they were."""
    ids = ["a\tb", "\t", "c\r\nd", " ", "\ud800", "$3", "{x}"]
    await store.append(None, "c", [message("x", event_id=i) for i in ids])

    assert [event.event_id for event in await store.read(None, "c", after_seq=2)] == ids
    assert (await store.append(None, "c", [message("x", event_id=i) for i in ids])).duplicate


async def test_an_expiry_and_a_create_keep_the_index_right(store: RedisStore) -> None:
    """A conversation that was created anew while its former self expired stays listed, at its new time."""
    before = (await store.list(None))[0]
    with shared("valkey").client() as client:
        client.delete(*keys_of(store._prefix, None, "c"))
    orphaned = await store.list(None)
    await store.create(None, "c", {})
    gone = await store.erase(None, "nothing")
    [after] = await store.list(None)

    assert orphaned == ()
    assert gone.conversations == 0
    assert after.created_at > before.created_at
    assert after.created_at == (await store.segments(None, "c"))[0].opened_at


async def test_the_cluster_keeps_a_conversation_in_one_slot() -> None:
    """All keys of a conversation hash to one slot, whatever its id and owner hold."""
    from redis.crc import key_slot

    for owner, root in ((None, "a"), ("{x}", "b"), ("=", "c}{d"), ("\ud800", "ü")):
        slots = {key_slot(key) for key in keys_of("ls", owner, root)}

        assert len(slots) == 1


async def test_conversations_spread_over_the_cluster() -> None:
    """Conversations live on every node of a Cluster, and one listing finds them all."""
    cluster = shared_cluster()
    store = RedisStore.from_url(f"{cluster.url}?prefix=t{secrets.token_hex(6)}")
    names = [f"c{i}" for i in range(40)]
    await asyncio.gather(*(started(store, root=name, count=1) for name in names))
    listed = {row.conversation_id for row in await store.list(None, limit=100)}
    with_keys = 0
    for node in cluster.nodes[:3]:
        with node.client() as client:
            with_keys += any(client.scan_iter(match=f"{store._prefix}:*m", count=1000))
    await store.close()

    assert listed == set(names)
    assert with_keys == 3


async def test_a_stale_expectation_writes_nothing(store: RedisStore) -> None:
    """A conflict names both seqs, and the log is as it was."""
    with pytest.raises(StoreConflict, match="expected last seq 7, the log is at 2"):
        await store.append(None, "c", [message("x")], expect=7)
    assert len(await store.read(None, "c")) == 2


async def test_events_of_all_kinds_come_back(store: RedisStore) -> None:
    """An event without a message keeps its data and origin."""
    await store.append(None, "c", [note(EventKind.USAGE, usage={"input_tokens": 5}, nothing=None)])
    event = (await store.read(None, "c"))[-1]

    assert (event.kind, event.origin) == (EventKind.USAGE, Origin.SYSTEM)
    assert event.data == {"usage": {"input_tokens": 5}, "nothing": None}


def test_a_killed_test_run_leaves_no_server() -> None:
    """The watchdog ends a server when the process that started it is gone."""
    import subprocess
    import sys

    from tests.redis_servers import until

    program = (
        "import os\nfrom tests.redis_servers import Server\n"
        "server = Server().start()\nprint(server.port, server.folder, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    port, folder = child.stdout.split()
    orphan = Server(port=int(port), options=NO_PERSISTENCE)
    orphan._folder = folder

    def gone() -> bool:
        try:
            with orphan.client() as client:
                client.ping()
        except Exception:  # noqa: BLE001 - whatever says that it is gone
            return True
        return False

    until(gone, "the end of the orphaned server")
    orphan.stop()


def test_a_server_of_ones_own_ends_with_its_block() -> None:
    """Leaving the block ends the server and removes its folder."""
    with running() as server:
        folder = server.folder
        with server.client() as client:
            answered = client.ping()

    assert answered
    assert not folder.exists()


async def test_a_fork_that_was_never_made_is_not_shown(store: RedisStore) -> None:
    """Whoever died between the entry and the fork leaves a name that nobody sees, and that can be used."""
    await store._forks.enter(None, "c", "f")
    unmade = await store.forks(None, "c")
    await store.create(None, "f", {})

    assert (unmade, await store.forks(None, "c")) == ((), ())
    assert (await store.erase(None, "c")).conversations == 1
    assert [row.conversation_id for row in await store.list(None)] == ["f"]
