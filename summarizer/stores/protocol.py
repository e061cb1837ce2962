"""What a store promises. The laws live here; the engines only keep them.

A conversation is one log of events, a chain of sessions over it (ranges that partition
it), a head (a few numbers that say where it stands) and settings. Every call takes the
owner: the key of everything is (owner, root), so another owner's id is a missing one.

Every write is one transaction and, once the call returns, is there after `kill -9` of this process. A call
that raises `StoreUnavailable` may or may not have written; to repeat it with the same event ids is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, Protocol

from ..events import Event
from .values import (
    ANY_OWNER,
    HEAD_ONLY,
    AnyOwner,
    Appended,
    Beginning,
    Claim,
    ConversationRow,
    Erased,
    Fork,
    Head,
    Loaded,
    Owner,
    Segment,
)

__all__ = [
    "ANY_OWNER",
    "HEAD_ONLY",
    "AnyOwner",
    "Appended",
    "Beginning",
    "Claim",
    "ConversationRow",
    "Durability",
    "Erased",
    "EventStore",
    "Fork",
    "Head",
    "Loaded",
    "Owner",
    "Segment",
    "conversation_digest",
]

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

    async def create(
        self,
        owner: Owner,
        conversation_id: str,
        settings: Mapping[str, Any],
        *,
        beginning: Beginning | None = None,
    ) -> Head:
        """Make a conversation with its first session: all or nothing, and empty unless it has a beginning.

        The owner's index entry is written before the conversation, and so is a fork's entry at its ancestor.

        Raises:
            SessionExists: The id is taken; nothing was changed.
            SessionErased: The id, or the ancestor, was erased within the last 24 hours.
            SessionNotFound: The ancestor is not there.
            InvalidSetting: Parts of the beginning do not belong together.
            ValueTooLarge: An event of the beginning exceeds `max_event_bytes`.
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

    async def forks(self, owner: Owner, conversation_id: str) -> tuple[Fork, ...]:
        """The conversations forked from this one that are there, by seq, then by id; O(forks)."""
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
        """Remove conversations to which nothing was written for `idle_s` seconds; no tombstones.

        Forks have their own idle time, and stay.
        """
        ...

    async def erase(
        self, owner: Owner, conversation_id: str | None = None, *, keep_forks: bool = False
    ) -> Erased:
        """Remove one conversation with all forks of it, or all of an owner's.

        A tombstone refuses writes to each id for 24 hours. Erasing what is not there gives zeros.
        `keep_forks` keeps the forks, which stand on their own: each holds what it copied.
        """
        ...

    async def close(self) -> None:
        """Wait for writes under way and let go of files, threads and connections."""
        ...


def conversation_digest(owner: Owner, conversation_id: str) -> str:
    """24 hex characters that stand for (owner, root): part of keys, and all that a tombstone keeps."""
    name = f"{'-' if owner is None else '=' + owner}\x00{conversation_id}"
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
