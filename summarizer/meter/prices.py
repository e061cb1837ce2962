"""What tokens cost and what models can: litellm's table, read as a file, litellm itself never imported.

A model that the table does not list has no price: `None`, never 0 and never a relative's.
Money is `Decimal`, in US dollars.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, cast

from summarizer.errors import InvalidSetting
from summarizer.telemetry import log

from .installed import litellm_folder
from .usage import Usage

__all__ = [
    "Price",
    "Rates",
    "context_window",
    "cost_of",
    "max_output_tokens",
    "price_for",
    "price_table_id",
    "set_price",
    "supports_response_schema",
]

_FILE: Final = "model_prices_and_context_window_backup.json"
"""At the root of litellm's folder, in 1.83.0 as in 1.106.2."""
_INPUT: Final = "input_cost_per_token"
_OUTPUT: Final = "output_cost_per_token"
_READ: Final = "cache_read_input_token_cost"
_CREATED: Final = "cache_creation_input_token_cost"
_REASONING: Final = "output_cost_per_reasoning_token"
_KEPT: Final = frozenset(
    {
        _INPUT, _OUTPUT, _READ, _CREATED, _REASONING, "tiered_pricing", "litellm_provider",
        "max_input_tokens", "max_output_tokens", "supports_response_schema",
    }
)  # fmt: skip
_ROUTES: Final[Mapping[str, str]] = {"bedrock": "bedrock_converse", "cohere": "cohere_chat"}
"""Providers that the table lists under the name of one of their interfaces."""

Amount = str | int | float | Decimal
"""An amount of money; a float is taken by its shortest decimal form."""

_TIER: Final = re.compile(rf"({_INPUT}|{_OUTPUT}|{_READ}|{_CREATED})_above_(\d+)(k?)_tokens")
_DATED: Final = re.compile(r"(.+)-(?:20\d\d-\d\d-\d\d|20\d{6})")
_FROM_THRESHOLD: Final = frozenset({"xai"})
"""Providers whose long-context price starts at the threshold; elsewhere it starts above (litellm 1.106.2)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token.

    Attributes:
        input: Prompt tokens that are neither read from nor written to a cache.
        output: Generated tokens.
        cache_read: `None` where none is published: then they cost what input costs.
        cache_creation: Likewise. Anthropic's five-minute rate; the one-hour rate is not known
            from usage that does not tell the two apart.
        reasoning: `None` where it costs what output costs.
    """

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None = None
    cache_creation: Decimal | None = None
    reasoning: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cache_read", "cache_creation", "reasoning"):
            rate: object = getattr(self, name)
            if rate is not None and not (isinstance(rate, Decimal) and rate.is_finite() and rate >= 0):
                raise InvalidSetting(
                    f"price {name}={rate!r} must be a Decimal of 0 or more US dollars per token, such as "
                    "Decimal('0.000003'), or None where it is unknown"
                )


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model.

    Attributes:
        rates: The standard rates.
        tiers: Rates for long prompts, as `(tokens, rates)`, ascending. The highest whose
            `tokens` the whole prompt exceeds holds for every token of the call.
        from_threshold: Whether a tier begins with its `tokens` instead of above them.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    from_threshold: bool = False

    @classmethod
    def per_million(
        cls,
        input: Amount,  # noqa: A002  # The word the price lists use.
        output: Amount,
        cache_read: Amount | None = None,
        cache_creation: Amount | None = None,
        reasoning: Amount | None = None,
    ) -> Price:
        """A price as price lists state it, per million tokens: `Price.per_million("2.50", 10)`.

        Raises:
            InvalidSetting: An amount is negative or no number.
        """
        given = (input, output, cache_read, cache_creation, reasoning)
        try:
            return cls(Rates(*(None if rate is None else Decimal(str(rate)) / 1_000_000 for rate in given)))
        except InvalidOperation:
            raise InvalidSetting(
                f"price {given!r} must be of numbers in US dollars per million tokens"
            ) from None

    def at(self, prompt_tokens: int) -> Rates:
        """The rates that hold for a prompt of this size."""
        for tokens, rates in reversed(self.tiers):
            if prompt_tokens > tokens or (self.from_threshold and prompt_tokens == tokens):
                return rates
        return self.rates


