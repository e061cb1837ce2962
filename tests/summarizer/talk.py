"""What the manager's tests share: things to say, a summary model by script, and the laws of a chain."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from summarizer import Policy, SessionManager
from summarizer.events import Event, batch_effects
from summarizer.meter import Usage
from summarizer.stores import EventStore
from summarizer.stores.protocol import Owner, Segment
from summarizer.summary import LlmSummarizer
from summarizer.testing import ScriptedModel, ScriptedReply
from tests.summarizer.stores.factories import FACTORIES, Fresh

ROOT = Path(__file__).parents[2]
PLACES = ("Lisbon", "Oslo", "Turin", "Quito", "Hanoi", "Perth")
SMALL = 400
"""A token threshold that some ten turns of `said` reach."""


def said(number: int) -> str:
    """What the user says in a turn: about 20 tokens, and different each time."""
    return f"Turn {number}: please book {PLACES[number % 6]} for guest G{number:05d}, room {100 + number}."


def told(number: int) -> str:
    """What the assistant answers to it."""
    return f"Guest G{number:05d} is booked for {PLACES[number % 6]}; the reference is REF-{number:05d}."


def summary_text(_request: object = None) -> str:
    """An answer that the summary room takes."""
    narrative = "The user had rooms booked for several guests; each booking was made and has its reference."
    return json.dumps({"narrative": narrative, "operations": []})


def reply(text: str) -> ScriptedReply:
    return ScriptedReply(text, Usage(100, 20), cost_usd=Decimal("0.001"))


def scripted(*steps: Any) -> ScriptedModel:
    """A summary model that plays steps, and answers whatever comes after them."""
    return ScriptedModel(steps, answer=summary_text, reply_factory=reply)


def asking(model: ScriptedModel, **options: Any) -> LlmSummarizer:
    """The real ladder, over a scripted model."""
    return LlmSummarizer(
        ["scripted"], model_factory=lambda _name, **_options: model, backoff_s=0.01, **options
    )


async def talk(manager: SessionManager, turns: int, start: int = 0) -> None:
    """So many turns, one call each."""
    for number in range(start, start + turns):
        await manager.turn(said(number), told(number))


async def fill(manager: SessionManager, tokens: int, start: int = 0) -> int:
    """Turns until the open segment weighs so much; the number of the next turn."""
    number = start
    while True:
        await talk(manager, 1, number)
        number += 1
        if (await manager.get_stats()).context_tokens >= tokens:
            return number


async def chain_of(
    store: EventStore, root: str, owner: Owner = None
) -> tuple[tuple[Event, ...], Sequence[Segment]]:
    """The log and the chain, after they were found lawful."""
    events = await store.read(owner, root)
    chain = await store.segments(owner, root, summaries=True)
    head = (await store.load(owner, root)).head

    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert len({e.event_id for e in events}) == len(events)
    assert chain[0].start_seq == 1
    assert [after.start_seq for _, after in pairwise(chain)] == [
        (before.end_seq or 0) + 1 for before, _ in pairwise(chain)
    ]
    assert chain[-1].end_seq is None
    assert [s.session_id for s in chain] == [f"{root}~{i}" if i else root for i in range(len(chain))]
    assert head.session_id == chain[-1].session_id
    assert head.counters == batch_effects(events).counters
    assert head.total_tokens == sum(e.tokens for e in events)
    return events, chain


def is_valid(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each result follows its call, and each call has its results at once, batches whole."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return False
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    return not waiting


def calls_tool(call_id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    """An assistant message that makes one call."""
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def tool_result(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@asynccontextmanager
async def fresh(name: str) -> AsyncIterator[Fresh]:
    async with FACTORIES[name]() as made:
        yield made


def command(worker: str, *arguments: object) -> list[str]:
    """A worker program of this folder."""
    return [sys.executable, str(Path(__file__).with_name(worker)), *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def soft_only(threshold: int = SMALL, **changes: Any) -> Policy:
    """A threshold whose hard limit lies out of reach."""
    return Policy(token_threshold=threshold, hard_factor=100, **changes)
