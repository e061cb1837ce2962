"""What a row of requests costs: tokens of messages, breakpoints, a cache, and the price table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Literal

from summarizer.meter import Price, Usage, cost_of, counter_for_model, price_for

from .caches import BreakpointCache, Cache, PrefixCache, Prompt

__all__ = ["TARIFFS", "Habit", "Meter", "Sent", "Tariff", "Tokens", "meters_of"]

Wire = Mapping[str, Any]
Habit = Literal["automatic", "none", "system", "newest", "newest, 1 h", "as sent"]
"""Where breakpoints stand: nowhere, behind the system prompt, there and behind the newest block (as runtimes
set them, and the provider's own automatic mode), or where the messages have `cache_control`. `automatic`:
the provider needs none."""

_FRAMING: Final = 4
"""Tokens around each block, as in OpenAI's published count."""
_HOUR: Final = 3600
_HOUR_RATE: Final = 2
"""Writing for an hour over plain input (Anthropic's guide, 2026-11); `Price` has no rate for it."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model to be billed.

    Attributes:
        model: Its name in litellm's table.
        habits: The ways to set breakpoints; each contestant is given the cheapest of them for it.
        minimum: Least tokens of a cached prefix (Anthropic's and OpenAI's guides, 2026-11).
    """

    model: str
    habits: Sequence[Habit]
    minimum: int = 1024

    def cache(self, habit: Habit) -> Cache:
        """A cache with nothing in it."""
        if habit == "automatic":
            return PrefixCache(self.minimum)
        return BreakpointCache(self.minimum, _HOUR if habit == "newest, 1 h" else 300)

    def price(self, habit: Habit) -> Price:
        """The price of its tokens.

        Raises:
            LookupError: litellm's table does not list it.
        """
        price = price_for(self.model)
        if price is None or price.rates.input is None:
            raise LookupError(f"no price of {self.model!r}; install a litellm that lists it")
        if habit != "newest, 1 h":
            return price
        return Price(replace(price.rates, cache_creation=_HOUR_RATE * price.rates.input))


_BREAKPOINTS: Final[tuple[Habit, ...]] = ("none", "system", "newest", "newest, 1 h", "as sent")

TARIFFS: Final = (
    Tariff("claude-sonnet-4-5", _BREAKPOINTS),
    Tariff("gpt-5", ("automatic",)),
    Tariff("gpt-4o-mini", ("automatic",)),
)
"""Reading costs a tenth of input with the first two, half with the third; writing 1.25 with the first."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as the caches see it.

    Attributes:
        whole: Its blocks, the breakpoints where its messages have `cache_control`.
        system: How many blocks are the system prompt.
    """

    whole: Prompt
    system: int

    @property
    def tokens(self) -> int:
        """Of the whole request."""
        return self.whole.tokens

    def prompt(self, habit: Habit) -> Prompt:
        """It with the breakpoints of a habit."""
        system = (self.system,) if self.system else ()
        if habit == "as sent":
            return self.whole
        if habit in ("newest", "newest, 1 h"):
            return self.whole.marked((*system, len(self.whole.ends) - 1))
        return self.whole.marked(system if habit == "system" else ())


class Tokens:
    """Counts blocks, each text once: o200k for every model, which keeps the contestants comparable."""

    def __init__(self) -> None:
        self._count = counter_for_model("gpt-4o-mini").count
        self._known: dict[object, int] = {}

    def of_text(self, text: str) -> int:
        """Tokens of a text."""
        if text not in self._known:
            self._known[text] = self._count(text)
        return self._known[text]

    def of_answer(self, wire: Wire) -> int:
        """Tokens that a model generates for an answer."""
        return sum(tokens - _FRAMING for _, tokens in self._blocks(wire, []))

    def sent(self, messages: Sequence[Wire]) -> Sent:
        """A request as blocks."""
        blocks: list[tuple[object, int]] = []
        marks: list[int] = []
        system = 0
        for message in messages:
            in_front = message["role"] == "system" and system == len(blocks)
            blocks += self._blocks(message, marks, len(blocks))
            system = len(blocks) if in_front else system
        return Sent(Prompt(blocks, marks), system)

    def _blocks(self, wire: Wire, marks: list[int], before: int = 0) -> list[tuple[object, int]]:
        role, content = wire["role"], wire.get("content")
        parts = content if isinstance(content, list) else [{"text": content}] if content else []
        blocks: list[tuple[object, int]] = []
        for part in parts:
            text = part["text"] if "text" in part else json.dumps(part, sort_keys=True)
            blocks.append(((role, wire.get("tool_call_id"), text), self.of_text(text) + _FRAMING))
            if "cache_control" in part or "cache_control" in wire:
                marks.append(before + len(blocks))
        for call in wire.get("tool_calls") or ():
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            tokens = self.of_text(name) + self.of_text(arguments) + _FRAMING
            blocks.append(((call["id"], name, arguments), tokens))
        return blocks


@dataclass(slots=True)
class Meter:
    """Adds up what one contestant's calls cost with one model, one habit and one pace.

    Attributes:
        model: The model.
        habit: Where breakpoints stand.
        pace: Name of the pace at which calls come.
        cost_usd: What was spent so far, summaries included.
        summary_usd: Of that, on summaries.
        prompt_tokens: Tokens of all prompts.
        read_tokens: Of these, read from the cache.
        per_turn: The cost after each turn.
    """

    model: str
    habit: Habit
    pace: str
    price: Price
    cache: Cache
    cost_usd: Decimal = Decimal(0)
    summary_usd: Decimal = Decimal(0)
    prompt_tokens: int = 0
    read_tokens: int = 0
    per_turn: list[float] = field(default_factory=list)

    def call(self, sent: Sent, output_tokens: int, at: float, *, summary: bool = False) -> Usage:
        """Book one call, and report its usage as the provider would."""
        split = self.cache.send(sent.prompt(self.habit), at)
        total = split.read + split.written + split.plain
        usage = Usage(total, output_tokens, split.read, split.written)
        cost = cost_of(usage, self.price)
        assert cost is not None  # The price has all rates that it needs: see `Tariff.price`.
        self.cost_usd += cost
        self.summary_usd += cost if summary else 0
        self.prompt_tokens += total
        self.read_tokens += split.read
        return usage


def meters_of(tariffs: Sequence[Tariff], pace: str) -> list[Meter]:
    """A meter for each habit of each model."""
    return [Meter(t.model, h, pace, t.price(h), t.cache(h)) for t in tariffs for h in t.habits]
