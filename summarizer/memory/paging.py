"""What the paging tools answer: limits a turn, answers of bounded size, recorded data marked as such."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

__all__ = ["Paging"]

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
        self._table, self._renditions, self._residence = table, renditions, residence
        self._config, self._counter = config, counter

    def begin_turn(self) -> None:
        """Lift the limits."""
        self.faults = self.searches = 0

    def refusal(self, request: FaultRequest) -> str | None:
        """Why a fault is not served; `None` if it will be."""
        if request.page_id not in self._table:
            return wording.UNKNOWN_PAGE.format(page=_quoted(request.page_id))
        shown = self.shown.get(request.page_id)
        if shown is not None and shown <= request.level and not request.offset:
            self._residence.set.use(request.page_id, self._residence.turn)
            self._count(hits=1)
            return wording.SHOWN.format(page=request.page_id, level=shown.label)
        if self.faults >= self._config.faults_per_turn:
            return wording.FAULT_LIMIT.format(limit=self._config.faults_per_turn)
        return None

    def fault(self, request: FaultRequest) -> str:
        """The page as recorded data, cut to what one answer may hold."""
        self.faults += 1
        page = self._table.get(request.page_id)
        left = self._residence.left_at.get(page.id)
        thrash = left is not None and self._residence.turn - left <= self._config.thrash_turns
        self._count(faults=1, thrash=int(thrash))
        self.pending[page.id] = min(request.level, self.pending.get(page.id, request.level))
        rendition = self._renditions.at(page, request.level)
        text = rendition.text
        longest = _head(page.id, first=len(text), last=len(text) - 1, total=len(text))
        room = self._config.answer_tokens - weigh(longest, self._counter)
        piece, last = self._piece(page, rendition, request.offset, room)
        return f"{_head(page.id, first=request.offset, last=last, total=len(text))}\n{piece}"

    def search(self, request: SearchRequest) -> str:
        """The pages that match, a record each, within what one answer may hold."""
        if self.searches >= self._config.searches_per_turn:
            return wording.SEARCH_LIMIT.format(limit=self._config.searches_per_turn)
        self.searches += 1
        matches = self._table.index.search(request.query)
        if not matches:
            return wording.NOTHING_FOUND.format(query=_quoted(request.query))
        lines: list[str] = []
        room = self._config.answer_tokens - 40
        for match in matches[: request.limit]:
            line = json_line(self._found(self._table.get(match.page_id), request.query))
            room -= self._counter.count(line + "\n")
            if room < 0 and lines:
                break
            lines.append(line)
        return "\n".join([wording.FOUND.format(count=len(lines), total=len(self._table)), *lines])

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
        start = min(offset, len(text))
        size = min(len(text) - start, max(1, room * _DENSEST))
        while True:
            line = self._renditions.line(page, rendition.level, text[start : start + size], **more)
            tokens = self._counter.count(line)
            if tokens <= room or size <= 1:
                return line, start + size
            size = max(1, min(size - 1, int(size * room / tokens * 0.95)))

    def _count(self, **counts: int) -> None:
        self._residence.metrics = self._residence.metrics.plus(**counts)


def _head(page_id: str, *, first: int, last: int, total: int) -> str:
    if not first and last == total:
        return wording.FAULT.format(page=page_id)
    head = wording.FAULT_PART.format(page=page_id, first=first, last=last, total=total)
    return head + wording.READ_ON.format(last=last) if last < total else head


def _quoted(text: str) -> str:
    """A model's own words, as data and short."""
    return json.dumps(text[:_SHOWN_QUERY], ensure_ascii=False)
