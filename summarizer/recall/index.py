"""Bringing a conversation's index up to its log, and asking it.

Where it lies in the store's file, it follows the log when a segment is sealed; everywhere it does when it is
asked, and never when something is appended. What is newer than the index, up to `SCANNED` events, is looked
through instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from ..events import Event
from ..stores.protocol import EventStore, Head, Owner
from ..stores.sqlite.postings import Mark, Passage, Place
from ..telemetry import log
from .resident import shelf_of
from .wording import FRAME_OPEN, TOOL_NAME
from .words import passages, words

__all__ = ["SCANNED", "Index", "text_of"]

WORDS_VERSION: Final = 3
"""Of the rules in `words.py` and `text_of`; an index made by others is made anew."""
SCANNED: Final = 128
"""Most events that one query looks through without an index: some 5 ms at 100 words each (2026-11)."""
_AT_ONCE: Final = 512
"""Events indexed in one transaction, in some 15 ms; other writers of the file wait for it."""
_AT_SEAL: Final = 4096
"""Most events indexed when a segment is sealed; what an import left behind is taken up in such steps."""
_TRIES: Final = 3


class Postings(Protocol):
    """Where the words of one conversation stand; see `stores.sqlite.postings`."""

    async def mark(self, words: int) -> Mark | None: ...

    async def begin(self, words: int, *, damaged: bool = False) -> Mark: ...

    async def add(
        self, after: Mark, through: int, through_id: str, passages: Sequence[Passage]
    ) -> Mark | None: ...

    async def find(
        self, mark: Mark, queries: Sequence[Sequence[str]], most: int
    ) -> tuple[Sequence[Place], ...] | None: ...


@runtime_checkable
class _KeepsPostings(Protocol):
    def postings(self, owner: Owner, conversation_id: str) -> Postings: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the index says.

    Attributes:
        places: For each query, where all its words stand, newest first.
        passages: How many passages are indexed, those of removed events included.
        through: Up to which event.
        since: After which event; the index says nothing of those up to it.
        failed: Whether that is because the index could not be made.
        open_from: After which event the log is to be looked through; what lies between is not searched.
    """

    places: tuple[Sequence[Place], ...]
    passages: int = 0
    through: int = 0
    since: int = 0
    failed: bool = False
    open_from: int = 0


