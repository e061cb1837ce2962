"""64 workers over 4 processes that all notice the need: one child, one call of the summary model."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Any

from summarizer import SessionManager, open_store
from summarizer.segmentation import settle

from .harness import Figure, Result
from .logs import QUESTION
from .processes import all_ready, run_together
from .servers import NO_REDIS, redis_server

_PROCESSES = 4
_THRESHOLD = 4000


async def run(*, quick: bool = False) -> Result:
    """Let them notice, on SQLite and on Redis."""
    workers = 8 if quick else 64
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        figures += await _on("sqlite", f"sqlite:///{Path(folder) / 'log.db'}", workers, Path(folder) / "a")
        with redis_server() as server:
            if server is None:
                return Result("one_child", figures, [NO_REDIS])
            figures += await _on("redis", server.url, workers, Path(folder) / "b")
    return Result("one_child", figures, [f"{workers} workers, {_PROCESSES} processes"])


async def _on(name: str, url: str, workers: int, calls: Path) -> list[Figure]:
    root = f"bench-{secrets.token_hex(6)}"
    store = open_store(url)
    manager = SessionManager(root, store=store, token_threshold=_THRESHOLD)
    for i in range(_THRESHOLD // 200):
        await manager.user_says(f"{i} {QUESTION}", tokens=100)
        await manager.ai_responds("It was handed to a neighbour.", tokens=90)
    # Full but for one small message: the workers' own cross the soft limit and stay below the hard one.
    left = _THRESHOLD - (await manager.get_stats()).context_tokens
    await manager.user_says(QUESTION, tokens=left - 1)
    await manager.ai_responds("Yes.", tokens=0)
    jobs = [(url, root, workers // _PROCESSES, str(calls))] * _PROCESSES
    await asyncio.to_thread(run_together, _process, jobs)
    events = await store.read(None, root)
    chain = await store.segments(None, root)
    await store.close()
    said = sum(e.message is not None and e.message.text.startswith("worker") for e in events)
    return [
        Figure(f"{name}: children opened", len(chain) - 1, "", at_most=1, at_least=1),
        Figure(f"{name}: calls of the summary model", _count(calls), "", at_most=1, at_least=1),
        Figure(f"{name}: messages lost", workers - said, "", at_most=0),
    ]


def _count(calls: Path) -> int:
    return len(calls.read_text(encoding="utf-8").splitlines()) if calls.exists() else 0


def _process(url: str, root: str, workers: int, calls: str) -> None:
    asyncio.run(_work(url, root, workers, Path(calls)))


async def _work(url: str, root: str, workers: int, calls: Path) -> None:
    async def summarize(_messages: list[dict[str, Any]]) -> str:
        with calls.open("a", encoding="utf-8") as file:
            file.write("call\n")
        await asyncio.sleep(0.5)
        return "The user said that the order from last week has not arrived. It was handed to a neighbour."

    # A store of its own each, so nothing but the log tells one worker of another.
    stores = [open_store(url) for _ in range(workers)]
    managers = [
        SessionManager(root, store=store, token_threshold=_THRESHOLD, summarizer=summarize)
        for store in stores
    ]
    for manager in managers:
        await manager.context()
    await all_ready()
    await asyncio.gather(*(m.user_says(f"worker {i}", tokens=2) for i, m in enumerate(managers)))
    await settle()
    for store in stores:
        await store.close()
