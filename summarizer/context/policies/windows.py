"""Windows: the newest part of the conversation, by number, tokens or age.

A window opens at fixed marks that only the log decides, a quarter of its size apart, and moves from
one mark to the next: in between, the context only grows at its end. The user message that opened
the turn in which a window begins stays with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import ClassVar

from ...config import WINDOW_STEP
from ...errors import InvalidSetting
from .composing import Stage
from .views import Unit, View, question_before

__all__ = ["Age", "Hybrid", "KeepLast", "TokenBudget", "check_count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLast(Stage):
    """At most the last N messages, units or turns, and at least three quarters of them.

    Pinned units and the user message of the turn that is cut are beside the number. A unit that
    alone has more messages than the window stays whole if it is the newest.

    Args:
        items: Messages, each tool result one.
        units: Messages, where calls with all their results are one.
        turns: User messages with all that follows each.

    Raises:
        InvalidSetting: Not exactly one is given, or one below 1.
    """

    items: int | None = None
    units: int | None = None
    turns: int | None = None

    def __post_init__(self) -> None:
        given = {k: v for k in ("items", "units", "turns") if (v := getattr(self, k)) is not None}
        if len(given) != 1:
            raise InvalidSetting(f"KeepLast needs one of items, units and turns, got {given!r}")
        for name, value in given.items():
            check_count(name, value)

    def apply(self, view: View) -> View:
        """The view with what lies before the window left out."""
        units = view.units
        if self.turns is not None:
            openers = [i for i, unit in enumerate(units) if unit.opens_turn]
            weights = [int(unit.opens_turn) for unit in units]
            return _cut(view, _start(view, weights, self.turns, pool=openers))
        if self.items is not None:
            weights = [unit.messages for unit in units]
            return _cut(view, _start(view, weights, self.items))
        return _cut(view, _start(view, [1] * len(units), self.units or 1))


@dataclass(frozen=True, slots=True)
class TokenBudget(Stage):
    """At most so many tokens of the newest units, and in a long conversation about three quarters at least.

    Counted are messages with their frames under the conversation's counter, pinned units included;
    system prompt, tool schemas and seed are not (`max_tokens` of `context` measures the whole
    request). Pinned units, the newest user message and the newest unit stay even if they exceed it.

    Args:
        tokens: The budget.
    """

    tokens: int
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_count("tokens", self.tokens)

    def apply(self, view: View) -> View:
        """The view within the budget."""
        weights = [unit.tokens for unit in view.units]
        extras = _beside(view.units, weights)
        return _cut(view, _start(view, weights, self.tokens, extras=extras))


@dataclass(frozen=True, slots=True)
class Age(Stage):
    """What is no older than `most`, told by `event.at`; moves in steps of a quarter of `most`.

    Args:
        most: The greatest age, above zero.
        now: The moment from which age is told, aware; `None` for that of the newest event, so that the
            view is a function of the log alone. Make a new `Age` for a new moment.

    Raises:
        InvalidSetting: An age of zero or less, or a moment without a time zone.
    """

    most: timedelta
    now: datetime | None = None

    def __post_init__(self) -> None:
        if self.most <= timedelta(0):
            raise InvalidSetting(f"most={self.most!r}: use a timedelta above zero")
        if self.now is not None and self.now.tzinfo is None:
            raise InvalidSetting(f"now={self.now!r} has no time zone; use datetime.now(UTC)")

    def apply(self, view: View) -> View:
        """The view with what lies before the first unit of the window left out."""
        now = self.now or view.now
        if now is None:
            return view
        step = self.most.total_seconds() * WINDOW_STEP
        oldest = math.ceil((now - self.most).timestamp() / step) * step
        start = next((i for i, unit in enumerate(view.units) if unit.at.timestamp() >= oldest), None)
        return _cut(view, len(view.units) - 1 if start is None else start)


@dataclass(frozen=True, slots=True)
class Hybrid(Stage):
    """The last N plain messages, and of the tool rounds the last M, wherever they stand.

    Args:
        last: Most messages that neither make nor answer a call.
        tool_rounds: Most calling messages with their results; 0 leaves only the newest.

    Raises:
        InvalidSetting: `last` below 1 or `tool_rounds` below 0.
    """

    last: int
    tool_rounds: int

    def __post_init__(self) -> None:
        check_count("last", self.last)
        check_count("tool_rounds", self.tool_rounds, least=0)

    def apply(self, view: View) -> View:
        """The view with older messages and older rounds left out."""
        plain = [i for i, unit in enumerate(view.units) if unit.role != "tool"]
        rounds = [i for i, unit in enumerate(view.units) if unit.role == "tool"]
        gone = plain[: _surplus(len(plain), self.last)] + rounds[: _surplus(len(rounds), self.tool_rounds)]
        return view.without(gone)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number from `least`.

    Raises:
        InvalidSetting: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSetting(f"{name}={value!r}: use a whole number from {least}")


def _step(limit: int) -> int:
    return max(1, int(limit * WINDOW_STEP))


def _surplus(n: int, limit: int) -> int:
    """How many of `n` go so that at most `limit` stay; a multiple of the step."""
    step = _step(limit)
    return math.ceil(max(0, n - limit) / step) * step


def _cut(view: View, start: int) -> View:
    """The view from unit `start`, with the user message of its turn."""
    if start <= 0:
        return view
    question = question_before(view.units, start)
    return view.without([i for i in range(start) if i != question])


def _start(
    view: View,
    weights: Sequence[int],
    limit: int,
    *,
    pool: Sequence[int] | None = None,
    extras: Sequence[int] | None = None,
) -> int:
    """Where a window of at most `limit` opens.

    Marks lie where the weights, added up from the log's beginning, pass a multiple of the step. That
    counts what is not shown too, so that a window before this one does not move its marks.

    Args:
        view: The view.
        weights: Of each unit.
        limit: The most that those shown may weigh together.
        pool: Where it may open; `None` for anywhere.
        extras: What stays besides if it opens at a unit.
    """
    units, step = view.units, _step(limit)
    before = list(accumulate(weights, initial=0))
    shown = [weight if unit.shown else 0 for weight, unit in zip(weights, units, strict=True)]
    after = list(accumulate(reversed(shown), initial=0))
    after.reverse()
    places = [i for i in (range(len(units)) if pool is None else pool) if units[i].shown]
    fitting = [i for i in places if after[i] + (extras[i] if extras else 0) <= limit]
    if not places or (fitting and fitting[0] == places[0]):
        return 0
    previous = dict(zip(places[1:], places, strict=False))
    marks = (i for i in fitting if before[i] // step > before[previous[i]] // step)
    return next(marks, fitting[0] if fitting else places[-1])


def _beside(units: Sequence[Unit], weights: Sequence[int]) -> list[int]:
    """For each unit, the tokens that stay if a window opens there: earlier pins, and its turn's question."""
    extras: list[int] = []
    pinned, question, question_tokens = 0, False, 0
    for unit, weight in zip(units, weights, strict=True):
        if unit.opens_turn:
            question, question_tokens = unit.pinned, weight
            extras.append(pinned)
        else:
            extras.append(pinned + (0 if question else question_tokens))
        pinned += weight if unit.pinned else 0
    return extras
