"""Pages by their ids, read from the log when they are wanted: any range of it is a page.

| id | page |
|---|---|
| `e3-9` | the messages of the events 3 to 9, large results apart |
| `r5` | the text of the message at 5, to the byte |
| `p12` | what the host made with the event 12 |
| `c7` | entry `e7` of the newest summary's ledger |
| `s2` | the seed of the third session |
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..access import Access
from ..ancestry import inheritance_of, read_path
from ..conversation import Conversation
from ..events import Event, EventKind, Origin
from ..memory import Page, PageType
from ..memory.log_pages import call_names, is_paged, message_page, pages_of, transcript_page
from ..memory.pages import DEFAULT_IMPORTANCE
from ..memory.tools import PAGING_TOOLS
from ..messages import dump_json
from ..segmentation import seed_of
from ..standing import standing
from .facts import made_page

__all__ = ["Place", "Reader", "claims_of", "notes_of", "oldest_seq", "place_of", "summary_pages"]

_ID: Final = re.compile(r"e(?P<first>\d{1,15})-(?P<last>\d{1,15})|(?P<kind>[rpcs])(?P<number>\d{1,15})")
_MOST_EVENTS: Final = 1000
"""Events of one page at most; no page that is offered has so many."""
_AROUND: Final = 48
"""Events on either side of a hit among which the borders of its turn are looked for."""
_GAP: Final = 8
"""Events between two that are wanted, below which one read brings both."""
_KEPT_CHARACTERS: Final = 8_000_000
"""Texts and media of pages that are kept at hand, at most; the least recently used is read anew."""
_MOST_CLAIMS: Final = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where the log holds a page: `kind` is the letter of its id."""

    kind: str
    first: int
    last: int


def place_of(page_id: str) -> Place | None:
    """Read an id; `None` if no page can have it."""
    found = _ID.fullmatch(page_id)
    if found is None:
        return None
    if found["kind"]:
        number = int(found["number"])
        return Place(found["kind"], number, number)
    first, last = int(found["first"]), int(found["last"])
    return Place("e", first, last) if 0 < first <= last < first + _MOST_EVENTS else None


class Reader:
    """Reads the pages of the conversation that `access` leads to."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._kept: OrderedDict[str, Page] = OrderedDict()
        self._characters = 0
        self._gone: frozenset[int] = frozenset()

    async def events(self, conversation: Conversation, first: int, last: int) -> Sequence[Event]:
        """The events of `[first, last]` that are still there; from memory where they are at hand."""
        held = conversation.events
        first = max(first, oldest_seq(conversation))
        if last < first:
            return ()
        if held and first >= held[0].seq:
            return held[first - held[0].seq : last + 1 - held[0].seq]
        access, ancestors = self._access, inheritance_of(conversation.settings).ancestors
        read = await read_path(
            access.store, access.owner, access.root, ancestors, after_seq=first - 1, until_seq=last
        )
        return standing(read, conversation.gone)

    async def events_at(self, conversation: Conversation, seqs: Iterable[int]) -> list[Event]:
        """The events at these seqs that are still there, in few reads."""
        wanted = set(seqs)
        ranges: list[list[int]] = []
        for seq in sorted(wanted):
            if ranges and seq - ranges[-1][1] <= _GAP:
                ranges[-1][1] = seq
            else:
                ranges.append([seq, seq])
        found = await asyncio.gather(*(self.events(conversation, first, last) for first, last in ranges))
        return [event for events in found for event in events if event.seq in wanted]

    async def pages(self, conversation: Conversation, page_ids: Iterable[str]) -> dict[str, Page]:
        """The pages that have these ids; ids of no page, or of one that is gone, are left out."""
        if conversation.gone != self._gone:  # What was taken back may stand on any of the kept.
            self._kept.clear()
            self._characters, self._gone = 0, conversation.gone
        found: dict[str, Page] = {}
        missing: list[str] = []
        for page_id in page_ids:
            kept = self._kept.get(page_id)
            # What lies before is gone, or an ancestor's, which may have removed it.
            if kept is None or (place_of(page_id) or _NOWHERE).first < conversation.head.first_seq:
                missing.append(page_id)
            else:
                self._kept.move_to_end(page_id)
                found[page_id] = kept
        places = {page_id: place for page_id in missing if (place := place_of(page_id)) is not None}
        made = [place.first for place in places.values() if place.kind == "p"]
        for event in await self.events_at(conversation, made):
            if (page := made_page(event)) is not None:
                found[page.id] = self._keep(page)
        for page_id, place in places.items():
            if place.kind != "p" and (page := await self._read(conversation, page_id, place)) is not None:
                found[page_id] = page
        return found

    async def page_at(self, conversation: Conversation, seq: int) -> Page | None:
        """The page on which the message at `seq` stands.

        Its turn, or a part of it, where the turn begins nearby; else a page of its own. `None` if the event
        is gone, is no message, or calls a paging tool or is what one answered.
        """
        near = await self.events(conversation, seq - _AROUND, seq + _AROUND)
        events = [event for event in near if event.message is not None]
        at = next((i for i, event in enumerate(events) if event.seq == seq), None)
        if at is None:
            return None
        start = next((i for i in range(at, -1, -1) if _opens_turn(events[i])), at)
        run = events[start:]
        if is_paged(events[at], call_names(run)) or _calls_pages(events[at]):
            return None
        if not _opens_turn(run[0]):
            return message_page(events[at])
        # A large result comes before the turn that it belongs to.
        return next(page for page in pages_of(run) if _holds(page, seq))

    async def _read(self, conversation: Conversation, page_id: str, place: Place) -> Page | None:
        if place.kind == "c":
            return next((page for page in claims_of(conversation) if page.id == page_id), None)
        if place.kind == "s":
            return await self._notes(conversation, place.first)
        if place.first < oldest_seq(conversation) or place.last > conversation.head.last_seq:
            return None
        events = await self.events(conversation, place.first, place.last)
        events = [event for event in events if event.message is not None]
        if not events:
            return None
        if place.kind == "r":
            return self._keep(message_page(events[0]))
        return self._keep(replace(transcript_page(events), id=page_id))

    async def _notes(self, conversation: Conversation, index: int) -> Page | None:
        newest = notes_of(conversation)
        if newest is not None and newest.id == f"s{index}":
            return newest
        access = self._access
        chain = await access.store.segments(access.owner, access.root, summaries=True)
        found = next((segment for segment in chain if segment.index == index), None)
        return None if found is None else _notes(index, found.summary, found.start_seq - 1)

    def _keep(self, page: Page) -> Page:
        if page.id not in self._kept:
            self._characters += _size(page)
        self._kept[page.id] = page
        while self._characters > _KEPT_CHARACTERS and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._characters -= _size(gone)
        return page


def _size(page: Page) -> int:
    return len(page.text) + (0 if page.part is None else len(dump_json(page.part)))


def oldest_seq(conversation: Conversation) -> int:
    """The first event that may still be there; a fork's ancestors hold what lies before its own."""
    return 1 if inheritance_of(conversation.settings).ancestors else conversation.head.first_seq


