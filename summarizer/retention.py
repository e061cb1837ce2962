"""Retention: what a conversation need not keep goes after a segmentation, by whole closed segments.

Everything else here keeps everything. What is removed is lost: no read, no recall and no later summary finds
it, and a summary's sources lead nowhere. Summaries, totals and seqs stay.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .errors import InvalidSetting, SummarizerError
from .events import Event, EventKind
from .stores.protocol import EventStore, Head, Loaded, Owner
from .telemetry import log
from .units import left_open, open_calls

__all__ = ["Retain", "Retention", "checked_retain"]

Retain = int | timedelta
"""How many closed segments keep their events, or how old the newest event of one may be."""

_FIRST_PAGE: Final = 64
_PAGE: Final = 1024
"""Events that are read at once: few at first, since mostly one short segment is looked at; then ever more."""
_OF_GUARD: Final = frozenset({EventKind.GUARD, EventKind.GUARD_SNAPSHOT})


@dataclass(frozen=True, slots=True)
class _Closed:
    """A closed segment that still has its events."""

    index: int
    events: tuple[Event, ...]

    @property
    def guarded(self) -> bool:
        """Whether the guard's state follows from it."""
        return any(
            event.kind in _OF_GUARD or (event.message is not None and bool(event.message.tool_calls))
            for event in self.events
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes the events of one conversation's oldest segments.

    A segment with a call that a result may still answer stays, and all after it. The guard's state is
    written down before the events that led to it go.

    Attributes:
        store: Where its log lives.
        owner: Its owner.
        conversation_id: Its root.
        keep: What stays.
        clock: Aware UTC now.
        carry_guard: Writes a snapshot of the guard as the log has it; `False` if none can be written.
    """

    store: EventStore
    owner: Owner
    conversation_id: str
    keep: Retain
    clock: Callable[[], datetime]
    carry_guard: Callable[[], Awaitable[bool]]

    async def carry_out(self) -> int:
        """Remove what need not stay.

        A failure is logged, and what was to go goes after the next segmentation.

        Returns:
            How many events were removed.

        Cost: reads what is removed, and about one segment more, whatever the length of the chain.
        """
        try:
            removed = await self._remove()
        except SummarizerError as error:
            log.warning("retain.failed", conversation_id=self.conversation_id, error=type(error).__name__)
            return 0
        if removed:
            log.info("segment.removed", conversation_id=self.conversation_id, events=removed)
        return removed

    async def _remove(self) -> int:
        loaded = await self.store.load(self.owner, self.conversation_id)
        waiting = frozenset(left_open(loaded.events))
        last, guarded = None, False
        async with aclosing(self._closed(loaded.head)) as segments:
            async for closed in segments:
                if not self._may_go(closed, waiting):
                    break
                last, guarded = closed, guarded or closed.guarded
        if last is None:
            return 0
        if guarded and not await self._guard_stays(loaded, last.events[-1].seq if last.events else 0):
            log.warning("retain.skipped", conversation_id=self.conversation_id, reason_code="guard_not_kept")
            return 0
        return await self.store.retain(self.owner, self.conversation_id, before_index=last.index + 1)

    def _may_go(self, closed: _Closed, waiting: frozenset[str]) -> bool:
        if isinstance(self.keep, timedelta):
            oldest = self.clock() - self.keep
            if any(event.at >= oldest for event in closed.events):
                return False
        return waiting.isdisjoint(open_calls(closed.events)) if waiting else True

    async def _closed(self, head: Head) -> AsyncGenerator[_Closed]:
        """The closed segments that have events and may be too many, oldest first.

        Each ends where the event says that opened the next one, which stands behind that cut.
        """
        end = head.index if isinstance(self.keep, timedelta) else head.index - self.keep
        after, limit, kept = head.first_seq - 1, _FIRST_PAGE, list[Event]()
        while end > 0 and after < head.opened_seq:
            page = await self.store.read(
                self.owner, self.conversation_id, after_seq=after, until_seq=head.opened_seq, limit=limit
            )
            if not page:
                return
            after, limit = page[-1].seq, min(_PAGE, 2 * limit)
            for event in page:
                kept.append(event)
                if event.kind is not EventKind.SEGMENTED or event.data["cut"] < head.first_seq:
                    continue
                index, cut = event.data["index"] - 1, event.data["cut"]
                if index >= end:
                    return
                yield _Closed(index, tuple(e for e in kept if e.seq <= cut))
                if index + 1 >= end:
                    return
                kept = [e for e in kept if e.seq > cut]

    async def _guard_stays(self, loaded: Loaded, through: int) -> bool:
        """Whether the guard can be had from what stays behind `through`, made so if need be."""
        newest = _snapshot_seq(loaded.events)
        if newest > through:
            found = await self.store.read(self.owner, self.conversation_id, after_seq=newest - 1, limit=1)
            if found and int(found[0].data["through"]) >= through:
                return True
        return await self.carry_guard()


def checked_retain(keep: Retain | None) -> Retain | None:
    """What was given, if it says how much stays.

    Raises:
        InvalidSetting: Neither a whole number from 0 nor a timedelta above zero.
    """
    good = keep > timedelta(0) if isinstance(keep, timedelta) else keep is None or _is_count(keep)
    if not good:
        raise InvalidSetting(
            f"retain={keep!r}: use None for everything, a number of closed segments from 0, or a timedelta"
        )
    return keep


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _snapshot_seq(events: Sequence[Event]) -> int:
    """Seq of the guard's newest snapshot, in the open segment or before it; 0 if there is none."""
    told = (int(e.data.get("guard_seq", 0)) for e in events if e.kind is EventKind.SEGMENTED)
    return max((*told, *(e.seq for e in events if e.kind is EventKind.GUARD_SNAPSHOT)), default=0)
