"""Append from several tasks and print the ids: argv = URL, root, own name, tasks, batches per task."""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import json
import sys
from datetime import UTC, datetime

from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.stores import open_store


async def main(url: str, root: str, name: str, tasks: int, batches: int) -> None:
    store = open_store(url)
    acked: list[str] = []

    async def write(task: int) -> None:
        for number in range(batches):
            size = 1 + (task + number) % 3
            batch = [
                Event(
                    EventKind.MESSAGE,
                    f"{name}-{task}.{number}.{i}.{size}",
                    datetime.now(UTC),
                    Origin.USER,
                    tokens=i + 2,
                    message=Message("user", "x" * 50),
                )
                for i in range(size)
            ]
            await store.append(None, root, batch)
            acked.extend(event.event_id for event in batch)

    await asyncio.gather(*(write(task) for task in range(tasks)))
    await store.close()
    print(json.dumps(acked))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
