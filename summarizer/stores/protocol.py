"""What a store promises. The laws live here; the engines only keep them.

A conversation is one log of events, a chain of sessions over it (ranges that partition
it), a head (a few numbers that say where it stands) and settings. Every call takes the
owner: the key of everything is (owner, root), so another owner's id is a missing one.

Every write is one transaction and, once the call returns, is there after `kill -9` of this process. A call
that raises `StoreUnavailable` may or may not have written; to repeat it with the same event ids is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol

from ..events import Counters, Effects, Event

__all__ = [
    "ANY_OWNER",
    "HEAD_ONLY",
    "AnyOwner",
    "Appended",
    "Claim",
    "ConversationRow",
    "Erased",
    "EventStore",
    "Head",
    "Loaded",
    "Owner",
    "Segment",
    "conversation_digest",
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
        opened_seq: Seq of the event that opened the tip, 0 for the first session.
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
        first_seq: Oldest event still kept; above 1 once `retain` removed segments.
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
        summary: The tip's summary record, as `segment` was given it; `None` for the first
            session, and if `after_seq` was given and the tip was opened before (`opened_seq <= after_seq`).
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
        parent_id: The session before it, `None` for the first.
        index: Number in the chain, from 0.
        start_seq: First seq of its range.
        end_seq: Last seq of its range, `None` while it is open. May be `start_seq - 1`
            only for a range that holds nothing.
        start_tokens: Raw tokens of the log before `start_seq`.
        opened_at: When it was opened, aware, UTC, by the store's clock.
        summary: The summary record that seeds it; `None` for the first session, or if not asked for.
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


Durability = Literal["process", "power", "replica"]
"""What an acknowledged write survives: this process's death; the machine's; the loss of one server."""


class EventStore(Protocol):
    """Where logs live. All implementations pass one contract suite.

    A `session_id` may be any id of a chain: writes and `load` go to the tip. An id `ROOT~N` beyond the
    tip is `SessionNotFound`. Errors common to all calls: `SessionNotFound`, `SessionErased`
    (writes to an erased conversation; reads say `SessionNotFound`), `StoreUnavailable`,
    `StoreNotWritable`, `SchemaTooNew`. A closed store may be used again; it opens anew.
    """

    @property
    def url(self) -> str:
        """Where it is, passwords masked."""
        ...

    async def create(self, owner: Owner, conversation_id: str, settings: Mapping[str, Any]) -> Head:
        """Make an empty conversation with its first session.

        The owner's index entry is written before the conversation.

        Raises:
            SessionExists: The id is taken; nothing was changed.
            SessionErased: The id was erased within the last 24 hours.
        """
        ...

    async def append(
        self,
        owner: Owner,
        session_id: str,
        events: Sequence[Event],
        *,
        expect: int | None = None,
        after_seq: int | None = None,
    ) -> Appended:
        """Append a batch (1 or more events) at the end of the log: all or nothing, one round trip.

        Seqs are consecutive; no other batch is interleaved. `events.batch_effects` of the
        batch is added to the head in the same transaction. If the first event's id is in the log
        and the whole batch matches, nothing is written and the original seqs come back; if only a part
        matches, `PartialBatch`. This check comes before `expect`. Ids are remembered
        for good (SQLite, memory) or at least while their event is in the open segment and 24 hours (Redis).

        Args:
            owner: The conversation's owner.
            session_id: Any id of the chain.
            events: The batch; ids differ from one another.
            expect: The `last_seq` the caller believes in.
            after_seq: Also return what others wrote after this seq.

        Raises:
            StoreConflict: `expect` is not the log's last seq; nothing was written.
            PartialBatch: See above.
            ValueTooLarge: One encoded event exceeds `max_event_bytes`.
        """
        ...

    async def load(self, owner: Owner, session_id: str, *, after_seq: int | None = None) -> Loaded:
        """The open segment as one consistent snapshot, in one round trip."""
        ...

    async def read(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        after_seq: int = 0,
        until_seq: int | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        """Events of `(after_seq, until_seq]` over all segments, oldest first, at most `limit`."""
        ...

    async def segments(
        self, owner: Owner, conversation_id: str, *, summaries: bool = False
    ) -> tuple[Segment, ...]:
        """The chain, oldest first; with their summary records if asked."""
        ...

    async def claim(
        self, owner: Owner, session_id: str, *, index: int, lease_s: float, preempt: bool = False
    ) -> Claim:
        """Take the lease on segmenting the tip `index`, by the store's clock.

        Gives a fence number larger than any before, if nobody holds a live lease (or `preempt`) and the tip
        is still `index`. A taken-over holder finds its fence stale at `segment`.
        """
        ...

    async def renew(self, owner: Owner, session_id: str, *, fence: int, lease_s: float) -> bool:
        """Extend the lease from now; `False` if the fence is stale."""
        ...

    async def release(self, owner: Owner, session_id: str, *, fence: int) -> None:
        """Give the lease back; does nothing if the fence is stale or the conversation is gone."""
        ...

    async def segment(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        index: int,
        cut: int,
        summary: Mapping[str, Any],
        seed_tokens: int,
        fence: int,
        events: Sequence[Event],
    ) -> Head:
        """Hand over, in one transaction: close session `index` at `cut`, open the next, append `events`.

        The new head has `start_seq = cut + 1`, `start_tokens` = the cumulative tokens at
        `cut`, `opened_seq` = seq of the first of `events` (the `segment.created` event), `opened_turns` =
        `counters.user_messages` before `events`, no lease, and keeps `report` (the manager
        ignores a report older than `opened_seq`).

        Repeating a call that was committed is safe: if all of `events` are in the log and the tip is
        beyond `index`, nothing is written, whatever the fence, and the head comes back as it is now.

        Args:
            owner: The conversation's owner.
            conversation_id: The root id.
            index: The session to close; must be the tip.
            cut: Last seq of the closed session, in `[start_seq - 1, last_seq]`.
            summary: The summary record, JSON.
            seed_tokens: Raw tokens of the seed as it is sent.
            fence: The claim's number.
            events: Appended by the rules of `append`; at least one.

        Raises:
            PartialBatch: Some of `events` are in the log, or all while `index` is open; nothing was written.
            StaleFence: Another claim was made since; nothing was written.
            StoreConflict: The tip is not `index`, or the cut is outside its range; nothing was written.
        """
        ...

    async def list(
        self, owner: Owner | AnyOwner, *, limit: int = 50, after: ConversationRow | None = None
    ) -> tuple[ConversationRow, ...]:
        """Conversations, newest first by creation, ties by id; the page after the row `after`."""
        ...

    async def retain(self, owner: Owner, conversation_id: str, *, before_index: int) -> int:
        """Remove the events of closed segments with a lower index; the number of events removed.

        Segments and their summaries stay, seqs and totals do not change. `head.first_seq` grows.
        """
        ...

    async def expire(self, owner: Owner | AnyOwner, *, idle_s: float) -> Erased:
        """Remove conversations to which nothing was written for `idle_s` seconds; no tombstones."""
        ...

    async def erase(self, owner: Owner, conversation_id: str | None = None) -> Erased:
        """Remove one conversation, or all of an owner's; a tombstone refuses writes to each id for 24 hours.

        Erasing what is not there gives zeros.
        """
        ...

    async def close(self) -> None:
        """Wait for writes under way and let go of files, threads and connections."""
        ...


def conversation_digest(owner: Owner, conversation_id: str) -> str:
    """24 hex characters that stand for (owner, root): part of keys, and all that a tombstone keeps."""
    name = f"{'-' if owner is None else '=' + owner}\x00{conversation_id}"
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