def cost_of(usage: Usage, price: Price) -> Decimal | None:
    """What a call cost in US dollars, to the last digit; `None` if it cannot be known.

    The tier follows from the whole prompt. Cached tokens without a rate of their own cost what
    input costs. Buckets that the provider left out (`None`) count as not used: so a cached prompt
    whose provider keeps silent about it is priced in full. Audio and image tokens count as text.
    Discounts for batches, service tiers and hours of the day are not known here.

    Returns:
        `None` if input or output tokens, or a rate that they need, are unknown.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    rates = price.at(usage.input_tokens)
    read, created = usage.cache_read_tokens or 0, usage.cache_creation_tokens or 0
    reasoning = usage.reasoning_tokens or 0 if rates.reasoning is not None else 0
    parts = (
        (max(0, usage.input_tokens - read - created), rates.input),
        (read, rates.input if rates.cache_read is None else rates.cache_read),
        (created, rates.input if rates.cache_creation is None else rates.cache_creation),
        (max(0, usage.output_tokens - reasoning), rates.output),
        (reasoning, rates.reasoning),
    )
    total = Decimal(0)
    for tokens, rate in parts:
        if tokens and rate is None:
            return None
        total += tokens * (rate or Decimal(0))
    return total


Entry = Mapping[str, Any]

_overrides: dict[str, Price] = {}


def set_price(model: str, price: Price | None) -> None:
    """Use a price of your own, in this process, from the next call on; recorded costs stay as they are.

    Args:
        model: As calls give it, with the provider (`azure/my-deployment`) or without.
        price: `None` takes it back.
    """
    if price is None:
        _overrides.pop(model, None)
    else:
        _overrides[model] = price


def price_for(model: str | None, provider: str | None = None) -> Price | None:
    """The price of a model; `None` if neither you nor the table knows it.

    Args:
        model: `gpt-4o`, `openai/gpt-4o`, `gpt-4o-2024-08-06`, `ft:gpt-4o-2024-08-06:...`.
        provider: Who serves it, in litellm's words; a price of another provider is never used.

    A dated name that is not listed has its undated model's price if all listed dates of that
    model cost the same, else none.
    """
    if not model:
        return None
    mine = _overrides.get(f"{provider}/{model}") if provider else None
    if mine := mine or _overrides.get(model):
        return mine
    key = _resolve(model, provider)
    return _price(key) if key else None


def context_window(model: str | None, provider: str | None = None) -> int | None:
    """Most tokens a prompt may have; `None` if unknown."""
    return _limit(model, provider, "max_input_tokens")


def max_output_tokens(model: str | None, provider: str | None = None) -> int | None:
    """Most tokens a reply may have; `None` if unknown."""
    return _limit(model, provider, "max_output_tokens")


def supports_response_schema(model: str | None, provider: str | None = None) -> bool | None:
    """Whether replies can be held to a JSON schema; `None` if the table does not say."""
    key = _resolve(model, provider) if model else None
    return _table().entries[key].get("supports_response_schema") if key else None


def price_table_id() -> str | None:
    """A digest of the table and of your own prices; `None` where there is neither.

    Stored beside a cost, it says which prices made it: recorded costs do not change when
    prices do.
    """
    mine = repr(sorted(_overrides.items())) if _overrides else ""
    parts = [part for part in (_table().digest, mine) if part]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12] if parts else None


def _limit(model: str | None, provider: str | None, field: str) -> int | None:
    key = _resolve(model, provider) if model else None
    value = _table().entries[key].get(field) if key else None
    return int(value) if isinstance(value, (int, Decimal)) and value > 0 else None


@dataclass(frozen=True, slots=True)
class _Table:
    entries: Mapping[str, Entry]
    digest: str


_loading = threading.Lock()


def _after_fork() -> None:
    global _loading
    # One that another thread held at the fork would stay locked in the child for ever.
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _table() -> _Table:
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> _Table:
    """Read the table and keep what is used of it: some 0.1 s, once per process."""
    folder = litellm_folder()
    try:
        data = (folder / _FILE).read_bytes() if folder else b"{}"
        # Decimals from the digits in the file: a float would carry its rounding into every cost.
        raw = json.loads(data, parse_float=Decimal)
    except (OSError, ValueError) as error:
        log.warning("prices.table_missing", file=_FILE, error=type(error).__name__)
        return _Table({}, "")
    listed = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    entries = {
        model: {key: value for key, value in cast("Entry", entry).items() if _used(key)}
        for model, entry in listed.items()
        if isinstance(entry, dict) and model != "sample_spec"
    }
    return _Table(entries, hashlib.sha256(data).hexdigest() if entries else "")


def _used(key: str) -> bool:
    return key in _KEPT or _TIER.fullmatch(key) is not None


@lru_cache(maxsize=1024)
def _resolve(model: str, provider: str | None) -> str | None:
    """The table's key for a model; `None` where it lists none that is surely the same."""
    entries = _table().entries
    head, _, rest = model.partition("/")
    spellings = [(provider, model)]
    if rest and (provider is None or _serves(provider, head)):
        spellings.append((head, rest))
    for by, name in spellings:
        for key in _keys(name, by):
            if key in entries and (by is None or _serves(by, str(entries[key].get("litellm_provider", "")))):
                return key
    return None


