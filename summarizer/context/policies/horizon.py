"""How far back windows must look: a long open segment need not be read from its beginning."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...events import Event
from ..blocks import MESSAGE_FRAME
from .composing import ContextPolicy
from .results import ClearToolResults, Offload
from .views import is_pinned
from .windows import Age, KeepLast, TokenBudget

__all__ = ["Landmarks", "are_local", "have_windows", "tails"]

STEP: Final = 256
"""Events by which the shortest tail moves; one of at most 511 events takes a few milliseconds."""

_WINDOWS: Final = frozenset({Age, KeepLast, TokenBudget})
_LOCAL: Final = _WINDOWS | {ClearToolResults, Offload}
"""Policies to which nothing before a window matters."""


def are_local(policies: Iterable[ContextPolicy]) -> bool:
    """Whether nothing before a window matters to any of them."""
    return {type(policy) for policy in policies} <= _LOCAL


def have_windows(policies: Iterable[ContextPolicy]) -> bool:
    """Whether one of them is a window."""
    return not _WINDOWS.isdisjoint({type(policy) for policy in policies})


@dataclass(slots=True)
class Landmarks:
    """What windows must know of a segment that they do not read.

    Attributes:
        records: Seqs of the events that are no message, in order.
        pinned: Seq of the oldest message recorded with `pinned=True`; 0 if there is none.
    """

    records: list[int] = field(default_factory=list[int])
    pinned: int = 0

    @classmethod
    def of(cls, events: Iterable[Event]) -> Landmarks:
        """The landmarks of a segment."""
        found = cls()
        for event in events:
            found.add(event)
        return found

    def add(self, event: Event) -> None:
        """Take in the next event."""
        if event.message is None:
            self.records.append(event.seq)
        elif not self.pinned and event.data and is_pinned(event):
            self.pinned = event.seq

    def messages_before(self, events: Sequence[Event], index: int) -> int:
        """How many of the events before an index are messages."""
        if not index:
            return 0
        first, last = events[0].seq, events[index - 1].seq
        return index - (bisect_right(self.records, last) - bisect_left(self.records, first))

    def index_of(self, events: Sequence[Event], messages: int) -> int:
        """The index before which so many messages stand, and no fewer events than must."""
        low = bisect_left(self.records, events[0].seq)
        aside = range(low, len(self.records))
        first = events[0].seq
        return messages + bisect_right(aside, messages, key=lambda i: self.records[i] - first - (i - low))


def tails(
    events: Sequence[Event], policies: Sequence[ContextPolicy], landmarks: Landmarks
) -> Iterator[Sequence[Event]]:
    """Tails of the segment that may be all that the policies show, ever longer; the whole is not among them.

    Each begins with a user message, before which no call can be answered any more but by a note, so its
    units are those of the whole segment. It is enough if its first unit is left out: a window then begins
    behind it. Where a tail begins moves in steps, so the marks of its windows do. Steps count messages
    alone: what is shown must not depend on whether a view change was recorded.

    Args:
        events: The open segment.
        policies: What is to act on it.
        landmarks: The segment's.
    """
    if not events or not are_local(policies) or not have_windows(policies):
        return
    counted = landmarks.messages_before(events, len(events))
    size = STEP
    while counted >= 2 * size:
        mark = landmarks.index_of(events, (counted - size) // size * size)
        start = next((i for i in range(mark, len(events)) if _opens_turn(events[i])), None)
        if start is not None:
            if 0 < landmarks.pinned < events[start].seq:
                return
            messages = counted - landmarks.messages_before(events, start)
            if _may_be_enough(events, start, messages, policies):
                yield events[start:]
        size *= 2


def _may_be_enough(
    events: Sequence[Event], start: int, messages: int, policies: Iterable[ContextPolicy]
) -> bool:
    """Whether a window may leave something of the tail out, told without reading it.

    A guess: where it is wrong, a tail is read in vain, or a longer one is.
    """
    tokens = events[-1].cumulative_tokens - events[start].cumulative_tokens + events[start].tokens
    return any(
        isinstance(policy, Age)
        or (isinstance(policy, TokenBudget) and tokens + MESSAGE_FRAME * messages > policy.tokens)
        or (isinstance(policy, KeepLast) and messages > (policy.items or policy.units or policy.turns or 0))
        for policy in policies
    )


def _opens_turn(event: Event) -> bool:
    return event.message is not None and event.message.role == "user"
