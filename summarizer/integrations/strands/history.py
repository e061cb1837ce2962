"""Conversation managers that keep an agent's messages within a budget: by a window, or by summaries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from strands.agent.conversation_manager import ConversationManager
from strands.hooks import BeforeModelCallEvent, HookRegistry

from ...meter import context_window
from ...summary import resolve_summarizer
from ...summary.choose import SummarizerSpec
from ...telemetry import log
from .blocks import Message, mapping_of, mark_of
from .estimate import Estimator, TokenFunction
from .reducing import Aim, Draft, Parting, Reduced, parting, place, squeeze, stale_results
from .settings import Settings
from .shrinking import joined, pinned
from .summarizing import RunningSummary, Written
from .thread import run

__all__ = ["Agent", "SlidingWindowManager", "SummarizingManager", "model_of", "tell"]

_OVERFLOW_SHARE: Final = 0.75
"""What is aimed at after the provider said that a request was too long, of what we take it to weigh."""
_MOST_STAND_INS: Final = 10_000
"""Stand-ins that are remembered, so that a history's old results are not read anew before each call."""

Agent = Any
"""A Strands agent; read by its public attributes `messages`, `model`, `system_prompt`, `tool_registry`."""


class _Manager(ConversationManager):
    """What both managers share: when to reduce, and by which steps, the least harmful first."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._estimator: Estimator | None = None
        self._model_calls = 0
        self._pins_set = False
        self._postponed = False
        self._stand_ins: dict[int, tuple[Message, Message | None]] = {}
        self._summary: RunningSummary | None = None
        """What stands for messages that are left out; `None` in a window."""
        self._settled: tuple[int, int] | None = None
        """Length and last message of the history that was reduced last: a cycle is reduced once."""

    # When

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Look at the history before each model call."""
        super().register_hooks(registry, **kwargs)
        registry.add_callback(BeforeModelCallEvent, self._before_model_call)

    async def _before_model_call(self, event: BeforeModelCallEvent) -> None:
        self._model_calls += 1
        often = self._settings.window_due(self._model_calls)
        aim = self._due(event.agent, window=often or self._postponed)
        self._postponed = False
        if aim is not None:
            # Summaries are awaited in a thread, so that other requests of this loop go on.
            await asyncio.to_thread(self._reduce, event.agent, aim)

    def apply_management(self, agent: Agent, **_later: Any) -> None:
        """Called by Strands at the end of a turn: reduces if window, budget or threshold are exceeded.

        In a running event loop a summary is put off to the next model call, where it can be awaited.
        """
        aim = self._due(agent, window=True)
        self._postponed = aim is not None and self._summary is not None and _in_event_loop()
        if aim is not None and not self._postponed:
            self._reduce(agent, aim)

    def reduce_context(self, agent: Agent, e: Exception | None = None, **_later: Any) -> None:
        """Make the history smaller.

        Args:
            agent: Its `messages` are changed in place.
            e: The provider's "too long". With it the history shrinks, or `e` is raised.
            **_later: Arguments of later versions of Strands.
        """
        if e is None:
            aim = self._due(agent, window=True) or self._smaller(agent, "threshold")
            self._reduce(agent, aim)
            return
        aim = self._smaller(agent, "overflow")
        done = self._reduce(agent, aim, again=True)
        if done is None or done.tokens_after >= done.tokens_before:
            raise e

    def _due(self, agent: Agent, *, window: bool) -> Aim | None:
        """What must be reached now; `None` if the history is within all limits."""
        messages: list[Message] = agent.messages
        if self._settled == _state_of(messages):
            return None
        draft = self._draft(agent)
        limit = self._limit_of(agent)
        if limit is not None and draft.tokens > limit:
            reason = "budget" if limit == self._settings.max_context_tokens else "threshold"
            return self._aim(agent, reason, limit, int(limit * (1 - self._settings.slide)))
        if window and self._settings.window_size is not None and len(messages) > self._settings.window_size:
            return self._aim(agent, "window", limit, limit)
        if window and stale_results(draft, self._settings.compactable_after_messages) >= self._settings.batch:
            return Aim("stale_results")
        return None

    def _aim(self, agent: Agent, reason: str, tokens: int | None, keep_tokens: int | None) -> Aim:
        window = self._settings.window_size
        keep = None if window is None else max(1, round(window * (1 - self._settings.slide)))
        if window is not None and len(agent.messages) <= window:
            keep = None  # The window is no reason to leave out more than the budget asks for.
        return Aim(
            reason, tokens, keep_tokens, window, keep, int((keep_tokens or 0) * self._settings.seed_share)
        )

    def _limit_of(self, agent: Agent) -> int | None:
        """The budget, or the threshold where that is lower."""
        limits = [] if self._settings.max_context_tokens is None else [self._settings.max_context_tokens]
        if self._settings.proactive_threshold is not None:
            window = agent.model.context_window_limit or context_window(model_of(agent) or "")
            limits += [int(window * self._settings.proactive_threshold)] if window else []
        return min(limits, default=None)

    def _smaller(self, agent: Agent, reason: str) -> Aim:
        tokens = int(self._draft(agent).tokens * _OVERFLOW_SHARE)
        return self._aim(agent, reason, tokens, min(tokens, self._limit_of(agent) or tokens))

    # How

    def _reduce(self, agent: Agent, aim: Aim, *, again: bool = False) -> Reduced | None:
        """Take the steps that the aim needs; `None` if nothing could be changed."""
        messages: list[Message] = agent.messages
        if not messages or (self._settled == _state_of(messages) and not again):
            return None
        self._pin(messages)
        before, draft = len(messages), self._draft(agent)
        tokens = draft.tokens
        shortened = stale_results(draft, self._settings.compactable_after_messages) + squeeze(draft, aim)
        now = _state_of(messages)
        removed, written = self._leave_out(agent, draft, aim)
        shortened += squeeze(draft, aim, hard=True)
        if _state_of(messages) != now:
            return None  # The run was cancelled while a summary was awaited, and another one went on.
        messages[:] = draft.messages
        self.removed_message_count += removed
        self._settled = _state_of(messages)
        limit = self._limit_of(agent)
        done = Reduced(
            aim.reason,
            before,
            len(messages),
            tokens,
            draft.tokens,
            removed,
            shortened,
            over_budget=limit is not None and draft.tokens > limit,
            summarized_by=written.writer,
            rejections=written.rejections,
            calls=written.calls,
        )
        changed = bool(removed or shortened)
        if changed or done.over_budget or done.rejections:
            tell(done, self._settings.on_reduced)
        return done if changed else None

    def _leave_out(self, agent: Agent, draft: Draft, aim: Aim) -> tuple[int, Written]:
        """Leave out messages up to a cut, if the aim needs it; how many, and what stands for them."""
        cut = place(draft, aim)
        parts = None if cut is None else parting(draft, cut)
        if parts is None or not parts.gone:
            return 0, Written()
        written = self._stand_for(agent, parts, aim)
        if not written.messages and self._summary is not None and aim.reason != "overflow":
            return 0, written
        notes = written.messages or parts.summary
        draft.messages = joined([*parts.early, *notes, *parts.late], parts.tail)
        return len(parts.gone), written

    def _stand_for(self, agent: Agent, parts: Parting, aim: Aim) -> Written:
        """What stands for the messages that are left out; nothing in a window."""
        if self._summary is None:
            return Written()
        if not parts.summary:
            self._summary.forget()  # It is shown no more: a session's seed stands for what it stood for.
        system = agent.system_prompt if isinstance(agent.system_prompt, str) else None
        most = aim.reserve or None
        return run(
            self._summary.extend(parts.gone, self.estimator_of(agent), most=most, system_prompt=system)
        )

    # What it weighs

    def estimator_of(self, agent: Agent) -> Estimator:
        """The estimator for the agent's model."""
        if self._estimator is None:
            self._estimator = Estimator(self._settings.token_counter, self._settings.model or model_of(agent))
        return self._estimator

    def _draft(self, agent: Agent) -> Draft:
        weigh = self.estimator_of(agent)
        specs = agent.tool_registry.get_all_tool_specs()
        if len(self._stand_ins) > _MOST_STAND_INS:
            self._stand_ins.clear()
        fixed = weigh.fixed(agent.system_prompt, specs)
        return Draft(list(agent.messages), weigh, fixed, self._stand_ins)

    def _pin(self, messages: list[Message]) -> None:
        """Pin the first messages, once; a copy, for what a session recorded stays as it is."""
        if self._pins_set or not self._settings.pin_first:
            return
        self._pins_set = True
        own = [i for i, message in enumerate(messages) if mark_of(message) is None][
            : self._settings.pin_first
        ]
        for i in own:
            messages[i] = pinned(messages[i])

    # What is told and kept

    def get_state(self) -> dict[str, Any]:
        """What a session keeps of this manager, as JSON."""
        state = {**super().get_state(), "model_calls": self._model_calls, "pins_set": self._pins_set}
        return state if self._summary is None else {**state, "summary": self._summary.to_dict()}

    def restore_from_session(self, state: dict[str, Any]) -> list[Any] | None:
        """Take that state up again; the summary, if there is one, goes before the messages.

        Raises:
            ValueError: It is the state of another class.
        """
        super().restore_from_session(state)
        self._model_calls = int(state.get("model_calls", 0))
        self._pins_set = bool(state.get("pins_set", False))
        if self._summary is None:
            return None
        self._summary.load(state.get("summary"))
        return self._summary.messages or None


