"""What a conversation has used so far: the head's counters, read three ways."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final

from .events import Counters, Event, batch_effects

__all__ = ["SessionStats", "Span", "stats_of"]

_PICO: Final = Decimal(10) ** -12


@dataclass(frozen=True, slots=True)
class SessionStats(Mapping[str, Any]):
    """Totals of a conversation, or of one of its segments.

    Attributes, a mapping (`stats["total_tokens"]`, `stats.get(...)`) and JSON (`to_json()`, `to_dict()`).
    Three kinds of tokens stand apart: `total_tokens` are content, counted once under the
    conversation's counter; `billed_tokens` are what providers reported for the host's
    calls, history sent again included; `summary_tokens` are our own spending on summaries.

    Attributes:
        session_id: The tip.
        conversation_id: The root.
        session_segments: Sessions of the chain, 1 or more.
        total_messages: User and assistant messages.
        user_messages: Messages of the user.
        ai_messages: Messages of the assistant; calls that `tool_used` made up are not among them.
        tool_calls: Calls, whoever recorded them.
        tool_results: Results.
        total_events: Records in the log, all kinds.
        total_tokens: Content tokens.
        inherited_tokens: Those of them that a fork began with; 0 for a conversation that is no fork.
        context_tokens: Content tokens of seed and open segment.
        seed_tokens: Content tokens of the seed.
        billed_tokens: Reported input and output tokens.
        input_tokens: Reported, cached ones included.
        output_tokens: Reported, reasoning included.
        cache_read_tokens: Reported; part of the input.
        cache_creation_tokens: Reported; part of the input.
        cached_share: Share of the input that came from the provider's cache, in [0, 1]; `None` while
            no provider has reported any. `SessionManager.cache_health()` says whether it should be more.
        reasoning_tokens: Reported; part of the output.
        estimated_cost: USD of the calls whose usage and price are known; 0 if none is.
        inherited_cost: The part of it that a fork began with.
        cost_coverage: Share of the assistant's messages whose cost is known, in [0, 1].
        cost_usd: USD of all calls, or `None` unless every one's cost is known.
        summary_calls: Requests to summary models that were answered.
        summary_tokens: Their input and output tokens.
        summary_cost: USD of those with a known price.
        summary_cost_usd: USD of all of them, or `None` unless every one's cost is known.
    """

    session_id: str
    conversation_id: str
    session_segments: int
    total_messages: int
    user_messages: int
    ai_messages: int
    tool_calls: int
    tool_results: int
    total_events: int
    total_tokens: int
    inherited_tokens: int
    context_tokens: int
    seed_tokens: int
    billed_tokens: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    cached_share: float | None
    reasoning_tokens: int
    estimated_cost: Decimal
    inherited_cost: Decimal
    cost_coverage: float
    cost_usd: Decimal | None
    summary_calls: int
    summary_tokens: int
    summary_cost: Decimal
    summary_cost_usd: Decimal | None

    def __getitem__(self, key: str) -> Any:
        if key not in _NAMES:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; money as text, so that no digit is lost."""
        return {name: str(value) if isinstance(value, Decimal) else value for name, value in self.items()}

    def to_json(self) -> str:
        """`to_dict()` as text."""
        return json.dumps(self.to_dict())


_NAMES: Final = tuple(f.name for f in fields(SessionStats))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a log: what its events add up to, how many they are, and their content tokens."""

    counters: Counters = field(default_factory=Counters)
    events: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, events: Sequence[Event]) -> Span:
        """The span of these events."""
        effects = batch_effects(events)
        return cls(effects.counters, len(events), sum(effects.tokens))

    def minus(self, other: Span) -> Span:
        """The rest."""
        counters = self.counters.minus(other.counters)
        return Span(counters, self.events - other.events, self.tokens - other.tokens)


def stats_of(
    span: Span,
    *,
    inherited: Span,
    session_id: str,
    conversation_id: str,
    segments: int,
    context_tokens: int,
    seed_tokens: int,
) -> SessionStats:
    """Read a span as statistics; `inherited` is the part of it that a fork began with."""
    counters = span.counters
    calls = counters.billed_calls + counters.unbilled_calls
    estimated = counters.cost_pico * _PICO
    spent = counters.summary_cost_pico * _PICO
    return SessionStats(
        session_id=session_id,
        conversation_id=conversation_id,
        session_segments=segments,
        total_messages=counters.messages,
        user_messages=counters.user_messages,
        ai_messages=counters.assistant_messages,
        tool_calls=counters.tool_calls,
        tool_results=counters.tool_messages,
        total_events=span.events,
        total_tokens=span.tokens,
        inherited_tokens=inherited.tokens,
        context_tokens=context_tokens,
        seed_tokens=seed_tokens,
        billed_tokens=counters.input_tokens + counters.output_tokens,
        input_tokens=counters.input_tokens,
        output_tokens=counters.output_tokens,
        cache_read_tokens=counters.cache_read_tokens,
        cache_creation_tokens=counters.cache_creation_tokens,
        cached_share=_share(counters.cache_read_tokens, counters.input_tokens),
        reasoning_tokens=counters.reasoning_tokens,
        estimated_cost=estimated,
        inherited_cost=inherited.counters.cost_pico * _PICO,
        cost_coverage=counters.priced_calls / calls if calls else 0.0,
        cost_usd=estimated if calls and counters.priced_calls == calls else None,
        summary_calls=counters.summary_calls,
        summary_tokens=counters.summary_input_tokens + counters.summary_output_tokens,
        summary_cost=spent,
        summary_cost_usd=spent if counters.summary_priced_calls == counters.summary_calls else None,
    )


def _share(cached: int, whole: int) -> float | None:
    """Calls that reported no cache count as input all the same; without any that did, nothing is known."""
    return cached / whole if cached and whole else None
