"""What a token costs, in whichever way it is paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from ..meter import price_for
from .caches import CacheRule

__all__ = ["ASSUMED", "Tariff", "tariff_of"]

_PICO: Final = 10**12


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices per token, in picodollars (1e-12 USD), or as ratios to the input price.

    Attributes:
        input: A prompt token that the cache has no part in.
        output: A generated token.
        read: A prompt token read from the cache.
        write: A prompt token written to the cache, in place of `input`.
        known: Whether these are prices. Ratios decide as well as prices do, and make no money.
    """

    input: float
    output: float
    read: float
    write: float
    known: bool = True

    @property
    def uncached(self) -> Tariff:
        """The same where nothing is cached."""
        return replace(self, read=self.input, write=self.input)

    def read_at(self, cold_share: float) -> float:
        """What a token of the prefix costs on average, if this share of calls finds the cache dead."""
        return (1 - cold_share) * self.read + cold_share * self.write


ASSUMED: Final = Tariff(1.0, 5.0, 0.1, 1.25, known=False)
"""Ratios where no price is known: the most common ones in litellm 1.106.2's table (Anthropic's)."""


def tariff_of(
    model: str | None,
    provider: str | None = None,
    *,
    prompt_tokens: int = 0,
    rule: CacheRule | None = None,
    lifetime_s: float | None = None,
) -> Tariff:
    """The prices of a model, from litellm's table or `set_price`; `ASSUMED` where they are not known.

    Args:
        model: The model; `None` if unknown.
        provider: Who serves it, in litellm's words.
        prompt_tokens: Size of the prompt, for models whose price rises with it.
        rule: The provider's cache.
        lifetime_s: The lifetime that the host uses; beyond the rule's usual one, writes cost what the
            long one costs.
    """
    price = price_for(model, provider)
    rates = None if price is None else price.at(prompt_tokens)
    if rates is None or rates.input is None or rates.output is None:
        return ASSUMED
    # A write price of 0 stands in the table where writes cost what input costs (DeepSeek, litellm 1.106.2).
    write = rates.cache_creation or rates.input
    if rule is not None and lifetime_s is not None and rule.long_lifetime_s and lifetime_s > rule.lifetime_s:
        write = max(write, rates.input * Decimal(rule.long_write))
    read = rates.input if rates.cache_read is None else rates.cache_read
    return Tariff(*(float(rate * _PICO) for rate in (rates.input, rates.output, read, write)), known=True)
