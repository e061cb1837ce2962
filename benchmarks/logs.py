"""Logs of a given length, made quickly, and the text that is written to them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from summarizer import Event, EventKind, EventStore, Message, Origin
from summarizer.events import new_event_id

__all__ = ["ANSWER", "QUESTION", "SETTINGS", "grown", "message_event"]

QUESTION = "The order from last week has not arrived and the page says that it was delivered on Monday. " * 5
"""About 100 tokens."""
ANSWER = "I have looked at the parcel's way: it was handed to a neighbour, whose name the carrier noted. " * 5
"""About 100 tokens."""
SETTINGS = {
    "v": 1,
    "counter": "o200k_base",
    "policy": {},
    "system_prompt": None,
    "system_tokens": 0,
    "infinite_context": False,
    "model": None,
    "metadata": {},
}

_AT_ONCE = 1000


def message_event(role: str, text: str, tokens: int = 100) -> Event:
    """One message, ready to append."""
    origin = Origin.USER if role == "user" else Origin.ASSISTANT
    return Event(EventKind.MESSAGE, new_event_id(), datetime.now(UTC), origin, tokens, Message(role, text))


async def grown(store: EventStore, length: int, *, open_events: int | None = None) -> str:
    """Make a conversation of `length` message events; the last `open_events` of them in an open child."""
    root = f"bench-{secrets.token_hex(6)}"
    await store.create(None, root, SETTINGS)
    for start in range(0, length, _AT_ONCE):
        roles = ("user", "assistant")
        numbers = range(start, min(length, start + _AT_ONCE))
        await store.append(None, root, [message_event(roles[i % 2], f"{i} {QUESTION}") for i in numbers])
    if open_events is not None and open_events < length:
        claim = await store.claim(None, root, index=0, lease_s=60)
        assert claim.fence is not None
        event = Event(EventKind.SEGMENTED, new_event_id(), datetime.now(UTC), Origin.SYSTEM)
        await store.segment(
            None,
            root,
            index=0,
            cut=length - open_events,
            summary={"v": 1, "seed": "What came before.", "summary": {}},
            seed_tokens=4,
            fence=claim.fence,
            events=[event],
        )
    return root
