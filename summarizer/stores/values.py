"""What a store is given and answers: heads, segments, batches at their places. Frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from ..errors import InvalidSetting
from ..events import Counters, Effects, Event

__all__ = [
    "ANY_OWNER",
    "HEAD_ONLY",
    "AnyOwner",
    "Appended",
    "Beginning",
    "Claim",
    "ConversationRow",
    "Erased",
    "Fork",
    "Head",
    "Loaded",
    "Owner",
    "Segment",
]


class AnyOwner(Enum):
    """Administration's wildcard for `list`, `expire` and nothing else."""

    ANY = "any"


ANY_OWNER: Final = AnyOwner.ANY
HEAD_ONLY: Final = 2**53
"""An `after_seq` beyond any log: the answer to `load` holds the head and nothing else."""
Owner = str | None
"""A user or tenant. `None` is the namespace of unowned conversations, never a wildcard."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a conversation stands; small, returned by every write.

    Attributes:
        conversation_id: The root id.
        index: Number of the tip in the chain, from 0.
        start_seq: First seq of the tip's range, so the cut plus one.
        last_seq: Seq of the newest event, 0 in an empty log.
        total_tokens: Raw tokens of the whole log.
        start_tokens: Raw tokens of the log before `start_seq`.
        seed_tokens: Raw tokens of the tip's seed as it is sent.
        opened_seq: Seq of the event that opened the tip, 0 for a first session that nothing precedes.
        opened_turns: `counters.user_messages` when the tip was opened.
        settings_seq: Last seq of the newest batch that changed the settings, 0 for those of `create`.
        message_seq: Seq of the newest message event.
        skipped_seq: Seq of the newest skipped segmentation.
        report: What a provider last reported of the context's size, and what was learned from it:
            `{"tokens": int, "model": str, "ratio": float, "samples": int, "index": int}` with the tip's
            index at the time, or `None`.
        report_total: `total_tokens` at the end of the batch that carried the report.
        counters: Totals of the whole conversation.
        fence: Number of the newest claim; it only grows.
        lease_s: Seconds that the newest claim's lease still runs by the store's clock, 0
            if nobody holds it.
        first_seq: Oldest event still kept; above 1 once `retain` removed segments, and in a fork.
    """

    conversation_id: str
    index: int = 0
    start_seq: int = 1
    last_seq: int = 0
    total_tokens: int = 0
    start_tokens: int = 0
    seed_tokens: int = 0
    opened_seq: int = 0
    opened_turns: int = 0
    settings_seq: int = 0
    message_seq: int = 0
    skipped_seq: int = 0
    report: Mapping[str, Any] | None = None
    report_total: int = 0
    counters: Counters = field(default_factory=Counters)
    fence: int = 0
    lease_s: float = 0.0
    first_seq: int = 1

    @property
    def session_id(self) -> str:
        """The tip's session id."""
        return f"{self.conversation_id}~{self.index}" if self.index else self.conversation_id

    @property
    def segment_tokens(self) -> int:
        """Raw tokens of the open segment's events, the seed not included."""
        return self.total_tokens - self.start_tokens

    def advanced(self, last_seq: int, total_tokens: int, effects: Effects) -> Head:
        """The head after a batch that ends at `last_seq`; leases are not its business."""
        before, moved = self.last_seq + 1, effects.report is not None
        # Written out, as in `Event.placed`: this runs for each append.
        return Head(
            self.conversation_id,
            self.index,
            self.start_seq,
            last_seq,
            total_tokens,
            self.start_tokens,
            self.seed_tokens,
            self.opened_seq,
            self.opened_turns,
            self.settings_seq if effects.settings is None else last_seq,
            self.message_seq if effects.message_offset < 0 else before + effects.message_offset,
            self.skipped_seq if effects.skipped_offset < 0 else before + effects.skipped_offset,
            effects.report if moved else self.report,
            total_tokens if moved else self.report_total,
            self.counters.plus(effects.counters),
            self.fence,
            self.lease_s,
            self.first_seq,
        )


