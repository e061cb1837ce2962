"""Fork in the middle of writing; parent and child go on with the same store object: argv = URL."""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import os
import sys
import threading
import warnings
from datetime import UTC, datetime

from summarizer.events import Event, EventKind, Origin
from summarizer.stores import EventStore, open_store


def make(event_id: str) -> Event:
    return Event(EventKind.NOTE, event_id, datetime.now(UTC), Origin.SYSTEM)


async def write(store: EventStore, name: str, count: int) -> None:
    for i in range(count):
        await store.append(None, "c", [make(f"{name}.{i}")])
        await store.load(None, "c")


def main(url: str) -> None:
    store = open_store(url)
    busy = threading.Thread(target=lambda: asyncio.run(write(store, "thread", 300)))
    asyncio.run(store.create(None, "c", {}))
    busy.start()
    children: list[int] = []
    for number in range(6):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Newer Pythons warn of any fork beside threads.
            child = os.fork()
        if not child:
            asyncio.run(write(store, f"child{number}", 20))
            os._exit(0)
        children.append(child)
        asyncio.run(write(store, f"parent{number}", 20))
    codes = [os.waitpid(child, 0)[1] for child in children]
    busy.join()
    asyncio.run(store.close())
    print(codes)


main(sys.argv[1])