def notes_of(conversation: Conversation) -> Page | None:
    """The newest seed as a page, `None` in a first session."""
    if conversation.summary_index != conversation.head.index:
        return None
    return _notes(conversation.head.index, conversation.summary, conversation.head.start_seq - 1)


def summary_pages(conversation: Conversation) -> list[Page]:
    """Pages of the newest summary: its seed, and what of its ledger the seed does not show."""
    notes = notes_of(conversation)
    return [*([] if notes is None else [notes]), *claims_of(conversation)]


def claims_of(conversation: Conversation) -> list[Page]:
    """What the newest summary's ledger holds and its seed does not show, newest last, as claims."""
    record = conversation.summary
    if record is None or conversation.summary_index != conversation.head.index:
        return []
    entries: Sequence[Mapping[str, Any]] = record["summary"].get("entries", ())
    hidden = [
        entry
        for entry in entries
        if entry.get("status") != "retired" and entry["text"] not in (seed_of(record) or "")
    ]
    return [
        Page(
            f"c{entry['id'].removeprefix('e')}",
            f"{entry['kind']}: {entry['text']}",
            PageType.CLAIM,
            importance=DEFAULT_IMPORTANCE[PageType.CLAIM],
            origin=Origin(entry["origin"]),
            first_seq=min(entry["sources"]),
            last_seq=max(entry["sources"]),
        )
        for entry in hidden[-_MOST_CLAIMS:]
    ]


def _notes(index: int, record: Mapping[str, Any] | None, through: int) -> Page | None:
    seed = seed_of(record)
    if not seed:
        return None
    return Page(
        f"s{index}",
        seed,
        PageType.SUMMARY,
        importance=DEFAULT_IMPORTANCE[PageType.SUMMARY],
        first_seq=1,
        last_seq=max(1, through),
    )


def _opens_turn(event: Event) -> bool:
    return event.kind is EventKind.MESSAGE and event.message is not None and event.message.role == "user"


def _calls_pages(event: Event) -> bool:
    message = event.message
    return message is not None and any(call.name in PAGING_TOOLS for call in message.tool_calls)


def _holds(page: Page, seq: int) -> bool:
    return page.first_seq is not None and page.last_seq is not None and page.first_seq <= seq <= page.last_seq


_NOWHERE: Final = Place("", 0, 0)
