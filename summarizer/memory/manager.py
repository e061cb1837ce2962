"""`MemoryManager`: pages in, a prompt within its budget out, and tools to bring anything back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..errors import InvalidSetting, TokenLimitExceeded
from ..events import Event, Origin
from ..meter import counter_for_model
from . import wording
from .citations import CitationReport, check_citations
from .compressors import CompressorRegistry, written_by
from .eviction import EvictionPolicy, ImportanceWeightedLRU
from .layout import MemoryContext
from .log_pages import pages_of
from .metrics import VMMetrics
from .page_store import InMemoryPageStore, PageStore
from .pages import Level, Modality, Page, PageType, make_page
from .paging import Paging, unknown_page
from .prompt import PromptBuilder
from .renditions import Renditions
from .residence import Residence
from .snapshots import check_snapshot, fill_from, snapshot_of
from .table import PageTable
from .tools import PAGE_FAULT, SEARCH_PAGES, BadArguments, FaultRequest, SearchRequest, tool_schemas
from .wording import VMMode
from .working_set import Resident, WorkingSetConfig

__all__ = ["MemoryManager"]

_WORTH_A_THREAD: Final = 50_000
"""Characters from which a page is counted off the loop."""


class MemoryManager:
    """The virtual memory of one session. Everything is in memory; `save` and `load` cross a restart.

    Not for concurrent use from several threads; calls from several tasks of one loop are safe.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: WorkingSetConfig | None = None,
        eviction_policy: EvictionPolicy | None = None,
        compressor_registry: CompressorRegistry | None = None,
        mode: VMMode | str = VMMode.RELAXED,
        store: PageStore | None = None,
        model: str | None = None,
    ) -> None:
        """Make an empty memory.

        Args:
            session_id: Whose memory it is; the store's key.
            config: Budgets and limits.
            eviction_policy: Who gives way first; `ImportanceWeightedLRU` by default.
            compressor_registry: How pages are made shorter; rules by default.
            mode: What the model is asked to do with pages.
            store: Where `save` puts a snapshot; this process by default.
            model: Whose tokens are counted; see `counter_for_model`.

        Raises:
            InvalidSetting: An unknown mode.
        """
        try:
            self._mode = VMMode(mode)
        except ValueError:
            raise InvalidSetting(f"mode={mode!r} is unknown; use one of {', '.join(VMMode)}") from None
        self.session_id = session_id
        self.config = config or WorkingSetConfig()
        self._registry = compressor_registry or CompressorRegistry.default()
        self._policy = eviction_policy or ImportanceWeightedLRU()
        self._store = store or InMemoryPageStore()
        self._counter, self._model = counter_for_model(model), model
        self._tools = tool_schemas(self._mode)
        self._rules = wording.rules_for(
            self._mode, faults=self.config.faults_per_turn, searches=self.config.searches_per_turn
        )
        self._system_prompt = ""
        self._table = PageTable()
        self._renditions = Renditions(self._registry, self._counter, self._model)
        self._residence = Residence(self._table, self._renditions, self._policy, self.config)
        self._paging = Paging(self._table, self._renditions, self._residence, self.config, self._counter)
        self._prompt = PromptBuilder(
            self._table, self._renditions, self.config, self._counter, rules=self._rules, tools=self._tools
        )

    # --- pages ---

    def create_page(
        self,
        content: str | Mapping[str, Any] | list[Any],
        *,
        page_type: PageType = PageType.TRANSCRIPT,
        modality: Modality | None = None,
        caption: str | None = None,
        importance: float | None = None,
        pinned: bool = False,
        origin: Origin = Origin.IMPORTED,
        seqs: tuple[int, int] | None = None,
        page_id: str | None = None,
    ) -> Page:
        """Make a page. It is not resident yet: the manifest lists it, and the tools find it.

        Args:
            content: Text; a content part of an image, audio or video; or JSON values.
            page_type: What it is.
            modality: What it is made of; by default what the content looks like.
            caption: What to show of a medium where it is not shown itself; a caption or a transcript.
            importance: From 0 to 1; by default its type's.
            pinned: Never taken out of the working set once it is in.
            origin: Who produced it.
            seqs: First and last event of the log that it stands for.
            page_id: 1 to 64 of `A-Z a-z 0-9 _ . : -`; by default `p1`, `p2`, ...

        Raises:
            InvalidSetting: Content, id, importance or range that cannot be used, or an id that is taken.
        """
        page = make_page(
            page_id or self._table.next_id(),
            content,
            page_type=page_type,
            modality=modality,
            caption=caption,
            importance=importance,
            pinned=pinned,
            origin=origin,
            seqs=seqs,
        )
        return self._table.add(page)

    def create_pages(self, events: Iterable[Event]) -> list[Page]:
        """Make pages of a range of the log: a turn a page, large tool results on pages of their own.

        A turn of more than 6,000 characters goes on in another page, between finished tool rounds.

        Args:
            events: In order, from whole turns. Records that are no messages give nothing.

        Returns:
            The new pages; a range that is a page already gives none.
        """
        return [self._table.add(page) for page in pages_of(events) if page.id not in self._table]

    def page(self, page_id: str) -> Page:
        """A page, its original text included.

        Raises:
            PageNotFound: No page has this id.
        """
        return self._table.get(page_id)

    def pages(self) -> Iterator[Page]:
        """All pages, in the order in which they were made."""
        return iter(list(self._table))

    def tokens(self, page: Page | str) -> dict[Level, int]:
        """What a page takes in a prompt at each level; never more at a lower one.

        Raises:
            PageNotFound: No page has this id.
        """
        return self._renditions.tokens(self._table.get(_id_of(page)))

    def text(self, page: Page | str, level: Level = Level.FULL) -> str:
        """What a page shows at a level; FULL is the original.

        Raises:
            PageNotFound: No page has this id.
        """
        return self._renditions.at(self._table.get(_id_of(page)), level).text

    def pin(self, page: Page | str, *, pinned: bool = True) -> Page:
        """Pin a page, or with `pinned=False` let it go. Pinning does not make it resident.

        Raises:
            PageNotFound: No page has this id.
        """
        return self._table.pin(_id_of(page), pinned=pinned)

    def forget(self, page: Page | str) -> None:
        """Drop a page for good, resident or not.

        Raises:
            PageNotFound: No page has this id.
        """
        page_id = self._table.remove(_id_of(page)).id
        self._residence.set.drop(page_id)
        self._residence.left_at.pop(page_id, None)
        self._renditions.forget(page_id)
        self._paging.shown.pop(page_id, None)
        self._paging.pending.pop(page_id, None)

    # --- the working set ---

    async def add_to_working_set(self, page: Page | str, level: Level = Level.FULL) -> Resident | None:
        """Let a page in; others are shown shorter or leave if they must.

        `summarize_fn`, if there is one, is awaited for pages that come to be shown as ABSTRACT.

        Returns:
            Its place, at the level for which there is room; `None` if there is none at any level.

        Raises:
            PageNotFound: No page has this id.
        """
        found = self._table.get(_id_of(page))
        if len(found.text) > _WORTH_A_THREAD:
            await asyncio.to_thread(self._renditions.tokens, found)
        if self._registry.summarize_fn is not None:
            for other in self._residence.pages_to_abstract(found, level, self._room()):
                await self._write_abstract(other)
        return self._residence.admit(self._table.get(found.id), level, self._room())

    def remove_from_working_set(self, page: Page | str) -> None:
        """Take a page out, pinned or not; it stays in the manifest. No effect if it is not in."""
        self._residence.set.drop(_id_of(page))

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Who is in, in the order of the prompt."""
        return tuple(self._residence.set)

    @property
    def metrics(self) -> VMMetrics:
        """Faults, hits, thrash and the like, so far."""
        return self._residence.metrics

    # --- the prompt ---

    @property
    def mode(self) -> VMMode:
        """What the model is asked to do with pages."""
        return self._mode

    def build_context(
        self, system_prompt: str = "", *, question: str | None = None, new_turn: bool = True
    ) -> MemoryContext:
        """The prompt for the next request, within `config.max_l0_tokens` whatever the pages.

        Args:
            system_prompt: The host's own; it stands first, as it is.
            question: The user's newest message. Pages that bear on it are fetched for this prompt, and the
                manifest lists such pages first.
            new_turn: Whether a new turn begins: fault limits are lifted, and pages that the model asked for
                come in. Pass `False` where the prompt is built again between tool calls.

        Raises:
            TokenLimitExceeded: System prompt, rules and tool schemas alone exceed the budget.
        """
        frame = self._prompt.frame(system_prompt)
        if frame.tokens > self.config.max_l0_tokens:
            raise TokenLimitExceeded(
                frame.tokens, self.config.max_l0_tokens, "the system prompt with the rules of virtual memory"
            )
        self._system_prompt = system_prompt
        if new_turn:
            self._begin_turn()
        self._residence.fit(self._room())
        context, self._paging.shown = self._prompt.build(frame, self._residence.set, question)
        self._residence.metrics = self._residence.metrics.plus(prefetched=len(context["prefetched"]))
        return context

    def _room(self) -> int:
        """Most tokens of the resident pages, beside the system prompt that was given last."""
        return self._prompt.room(self._system_prompt)

    def _begin_turn(self) -> None:
        self._residence.turn += 1
        self._residence.metrics = self._residence.metrics.plus(turns=1)
        self._paging.begin_turn()
        for page_id, level in self._paging.pending.items():
            self._residence.admit(self._table.get(page_id), level, self._room())
        self._paging.pending.clear()

    # --- the model's calls and answers ---

    async def handle_tool_call(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """Serve a `page_fault` or `search_pages` call.

        What the model got wrong (an unknown page, bad arguments, too many calls) is answered in words.

        Args:
            name: Of the tool.
            arguments: As a mapping, or the JSON text that the model wrote.

        Returns:
            The content of the tool message to send back.

        Raises:
            InvalidSetting: Not a tool of this memory's mode.
        """
        if name not in (schema["function"]["name"] for schema in self._tools):
            raise InvalidSetting(
                f"tool {name!r} is none of virtual memory's in mode {self._mode.value!r}; "
                f"it serves {PAGE_FAULT!r} and {SEARCH_PAGES!r}, and none in 'passive'"
            )
        try:
            if name == SEARCH_PAGES:
                asked = SearchRequest.read(arguments)
                return self._paging.search_refusal() or self._paging.search(asked)
            request = FaultRequest.read(arguments)
        except BadArguments as problem:
            return wording.BAD_ARGUMENTS.format(problem=problem)
        refusal = self._refusal(request)
        if refusal is None and request.level is Level.ABSTRACT:
            await self._write_abstract(self._table.get(request.page_id))
            # Meanwhile other calls may have been served, or the page forgotten.
            refusal = self._refusal(request)
        return refusal or self._paging.fault(self._table.get(request.page_id), request)

    def _refusal(self, request: FaultRequest) -> str | None:
        if request.page_id not in self._table:
            return unknown_page(request.page_id)
        return self._paging.refusal(request)

    def check_citations(self, answer: str) -> CitationReport:
        """Which statements of an answer cite no page, or one that does not hold what they say.

        Pages that are cited count as used. Meant for STRICT; it works in every mode.
        """
        report = check_citations(answer, self._text_of)
        shown = [page_id for page_id in report.cited if page_id in self._paging.shown]
        for page_id in report.cited:
            self._residence.set.use(page_id, self._residence.turn)
        self._residence.metrics = self._residence.metrics.plus(hits=len(shown))
        return report

    def _text_of(self, page_id: str) -> str | None:
        return self._table.get(page_id).text if page_id in self._table else None

    async def _write_abstract(self, page: Page) -> None:
        """Let `summarize_fn` write a page's gist, once."""
        write = self._registry.summarize_fn
        if write is None or page.id in self._renditions.abstracts or not page.text.strip():
            return
        written = await written_by(write, page)
        if written and page.id in self._table and self._renditions.offer_abstract(page, written):
            self._residence.refresh(page)

    # --- across a restart ---

    def snapshot(self) -> dict[str, Any]:
        """Everything there is to know, as JSON values: pages whole, residents, turn, counters."""
        return snapshot_of(self.session_id, self._table, self._renditions, self._residence, self._paging)

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], **settings: Any) -> MemoryManager:
        """The memory that a snapshot was taken of; `settings` are the constructor's, given anew.

        Raises:
            SchemaTooNew: A newer longsplice made the snapshot.
            InvalidSetting: Not a snapshot, or a damaged one.
        """
        check_snapshot(snapshot)
        memory = cls(snapshot["session_id"], **settings)
        fill_from(snapshot, memory._table, memory._renditions, memory._residence, memory._paging)
        return memory

    async def save(self) -> None:
        """Put a snapshot into the store, in place of the last one."""
        await self._store.save(self.session_id, self.snapshot())

    async def load(self) -> bool:
        """Become what was saved for this session id.

        Returns:
            Whether anything was; if not, the memory stays as it is.

        Raises:
            SchemaTooNew: A newer longsplice saved it.
            InvalidSetting: What the store gave is no snapshot, or a damaged one.
        """
        snapshot = await self._store.load(self.session_id)
        if snapshot is None:
            return False
        again = self.restore(
            snapshot,
            config=self.config,
            eviction_policy=self._policy,
            compressor_registry=self._registry,
            mode=self._mode,
            store=self._store,
            model=self._model,
        )
        vars(self).update(vars(again))  # All at once: a damaged snapshot costs nothing of what is here.
        return True


def _id_of(page: Page | str) -> str:
    return page if isinstance(page, str) else page.id
