"""What the contract's tests share: events, waiting, and a look from a second, cold instance."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from summarizer.events import Counters, Event, EventKind, Origin, batch_effects, new_event_id
from summarizer.messages import Message
from summarizer.stores import Appended, EventStore, Head
from summarizer.stores.protocol import Owner
from tests.summarizer.stores.factories import Fresh

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 2, 3, 4, 5, 678901, tzinfo=UTC)
ORIGINS = {"user": Origin.USER, "assistant": Origin.ASSISTANT, "system": Origin.SYSTEM}


def message(
    text: str = "hello", *, event_id: str = "", role: str = "user", tokens: int = 3, **data: Any
) -> Event:
    """A message event with a fresh id unless one is given."""
    event_id = event_id or new_event_id()
    return Event(EventKind.MESSAGE, event_id, AT, ORIGINS[role], tokens, Message(role, text), data)


def note(kind: EventKind = EventKind.NOTE, *, event_id: str = "", **data: Any) -> Event:
    """An event without a message."""
    return Event(kind, event_id or new_event_id(), AT, Origin.SYSTEM, data=data)


def texts(events: Sequence[Event]) -> list[str]:
    return [e.message.text for e in events if e.message is not None]


async def started(store: EventStore, owner: Owner = None, root: str = "c", count: int = 0) -> Head:
    """A conversation with `count` messages `m1`, `m2`, ..."""
    head = await store.create(owner, root, {"system_prompt": "be kind"})
    for i in range(count):
        head = (await store.append(owner, root, [message(f"m{i + 1}")])).head
    return head


async def handed_over(
    store: EventStore, *, cut: int, index: int = 0, owner: Owner = None, root: str = "c"
) -> Head:
    """Claim and segment as a manager does."""
    claim = await store.claim(owner, root, index=index, lease_s=60)
    assert claim.fence is not None
    return await store.segment(
        owner,
        root,
        index=index,
        cut=cut,
        summary={"narrative": f"up to {cut}"},
        seed_tokens=7,
        fence=claim.fence,
        events=[note(EventKind.SEGMENTED, cut=cut)],
    )


async def proven(fresh: Fresh, owner: Owner = None, root: str = "c") -> tuple[Event, ...]:
    """The whole log as a cold instance reads it, after its head was found to agree with it."""
    store = await fresh.second()
    events = await store.read(owner, root)
    head = (await store.load(owner, root)).head
    effects = batch_effects(events)

    assert [e.seq for e in events] == list(range(head.first_seq, head.last_seq + 1))
    assert len({e.event_id for e in events}) == len(events)
    if head.first_seq == 1:
        sums = reduce(lambda so_far, e: [*so_far, so_far[-1] + e.tokens], events, [0])
        assert [e.cumulative_tokens for e in events] == sums[1:]
        assert head.total_tokens == sums[-1]
        assert head.counters == effects.counters
        assert head.message_seq == effects.message_offset + 1
    return events


async def let_pass(fresh: Fresh, seconds: float) -> None:
    """Move the store's clock, or wait if it has none to move."""
    advance = getattr(fresh, "advance", None)
    if advance is not None:
        advance(seconds)
    elif seconds <= 2:
        await asyncio.sleep(seconds)
    else:
        pytest.skip("this store's clock is real, and the wait too long")


def shared_url(fresh: Fresh) -> str:
    """The URL under which another process sees the same data; skips the test for memory."""
    if fresh.store.url.startswith("memory:"):
        pytest.skip("memory is not shared between processes")
    return fresh.store.url


def command(worker: str, *arguments: object) -> list[str]:
    """A worker program of this folder."""
    return [sys.executable, str(Path(__file__).with_name(worker)), *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


async def in_another_process(worker: str, *arguments: object) -> Any:
    """Run a worker to its end and read the JSON it prints."""
    child = await asyncio.create_subprocess_exec(
        *command(worker, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    out, errors = await child.communicate()

    assert (child.returncode, errors.decode()) == (0, "")
    return json.loads(out)


def acknowledged(path: Path) -> list[str]:
    """What killed writers wrote down; the last line of one may be torn, and then says nothing."""
    return [line[:-1] for line in path.read_text().splitlines() if line.endswith(";")]


def batches_are_whole(events: Sequence[Event]) -> bool:
    """Whether ids `writer.batch.i.size` of one batch stand side by side, in order and complete."""
    ids = [e.event_id.split(".") for e in events if e.event_id.count(".") == 3]
    at = 0
    while at < len(ids):
        writer, number, _, size = ids[at]
        if ids[at : at + int(size)] != [[writer, number, str(i), size] for i in range(int(size))]:
            return False
        at += int(size)
    return True


def answer(written: Appended) -> tuple[int, int, bool]:
    return written.first_seq, written.last_seq, written.duplicate


ZERO = Counters()
