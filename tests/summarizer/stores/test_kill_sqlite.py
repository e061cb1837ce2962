"""`kill -9` at any moment: what was acknowledged is there, once, and the totals are exact."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest

from summarizer.events import batch_effects, decode_event
from summarizer.stores import SQLiteStore
from tests.summarizer.stores.contract import (
    acknowledged,
    batches_are_whole,
    command,
    environment,
    in_another_process,
)

FILES = 8
KILLS = 25


async def killed_often(url: str, acked: Path, moments: random.Random) -> None:
    """Start a writer and kill it, again and again, on one file."""
    server = await asyncio.create_subprocess_exec(
        *command("worker_kill.py", url, acked),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert server.stdin is not None
    assert server.stdout is not None
    for _ in range(KILLS):
        server.stdin.write(b"\n")
        child = int(await server.stdout.readline())
        await asyncio.sleep(moments.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
    server.stdin.close()

    assert await server.wait() == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Over 200 kills while appending and segmenting, every acknowledged event is in the log exactly once,
    batches are whole, segments join, and heads agree with the log, as seen from another process.
    """
    survived = 0
    for number in range(FILES):
        path, acked = tmp_path / f"{number}.db", tmp_path / f"{number}.acked"
        store = SQLiteStore(path)
        await store.create(None, "c", {})
        await store.close()
        await killed_often(store.url, acked, random.Random(number))
        [found] = await in_another_process("worker_read.py", store.url, json.dumps([[None, "c"]]))
        events = [decode_event(body, event_id, seq, total) for seq, total, event_id, body in found["log"]]
        ids = acknowledged(acked)
        survived += len(ids)

        assert set(ids) <= {e.event_id for e in events}
        assert len({e.event_id for e in events}) == len(events)
        assert batches_are_whole(events)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        assert [e.cumulative_tokens for e in events] == list(accumulate(e.tokens for e in events))
        assert found["head"]["counters"] == list(batch_effects(events).counters)
        assert found["head"]["total_tokens"] == events[-1].cumulative_tokens
        chain = found["segments"]
        assert [start for _, _, start, _, _ in chain[1:]] == [end + 1 for _, _, _, end, _ in chain[:-1]]
        assert [s["cut"] for *_, s in chain[1:]] == [end for _, _, _, end, _ in chain[:-1]]
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    assert survived > 100 * FILES
