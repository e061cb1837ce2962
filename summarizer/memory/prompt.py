"""What of the pages goes into one prompt: residents first, then pages for the question, then the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..meter import TokenCounter
from . import wording
from .layout import Frame, MemoryContext, Shown, assemble, fixed_tokens, system_text
from .manifest import manifest_lines, most_relevant
from .pages import Level, Page
from .relevance import excerpt
from .renditions import Renditions, weigh
from .table import PageTable
from .working_set import Resident, WorkingSetConfig

__all__ = ["PromptBuilder", "Suffix"]

_RELEVANT: Final = 0.5
"""Share of the best page's score from which another is fetched for the same question."""

_DENSEST: Final = 8
"""Most characters a token that an excerpt is first tried with."""
_SPARSEST: Final = 40
"""Characters a token above which a page is taken for too large without being counted."""
_LONGEST_EXCERPT: Final = 4000
"""Characters: what else a large page holds is a `page_fault` away."""


@dataclass(frozen=True, slots=True)
class Suffix:
    """What of a prompt serves one question.

    Attributes:
        fetched: Pages that bear on it.
        manifest: Its text, and the tokens of what it lists.
        not_shown: Pages that are not shown at all.
    """

    fetched: list[Shown]
    manifest: tuple[str, int]
    not_shown: int


class PromptBuilder:
    """Builds prompts within the budget from what is resident. It changes nothing."""

    def __init__(
        self,
        table: PageTable,
        renditions: Renditions,
        config: WorkingSetConfig,
        counter: TokenCounter,
        *,
        rules: str,
        tools: tuple[dict[str, Any], ...],
    ) -> None:
        self._table, self._renditions = table, renditions
        self._config, self._counter = config, counter
        self._rules, self._tools = rules, tools
        self._last: tuple[str, Frame] | None = None

    def frame(self, system_prompt: str) -> Frame:
        """What stands in the prompt whatever the pages; counted once per system prompt."""
        if self._last is None or self._last[0] != system_prompt:
            system = system_text(system_prompt, self._rules)
            tokens = fixed_tokens(system, self._tools, self._counter)
            self._last = (system_prompt, Frame(system, self._tools, tokens))
        return self._last[1]

    def room(self, system_prompt: str) -> int:
        """Most tokens of the resident pages, 0 or more."""
        room = self._config.max_l0_tokens - self.frame(system_prompt).tokens
        return max(0, int(room * (1 - self._config.suffix_share)))

    def build(
        self, frame: Frame, residents: Iterable[Resident], question: str | None
    ) -> tuple[MemoryContext, dict[str, Level]]:
        """The prompt, and the level at which each page stands in it."""
        room = self._config.max_l0_tokens - frame.tokens
        records, left_out = self.records(residents, room)
        room -= sum(record.tokens for record in records)
        shown = {record.page_id: record.level for record in records}
        suffix = self.suffix(question, shown, room)
        context = assemble(
            frame,
            records,
            suffix.fetched,
            suffix.manifest,
            left_out=left_out,
            not_shown=suffix.not_shown,
        )
        return context, shown | {record.page_id: record.level for record in suffix.fetched}

    def records(self, residents: Iterable[Resident], room: int) -> tuple[list[Shown], list[str]]:
        """The residents' records, and the ids of those for which the room does not suffice."""
        records: list[Shown] = []
        left_out: list[str] = []
        for resident in residents:
            record = self._shown(self._table.get(resident.page_id), resident.level)
            if record.tokens > room:
                left_out.append(resident.page_id)
                continue
            records.append(record)
            room -= record.tokens
        return records, left_out

    def suffix(self, question: str | None, shown: Mapping[str, Level], room: int, **more: object) -> Suffix:
        """What serves one question, within a room: pages fetched for it, and the manifest of the rest.

        Args:
            question: The user's newest message.
            shown: The level at which pages stand in the prompt already.
            room: Most tokens beside the tags and an empty manifest.
            more: Further fields of the manifest; their tokens are the caller's to count.
        """
        scores = dict(self._table.index.search(question)) if question else {}
        reserve = min(self._config.manifest_tokens, room // 2) if self._tools else 0
        fetched = self._fetched(question or "", scores, room - reserve, shown)
        shown = {**shown, **{record.page_id: record.level for record in fetched}}
        room = min(self._config.manifest_tokens, room - sum(record.tokens for record in fetched))
        absent = len(self._table) - len(shown)
        listed = most_relevant(self._table, scores, shown) if self._tools else ()
        manifest = manifest_lines(listed, absent, room, self._renditions, self._counter, **more)
        return Suffix(fetched, manifest, absent)

    def _fetched(
        self, question: str, scores: Mapping[str, float], room: int, shown: Mapping[str, Level]
    ) -> list[Shown]:
        """The pages that bear most on the question and are not shown whole; of a large one, an excerpt."""
        least = _RELEVANT * max(scores.values(), default=0.0)
        found: list[Shown] = []
        for page_id, score in scores.items():
            if len(found) >= self._config.prefetch_pages or score < least:
                break
            if shown.get(page_id) is Level.FULL:
                continue
            page = self._table.get(page_id)
            record = None if len(page.text) > room * _SPARSEST else self._shown(page, Level.FULL)
            if record is None or record.tokens > room:
                record = self._excerpt(page, question, room)
            if record is not None:
                found.append(record)
                room -= record.tokens
        return found

    def _excerpt(self, page: Page, question: str, room: int) -> Shown | None:
        """What of a page bears on the question; `None` if there is no room for any of it."""
        most = min(room * _DENSEST, _LONGEST_EXCERPT)
        while text := excerpt(page.text, question, most, wording.GAP):
            line = self._renditions.line(page, Level.REDUCED, text)
            tokens = weigh(line, self._counter)
            if tokens <= room:
                return Shown(page.id, Level.REDUCED, line, tokens)
            most = min(len(text) - 1, int(most * room / tokens))
        return None

    def _shown(self, page: Page, level: Level) -> Shown:
        rendition = self._renditions.at(page, level)
        line = self._renditions.record(page, level)
        return Shown(page.id, rendition.level, line, rendition.tokens, rendition.part)
