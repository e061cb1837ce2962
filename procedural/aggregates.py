"""Sums over traces, one per tool: what patterns are read from, and what a store keeps in their place.

`merge(a, b)` is the sum over the traces of both, in any order and any grouping, so a checkpoint and the
traces after it give what a scan of all would. That is exact for calls, days, latency, money and the newest
calls, always. Tables of words (errors, corrections, choices, sequences, goals) hold a limited number
of rows; while a tool has fewer distinct ones it is exact for them too, and beyond it
the rows with the least evidence are dropped, so their counts are lower bounds.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from math import frexp, log2
from typing import Any, Final

from procedural.errors import TraceError
from procedural.traces import Change, Trace

__all__ = ["ANY", "PART", "Aggregate", "Table", "aggregate", "day_of", "duration_of", "merge"]

SCHEMA: Final = 1
_DAYS: Final = 60
_NEWEST: Final = 32
_SESSIONS: Final = 8
_STEPS: Final = 4
"""Latency buckets for each doubling: a quantile is right within 9 %."""

PART: Final = "\x1f"
"""Between the parts of a key: no name holds it, since control characters are taken out of traces."""

ANY: Final = ""
"""The feature that every call has: the calls that features are counted over."""

Table = dict[str, list[int]]
"""For each key: successes, failures."""

_ROWS: Final = {"errors": 64, "features": 256, "sequences": 64, "goals": 128, "shapes": 32}


@dataclass(slots=True)
class CorrectionRow:
    """What became of one correction.

    Attributes:
        worked: How often the corrected call succeeded.
        failed: How often it failed.
        sessions: Digests of at most 8 sessions in which it worked.
        last_day: When it last worked, days since 1970.
    """

    worked: int = 0
    failed: int = 0
    sessions: set[str] = field(default_factory=set[str])
    last_day: int = 0


@dataclass(slots=True)
class Aggregate:
    """The sum over the traces of one tool.

    Attributes:
        days: For each of the newest 60 days with a call, days since 1970: successes, failures.
        older: The same for all days before them: newest day of them, successes, failures.
        newest: The newest 32 calls: (time, id, success, result shape).
        first_at: Time of the oldest call, ISO 8601 in UTC.
        last_at: Time of the newest call.
        buckets: Latency histogram: bucket to calls.
        tokens: Known result tokens: calls, sum.
        cost: Known costs: calls, sum in US dollars.
        arms: Successes and failures with and without a hint shown.
        errors: Failures by error key (with the number of successes always 0).
        features: Successes and failures by argument feature, over the calls that do not repeat another; those
            under the empty key.
        sequences: Successes and failures by the successful calls before it, as JSON-safe text.
        goals: Successes and failures by word of the goal.
        shapes: Successes by result shape.
        corrections: By error key and changes.
    """

    days: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    older: tuple[int, int, int] = (0, 0, 0)
    newest: list[tuple[str, str, bool, str]] = field(default_factory=list[tuple[str, str, bool, str]])
    first_at: str = ""
    last_at: str = ""
    buckets: dict[int, int] = field(default_factory=dict[int, int])
    tokens: tuple[int, int] = (0, 0)
    cost: tuple[int, Decimal] = (0, Decimal(0))
    arms: Table = field(default_factory=Table)
    errors: Table = field(default_factory=Table)
    features: Table = field(default_factory=Table)
    sequences: Table = field(default_factory=Table)
    goals: Table = field(default_factory=Table)
    shapes: Table = field(default_factory=Table)
    corrections: dict[tuple[str, tuple[Change, ...]], CorrectionRow] = field(
        default_factory=dict[tuple[str, tuple[Change, ...]], CorrectionRow]
    )

    @property
    def successes(self) -> int:
        return self.older[1] + sum(ok for ok, _ in self.days.values())

    @property
    def failures(self) -> int:
        return self.older[2] + sum(failed for _, failed in self.days.values())

    @property
    def calls(self) -> int:
        return self.successes + self.failures

    def add(self, trace: Trace) -> None:
        """Take one more trace in; costs the same however many there were."""
        day, at = day_of(trace.at), trace.at.astimezone(UTC).isoformat()
        self._count_day(day, int(trace.success), int(not trace.success))
        insort(self.newest, (at, trace.trace_id, trace.success, trace.result_shape or ""))
        del self.newest[:-_NEWEST]
        self.first_at = min(self.first_at or at, at)
        self.last_at = max(self.last_at, at)
        if trace.duration_s is not None:
            bucket = _bucket(trace.duration_s)
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        if trace.result_tokens is not None:
            self.tokens = (self.tokens[0] + 1, self.tokens[1] + trace.result_tokens)
        if trace.cost_usd is not None:
            self.cost = (self.cost[0] + 1, self.cost[1] + trace.cost_usd)
        for name, keys in _keys_of(trace):
            _count(getattr(self, name), keys, trace.success)
        if trace.correction is not None:
            self._correct(trace, day)
        self._prune()

    def merge(self, other: Aggregate) -> None:
        """Take the traces of another aggregate in. They must be other traces."""
        for day, (ok, failed) in other.days.items():
            self._count_day(day, ok, failed)
        self._count_older(other.older)
        self.newest = sorted([*self.newest, *other.newest])[-_NEWEST:]
        self.first_at = min(filter(None, (self.first_at, other.first_at)), default="")
        self.last_at = max(self.last_at, other.last_at)
        for bucket, calls in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + calls
        self.tokens = (self.tokens[0] + other.tokens[0], self.tokens[1] + other.tokens[1])
        self.cost = (self.cost[0] + other.cost[0], self.cost[1] + other.cost[1])
        for name in ("arms", *_ROWS):
            _sum(getattr(self, name), getattr(other, name))
        for key, row in other.corrections.items():
            self._merge_correction(key, row)
        self._prune(to_size=True)

    def _count_day(self, day: int, ok: int, failed: int) -> None:
        if day <= self.older[0] and day not in self.days and self.older != (0, 0, 0):
            self.older = (self.older[0], self.older[1] + ok, self.older[2] + failed)
            return
        row = self.days.setdefault(day, [0, 0])
        row[0] += ok
        row[1] += failed
        while len(self.days) > _DAYS:
            oldest = min(self.days)
            ok, failed = self.days.pop(oldest)
            self._count_older((oldest, ok, failed))

    def _count_older(self, older: tuple[int, int, int]) -> None:
        if older == (0, 0, 0):
            return
        self.older = (max(self.older[0], older[0]), self.older[1] + older[1], self.older[2] + older[2])
        for day in [day for day in self.days if day <= self.older[0]]:
            ok, failed = self.days.pop(day)
            self.older = (self.older[0], self.older[1] + ok, self.older[2] + failed)

    def _correct(self, trace: Trace, day: int) -> None:
        assert trace.correction is not None
        key = (trace.correction.error, trace.correction.changes)
        sessions = {_digest(trace.session_id)} if trace.success and trace.session_id else set[str]()
        row = CorrectionRow(int(trace.success), int(not trace.success), sessions, day if trace.success else 0)
        self._merge_correction(key, row)

    def _merge_correction(self, key: tuple[str, tuple[Change, ...]], row: CorrectionRow) -> None:
        mine = self.corrections.setdefault(key, CorrectionRow())
        mine.worked += row.worked
        mine.failed += row.failed
        mine.sessions = set(sorted(mine.sessions | row.sessions)[:_SESSIONS])
        mine.last_day = max(mine.last_day, row.last_day)

    def _prune(self, *, to_size: bool = False) -> None:
        """Drop the rows with the least evidence; while traces come one by one, a quarter late."""
        for name, rows in _ROWS.items():
            table: Table = getattr(self, name)
            if len(table) > (rows if to_size else rows * 5 // 4):
                ranked = sorted(table, key=lambda key: (-sum(table[key]), key))
                for key in ranked[rows:]:
                    del table[key]
        if len(self.corrections) > (64 if to_size else 80):
            ranked = sorted(
                self.corrections.items(),
                key=lambda item: (-item[1].worked - item[1].failed, -item[1].last_day, item[0]),
            )
            self.corrections = dict(ranked[:64])

    def to_json(self) -> dict[str, Any]:
        """The sum as a JSON object; `from_json` gives it back."""
        plain = {name: getattr(self, name) for name in ("arms", *_ROWS)}
        return {
            "schema": SCHEMA,
            "days": {str(day): row for day, row in self.days.items()},
            "older": list(self.older),
            "newest": [list(call) for call in self.newest],
            "first_at": self.first_at,
            "last_at": self.last_at,
            "buckets": {str(bucket): calls for bucket, calls in self.buckets.items()},
            "tokens": list(self.tokens),
            "cost": [self.cost[0], str(self.cost[1])],
            **{name: {key: list(row) for key, row in table.items()} for name, table in plain.items()},
            "corrections": [_correction_json(key, row) for key, row in self.corrections.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Aggregate:
        """The sum that `to_json` wrote.

        Raises:
            TraceError: Written by a newer version, or damaged.
        """
        if data.get("schema") != SCHEMA:
            raise TraceError(
                f"summary of schema {data.get('schema')!r}; this version reads {SCHEMA}: scan the traces"
            )
        try:
            older, tokens, cost = data["older"], data["tokens"], data["cost"]
            return cls(
                days={int(day): list(row) for day, row in data["days"].items()},
                older=(older[0], older[1], older[2]),
                newest=[(at, call, ok, shape) for at, call, ok, shape in data["newest"]],
                first_at=data["first_at"],
                last_at=data["last_at"],
                buckets={int(bucket): calls for bucket, calls in data["buckets"].items()},
                tokens=(tokens[0], tokens[1]),
                cost=(cost[0], Decimal(cost[1])),
                **{name: {key: list(row) for key, row in data[name].items()} for name in ("arms", *_ROWS)},
                corrections=dict(_correction_row(entry) for entry in data["corrections"]),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise TraceError(f"no summary: {type(error).__name__} at {error}; scan the traces") from error


def aggregate(traces: Iterable[Trace]) -> dict[str, Aggregate]:
    """The sums of traces, by tool. Each trace must be given once."""
    sums: dict[str, Aggregate] = {}
    for trace in traces:
        sums.setdefault(trace.tool_name, Aggregate()).add(trace)
    return sums


def merge(first: Mapping[str, Aggregate], second: Mapping[str, Aggregate]) -> dict[str, Aggregate]:
    """The sums of the traces of both; neither is changed."""
    whole: dict[str, Aggregate] = {}
    for part in (first, second):
        for tool, one in part.items():
            whole.setdefault(tool, Aggregate()).merge(one)
    return whole


def day_of(at: datetime) -> int:
    """Whole days since 1970 in UTC; a clock before that reads 0."""
    return max(0, int(at.timestamp() // 86_400))


def duration_of(bucket: int) -> float:
    """Seconds in the middle of a latency bucket."""
    return float(2 ** ((bucket + 0.5) / _STEPS))


def _bucket(seconds: float) -> int:
    """The latency bucket, between a microsecond and eleven days."""
    if not 1e-6 < seconds < 1e6:
        seconds = 1e-6 if not seconds > 1e-6 else 1e6
    mantissa, exponent = frexp(seconds)
    return int((exponent + log2(mantissa)) * _STEPS // 1)


def _keys_of(trace: Trace) -> Iterable[tuple[str, list[str]]]:
    """The rows that a trace counts in, by table."""
    if trace.hinted is not None:
        yield "arms", ["hinted" if trace.hinted else "plain"]
    if not trace.success:
        yield "errors", [trace.error_key]
    elif trace.result_shape:
        yield "shapes", [trace.result_shape]
    if not trace.repeated:
        choices = [f"{path}{PART}={value}" for path, value in trace.choices.items()]
        forms = [f"{path}{PART}:{form}" for path, form in trace.forms.items()]
        yield "features", [ANY, *choices, *forms]
    yield "sequences", [PART.join(trace.previous[-n:]) for n in range(1, len(trace.previous) + 1)]
    yield "goals", list(trace.goal_words)


def _count(table: Table, keys: list[str], success: bool) -> None:
    for key in keys:
        row = table.setdefault(key, [0, 0])
        row[not success] += 1


def _sum(table: Table, other: Table) -> None:
    for key, (ok, failed) in other.items():
        row = table.setdefault(key, [0, 0])
        row[0] += ok
        row[1] += failed


def _digest(session_id: str) -> str:
    return blake2b(session_id.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _correction_json(key: tuple[str, tuple[Change, ...]], row: CorrectionRow) -> list[Any]:
    changes = [[c.path, c.kind, c.before, c.after] for c in key[1]]
    return [key[0], changes, row.worked, row.failed, sorted(row.sessions), row.last_day]


def _correction_row(entry: list[Any]) -> tuple[tuple[str, tuple[Change, ...]], CorrectionRow]:
    error, changes, worked, failed, sessions, last_day = entry
    return (error, tuple(Change(*change) for change in changes)), CorrectionRow(
        worked, failed, set(sessions), last_day
    )
