"""Presence, staleness and invention, decided by code alone, and the interval around a share.

Something planted *stands* in a context if one line of it holds all of its values as they were written,
as whole words, case aside, and one of its labels within 120 characters of the first value. A number
that stands anywhere without what it is about does not count.

An old value is *stale* if a line shows it so, without the newer value and without a word that it was
replaced, and no line behind it shows the newer one: a reader would take it for true. It is *beside* the
newer one, unmarked, if the newer one stands behind it: a reader of the whole can tell, in a transcript
as in notes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from .planted import Planted

__all__ = ["Share", "invented", "lines_of", "staleness", "stands"]

_NEAR: Final = 120
_REPLACED: Final = re.compile(r"\b(?:superseded|replaced|no longer|formerly|outdated)\b", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[\w#€$£][\w.,:/#@+-]*\w|\w")
_OF_THE_FRAME: Final = re.compile(r"\bevents? \d+(?:-\d+)?\b|^\[End of notes; \d+")
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson (1927).

    The interval takes the observations for independent; those of one conversation are not quite.
    """

    hits: int = 0
    of: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(self.hits + other.hits, self.of + other.of)

    @property
    def percent(self) -> float | None:
        """The share in percent; `None` of nothing."""
        return 100 * self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end in percent; everything is possible of nothing."""
        if not self.of:
            return 0.0, 100.0
        p, n = self.hits / self.of, self.of
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))
        return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)

    @property
    def told(self) -> str:
        """In a cell of a table: `83 [76-89] n=120`, in percent."""
        if self.percent is None:
            return "-"
        low, high = self.interval
        return f"{self.percent:.0f} [{low:.0f}-{high:.0f}] n={self.of}"


def lines_of(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of a context's messages, top to bottom."""
    return [line for message in messages for line in str(message.get("content") or "").splitlines()]


def stands(planted: Planted, line: str) -> bool:
    """Whether a line says it: all values, and a label near the first."""
    found = [_whole(value).search(line) for value in planted.values]
    first = found[0]
    if first is None or not all(found):
        return False
    near = line[max(0, first.start() - _NEAR) : first.end() + _NEAR]
    return not planted.labels or any(_whole(label).search(near) for label in planted.labels)


def staleness(old: Planted, new: Planted, lines: Sequence[str]) -> str:
    """`absent`, `stale` or `beside`: what a context makes of a value that was replaced."""
    shown = [i for i, line in enumerate(lines) if stands(old, line) and not _withdrawn(line, new)]
    if not shown:
        return "absent"
    newest = max((i for i, line in enumerate(lines) if stands(new, line)), default=-1)
    return "stale" if newest < shown[-1] else "beside"


def _withdrawn(line: str, new: Planted) -> bool:
    return _REPLACED.search(line) is not None or all(_whole(value).search(line) for value in new.values)


def invented(seed: str, said: str) -> list[str]:
    """Tokens with a digit that a seed holds and no event does, the numbers of events in its own words aside.

    Args:
        seed: The notes.
        said: All that the events say, in lower case.
    """
    tokens: list[str] = []
    for line in seed.splitlines():
        tokens += _TOKEN.findall(_OF_THE_FRAME.sub("", line))
    telling = [token for token in tokens if any(c.isdigit() for c in token)]
    return [token for token in telling if not _said_whole(token.lower(), said)]


def _said_whole(token: str, said: str) -> bool:
    """Whether a text holds a token that is no part of a longer word or number: `13.9` is not in `5.13.9`."""
    if token not in said:
        return False
    return re.search(rf"(?<!\w)(?<!\d[.,:]){re.escape(token)}(?!\w|[.,:]\d)", said) is not None


@cache
def _whole(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)
