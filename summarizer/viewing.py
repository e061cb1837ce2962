"""What the model is sent: a conversation's context, put together from what each part of the house adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .access import Access
from .context import Context
from .context.breakpoints import CacheControl, breakpoints, check_cache_control, with_breakpoints
from .context.policies import Compose, Policies, identity_of
from .conversation import Conversation
from .economy import cache_rule
from .economy.cache_health import MISSES, CacheHealth, calls_of, health_of
from .errors import TokenLimitExceeded
from .gauge import Gauge
from .messages import jsonable
from .recalling import Recaller
from .recording import Sent
from .stores.protocol import Loaded
from .summary import LivePrefix
from .telemetry import log
from .view_changes import ViewChanges

if TYPE_CHECKING:
    from .session_memory import PagedView

__all__ = ["Viewer"]

_HOUR_S: Final = 3600.0


class Viewer:
    """Builds the contexts of the conversation that `access` leads to.

    Args:
        access: The conversation.
        gauge: What the host said of its model.
        cache_control: How contexts are marked for the provider's cache, where a call does not say.
        policies: What of the open segment is shown, where a call does not say.
        paged: Adds the pages of virtual memory; `None` without it.

    Raises:
        InvalidSetting: Another `cache_control` than there is, or something that is no policy.
    """

    def __init__(
        self,
        access: Access,
        gauge: Gauge,
        cache_control: CacheControl = False,
        policies: Policies | None = None,
        paged: PagedView | None = None,
    ) -> None:
        check_cache_control(cache_control)
        self._access = access
        self._gauge = gauge
        self._cache_control: CacheControl = cache_control
        self._policies = Compose([] if policies is None else [policies])
        self._changes = ViewChanges(access)
        self._asked: tuple[int | None, Policies | None, CacheControl] = (None, None, cache_control)
        self._paged = paged
        self._sent: tuple[int, Sent] | None = None

    async def context(
        self,
        max_tokens: int | None,
        *,
        recall: bool,
        policies: Policies | None,
        cache_control: CacheControl | None = None,
    ) -> Context:
        """See `SessionManager.context`."""
        marking: CacheControl = self._cache_control if cache_control is None else cache_control
        check_cache_control(marking)
        self._asked = (max_tokens, policies, marking)
        built = await self._context(max_tokens, recall=recall, policies=policies)
        once = sum(built.parts.get(part, 0) for part in ("recall", "memory"))
        self._sent = (built.last_seq, Sent(sum(built.parts.values()), once))
        return _marked(built, marking) if marking else built

    async def _context(self, max_tokens: int | None, *, recall: bool, policies: Policies | None) -> Context:
        access, paged = self._access, self._paged
        given = self._policies if policies is None else Compose([policies])
        if access.fresh and access.seen is None:
            first = partial(self._gauge.first_request, access.session_id, access.system_prompt)
            if paged is not None:
                return await paged.first(access.system_prompt, max_tokens, first)
            return first(self._gauge.window_budget(None) if max_tokens is None else max_tokens)
        conversation = await access.current()
        budget = self._gauge.window_budget(conversation) if max_tokens is None else max_tokens
        view = partial(self._view, given)
        if paged is not None:
            budget, view = paged.budget(max_tokens, conversation), partial(paged.context, view=view)
        if recall:
            built = await Recaller(access).context(conversation, budget, view)
        else:
            built = await view(conversation, budget)
        return replace(
            built, messages=[_copied(message) for message in built.messages], parts=dict(built.parts)
        )

    async def live_prefix(self, loaded: Loaded) -> LivePrefix | None:
        """The request that the host would send for this state, asked for as the newest one was.

        Returns:
            `None`, with a line in the logs, where it would not show the whole session as it was recorded, or
            where model or tools are not known.
        """
        conversation, (max_tokens, policies, marking) = Conversation.of(loaded), self._asked
        budget = self._gauge.window_budget(conversation) if max_tokens is None else max_tokens
        given = self._policies if policies is None else Compose([policies])
        try:
            if given.policies:
                context = await self._gauge.request_by(given, conversation, budget)
            else:
                context = self._gauge.request(conversation, budget)
        except TokenLimitExceeded:
            context = None
        model, tools = self._gauge.model_of(conversation), self._gauge.tools
        missing = _what_is_missing(context, model, tools, paged=self._paged is not None)
        if missing is not None or context is None or model is None:
            log.info("summary.live_not_open", conversation_id=self._access.root, reason_code=missing)
            return None
        sent = _marked(context, marking) if marking else context
        messages = tuple(_copied(message) for message in sent.messages)
        return LivePrefix(messages, tools, model, context.tokens)

    async def cache_health(self) -> CacheHealth:
        """See `SessionManager.cache_health`."""
        access = self._access
        if access.fresh and access.seen is None:
            return health_of(())
        return self._health(await access.current())

    def sent(self, last_seq: int) -> Sent | None:
        """What the newest context weighs, if the log still ends where that ended."""
        return self._sent[1] if self._sent is not None and self._sent[0] == last_seq else None

    def watch_cache(self, conversation: Conversation) -> None:
        """Say in the logs that the provider's cache has collapsed; once, where it begins."""
        health = self._health(conversation)
        if health.status == "collapsed" and health.misses == MISSES:
            log.warning(
                "cache.collapsed",
                conversation_id=self._access.root,
                session_id=conversation.head.session_id,
                likely_cause=health.likely_cause,
                expected_tokens=health.expected_tokens,
                reported_tokens=health.reported_tokens,
            )

    def _health(self, conversation: Conversation) -> CacheHealth:
        takes_marks = not cache_rule(self._gauge.model_of(conversation)).automatic
        lifetime_s = _HOUR_S if self._cache_control == "1h" and takes_marks else None
        return health_of(calls_of(conversation.events), lifetime_s=lifetime_s)

    async def record_changes(self, conversation: Conversation) -> None:
        """Tell the log what changed in the views since; to be called behind a write. See `ViewChanges`."""
        await self._changes.record(conversation)

    async def _view(self, policies: Compose, conversation: Conversation, budget: int | None) -> Context:
        gauge = self._gauge
        key = (budget, gauge.model, gauge.tools_tokens)
        if not policies.policies:
            return conversation.view(key, lambda: gauge.request(conversation, budget))
        known, index = identity_of(policies), conversation.head.index
        kept = conversation.kept_views() if known.is_repeatable else {}
        built = kept.get((key, known.digest))
        if built is None:
            built = await gauge.request_by(policies, conversation, budget)
            kept[key, known.digest] = built  # Still of this state: repeatable policies never wait.
        if built.boundary is not None:
            self._changes.built(known.digest, index, gauge.tools_digest, built.boundary)
        return built


