"""`LocalCompactionSession`: around any session, so that what the model is sent stays within limits.

    session = LocalCompactionSession(SQLiteSession("u1", "chat.db"), window_size=60, token_budget=8000)
    await Runner.run(agent, "hello", session=session)

Duck-typed after the SDK's `Session`; the SDK itself is not imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

from ...errors import InvalidSetting
from ...telemetry import log
from .counters import DefaultTokenCounter, Scales
from .inner import InnerSession, SessionLike
from .items import Item, awaits_answer
from .reporting import is_heard, report_compaction
from .rewriting import Rewriter
from .windows import Limits, View, view_of

__all__ = ["CompactionPolicy", "LocalCompactionSession"]

PIN_REACH: Final = 128
"""How many of the newest items are looked through for something to pin; one read of about a millisecond."""


@runtime_checkable
class CompactionPolicy(Protocol):
    """What to do with a history that is over the limits, before they cut it."""

    def compact(self, items: list[Item], /) -> Sequence[Item] | Awaitable[Sequence[Item]]:
        """What is to stand for these items, in order; may be async.

        Called with the whole stored history, which is not to be changed in place. What it gives is cut by the
        session's limits in turn. If it raises, the history itself is cut.
        """
        ...


DEFAULT_COUNTER: Final = DefaultTokenCounter()


class LocalCompactionSession:
    """A session that stores everything and shows the newest whole turns that fit.

    A view opens at a user message, is contiguous, and parts no call from its output, no reasoning from
    what it led to. In front of it stand, counted with the rest, system and developer messages at the
    history's head and the newest `compaction` item, if they are among the newest `pin_reach` items. The
    newest turn is shown even if it alone is over a limit. Outputs of no call are never shown, nor calls that
    were left unanswered in earlier turns.

    Reads do not grow with the history: the newest items are read, twice as many where those do not do.
    Nothing is cached, so other workers may write to the same session. A `window_size` that changes holds for
    all that is stored.

    Args:
        session: Any session of the SDK, or an object with its four methods and `session_id`.
        window_size: Most items shown; 0 shows none; `None` is no limit.
        token_budget: Most tokens shown; `None` is no limit.
        token_counter: Tokens of a text. Each item weighs 4 more; images, files and audio are weighed by
            `model`'s formulas. `None` counts nothing, and allows no `token_budget`. If it raises or gives
            no count, the text is estimated.
        model: Whose formulas weigh images; `None` takes the larger of the usual ones.
        policy: Asked for a shorter history when the stored one is over the limits, or at each read where
            there are none. It is given the whole history, which is read for it.
        archive: A second session of the same kind. With it, the stored history is replaced by the
            compacted one when it is over the limits, and what was replaced is kept in the archive. See
            `compact_stored`.
        pin_reach: How far back something to pin is looked for; `None` reads the whole history each time.

    Raises:
        InvalidSetting: A limit out of range, a budget without a counter, a counter or policy that is none. A
            `ValueError`.
    """

    def __init__(
        self,
        session: SessionLike,
        window_size: int | None = None,
        token_budget: int | None = None,
        token_counter: Callable[[str], int] | None = DEFAULT_COUNTER,
        *,
        model: str | None = None,
        policy: CompactionPolicy | None = None,
        archive: SessionLike | None = None,
        pin_reach: int | None = PIN_REACH,
    ) -> None:
        _check_limit("window_size", window_size, least=0)
        _check_limit("token_budget", token_budget, least=1)
        _check_limit("pin_reach", pin_reach, least=0)
        if token_counter is not None and not callable(token_counter):
            raise InvalidSetting(
                f"token_counter={token_counter!r} is not callable; pass a function of a text"
            )
        if token_budget is not None and token_counter is None:
            raise InvalidSetting(
                f"token_budget={token_budget!r} needs a token_counter; pass one, or leave the budget out"
            )
        if policy is not None and not callable(getattr(policy, "compact", None)):
            raise InvalidSetting(f"policy={policy!r} has no compact(items); give it one")
        if archive is not None and window_size is None and token_budget is None:
            raise InvalidSetting("archive needs window_size or token_budget, to know when to compact")
        self._inner = InnerSession(session)
        self._limits = Limits(window_size, token_budget)
        self._weigh = None if token_counter is None else Scales(token_counter, model)
        self._policy = policy
        self._pin_reach = pin_reach
        self._rewriter = Rewriter(self._inner, archive) if archive is not None else None

    if TYPE_CHECKING:  # The SDK's protocol has attributes, which no property is to a type checker.
        session_id: str
        session_settings: Any
    else:

        @property
        def session_id(self) -> str:
            """The wrapped session's id; setting it sets that."""
            return self._inner.session.session_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._inner.session.session_id = value

        @property
        def session_settings(self) -> Any:
            """The wrapped session's settings; their `limit` holds where `get_items` is given none."""
            return getattr(self._inner.session, "session_settings", None)

        @session_settings.setter
        def session_settings(self, value: Any) -> None:
            self._inner.session.session_settings = value

    def __getattr__(self, name: str) -> Any:
        """Whatever else the wrapped session offers, `run_compaction` for one, if it is public.

        Private ways past `get_items` stay shut; `_ignore_ids_for_matching` is a fact that the SDK asks for.
        """
        if name.startswith("_") and name != "_ignore_ids_for_matching":
            raise AttributeError(name)
        return getattr(self._inner.session, name)

    async def get_items(self, limit: int | None = None, *, wrapper: Any = None) -> list[Item]:
        """The view: the newest whole turns that fit.

        Args:
            limit: Most items, if that is less than `window_size`; 0 or less gives none. Cut at a turn's
                border like the window, and no exact tail: the newest turn is shown whole. A policy is
                not asked.
            wrapper: The run's context, for a wrapped session that takes one.
        """
        if self._rewriter is not None:
            await self._rewriter.settle(wrapper)
        asked = self._inner.limit if limit is None else limit
        given = [size for size in (self._limits.items, asked) if size is not None]
        limits = Limits(min(given, default=None), self._limits.tokens)
        if limits.items is not None and limits.items <= 0:
            return []
        view = await self._read(limits, wrapper)
        if self._policy is not None and asked is None and _is_over(view, limits):
            view = await self._by_policy(self._policy, limits, wrapper)
        self._report(view, limits)
        return view.items

    async def _read(self, limits: Limits, wrapper: Any) -> View:
        def look(items: list[Item], whole: bool) -> View | None:
            return view_of(items, limits, self._weigh, whole=whole)

        if limits == Limits() or self._pin_reach is None:
            view = look(await self._inner.all(wrapper), True)
            assert view is not None
            return view
        first = max(self._pin_reach, limits.likely) + 1  # One more, to know whether there are no more.
        return await self._inner.newest(first, look, wrapper)

    async def _by_policy(self, policy: CompactionPolicy, limits: Limits, wrapper: Any) -> View:
        items = await self._inner.all(wrapper)
        shorter = await self._compacted(policy, items)
        view = view_of(items if shorter is None else shorter, limits, self._weigh, whole=True)
        assert view is not None
        if shorter is None or view.items == items:
            return view
        return replace(view, before=items, limiting_factor=view.limiting_factor or "policy")

    async def _compacted(self, policy: CompactionPolicy, items: list[Item]) -> list[Item] | None:
        """What the policy gives; `None` if it failed, of which a log line says why."""
        try:
            answer = policy.compact(list(items))
            found: Any = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # noqa: BLE001 - the caller's own policy; it must not cost a turn
            log.exception(
                "history.policy_failed", session_id=self.session_id, policy=type(policy).__name__,
                error=type(error).__name__,
            )  # fmt: skip
            return None
        if isinstance(found, list | tuple):
            return list(cast("Sequence[Item]", found))
        given = type(found).__name__
        log.warning(
            "history.policy_failed", session_id=self.session_id, policy=type(policy).__name__, given=given
        )
        return None

    async def add_items(self, items: list[Item], *, wrapper: Any = None) -> None:
        """Append items to the wrapped session; with an archive, then compact what is stored if it is due.

        A compaction that fails is logged and does not fail the call: the items are stored by then.
        """
        if self._rewriter is None:
            await self._inner.add(items, wrapper)
            return
        await self._rewriter.settle(wrapper)
        await self._inner.add(items, wrapper)
        try:
            await self.compact_stored(wrapper=wrapper)
        except Exception as error:  # noqa: BLE001 - the caller's own stores; `settle` finishes what was begun
            log.exception(
                "session.replacement_failed", session_id=self.session_id, error=type(error).__name__
            )

    async def compact_stored(self, *, wrapper: Any = None) -> bool:
        """Replace the stored history by a compacted one, if it is over the limits and no call is open.

        By the policy, or, without one, by the view at half of the limits, so that not every turn rewrites.
        What was replaced goes to the archive, whole and in order.

        Returns:
            Whether anything was replaced.

        Raises:
            InvalidSetting: There is no archive.
        """
        if self._rewriter is None:
            raise InvalidSetting(
                "compact_stored() needs archive=..., a second session that keeps what is replaced"
            )
        view = await self._read(self._limits, wrapper)
        if view.limiting_factor is None or awaits_answer(view.items):
            return False
        old = await self._inner.all(wrapper)
        shorter = None if self._policy is None else await self._compacted(self._policy, old)
        limits = self._limits.halved() if shorter is None else self._limits
        new = view_of(old if shorter is None else shorter, limits, self._weigh, whole=True)
        assert new is not None
        if new.items == old or len(new.items) > len(old):
            return False
        if not await self._rewriter.replace(old, new.items, wrapper):
            return False
        log.info(
            "session.history_replaced",
            session_id=self.session_id,
            items_before=len(old),
            items_after=len(new.items),
        )
        return True

    async def pop_item(self, *, wrapper: Any = None) -> Item | None:
        """Remove and return the newest stored item."""
        if self._rewriter is not None:
            await self._rewriter.settle(wrapper)
        return await self._inner.pop(wrapper)

    async def clear_session(self, *, wrapper: Any = None) -> None:
        """Remove all items, the archive's too."""
        if self._rewriter is None:
            await self._inner.clear(wrapper)
        else:
            await self._rewriter.clear(wrapper)

    def get_compaction_config(self) -> dict[str, object]:
        """The settings: session id, window, budget and the counter's type."""
        scales = self._weigh
        return {
            "session_id": self.session_id,
            "window_size": self._limits.items,
            "token_budget": self._limits.tokens,
            "token_counter_type": None if scales is None else type(scales.counter).__name__,
        }

    def __repr__(self) -> str:
        return (
            f"LocalCompactionSession(session_id={self.session_id!r}, window_size={self._limits.items}, "
            f"token_budget={self._limits.tokens})"
        )

    def _report(self, view: View, limits: Limits) -> None:
        """One event for a read that left something out."""
        if view.limiting_factor is None or not is_heard():
            return
        tokens = [
            None if self._weigh is None else sum(map(self._weigh, some)) for some in (view.before, view.items)
        ]
        report_compaction(
            session_id=self.session_id,
            items_before=len(view.before),
            items_after=len(view.items),
            tokens_before=tokens[0],
            tokens_after=tokens[1],
            limiting_factor=view.limiting_factor,
            window_size=limits.items,
            token_budget=limits.tokens,
            whole=view.whole,
        )


def _is_over(view: View, limits: Limits) -> bool:
    return view.limiting_factor is not None or limits == Limits()


def _check_limit(name: str, value: object, *, least: int) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return
    hint = "; pass the counter as token_counter=" if callable(value) else ""
    raise InvalidSetting(f"{name}={value!r} must be None or a whole number of {least} or more{hint}")
