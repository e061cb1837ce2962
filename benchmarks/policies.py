"""Contexts of 8,000 tokens by each policy, behind 100 to 100,000 events of history, beside two peers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from summarizer import Event, EventKind, Message, Origin, SessionManager, open_store
from summarizer.context import Frame
from summarizer.context.policies import (
    Age,
    ClearToolResults,
    DropRoles,
    Hybrid,
    Importance,
    KeepLast,
    Landmarks,
    Offload,
    Pin,
    Policies,
    Unit,
    build_with_policies,
)
from summarizer.messages import ToolCall
from summarizer.meter import counter_for_model

from .append import LENGTHS
from .harness import Figure, Result, interleaved
from .logs import ANSWER, QUESTION, grown

_BUDGET = 8_000
_OPEN_EVENTS = 160
"""Messages of 100 tokens in the open segment: twice the budget, so that every policy has to choose."""
_QUICK = (60, 200)
_AT = datetime(2026, 11, 21, 9, tzinfo=UTC)

Way = Callable[[], Awaitable[object]]


def _score(unit: Unit) -> float:
    return unit.first_seq * 7919 % 101


_POLICIES: dict[str, Policies] = {
    "no policy": [],
    "token budget": [],
    "last 80 items": KeepLast(items=80),
    "last 60 units": KeepLast(units=60),
    "last 20 turns": KeepLast(turns=20),
    "age of 80 s": Age(timedelta(seconds=80)),
    "hybrid": Hybrid(last=40, tool_rounds=20),
    "older tool rounds out": DropRoles({"tool"}, recent=60),
    "importance": Importance(_score, best=20, recent=40),
    "pins": Pin(first_user=True, when=lambda event: event.seq % 50 == 0),
    "clearing": ClearToolResults(keep=10, batch=10),
    "offload": Offload(over=50, characters=100),
    "clearing, last 60 units": ClearToolResults(keep=10, batch=10)
    | KeepLast(units=60)
    | Pin(first_user=True),
}
"""Each with a budget of 8,000 tokens behind it, the first without any."""


async def run(*, quick: bool = False) -> Result:
    """Measure each policy on one open segment, then behind longer histories, then with no segments at all."""
    lengths, rounds = (_QUICK, 3) if quick else (LENGTHS, 100)
    segment = _agent_log(_OPEN_EVENTS)
    ways = {name: _way(name, segment, given) for name, given in _POLICIES.items()}
    medians = await interleaved(ways, rounds=rounds)
    figures = [Figure(name, spent * 1e6, "us", at_most=1000) for name, spent in medians.items()]
    figures += await _behind(lengths, rounds)
    whole, notes = await _unsegmented(lengths, 2 if quick else 5)
    notes.insert(0, f"beyond the store's read: {_OPEN_EVENTS} messages of 100 tokens in the open segment")
    notes.insert(
        1, "all in one segment: what a host pays that never segments; what is left grows with the log"
    )
    return Result("policies", figures + whole, notes)


def _way(name: str, events: Sequence[Event], given: Policies) -> Way:
    return partial(
        build_with_policies,
        events,
        session_id="bench",
        frame=Frame(),
        policies=given,
        budget=None if name == "no policy" else _BUDGET,
        count=counter_for_model("gpt-4o-mini").count,
        landmarks=Landmarks.of(events),  # A manager keeps them at hand.
    )


async def _behind(lengths: Sequence[int], rounds: int) -> list[Figure]:
    """The whole call, store included, with the same open segment behind histories of each length."""
    store = open_store("memory://bench-policies")
    # A context by a policy that asks a function is not kept, so that each call builds it.
    policies = ClearToolResults() | KeepLast(turns=40) | Pin(first_user=True, when=lambda _: False)
    ways: dict[str, Way] = {}
    for n in lengths:
        manager = SessionManager(await grown(store, n, open_events=_OPEN_EVENTS), store=store)
        ways[str(n)] = partial(manager.context, _BUDGET, policies=policies)
    medians = await interleaved(ways, rounds=rounds)
    # A history shorter than the open segment has less to show.
    first = next(n for n in lengths if n >= _OPEN_EVENTS)
    return [
        Figure(f"behind {first:,} events, store included", medians[str(first)] * 1e6, "us"),
        *(
            Figure(f"  behind {n:,} over {first:,}", medians[str(n)] / medians[str(first)], at_most=1.25)
            for n in lengths
            if n > first
        ),
    ]


async def _unsegmented(lengths: Sequence[int], rounds: int) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    notes: list[str] = []
    peers = _peers(notes)
    for n in lengths:
        log = _agent_log(n)
        wires = [event.message.to_wire() for event in log if event.message is not None]
        ways = {"ours, last 60 units": _way("", log, KeepLast(units=60))}
        ways |= {name: make(wires) for name, make in peers.items()}
        medians = await interleaved(ways, rounds=rounds, warm=1)
        figures += [
            Figure(f"{n:,} events in one segment: {name}", medians[name] * 1e3, "ms") for name in ways
        ]
    return figures, notes


def _agent_log(length: int) -> list[Event]:
    """Turns of a question, a call, its result and an answer, a second apart, 100 tokens each."""
    log: list[Event] = []
    makers: tuple[Callable[[int], Message], ...] = (
        lambda _: Message("user", QUESTION),
        lambda i: Message(
            "assistant", None, (ToolCall(f"c{i // 4}", "get_parcel", f'{{"id":"{i} {ANSWER}"}}'),)
        ),
        lambda i: Message("tool", f"{i} {ANSWER}", tool_call_id=f"c{i // 4}"),
        lambda _: Message("assistant", ANSWER),
    )
    for i in range(length - length % 4):
        message = makers[i % 4](i)
        event = Event(
            EventKind.MESSAGE, f"e{i}", _AT + timedelta(seconds=i), Origin(message.role), 100, message
        )
        log.append(replace(event, seq=i + 1, cumulative_tokens=100 * (i + 1)))
    return log


def _peers(notes: list[str]) -> dict[str, Callable[[list[dict[str, Any]]], Way]]:
    peers: dict[str, Callable[[list[dict[str, Any]]], Way]] = {}
    for package, module, make in (
        ("openai-agents-context-compaction", "openai_agents_context_compaction", _compaction),
        ("strands-agents", "strands", _strands),
    ):
        if find_spec(module) is None:
            notes.append(f"peer left out: pip install {package}")
        else:
            peers[f"peer {package}"] = make
    return peers


class _Listed:
    """A session of openai-agents that holds its items in a list."""

    session_id = "bench"

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._items = items

    async def get_items(self, limit: int | None = None) -> list[dict[str, Any]]:
        return list(self._items) if limit is None else self._items[-limit:]


def _compaction(wires: list[dict[str, Any]]) -> Way:
    """Its window of 80 items and 8,000 tokens, counted by its default counter of characters."""
    items: list[dict[str, Any]] = []
    for wire in wires:
        if wire["role"] == "tool":
            items.append(
                {"type": "function_call_output", "call_id": wire["tool_call_id"], "output": wire["content"]}
            )
        elif "tool_calls" in wire:
            function = wire["tool_calls"][0]["function"]
            items.append({"type": "function_call", "call_id": wire["tool_calls"][0]["id"], **function})
        else:
            items.append(wire)
    package = import_module("openai_agents_context_compaction")
    session = package.LocalCompactionSession(_Listed(items), window_size=80, token_budget=_BUDGET)
    return session.get_items


def _strands(wires: list[dict[str, Any]]) -> Way:
    """Its sliding window of 80 messages, on a list that is as long again each time; the copy is timed too."""
    messages: list[dict[str, Any]] = []
    for wire in wires:
        if wire["role"] == "tool":
            result = {"toolUseId": wire["tool_call_id"], "status": "success"}
            content: dict[str, Any] = {"toolResult": {**result, "content": [{"text": wire["content"]}]}}
        elif "tool_calls" in wire:
            call = wire["tool_calls"][0]
            content = {"toolUse": {"toolUseId": call["id"], "name": call["function"]["name"], "input": {}}}
        else:
            content = {"text": wire["content"]}
        role = "assistant" if wire["role"] == "assistant" else "user"
        messages.append({"role": role, "content": [content]})
    manager = import_module("strands.agent.conversation_manager").SlidingWindowConversationManager(
        window_size=80
    )

    async def manage() -> None:
        manager.apply_management(SimpleNamespace(messages=list(messages)))

    return manage
