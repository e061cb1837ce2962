"""One conversation as `MemoryStore` holds it: log, chain, and which forks it has. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..errors import InvalidSetting, PartialBatch
from ..events import Event, batch_effects
from .protocol import Beginning, Head, Segment

__all__ = ["MemoryLog"]


@dataclass(slots=True)
class MemoryLog:
    """A conversation; its head's lease is in `lease_until`."""

    created_at: datetime
    touched: float
    settings: Mapping[str, Any]
    head: Head
    log: list[Event] = field(default_factory=list[Event])
    ids: dict[str, int] = field(default_factory=dict[str, int])
    segments: list[Segment] = field(default_factory=list[Segment])
    lease_until: float = 0.0
    ancestor: str | None = None
    forks: dict[str, int] = field(default_factory=dict[str, int])

    def begin(self, beginning: Beginning) -> None:
        """Take over what a fork or an import begins with."""
        self.head, self.segments, self.log = beginning.head, list(beginning.segments), list(beginning.events)
        self.ids = {event.event_id: event.seq for event in beginning.events}
        self.ancestor = beginning.ancestor

    def known(self, events: Sequence[Event]) -> int | None:
        """Seq of the first event if the whole batch is in the log, `None` if none of it is."""
        if not events:
            raise InvalidSetting("an empty batch cannot be appended; pass at least one event")
        ids = [event.event_id for event in events]
        if len(set(ids)) < len(ids):
            raise InvalidSetting(
                f"events of the batch of {ids[0]!r} share an id; use new_event_id() for each"
            )
        if self.ids.keys().isdisjoint(ids):
            return None
        seqs = [self.ids.get(event_id) for event_id in ids]
        first = seqs[0]
        if first is None or seqs != list(range(first, first + len(seqs))):
            raise PartialBatch(
                f"batch of {events[0].event_id!r} is in the log only in part; use fresh event ids"
            )
        return first

    def write(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Append a batch that is not in the log; the events at their places."""
        effects = batch_effects(events)
        seq, total = self.head.last_seq, self.head.total_tokens
        placed: list[Event] = []
        for event in events:
            seq, total = seq + 1, total + event.tokens
            placed.append(event.placed(seq, total))
            self.ids[event.event_id] = seq
        self.log += placed
        if effects.settings is not None:
            self.settings = effects.settings
        self.head = self.head.advanced(seq, total, effects)
        return tuple(placed)

    def open_child(self, head: Head, summary: Mapping[str, Any], opened_at: datetime) -> None:
        """Close the tip before `head.start_seq`; the next session is open under `head`."""
        parent = self.segments[-1]
        self.segments[-1] = replace(parent, end_seq=head.start_seq - 1)
        child = Segment(
            head.session_id,
            parent.session_id,
            head.index,
            head.start_seq,
            None,
            head.start_tokens,
            opened_at,
            summary,
        )
        self.segments.append(child)
        self.head, self.lease_until = head, 0.0

    def range(self, first: int, last: int | None = None) -> list[Event]:
        """The events `[first, last]` that are kept."""
        base = self.head.first_seq
        return self.log[max(0, first - base) : None if last is None else max(0, last - base + 1)]

    def tokens_at(self, seq: int) -> int:
        """Tokens of the log up to an event of the open segment, or to the one before it."""
        if seq < self.head.start_seq:
            return self.head.start_tokens
        return self.log[seq - self.head.first_seq].cumulative_tokens
