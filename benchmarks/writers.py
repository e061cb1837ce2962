"""64 writers over 4 processes, on one conversation and on 64: events per second, and none lost."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from summarizer import open_store

from .harness import Figure, Result, percentile
from .logs import grown
from .processes import write_from_processes
from .servers import NO_REDIS, redis_server

_PROCESSES = 4


async def run(*, quick: bool = False) -> Result:
    """Measure the curve over 1, 8 and 64 conversations."""
    writers, turns, curve = (4, 2, (1, 4)) if quick else (64, 50, (1, 8, 64))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'log.db'}"
        for conversations in curve:
            figures += await _on("sqlite", url, writers, turns, conversations)
    with redis_server() as server:
        if server is None:
            return Result("writers", figures, [NO_REDIS])
        for conversations in curve:
            figures += await _on("redis", server.url, writers, turns, conversations)
    return Result("writers", figures, [f"{writers} writers, {_PROCESSES} processes, {turns} turns each"])


async def _on(name: str, url: str, writers: int, turns: int, conversations: int) -> list[Figure]:
    store = open_store(url)
    roots = [await grown(store, 2) for _ in range(conversations)]
    targets = [roots[i * conversations // writers] for i in range(writers)]
    done = await asyncio.to_thread(write_from_processes, url, targets, processes=_PROCESSES, turns=turns)
    expected = 2 * writers * turns
    found = 0
    for root in roots:
        events = await store.read(None, root)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        found += len(events) - 2
    await store.close()
    where = f"{name}, {conversations} conversation{'s'[: conversations > 1]}"
    return [
        Figure(f"{where}: events per second", expected / done.duration_s, ""),
        Figure(f"{where}: events lost or refused", expected - found, "", at_most=0),
        Figure(f"{where}: p99 of the wait", percentile(done.waits_s, 0.99) * 1e3, "ms"),
    ]
