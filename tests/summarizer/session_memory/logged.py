"""Conversations in stores for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from summarizer import SessionManager
from summarizer.events import Event, EventKind
from summarizer.meter import counter_for_model, request_tokens
from summarizer.stores import EventStore
from tests.summarizer.histories import MODEL

SETTINGS = {
    "v": 1,
    "counter": "o200k_base",
    "policy": {},
    "system_prompt": None,
    "system_tokens": 0,
    "infinite_context": False,
    "model": MODEL,
    "metadata": {},
}


async def logged(
    store: EventStore, events: Sequence[Event], root: str = "talk", prompt: str | None = None
) -> str:
    """A conversation that holds these events, but for changes of its settings."""
    tokens = counter_for_model(MODEL).count(prompt or "")
    await store.create(None, root, {**SETTINGS, "system_prompt": prompt, "system_tokens": tokens})
    events = [event for event in events if event.kind is not EventKind.SETTINGS]
    if events:
        await store.append(None, root, events)
    return root


def paged(store: EventStore | str, root: str | None = "talk", **given: Any) -> SessionManager:
    """A manager with virtual memory, cold."""
    return SessionManager(root, store=store, model=MODEL, enable_vm=True, **given)


async def parcels(manager: SessionManager, turns: int, start: int = 0) -> None:
    """Turns of about 70 tokens, each with values of its own."""
    for n in range(start, start + turns):
        await manager.turn(
            f"Where is parcel P-{n}, that Kim number {n} sent from hall {n % 7}?",
            f"Parcel P-{n} weighs {n * 3} kg and lies in depot D-{n * 7}. The driver of truck T-{n * 11} "
            f"will call on Monday at {n % 12} and ask for the code C{n * 13}.",
        )


def weight(messages: Sequence[Any], tools: Sequence[Any]) -> int:
    """What a provider would count for a request."""
    return request_tokens(messages, counter_for_model(MODEL), model=MODEL, tools=tools)
