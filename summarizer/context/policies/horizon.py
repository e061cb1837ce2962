"""How far back windows must look: a long open segment need not be read from its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ...events import Event
from .composing import ContextPolicy
from .results import ClearToolResults, Offload
from .views import is_pinned
from .windows import Age, KeepLast, TokenBudget

__all__ = ["tails"]

STEP: Final = 256
"""Events by which the shortest tail moves; one of at most 511 events takes a few milliseconds."""

_WINDOWS: Final = frozenset({Age, KeepLast, TokenBudget})
_LOCAL: Final = _WINDOWS | {ClearToolResults, Offload}
"""Policies to which nothing before a window matters."""


def tails(events: Sequence[Event], policies: Iterable[ContextPolicy]) -> Iterator[Sequence[Event]]:
    """Tails of the segment that may be all that the policies show, ever longer; the whole is not among them.

    Each begins with a user message, before which no call can be answered any more but by a note, so its
    units are those of the whole segment. It is enough if its first unit is left out: a window then begins
    behind it. Where a tail begins moves in steps, so the marks of its windows do.

    Args:
        events: The open segment.
        policies: What is to act on it.
    """
    kinds = {type(policy) for policy in policies}
    if not kinds <= _LOCAL or not kinds & _WINDOWS:
        return
    size = STEP
    while len(events) >= 2 * size:
        mark = (len(events) - size) // size * size
        start = next((i for i in range(mark, len(events)) if _opens_turn(events[i])), None)
        if start is not None:
            if any(map(is_pinned, events[:start])):
                return
            yield events[start:]
        size *= 4


def _opens_turn(event: Event) -> bool:
    return event.message is not None and event.message.role == "user"