class SlidingWindowManager(_Manager):
    """Keeps the newest messages: `Agent(conversation_manager=SlidingWindowManager(max_context_tokens=8000))`.

    What stays is contiguous and begins with the user's message of its turn (or with what is pinned); a tool
    use never loses its result. Over a token limit, large tool results are cut down first, so that one of
    them does not cost the history. The window moves by `slide` of its size at once: in between the request
    only grows at its end, and the provider's prompt cache stays warm.

    Args:
        window_size: Most messages; `None` for no limit.
        max_context_tokens: Most tokens of a request: system prompt, tool specs and messages; held before
            each model call.
        token_counter: From a text to its tokens; `None`: the model's own tokenizer, or the nearest one.
        compactable_after_messages: Age in messages from which a tool result becomes a stand-in that says
            what was there.
        proactive_threshold: Share of the model's window, in (0, 1], held like the budget. The window is its
            `context_window_limit`, else what the price table says; without effect where neither is known.
        per_turn: Whether window and stale results are looked at before each model call (`True`), each n-th
            one (n), or at the end of a turn only.
        pin_first: How many of the first messages stay for ever.
        slide: Share by which a window or a budget is undercut when it is reduced, in [0, 1). Stale results
            are gathered too, that share of `compactable_after_messages` at once. 0: every limit exactly.
        model: Name for tokenizer and image formula; `None`: the agent's `model_id`.
        on_reduced: Called with a `Reduced` after each reduction; what it raises is logged.

    Raises:
        InvalidSetting: An argument out of range (a `ValueError`).
    """

    def __init__(
        self,
        window_size: int | None = 40,
        *,
        max_context_tokens: int | None = None,
        token_counter: TokenFunction | None = None,
        compactable_after_messages: int | None = None,
        proactive_threshold: float | None = None,
        per_turn: bool | int = False,
        pin_first: int | None = None,
        slide: float = 0.25,
        model: str | None = None,
        on_reduced: Callable[[Reduced], object] | None = None,
    ) -> None:
        super().__init__(
            Settings(
                window_size,
                max_context_tokens,
                token_counter,
                compactable_after_messages,
                proactive_threshold,
                per_turn,
                pin_first,
                slide,
                model,
                on_reduced,
            )
        )


