"""Which items of a history a view shows: the longest run of whole turns up to the newest item. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .items import Item, is_instruction, is_summary, is_user, units, without_orphans

__all__ = ["LimitingFactor", "Limits", "View", "view_of"]

LimitingFactor = Literal["window_size", "token_budget", "soft_limit", "policy"]
_TOKENS: Final = 100
"""Tokens of a common item, to guess how many fill a budget."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a view may show; `None` is no limit.

    Attributes:
        items: Items.
        tokens: Tokens, by whatever counter weighs the items.
    """

    items: int | None = None
    tokens: int | None = None

    def overrun(self, items: int, tokens: int) -> LimitingFactor | None:
        """Which limit so much is over; `None` if it fits."""
        if self.items is not None and items > self.items:
            return "window_size"
        return "token_budget" if self.tokens is not None and tokens > self.tokens else None

    def halved(self) -> Limits:
        """Half of each limit, rounded up."""
        return Limits(*(None if limit is None else -(-limit // 2) for limit in (self.items, self.tokens)))

    @property
    def likely(self) -> int:
        """About how many items the limits hold."""
        guesses = [] if self.items is None else [self.items]
        if self.tokens is not None:
            guesses.append(self.tokens // _TOKENS)
        return min(guesses, default=0)


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a history, and what that came from.

    Attributes:
        items: What is shown, in order: pinned items, then a contiguous run up to the newest.
        before: The items that were looked at.
        limiting_factor: Which limit kept older turns out; `soft_limit` if the newest turn alone is over
            one and is shown all the same; `None` if nothing was kept out.
        whole: Whether all of the history was looked at.
    """

    items: list[Item]
    before: Sequence[Item]
    limiting_factor: LimitingFactor | None
    whole: bool


def view_of(
    items: Sequence[Item], limits: Limits, weigh: Callable[[Item], int] | None, *, whole: bool
) -> View | None:
    """The view of a history, or `None` if items older than these must be looked at first.

    Shown is the longest run that ends with the newest item, opens at a user message, parts no unit and,
    with what is pinned, fits the limits. Where even the newest turn does not fit, that turn is shown whole.
    A history without a user message is cut between its units. Pinned are the instructions at a history's
    head and the newest summary before the run.

    Args:
        items: The newest items of the history, in order.
        limits: What the view may hold, pinned items included.
        weigh: Tokens of an item; `None` if nothing is to be counted.
        whole: Whether `items` is all there is.

    Cost: linear in `items`; from the newest on, items are weighed until they are over the limit.
    """
    found = _Chooser(items, limits, weigh, whole).found()
    if found is None:
        return None
    pinned, start, factor = found
    shown = [*(items[i] for i in pinned), *items[start:]]
    newest = max((i for i, item in enumerate(shown) if is_user(item)), default=0)
    return View(without_orphans(shown, newest), items, factor, whole)


class _Chooser:
    """Tries the places at which a view may open, from the newest on."""

    def __init__(
        self, items: Sequence[Item], limits: Limits, weigh: Callable[[Item], int] | None, whole: bool
    ) -> None:
        self._items, self._limits, self._whole = items, limits, whole
        self._weigh = weigh if limits.tokens is not None else None
        self._sums = [0]
        """Tokens of the newest 0, 1, 2, ... items."""
        self._head = 0
        while whole and self._head < len(items) and is_instruction(items[self._head]):
            self._head += 1
        self._summaries = [i for i, item in enumerate(items) if is_summary(item)]

    def found(self) -> tuple[list[int], int, LimitingFactor | None] | None:
        """Indices pinned, the index at which the view opens, and what kept it from opening earlier."""
        over = self._overrun(0)
        if over is None:
            return ([], 0, None) if self._whole else None
        borders = [unit.start for unit in units(self._items)]
        starts = [i for i in borders if is_user(self._items[i])]
        if not starts:
            if not self._whole:
                return None
            starts = [i for i in borders if i >= self._head] or [len(self._items)]
        best: int | None = None
        for start in reversed(starts):
            factor = self._overrun(start)
            if factor is not None:
                over = factor
                break
            best = start
        if best is None:
            return self._pinned(starts[-1]), starts[-1], "soft_limit"
        return self._pinned(best), best, over

    def _pinned(self, start: int) -> list[int]:
        pinned = list(range(min(self._head, start)))
        summary = max((i for i in self._summaries if i < start), default=-1)
        return [*pinned, summary] if summary >= len(pinned) else pinned

    def _overrun(self, start: int) -> LimitingFactor | None:
        pinned = self._pinned(start)
        tokens = self._tokens_of_newest(len(self._items) - start)
        if self._weigh is not None:
            tokens += sum(self._weigh(self._items[i]) for i in pinned)
        return self._limits.overrun(len(self._items) - start + len(pinned), tokens)

    def _tokens_of_newest(self, number: int) -> int:
        """Tokens of the newest items, or of fewer that are over the limit already."""
        budget, weigh = self._limits.tokens, self._weigh
        if weigh is None or budget is None:
            return 0
        while len(self._sums) <= number and self._sums[-1] <= budget:
            self._sums.append(self._sums[-1] + weigh(self._items[-len(self._sums)]))
        return self._sums[min(number, len(self._sums) - 1)]
