"""What of a log still stands: messages may be taken back, by a note, and the log keeps them. Pure.

Contexts, cuts, summaries and recall go by what stands. Numbers that a message gave away stay taken. A child
carries the list on, so that the open segment tells what of the whole log is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from .errors import InvalidSetting
from .events import Event, EventKind
from .messages import Message
from .stores.protocol import Loaded

__all__ = [
    "gone_of",
    "hosts_note",
    "said",
    "standing",
    "standing_in",
    "take_back",
    "taken_back",
    "without_message",
]

_TAKEN_BACK: Final = "taken_back"
_SAID: Final = "said"


def take_back(seqs: Collection[int]) -> dict[str, Any]:
    """The data of an event that takes messages back; nothing for none."""
    return {_TAKEN_BACK: sorted(seqs)} if seqs else {}


def hosts_note(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data of a host's own note.

    Raises:
        InvalidSetting: It would take messages back.
    """
    if _TAKEN_BACK in data:
        raise InvalidSetting(f"a note's key {_TAKEN_BACK!r} is the log's own; use another, or take_back()")
    return data


def taken_back(event: Event) -> Sequence[int]:
    """Seqs of the messages before this event that it takes back, or tells anew to the child it opens."""
    if event.kind not in (EventKind.NOTE, EventKind.SEGMENTED):
        return ()
    told = event.data.get(_TAKEN_BACK)
    if not isinstance(told, list):
        return ()
    return [seq for seq in cast("list[object]", told) if type(seq) is int and 0 < seq < event.seq]


def gone_of(events: Sequence[Event]) -> frozenset[int]:
    """Seqs of all messages that are taken back, as the open segment tells them."""
    return frozenset(seq for event in events for seq in taken_back(event))


def without_message(event: Event) -> Event:
    """The event as a record that is no message; `said` still knows what it was."""
    return replace(event, message=None, data={**event.data, _SAID: event.message})


def said(event: Event) -> Message | None:
    """The event's message, also if it was taken back since."""
    return event.message if event.message is not None else event.data.get(_SAID)


def standing(events: Sequence[Event], gone: Collection[int] = ()) -> list[Event]:
    """The events, in which a message that a later one takes back is a record without a message.

    Args:
        events: Events of a log, in order.
        gone: Seqs that are taken back by events which are not among these.
    """
    gone = gone_of(events).union(gone)
    if not gone:
        return list(events)
    return [without_message(e) if e.seq in gone and e.message is not None else e for e in events]


def standing_in(loaded: Loaded) -> Loaded:
    """The snapshot, of which messages that were taken back are no messages."""
    return replace(loaded, events=tuple(standing(loaded.events)))