class SummarizingManager(_Manager):
    """Keeps the newest messages behind a summary of the others, which replaces the one before it.

    The summary is the house's: a ledger that rules fill and a model may amend, checked against what it
    stands for and never longer. Each one reads the new messages alone, and takes the ledger along as it is.
    A model that fails costs nothing: rules write then, and `Reduced.rejections` says so. If what is left out
    is too little for any summary to be shorter, it stays (after an overflow it goes without one).

    Args:
        summarizer: `"extractive"`, a litellm model name, a list of names, a function, or an object with
            `async summarize(request)`; as for `summarizer.SessionManager`.
        seed_share: Share of the budget that the summary may take, in (0, 1).
        window_size: Most messages; `None` for no limit. The others as for `SlidingWindowManager`.

    Raises:
        InvalidSetting: An argument out of range (a `ValueError`).
    """

    def __init__(
        self,
        summarizer: SummarizerSpec = None,
        *,
        seed_share: float = 0.25,
        window_size: int | None = None,
        max_context_tokens: int | None = None,
        token_counter: TokenFunction | None = None,
        compactable_after_messages: int | None = None,
        proactive_threshold: float | None = None,
        per_turn: bool | int = False,
        pin_first: int | None = None,
        slide: float = 0.25,
        model: str | None = None,
        on_reduced: Callable[[Reduced], object] | None = None,
    ) -> None:
        super().__init__(
            Settings(
                window_size,
                max_context_tokens,
                token_counter,
                compactable_after_messages,
                proactive_threshold,
                per_turn,
                pin_first,
                slide,
                model,
                on_reduced,
                seed_share,
            )
        )
        self._summary = RunningSummary(resolve_summarizer(summarizer))


def model_of(agent: Agent) -> str | None:
    """The name of the agent's model, as its configuration says; `None` if it does not."""
    config: Any = agent.model.get_config()
    name = mapping_of(config).get("model_id") or getattr(config, "model_id", None)
    return name if isinstance(name, str) else None


def tell(done: Reduced, on_reduced: Callable[[Reduced], object] | None, **ids: Any) -> None:
    """Log a reduction, and call the host's own callback."""
    log.info(
        "context.reduced",
        **ids,
        reason=done.reason,
        messages_before=done.messages_before,
        messages_after=done.messages_after,
        tokens_before=done.tokens_before,
        tokens_after=done.tokens_after,
        removed=done.removed,
        shortened=done.shortened,
        over_budget=done.over_budget,
        summarized_by=done.summarized_by,
    )
    if on_reduced is None:
        return
    try:
        on_reduced(done)
    except Exception:  # noqa: BLE001 - the host's own callback must not cost a model call
        log.exception("context.callback_failed", **ids, reason=done.reason)


def _state_of(messages: list[Message]) -> tuple[int, int] | None:
    """What a history is known by again: a new message changes it."""
    return (len(messages), id(messages[-1])) if messages else None


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
