"""Parts of a row of text that change by themselves: clocks, opaque ids, durations, counters of calls."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

__all__ = ["PLENTY", "Row"]

_TOKEN = re.compile(
    r"(?P<stamp>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?)"
    r"|(?P<opaque>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|0x[0-9a-fA-F]+"
    r"|(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])"
    r"(?:[0-9a-f]{8,64}|[A-Za-z0-9-]{0,16}_?[A-Za-z0-9]{12,48})(?![\w-]))"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<mark>[^\s_])"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_UNITS: Final = frozenset({"ms", "s", "sec", "secs", "second", "seconds", "us", "µs", "ns"})

_CLOCK: Final = frozenset(
    {"now", "today", "timestamp", "ts", "clock", "generated", "rendered", "served", "printed", "fetched"}
    | {"retrieved", "cached", "checked"}
)
_READ_OFF: Final = frozenset({"current", "server", "local", "response", "system", "request"})
"""Words that name the moment of the answer, as `modified` and `updated` do not; and those that make a `time`
or `date` such a moment."""

_READERS: Final = frozenset({"hits", "views", "visits", "visitors", "online", "calls"})
_STEPPED: Final = _READERS | {"seq", "sequence", "serial", "tick", "call", "attempt", "counter", "count"}
_COUNTED: Final = frozenset(
    {"request", "req", "trace", "span", "correlation", "nonce", "seq", "sequence", "serial", "tick", "call"}
    | {"attempt", "counter", "pid", "rtt", "uptime", "elapsed", "duration", "took", "latency"}
    | _READERS
)
_COUNT: Final = frozenset({"id", "number", "no", "count", "ms", "time", "in", "for"})
"""Words that follow a number of readers; those that name a counter, which is one only if it goes up by one;
those that name what each call counts or measures anew; and those that may stand between name and number."""

_TELLING: Final = frozenset(
    {"remaining", "left", "eta", "progress", "step", "page", "queue", "position", "percent", "done", "next"}
    | {"failed", "failures", "errors", "total"}
)
"""Words beside a number or a time that make a change of it news."""

_CONTENT: Final = frozenset(
    {"hash", "sha", "digest", "checksum", "etag", "commit", "revision", "rev", "head", "version", "cursor"}
    | {"next"}
)
"""Words beside an opaque id that stands for the content: another id is another content."""

_PASSING: Final = _COUNTED | {"session", "csrf", "token"}
"""Words beside an opaque id that never stands for the content."""

PLENTY: Final = 8
_SOME: Final = 2
"""Words that must stand in a text before an id without such a name is no part of what it says; and before
anything in it is not."""

_DRIFT_S: Final = 120.0
"""Seconds by which a time without a name may be ahead of the time between the calls, and still be a clock."""

_EPOCH: Final = (1_500_000_000, 4_000_000_000)
"""Seconds since 1970 that are taken for a time: from 2017 to 2096; or as many milliseconds."""


class Row:
    """One row, in tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = [(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(_CAMEL.sub(" ", text))]

    def same_but_volatile(self, new: Row, elapsed_s: float, words: int) -> bool:
        """Whether the other row differs only in parts that change by themselves.

        Args:
            new: The row in the newer text.
            elapsed_s: Seconds between the two.
            words: Words in the newer text, `PLENTY` for that many or more. Where nothing stands beside the
                part that changed, that part is what the text says.
        """
        if words < _SOME or len(self.tokens) != len(new.tokens):
            return False
        return all(
            old == token or new._volatile(i, old, elapsed_s, words)
            for i, (old, token) in enumerate(zip(self.tokens, new.tokens, strict=True))
        )

    def has_id(self) -> bool:
        """Whether an opaque id stands in it."""
        return any(kind == "opaque" for kind, _ in self.tokens)

    def step(self, new: Row) -> float | None:
        """By how much the one number that differs went up; `None` if anything else differs."""
        if len(self.tokens) != len(new.tokens):
            return None
        differing = [(old, token) for old, token in zip(self.tokens, new.tokens, strict=True) if old != token]
        if len(differing) != 1 or {kind for kind, _ in differing[0]} != {"number"}:
            return None
        (_, before), (_, after) = differing[0]
        return float(after) - float(before)

    def _volatile(self, i: int, old: tuple[str, str], elapsed_s: float, words: int) -> bool:
        kind, text = self.tokens[i]
        if old[0] != kind:
            return False
        before = self._words_before(i)
        if kind == "stamp":
            return _TELLING.isdisjoint(before) and (_names_now(before) or _ticked(old[1], text, elapsed_s))
        if kind == "opaque":
            return _CONTENT.isdisjoint(before) and (words >= PLENTY or not _PASSING.isdisjoint(before[:2]))
        return kind == "number" and self._measured(i, before, old[1])

    def _measured(self, i: int, before: list[str], old: str) -> bool:
        after = [text.lower() for _, text in self.tokens[i + 1 : i + 3]]
        if after and after[0] in _UNITS:
            return {"remaining", "left", "eta"}.isdisjoint([*before, *after])
        if not _TELLING.isdisjoint([*before[:2], *after]):
            return False
        if _is_epoch(old) and _is_epoch(self.tokens[i][1]) and _names_now(before):
            return True
        named = before[:1] if not before or before[0] not in _COUNT else before[:2]
        if not _STEPPED.isdisjoint([*named, *after[:1]]) and float(self.tokens[i][1]) - float(old) != 1:
            return False
        return not _COUNTED.isdisjoint(named) or not _READERS.isdisjoint(after[:1])

    def _words_before(self, i: int) -> list[str]:
        """The nearest three words before a token, the nearest first: its name, in most texts."""
        words = [text.lower() for kind, text in reversed(self.tokens[max(0, i - 8) : i]) if kind == "word"]
        return words[:3]


def _names_now(before: list[str]) -> bool:
    """Whether the words before a time say that it is the moment of the answer."""
    if before and before[0] in ("time", "date"):
        return len(before) == 1 or before[1] in _READ_OFF
    return not _CLOCK.isdisjoint(before[:2])


def _is_epoch(number: str) -> bool:
    value = float(number)
    return any(_EPOCH[0] <= value / scale <= _EPOCH[1] for scale in (1, 1_000))


def _ticked(old: str, new: str, elapsed_s: float) -> bool:
    """Whether a time moved forward about as far as the clock did."""
    before, after = _seconds(old), _seconds(new)
    if before is None or after is None:
        return False
    moved = after - before
    if len(new) <= 8:
        moved %= 86_400
    return 0 <= moved <= elapsed_s + _DRIFT_S


def _seconds(stamp: str) -> float | None:
    try:
        if "-" in stamp[:8]:
            return datetime.fromisoformat(stamp.replace(",", ".")).replace(tzinfo=None).timestamp()
        hours, minutes, *rest = stamp.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + (float(rest[0]) if rest else 0.0)
    except ValueError:
        return None
