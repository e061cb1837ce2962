"""How a conversation measures up to a host's model: limits, budget, ratio, and the request itself. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from . import config
from .context import Context, Frame, build_context
from .context.breakpoints import CacheControl
from .context.policies import Policies, build_with_policies, short_digest
from .conversation import Conversation
from .cost_policy import CostAwarePolicy
from .economy import RECENT, CacheRule, Decision, Situation, cache_rule, decide, pace_of
from .errors import InvalidSetting
from .messages import jsonable
from .meter import (
    TokenCounter,
    context_window,
    counter_for_model,
    counter_named,
    max_output_tokens,
    prior_ratio,
    tool_tokens,
)
from .policy import Limits, Policy, Trigger, due, fullness, limits_of, request_size
from .segmentation import seed_of
from .summary import ExtractiveSummarizer, LlmSummarizer, Summarizer

__all__ = ["Gauge", "counter_of", "given_policy"]

_NO_TRIGGERS: Final = Policy()


class Gauge:
    """What the host said of its model and its wishes, applied to a conversation.

    Args:
        model: The host's model, `None` if it did not say.
        tools: Tool schemas of each request.
        policy: The policy as given, `None` if none was.
        default_threshold: The threshold where none is given or stored.
        infinite_context: On, off, or `None` for as stored.
        summarizer: Who writes summaries; `None`: by rules.
        marked: For how long the host marks its requests for caching, `False` if it does not.
    """

    def __init__(
        self,
        *,
        model: str | None,
        tools: Sequence[Mapping[str, Any]] | None,
        policy: Policy | None,
        default_threshold: float | None,
        infinite_context: bool | None,
        summarizer: Summarizer | None = None,
        marked: CacheControl = False,
    ) -> None:
        self.model = model
        self.policy = policy
        self.infinite_context = infinite_context
        self._writers = _writers(summarizer)
        self._marked = marked
        self._tools = tools
        self._default = Policy(token_threshold=default_threshold)
        self._limits: tuple[Policy, Limits] | None = None
        self._tools_tokens: int | None = None
        self._tools_digest: str | None = None

    def model_of(self, conversation: Conversation | None) -> str | None:
        """The model as given, else as stored."""
        if self.model is not None or conversation is None:
            return self.model
        return conversation.settings["model"]

    def policy_of(self, conversation: Conversation) -> Policy:
        """The policy: as given, else as stored, else the default; `infinite_context` on or off."""
        policy = self.policy or conversation.stored_policy
        stored = conversation.settings["infinite_context"]
        infinite = stored if self.infinite_context is None else self.infinite_context
        if infinite is False:
            return _NO_TRIGGERS if not policy.segments else policy.without_triggers()
        if policy.segments:
            return policy
        if self._default.segments:
            return self._default
        return replace(policy, token_threshold=config.TRACKED_SHARE) if infinite else policy

    def limits_of(self, policy: Policy, conversation: Conversation) -> Limits:
        """The policy in tokens of the conversation's model; looked up once."""
        if self._limits is None or self._limits[0] != policy:
            of_window = isinstance(policy.token_threshold, float)
            model = self.model_of(conversation) or (config.DEFAULT_TOKEN_MODEL if of_window else None)
            window = context_window(model) if model else None
            reply = max_output_tokens(model) if model else None
            self._limits = (policy, limits_of(policy, window=window, reply=reply))
        return self._limits[1]

    def trigger(self, conversation: Conversation, *, turn_is_open: bool) -> Trigger | None:
        """Why a segmentation is due, `None` if it is not; from what is at hand, nothing is read."""
        policy = self.policy_of(conversation)
        if not policy.segments:
            return None
        limits = self.limits_of(policy, conversation)
        full = 0
        if limits.soft is not None:
            full = fullness(
                conversation.standing_head,
                limits,
                fixed_tokens=self.fixed_tokens(conversation),
                ratio=self.ratio_of(conversation),
                model=self.model,
            )
        decision = self.decision(conversation) if self._may_pay(conversation, policy) else None
        return due(conversation.head, policy, limits, full, turn_is_open=turn_is_open, decision=decision)

    def _may_pay(self, conversation: Conversation, policy: Policy) -> bool:
        """Whether the request is large enough to weigh costs: what to look at first, for it takes no time."""
        if not isinstance(policy, CostAwarePolicy) or policy.token_threshold is None:
            return False
        return self._size(conversation) >= policy.least_tokens

    def _size(self, conversation: Conversation) -> int:
        """Tokens of the next request as the model counts them."""
        return request_size(
            conversation.head,
            fixed_tokens=self.fixed_tokens(conversation),
            ratio=self.ratio_of(conversation),
            model=self.model,
        )

    def decision(self, conversation: Conversation) -> Decision | None:
        """What pays now; `None` where the policy does not weigh costs. From what is at hand."""
        policy = self.policy_of(conversation)
        if not isinstance(policy, CostAwarePolicy):
            return None
        head, model, ratio = conversation.head, self.model_of(conversation), self.ratio_of(conversation)
        fixed, limits = self.fixed_tokens(conversation), self.limits_of(policy, conversation)
        ceiling = limits.soft
        if ceiling is not None and not limits.of_window:
            ceiling = int(ratio * (ceiling + fixed))
        rule, terms = cache_rule(model), policy.terms
        if self._marked == "1h" and terms.cache_lifetime_s is None and not rule.automatic:
            terms = replace(terms, cache_lifetime_s=rule.long_lifetime_s)
        cached = _cached(conversation, rule)
        pace = pace_of(conversation.events, head.counters, head.total_tokens, terms.lifetime_s(rule))
        situation = Situation(
            model=model,
            size=self._size(conversation),
            fixed=int(ratio * fixed),
            growth=None if pace.tokens_per_call is None else ratio * pace.tokens_per_call,
            ceiling=ceiling,
            idle_s=pace.idle_s,
            cold_share=pace.cold_share,
            cached=True if cached is None and self._marked else cached,
            summary_models=self._writers,
            ratio=ratio,
            seed=int(ratio * head.seed_tokens),
            unread=_unread(conversation.summary),
        )
        return decide(terms, situation)

    def fixed_tokens(self, conversation: Conversation) -> int:
        """Raw tokens of system prompt and tool schemas."""
        return conversation.settings["system_tokens"] + self.tools_tokens

    @property
    def tools_tokens(self) -> int:
        """Raw tokens of the tool schemas; counted once."""
        if self._tools_tokens is None:
            counter = counter_for_model(self.model or config.DEFAULT_TOKEN_MODEL)
            self._tools_tokens = tool_tokens(self._tools, counter) if self._tools else 0
        return self._tools_tokens

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The tool schemas of each request, as given."""
        return tuple(dict(tool) for tool in self._tools or ())

    @property
    def tools_digest(self) -> str:
        """Stands for the tool schemas, empty where there are none; made once."""
        if self._tools_digest is None:
            self._tools_digest = short_digest(jsonable(self._tools)) if self._tools else ""
        return self._tools_digest

    def ratio_of(self, conversation: Conversation) -> float:
        """The model's tokens per raw token; never below 1, so that a budget holds under both counts."""
        model, report = self.model_of(conversation), conversation.head.report
        if model is not None and counter_for_model(model).exact:
            return 1.0
        if report is not None and model in (None, report["model"]):
            return max(1.0, report["ratio"])
        return max(1.0, prior_ratio(model))

    def window_budget(self, conversation: Conversation | None) -> int | None:
        """The model's window less its reply; `None` where no model or window is known."""
        model = self.model_of(conversation)
        window = context_window(model) if model else None
        if window is None:
            return None
        return window - min(
            max_output_tokens(model) or config.REPLY_RESERVE, config.REPLY_RESERVE, window // 4
        )

    def request(self, conversation: Conversation, budget: int | None) -> Context:
        """The request for the conversation's newest state."""
        return build_context(
            conversation.events,
            session_id=conversation.head.session_id,
            frame=self._frame(conversation),
            budget=budget,
            ratio=self.ratio_of(conversation),
            count=counter_of(conversation).count,
        )

    async def request_by(self, policies: Policies, conversation: Conversation, budget: int | None) -> Context:
        """The request for the conversation's state as it is now, by what the policies show of it."""
        return await build_with_policies(
            tuple(conversation.events),  # A policy may wait, and the list grows meanwhile.
            session_id=conversation.head.session_id,
            frame=self._frame(conversation),
            policies=policies,
            budget=budget,
            ratio=self.ratio_of(conversation),
            count=counter_of(conversation).count,
            landmarks=conversation.landmarks,
        )

    def _frame(self, conversation: Conversation) -> Frame:
        settings = conversation.settings
        return Frame(
            system_prompt=settings["system_prompt"],
            system_tokens=settings["system_tokens"],
            tools_tokens=self.tools_tokens,
            seed=seed_of(conversation.summary),
            seed_tokens=conversation.head.seed_tokens,
        )

    def first_request(self, session_id: str, system_prompt: str | None, budget: int | None) -> Context:
        """The request of a conversation to which nothing was written yet."""
        count = counter_for_model(self.model or config.DEFAULT_TOKEN_MODEL).count
        tokens = count(system_prompt) if system_prompt else 0
        frame = Frame(system_prompt, tokens, self.tools_tokens)
        return build_context([], session_id=session_id, frame=frame, budget=budget, count=count)


