"""Figures, the tables they are printed in, and the interleaved timing that makes ratios fair."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Figure", "Result", "interleaved", "noise", "percentile", "shown"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: What it is.
        value: The number; `None` if it could not be measured here (a note says why).
        unit: Its unit; `x` for a ratio.
        at_most: The target, if there is an upper one.
        at_least: The target, if there is a lower one.
    """

    name: str
    value: float | None
    unit: str = "x"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty if there is none."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; `None` without a target or a value."""
        if self.value is None or not self.target:
            return None
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found.

    Attributes:
        name: Its name on the command line.
        figures: Its figures, in the order in which they are read.
        notes: What a reader must know: what was skipped and why.
        lists: By title, rows to be looked at one by one; the rows of a list have the same keys.
    """

    name: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())
    lists: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        figures = [
            {"name": f.name, "value": f.value, "unit": f.unit, "target": f.target or None, "met": f.met}
            for f in self.figures
        ]
        told: dict[str, Any] = {"name": self.name, "figures": figures, "notes": list(self.notes)}
        return told | ({"lists": {k: list(v) for k, v in self.lists.items()}} if self.lists else {})

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    def to_table(self) -> str:
        """The figures in columns, the notes below, then the lists."""
        verdicts = {True: "met", False: "MISSED", None: ""}
        rows = [("figure", "value", "unit", "target", "")]
        rows += [(f.name, shown(f.value), f.unit, f.target, verdicts[f.met]) for f in self.figures]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [f"== {self.name}"]
        for name, value, unit, target, verdict in rows:
            cells = (name.ljust(widths[0]), value.rjust(widths[1]), unit.ljust(widths[2]))
            lines.append("  ".join((*cells, target.ljust(widths[3]), verdict)).rstrip())
        lines += [f"   {note}" for note in self.notes]
        for title, listed in self.lists.items():
            lines += ["", f"-- {title}: {len(listed)}", *_columns(listed)]
        return "\n".join(lines)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows under their keys, each column as wide as its widest cell."""
    table = [list(rows[0]), *([str(cell) for cell in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def shown(value: float | None) -> str:
    """A number with three significant figures, or `unknown`."""
    if value is None:
        return "unknown"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


async def interleaved(
    ways: Mapping[str, Callable[[], Awaitable[object]]],
    *,
    rounds: int,
    warm: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each way by the clock, all of them run in turn in every round.

    What disturbs the machine for a while then disturbs all ways alike, so that ratios hold where
    absolute times do not. The order rotates, since one way warms caches for the next.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(-warm, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = clock()
            await ways[name]()
            spent = clock() - start
            if turn >= 0:
                times[name].append(spent)
    return {name: median(spent) for name, spent in times.items()}


async def noise(rounds: int = 300) -> float:
    """The ratio of the slower to the faster median of two equal ways: how far 1 may be from 1 here."""

    async def work() -> None:
        sum(range(20_000))
        await asyncio.sleep(0)

    medians = await interleaved({"a": work, "b": work}, rounds=rounds)
    return max(medians.values()) / min(medians.values())


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; the largest for a share of 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
