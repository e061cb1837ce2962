"""Recall over logs of 1,000 to 100,000 events: what an event costs to index, and a query to answer."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from summarizer import EventStore, SessionManager, open_store

from .harness import Figure, Result, interleaved
from .logs import SETTINGS, message_event

_LENGTHS = (1_000, 10_000, 100_000)
_QUICK = (300, 600)
_AT_ONCE = 1000
_WORDS = 80
"""Words of a message, about 100 tokens."""
_VOCABULARY = 20_000
QUERIES = {
    "an id": "NDL-{}",
    "a question": "what is the number of the needle that lies in {common} and {rarer}?",
    "common words": "{common} {common2} {common3}",
}
"""Kinds of queries; the common words stand in nearly every event."""


async def run(*, quick: bool = False) -> Result:
    """Measure on SQLite, whose index lies in the file, and in memory, as for Redis."""
    lengths, rounds = (_QUICK, 3) if quick else (_LENGTHS, 30)
    figures = await _on("memory", lambda _: open_store("memory://bench-recall"), lengths, rounds)
    with tempfile.TemporaryDirectory() as folder:
        figures += await _on(
            "sqlite", lambda n: open_store(f"sqlite:///{Path(folder) / f'{n}.db'}"), lengths, rounds
        )
    notes = [
        f"messages of {_WORDS} words drawn from {_VOCABULARY:,} with Zipf's law; one in 500 holds an id",
        "a segmentation indexes what it seals in the file; where nothing was sealed, the first query indexes",
    ]
    return Result("recall_speed", figures, notes)


async def _on(
    name: str, opened: Callable[[int], EventStore], lengths: tuple[int, ...], rounds: int
) -> list[Figure]:
    figures: list[Figure] = []
    asked: dict[str, Callable[[], Awaitable[object]]] = {}
    stores: list[EventStore] = []
    for length in lengths:
        stores.append(opened(length))
        manager = SessionManager(await _grown(stores[-1], length), store=stores[-1])
        before = _bytes(stores[-1])
        start, busy = time.perf_counter(), time.process_time()
        await manager.recall("nothing")
        spent, busy = time.perf_counter() - start, time.process_time() - busy
        figures.append(Figure(f"{name}: first query, which indexes {length:,} events", spent, "s"))
        figures.append(
            Figure(f"{name}: CPU time to index, per event of {length:,}", busy / length * 1e6, "us")
        )
        if before is not None:
            grown = (_bytes(stores[-1]) or 0) - before
            figures.append(Figure(f"{name}: bytes of index, per event of {length:,}", grown / length, "B"))
            spent = await _first_elsewhere(stores[-1].url, manager.session_id)
            figures.append(Figure(f"{name}: first query where {length:,} are indexed", spent * 1e3, "ms"))
        for kind, query in QUERIES.items():
            text = query.format(
                length // 2, common=_word(1), common2=_word(2), common3=_word(3), rarer=_word(900)
            )
            asked[f"{kind}, {length:,} events"] = partial(manager.recall, text)
    medians = await interleaved(asked, rounds=rounds)
    figures += [Figure(f"{name}: {way}", spent * 1e3, "ms") for way, spent in medians.items()]
    for store in stores:
        await store.close()
    return figures


async def _first_elsewhere(url: str, session_id: str) -> float:
    """Seconds of a store's first query, cold, where segmentation or another process indexed the log."""
    store = open_store(url)
    manager = SessionManager(session_id, store=store)
    await manager.get_stats()
    start = time.perf_counter()
    await manager.recall("NDL-500")
    spent = time.perf_counter() - start
    await store.close()
    return spent


async def _grown(store: EventStore, length: int) -> str:
    root, draw = f"bench-{length}", random.Random(7)
    ranks = range(1, _VOCABULARY + 1)
    shares = [1 / rank for rank in ranks]
    await store.create(None, root, SETTINGS)
    for start in range(0, length, _AT_ONCE):
        batch = []
        for n in range(start, min(length, start + _AT_ONCE)):
            text = " ".join(map(_word, draw.choices(ranks, shares, k=_WORDS)))
            batch.append(message_event("user", f"{text} NDL-{n}" if n % 500 == 0 else text))
        await store.append(None, root, batch)
    return root


def _word(rank: int) -> str:
    """A pronounceable word for a rank."""
    syllables = []
    while rank:
        rank, rest = divmod(rank, 60)
        syllables.append("bdfgklmnprtv"[rest % 12] + "aeiou"[rest // 12])
    return "".join(syllables)


def _bytes(store: EventStore) -> int | None:
    """Size of a SQLite store's file with its WAL."""
    path = Path(store.url.removeprefix("sqlite:///"))
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists()) if path.exists() else None
