"""What counts prove: rates with intervals, and their differences. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

__all__ = ["Z_95", "Z_99", "Rate", "apart", "difference"]

Z_95: Final = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
Z_99: Final = 2.575829
"""The same at 99 %: for findings picked out of many that were looked at."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its evidence.

    Attributes:
        successes: Counted, every call once.
        calls: Counted, every call once.
        share: Of successes, older calls weighing less; between 0 and 1.
        low: Lower end of the 95 % interval of `share`.
        high: Its upper end.
    """

    successes: int
    calls: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, calls: int, z: float = Z_95) -> Rate:
        """The rate of plain counts.

        Args:
            successes: From 0 to `calls`.
            calls: 1 or more.
            z: Width of the interval.
        """
        low, high = _wilson(successes / calls, calls, z)
        return cls(successes, calls, successes / calls, low, high)

    @classmethod
    def weighted(cls, parts: list[tuple[int, int, float]]) -> Rate:
        """The rate of (successes, calls, weight) by age; there must be a call.

        The interval is Wilson's at the sum of the weights: the evidence of a call shrinks with its age,
        so old evidence makes the interval wide.
        """
        evidence = sum(calls * weight for _, calls, weight in parts)
        share = min(1.0, sum(ok * weight for ok, _, weight in parts) / evidence)
        low, high = _wilson(share, evidence, Z_95)
        return cls(sum(ok for ok, _, _ in parts), sum(calls for _, calls, _ in parts), share, low, high)


def difference(first: Rate, second: Rate) -> tuple[float, float]:
    """The 95 % interval of `first.share - second.share` (Newcombe's method from two Wilson intervals)."""
    gap = first.share - second.share
    low = gap - sqrt((first.share - first.low) ** 2 + (second.high - second.share) ** 2)
    high = gap + sqrt((first.high - first.share) ** 2 + (second.share - second.low) ** 2)
    return max(-1.0, low), min(1.0, high)


def apart(first: Rate, second: Rate) -> bool:
    """Whether the two rates differ beyond what chance explains: the interval of the difference spares 0."""
    low, high = difference(first, second)
    return low > 0 or high < 0


def _wilson(share: float, calls: float, z: float) -> tuple[float, float]:
    """Wilson's score interval: never outside 0 to 1, and honest for few calls and for 0 or all successes."""
    square = z * z / calls
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * sqrt(share * (1 - share) / calls + square / (4 * calls))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
