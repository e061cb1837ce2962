"""A context with pages: rules behind the system prompt, resident pages behind the seed, the rest at the end.

The budget is divided by figures that depend on budget, prompt and settings alone, so that the window of the
messages moves as rarely as without pages. What is resident changes with that window, with what the host does,
and with a new segment; between such changes the context up to its suffix grows at its end only.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ..context import Context
from ..context.blocks import MESSAGE_FRAME
from ..context.view import raw_budget
from ..conversation import Conversation
from ..errors import TokenLimitExceeded
from ..gauge import Gauge
from ..memory import Level, Page
from ..meter.counting import REPLY_PRIMING
from .desk import Desk, Record, Use
from .memory import SessionMemory
from .reader import Place, notes_of, oldest_seq, place_of, summary_pages
from .window import Hidden, hidden_pages, question_of

__all__ = ["PagedView", "View"]

_WORTH: Final = 60
"""Raw tokens below which a record or a suffix would show nothing; the messages get them then."""
_SUFFIX: Final = 1500
"""Most raw tokens of what serves one question."""
_REACH: Final = 4
"""Pages of the newest hidden events come in as far back as this many times the room for pages."""
_WHAT: Final = "the system prompt with the rules of virtual memory and the newest turn"

View = Callable[[Conversation, int | None], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class _Shares:
    """Raw tokens of rules and schemas, and kept for resident pages and for the suffix, frames included."""

    fixed: int
    pages: int = 0
    suffix: int = 0

    @property
    def all(self) -> int:
        return self.fixed + self.pages + self.suffix


class PagedView:
    """Builds contexts of one conversation with the pages of its memory.

    Args:
        memory: The memory.
        gauge: What the host said of its model.
    """

    def __init__(self, memory: SessionMemory, gauge: Gauge) -> None:
        self.memory = memory
        self._gauge = gauge
        self._hidden: tuple[object, Hidden] = ((), Hidden())

    def budget(self, max_tokens: int | None, conversation: Conversation | None) -> int:
        """Most tokens of a context; see `SessionMemory.budget`."""
        return self.memory.budget(max_tokens, self._gauge.window_budget(conversation))

    async def context(self, conversation: Conversation, budget: int | None, view: View) -> Context:
        """The view's messages within what the pages leave, and the pages.

        Where seed and newest turn need the pages' room, they get it.

        Raises:
            TokenLimitExceeded: System prompt, rules, schemas and the newest turn alone are larger.
        """
        memory, ratio = self.memory, self._gauge.ratio_of(conversation)
        budget = self.budget(budget, conversation)
        await memory.shelf.catch_up(conversation)
        desk = memory.desk_of(conversation)
        memory.limit_answers(budget)
        changed_seq = memory.shelf.marks.changed_seq  # Facts may come while pages are read.
        marked = await memory.shelf.marked(conversation)
        shares = self._shares(conversation, desk, raw_budget(budget, ratio), marked)
        shares, shown = await _shared(view, conversation, budget, shares, ratio)
        hidden = self._hidden_pages(conversation, shown)
        notes = self._notes(conversation)
        scene = _Scene(conversation, shares, shown, hidden, marked, notes, changed_seq)
        await self._lay_out(desk, scene)
        desk.shown_through = shown.last_seq
        built = _with_pages(shown, desk, conversation.settings["system_prompt"], _record(desk, scene))
        suffix = _suffix(desk, scene)
        built = built if suffix is None else _with_suffix(built, suffix)
        return replace(built, budget=budget, paged=_seqs_of(desk))

    def _hidden_pages(self, conversation: Conversation, shown: Context) -> Hidden:
        """The pages of what a view leaves out; made anew only when its window has moved."""
        opened = conversation.events[0].event_id if conversation.events else None
        window = (conversation.head.index, opened, shown.omitted)
        if self._hidden[0] != window:
            self._hidden = (window, hidden_pages(conversation.events, shown))
        return self._hidden[1]

    async def first(
        self, prompt: str | None, max_tokens: int | None, view: Callable[[int], Context]
    ) -> Context:
        """The context of a conversation to which nothing was written yet."""
        desk = self.memory.first_desk()
        budget = self.budget(max_tokens, None)

        async def viewed(left: int) -> Context:
            return view(left)

        fixed = desk.fixed(prompt, desk.count_text(prompt or ""))
        shown = await _within(budget, fixed, 1.0, viewed)
        return replace(_with_pages(shown, desk, prompt, None), budget=budget)

    def _shares(
        self, conversation: Conversation, desk: Desk, raw: int, marked: Mapping[str, Page]
    ) -> _Shares:
        settings, head, config = conversation.settings, conversation.head, self.memory.config
        prompt: str | None = settings["system_prompt"]
        fixed = desk.fixed(prompt, settings["system_tokens"])
        sent = fixed + self._gauge.fixed_tokens(conversation) + MESSAGE_FRAME * bool(prompt) + REPLY_PRIMING
        room = max(0, raw - sent)
        suffix = min(_SUFFIX, int(room * config.suffix_share))
        suffix = suffix if suffix >= desk.suffix_frame + _WORTH else 0
        pages = int(room * config.page_share)
        # A learned ratio moves the room with each report; what is resident must not move along.
        pages -= pages % (1 << max(0, pages.bit_length() - 4))
        pages = pages if pages >= desk.record_frame + _WORTH else 0
        whole = head.segment_tokens + MESSAGE_FRAME * (len(conversation.events) + 1) + head.seed_tokens
        wanted = desk.wanted(self._uses_of_host(marked, Hidden(), None), self._notes(conversation))
        if sent + whole + suffix + min(pages, wanted) <= raw:
            pages = min(pages, wanted)
        return _Shares(fixed, pages, suffix)

    def _notes(self, conversation: Conversation) -> Page | None:
        """The newest seed as a page, unless the host took it out."""
        notes = notes_of(conversation)
        return None if notes is None or self.memory.shelf.marks.get(notes.id).forgotten else notes

    def _uses_of_host(self, marked: Mapping[str, Page], hidden: Hidden, shown: Context | None) -> list[Use]:
        """What the host wants shown; pages of the log not as long as the view shows their events."""
        uses: list[Use] = []
        for page_id, page in marked.items():
            mark, place = self.memory.shelf.marks.get(page_id), place_of(page_id)
            if not mark.used_seq or place is None:
                continue
            if shown is not None and place.kind in "er" and _shows_all(shown, place):
                continue
            uses.append(Use(mark.used_seq, hidden.turn_of(mark.used_seq), page, Level(mark.level)))
        return uses

    async def _lay_out(self, desk: Desk, scene: _Scene) -> None:
        """Choose what is resident, if window, segment, budget or what the host said has changed."""
        shelf, conversation = self.memory.shelf, scene.conversation
        hidden, shares = scene.hidden, scene.shares
        head = conversation.head
        there = (head.index, head.first_seq, *scene.marked)
        state = (there, scene.shown.omitted, scene.changed_seq, shares.pages)
        if desk.filled == state:
            return
        read = await shelf.reader.pages(conversation, [page_id for _, page_id in hidden.faults])
        faults, log = shelf.served(read.values()), shelf.served(hidden.pages)
        summary = shelf.served(summary_pages(conversation))
        desk.lay_out({**summary, **log, **faults, **scene.marked}.values())
        uses = self._uses_of_host(scene.marked, hidden, scene.shown)
        uses += [
            Use(seq, hidden.turn_of(seq), faults[page_id], Level.FULL)
            for seq, page_id in hidden.faults
            if page_id in faults
        ]
        room = max(0, shares.pages - desk.frame_with(scene.notes))
        for page in hidden.newest(_REACH * room):
            if page.id in log:
                seq = page.last_seq or 0
                uses.append(Use(seq, hidden.turn_of(seq), log[page.id], Level.FULL))
        desk.fill(sorted(uses, key=lambda use: (use.seq, use.page.id)), room, state)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a context is made of."""

    conversation: Conversation
    shares: _Shares
    shown: Context
    hidden: Hidden
    marked: Mapping[str, Page]
    notes: Page | None
    changed_seq: int


