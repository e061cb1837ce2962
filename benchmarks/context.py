"""Building the context of one open segment behind logs of 100 to 100,000 events, and reading it unchanged."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from summarizer import EventStore, SessionManager, open_store

from .append import LENGTHS
from .harness import Figure, Result, interleaved
from .logs import grown
from .servers import NO_REDIS, counted, redis_server

_OPEN_EVENTS = 50
_QUICK = (60, 200)


async def run(*, quick: bool = False) -> Result:
    """Measure cold reads (a process that knows nothing) and warm ones, on the three stores."""
    lengths, rounds = (_QUICK, 3) if quick else (LENGTHS, 100)
    figures: list[Figure] = []
    notes = [f"the open segment holds {_OPEN_EVENTS} messages of 100 tokens, whatever lies before it"]
    figures += await _on("memory", open_store("memory://bench-context"), lengths, rounds)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'log.db'}")
        figures += await _on("sqlite", store, lengths, rounds)
        await store.close()
    with redis_server() as server:
        if server is None:
            return Result("context", figures, [*notes, NO_REDIS])
        store = open_store(server.url)
        figures += await _on("redis", store, lengths, rounds)
        root = await grown(store, lengths[-1], open_events=_OPEN_EVENTS)
        await store.close()
        async with counted(server) as proxy:
            store = open_store(proxy.url)
            await store.list(None, limit=1)
            proxy.reset()
            await SessionManager(root, store=store).context()
            figures.append(Figure("redis: round trips of a cold context", proxy.trips, "", at_most=1))
            await store.close()
    return Result("context", figures, notes)


async def _on(name: str, store: EventStore, lengths: tuple[int, ...], rounds: int) -> list[Figure]:
    roots = {n: await grown(store, n, open_events=_OPEN_EVENTS) for n in lengths}
    cold: dict[str, Callable[[], Awaitable[object]]] = {
        str(n): partial(_cold, store, root) for n, root in roots.items()
    }
    medians = await interleaved(cold, rounds=rounds)
    warm = SessionManager(roots[lengths[-1]], store=store)
    await warm.context()
    unchanged = await interleaved({"": warm.get_messages_for_llm}, rounds=rounds * 5)
    shortest = medians[str(lengths[0])]
    ratios = [
        Figure(f"{name}: cold context at {n:,} over {lengths[0]:,}", medians[str(n)] / shortest, at_most=1.25)
        for n in lengths[1:]
    ]
    return [
        Figure(f"{name}: cold context at {lengths[0]:,} events", shortest * 1e6, "us"),
        *ratios,
        Figure(f"{name}: unchanged context", unchanged[""] * 1e6, "us"),
    ]


async def _cold(store: EventStore, root: str) -> None:
    """Read as a process that has not seen the conversation."""
    from summarizer.conversation import cache_of

    cache_of(store).drop(None, root)
    await SessionManager(root, store=store).context()
