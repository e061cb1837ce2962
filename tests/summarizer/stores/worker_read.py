"""Print as JSON what this process finds in a store: argv = URL, then JSON of [[owner, root], ...]."""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from summarizer.events import encode_event
from summarizer.stores import open_store


async def main(url: str, keys: list[list[Any]]) -> None:
    store = open_store(url)
    found: list[Any] = []
    for owner, root in keys:
        loaded = await store.load(owner, root)
        segments = await store.segments(owner, root, summaries=True)
        found.append(
            {
                "head": {**asdict(loaded.head), "lease_s": 0, "counters": list(loaded.head.counters)},
                "settings": loaded.settings,
                "summary": loaded.summary,
                "open": [e.event_id for e in loaded.events],
                "log": [
                    [e.seq, e.cumulative_tokens, e.event_id, encode_event(e)]
                    for e in await store.read(owner, root)
                ],
                "segments": [
                    [s.session_id, s.parent_id, s.start_seq, s.end_seq, s.summary] for s in segments
                ],
            }
        )
    await store.close()
    print(json.dumps(found))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
