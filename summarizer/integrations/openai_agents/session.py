"""`LongspliceSession`: a session of the OpenAI Agents SDK, kept in a conversation's log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import InvalidSetting, SessionNotFound, StoreConflict
from ...events import Event, EventKind
from ...meter import Usage
from ...session import SessionManager
from ...standing import standing
from ..native import native_data
from .items import call_key, is_user, output_key, pair
from .ledger import EARLY, ORDER, RUNTIME, Ledger, Stored, known, ledger_of, said
from .limiting import Limiter
from .translate import Round, Wire, plain, rounds
from .view import view_of

if TYPE_CHECKING:
    from agents import Agent, RunConfig, RunHooks
    from agents.memory import SessionSettings
    from agents.run_config import CallModelData, ModelInputData

__all__ = ["LongspliceSession"]

_FIRST_PAGE: Final = 64
_LAST_PAGE: Final = 4096
_RECENT: Final = 512
"""Events among which those of a running round are looked for, besides four for each item of a batch."""


class LongspliceSession:
    """A session of any length: items stay as they came, and the model sees what fits.

    `get_items()` is a view: a summary of what was, then whole turns within the budget. `get_items(limit=n)`
    are the newest n items as they were stored. Everything is in the conversation's log, which other workers,
    and other runtimes, may read and go on with.

        session = LongspliceSession("user-42", token_threshold=8000, store="sqlite:///chat.db")
        result = await Runner.run(agent, "Hi", session=session, run_config=session.run_config())

    A run that fails leaves what it has stored: the user's message, and each round of tools that came back.

    Args:
        session_id: The conversation; `None` makes a new, unguessable id.
        manager: A manager that exists, instead of an id and settings.
        max_tokens: Most tokens of a request: instructions, tool schemas and input. `None`: the window of
            `model` less its reply, or no limit where no model or window is known.
        model: The host's model, for windows, prices and images; the agent's own name goes before it where
            usage is booked.
        session_settings: The SDK's; its `limit` makes `get_items()` of a run the exact tail.
        settings: Everything else that `SessionManager` takes: `store`, `owner`, `token_threshold`,
            `summarizer`, ... Without a threshold nothing is ever summarized.

    Raises:
        InvalidSetting: An argument out of range, or settings beside a manager.
    """

    def __init__(
        self,
        session_id: str | None = None,
        *,
        manager: SessionManager | None = None,
        max_tokens: int | None = None,
        model: str | None = None,
        session_settings: SessionSettings | None = None,
        **settings: Any,
    ) -> None:
        if manager is not None and (session_id is not None or settings):
            raise InvalidSetting("a manager and an id or settings are given; pass either")
        if max_tokens is not None and max_tokens < 1:
            raise InvalidSetting(f"max_tokens={max_tokens!r}: use a whole number from 1, or None")
        self.manager = SessionManager(session_id, model=model, **settings) if manager is None else manager
        """The conversation's manager: statistics, recall, forks, the guard."""
        self.session_id: str = self.manager.conversation_id
        """The conversation; the same in every segment."""
        self.session_settings: SessionSettings | None = session_settings
        self.model = model
        self.run_model: str | None = None
        """The model that the newest `run_config` names; it goes before an agent's own."""
        self._announcing = asyncio.Lock()
        self._told = deque[list[object]](maxlen=_RECENT)
        self._limiter = Limiter(max_tokens, model)

    def __repr__(self) -> str:
        return f"LongspliceSession({self.session_id!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.settle()

    async def settle(self) -> None:
        """Wait until no segmentation is under way; scripts call it before they end."""
        await self.manager.settle()

    # The protocol

    async def get_items(self, limit: int | None = None, *, wrapper: object = None) -> list[Any]:  # noqa: ARG002
        """The view, or the newest items as they were stored.

        Args:
            limit: How many of the newest; 0 gives none, a negative number all. `None`: the view.
            wrapper: The run's context; not used.

        Raises:
            TokenLimitExceeded: For the view: the newest user's message alone exceeds the budget.
            StoreError: The store could not be read.
        """
        if limit == 0:
            return []
        try:
            if limit is not None:
                found = await self._tail(limit)
                return [one.item for one in (found if limit < 0 else found[-limit:])]
            return await self._view(self._limiter.max_tokens)
        except SessionNotFound:
            return []

    async def add_items(self, items: list[Any], *, wrapper: object = None) -> None:  # noqa: ARG002
        """Store items, all or none of them; durable when this returns.

        What the guard or a hook has recorded already is not recorded again.

        Args:
            items: As the runtime has them; kinds that nobody knows are kept and counted like any other.
            wrapper: The run's context; not used.

        Raises:
            StoreError: The store failed; nothing was stored.
        """
        given = [plain(item) for item in items]
        if not given:
            return
        before = await self._recorded(given)
        places = [i for i in range(len(given)) if i not in before]
        fresh = rounds([given[i] for i in places], places)
        order = _order(given, before, fresh) if before else None
        if order is not None and not fresh:
            await self.manager.note({ORDER: order})
        elif fresh:
            data = [self._data(one) for one in fresh]
            if order is not None:
                data[-1] = {**(data[-1] or {}), ORDER: order}
            await self._record(fresh, data)

    async def pop_item(self, *, wrapper: object = None) -> Any | None:  # noqa: ARG002
        """Take the newest item back, and return it; `None` if there is none.

        No worker is shown it any more. The log, which only grows, still knows that it was said; so does a
        summary that was made with it.
        """
        while True:
            try:
                events = await self.manager.open_segment()
                found = await self._tail(1, events)
            except SessionNotFound:
                return None
            if not found:
                return None
            newest = found[-1]
            rest = [one.item for one in found if one.seq == newest.seq][:-1]
            left = rounds(rest)
            try:
                await self.manager.take_back(
                    [newest.seq],
                    instead=[one.message for one in left],
                    data=[self._data(one) for one in left],
                    expect=events[-1].seq,
                )
            except StoreConflict:  # Somebody wrote in between: another item is the newest now.
                continue
            return newest.item

    async def clear_session(self, *, wrapper: object = None) -> None:  # noqa: ARG002
        """Empty the session, for every worker; the log keeps what was said.

        Statistics, `recall` and `$vN` know it still. `manager.store.erase` removes it for good.
        """
        try:
            await self.manager.clear()
        except SessionNotFound:
            return

    # Inside a run

    async def call_model_input_filter(self, data: CallModelData[Any]) -> ModelInputData:
        """Hold the budget before each model call of a run; for `RunConfig`.

        The session alone cannot: its items are read once a run. What fits passes unchanged. Else, where the
        input ends with what the session stored, the session's view takes its place; where it does not (a
        handoff's filter, an agent that is a tool), its oldest turns are left out.

        Raises:
            TokenLimitExceeded: Instructions and the newest user's message alone exceed the budget.
        """
        return await self._limiter.filtered(data, self.get_items, self._view)

    def run_config(self, **settings: Any) -> RunConfig:
        """A `RunConfig` that holds the budget inside the run; `settings` are its own.

        A filter among them runs before ours.

        Raises:
            MissingExtra: The SDK is not installed.
        """
        from .running import run_config

        return run_config(self, settings)

    def hooks(self, then: RunHooks[Any] | None = None) -> RunHooks[Any]:
        """Run hooks that book each model call's usage, and number its tool calls in their order.

        Pass them to runs that have this session. Usage is of the model that answered, cached and reasoning
        tokens included, and is counted once.

        Args:
            then: Hooks of your own, called behind these.

        Raises:
            MissingExtra: The SDK is not installed.
        """
        from .hooks import SessionHooks

        return SessionHooks(self, then)

    def request_tokens(self, agent: Agent[Any], instructions: str | None, items: Sequence[Any]) -> int:
        """Raw tokens of a request of an agent's, for `answered`.

        Args:
            agent: Its tools and handoffs are counted; tools of MCP servers are not.
            instructions: As they are sent.
            items: The input.
        """
        return self._limiter.request_tokens(agent, instructions, items)

    async def answered(
        self,
        items: Sequence[Any],
        *,
        usage: object = None,
        model: str | None = None,
        sent_tokens: int | None = None,
    ) -> None:
        """Take what a model answered, before its tools run.

        Its calls are recorded at once, so that they are numbered in their order; the runtime stores them with
        their results. An answer without calls is left to the runtime: a guardrail may still reject it.

        Args:
            items: The answer's items.
            usage: What was reported of it; `None` if nothing.
            model: The model that answered; `None`: the session's.
            sent_tokens: What was sent, by `request_tokens`; the model's own count is learned from it.
        """
        given = [plain(item) for item in items]
        reported, model = Usage.from_response(usage), model or self.model
        if reported is not None and not (reported.input_tokens or reported.output_tokens):
            reported = None  # The SDK writes 0 where nothing was reported.
        calls = rounds([item for item in given if output_key(item) is None])
        if any(call_key(item) for item in given) and len(calls) == 1:
            await self._record_early(calls[0], usage=reported, model=model, sent_tokens=sent_tokens)
            self._told.extend(said(item) for item in given if call_key(item))
        elif reported is not None:
            await self.manager.report_usage(reported, model=model, sent_tokens=sent_tokens)

    async def announce(self, call: Any) -> None:
        """Record a call of which nobody has told, before it runs; calls are numbered as they come.

        Args:
            call: The runtime's item.
        """
        given = [plain(call)]
        async with self._announcing:
            if (told := said(given[0])) in self._told:
                self._told.remove(told)
            elif not await self._waits(given[0]):
                await self._record_early(rounds(given)[0])

    def runs_with(self, model: object, session_input_callback: object) -> None:
        """Take note of what a run was configured with: `run_config` tells it."""
        from .hooks import model_name

        self.run_model = model_name(model)
        self._limiter.replaces = session_input_callback is None

    # How it works inside

    async def _view(self, max_tokens: int | None) -> list[Wire]:
        context = await self.manager.context(max_tokens, cache_control=False)
        self._limiter.saw(context)
        return view_of(context, await self.manager.open_segment(seen=True))

    async def _tail(self, limit: int, events: Sequence[Event] = ()) -> list[Stored]:
        """The newest items, `limit` at least if there are so many, and all of the events they are of.

        Read backwards, in ever longer pages: first what is at hand, then the log.
        """
        known = list(events or await self.manager.open_segment())
        page = _FIRST_PAGE
        tail = known[-page:]
        while True:
            found = ledger_of(tail)
            first = tail[0].seq if tail else 1
            if first <= 1 or found.is_begun or _is_enough(found, limit):
                return found.items
            page = min(_LAST_PAGE, page * 2)
            if first > known[0].seq:
                tail = known[-2 * len(tail) :]
                continue
            older = await self._before(first, first if limit < 0 else page)
            if not older:
                return found.items
            tail = known = standing([*older, *known])

    async def _before(self, seq: int, page: int) -> list[Event]:
        after = max(0, seq - 1 - page)
        return await self.manager.read(include_all_segments=True, after_seq=after, until_seq=seq - 1)

    async def _recorded(self, given: Sequence[Wire]) -> dict[int, Stored]:
        """Which of these items were recorded before the runtime handed them over."""
        wanted = {i for i, item in enumerate(given) if call_key(item) or output_key(item)}
        if not wanted:
            return {}
        try:
            events = (await self.manager.open_segment())[-_RECENT - 4 * len(given) :]
        except SessionNotFound:
            return {}
        found = known(given, ledger_of(events).early)
        if not wanted <= found.keys() and _opened_just_now(events, len(given)):
            events = standing([*await self._before(events[0].seq, _FIRST_PAGE), *events])
            found = known(given, ledger_of(events).early)
        return found

    async def _waits(self, call: Wire) -> bool:
        """Whether the log has the call, unanswered: a run of another worker was paused there.

        In turns before the newest only what the runtime stored counts: what else waits there was interrupted,
        and models use ids again.
        """
        try:
            ledger = ledger_of((await self.manager.open_segment())[-_RECENT:])
        except SessionNotFound:
            return False
        held = [one.item for one in ledger.items]
        turn = max((i for i, item in enumerate(held) if is_user(item)), default=0)
        waiting = [i for i in pair(held).open if call_key(held[i]) == call_key(call)]
        stored = [i for i in waiting if said(held[i]) == said(call) and ledger.items[i] not in ledger.early]
        return bool(stored) or any(i >= turn for i in waiting)

    async def _record_early(self, one: Round, **reported: Any) -> None:
        await self._record([one], [{**(self._data(one) or {}), EARLY: True}], **reported)

    async def _record(
        self,
        made: Sequence[Round],
        data: Sequence[dict[str, Any] | None],
        *,
        usage: Usage | None = None,
        model: str | None = None,
        sent_tokens: int | None = None,
    ) -> None:
        tokens = [sum(map(self._limiter.weigh, one.items)) if one.is_beyond_chat else None for one in made]
        messages = [one.message for one in made]
        await self.manager.record_all(
            messages, data=data, tokens=tokens, usage=usage, model=model, sent_tokens=sent_tokens
        )

    def _data(self, one: Round) -> dict[str, Any] | None:
        native = one.native
        return None if native is None else native_data(RUNTIME, native)


def _is_enough(found: Ledger, limit: int) -> bool:
    return 0 < limit < len(found.items) and not found.is_cut


def _opened_just_now(events: Sequence[Event], items: int) -> bool:
    """Whether a segment was opened since a round began, so that the round may stand in the one before."""
    if not events or events[0].seq <= 1:
        return False
    recent = events[-(4 * items + 16) :]
    return any(event.kind is EventKind.SEGMENTED for event in recent)


def _order(given: Sequence[Wire], before: dict[int, Stored], fresh: Sequence[Round]) -> list[list[Any]]:
    """Where each item of a batch stands in the log, for `ledger.ORDER`."""
    rows: dict[int, list[Any]] = {}
    for i, one in before.items():
        rows[i] = [one.seq, one.place] if one.item == given[i] else [one.seq, one.place, given[i]]
    for distance, one in enumerate(reversed(fresh)):
        rows.update({i: [-distance, place] for place, i in enumerate(one.places)})
    return [rows[i] for i in range(len(given))]
