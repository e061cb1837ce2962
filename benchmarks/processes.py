"""Writers in processes of their own, all starting at one moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any, ClassVar, TypeVar

from summarizer import SessionManagerError, open_store

from .logs import ANSWER, QUESTION, message_event

__all__ = ["Written", "all_ready", "run_together", "write_from_processes"]

T = TypeVar("T")

_START_TIMEOUT_S = 120
"""Seconds within which all processes must be up and connected; they then start together."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the writers saw.

    Attributes:
        waits_s: Seconds of each append.
        errors: Names of the errors that appends raised.
        duration_s: From the common start to the end of the last writer.
    """

    waits_s: tuple[float, ...]
    errors: tuple[str, ...]
    duration_s: float


def write_from_processes(
    url: str, roots: Sequence[str], *, processes: int, turns: int, pause_s: float = 0.0
) -> Written:
    """Append `turns` turns for each root; root i is written by process i modulo `processes`.

    One writer a root entry, so a root named 64 times has 64 writers. `pause_s` lies between turns.
    """
    jobs = [(url, list(roots[i::processes]), turns, pause_s) for i in range(processes)]
    parts = run_together(_process, jobs)
    return Written(
        tuple(wait for part in parts for wait in part.waits_s),
        tuple(error for part in parts for error in part.errors),
        max(part.duration_s for part in parts),
    )


def run_together(work: Callable[..., T], jobs: Sequence[tuple[Any, ...]]) -> list[T]:
    """Run each job in a process of its own; each calls `all_ready` once it is, before it starts."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(jobs))
    with ProcessPoolExecutor(
        len(jobs), mp_context=spawn, initializer=_Start.prepare, initargs=(barrier,)
    ) as pool:
        return [future.result() for future in [pool.submit(work, *job) for job in jobs]]


async def all_ready() -> None:
    """Wait until the process of every job has come to this point."""
    assert _Start.barrier is not None
    await asyncio.to_thread(_Start.barrier.wait, _START_TIMEOUT_S)


class _Start:
    """What a process was given to wait at."""

    barrier: ClassVar[Barrier | None] = None

    @classmethod
    def prepare(cls, barrier: Barrier) -> None:
        cls.barrier = barrier


def _process(url: str, roots: list[str], turns: int, pause_s: float) -> Written:
    return asyncio.run(_write(url, roots, turns, pause_s))


async def _write(url: str, roots: list[str], turns: int, pause_s: float) -> Written:
    store = open_store(url)
    waits: list[float] = []
    errors: list[str] = []

    async def writer(root: str) -> None:
        for _ in range(turns):
            batch = [message_event("user", QUESTION), message_event("assistant", ANSWER)]
            before = time.perf_counter()
            try:
                await store.append(None, root, batch)
            except SessionManagerError as error:
                errors.append(type(error).__name__)
            waits.append(time.perf_counter() - before)
            await asyncio.sleep(pause_s)

    for root in set(roots):
        await store.load(None, root, after_seq=2**53)
    await all_ready()
    start = time.perf_counter()
    await asyncio.gather(*map(writer, roots))
    duration = time.perf_counter() - start
    await store.close()
    return Written(tuple(waits), tuple(errors), duration)
