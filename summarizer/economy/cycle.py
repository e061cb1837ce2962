"""The sum of two costs, and where it is least: a long prompt at every call, a segmentation once in a while.

`docs/cost.md` derives it. A cycle is what lies between two segmentations: `calls` requests, of which
the first has `base` tokens and each next one `growth` more.
"""

from __future__ import annotations

from math import inf, sqrt

__all__ = ["cycle_calls", "cycle_cost"]


def cycle_calls(*, growth: float, rewritten: float, read: float, write: float, once: float) -> float:
    """The length of the cheapest cycle, in calls, 1 or more; infinite where reading costs nothing.

    Args:
        growth: Tokens a call adds, above 0.
        rewritten: Tokens of seed and tail, which stand behind the prefix that stays cached.
        read: Price of a token of the prefix at each call.
        write: Price of a token that was not in the cache.
        once: What a segmentation costs, whatever the prompt has grown to.
    """
    if read <= 0 or growth <= 0:
        return inf
    return max(1.0, sqrt(2 * max(0.0, rewritten * (write - read) + once) / (growth * read)))


def cycle_cost(
    calls: float, *, base: float, growth: float, rewritten: float, read: float, write: float, once: float
) -> float:
    """What a call of such a cycle costs on average, answers left out; in the prices' unit.

    The other arguments are those of `cycle_calls`.
    """
    standing = (base + (calls - 1) / 2 * growth) * read + growth * write
    return standing + (rewritten * (write - read) + once) / calls
