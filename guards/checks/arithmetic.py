"""Whether a number follows from two others by one step, or from a column of numbers.

In: a number and the operands that a conversation offers. Out: how it follows, or `None`. Kept small on
purpose: among many operands almost any small whole number is the sum of some two, so every operand more
makes the answer worth less.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from guards.checks.values import Number, decimals

__all__ = ["columns", "derive", "slack"]

Operand = tuple[Number, str]
"""A number and how a reader may name it, such as `$v2.price`."""

_INDEX: Final = re.compile(r"\[\d+\]")
_LARGEST: Final = 1e15
"""Beyond, a float no longer tells neighbouring whole numbers apart; no step is tried there."""
_SMALLEST: Final = 10
"""Smaller whole numbers follow from almost any two operands; none is explained that way."""


def slack(number: Number, tolerance: float) -> float:
    """How far the true value may be from one that was written down.

    A number that shows three digits or more may be rounded in its last decimal place; otherwise the
    relative tolerance alone holds. Whole numbers are taken as exact.
    """
    places = decimals(number)
    exact = tolerance * abs(number)
    if not 0 < places < 16 or abs(number) * 10**places < 100:
        return exact
    return max(exact, 0.5000001 * 10.0**-places)


def derive(target: Number, operands: Sequence[Operand], tolerance: float) -> str | None:
    """How the target follows from two of the operands: `a + b`, `a - b`, `a * b`, `a / b`, percentages.

    Args:
        target: The number to explain.
        operands: At most some dozens; sorted by number.
        tolerance: Relative error that is allowed, from 0.

    Returns:
        The step in words, naming the operands and no numbers; `None` if there is none.

    Cost: six binary searches an operand, about 2 us each operand.
    """
    if not abs(target) < _LARGEST or (abs(target) < _SMALLEST and decimals(target) == 0):
        return None
    numbers = [float(number) for number, _ in operands]
    wide = slack(target, tolerance)
    for i, a in enumerate(numbers):
        for partner, width, form, trivial in _partners(float(target), a, wide):
            j = _nearest(numbers, partner, width, i)
            if j is not None and numbers[j] not in trivial:
                return form.format(a=operands[i][1], b=operands[j][1])
    return None


_TRIVIAL: Final = frozenset({0.0, 1.0, -1.0})


def _partners(t: float, a: float, wide: float) -> Iterator[tuple[float, float, str, frozenset[float]]]:
    """For each step, the operand that `a` would need beside it, and how far that may be off."""
    if a in _TRIVIAL:
        return
    yield t - a, wide, "{a} + {b}", _TRIVIAL
    yield a - t, wide, "{a} - {b}", _TRIVIAL
    if t == 0:
        return
    yield t / a, wide / abs(a), "{a} * {b}", _TRIVIAL
    yield a / t, wide * abs(a) / (t * t), "{a} / {b}", _TRIVIAL
    yield 100 * t / a, 100 * wide / abs(a), "{b} percent of {a}", _TRIVIAL
    yield 100 * (t / a - 1), 100 * wide / abs(a), "{a} plus {b} percent", _TRIVIAL
    yield 100 * (1 - t / a), 100 * wide / abs(a), "{a} less {b} percent", _TRIVIAL


def _nearest(numbers: list[float], wanted: float, width: float, but: int) -> int | None:
    width = max(width, 1e-12 * abs(wanted))
    i = bisect_left(numbers, wanted - width)
    while i < len(numbers) and numbers[i] <= wanted + width:
        if i != but:
            return i
        i += 1
    return None


def columns(leaves: Sequence[tuple[str, Number]]) -> list[Operand]:
    """Sum, mean and count of each list of numbers, and of each field over a list of objects.

    Args:
        leaves: Path and number of each numeric leaf of one value; `$v2.items[0].price` and
            `$v2.items[1].price` are one column, `$v2.items[*].price`.
    """
    grouped: dict[str, list[Number]] = {}
    for path, number in leaves:
        column = _INDEX.sub("[*]", path)
        if column != path and abs(number) < _LARGEST:
            grouped.setdefault(column, []).append(number)
    found: list[Operand] = []
    for column, numbers in grouped.items():
        if len(numbers) > 1:
            total = math.fsum(numbers)
            found += [
                (total, f"sum of {column}"),
                (total / len(numbers), f"mean of {column}"),
                (len(numbers), f"count of {column}"),
            ]
    return found
