"""Resident memory of a process that serves 10,000 open conversations, beside `LONGSPLICE_CACHE_BYTES`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from summarizer import SessionManager, open_store

from .harness import Figure, Result
from .logs import ANSWER, QUESTION

_STATM = Path("/proc/self/statm")
_TURNS = 4
_AT_ONCE = 50
_MIB = 1024 * 1024


async def run(*, quick: bool = False) -> Result:
    """Measure in a process of its own for each setting, on SQLite, whose cache is small and fixed."""
    conversations = 20 if quick else 10_000
    if not _memory_is_told():
        return Result("resident", [], ["left out: this system does not say what is resident"])
    figures: list[Figure] = []
    for mib in (8, 64) if quick else (8, 32, 64):
        with tempfile.TemporaryDirectory() as folder:
            grown = await asyncio.to_thread(_measured, Path(folder), conversations, mib * _MIB)
        figures.append(
            Figure(f"cache {mib} MiB: growth, {conversations:,} conversations", grown / _MIB, "MiB")
        )
        figures.append(Figure(f"cache {mib} MiB: growth over the setting", grown / _MIB / mib, at_most=1))
    return Result(
        "resident", figures, [f"{_TURNS} turns of 200 tokens in each conversation, managers let go"]
    )


def _measured(folder: Path, conversations: int, cache_bytes: int) -> int:
    command = [sys.executable, "-m", "benchmarks.resident", str(folder / "log.db"), str(conversations)]
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    environment = {**os.environ, "LONGSPLICE_CACHE_BYTES": str(cache_bytes), "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout))


async def _serve(path: str, conversations: int) -> int:
    """Bytes by which this process grows from its hundredth conversation to its last."""
    store = open_store(f"sqlite:///{path}")

    async def serve(numbers: Iterator[int]) -> None:
        # A fixed number of workers: a task for every conversation would be what is measured.
        for number in numbers:
            for turn in range(_TURNS):
                # As an endpoint does: a manager for each request.
                manager = SessionManager(f"open-{number}", store=store, infinite_context=False)
                await manager.user_says(f"{turn} {QUESTION}", tokens=100)
                await manager.ai_responds(f"{turn} {ANSWER}", tokens=100)
            await manager.context()

    async def serve_all(numbers: Iterator[int]) -> None:
        await asyncio.gather(*(serve(numbers) for _ in range(_AT_ONCE)))

    await serve(iter([0]))  # One alone makes the file.
    await serve_all(iter(range(1, 100)))
    gc.collect()
    before = _resident()
    await serve_all(iter(range(100, 100 + conversations)))
    gc.collect()
    grown = _resident() - before
    await store.close()
    return grown


def _memory_is_told() -> bool:
    return _STATM.exists()


def _resident() -> int:
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))))