class Index:
    """The index of one conversation, in the store's file or in memory.

    Args:
        store: The store.
        owner: The owner.
        head: The head as it was just read.
    """

    def __init__(self, store: EventStore, owner: Owner, head: Head) -> None:
        self._store = store
        self._owner = owner
        self._head = head
        self._root = head.conversation_id
        self._resident = not isinstance(store, _KeepsPostings)
        self._postings: Postings = (
            store.postings(owner, self._root)
            if isinstance(store, _KeepsPostings)
            else shelf_of(store).take(owner, self._root)
        )

    async def ask(self, queries: Sequence[Sequence[str]], most: int, *, at_most: int | None = None) -> Answer:
        """Where the words of each query stand, once the index is within `SCANNED` events of the log's end.

        A damaged index is made anew from the log.

        Args:
            queries: Words that stand together.
            most: Most places for each.
            at_most: Most events to index before answering; `None`: all there are.

        Raises:
            SessionNotFound: The conversation was removed meanwhile.
            StoreError: The store failed.
        """
        for _ in range(_TRIES):
            mark = await self._current(at_most)
            if mark is None:
                before = self._head.first_seq - 1
                return Answer(tuple([] for _ in queries), 0, before, open_from=before)
            found = await self._postings.find(mark, queries, most)
            if found is not None:
                behind = self._head.last_seq - self._done(mark) > SCANNED
                open_from = self._newest if behind else mark.through
                return Answer(
                    tuple(map(self._kept, found)),
                    mark.passages,
                    mark.through,
                    mark.since,
                    open_from=open_from,
                )
            again = await self._postings.mark(WORDS_VERSION)
            if again is not None and again.secret == mark.secret:
                log.warning("recall.index_rebuilt", conversation_id=self._root, through=mark.through)
                await self._postings.begin(WORDS_VERSION, damaged=True)
        # Somebody damages it as fast as it is made: the open end of the log is what is left to look through.
        since = self._newest
        return Answer(tuple([] for _ in queries), 0, since, since, failed=True, open_from=since)

    async def seal(self) -> None:
        """Take up what is sealed, a bounded part of it at a time, where the index lies in the store's file.

        Raises:
            InvalidSetting: SQLite was built without FTS5.
            SessionNotFound: The conversation was removed meanwhile.
            StoreError: The store failed.
        """
        if self._resident:
            return
        mark, sealed = await self._postings.mark(WORDS_VERSION), self._head.start_seq - 1
        done = self._done(mark)
        if done < sealed:
            await self._grow(mark, min(sealed, done + _AT_SEAL), 0)

    def _kept(self, places: Sequence[Place]) -> Sequence[Place]:
        """Those that the log still holds: an index outlives events that are removed."""
        first = self._head.first_seq
        return [place for place in places if place[0] >= first]

    @property
    def _newest(self) -> int:
        """After which event those stand that a query looks through itself."""
        return max(self._head.first_seq - 1, self._head.last_seq - SCANNED)

    async def _current(self, at_most: int | None) -> Mark | None:
        """The mark, near the end of the log; `None` if the log is short and was never indexed."""
        mark, head = await self._postings.mark(WORDS_VERSION), self._head
        if mark is not None and self._resident and not await self._is_of_this_log(mark):
            mark = None
        done = self._done(mark)
        if head.last_seq - done <= SCANNED:
            return mark
        until = head.last_seq if at_most is None else min(head.last_seq, done + at_most)
        if head.last_seq - until > SCANNED:
            log.info("recall.index_behind", conversation_id=self._root, after=until, through=self._newest)
        return await self._grow(mark, until, SCANNED if until == head.last_seq else 0)

    def _done(self, mark: Mark | None) -> int:
        """Up to which event there is nothing to index."""
        return max(0 if mark is None else mark.through, self._head.first_seq - 1)

    async def _grow(self, mark: Mark | None, until: int, left: int) -> Mark:
        """Index up to the event `until`, or to within `left` events of it."""
        if mark is None:
            mark = await self._postings.begin(WORDS_VERSION)
        tries = _TRIES
        while tries and until - self._done(mark) > left:
            events = await self._store.read(
                self._owner, self._root, after_seq=self._done(mark), until_seq=until, limit=_AT_ONCE
            )
            if not events:  # Retention removed what was to be read.
                return mark
            found = await asyncio.to_thread(_passages_of, events)
            added = await self._postings.add(mark, events[-1].seq, events[-1].event_id, found)
            if added is None:
                if not self._resident:  # In memory it was let go of for others that are used more.
                    log.warning("recall.index_rebuilt", conversation_id=self._root, through=mark.through)
                tries -= 1
                added = await self._postings.begin(WORDS_VERSION)
            mark = added
        return mark

    async def _is_of_this_log(self, mark: Mark) -> bool:
        """Whether the log is still the one that was indexed: its id may have been erased and used anew."""
        if mark.through < self._head.first_seq:
            return mark.through == 0
        found = await self._store.read(self._owner, self._root, after_seq=mark.through - 1, limit=1)
        return bool(found) and found[0].event_id == mark.through_id


def text_of(event: Event) -> str:
    """What can be found of an event: a message's text and the calls it makes; empty for all else.

    What recall itself brought back, and its own calls, are left out: a search would find the one before.
    """
    message = event.message
    if message is None:
        return ""
    text = message.text
    if message.role in ("tool", "function") and text.startswith(FRAME_OPEN):
        return ""
    calls = [f"{call.name} {call.arguments_json}" for call in message.tool_calls if call.name != TOOL_NAME]
    return "\n".join([text, *calls] if text else calls)


def _passages_of(events: Sequence[Event]) -> list[Passage]:
    return [passage for event in events for passage in _of(event)]


def _of(event: Event) -> Iterator[Passage]:
    for number, text in enumerate(passages(text_of(event))):
        yield Passage(event.seq, number, frozenset(words(text)))
