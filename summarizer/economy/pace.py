"""How a conversation moves: what a call adds to the prompt, and how long it stands still between calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..events import Counters, Event, EventKind

__all__ = ["RECENT", "Pace", "pace_of"]

RECENT: Final = 64
"""Newest events that are looked at: a bound for the cost of looking, and what "now" means."""
_FEW: Final = 4
"""Calls below which the conversation's own average goes before what the newest events show."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a conversation moves.

    Attributes:
        tokens_per_call: Raw tokens that one call and what follows it add; `None` before the first call.
        cold_share: Share of the calls at hand that came later than the cache's lifetime after the one
            before, in [0, 1]; 0 if fewer than two are at hand.
        idle_s: Seconds from the last call to the newest message, if that asks for an answer; `None`
            if it is an answer, or no call is known.
    """

    tokens_per_call: float | None = None
    cold_share: float = 0.0
    idle_s: float | None = None


def pace_of(events: Sequence[Event], counters: Counters, total_tokens: int, lifetime_s: float) -> Pace:
    """Read the pace off the newest events of the open segment, at most `RECENT`.

    Calls are the assistant's messages. A request is made when the message before it is recorded, and
    its cache is used until the answer is: a pause is what lies between an answer and the next message.

    Args:
        events: The open segment.
        counters: Of the whole conversation: its average holds until there are some calls at hand.
        total_tokens: Raw tokens of the whole log.
        lifetime_s: Of the provider's cache.
    """
    recent = events[-RECENT:]
    calls = [event for event in recent if _is_call(event)]
    pauses = list(_pauses(recent))
    return Pace(
        _growth(calls, counters, total_tokens),
        sum(pause > lifetime_s for pause in pauses) / len(pauses) if pauses else 0.0,
        _idle(recent),
    )


def _growth(calls: Sequence[Event], counters: Counters, total_tokens: int) -> float | None:
    if len(calls) > _FEW:
        return (calls[-1].cumulative_tokens - calls[0].cumulative_tokens) / (len(calls) - 1)
    known = max(counters.billed_calls + counters.unbilled_calls, len(calls))
    return total_tokens / known if known and total_tokens else None


def _pauses(events: Iterable[Event]) -> Iterable[float]:
    """Between each call's answer and the first message after it, those with a next call."""
    answered: datetime | None = None
    pause: float | None = None
    for event in events:
        if event.message is None:
            continue
        if _is_call(event):
            if answered is not None:
                yield 0.0 if pause is None else pause
            answered, pause = event.at, None
        elif answered is not None and pause is None:
            pause = (event.at - answered).total_seconds()


def _idle(events: Sequence[Event]) -> float | None:
    """From the last call to the newest message; the segment's opening stands for a call before it."""
    newest = next((event for event in reversed(events) if event.message is not None), None)
    if newest is None or _is_call(newest):
        return None
    last = next((event for event in reversed(events) if _is_call(event)), None)
    last = last or next((event for event in reversed(events) if event.kind is EventKind.SEGMENTED), None)
    return None if last is None else max(0.0, (newest.at - last.at).total_seconds())


def _is_call(event: Event) -> bool:
    return event.message is not None and event.message.role == "assistant"