async def _shared(
    view: View, conversation: Conversation, budget: int, shares: _Shares, ratio: float
) -> tuple[_Shares, Context]:
    """The messages beside rules and pages; beside less of these where seed and newest turn need the room."""
    for kept in dict.fromkeys((shares, replace(shares, pages=0), _Shares(shares.fixed))):
        last = not (kept.pages or kept.suffix)
        try:
            shown = await _within(budget, kept.all, ratio, lambda left: view(conversation, left))
        except TokenLimitExceeded:
            if last:
                raise
            continue
        if last or not any(gone.reason_code in ("clipped", "seed") for gone in shown.omitted):
            return kept, shown
    raise AssertionError("the last of the shares returns or raises")


async def _within(budget: int, kept: int, ratio: float, view: Callable[[int], Awaitable[Context]]) -> Context:
    """A view within what is left of a budget.

    Args:
        budget: Most tokens of all.
        kept: Raw tokens of what is to stand beside the view.
        ratio: Tokens per raw token.
        view: Gives the context for a budget.

    Raises:
        TokenLimitExceeded: It does not fit; with the figures of the whole.
    """
    kept, needed = math.ceil(kept * ratio), 1
    if kept < budget:
        try:
            return await view(budget - kept)
        except TokenLimitExceeded as error:
            needed = error.needed
    raise TokenLimitExceeded(kept + needed, budget, _WHAT)


