"""What pays: a situation and the policy's terms in, a decision with its reasons out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil, isfinite
from typing import Any, Final, Literal

from .caches import CacheRule, cache_rule
from .cycle import cycle_calls
from .situation import Situation, Terms
from .tariffs import Tariff, tariff_of

__all__ = ["LEAST_SEED", "Decision", "decide"]

LEAST_SEED: Final = 64
"""Raw tokens below which a seed holds its frame and hardly anything else; measured on the extractive one."""
_INSTRUCTION: Final = 700
"""Prompt tokens of a summary request beside what it reads: instructions and answer schema, rounded up."""
_PICO: Final = Decimal(10) ** -12

Mode = Literal["fenced", "live"]
Cache = Literal["warm", "cold", "none"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What pays now, and what it is computed from. Money is in picodollars; `str()` reads it out.

    Attributes:
        due: `cost` (the prompt has outgrown its best size), `cold` (the cache has died, and the next call
            writes the prompt anew in any case), or `None`.
        threshold: Size from which it is due: for cost, or at a cold moment for that.
        calls: Length of the cycle that begins with a segmentation now.
        after: Size of the request after it.
        tail_tokens: Most raw tokens that stay verbatim.
        seed_tokens: Most raw tokens of the seed.
        summary_mode: How a model is asked.
        summary_pico: What the summary is expected to cost; 0 for rules, `None` if it cannot be known.
        saving_pico: What the cycle's calls would cost more with the prompt as it is, less what
            segmenting costs; negative where it loses, `None` without known prices.
        cache: Whether the next request finds the prefix cached, or nothing is ever cached.
        lifetime_s: Seconds that the cache is taken to outlive its last use.
        tariff: The prices.
        situation: As given.
    """

    due: Literal["cost", "cold"] | None
    threshold: int | None
    calls: float | None
    after: int
    tail_tokens: int
    seed_tokens: int
    summary_mode: Mode
    summary_pico: int | None
    saving_pico: int | None
    cache: Cache
    lifetime_s: float
    tariff: Tariff
    situation: Situation

    def handed_over(self, *, after_tokens: int, asked: bool) -> Decision:
        """The same with what came of it: the seed as it was written, and no cost where no model was asked.

        Args:
            after_tokens: Raw tokens of the new seed and the tail.
            asked: Whether a model was.
        """
        at = self.situation
        kept = round(at.ratio * after_tokens)
        cost = self.summary_pico if asked else 0
        saving = None
        if self.tariff.known and cost is not None and self.calls is not None:
            worth = _saving(
                self.tariff,
                self.cache,
                cold_share=at.cold_share,
                removed=at.size - at.fixed - kept,
                kept=kept,
                calls=self.calls,
            )
            saving = round(worth - cost)
        return replace(
            self,
            after=at.fixed + kept,
            summary_pico=cost if self.tariff.known else None,
            saving_pico=saving,
        )

    @property
    def expected_saving(self) -> Decimal | None:
        """US dollars; see `saving_pico`."""
        return None if self.saving_pico is None else self.saving_pico * _PICO

    def to_dict(self) -> dict[str, Any]:
        """JSON: what is stored with a segmentation."""
        at, tariff = self.situation, self.tariff
        prices = {"input": tariff.input, "output": tariff.output, "read": tariff.read, "write": tariff.write}
        return {
            "saving_pico": self.saving_pico,
            "summary_pico": self.summary_pico,
            "mode": self.summary_mode,
            "cache": self.cache,
            "lifetime_s": self.lifetime_s,
            "prices_pico": prices if tariff.known else None,
            "model": at.model,
            "before": at.size,
            "after": self.after,
            "fixed": at.fixed,
            "growth": None if at.growth is None else round(at.growth, 1),
            "calls": None if self.calls is None else round(self.calls, 1),
            "cold_share": round(at.cold_share, 3),
            "idle_s": at.idle_s,
            "threshold": self.threshold,
            "ratio": at.ratio,
        }

    def __str__(self) -> str:
        at, tariff = self.situation, self.tariff
        unit = "USD per million tokens" if tariff.known else "ratios, as no price is known"
        scale = 1e-6 if tariff.known else 1
        rates = (
            f"input {tariff.input * scale:g}, output {tariff.output * scale:g}, "
            f"cache read {tariff.read * scale:g}, cache write {tariff.write * scale:g} ({unit})"
        )
        growth = "unknown" if at.growth is None else f"{at.growth:.0f} tokens a call"
        verdict = "not now" if self.due is None else f"segment now, for {self.due}"
        saving = "unknown" if self.expected_saving is None else f"{self.expected_saving:.6f} USD"
        calls = "" if self.calls is None else f" over {self.calls:.1f} calls"
        return (
            f"{verdict}: the next request has {at.size} tokens, {self.after} after a segmentation; threshold "
            f"{self.threshold}; {at.model or 'no model'}: cache {self.cache}, {rates}; growth {growth}; "
            f"summary {self.summary_mode}; expected saving {saving}{calls}"
        )


