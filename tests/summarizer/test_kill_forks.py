"""`kill -9` while forking, two processes at once: a fork is whole or not there."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from summarizer import SessionManager
from tests.summarizer.stores.contract import acknowledged
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import command, environment, said, soft_only, talk, told

TURNS = 24
ROUNDS = 3


async def killed(url: str, acked: Path, after_s: float, least: int) -> None:
    """Two workers that fork until so many forks are known, and a little longer."""
    workers = [
        await asyncio.create_subprocess_exec(*command("worker_forks.py", url, acked), env=environment())
        for _ in range(2)
    ]
    async with asyncio.timeout(30):
        while len(acknowledged(acked)) < least:  # noqa: ASYNC110 - others write it
            await asyncio.sleep(0.005)
    await asyncio.sleep(after_s)
    for worker in workers:
        worker.kill()

    assert [await worker.wait() for worker in workers] == [-signal.SIGKILL] * 2


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
@pytest.mark.parametrize("name", ["sqlite", "redis"])
async def test_a_killed_worker_leaves_whole_forks(name: str, tmp_path: Path) -> None:
    """Every fork that was acknowledged is there, every fork that is there is whole, and all can be erased."""
    moments, acked = random.Random(5), tmp_path / "acked"
    async with FACTORIES[name]() as fresh:
        sm = SessionManager(
            "c", store=fresh.store, policy=soft_only(), summarizer="extractive", segmentation="inline"
        )
        await talk(sm, TURNS)
        acked.touch()
        for number in range(ROUNDS):
            await killed(fresh.store.url, acked, moments.uniform(0, 0.05), 10 * (number + 1))
        cold = await fresh.second()
        known = {fork.conversation_id for fork in await cold.forks(None, "c")}
        texts = {text for i in range(TURNS) for text in (said(i), told(i))}
        for root in known:
            fork = SessionManager(root, store=cold, create=False)
            rows = [row["content"] for row in await fork.get_conversation()]
            stats = await fork.get_stats()

            assert stats.total_messages == len(rows)
            assert rows == [text for i in range(len(rows) // 2) for text in (said(i), told(i))]
            assert texts.issuperset(rows)
        gone = await cold.erase(None, "c")

        assert known.issuperset(acknowledged(acked))
        assert gone.conversations == 1 + len(known)
        assert await cold.list(None) == ()
