"""`kill -9` while recording, summarizing, and before the hand-over: nothing is lost, nothing asked again."""

import asyncio
import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from summarizer import SessionManager
from summarizer.events import Event, EventKind, batch_effects, decode_event
from summarizer.stores import EventStore
from summarizer.testing import UrlProcess, read_log
from tests.summarizer.stores.contract import acknowledged, in_another_process
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import chain_of, command, environment, is_valid, soft_only, talk

KILLS = 200
"""A store; a quarter of them exactly between the model's answer and the hand-over."""


async def killed_often(url: str, acked: Path, server: str, log: Path) -> None:
    """Start a talker and kill it, again and again: one at any moment, one about the time of a summary, one at
    any moment, and one kills itself once a summary came back.
    """
    moments = random.Random(7)
    forks = await asyncio.create_subprocess_exec(
        *command("worker_talk.py", url, acked, server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert forks.stdin is not None
    assert forks.stdout is not None
    for number in range(KILLS):
        by_itself, asked = number % 4 == 3, len(read_log(log))
        forks.stdin.write(b"answered\n" if by_itself else b"any\n")
        talker = int(await forks.stdout.readline())
        if not by_itself:
            async with asyncio.timeout(20):
                while number % 4 == 1 and len(read_log(log)) == asked:  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.01)
            await asyncio.sleep(moments.uniform(0.0, 0.25))
            os.kill(talker, signal.SIGKILL)
        async with asyncio.timeout(20):
            assert await forks.stdout.readline() == b"gone\n"
    forks.stdin.close()

    assert await forks.wait() == 0


def turns_of(events: list[Event]) -> list[str]:
    """The name that each turn carries, after user and assistant were found side by side."""
    texts = [e.message.text for e in events if e.message is not None]
    names = [text.rpartition(" ")[2] for text in texts]

    assert names[0::2] == names[1::2]
    assert all(text.startswith("Turn ") for text in texts[0::2])
    return names[0::2]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", ["sqlite", "redis"])
async def test_nothing_is_lost_and_summaries_are_not_asked_for_again_and_again(
    name: str, tmp_path: Path
) -> None:
    """Over 200 kills every acknowledged turn is in the log once and whole, the chain partitions the log, no
    more summaries were asked for than talkers died and segments opened, and the conversation goes on.
    """
    log, acked = tmp_path / "calls.jsonl", tmp_path / "acked"
    server = UrlProcess(
        "summarizer.testing.server", ["--log", str(log), "--answer", "tests.summarizer.summary_server:answer"]
    )
    async with FACTORIES[name]() as fresh:
        async with server:
            await killed_often(fresh.store.url, acked, server.url, log)
        await check(fresh.store, acknowledged(acked), log)


async def check(store: EventStore, known: list[str], log: Path) -> None:
    """What the killed talkers left behind, seen from another process; then the conversation goes on."""
    calls = len(read_log(log))
    [found] = await in_another_process("worker_read.py", store.url, json.dumps([[None, "c"]]))
    events = [decode_event(body, event_id, seq, total) for seq, total, event_id, body in found["log"]]
    opened = [e.data for e in events if e.kind is EventKind.SEGMENTED]
    turns = Counter(turns_of(events))

    assert len(known) > KILLS
    assert set(known) <= set(turns)
    assert set(turns.values()) == {1}
    assert len(turns) - len(known) <= KILLS
    assert len(found["segments"]) == len(opened) + 1 > 3
    assert [s[2] for s in found["segments"][1:]] == [s[3] + 1 for s in found["segments"][:-1]]
    assert [data["cut"] for data in opened] == [s[3] for s in found["segments"][:-1]]
    assert found["head"]["counters"] == list(batch_effects(events).counters)
    assert KILLS // 4 + len(opened) <= calls <= KILLS + len(opened)
    await goes_on(store, len(opened))


async def goes_on(store: EventStore, children: int) -> None:
    """Another manager records, segments and builds a valid request, whatever the killed ones left behind."""
    await asyncio.sleep(0.2)  # the last talker's lease, by the store's real clock
    manager = SessionManager("c", store=store, policy=soft_only(), segmentation="inline")
    await talk(manager, 25)
    _, chain = await chain_of(store, "c")

    assert len(chain) > children + 1
    assert is_valid(await manager.get_messages_for_llm())