def decide(terms: Terms, at: Situation) -> Decision:
    """What pays in a situation. See `docs/cost.md` for the derivation."""
    rule = cache_rule(at.model, at.provider)
    cache = _cache(terms, at, rule)
    tariff = tariff_of(
        at.model, at.provider, prompt_tokens=at.size, rule=rule, lifetime_s=terms.cache_lifetime_s
    )
    tariff = tariff.uncached if cache == "none" else tariff
    tail = _within(at, terms.tail_tokens, terms.tail_share)
    seed = max(LEAST_SEED, _within(at, terms.seed_tokens, terms.seed_share))
    # Seeds are much alike: the present one, where there is one, tells more than the most it may be.
    expected = min(at.seed, ceil(at.ratio * seed)) if at.seed else ceil(at.ratio * seed)
    sizes = _Sizes(at, kept=ceil(at.ratio * tail) + expected, seed=expected)
    asked = _summary(terms, sizes, tariff, cache)
    threshold, calls = _threshold(terms, sizes, tariff, asked, cache)
    worth = None
    if calls is not None:
        worth = _saving(
            tariff, cache, cold_share=at.cold_share, removed=sizes.removed, kept=sizes.kept, calls=calls
        )
    # At the ceiling it is due by its size alone, whatever pays.
    is_large = threshold is not None and at.size >= threshold and threshold != at.ceiling
    due: Literal["cost", "cold"] | None = "cost" if is_large and cache != "cold" else None
    summary = asked
    if is_large and cache == "cold":
        at_once = _BY_RULES if terms.at_cold == "extract" else asked
        if worth is not None and worth > at_once.now:
            due, summary = "cold", at_once
    saving = None if worth is None else worth - summary.now
    money = tariff.known and summary.known
    return Decision(
        due=due,
        threshold=threshold,
        calls=calls,
        after=sizes.after,
        tail_tokens=tail,
        seed_tokens=seed,
        summary_mode=summary.mode,
        summary_pico=round(summary.now) if money else None,
        saving_pico=round(saving) if money and saving is not None else None,
        cache=cache,
        lifetime_s=terms.lifetime_s(rule),
        tariff=tariff,
        situation=at,
    )


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Sizes in tokens of the model: now, and after a segmentation."""

    at: Situation
    kept: int
    seed: int

    @property
    def after(self) -> int:
        return self.at.fixed + self.kept

    @property
    def removed(self) -> int:
        return self.at.size - self.after


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a summary costs: now, and the part of it that does not grow with the prompt."""

    mode: Mode
    now: float
    once: float
    known: bool


_BY_RULES: Final = _Cost("fenced", 0.0, 0.0, known=True)


def _within(at: Situation, tokens: int, share: float) -> int:
    """Raw tokens, at most a share of what the ceiling leaves beside system prompt and tools."""
    if at.ceiling is None:
        return tokens
    return min(tokens, int(max(0, at.ceiling - at.fixed) / at.ratio * share))


def _cache(terms: Terms, at: Situation, rule: CacheRule) -> Cache:
    least = rule.minimum_tokens if terms.cache_minimum is None else terms.cache_minimum
    used = terms.caching
    if used is None:
        used = rule.automatic if at.cached is None else at.cached
    if not used or at.size < least:
        return "none"
    return "cold" if at.idle_s is not None and at.idle_s > terms.lifetime_s(rule) else "warm"


def _summary(terms: Terms, sizes: _Sizes, host: Tariff, cache: Cache) -> _Cost:
    """The cheaper way to ask for the summary, among those that are open."""
    at, names = sizes.at, sizes.at.summary_models
    if names is None:
        return _BY_RULES
    writer = tariff_of(names[0] if names else None, prompt_tokens=at.size)
    known = writer.known and host.known
    # Ratios do not mix with prices: an unpriced writer is taken to cost what the host's model costs.
    fenced = _fenced(sizes, writer if known else host, known=known)
    live = _live(sizes, host, cache)
    if terms.summary_mode == "fenced":
        return fenced
    own = at.model in names and not at.unread
    if terms.summary_mode == "live":
        return live if own else replace(fenced, mode="live")
    return live if own and live.now < fenced.now else fenced


def _live(sizes: _Sizes, host: Tariff, cache: Cache) -> _Cost:
    prefix = host.read if cache == "warm" else host.input
    # The ledger stands in the instruction once more, so that the model can amend it by id.
    asked = (_INSTRUCTION + sizes.seed) * host.input + sizes.seed * host.output
    return _Cost("live", sizes.at.size * prefix + asked, sizes.after * host.read + asked, host.known)


def _fenced(sizes: _Sizes, writer: Tariff, *, known: bool) -> _Cost:
    asked = _INSTRUCTION * writer.input + sizes.seed * writer.output
    read = max(0, sizes.at.size - sizes.at.fixed - (sizes.kept - sizes.seed))
    return _Cost("fenced", read * writer.input + asked, sizes.seed * writer.input + asked, known)


def _threshold(
    terms: Terms, sizes: _Sizes, tariff: Tariff, summary: _Cost, cache: Cache
) -> tuple[int | None, float | None]:
    """The size from which it is due, and the calls of the cycle that leads up to the best size."""
    at = sizes.at
    floor = max(terms.least_tokens, at.fixed + ceil(sizes.kept / (1 - terms.minimum_gain)))
    if at.growth is None or at.growth <= 0:
        return at.ceiling, None
    read = tariff.read_at(at.cold_share)
    best = cycle_calls(
        growth=at.growth, rewritten=sizes.kept, read=read, write=max(tariff.write, read), once=summary.once
    )
    size = sizes.after + best * at.growth
    if at.ceiling is not None:
        size = min(size, at.ceiling)
        floor = min(floor, at.ceiling)
    if not isfinite(size):
        return None, None
    size = max(ceil(size), floor)
    calls = max(1.0, (size - sizes.after) / at.growth)
    if cache == "cold":
        return (None if terms.at_cold == "never" else floor), calls
    return size, calls


def _saving(
    tariff: Tariff, cache: Cache, *, cold_share: float, removed: int, kept: int, calls: float
) -> float:
    """What the calls of the coming cycle would cost more with the prompt as it is, less the rewriting."""
    later = (calls - 1) * removed * tariff.read_at(cold_share)
    if cache == "cold":
        return removed * tariff.write + later
    return removed * tariff.read + later - kept * (tariff.write - tariff.read)
