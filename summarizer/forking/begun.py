"""What a fork begins with: head, seed and events, from those of the conversation it is forked from. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..ancestry import Ancestor, Inheritance
from ..events import Counters, Event, EventKind, batch_effects
from ..segmentation import seed_of
from ..stores.protocol import Beginning, Head, Segment

__all__ = ["Part", "beginning_of", "inherited"]


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a conversation that a fork copies.

    Attributes:
        head: The conversation's head.
        segment: The session that holds the place, with its summary record.
        kept: Its events up to the place, none missing.
        left: Its events behind the place.
        counters: Totals of the path up to the place.
    """

    head: Head
    segment: Segment
    kept: tuple[Event, ...]
    left: tuple[Event, ...]
    counters: Counters

    @property
    def last_seq(self) -> int:
        """The last event that is kept."""
        return self.kept[-1].seq if self.kept else self.segment.start_seq - 1

    @property
    def total_tokens(self) -> int:
        """Raw tokens of the path up to the place."""
        return self.kept[-1].cumulative_tokens if self.kept else self.segment.start_tokens

    @property
    def is_tip(self) -> bool:
        """Whether the session is the open one."""
        return self.segment.index == self.head.index

    def opening(self, events: Sequence[Event]) -> Event | None:
        """The event, among these, by which the session was opened."""
        cut = self.segment.start_seq - 1
        opened = (e for e in reversed(events) if e.kind is EventKind.SEGMENTED and e.data.get("cut") == cut)
        return next(opened, None) if cut else None


def inherited(part: Part, ancestors: Sequence[Ancestor], event_id: str | None) -> Inheritance:
    """What a fork says of where it comes from.

    Args:
        part: What it copies.
        ancestors: Those of the conversation that it copies from.
        event_id: The id of the last event that is kept.
    """
    seq, known = part.last_seq, list[Ancestor]()
    for one in (replace(a, seq=seq, event_id=event_id) if a.seq > seq else a for a in ancestors):
        if not known or one.seq > known[-1].seq:  # Else it has nothing of the path to itself.
            known.append(one)
    parent = Ancestor(part.head.conversation_id, part.segment.session_id, seq, event_id)
    return Inheritance((*known, parent), part.total_tokens, part.counters)


def beginning_of(
    part: Part,
    root: str,
    count: Callable[[str], int],
    *,
    now: datetime,
    added: Sequence[Event] = (),
) -> Beginning:
    """The fork's beginning: the session's seed to the byte, its events under their seqs and ids.

    Args:
        part: What is copied.
        root: The fork's root.
        count: Counts raw tokens.
        now: When the fork is made.
        added: The fork's own first events, without tokens.
    """
    start, total, seq = part.segment.start_seq, part.total_tokens, part.last_seq
    opened_seq, opened_turns = _opened(part)
    report, report_total = _report(part, opened_seq)
    messages = [event.seq for event in part.kept if event.kind is EventKind.MESSAGE]
    skips = [event.seq for event in part.kept if event.kind is EventKind.SKIPPED]
    events = (*part.kept, *(event.placed(seq + i, total) for i, event in enumerate(added, 1)))
    head = Head(
        root,
        start_seq=start,
        last_seq=seq + len(added),
        total_tokens=total,
        start_tokens=part.segment.start_tokens,
        seed_tokens=_seed_tokens(part, count),
        opened_seq=opened_seq,
        opened_turns=opened_turns,
        message_seq=messages[-1] if messages else start - 1,
        skipped_seq=skips[-1] if skips else 0,
        report=report,
        report_total=report_total,
        counters=part.counters,
        first_seq=start,
    )
    chain = Segment(root, None, 0, start, None, part.segment.start_tokens, now, part.segment.summary)
    return Beginning(head, (chain,), events, part.head.conversation_id, seq)


def _opened(part: Part) -> tuple[int, int]:
    """Since when the session counts as open, and how many user messages came before.

    A place before the session was opened, among the events that crossed into it, opens it anew.
    """
    head, opening = part.head, part.opening(part.kept)
    if part.segment.start_seq == 1:
        return 0, 0
    if part.is_tip and part.last_seq >= head.opened_seq:
        return head.opened_seq, head.opened_turns
    if opening is None:
        return part.last_seq, part.counters.user_messages
    since = batch_effects([event for event in part.kept if event.seq > opening.seq]).counters
    return opening.seq, part.counters.user_messages - since.user_messages


def _report(part: Part, opened_seq: int) -> tuple[Mapping[str, Any] | None, int]:
    """What a provider last reported of this session's context; of an older one, what was learned from it."""
    opening = part.opening(part.kept)
    own: set[int | None] = {0, part.segment.index, opening.data.get("index") if opening else 0}
    for event in reversed(part.kept):
        report = event.data.get("report")
        if report is not None:
            current = event.seq > opened_seq and report["index"] in own
            return {**report, "index": 0 if current else -1}, event.cumulative_tokens
    report = part.head.report
    return (None if report is None else {**report, "index": -1}), part.total_tokens


def _seed_tokens(part: Part, count: Callable[[str], int]) -> int:
    seed, opening = seed_of(part.segment.summary), part.opening((*part.kept, *part.left))
    if seed is None:
        return 0
    if part.is_tip:
        return part.head.seed_tokens
    told = None if opening is None else opening.data.get("seed_tokens")
    return count(seed) if told is None else told