def _keys(name: str, provider: str | None) -> Iterator[str]:
    names = [name]
    if name.startswith("ft:"):
        names.append(":".join(name.split(":")[:2]))  # ft:MODEL:ORGANIZATION::ID
    if (undated := _DATED.fullmatch(name)) and _dates_agree(undated[1], provider):
        names.append(undated[1])
    for one in names:
        if provider:
            yield f"{provider}/{one}"
        yield one


def _serves(provider: str, listed: str) -> bool:
    """Whether a table's provider is the one named: `vertex_ai` has `vertex_ai-language-models` and others."""
    return listed == provider or listed.startswith(f"{provider}-") or listed == _ROUTES.get(provider)


def _dates_agree(model: str, provider: str | None) -> bool:
    entries = _table().entries
    bases = [base for base in ((f"{provider}/{model}",) if provider else ()) + (model,) if base in entries]
    return bool(bases) and all(
        _price(key) == _price(base)
        for base in bases
        for key in entries
        if key.startswith(f"{base}-") and (found := _DATED.fullmatch(key)) and found[1] == base
    )


@lru_cache(maxsize=1024)
def _price(key: str) -> Price | None:
    entry = _table().entries[key]
    from_threshold = entry.get("litellm_provider") in _FROM_THRESHOLD
    if ranges := entry.get("tiered_pricing"):
        return _ranged_price(cast("list[Entry]", ranges), entry)
    if entry.get(_INPUT) is None and entry.get(_OUTPUT) is None:
        return None
    rates = _rates(entry, "", None)
    thresholds = sorted({_threshold(found) for k in entry if (found := _TIER.fullmatch(k))})
    tiers: list[tuple[int, Rates]] = []
    for tokens, suffix in thresholds:
        tiers.append((tokens, _rates(entry, suffix, tiers[-1][1] if tiers else rates)))
    return Price(rates, tuple(tiers), from_threshold)


def _threshold(found: re.Match[str]) -> tuple[int, str]:
    return int(found[2]) * (1000 if found[3] else 1), f"_above_{found[2]}{found[3]}_tokens"


def _rates(entry: Entry, suffix: str, below: Rates | None) -> Rates:
    """Rates under a suffix; what a tier does not state is as in the tier below."""
    names = {"input": _INPUT, "output": _OUTPUT, "cache_read": _READ, "cache_creation": _CREATED}
    stated = {name: _decimal(entry.get(key + suffix)) for name, key in names.items()}
    rates = {name: rate for name, rate in stated.items() if rate is not None}
    below = below or Rates(None, None, reasoning=_decimal(entry.get(_REASONING)))
    return replace(below, **rates)


def _ranged_price(ranges: list[Entry], entry: Entry) -> Price | None:
    """Alibaba's form: whole ranges with rates of their own; the first begins at 0."""
    tiers: list[tuple[int, Rates]] = []
    whole = [one for one in ranges if len(one.get("range", ())) == 2 and _INPUT in one]
    for one in sorted(whole, key=lambda one: one["range"][0]):
        output = _decimal(one.get(_OUTPUT, entry.get(_OUTPUT)))
        read, created, reasoning = (_decimal(one.get(key)) for key in (_READ, _CREATED, _REASONING))
        rates = Rates(_decimal(one[_INPUT]), output, read, created, reasoning)
        tiers.append((int(one["range"][0]), rates))
    return Price(tiers[0][1], tuple(tiers[1:])) if tiers else None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None
