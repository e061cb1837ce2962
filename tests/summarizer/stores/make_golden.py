"""Print a database of the current schema as SQL, to be kept as `golden/sqlite_v<N>.sql` when N is released.

A small conversation with all that a store keeps: a tool call, reported usage, changed settings, two
closed segments, the tombstone of another conversation, and the traces of two calls with their checkpoint.
"""

# ruff: noqa: T201 - its output is the file

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from procedural import ToolMemoryManager
from summarizer import SessionManager
from summarizer.stores import SQLiteStore

WRITTEN_AT = 1_795_248_000.0
"""The store's clock, in seconds since 1970; a day later the tombstone is void."""
TRACED_AT = datetime.fromtimestamp(WRITTEN_AT, UTC)
USAGE = {"prompt_tokens": 120, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 40}}


async def talk(path: Path) -> None:
    """Hold the conversation."""
    store = SQLiteStore(path, clock=lambda: WRITTEN_AT)
    async with SessionManager(
        "golden",
        store=store,
        owner="ann",
        system_prompt="Be kind.",
        model="gpt-4o-mini",
        token_threshold=4000,
    ) as manager:
        manager.tools.configure(memory=None)  # The traces are made below.
        await manager.turn("My order A-1042 never came. Never call me.", "I look it up.", usage=USAGE)
        await manager.tool_used("find_order", {"id": "A-1042"}, {"state": "lost", "refund": "19.90"})
        await manager.ai_responds("It is lost; you get 19.90 back.", usage=USAGE)
        await small_talk(manager, range(6))
        await manager.segment()
        await manager.update_system_prompt("Be brief.")
        await small_talk(manager, range(6, 12))
        await manager.segment()
        await manager.user_says("Grüße, and 再见 🌍", channel="web")
    other = SessionManager("erased", store=store, owner="ann")
    await other.user_says("Forget me.")
    await store.erase("ann", "erased")
    memory = ToolMemoryManager(store=store.traces, owner="ann", checkpoint_every=1)
    await memory.record("find_order", {"id": "A-1042"}, {"state": "lost"}, trace_id="call-1", at=TRACED_AT)
    await memory.record("find_order", {"id": "A-1043"}, error="not found", trace_id="call-2", at=TRACED_AT)
    await store.close()


async def small_talk(manager: SessionManager, parcels: range) -> None:
    for i in parcels:
        await manager.turn(f"What of parcel B-{i}? " * 4, f"Parcel B-{i} is on its way. " * 3)


def sql_of(path: Path) -> Iterator[str]:
    """Each statement that makes the same database, without recall's index: it is derived, and has no dump."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE IF EXISTS recall_postings; DELETE FROM recall_marks;")
        for pragma in ("application_id", "user_version"):
            yield f"PRAGMA {pragma}={connection.execute(f'PRAGMA {pragma}').fetchone()[0]};"
        yield from connection.iterdump()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(talk(Path(folder) / "log.db"))
        print("\n".join(sql_of(Path(folder) / "log.db")))
