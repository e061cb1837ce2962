"""`SessionMemory`: virtual memory over one conversation's log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ..access import Access
from ..config import DEFAULT_TOKEN_MODEL
from ..conversation import Conversation
from ..errors import InvalidSetting, SessionNotFound
from ..events import Origin
from ..gauge import Gauge, counter_of
from ..memory import (
    CitationReport,
    CompressorRegistry,
    EvictionPolicy,
    Level,
    Modality,
    Page,
    PageNotFound,
    PageType,
    VMMetrics,
    VMMode,
    WorkingSetConfig,
    wording,
)
from ..memory.citations import check_citations
from ..memory.pages import make_page
from ..memory.tools import (
    PAGE_FAULT,
    SEARCH_PAGES,
    BadArguments,
    FaultRequest,
    SearchRequest,
)
from ..meter import TokenCounter, counter_for_model
from ..recalling import Recaller
from .desk import Desk, Settings
from .facts import made_page, page_made, page_marked
from .reader import summary_pages
from .shelf import Shelf
from .window import question_of

__all__ = ["SessionMemory"]

_MOST_ANSWER: Final = 3000
"""Most tokens of one tool answer: less than the size from which a guard shows the model a preview."""


class SessionMemory:
    """The virtual memory of one conversation; what the host makes is durable in its log.

    Pages are views of the log, by ids that name their events, so nothing is stored twice and any worker
    serves any page. Made by `SessionManager(enable_vm=True).vm`. See `docs/virtual-memory.md`.

    Args:
        access: The conversation.
        gauge: What the host said of its model.
        mode: What the model is asked to do with pages.

    Attributes:
        shelf: All its pages, for contexts.
    """

    def __init__(self, access: Access, gauge: Gauge, mode: VMMode) -> None:
        self.shelf = Shelf(access)
        self._gauge = gauge
        self._settings = Settings(mode)
        self._configured = False
        self._desk: Desk | None = None
        self._turn = 0
        self._laid_for = self.shelf.marks

    def configure(
        self,
        config: WorkingSetConfig | None = None,
        *,
        eviction_policy: EvictionPolicy | None = None,
        compressor_registry: CompressorRegistry | None = None,
    ) -> None:
        """Set budgets and limits, who gives way first, and how pages are made shorter; before the first use.

        Give every worker of a conversation the same. `config.max_l0_tokens` is the budget of contexts that
        are asked for without `max_tokens`. A `summarize_fn` is not asked: what stands in a context must be
        the same for every worker.

        Raises:
            InvalidSetting: The memory is in use already.
        """
        if self._desk is not None:
            raise InvalidSetting("the session's memory is in use; call vm.configure before its first use")
        given = {"config": config, "policy": eviction_policy, "registry": compressor_registry}
        chosen = {name: one for name, one in given.items() if one is not None}
        self._settings = replace(self._settings, **chosen)
        self._configured = config is not None

    @property
    def mode(self) -> VMMode:
        """What the model is asked to do with pages."""
        return self._settings.mode

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Schemas of the paging tools, to send along with the request; empty in PASSIVE.

        Contexts count them already; do not name them in the manager's `tools`.
        """
        return list(self._settings.tools)

    @property
    def metrics(self) -> VMMetrics:
        """Counts of this manager, not of the conversation."""
        return VMMetrics() if self._desk is None else self._desk.metrics

    @property
    def shown(self) -> dict[str, Level]:
        """The pages in the context that this manager built last, and how much of each."""
        return {} if self._desk is None else dict(self._desk.shown)

    # --- pages ---

    async def create_page(
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
    ) -> Page:
        """Make a page; arguments as for `MemoryManager.create_page`.

        It is durable when this returns, and creates the conversation if need be. Its id is `p` and the seq
        of the event that holds it. Pinned, it is in the working set; else the manifest lists it.

        Raises:
            InvalidSetting: Content, importance or range that cannot be used.
            ValueTooLarge: It is larger than an event of the store may be.
            StoreError: The store failed.
        """
        page = make_page(
            "p1",
            content,
            page_type=page_type,
            modality=modality,
            caption=caption,
            importance=importance,
            pinned=pinned,
            origin=origin,
            seqs=seqs,
        )
        try:
            page.text.encode()
        except UnicodeEncodeError as error:
            raise InvalidSetting(
                f"the page's text is not valid Unicode: a lone surrogate at character {error.start}; "
                "decode the bytes with errors='replace' first"
            ) from None
        event = await self.shelf.write(page_made(page))
        made = made_page(event)
        assert made is not None
        return replace(made, pinned=pinned)

    async def page(self, page_id: str) -> Page:
        """A page by its id, its original text included.

        Raises:
            PageNotFound: No page has this id, or it was forgotten or removed from the log.
        """
        found = await self.shelf.find(await self.shelf.current(), page_id)
        if isinstance(found, Page):
            return found
        raise PageNotFound(page_id)

    async def pages(self) -> list[Page]:
        """What the host made or marked, in the order of the log. Pages of the log itself are not listed."""
        return list((await self.shelf.marked(await self.shelf.current())).values())

    async def pin(self, page: Page | str, *, pinned: bool = True) -> None:
        """Keep a page in the working set for good, or with `pinned=False` let it be taken out.

        Raises:
            PageNotFound: No page has this id.
        """
        await self._mark(page, pinned=bool(pinned))

    async def set_importance(self, page: Page | str, importance: float) -> None:
        """Say what a page is worth, from 0 to 1.

        Raises:
            InvalidSetting: Out of range.
            PageNotFound: No page has this id.
        """
        if not 0 <= importance <= 1:
            raise InvalidSetting(f"importance={importance!r} must be from 0 to 1")
        await self._mark(page, importance=float(importance))

    async def add_to_working_set(self, page: Page | str, level: Level = Level.FULL) -> None:
        """Show a page from the next context on, as long as there is room; what is worth less gives way.

        Raises:
            InvalidSetting: Another level than there is.
            PageNotFound: No page has this id.
        """
        if level not in list(Level):
            raise InvalidSetting(f"level={level!r} is none of {', '.join(map(str, Level))}")
        await self._mark(page, used=True, level=int(level))

    async def remove_from_working_set(self, page: Page | str) -> None:
        """Take a page out, pinned or not; the manifest goes on listing it.

        Raises:
            PageNotFound: No page has this id.
        """
        await self._mark(page, used=False, pinned=False)

    async def forget(self, page: Page | str) -> None:
        """Serve a page no more. Its text stays in the log until that is removed or erased.

        Of a page of the log this takes the page away, not its messages: recall goes on finding them.

        Raises:
            PageNotFound: No page has this id.
        """
        await self._mark(page, used=False, pinned=False, forgotten=True)

    # --- the model's calls and answers ---

    async def handle_tool_call(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """Serve a `page_fault` or `search_pages` call; reads, and writes nothing.

        What the model got wrong, pages that are gone and calls beyond the limits are answered in words.

        Returns:
            The content of the tool message; record it as the call's result.

        Raises:
            InvalidSetting: Not a tool of this mode.
            SessionNotFound: The conversation never was there.
            StoreError: The store could not be read.
        """
        if name not in (schema["function"]["name"] for schema in self.tools):
            raise InvalidSetting(
                f"tool {name!r} is none of virtual memory's in mode {self.mode.value!r}; "
                f"it serves {PAGE_FAULT!r} and {SEARCH_PAGES!r}, and none in 'passive'"
            )
        try:
            request = (SearchRequest if name == SEARCH_PAGES else FaultRequest).read(arguments)
        except BadArguments as problem:
            return wording.BAD_ARGUMENTS.format(problem=problem)
        was_there = self.shelf.access.seen is not None
        try:
            conversation = await self.shelf.current()
        except SessionNotFound:
            if was_there:
                return wording.NO_CONVERSATION
            raise
        if isinstance(request, SearchRequest):
            return await self._search(conversation, request)
        return await self._fault(conversation, request)

    async def check_citations(self, answer: str) -> CitationReport:
        """Which statements of an answer cite no page, or one that does not hold what they say.

        What an answer takes from the messages themselves needs no page; the check cannot tell, and lists it
        under `uncited` like any other statement.
        """
        named: set[str] = set()
        check_citations(answer, named.add)
        conversation = await self.shelf.current()
        texts = {
            page_id: found.text
            for page_id in sorted(named)
            if isinstance(found := await self.shelf.find(conversation, page_id), Page)
        }
        report = check_citations(answer, texts.get)
        self.desk_of(conversation).count(hits=sum(page_id in self.shown for page_id in report.cited))
        return report

    async def _fault(self, conversation: Conversation, request: FaultRequest) -> str:
        desk = self.desk_of(conversation)
        found = await self.shelf.find(conversation, request.page_id)
        if _answered_since(conversation, desk.shown_through):
            desk.paging.shown = {}  # Another worker has built the context that the model has read.
        return found if isinstance(found, str) else desk.fault(found, request)

    async def _search(self, conversation: Conversation, request: SearchRequest) -> str:
        desk = self.desk_of(conversation)
        if (refusal := desk.paging.search_refusal()) is not None:
            return refusal
        marked = await self.shelf.marked(conversation)
        made = {page_id: page for page_id, page in marked.items() if page_id.startswith("p")}
        own = {**self.shelf.served(summary_pages(conversation)), **made}
        for page in own.values():
            desk.add(page)
        asked = question_of(conversation.events, conversation.head.last_seq)
        matches = desk.table.index.search(request.query)
        mine = [own[match.page_id] for match in matches if match.page_id in own][: request.limit]
        hits = await Recaller(self.shelf.access).search(request.query, 2 * request.limit + 2, None)
        found: dict[str, Page] = {}
        for i, hit in enumerate(hits):
            if i < len(mine):
                found[mine[i].id] = mine[i]
            if asked is None or hit.seq != asked[0]:
                page = await self.shelf.reader.page_at(conversation, hit.seq)
                found |= self.shelf.served(() if page is None else (page,))
        found |= {page.id: page for page in mine if page.id not in found}
        return desk.paging.found(list(found.values())[: request.limit], request)

    # --- for contexts ---

    @property
    def config(self) -> WorkingSetConfig:
        """Budgets and limits."""
        return self._settings.config

    def budget(self, max_tokens: int | None, window: int | None) -> int:
        """Most tokens of a context: as asked for, else as configured, within the model's window."""
        if max_tokens is not None:
            return max_tokens
        most = self.config.max_l0_tokens
        if window is None:
            return most
        return min(most, window) if self._configured else window

    def desk_of(self, conversation: Conversation) -> Desk:
        """Where pages are laid out; begins a new turn if the user has spoken since."""
        if self._desk is None or self._laid_for is not self.shelf.marks:
            self._desk = self._new_desk(counter_of(conversation), self._gauge.model_of(conversation))
            self._turn, self._laid_for = 0, self.shelf.marks
            self.limit_answers(self.budget(None, self._gauge.window_budget(conversation)))
        asked = question_of(conversation.events, conversation.head.last_seq)
        if asked is not None and asked[0] != self._turn:
            self._turn = asked[0]
            self._desk.begin_turn()
        return self._desk

    def first_desk(self) -> Desk:
        """A desk for a conversation to which nothing was written yet."""
        model = self._gauge.model
        return self._new_desk(counter_for_model(model or DEFAULT_TOKEN_MODEL), model)

    def _new_desk(self, counter: TokenCounter, model: str | None) -> Desk:
        return Desk(self._settings, counter, model)

    def limit_answers(self, budget: int) -> None:
        """Keep answers of tools within a quarter of a budget."""
        if self._desk is not None:
            least = self.config.answer_tokens
            self._desk.paging.answer_tokens = max(128, min(least, budget // 4, _MOST_ANSWER))

    async def _mark(self, page: Page | str, **mark: Any) -> None:
        page_id = page if isinstance(page, str) else page.id
        await self.page(page_id)
        await self.shelf.write(page_marked(page_id, **mark))


def _answered_since(conversation: Conversation, seq: int) -> bool:
    """Whether a context that ended at `seq` cannot be the newest: more than one answer came behind it."""
    messages = [event.message for event in conversation.events if event.seq > seq]
    roles = [message.role for message in messages if message is not None]
    return "user" in roles or roles.count("assistant") > 1