def _with_pages(shown: Context, desk: Desk, prompt: str | None, record: Record | None) -> Context:
    text, tokens = desk.system(prompt or "")
    rest, seqs = shown.messages, shown.seqs
    if prompt:
        rest, seqs = rest[1:], seqs[1:]
    seed = 1 if shown.parts["seed"] else 0
    pages: list[dict[str, Any]] = [] if record is None else [{"role": "user", "content": record.content}]
    parts = {**shown.parts, "system": tokens, "tools": shown.parts["tools"] + desk.tools_tokens}
    parts["framing"] += MESSAGE_FRAME * (len(pages) + (0 if prompt else 1))
    if record is not None:
        parts["pages"] = record.tokens
    return replace(
        shown,
        messages=[{"role": "system", "content": text}, *rest[:seed], *pages, *rest[seed:]],
        tokens=math.ceil(sum(parts.values()) * shown.ratio),
        parts=parts,
        seqs=(0, *seqs[:seed], *(0 for _ in pages), *seqs[seed:]),
    )


def _shows_all(shown: Context, place: Place) -> bool:
    return shown.shows(place.first) and shown.shows(place.last)


def _record(desk: Desk, scene: _Scene) -> Record | None:
    """The resident pages; a seed that is shown is one of them."""
    notes = scene.notes if scene.shown.parts["seed"] and scene.shares.pages else None
    return desk.record(notes, max(0, scene.shares.pages - desk.record_frame))


def _suffix(desk: Desk, scene: _Scene) -> Record | None:
    """What serves the newest question."""
    if not scene.shares.suffix:
        return None
    asked = question_of(scene.conversation.events, scene.shown.last_seq)
    oldest = oldest_seq(scene.conversation)
    through = (scene.hidden.first_seq or scene.conversation.head.start_seq) - 1
    earlier = f"events {oldest} to {through}" if through >= oldest else None
    room = scene.shares.suffix - desk.suffix_frame
    return desk.suffix(None if asked is None else asked[1], earlier, room)


def _with_suffix(context: Context, suffix: Record) -> Context:
    parts = {**context.parts, "memory": suffix.tokens}
    parts["framing"] += MESSAGE_FRAME
    return replace(
        context,
        messages=[*context.messages, {"role": "user", "content": suffix.content}],
        tokens=math.ceil(sum(parts.values()) * context.ratio),
        parts=parts,
        volatile=context.volatile + 1,
        seqs=(*context.seqs, 0),
    )


def _seqs_of(desk: Desk) -> frozenset[int]:
    """Seqs of the events that stand on pages which are shown whole."""
    found: set[int] = set()
    for page_id, level in desk.shown.items():
        place = place_of(page_id)
        if level is Level.FULL and place is not None and place.kind in "er":
            seqs = range(place.first, place.last + 1)
            found.update(seq for seq in seqs if place.kind == "r" or f"r{seq}" not in desk.table)
    return frozenset(found)
