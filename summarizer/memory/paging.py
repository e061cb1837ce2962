"""What the paging tools answer: limits a turn, answers of bounded size, recorded data marked as such."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from ..meter import TokenCounter
from . import wording
from .pages import Level, Page
from .relevance import snippet
from .renditions import Rendition, Renditions, json_line, weigh
from .residence import Residence
from .table import PageTable
from .tools import FaultRequest, SearchRequest
from .working_set import WorkingSetConfig

__all__ = ["Paging", "unknown_page"]

_DENSEST: Final = 8
"""Most characters a token that a cut is first tried with."""
_SHOWN_QUERY: Final = 80


class Paging:
    """Serves `page_fault` and `search_pages` for one turn after the other.

    Attributes:
        shown: The level at which each page stands in the prompt that was built last.
        pending: Pages that were asked for; they come into the working set with the next turn, since their
            text stands in the tool's answer for the rest of this one.
        faults: `page_fault` calls served this turn.
        searches: `search_pages` calls served this turn.
        answer_tokens: Most tokens of one answer.
    """

    def __init__(
        self,
        table: PageTable,
        renditions: Renditions,
        residence: Residence,
        config: WorkingSetConfig,
        counter: TokenCounter,
    ) -> None:
        self.shown: dict[str, Level] = {}
        self.pending: dict[str, Level] = {}
        self.faults = self.searches = 0
        self.answer_tokens = config.answer_tokens
        self._table, self._renditions, self._residence = table, renditions, residence
        self._config, self._counter = config, counter

    def begin_turn(self) -> None:
        """Lift the limits."""
        self.faults = self.searches = 0

    def refusal(self, request: FaultRequest) -> str | None:
        """Why a fault on a page that is there is not served; `None` if it will be."""
        shown = self.shown.get(request.page_id)
        if shown is not None and shown <= request.level and not request.offset:
            self._residence.set.use(request.page_id, self._residence.turn)
            self._count(hits=1)
            return wording.SHOWN.format(page=request.page_id, level=shown.label)
        if self.faults >= self._config.faults_per_turn:
            return wording.FAULT_LIMIT.format(limit=self._config.faults_per_turn)
        return None

    def fault(self, page: Page, request: FaultRequest) -> str:
        """The page as recorded data, cut to what one answer may hold."""
        self.faults += 1
        left = self._residence.left_at.get(page.id)
        thrash = left is not None and self._residence.turn - left <= self._config.thrash_turns
        self._count(faults=1, thrash=int(thrash))
        self.pending[page.id] = min(request.level, self.pending.get(page.id, request.level))
        rendition = self._renditions.at(page, request.level)
        text = rendition.text
        offset = min(request.offset, len(text))
        longest = _head(page.id, first=len(text), last=len(text) - 1, total=len(text))
        room = self.answer_tokens - weigh(longest, self._counter)
        piece, last = self._piece(page, rendition, offset, room)
        return f"{_head(page.id, first=offset, last=last, total=len(text))}\n{piece}"

    def search_refusal(self) -> str | None:
        """Why a search is not served; `None` if it will be, and it counts then."""
        if self.searches >= self._config.searches_per_turn:
            return wording.SEARCH_LIMIT.format(limit=self._config.searches_per_turn)
        self.searches += 1
        return None

    def search(self, request: SearchRequest) -> str:
        """The pages of the table that match, as `found` tells them."""
        matches = self._table.index.search(request.query)[: request.limit]
        return self.found([self._table.get(match.page_id) for match in matches], request, len(self._table))

    def found(self, pages: Sequence[Page], request: SearchRequest, total: int | None = None) -> str:
        """Pages that match, best first, a record each, within what one answer may hold.

        `total` is how many pages there are, if that is known.
        """
        if not pages:
            return wording.NOTHING_FOUND.format(query=_quoted(request.query))
        lines: list[str] = []
        room = self.answer_tokens - 40
        for page in pages:
            line = json_line(self._found(page, request.query))
            room -= self._counter.count(line + "\n")
            if room < 0 and lines:
                break
            lines.append(line)
        head = wording.FOUND_HERE if total is None else wording.FOUND
        return "\n".join([head.format(count=len(lines), total=total), *lines])

    def _found(self, page: Page, query: str) -> Mapping[str, object]:
        shown = self.shown.get(page.id)
        return {
            "page": page.id,
            "type": page.type.value,
            "from": page.origin.value,
            "shown": shown.label if shown is not None else None,
            "characters": len(page.text),
            "text": snippet(page.text, query),
        }

    def _piece(self, page: Page, rendition: Rendition, offset: int, room: int) -> tuple[str, int]:
        """The record of a stretch from the offset that the room holds, and where it ends; never empty."""
        later = wording.MEDIUM_LATER.format(modality=page.modality.value)
        more = {} if page.part is None else {"medium": later}
        text = rendition.text
        size = min(len(text) - offset, max(1, room * _DENSEST))
        while True:
            line = self._renditions.line(page, rendition.level, text[offset : offset + size], **more)
            tokens = self._counter.count(line)
            if tokens <= room or size <= 1:
                return line, offset + size
            size = max(1, min(size - 1, int(size * room / tokens * 0.95)))

    def _count(self, **counts: int) -> None:
        self._residence.metrics = self._residence.metrics.plus(**counts)


def unknown_page(page_id: str) -> str:
    """What is said of an id that no page has."""
    return wording.UNKNOWN_PAGE.format(page=_quoted(page_id))


def _head(page_id: str, *, first: int, last: int, total: int) -> str:
    if not first and last == total:
        return wording.FAULT.format(page=page_id)
    head = wording.FAULT_PART.format(page=page_id, first=first, last=last, total=total)
    return head + wording.READ_ON.format(last=last) if last < total else head


def _quoted(text: str) -> str:
    """A model's own words, as data and short."""
    return json.dumps(text[:_SHOWN_QUERY], ensure_ascii=False)
