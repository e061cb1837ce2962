"""The pages at hand of one conversation, and which of them are shown at which level. No I/O.

What is resident follows from the log, the window and the budget alone, so that every worker shows the same:
pages are let in anew, in the order of the log, whenever one of the three has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..context.blocks import MESSAGE_FRAME
from ..memory import (
    CompressorRegistry,
    EvictionPolicy,
    ImportanceWeightedLRU,
    Level,
    Page,
    VMMetrics,
    VMMode,
    WorkingSetConfig,
    wording,
)
from ..memory.layout import CONTEXT, MANIFEST, PREFETCHED, Shown, block, content, system_text
from ..memory.manifest import manifest_head
from ..memory.paging import Paging
from ..memory.prompt import PromptBuilder
from ..memory.renditions import Renditions, json_line, weigh
from ..memory.residence import Residence
from ..memory.table import PageTable
from ..memory.tools import FaultRequest, tool_schemas
from ..meter import TokenCounter, tool_tokens

__all__ = ["Desk", "Record", "Settings", "Use"]

_EARLIER: Final = "search_pages_also_finds"


@dataclass(frozen=True, slots=True)
class Use:
    """A page that is to be let in: why it is here, and when.

    Attributes:
        seq: Where the log says so; pages come in in this order.
        turn: The turn of that event.
        page: The page.
        level: How much of it is wanted.
    """

    seq: int
    turn: int
    page: Page
    level: Level


@dataclass(frozen=True, slots=True)
class Record:
    """A message that pages make, and its raw tokens, its frame left out."""

    content: str | list[dict[str, Any]]
    tokens: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How a memory works: its mode, limits, who gives way first, how pages are made shorter."""

    mode: VMMode
    config: WorkingSetConfig = field(default_factory=WorkingSetConfig)
    policy: EvictionPolicy = field(default_factory=ImportanceWeightedLRU)
    registry: CompressorRegistry = field(default_factory=CompressorRegistry.default)

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The paging tools; none in PASSIVE."""
        return tool_schemas(self.mode)


class Desk:
    """Lays pages out within budgets.

    Attributes:
        rules: What stands in the system prompt.
        tools: The paging tools; empty in PASSIVE.
        tools_tokens: Raw tokens of their schemas.
        paging: Serves the tools.
        table: All pages at hand.
        shown: The level at which pages stand in the context that was built last.
        shown_through: The last event of that context.
        filled: The state for which the resident pages were chosen.
    """

    def __init__(self, settings: Settings, counter: TokenCounter, model: str | None) -> None:
        config = settings.config
        self.rules = wording.rules_for(
            settings.mode, faults=config.faults_per_turn, searches=config.searches_per_turn
        )
        self.tools = settings.tools
        self.tools_tokens = tool_tokens(self.tools, counter)
        self.table = PageTable()
        self._counter = counter
        self._renditions = Renditions(settings.registry, counter, model)
        self._residence = Residence(self.table, self._renditions, settings.policy, config)
        self.paging = Paging(self.table, self._renditions, self._residence, config, counter)
        self._prompt = PromptBuilder(
            self.table, self._renditions, config, counter, rules=self.rules, tools=self.tools
        )
        self._system: tuple[str, str, int] | None = None
        self.filled: object = None
        self.shown_through = 0
        self._drawn: tuple[object, dict[str, Level], Record | None] | None = None
        self._frames = {tag: weigh(tag, counter) for pair in (CONTEXT, PREFETCHED, MANIFEST) for tag in pair}
        self._manifest = manifest_head(counter)

    @property
    def shown(self) -> Mapping[str, Level]:
        """See the class."""
        return self.paging.shown

    @property
    def metrics(self) -> VMMetrics:
        """Counts of this process."""
        return self._residence.metrics

    def count(self, **counts: int) -> None:
        """Raise counters of the metrics."""
        self._residence.metrics = self._residence.metrics.plus(**counts)

    def system(self, prompt: str) -> tuple[str, int]:
        """The system message with the rules at its end, the same to the byte, and its raw tokens."""
        if self._system is None or self._system[0] != prompt:
            text = system_text(prompt, self.rules)
            self._system = (prompt, text, self._counter.count(text))
        return self._system[1:]

    def begin_turn(self) -> None:
        """Lift the tools' limits; what was asked for comes in by what the log says of it."""
        self.paging.begin_turn()
        self.paging.pending.clear()
        self.count(turns=1)

    def fixed(self, prompt: str | None, tokens: int) -> int:
        """Raw tokens that rules and tool schemas add to a request whose system prompt takes `tokens`."""
        frame = 0 if prompt else MESSAGE_FRAME
        return self.system(prompt or "")[1] - tokens + frame + self.tools_tokens

    def count_text(self, text: str) -> int:
        """Raw tokens of a text."""
        return self._counter.count(text)

    def lay_out(self, pages: Iterable[Page]) -> None:
        """Have exactly these pages at hand."""
        wanted = {page.id: page for page in pages}
        for known in list(self.table):
            if wanted.get(known.id) != known:
                self.table.remove(known.id)
                if known.id not in wanted or wanted[known.id].text != known.text:
                    self._renditions.forget(known.id)
        for page in wanted.values():
            if page.id not in self.table:
                self.table.add(page)

    def add(self, page: Page) -> Page:
        """Have one more page at hand."""
        return self.table.get(page.id) if page.id in self.table else self.table.add(page)

    def fault(self, page: Page, request: FaultRequest) -> str:
        """Serve a page, at hand or not, or say why it is not served."""
        answer = self.paging.refusal(request) or self.paging.fault(page, request)
        if page.id not in self.table:
            self._renditions.forget(page.id)
        return answer

    # The record of resident pages

    @property
    def record_frame(self) -> int:
        """Raw tokens of a record without pages, its message's frame included."""
        return MESSAGE_FRAME + sum(self._frames[tag] for tag in CONTEXT)

    def wanted(self, uses: Iterable[Use], notes: Page | None) -> int:
        """Raw tokens of a record with pages as the uses want them, frame included; 0 without any."""
        tokens = sum(self._renditions.at(use.page, use.level).tokens for use in uses)
        return tokens + self.frame_with(notes) if tokens or notes is not None else 0

    def frame_with(self, notes: Page | None) -> int:
        """Raw tokens of a record that shows nothing but the line of the notes, if there are any."""
        return self.record_frame + (0 if notes is None else self._notes(notes).tokens)

    def fill(self, uses: Sequence[Use], room: int, state: object) -> None:
        """Let pages in, oldest use first; `state` tells whether anything changed since the last time."""
        if state == self.filled:
            return
        residence = self._residence
        before, metrics = {one.page_id: one.level for one in residence.set}, residence.metrics
        residence.begin_again()
        for use in uses:
            residence.turn = max(residence.turn, use.turn)
            residence.admit(use.page, use.level, room)
        now = {one.page_id: one.level for one in residence.set}
        gone = [page_id for page_id in before if page_id not in now and page_id in self.table]
        shorter = [page_id for page_id, level in now.items() if level > before.get(page_id, level)]
        residence.left_at.update(dict.fromkeys(gone, residence.turn))
        residence.metrics = metrics.plus(evictions=len(gone), compressions=len(shorter))
        self.filled = state

    def record(self, notes: Page | None, room: int) -> Record | None:
        """The resident pages as a message; `None` if there are none.

        Args:
            notes: The seed that the message before holds; a line makes it a page that can be cited.
            room: Most raw tokens beside the frame.
        """
        drawn = (self.filled, None if notes is None else notes.id, room)
        if self._drawn is None or self._drawn[0] != drawn:
            self._drawn = (drawn, *self._draw(notes, room))
        self.paging.shown = dict(self._drawn[1])
        return self._drawn[2]

    def _draw(self, notes: Page | None, room: int) -> tuple[dict[str, Level], Record | None]:
        head = [] if notes is None else [self._notes(notes)]
        if sum(record.tokens for record in head) > room:
            head = []
        records, _ = self._prompt.records(self._residence.set, room - sum(record.tokens for record in head))
        records = [*head, *records]
        if not records:
            return {}, None
        text = block(CONTEXT, [record.line for record in records])
        tokens = self.record_frame - MESSAGE_FRAME + sum(record.tokens for record in records)
        shown = {record.page_id: record.level for record in records}
        return shown, Record(content(text, records), tokens)

    def _notes(self, notes: Page) -> Shown:
        line = self._renditions.line(notes, Level.FULL, wording.NOTES)
        return Shown(notes.id, Level.FULL, line, weigh(line, self._counter))

    # What serves one question

    @property
    def suffix_frame(self) -> int:
        """Raw tokens of a suffix without pages, its message's frame included."""
        tags = (*PREFETCHED, *MANIFEST)
        return MESSAGE_FRAME + self._manifest + sum(self._frames[tag] for tag in tags)

    def suffix(self, question: str | None, earlier: str | None, room: int) -> Record | None:
        """Pages that bear on the question, and the manifest; `None` if there is nothing to tell.

        Args:
            question: The newest user message.
            earlier: What `search_pages` reaches beside the pages at hand, `None` if nothing.
            room: Most raw tokens beside the frame.
        """
        more: dict[str, str] = {}
        if earlier is not None and self.tools:
            more = {_EARLIER: earlier}
            room -= weigh(json_line(more), self._counter)
        if room < 0 or (len(self.table) <= len(self.shown) and not more):
            return None
        suffix = self._prompt.suffix(question, self.shown, room, **more)
        self.paging.shown = {**self.shown, **{one.page_id: one.level for one in suffix.fetched}}
        self.count(prefetched=len(suffix.fetched))
        text = block(MANIFEST, [suffix.manifest[0]])
        if suffix.fetched:
            text = f"{block(PREFETCHED, [one.line for one in suffix.fetched])}\n{text}"
        tokens = self.suffix_frame - MESSAGE_FRAME + suffix.manifest[1]
        tokens += sum(one.tokens for one in suffix.fetched)
        tokens += weigh(json_line(more), self._counter) if more else 0
        return Record(content(text, suffix.fetched), tokens)
