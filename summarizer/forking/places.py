"""Where a conversation may be forked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CannotFork, InvalidSetting
from ..events import Event, EventKind
from ..standing import taken_back
from ..units import is_reasoning, pair_calls

__all__ = ["Place", "check_cut", "is_turn_start", "records_behind"]


@dataclass(frozen=True, slots=True)
class Place:
    """Behind an event, before one, behind so many turns, or at the end.

    Attributes:
        at: The last event that is kept; records about it (usage, the guard's facts) go along.
        before: The first event that is not kept.
        turns: How many turns are kept; below 0, how many at the end are not.

    Raises:
        InvalidSetting: More than one is given, or a value that names no place.
    """

    at: int | Event | None = None
    before: int | Event | None = None
    turns: int | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("at", "before", "turns")}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) > 1:
            raise InvalidSetting(f"{' and '.join(given)} are given; name one place to fork")
        for name, value in given.items():
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole and (name == "turns" or not isinstance(value, Event)):
                also = "" if name == "turns" else ", or an Event"
                raise InvalidSetting(f"{name}={value!r}: use a whole number{also}")

    @property
    def event(self) -> Event | None:
        """The event that was given as such."""
        named = self.at if self.at is not None else self.before
        return named if isinstance(named, Event) else None

    def cut(self, last_seq: int) -> tuple[int, int]:
        """The last seq that is kept, and a seq of the session that the fork continues.

        Raises:
            CannotFork: There is no such event.
        """
        if self.at is None and self.before is None:
            return last_seq, last_seq + 1
        name, named = ("at", self.at) if self.at is not None else ("before", self.before)
        seq = named.seq if isinstance(named, Event) else named
        assert seq is not None
        if not 1 <= seq <= last_seq + (name == "before"):
            raise CannotFork(f"{name}={seq}", f"the conversation's events are 1 to {last_seq}", (last_seq,))
        return (seq, seq) if name == "at" else (seq - 1, seq)


def is_turn_start(event: Event) -> bool:
    """Whether the event opens a turn: a user's message."""
    message = event.message
    return message is not None and message.role == "user" and not event.data.get("synthetic")


def records_behind(events: Sequence[Event]) -> int:
    """How many of the events that follow a place are about what is before it.

    All up to the next message, or to what takes messages back: a fork before that has them still.
    """
    return next(
        (i for i, event in enumerate(events) if event.message is not None or _is_change(event)), len(events)
    )


def _is_change(event: Event) -> bool:
    return event.kind is EventKind.NOTE and bool(taken_back(event))


def check_cut(kept: Sequence[Event], left: Sequence[Event]) -> None:
    """Raise unless a model can go on behind `kept`, of the session of which `left` is the rest.

    A call without any of its results is legal, since a result may still come; so is a user message
    without its answer. Some results of a batch without the others are not, nor reasoning without its message,
    nor a message without the records about it.

    Raises:
        CannotFork: With the nearest places that are legal.
    """
    if not kept or not left:
        return
    place, records = f"behind event {kept[-1].seq}", records_behind(left)
    if records:
        told = "records about the event before it would be parted from it"
        raise CannotFork(place, told, tuple(event.seq for event in left[records - 1 : records]))
    events, edge = (*kept, *left), len(kept)
    newest = next((i for i in range(edge - 1, -1, -1) if events[i].message is not None), None)
    message = None if newest is None else events[newest].message
    if newest is not None and message is not None and is_reasoning(message):
        told = "reasoning would be parted from the message that it belongs to"
        raise CannotFork(place, told, (*(events[i].seq for i in (newest - 1, edge) if i >= 0),))
    for caller, found in pair_calls([event.message for event in events]).results.items():
        results = found.values()
        if edge in results and min(results) < edge:
            told = "some results of a batch of calls would be kept, and others not"
            raise CannotFork(place, told, (events[caller].seq, events[max(results)].seq))
