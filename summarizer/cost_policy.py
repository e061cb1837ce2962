"""`CostAwarePolicy`: segment when it pays. Pure: what is known in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal

from .config import TRACKED_SHARE
from .economy import LEAST_SEED, Decision, Situation, Terms, decide
from .errors import InvalidSetting
from .policy import Policy

__all__ = ["CostAwarePolicy", "read_policy"]

_KIND: Final = "cost_aware"


@dataclass(frozen=True, slots=True)
class CostAwarePolicy(Policy):
    """When to segment, decided by what it costs and saves.

    A longer prompt is paid for at every call; a segmentation is paid for once. With the prices of the
    model, the life of the provider's cache, and how fast the conversation grows, there is a size at
    which the sum is least: that is the threshold (`docs/cost.md` derives it). After a pause in which
    the cache has died, the whole prompt must be written anew in any case, so the threshold is lower
    there. `decide` says what it would do, with its inputs; what it is expected to save stands in
    each `segment.created` event, and `SessionManager.savings()` says what it did save.

    It needs `model` of the `SessionManager` for prices. Without a known price it decides by assumed
    ratios (see `economy.tariffs`), says so, and states no saving in money.

    Attributes:
        token_threshold: The ceiling: whatever pays, it segments here. As in `Policy`; by default three
            quarters of the model's window. `None`: tokens and cost never trigger.
        least_tokens: Size of the whole request (system prompt, tools, seed, events; as the model counts
            it) below which cost never triggers, cold or warm. For quality, not for cost: raise it
            where the model must see more verbatim. 0 or more.
        tail_tokens: Most raw tokens that stay verbatim, and at most `tail_share` of what the ceiling leaves
            beside system prompt and tools. By cost less is always better; the newest unit stays even if it
            is larger, if the minimum gain allows it.
        seed_tokens: Most raw tokens of the seed, and at most `seed_share` of the same; 64 or more.
        summary_mode: As in `Policy`; `auto` takes the cheaper way, `live` only where the host's own
            model is among the summarizer's.
        at_cold: At a cold moment: `extract` writes the summary by rules, at once, while the user's
            message is recorded (a model reads on at the next segmentation); `model` waits for the
            summarizer, at most `hard_wait_s`; `never` does nothing then.
        caching: Whether requests are cached. `None`: as the reported usage shows, and before there
            is any, whether the provider caches by itself (Anthropic does not without breakpoints).
        cache_lifetime_s: Seconds a cached prefix outlives its last use; `None`: as `economy.caches` knows
            of the provider. 3600 with Anthropic means the one-hour cache, whose writes cost twice the input.
        cache_minimum: Tokens below which a prompt is not cached; `None`: as the provider's table says.
    """

    token_threshold: int | float | None = TRACKED_SHARE
    least_tokens: int = 4000
    tail_tokens: int = 1000
    seed_tokens: int = 1000
    at_cold: Literal["extract", "model", "never"] = "extract"
    caching: bool | None = None
    cache_lifetime_s: float | None = None
    cache_minimum: int | None = None

    def __post_init__(self) -> None:
        Policy.__post_init__(self)  # `super()` does not know a class that slots have made anew.
        for name, least in (("least_tokens", 0), ("tail_tokens", 0), ("seed_tokens", LEAST_SEED)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSetting(f"{name}={value!r}: use a whole number of tokens from {least}")
        for name in ("cache_lifetime_s", "cache_minimum"):
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise InvalidSetting(f"{name}={value!r}: use a number from 0, or None for the provider's")
        if self.caching is not None and not isinstance(self.caching, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSetting(f"caching={self.caching!r}: use True, False, or None for as usage shows")
        if self.at_cold not in ("extract", "model", "never"):
            raise InvalidSetting(f"at_cold={self.at_cold!r}: use 'extract', 'model' or 'never'")

    @property
    def terms(self) -> Terms:
        """What the decision asks of the policy."""
        return Terms(
            least_tokens=self.least_tokens,
            tail_tokens=self.tail_tokens,
            seed_tokens=self.seed_tokens,
            minimum_gain=self.minimum_gain,
            tail_share=self.tail_share,
            seed_share=self.seed_share,
            summary_mode=self.summary_mode,
            at_cold=self.at_cold,
            caching=self.caching,
            cache_lifetime_s=self.cache_lifetime_s,
            cache_minimum=self.cache_minimum,
        )

    def decide(self, situation: Situation) -> Decision:
        """What pays in a situation; printing the decision shows its inputs and the expected saving.

        Pure. `SessionManager` asks it at each write from `least_tokens` on, some 50 µs on a small
        machine once the price table is read; simulators may ask it themselves.
        """
        return decide(self.terms, situation)

    def to_dict(self) -> dict[str, Any]:
        """JSON, whole; a reader that does not know this kind takes it for a `Policy` with its ceiling."""
        return {"kind": _KIND, **Policy.to_dict(self)}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf


def read_policy(value: Mapping[str, Any]) -> Policy:
    """The policy that `to_dict` wrote; of a kind that a newer version added, what a `Policy` has of it."""
    kind = CostAwarePolicy if value.get("kind") == _KIND else Policy
    return kind.from_dict(value)
