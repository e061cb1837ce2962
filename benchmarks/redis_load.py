"""Redis, one worker, 200 sessions: beside plain redis-py and a pipelined ceiling for the same script."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import chain

from summarizer import EventStore, SessionManager, open_store
from summarizer.config import MAX_EVENT_BYTES
from summarizer.events import Event, encode_event
from summarizer.stores.redis.codec import Batch, keys_of
from summarizer.stores.redis.scripts import APPEND

from .harness import Figure, Result, interleaved
from .logs import ANSWER, QUESTION, grown, message_event
from .servers import NO_REDIS, Server, counted, redis_server

_SESSIONS = 200
_PREFIX = "ls"


async def run(*, quick: bool = False) -> Result:
    """Measure turns of two events, batches of ten, then bytes and round trips of a whole turn."""
    sessions, each, rounds = (5, 2, 1) if quick else (_SESSIONS, 10, 9)
    with redis_server() as server:
        if server is None:
            return Result("redis_load", [], [NO_REDIS])
        store = open_store(server.url)
        roots = [await grown(store, 2) for _ in range(sessions)]
        figures = [
            *await _beside(server, store, roots, each, rounds, events=2, at_least=0.25),
            *await _beside(server, store, roots, each, rounds, events=10, at_least=0.45),
        ]
        await store.close()
        return Result("redis_load", figures + await _on_the_wire(server, 3 if quick else 50))


async def _beside(
    server: Server,
    store: EventStore,
    roots: list[str],
    each: int,
    rounds: int,
    *,
    events: int,
    at_least: float,
) -> list[Figure]:
    """Rates of ours, of plain redis-py and of the ceiling, each batch made anew by all three."""
    import redis.asyncio

    client = redis.asyncio.Redis(port=server.port, max_connections=len(roots))
    await client.script_load(APPEND.text)

    async def ours_once(root: str) -> None:
        await store.append(None, root, _batch(events))

    async def plain_once(root: str) -> None:
        _, sha, count, *rest = _command(root, _batch(events))
        await client.evalsha(sha.decode(), int(count), *rest)

    async def plain() -> None:
        for root in roots * each:
            await plain_once(root)

    # The ceiling's commands are packed beforehand: it only moves bytes.
    prepared = [[_packed(_command(root, _batch(events))) for root in roots * each] for _ in range(rounds + 1)]

    async def ceiling() -> None:
        _drive(server.port, prepared.pop())

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "ours": lambda: _at_once(ours_once, roots, each),
        "plain": plain,
        "pooled": lambda: _at_once(plain_once, roots, each),
        "ceiling": ceiling,
    }
    medians = await interleaved(ways, rounds=rounds, warm=1)
    await client.aclose()
    ours_s = medians["ours"]
    what = f"batches of {events}"
    return [
        Figure(f"{what}: per second, {len(roots)} sessions", len(roots) * each / ours_s, ""),
        Figure(
            f"{what}: our rate over redis-py, one command at a time",
            medians["plain"] / ours_s,
            at_least=3 if events == 2 else None,
        ),
        Figure(f"{what}: our rate over redis-py, a connection a session", medians["pooled"] / ours_s),
        Figure(f"{what}: our rate over the ceiling", medians["ceiling"] / ours_s, at_least=at_least),
    ]


async def _at_once(once: Callable[[str], Awaitable[None]], roots: list[str], each: int) -> None:
    """A task a session, each doing it `each` times."""

    async def session(root: str) -> None:
        for _ in range(each):
            await once(root)

    await asyncio.gather(*map(session, roots))


def _batch(events: int) -> list[Event]:
    return [message_event("user" if i % 2 == 0 else "assistant", QUESTION) for i in range(events)]


def _command(root: str, events: list[Event]) -> list[bytes]:
    """The append as the store sends it."""
    keys = keys_of(_PREFIX, None, root)[:4]
    batch = Batch.of(events, MAX_EVENT_BYTES)
    packed = f"[{batch.packed(0, 0, wait=False)}]".encode()
    return [b"EVALSHA", APPEND.sha, b"4", *keys, packed, *batch.values]


def _packed(words: list[bytes]) -> bytes:
    parts = chain.from_iterable((b"$%d\r\n" % len(word), word, b"\r\n") for word in words)
    return b"*%d\r\n" % len(words) + b"".join(parts)


def _drive(port: int, commands: list[bytes], *, depth: int = 100) -> None:
    """Send prepared commands over one socket, `depth` at a time, and read every reply: the ceiling."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(commands), depth):
            some = commands[start : start + depth]
            connection.sendall(b"".join(some))
            # A reply is one bulk string, so two line ends, and holds none.
            ends = 0
            while ends < 2 * len(some):
                data = connection.recv(1 << 20)
                assert data, "the server closed the connection"
                assert b"-ERR" not in data, data[:200]
                ends += data.count(b"\n")


async def _on_the_wire(server: Server, turns: int) -> list[Figure]:
    """Bytes and round trips of a manager's turn and context."""
    async with counted(server) as proxy:
        store = open_store(proxy.url)
        manager = SessionManager(store=store, infinite_context=False)
        await manager.turn(QUESTION, ANSWER)
        await manager.context()  # The server knows its scripts from here on.
        proxy.reset()
        for _ in range(turns):
            await manager.turn(QUESTION, ANSWER)
        trips, passed = proxy.trips / turns, (proxy.sent + proxy.received) / turns
        proxy.reset()
        await manager.context()
        context_trips = proxy.trips
        newest = (await manager.read(include_all_segments=True))[-2:]
        await store.close()
    bodies = sum(len(encode_event(event).encode()) for event in newest)
    return [
        Figure("a turn: round trips", trips, "", at_most=1),
        Figure("a turn: bytes beyond the bodies, both ways", passed - bodies, "B", at_most=700),
        Figure("a context: round trips", context_trips, "", at_most=1),
    ]
