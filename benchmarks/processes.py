"""Writers in processes of their own, all starting at one moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from summarizer import SessionManagerError, open_store

from .logs import ANSWER, QUESTION, message_event

__all__ = ["Written", "write_from_processes"]

_START_S = 2.5
"""Seconds in which all processes are up and connected; they then start together."""


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
    start = time.time() + _START_S
    jobs = [(url, list(roots[i::processes]), turns, start, pause_s) for i in range(processes)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        parts = [future.result() for future in [pool.submit(_process, *job) for job in jobs]]
    return Written(
        tuple(wait for part in parts for wait in part.waits_s),
        tuple(error for part in parts for error in part.errors),
        max(part.duration_s for part in parts),
    )


def _process(url: str, roots: list[str], turns: int, start: float, pause_s: float) -> Written:
    return asyncio.run(_write(url, roots, turns, start, pause_s))


async def _write(url: str, roots: list[str], turns: int, start: float, pause_s: float) -> Written:
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
    await asyncio.sleep(max(0.0, start - time.time()))
    start = max(start, time.time())
    await asyncio.gather(*map(writer, roots))
    end = time.time()
    await store.close()
    return Written(tuple(waits), tuple(errors), end - start)