def _what_is_missing(
    context: Context | None, model: str | None, tools: Sequence[object], *, paged: bool
) -> str | None:
    """Why a request would not do, `None` if it would.

    Args:
        context: The host's next context; `None` if there is none within its budget.
        model: The host's model.
        tools: The tool schemas that the host gave.
        paged: Whether virtual memory stands in for parts of it.

    Returns:
        `context_shortened`, `model_unknown`, or `tools_unknown`: calls stand in the messages, but no schemas
        were given, so that the provider's cache, in which tools stand first, would not be met.
    """
    if context is None or paged or context.omitted:
        return "context_shortened"
    if context.boundary is not None and not context.boundary.is_whole:
        return "context_shortened"
    if model is None:
        return "model_unknown"
    called = any("tool_calls" in message or "function_call" in message for message in context.messages)
    return "tools_unknown" if called and not tools else None


def _marked(context: Context, cache_control: CacheControl) -> Context:
    """The context with marks for the provider's cache; its tokens are the same."""
    parts = context.parts
    head = range(bool(parts["system"]) + bool(parts["seed"]) + ("pages" in parts))
    at = breakpoints(context.messages, head, context.volatile)
    return replace(context, messages=with_breakpoints(context.messages, at, cache_control))


def _copied(message: dict[str, Any]) -> dict[str, Any]:
    """A copy that a caller may change without changing the next one."""
    copy = dict(message)
    for key, value in message.items():
        if isinstance(value, list | dict):
            copy[key] = jsonable(value)
    return copy
