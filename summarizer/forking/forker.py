"""Forking a conversation: find the place, read what a fork copies, write it at once."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ..access import Access
from ..ancestry import PAGE, Ancestor, head_of, inheritance_of, read_log, read_path
from ..conversation import Conversation, cache_of
from ..errors import CannotFork, SessionNotFound
from ..events import Counters, Event, EventKind, batch_effects
from ..gauge import counter_of
from ..messages import jsonable
from ..recording import Recorder
from ..standing import standing
from ..stores.protocol import Head, Loaded
from .begun import Part, beginning_of, inherited
from .places import Place, check_cut, is_turn_start, records_behind

if TYPE_CHECKING:
    from ..tool_calls import SessionTools

__all__ = ["Forker"]

_FIRST_PAGE: Final = 64
"""Events that are looked through at first for the place behind some turns: mostly the last few are wanted."""
_REMOVED: Final = "the events there were removed by retention, expiry or erasure"


@dataclass(frozen=True, slots=True)
class _Source:
    """The conversation that holds the place, and those it was forked from."""

    head: Head
    ancestors: tuple[Ancestor, ...]


class Forker:
    """Forks the conversation that `access` leads to.

    Args:
        access: The conversation.
        tools: The session's guard; asked for only if tools were used before what a fork copies.
        clock: Aware UTC now.
    """

    def __init__(
        self, access: Access, tools: Callable[[], SessionTools], clock: Callable[[], datetime]
    ) -> None:
        self._access = access
        self._tools = tools
        self._clock = clock

    async def fork(
        self,
        place: Place,
        *,
        session_id: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Make the fork; its root. See `SessionManager.fork`."""
        access = self._access
        try:
            conversation = await access.current()
        except SessionNotFound as error:
            hint = "write to it first, or check the id and the owner"
            raise SessionNotFound(access.session_id, hint) from error
        if place.turns is not None:
            place = await self._behind_turns(conversation, place.turns)
        source, part = await self._part(conversation, place)
        root = secrets.token_urlsafe(16) if session_id is None else session_id
        event_id = await self._event_id(source, part)
        inheritance = inherited(part, source.ancestors, event_id)
        counter = counter_of(conversation)
        settings = {**conversation.settings, "fork": inheritance.to_dict()}
        if system_prompt is not None:
            settings |= {"system_prompt": system_prompt, "system_tokens": counter.count(system_prompt)}
        if metadata:
            settings["metadata"] = {**settings["metadata"], **jsonable(metadata)}
        known = await self._known_of_calls(source, part)
        recorder = Recorder(counter, None, clock=self._clock)
        added = [] if known is None else [recorder.record(EventKind.GUARD_SNAPSHOT, known)]
        beginning = beginning_of(part, root, counter.count, now=self._clock(), added=added)
        head = await access.store.create(access.owner, root, settings, beginning=beginning)
        summary = beginning.segments[0].summary
        made = Conversation.of(Loaded(head, settings, summary, beginning.events))
        cache_of(access.store).keep(access.owner, root, made)
        return root

    async def _behind_turns(self, conversation: Conversation, turns: int) -> Place:
        """The place behind so many turns: before the user message that opens the next."""
        every = conversation.head.counters.user_messages - await self._turns_taken_back(conversation)
        until = conversation.head.last_seq
        left = every - turns if turns >= 0 else -turns
        if not 0 <= left <= every:
            raise CannotFork(f"turns={turns}", f"the conversation has {every} turns")
        if not left:
            return Place()
        ancestors, page = inheritance_of(conversation.settings).ancestors, _FIRST_PAGE
        while until > 0:
            after, page = max(0, until - page), min(2 * page, PAGE)
            events = await self._read(_Source(conversation.head, ancestors), after, until)
            for event in reversed(standing(events, conversation.gone)):
                left -= is_turn_start(event)
                if not left:
                    return Place(before=event.seq)
            until = after
        raise CannotFork(f"turns={turns}", _REMOVED)

    async def _turns_taken_back(self, conversation: Conversation) -> int:
        gone = conversation.gone
        if not gone:
            return 0
        source = _Source(conversation.head, inheritance_of(conversation.settings).ancestors)
        events = await self._read(source, min(gone) - 1, max(gone))
        return sum(is_turn_start(event) for event in events if event.seq in gone)

    async def _part(self, conversation: Conversation, place: Place) -> tuple[_Source, Part]:
        """The session that holds the place, up to there."""
        store, owner = self._access.store, self._access.owner
        last, inside = place.cut(conversation.head.last_seq)
        source = await self._source(conversation, inside)
        root, head = source.head.conversation_id, source.head
        chain = await store.segments(owner, root, summaries=True)
        chain = chain[: head.index + 1]
        segment = chain[bisect_right(chain, inside, key=lambda one: one.start_seq) - 1]
        end = head.last_seq if segment.index == head.index else chain[segment.index + 1].start_seq - 1
        kept = await read_log(store, owner, root, segment.start_seq - 1, last)
        left = await read_log(store, owner, root, last, max(last, end))
        if len(kept) != last - segment.start_seq + 1 or len(left) != max(last, end) - last:
            raise CannotFork(f"behind event {last}", _REMOVED)
        given = place.event
        if given is not None and given.event_id not in [e.event_id for e in (*kept[-1:], *left[:1])]:
            raise CannotFork(f"event {given.event_id!r}", "it is no event of this conversation")
        more = records_behind(left) if place.at is not None else 0
        kept, left = kept + left[:more], left[more:]
        check_cut(kept, left)
        counters = await self._counters(source, kept, last + more)
        return source, Part(head, segment, tuple(kept), tuple(left), counters)

    async def _counters(self, source: _Source, kept: Sequence[Event], last: int) -> Counters:
        """Totals of the path up to `last`: what came before added up, or what came after taken off."""
        head, store, owner = source.head, self._access.store, self._access.owner
        root, start = head.conversation_id, kept[0].seq if kept else last + 1
        if head.first_seq == 1 and start < head.last_seq - last:
            before = await read_log(store, owner, root, 0, start - 1)
            if len(before) == start - 1:
                return batch_effects([*before, *kept]).counters
        after = await read_log(store, owner, root, last, head.last_seq)
        if len(after) != head.last_seq - last:
            raise CannotFork(f"behind event {last}", _REMOVED)
        return head.counters.minus(batch_effects(after).counters)

    async def _source(self, conversation: Conversation, seq: int) -> _Source:
        """The conversation itself, or the nearest ancestor that holds the event."""
        ancestors = inheritance_of(conversation.settings).ancestors
        if seq >= conversation.head.first_seq:
            return _Source(conversation.head, ancestors)
        for i in range(len(ancestors) - 1, -1, -1):
            head = await head_of(self._access.store, self._access.owner, ancestors[i])
            if head is not None and head.first_seq <= seq:
                return _Source(head, ancestors[:i])
        raise CannotFork(f"event {seq}", _REMOVED, (conversation.head.first_seq,))

    async def _event_id(self, source: _Source, part: Part) -> str | None:
        """The id of the last event that is kept, wherever it lies."""
        if part.kept:
            return part.kept[-1].event_id
        found = await self._read(source, part.last_seq - 1, part.last_seq) if part.last_seq else []
        return found[0].event_id if found else None

    async def _known_of_calls(self, source: _Source, part: Part) -> dict[str, Any] | None:
        """A snapshot of the guard at the place; `None` where what is copied tells all there is to know."""
        kept, start = part.kept, part.segment.start_seq
        snapshot = next((e for e in reversed(kept) if e.kind is EventKind.GUARD_SNAPSHOT), None)
        through = 0 if snapshot is None else int(snapshot.data["through"])
        opening = part.opening((*kept, *part.left))
        told = 0 if opening is None else int(opening.data.get("guard_seq", 0))
        before = part.counters.tool_calls - batch_effects(kept).counters.tool_calls
        if start == 1 or through >= start - 1 or not (before or told):
            return None
        if snapshot is None and 0 < told <= part.last_seq:
            snapshot = next(iter(await self._read(source, told - 1, told)), None)
            through = 0 if snapshot is None else int(snapshot.data["through"])
        events = await self._read(source, through, part.last_seq)
        return await asyncio.to_thread(self._snapshot, snapshot, events)

    def _snapshot(self, snapshot: Event | None, events: Sequence[Event]) -> dict[str, Any] | None:
        from ..tool_calls.inherited import inherited_snapshot

        return inherited_snapshot(snapshot, events, self._tools().guard.spec_of)

    async def _read(self, source: _Source, after: int, until: int) -> list[Event]:
        store, owner = self._access.store, self._access.owner
        return await read_path(
            store,
            owner,
            source.head.conversation_id,
            source.ancestors,
            after_seq=after,
            until_seq=until,
        )
