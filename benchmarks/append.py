"""Appending a turn to logs of 100 to 100,000 events: time and bytes, on every store."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from unittest.mock import patch

from summarizer import EventStore, open_store

from .harness import Figure, Result, interleaved
from .logs import ANSWER, QUESTION, grown, message_event
from .servers import NO_REDIS, Server, counted, redis_server

LENGTHS = (100, 1_000, 10_000, 100_000)
_QUICK = (10, 100)


async def run(*, quick: bool = False) -> Result:
    """Measure the three stores, then a peer, beside."""
    lengths, rounds = (_QUICK, 3) if quick else (LENGTHS, 400)
    figures: list[Figure] = []
    notes: list[str] = []
    figures += (await _on("memory", open_store("memory://"), lengths, rounds))[0]
    with tempfile.TemporaryDirectory() as folder:
        figures += await _on_sqlite(Path(folder) / "log.db", lengths, rounds)
    with redis_server() as server:
        if server is None:
            notes.append(NO_REDIS)
        else:
            figures += await _on_redis(server, lengths, rounds)
    peer, note = await _peer((4, 8) if quick else (200, 2_000))
    return Result("append", [*figures, *peer], [*notes, note])


async def _on(
    name: str, store: EventStore, lengths: tuple[int, ...], rounds: int
) -> tuple[list[Figure], dict[int, str]]:
    """Times as ratios to the shortest log's, and the logs."""
    roots = {n: await grown(store, n) for n in lengths}
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        str(n): partial(_turn, store, root) for n, root in roots.items()
    }
    medians = await interleaved(ways, rounds=rounds)
    shortest = medians[str(lengths[0])]
    figures = [
        Figure(f"{name}: time at {n:,} over {lengths[0]:,}", medians[str(n)] / shortest, at_most=1.25)
        for n in lengths[1:]
    ]
    return [Figure(f"{name}: turn at {lengths[0]:,} events", shortest * 1e6, "us"), *figures], roots


async def _on_sqlite(path: Path, lengths: tuple[int, ...], rounds: int) -> list[Figure]:
    """Times by the store; bytes by what this process handed to the operating system, where it tells."""
    store = open_store(f"sqlite:///{path}")
    figures, roots = await _on("sqlite", store, lengths, rounds)
    if _io_is_told():
        figures += await _bytes("sqlite", store, roots, _written, rounds)
    await store.close()
    return figures


async def _on_redis(server: Server, lengths: tuple[int, ...], rounds: int) -> list[Figure]:
    """Times on a direct way, bytes on one that counts them."""
    store = open_store(server.url)
    figures, roots = await _on("redis", store, lengths, rounds)
    await store.close()
    async with counted(server) as proxy:
        store = open_store(proxy.url)
        figures += await _bytes("redis", store, roots, lambda: proxy.sent + proxy.received, rounds)
        await store.close()
    return figures


async def _turn(store: EventStore, root: str) -> None:
    await store.append(None, root, [message_event("user", QUESTION), message_event("assistant", ANSWER)])


async def _bytes(
    name: str, store: EventStore, roots: Mapping[int, str], count: Callable[[], int], rounds: int
) -> list[Figure]:
    """Bytes of a turn by `count`, a running total; the logs in turn."""
    spent: dict[int, list[int]] = {length: [] for length in roots}
    for round_ in range(-1, rounds):
        for length, root in roots.items():
            before = count()
            await _turn(store, root)
            if round_ >= 0:
                spent[length].append(count() - before)
    means = {length: _without_outliers(some) for length, some in spent.items()}
    first, *others = means
    return [
        Figure(f"{name}: bytes a turn at {first:,} events", means[first], "B"),
        *(
            Figure(f"{name}: bytes at {n:,} over {first:,}", means[n] / means[first], at_most=1.05)
            for n in others
        ),
    ]


def _without_outliers(values: list[int]) -> float:
    """The mean, without what SQLite's checkpoints add to whichever turn they fall on."""
    typical = median(values)
    return mean(value for value in values if value <= 4 * typical)


def _io_is_told() -> bool:
    return Path("/proc/self/io").exists()


def _written() -> int:
    """Bytes this process has written so far; whole pages and checkpoints for SQLite."""
    words = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(words[words.index("wchar:") + 1])


async def _peer(lengths: tuple[int, int]) -> tuple[list[Figure], str]:
    """A turn of chuk-ai-session-manager, in its memory provider, at two lengths."""
    if find_spec("chuk_ai_session_manager") is None:
        return [], "peer left out: pip install chuk-ai-session-manager"
    with _for_the_peer():
        times = await _peer_times(lengths[1] // 2)
    near = max(2, lengths[0] // 10)
    early = sorted(times[lengths[0] // 2 - near : lengths[0] // 2])[near // 2]
    late = sorted(times[-near:])[near // 2]
    name = "peer chuk-ai-session-manager, memory"
    figures = [
        Figure(f"{name}: turn at {lengths[0]:,} events", early * 1e6, "us"),
        Figure(f"{name}: time at {lengths[1]:,} over {lengths[0]:,}", late / early),
    ]
    return figures, "the peer counts tokens within its turn; ours are given here (see `turn`)"


async def _peer_times(turns: int) -> list[float]:
    manager = import_module("chuk_ai_session_manager").SessionManager()
    times: list[float] = []
    for i in range(turns):
        start = time.perf_counter()
        await manager.user_says(f"{i} {QUESTION}")
        await manager.ai_responds(ANSWER, model="gpt-4o-mini", provider="openai")
        times.append(time.perf_counter() - start)
    return times


@contextmanager
def _for_the_peer() -> Iterator[None]:
    """Its settings, for as long as it runs; its own warnings and log lines left out."""
    settings = {"SESSION_PROVIDER": "memory"}
    litellm = find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        # It asks tiktoken for a table by name, which would fetch it; litellm ships the same file.
        folder = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
        settings["TIKTOKEN_CACHE_DIR"] = str(folder)
    logging.getLogger("chuk_ai_session_manager").setLevel(logging.ERROR)
    with patch.dict(os.environ, settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
