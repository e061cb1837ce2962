"""All pages of a conversation: what its log holds, with what the host said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..access import Access
from ..conversation import Conversation
from ..events import Event, EventKind
from ..gauge import counter_of
from ..memory import Page, wording
from ..memory.paging import unknown_page
from ..recording import Recorder
from ..units import memory_seqs
from .facts import Marks
from .reader import Reader, place_of

__all__ = ["Shelf"]

_KINDS = (EventKind.MEMORY, EventKind.MEMORY_SNAPSHOT)


class Shelf:
    """Reads and writes the pages of the conversation that `access` leads to.

    Attributes:
        access: The conversation.
        marks: What the host said of pages, as far as `catch_up` has read.
        reader: Reads pages from the log.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.marks = Marks()
        self.reader = Reader(access)
        self._newest: Event | None = None

    async def current(self) -> Conversation:
        """The conversation as it is now, its facts folded."""
        conversation = await self.access.current()
        await self.catch_up(conversation)
        return conversation

    async def catch_up(self, conversation: Conversation) -> None:
        """Fold what the log says of pages: in the open segment, and behind it what its opening names."""
        head, held = conversation.head, conversation.events
        if self._is_another(conversation):
            self.marks, self.reader = Marks(), Reader(self.access)
        marks = self.marks
        new = held[max(0, marks.seq + 1 - held[0].seq) :] if held else []
        before: list[Event] = []
        if marks.seq + 1 < head.start_seq:
            seqs = [seq for seq in memory_seqs(held) if marks.seq < seq < head.start_seq]
            before = await self.reader.events_at(conversation, seqs)
        told = [event for event in new if event.kind in _KINDS]
        marks.fold([*before, *told], new[-1].seq if new else head.start_seq - 1)
        self._newest = held[-1] if held else None

    def _is_another(self, conversation: Conversation) -> bool:
        """Whether the log that was known has expired, and another one has its id."""
        known, held = self._newest, conversation.events
        if known is None or conversation.head.last_seq < known.seq:
            return known is not None
        at = known.seq - held[0].seq if held else -1
        return 0 <= at < len(held) and held[at].event_id != known.event_id

    async def marked(self, conversation: Conversation) -> dict[str, Page]:
        """The pages of which the host said something, as far as they are there, in the order of the log."""
        marks = self.marks.listed()
        pages = await self.reader.pages(conversation, marks)
        return {page_id: self.as_marked(pages[page_id]) for page_id in marks if page_id in pages}

    def served(self, pages: Iterable[Page]) -> dict[str, Page]:
        """Pages by their ids with what the host said of them, those aside that it took out."""
        return {page.id: self.as_marked(page) for page in pages if not self.marks.get(page.id).forgotten}

    def as_marked(self, page: Page) -> Page:
        """The page with what the host said of it."""
        mark = self.marks.get(page.id)
        importance = page.importance if mark.importance is None else mark.importance
        return replace(page, pinned=mark.pinned, importance=importance)

    async def find(self, conversation: Conversation, page_id: str) -> Page | str:
        """The page, or why there is none, in words for the model."""
        if self.marks.get(page_id).forgotten:
            return wording.FORGOTTEN_PAGE.format(page=page_id)
        found = (await self.reader.pages(conversation, [page_id])).get(page_id)
        if found is not None:
            return self.as_marked(found)
        place = place_of(page_id)
        if place is not None and place.kind in "erp" and 0 < place.first < conversation.head.first_seq:
            return wording.REMOVED_PAGE.format(page=page_id)
        return unknown_page(page_id)

    async def write(self, fact: Mapping[str, Any]) -> Event:
        """Append a fact, a snapshot before it where one is due; the event at its place.

        Raises:
            ValueTooLarge: The fact is larger than an event of the store may be.
            StoreError: The store failed.
        """
        access = self.access
        if self.marks.snapshot_due:
            await self.current()

        def build(conversation: Conversation) -> list[Event]:
            recorder = Recorder(counter_of(conversation), None, clock=access.clock)
            due = self.marks.snapshot_due
            before = [recorder.record(EventKind.MEMORY_SNAPSHOT, self.marks.snapshot())] if due else []
            return [*before, recorder.record(EventKind.MEMORY, fact)]

        conversation, events = await access.append(build)
        access.session_id = conversation.head.session_id
        placed = _event(conversation, events[-1].event_id)
        if placed is None:  # What this process knew had expired in the store; the log begins anew.
            placed = _event(await access.refresh(conversation), events[-1].event_id)
        assert placed is not None
        await self.catch_up(conversation)
        return placed


def _event(conversation: Conversation, event_id: str) -> Event | None:
    return next((event for event in reversed(conversation.events) if event.event_id == event_id), None)
