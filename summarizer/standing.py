"""What of a log still stands: messages may be taken back, by a note, and the log keeps them. Pure.

Contexts, cuts and summaries go by what stands. Numbers that a message gave away stay taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from .events import Event, EventKind
from .messages import Message
from .stores.protocol import Loaded

__all__ = ["said", "standing", "standing_in", "take_back", "taken_back", "without_message"]

_TAKEN_BACK: Final = "taken_back"
_SAID: Final = "said"


def take_back(seqs: Sequence[int]) -> dict[str, Any]:
    """The data of a note by which messages are taken back."""
    return {_TAKEN_BACK: list(seqs)}


def taken_back(event: Event) -> Sequence[int]:
    """Seqs of the messages that this event takes back."""
    return event.data.get(_TAKEN_BACK, ()) if event.kind is EventKind.NOTE else ()


def without_message(event: Event) -> Event:
    """The event as a record that is no message; `said` still knows what it was."""
    return replace(event, message=None, data={**event.data, _SAID: event.message})


def said(event: Event) -> Message | None:
    """The event's message, also if it was taken back since."""
    return event.message if event.message is not None else event.data.get(_SAID)


def standing(events: Sequence[Event]) -> list[Event]:
    """The events, in which a message that a later one takes back is a record without a message."""
    gone = {seq for event in events for seq in taken_back(event)}
    if not gone:
        return list(events)
    return [without_message(e) if e.seq in gone and e.message is not None else e for e in events]


def standing_in(loaded: Loaded) -> Loaded:
    """The snapshot, of which messages that were taken back are no messages."""
    return replace(loaded, events=tuple(standing(loaded.events)))
