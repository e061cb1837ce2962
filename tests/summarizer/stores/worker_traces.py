"""Append traces from several tasks, print the new ids, end at once: argv = URL, own name, tasks, batches."""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from procedural import Scope, Trace
from summarizer.stores import open_trace_store


async def main(url: str, name: str, tasks: int, batches: int) -> None:
    store = open_trace_store(url)
    added: list[str] = []

    async def write(task: int) -> None:
        for number in range(batches):
            traces = [
                Trace(trace_id, "search", datetime.now(UTC), success=True)
                for trace_id in (f"{name}.{task}.{number}", f"common.{number}")
            ]
            added.extend((await store.append(Scope(), traces)).added)

    await asyncio.gather(*(write(task) for task in range(tasks)))
    print(json.dumps(added), flush=True)
    os._exit(0)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
