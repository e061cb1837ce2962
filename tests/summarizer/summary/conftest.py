"""Requests for a summary, made from messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.meter import counter_named
from summarizer.summary.record import Summary, SummaryRequest

AT = datetime(2026, 11, 21, tzinfo=UTC)
ORIGINS = {"system": Origin.SYSTEM, "user": Origin.USER, "assistant": Origin.ASSISTANT, "tool": Origin.TOOL}


def event(seq: int, wire: dict[str, Any]) -> Event:
    """One message at its place in the log."""
    message = Message.from_wire(wire)
    tokens = len(message.text) // 4 + 1
    return Event(EventKind.MESSAGE, f"e{seq}", AT, ORIGINS[message.role], tokens, message, seq=seq)


@pytest.fixture
def summary_request() -> Callable[..., SummaryRequest]:
    """Makes a request out of `(role, text)` pairs or wire mappings; counted at four bytes a token."""

    def make(
        messages: Sequence[tuple[str, str] | dict[str, Any]],
        *,
        previous: Summary | None = None,
        seed_budget: int = 600,
        **changes: Any,
    ) -> SummaryRequest:
        first = 1 if previous is None else previous.through + 1
        wires = [m if isinstance(m, dict) else {"role": m[0], "content": m[1]} for m in messages]
        events = tuple(event(first + i, wire) for i, wire in enumerate(wires))
        request = SummaryRequest(
            conversation_id="c1",
            session_id="c1",
            cut=first + len(events) - 1,
            events=events,
            unread=events,
            seed_budget=seed_budget,
            counter=counter_named("utf8/4"),
            previous=previous,
        )
        return replace(request, **changes)

    return make
