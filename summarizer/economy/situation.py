"""What a decision starts from: the policy's terms, and what is known at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .caches import CacheRule

__all__ = ["Situation", "Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy says; see `CostAwarePolicy`."""

    least_tokens: int
    tail_tokens: int
    seed_tokens: int
    minimum_gain: float
    tail_share: float
    seed_share: float
    summary_mode: Literal["auto", "live", "fenced"]
    at_cold: Literal["extract", "model", "never"]
    caching: bool | None
    cache_lifetime_s: float | None
    cache_minimum: int | None

    def lifetime_s(self, rule: CacheRule) -> float:
        """Seconds a cached prefix outlives its last use."""
        return rule.lifetime_s if self.cache_lifetime_s is None else self.cache_lifetime_s


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when the question is asked. Tokens are as the model counts them, if not said otherwise.

    Attributes:
        model: The host's model; `None` if unknown.
        size: The next request: system prompt, tools, seed and events.
        fixed: System prompt and tools, whose cached prefix a segmentation leaves alone.
        growth: What a call adds to the next request; `None` before the first one.
        ceiling: Size at which it is segmented whatever pays; `None`: never.
        idle_s: Seconds since the last call, if a call comes next; else `None`.
        cold_share: Share of calls that find the cache dead.
        cached: Whether the provider reported cached tokens; `None` if nothing was reported.
        summary_models: Who writes the summary: models, the first one first; empty for a function or object
            of the host's, which nobody can price; `None` for rules.
        ratio: The model's tokens per raw token.
        seed: Tokens of the present seed.
        provider: Who serves the model, in litellm's words.
        unread: Whether the summary must read more than the request shows: what only rules have summarized.
    """

    model: str | None
    size: int
    fixed: int = 0
    growth: float | None = None
    ceiling: int | None = None
    idle_s: float | None = None
    cold_share: float = 0.0
    cached: bool | None = None
    summary_models: tuple[str, ...] | None = None
    ratio: float = 1.0
    seed: int = 0
    provider: str | None = None
    unread: bool = False
