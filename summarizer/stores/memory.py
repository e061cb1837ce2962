"""The log in this process's memory: for tests, demos and throw-away sessions.

It is the reference: plain enough to be read as the store's specification, and the
model that the contract suite compares the other stores with. Nothing survives the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..config import MAX_EVENT_BYTES, TOMBSTONE_S, parse_session_id
from ..errors import (
    PartialBatch,
    SessionErased,
    SessionExists,
    SessionNotFound,
    StaleFence,
    StoreConflict,
    ValueTooLarge,
)
from ..events import Event, encode_event
from .memory_log import MemoryLog
from .protocol import (
    ANY_OWNER,
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
from .removal import events_removed

if TYPE_CHECKING:
    from procedural.store import InMemoryTraceStore

__all__ = ["MemoryStore"]

_SURELY_SMALL = 100_000
"""Characters of plain content below which an event is not encoded only to be weighed."""


class MemoryStore:
    """An `EventStore` in memory; safe for the tasks of one event loop and for threads that take turns.

    Args:
        clock: Seconds, for leases, expiry and tombstones.
        max_event_bytes: Largest encoded event.
        name: For `url` only; see `open_store`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        max_event_bytes: int = MAX_EVENT_BYTES,
        name: str = "",
    ) -> None:
        self._name = name
        self._clock = clock
        self._max_event_bytes = max_event_bytes
        self._surely_small = min(_SURELY_SMALL, max_event_bytes // 16)
        self._conversations: dict[tuple[Owner, str], MemoryLog] = {}
        self._tombstones: dict[tuple[Owner, str], float] = {}
        self._traces: InMemoryTraceStore | None = None

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def traces(self) -> InMemoryTraceStore:
        """The traces of tool calls beside this log; see `open_trace_store`."""
        if self._traces is None:
            from procedural.store import InMemoryTraceStore

            self._traces = InMemoryTraceStore()
        return self._traces

    async def create(
        self,
        owner: Owner,
        conversation_id: str,
        settings: Mapping[str, Any],
        *,
        beginning: Beginning | None = None,
    ) -> Head:
        root, index = parse_session_id(conversation_id)
        if index:
            raise SessionNotFound(conversation_id, "children are opened by segmentation only")
        key = (owner, root)
        if self._tombstones.get(key, 0.0) > self._clock():
            raise SessionErased(root)
        if key in self._conversations:
            raise SessionExists(root)
        now = self._now()
        conversation = MemoryLog(now, self._clock(), settings, Head(root))
        if beginning is None:
            conversation.segments.append(Segment(root, None, 0, 1, None, 0, now))
        else:
            self._begin(owner, conversation, beginning)
        self._conversations[key] = conversation
        return conversation.head

    async def append(
        self,
        owner: Owner,
        session_id: str,
        events: Sequence[Event],
        *,
        expect: int | None = None,
        after_seq: int | None = None,
    ) -> Appended:
        conversation = self._find(owner, session_id, write=True)
        before = conversation.head.last_seq
        known = conversation.known(events)
        placed: tuple[Event, ...] = ()
        if known is None:
            if expect is not None and expect != before:
                raise StoreConflict(f"expected last seq {expect}, the log is at {before}; load and try again")
            placed = self._write(conversation, events)
        first = known or before + 1
        last = first + len(events) - 1
        others: tuple[Event, ...] = ()
        if after_seq is not None and (after_seq < first - 1 or last < conversation.head.last_seq):
            newer = conversation.range(after_seq + 1)
            others = tuple([event for event in newer if not first <= event.seq <= last])
        return Appended(self._head(conversation), first, last, known is not None, others, placed)

    async def load(self, owner: Owner, session_id: str, *, after_seq: int | None = None) -> Loaded:
        conversation = self._find(owner, session_id)
        head, after = conversation.head, -1 if after_seq is None else after_seq
        return Loaded(
            self._head(conversation),
            conversation.settings if head.settings_seq > after else None,
            conversation.segments[-1].summary if head.opened_seq > after else None,
            tuple(conversation.range(max(head.start_seq, after + 1))),
        )

    async def read(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        after_seq: int = 0,
        until_seq: int | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        conversation = self._find(owner, conversation_id)
        events = conversation.range(after_seq + 1, until_seq)
        return tuple(events if limit is None else events[:limit])

    async def segments(
        self, owner: Owner, conversation_id: str, *, summaries: bool = False
    ) -> tuple[Segment, ...]:
        found = self._find(owner, conversation_id).segments
        return tuple(found if summaries else (replace(s, summary=None) for s in found))

    async def forks(self, owner: Owner, conversation_id: str) -> tuple[Fork, ...]:
        found = [Fork(root, seq) for root, seq in self._find(owner, conversation_id).forks.items()]
        return tuple(sorted(found, key=lambda fork: (fork.seq, fork.conversation_id)))

    async def claim(
        self, owner: Owner, session_id: str, *, index: int, lease_s: float, preempt: bool = False
    ) -> Claim:
        conversation = self._find(owner, session_id, write=True)
        held = conversation.lease_until > self._clock() and not preempt
        if held or conversation.head.index != index:
            return Claim(None, self._head(conversation))
        conversation.head = replace(conversation.head, fence=conversation.head.fence + 1)
        conversation.lease_until = self._clock() + lease_s
        return Claim(conversation.head.fence, self._head(conversation))

    async def renew(self, owner: Owner, session_id: str, *, fence: int, lease_s: float) -> bool:
        conversation = self._find(owner, session_id, write=True)
        if conversation.head.fence != fence:
            return False
        conversation.lease_until = self._clock() + lease_s
        return True

    async def release(self, owner: Owner, session_id: str, *, fence: int) -> None:
        conversation = self._conversations.get((owner, parse_session_id(session_id)[0]))
        if conversation is not None and conversation.head.fence == fence:
            conversation.lease_until = 0.0

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
        conversation = self._find(owner, conversation_id, write=True)
        head, known = conversation.head, conversation.known(events)
        if known is not None and head.index > index:
            return self._head(conversation)
        if head.fence != fence:
            raise StaleFence(f"fence {fence} is stale, the newest is {head.fence}; adopt the newer session")
        if head.index != index or not head.start_seq - 1 <= cut <= head.last_seq:
            raise StoreConflict(
                f"cannot close session {index} at seq {cut}: "
                f"the tip is {head.index}, open from {head.start_seq} to {head.last_seq}"
            )
        if known is not None:
            raise PartialBatch(f"batch of {events[0].event_id!r} is in the log already; use fresh event ids")
        start_tokens = conversation.tokens_at(cut)
        opened_seq, opened_turns = head.last_seq + 1, head.counters.user_messages
        self._write(conversation, events)
        child = replace(
            conversation.head,
            index=index + 1,
            start_seq=cut + 1,
            start_tokens=start_tokens,
            seed_tokens=seed_tokens,
            opened_seq=opened_seq,
            opened_turns=opened_turns,
        )
        conversation.open_child(child, summary, self._now())
        return self._head(conversation)

    async def list(
        self, owner: Owner | AnyOwner, *, limit: int = 50, after: ConversationRow | None = None
    ) -> tuple[ConversationRow, ...]:
        rows = [
            ConversationRow(root, who, c.created_at)
            for (who, root), c in self._conversations.items()
            if owner is ANY_OWNER or who == owner
        ]
        rows.sort(key=_newest_first)
        if after is not None:
            rows = [row for row in rows if _newest_first(row) > _newest_first(after)]
        return tuple(rows[:limit])

    async def retain(self, owner: Owner, conversation_id: str, *, before_index: int) -> int:
        conversation = self._find(owner, conversation_id, write=True)
        head = conversation.head
        first = conversation.segments[max(0, min(before_index, head.index))].start_seq
        removed = max(0, first - head.first_seq)
        del conversation.log[:removed]
        if removed:
            events_removed(self, owner, parse_session_id(conversation_id)[0], before=first)
        conversation.head = replace(head, first_seq=head.first_seq + removed)
        return removed

    async def expire(self, owner: Owner | AnyOwner, *, idle_s: float) -> Erased:
        old = self._clock() - idle_s
        return self._remove(
            [k for k, c in self._conversations.items() if _matches(owner, k[0]) and c.touched <= old]
        )

    async def erase(
        self, owner: Owner, conversation_id: str | None = None, *, keep_forks: bool = False
    ) -> Erased:
        root = None if conversation_id is None else parse_session_id(conversation_id)[0]
        keys = [k for k in self._conversations if k[0] == owner and root in (None, k[1])]
        if root is not None and not keep_forks:
            keys = [(owner, one) for key in keys for one in self._with_forks(*key)]
        for key in keys:
            self._tombstones[key] = self._clock() + TOMBSTONE_S
        traces = await self._traces.erase(owner) if root is None and self._traces is not None else 0
        return replace(self._remove(keys), traces=traces)

    async def close(self) -> None:
        """Does nothing: closing a connection to memory loses nothing."""

    def _begin(self, owner: Owner, conversation: MemoryLog, beginning: Beginning) -> None:
        root = conversation.head.conversation_id
        beginning.check(root)
        for event in beginning.events:
            self._check_size(event)
        conversation.begin(beginning)
        if beginning.ancestor is not None:
            self._find(owner, beginning.ancestor, write=True).forks[root] = beginning.fork_seq

    def _with_forks(self, owner: Owner, root: str) -> list[str]:
        """The conversation and all that were forked from it, from those too."""
        found = [root]
        for one in found:
            found += self._conversations[owner, one].forks
        return found

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _find(self, owner: Owner, session_id: str, *, write: bool = False) -> MemoryLog:
        conversation = self._conversations.get((owner, session_id))
        if conversation is not None:
            return conversation
        root, index = parse_session_id(session_id)
        conversation = self._conversations.get((owner, root))
        if conversation is None:
            if write and self._tombstones.get((owner, root), 0.0) > self._clock():
                raise SessionErased(session_id)
            raise SessionNotFound(session_id)
        if index > conversation.head.index:
            raise SessionNotFound(session_id)
        return conversation

    def _head(self, conversation: MemoryLog) -> Head:
        left = conversation.lease_until - self._clock() if conversation.lease_until else 0.0
        return replace(conversation.head, lease_s=left) if left > 0 else conversation.head

    def _write(self, conversation: MemoryLog, events: Sequence[Event]) -> tuple[Event, ...]:
        for event in events:
            self._check_size(event)
        conversation.touched = self._clock()
        return conversation.write(events)

    def _check_size(self, event: Event) -> None:
        message = event.message
        plain = message is not None and not message.tool_calls and not message.extra
        content = message.content if message is not None and plain else None
        if isinstance(content, str) and len(content) < self._surely_small:
            return
        size = len(encode_event(event).encode())
        if size > self._max_event_bytes:
            raise ValueTooLarge(size, self._max_event_bytes)

    def _remove(self, keys: list[tuple[Owner, str]]) -> Erased:
        gone = [self._conversations.pop(key) for key in keys]
        for key in keys:
            events_removed(self, *key)
        for (owner, root), conversation in zip(keys, gone, strict=True):
            ancestor = self._conversations.get((owner, conversation.ancestor or ""))
            if ancestor is not None:
                ancestor.forks.pop(root, None)
        return Erased(len(gone), sum(len(c.segments) for c in gone), sum(len(c.log) for c in gone))


def _matches(owner: Owner | AnyOwner, who: Owner) -> bool:
    return owner is ANY_OWNER or who == owner


def _newest_first(row: ConversationRow) -> tuple[float, str, bool, str]:
    return (-row.created_at.timestamp(), row.conversation_id, row.owner is not None, row.owner or "")