@dataclass(frozen=True, slots=True)
class Appended:
    """A batch that is in the log.

    Attributes:
        head: The head after the write (for a repeated batch: the head now).
        first_seq: Seq of the batch's first event.
        last_seq: Seq of its last event.
        duplicate: The batch was there already; nothing was written.
        others: With `after_seq`: events in `(after_seq, last seq of the log]` that are not of this
            batch, in order.
        placed: The batch's own events at their places, from a store that holds them as such; else empty.
    """

    head: Head
    first_seq: int
    last_seq: int
    duplicate: bool = False
    others: tuple[Event, ...] = ()
    placed: tuple[Event, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One consistent snapshot of a conversation's open segment.

    Attributes:
        head: The head.
        settings: The conversation's settings; `None` if `after_seq` was given and they
            have not changed since (`settings_seq <= after_seq`).
        summary: The tip's summary record, as `segment` or `create` was given it; `None` where there is
            none, and if `after_seq` was given and the tip was opened before (`opened_seq <= after_seq`).
        events: Events of `[max(start_seq, after_seq + 1), last_seq]`, in order.
    """

    head: Head
    settings: Mapping[str, Any] | None
    summary: Mapping[str, Any] | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """One session of a chain: a range of the log.

    Attributes:
        session_id: `ROOT` or `ROOT~N`.
        parent_id: The session before it in the chain, `None` for the first.
        index: Number in the chain, from 0.
        start_seq: First seq of its range.
        end_seq: Last seq of its range, `None` while it is open. May be `start_seq - 1`
            only for a range that holds nothing.
        start_tokens: Raw tokens of the log before `start_seq`.
        opened_at: When it was opened, aware, UTC, by the store's clock.
        summary: The summary record that seeds it; `None` for the first session, unless a fork begins
            with a seed, or if not asked for.
    """

    session_id: str
    parent_id: str | None
    index: int
    start_seq: int
    end_seq: int | None
    start_tokens: int
    opened_at: datetime
    summary: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to `claim`: `fence` is `None` if somebody else holds the lease, or the tip moved on."""

    fence: int | None
    head: Head


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """One row of a listing."""

    conversation_id: str
    owner: Owner
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed; traces of tool calls only with all of an owner."""

    conversations: int = 0
    sessions: int = 0
    events: int = 0
    traces: int = 0


@dataclass(frozen=True, slots=True)
class Fork:
    """A conversation that was forked from another.

    Attributes:
        conversation_id: Its root.
        seq: The last event it shares with the other one; 0 if none.
    """

    conversation_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a conversation is created with, if not with nothing: a fork's copy, or an import.

    The values are taken as they stand: totals and counters of the head may count what is not among the
    events, since a fork begins in the middle of a log.

    Attributes:
        head: The head, its id that of the new conversation.
        segments: The chain, oldest first, with summary records; the last one is open.
        events: Events `[head.first_seq, head.last_seq]` at their places.
        ancestor: The conversation it is a fork of, the same owner's, which must be there; `None` for a
            conversation of its own.
        fork_seq: The last event that both share.
    """

    head: Head
    segments: tuple[Segment, ...]
    events: tuple[Event, ...]
    ancestor: str | None = None
    fork_seq: int = 0

    def check(self, conversation_id: str) -> None:
        """Raise `InvalidSetting` unless head, chain and events belong together."""
        head, tip = self.head, self.segments[-1] if self.segments else None
        seqs = [event.seq for event in self.events]
        if head.conversation_id != conversation_id or head.fence or head.lease_s:
            raise InvalidSetting(f"the head of {conversation_id!r} must be its own, without fence and lease")
        if not _counts(seqs, head.first_seq, head.last_seq):
            raise InvalidSetting(f"the events must be {head.first_seq} to {head.last_seq} without a gap")
        if len({event.event_id for event in self.events}) < len(seqs):
            raise InvalidSetting("two of the events share an id; each event of a log has its own")
        if (
            tip is None
            or tip.end_seq is not None
            or (tip.index, tip.start_seq) != (head.index, head.start_seq)
        ):
            raise InvalidSetting(f"the last of the segments must be the open one, {head.session_id!r}")
        if not _counts([segment.index for segment in self.segments], 0, head.index):
            raise InvalidSetting("the segments must be numbered from 0 without a gap")


def _counts(numbers: Sequence[int], first: int, last: int) -> bool:
    """Whether these are all from first to last; costs what is there, whatever `last` claims."""
    return len(numbers) == last - first + 1 and all(n == i for i, n in enumerate(numbers, first))
