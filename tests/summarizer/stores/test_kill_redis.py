"""`kill -9` of writers at any moment: what was acknowledged is there, once, and the totals are exact."""

import asyncio
import json
import os
import random
import secrets
import signal
import subprocess
import time
from itertools import accumulate
from pathlib import Path

import pytest

from summarizer.events import batch_effects, decode_event
from summarizer.stores import RedisStore
from tests.redis_servers import shared
from tests.summarizer.stores.contract import (
    acknowledged,
    batches_are_whole,
    command,
    environment,
    in_another_process,
)

LOGS = 4
KILLS = 50


def wait_until_grown(path: Path, by_bytes: int) -> None:
    """Wait until a file is so much longer."""
    wanted, deadline = path.stat().st_size + by_bytes, time.monotonic() + 10
    while path.stat().st_size < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def killed_often(url: str, acked: Path, moments: random.Random) -> None:
    """Start a writer and kill it, again and again, on one log."""
    server = await asyncio.create_subprocess_exec(
        *command("worker_kill_redis.py", url, acked),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert server.stdin is not None
    assert server.stdout is not None
    for _ in range(KILLS):
        server.stdin.write(b"\n")
        child = int(await server.stdout.readline())
        await asyncio.to_thread(wait_until_grown, acked, moments.randrange(2000))
        await asyncio.sleep(moments.uniform(0.0, 0.002))
        os.kill(child, signal.SIGKILL)
    server.stdin.close()

    assert await server.wait() == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Over 200 kills while appending and segmenting, every acknowledged event is in the log exactly once,
    batches are whole, segments join, and heads agree with the log, as seen from another process.
    """
    urls = [f"{shared('valkey').url}?prefix=t{secrets.token_hex(6)}" for _ in range(LOGS)]
    acked = [tmp_path / f"{number}.acked" for number in range(LOGS)]
    for url in urls:
        store = RedisStore.from_url(url)
        await store.create(None, "c", {})
        await store.close()
    for path in acked:
        path.touch()
    await asyncio.gather(
        *(killed_often(url, path, random.Random(path.name)) for url, path in zip(urls, acked, strict=True))
    )
    for url, path in zip(urls, acked, strict=True):
        [found] = await in_another_process("worker_read.py", url, json.dumps([[None, "c"]]))
        events = [decode_event(body, event_id, seq, total) for seq, total, event_id, body in found["log"]]
        ids = acknowledged(path)
        chain = found["segments"]

        assert len(ids) > 100
        assert set(ids) <= {e.event_id for e in events}
        assert len({e.event_id for e in events}) == len(events)
        assert batches_are_whole(events)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        assert [e.cumulative_tokens for e in events] == list(accumulate(e.tokens for e in events))
        assert found["head"]["counters"] == list(batch_effects(events).counters)
        assert found["head"]["total_tokens"] == events[-1].cumulative_tokens
        assert [start for _, _, start, _, _ in chain[1:]] == [end + 1 for _, _, _, end, _ in chain[:-1]]
        assert [s["cut"] for *_, s in chain[1:]] == [end for _, _, _, end, _ in chain[:-1]]
