"""What each released schema of SQLite wrote: how it looks, and that it opens for ever."""

import contextlib
import re
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procedural import Scope, ToolMemoryManager
from summarizer import SessionManager
from summarizer.errors import SessionErased
from summarizer.stores import SQLiteStore
from summarizer.stores.sqlite.schema import SCHEMA_VERSION
from tests.summarizer.requests import openai_faults
from tests.summarizer.stores.contract import started
from tests.summarizer.stores.make_golden import WRITTEN_AT

GOLDEN = Path(__file__).parents[1] / "golden"
"""`sqlite_v<N>.sql` for each released schema, made by `make_golden.py` of its time and never edited."""
VERSIONS = sorted(int(re.sub(r"\D", "", file.stem)) for file in GOLDEN.glob("sqlite_v*.sql"))


def rebuilt(version: int, path: Path) -> SQLiteStore:
    """A store on the file that a release wrote."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((GOLDEN / f"sqlite_v{version}.sql").read_text(encoding="utf-8"))
    return SQLiteStore(path, clock=lambda: WRITTEN_AT + 60)


def written_schema(path: Path) -> dict[str, Any]:
    """Every table and index as it was made, and the numbers that mark the file as ours."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        marks = [
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        ]
    return {"made": {(kind, name): sql for kind, name, sql in made}, "marks": marks}


def meant_schema(path: Path) -> dict[str, Any]:
    """Columns and indexes as SQLite understands them, however they came about."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [
                sorted(connection.execute(f"PRAGMA {about}({table})").fetchall(), key=repr)
                for about in ("table_xinfo", "index_list")
            ]
            for table in tables
        }


def test_each_released_schema_is_kept() -> None:
    """There is a golden file for every version up to today's."""
    assert list(range(1, SCHEMA_VERSION + 1)) == VERSIONS


async def test_a_fresh_file_has_the_released_schema(tmp_path: Path) -> None:
    """Tables, indexes and marks are those of the golden file; a change needs a new version and file."""
    fresh = SQLiteStore(tmp_path / "fresh.db")
    await started(fresh, count=1)
    await fresh.close()
    await rebuilt(SCHEMA_VERSION, tmp_path / "golden.db").close()

    assert written_schema(tmp_path / "fresh.db") == written_schema(tmp_path / "golden.db")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_released_file_opens_with_todays_schema(tmp_path: Path, version: int) -> None:
    """The first use brings an older file up to date: it ends like a fresh one."""
    fresh, old = SQLiteStore(tmp_path / "fresh.db"), rebuilt(version, tmp_path / "old.db")
    await started(fresh)
    await started(old)
    await fresh.close()
    await old.close()

    assert meant_schema(tmp_path / "old.db") == meant_schema(tmp_path / "fresh.db")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_released_file_is_read(tmp_path: Path, version: int) -> None:
    """Chain, messages, totals, prices, settings, seed and tombstone are what was written then."""
    store = rebuilt(version, tmp_path / "old.db")
    manager = SessionManager("golden", store=store, owner="ann", create=False)
    stats = await manager.get_stats()
    rows = await manager.get_conversation()
    segments = await manager.segments()
    request = await manager.get_messages_for_llm()

    assert [s.session_id for s in segments] == ["golden", "golden~1", "golden~2"]
    assert [s.start_seq for s in segments[1:]] == [(s.end_seq or 0) + 1 for s in segments[:-1]]
    assert (stats.total_messages, stats.tool_calls, stats.session_segments) == (28, 1, 3)
    assert (stats.input_tokens, stats.output_tokens, stats.cache_read_tokens) == (240, 60, 80)
    assert stats.estimated_cost == Decimal("0.000066")
    assert rows[0]["content"] == "My order A-1042 never came. Never call me."
    assert rows[3]["content"] == '{"state":"lost","refund":"19.90"}'
    assert (rows[-1]["content"], rows[-1]["metadata"]) == ("Grüße, and 再见 🌍", {"channel": "web"})
    assert request[0] == {"role": "system", "content": "Be brief."}
    assert "- Never call me." in request[1]["content"]
    assert openai_faults(request) == []
    with pytest.raises(SessionErased):
        await store.append("ann", "erased", await manager.read())


@pytest.mark.parametrize("version", VERSIONS)
async def test_released_traces_are_read(tmp_path: Path, version: int) -> None:
    """Traces and their checkpoint are what was written then, and their log goes on."""
    store = rebuilt(version, tmp_path / "old.db")
    page = await store.traces.read(Scope("ann"), 0)
    memory = ToolMemoryManager(store=store.traces, owner="ann")
    await memory.load()
    await memory.record("find_order", {"id": "A-1044"}, {"state": "lost"}, trace_id="call-2")
    (before,) = memory.get_patterns()
    await memory.record("find_order", {"id": "A-1044"}, {"state": "lost"}, trace_id="call-3")
    (after,) = memory.get_patterns()

    assert [(seq, trace.trace_id, trace.success) for seq, trace in page.traces] == [
        (1, "call-1", True),
        (2, "call-2", False),
    ]
    assert ((before.calls, before.successes), (after.calls, after.successes)) == ((2, 1), (3, 2))
    assert (await store.traces.read(Scope("ann"))).checkpoint is not None


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_released_conversation_goes_on(tmp_path: Path, version: int) -> None:
    """Turns and segments join the old ones; the totals go on from where they were."""
    store = rebuilt(version, tmp_path / "old.db")
    manager = SessionManager("golden", store=store, owner="ann", create=False)
    before = await manager.get_stats()
    for i in range(8):
        await manager.turn(f"And parcel C-{i}? " * 9, f"C-{i} is there. " * 9)
    outcome = await manager.segment()
    await store.close()
    again = SessionManager("golden", store=SQLiteStore(tmp_path / "old.db"), owner="ann", create=False)
    after = await again.get_stats()

    assert outcome.status == "segmented"
    assert (after.session_segments, after.user_messages) == (4, before.user_messages + 8)
    assert after.total_tokens > before.total_tokens
    assert "Never call me." in (await again.get_messages_for_llm())[1]["content"]