def counter_of(conversation: Conversation) -> TokenCounter:
    """The counter that was fixed when the conversation was created."""
    return counter_named(conversation.settings["counter"])


def _writers(summarizer: Summarizer | None) -> tuple[str, ...] | None:
    """As `economy.Situation.summary_models` takes them."""
    if summarizer is None or isinstance(summarizer, ExtractiveSummarizer):
        return None
    return summarizer.models if isinstance(summarizer, LlmSummarizer) else ()


def _unread(record: Mapping[str, Any] | None) -> bool:
    """Whether no model has read all that the stored summary stands for."""
    return record is not None and record["summary"]["model_through"] != record["summary"]["through"]


def _cached(conversation: Conversation, rule: CacheRule) -> bool | None:
    """Whether reported usage shows a cache at work; `None` where it does not say, or could not yet."""
    counters = conversation.head.counters
    if counters.cache_read_tokens or counters.cache_creation_tokens:
        return True
    calls = counters.billed_calls
    if calls < 2 or counters.input_tokens / calls < 2 * rule.minimum_tokens:
        return None
    usages = (cast("Mapping[str, Any]", e.data.get("usage") or {}) for e in conversation.events[-RECENT:])
    return False if any(usage.get("cache_read_tokens") is not None for usage in usages) else None


def given_policy(policy: Policy | None, threshold: float | None, max_turns: int | None) -> Policy | None:
    """The policy with a threshold or turn count given beside it.

    Raises:
        InvalidSetting: It is none.
    """
    if policy is not None and not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"policy={policy!r}: use a Policy, such as CostAwarePolicy(), or None")
    if threshold is None and max_turns is None:
        return policy
    given = policy or Policy()
    return replace(
        given,
        token_threshold=given.token_threshold if threshold is None else threshold,
        max_turns=given.max_turns if max_turns is None else max_turns,
    )
