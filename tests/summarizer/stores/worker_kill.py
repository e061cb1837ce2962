"""Fork a writer for each line read, to be killed: argv = URL, file for acknowledged event ids.

Each writer appends from three tasks, and opens a child session now and then. The parent of the
writers does nothing but fork and wait, so that a start costs milliseconds and no thread is forked.
"""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import os
import sys
from datetime import UTC, datetime

from summarizer.errors import StoreConflict
from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.stores import EventStore, open_store


def make(event_id: str, kind: EventKind = EventKind.MESSAGE) -> Event:
    return Event(kind, event_id, datetime.now(UTC), Origin.USER, tokens=3, message=Message("user", "x" * 200))


def acknowledge(acked: int, *ids: str) -> None:
    """Write down what was acknowledged. A kill may tear this write: a line counts only with its end mark."""
    os.write(acked, "".join(f"\n{event_id};" for event_id in ids).encode())


async def write(store: EventStore, acked: int, name: str) -> None:
    number = 0
    while True:
        number += 1
        size = 1 + number % 3
        ids = [f"{name}.{number}.{i}.{size}" for i in range(size)]
        written = await store.append(None, "c", [make(event_id) for event_id in ids])
        acknowledge(acked, *ids)
        if number % 7 == 0:
            await segment(store, written.head.index, written.head.start_seq, f"{name}s{number}.1.0.1", acked)


async def segment(store: EventStore, index: int, cut: int, event_id: str, acked: int) -> None:
    claim = await store.claim(None, "c", index=index, lease_s=0.001)
    if claim.fence is None:
        return
    event = make(event_id, EventKind.SEGMENTED)
    try:
        await store.segment(
            None,
            "c",
            index=index,
            cut=cut,
            summary={"cut": cut},
            seed_tokens=1,
            fence=claim.fence,
            events=[event],
        )
    except StoreConflict:
        return
    acknowledge(acked, event_id)


async def run(url: str, acked: int) -> None:
    store = open_store(url)
    await asyncio.gather(*(write(store, acked, f"{os.getpid()}-{task}") for task in range(3)))


def main(url: str, path: str) -> None:
    acked = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    import sqlite3  # noqa: F401 - loaded before the fork, to start faster

    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(run(url, acked))
        print(child, flush=True)
        os.waitpid(child, 0)


main(sys.argv[1], sys.argv[2])
