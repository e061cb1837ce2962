"""What the traces of one tool add up to, with the evidence for each statement. Pure.

Everything here is a function of an `Aggregate` and the time. A statement that counts do not carry is
left out: a finding needs both enough calls and an interval that chance does not explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from procedural.aggregates import ANY, PART, Aggregate, CorrectionRow, Table, day_of, duration_of
from procedural.evidence import Z_99, Rate, apart, difference
from procedural.traces import Change

__all__ = [
    "ArgumentPattern",
    "Drift",
    "ErrorPattern",
    "Fix",
    "Latency",
    "Lift",
    "Pattern",
    "SequencePattern",
    "lift_of",
    "pattern_of",
]

HALF_LIFE_DAYS: Final = 30.0
_MIN_FIXES: Final = 2
_MIN_CALLS: Final = 5
_MIN_DRIFT: Final = 8


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """One kind of failure.

    Attributes:
        error_class: `not found`, `timeout`, ...
        text: What it says, values replaced; may be empty. Untrusted: see `quoting`.
        count: How often, at least.
        share: Of the tool's failures.
    """

    error_class: str
    text: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Fix:
    """A failure, and the change after which the call succeeded.

    Attributes:
        error_class: Of the failure.
        error_text: What it said, values replaced.
        changes: What the later call did otherwise; empty: the same call once more succeeded.
        rate: How often the changed call succeeded.
        sessions: In how many sessions it did, at least; 0 if sessions are unknown.
        age_days: Days since it last did.
    """

    error_class: str
    error_text: str
    changes: tuple[Change, ...]
    rate: Rate
    sessions: int
    age_days: int


@dataclass(frozen=True, slots=True)
class ArgumentPattern:
    """A feature of arguments with which calls fare otherwise than without.

    Attributes:
        path: Of the argument.
        value: Its plain value, `None` if the feature is its form.
        form: Its form, `None` if the feature is its value.
        having: Rate of the calls that have it (99 % interval).
        lacking: Rate of the others (99 % interval).
    """

    path: str
    value: str | None
    form: str | None
    having: Rate
    lacking: Rate


@dataclass(frozen=True, slots=True)
class SequencePattern:
    """Calls that went before, and how this tool then fared.

    Attributes:
        previous: The successful calls just before it, oldest first.
        rate: Of the calls that followed them.
        better: Whether that beats all other calls beyond chance.
    """

    previous: tuple[str, ...]
    rate: Rate
    better: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """The tool behaves otherwise than it used to.

    Attributes:
        kind: `rate`: it succeeds more or less often. `result`: its results look otherwise.
        before: Rate of the calls before the newest ones.
        recent: Rate of the newest ones.
        before_shape: Of results, for `result`.
        recent_shape: Of results, for `result`.
    """

    kind: Literal["rate", "result"]
    before: Rate
    recent: Rate
    before_shape: str = ""
    recent_shape: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took, in seconds; each quantile is right within 9 %.

    Attributes:
        calls: How many were timed. Calls of unknown duration do not count.
        p50_s: Half were faster.
        p90_s: Nine of ten were faster.
        p99_s: 99 of 100 were faster.
    """

    calls: int
    p50_s: float
    p90_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Lift:
    """Whether calls fare better where a hint was shown.

    It compares what happened, and proves cause only if the host chose by chance who sees hints.

    Attributes:
        hinted: Rate of calls that a hint was shown for.
        plain: Rate of calls without.
        low: Lower end of the 95 % interval of the difference of the shares.
        high: Its upper end.
    """

    hinted: Rate
    plain: Rate
    low: float
    high: float

    @property
    def gain(self) -> float:
        """Share with a hint less share without."""
        return self.hinted.share - self.plain.share


@dataclass(frozen=True, slots=True)
class Pattern:
    """What past calls of one tool teach.

    Attributes:
        tool_name: The tool.
        rate: Of success, older calls weighing less, with its interval and counts.
        first_at: Of the oldest call, aware UTC.
        last_at: Of the newest.
        age_days: Whole days since the newest; 0 if the clock stands before it.
        latency: Of the timed calls, `None` if none was.
        result_tokens: Mean tokens of a result over the calls where it is known, `None` if nowhere.
        cost_usd: Known cost of all calls, `None` if known for none.
        cost_coverage: Share of the calls whose cost is known.
        errors: Kinds of failure, the most frequent first.
        fixes: What helped, the best proved first.
        arguments: Features that go with success or failure, the clearest first.
        sequences: What went before calls that succeeded, the most frequent first.
        drift: What changed lately.
        lift: Whether hints help, `None` without calls of both kinds.
        goal_words: Words of the goals that it served, with the number of calls. For ranking, never shown.
    """

    tool_name: str
    rate: Rate
    first_at: datetime
    last_at: datetime
    age_days: int
    latency: Latency | None
    result_tokens: float | None
    cost_usd: Decimal | None
    cost_coverage: float
    errors: tuple[ErrorPattern, ...]
    fixes: tuple[Fix, ...]
    arguments: tuple[ArgumentPattern, ...]
    sequences: tuple[SequencePattern, ...]
    drift: tuple[Drift, ...]
    lift: Lift | None
    goal_words: Mapping[str, int]

    @property
    def calls(self) -> int:
        return self.rate.calls

    @property
    def successes(self) -> int:
        return self.rate.successes


def pattern_of(
    tool_name: str, whole: Aggregate, now: datetime, *, half_life_days: float = HALF_LIFE_DAYS
) -> Pattern:
    """The pattern of one tool.

    Args:
        tool_name: The tool.
        whole: The sum over its traces; at least one.
        now: Aware time from which ages count. Calls after it have the age 0.
        half_life_days: Age at which a call weighs half, above 0.
    """
    today = day_of(now)
    calls = whole.successes + whole.failures
    return Pattern(
        tool_name=tool_name,
        rate=_rate(whole, today, half_life_days),
        first_at=datetime.fromisoformat(whole.first_at).astimezone(UTC),
        last_at=datetime.fromisoformat(whole.last_at).astimezone(UTC),
        age_days=max(0, today - day_of(datetime.fromisoformat(whole.last_at))),
        latency=_latency(whole.buckets),
        result_tokens=whole.tokens[1] / whole.tokens[0] if whole.tokens[0] else None,
        cost_usd=whole.cost[1] if whole.cost[0] else None,
        cost_coverage=whole.cost[0] / calls,
        errors=_errors(whole.errors, whole.failures),
        fixes=_fixes(whole, today, half_life_days),
        arguments=_arguments(whole),
        sequences=_sequences(whole),
        drift=tuple(_drifts(whole)),
        lift=lift_of([whole]),
        goal_words={word: ok + failed for word, (ok, failed) in whole.goals.items()},
    )


def lift_of(parts: Iterable[Aggregate]) -> Lift | None:
    """The lift over several tools; `None` without calls of both kinds."""
    counts = {"hinted": [0, 0], "plain": [0, 0]}
    for part in parts:
        for arm, total in counts.items():
            for place, count in enumerate(part.arms.get(arm, (0, 0))):
                total[place] += count
    if not sum(counts["hinted"]) or not sum(counts["plain"]):
        return None
    hinted, plain = (Rate.of(ok, ok + failed) for ok, failed in counts.values())
    return Lift(hinted, plain, *difference(hinted, plain))


def _rate(whole: Aggregate, today: int, half_life_days: float) -> Rate:
    days = [*((day, ok, failed) for day, (ok, failed) in whole.days.items()), whole.older]
    return Rate.weighted(
        [(ok, ok + failed, _weight(today - day, half_life_days)) for day, ok, failed in days if ok + failed]
    )


def _weight(age_days: int, half_life_days: float) -> float:
    """Never 0, so that the evidence of an old tool still has a share."""
    return float(2.0 ** -min(100.0, max(0, age_days) / half_life_days))


def _latency(buckets: Mapping[int, int]) -> Latency | None:
    calls = sum(buckets.values())
    if not calls:
        return None

    def quantile(share: float) -> float:
        left = share * calls
        for bucket in sorted(buckets):
            left -= buckets[bucket]
            if left <= 1e-9:
                return duration_of(bucket)
        return duration_of(max(buckets))

    return Latency(calls, quantile(0.5), quantile(0.9), quantile(0.99))


def _errors(table: Table, failures: int) -> tuple[ErrorPattern, ...]:
    ranked = sorted(table.items(), key=lambda item: (-item[1][1], item[0]))
    return tuple(
        ErrorPattern(*_parted(key), count=count, share=count / failures) for key, (_, count) in ranked
    )


def _parted(key: str) -> tuple[str, str]:
    error_class, _, text = key.partition(": ")
    return error_class, text


def _fixes(whole: Aggregate, today: int, half_life_days: float) -> tuple[Fix, ...]:
    """Changes that worked at least twice, and more often than not."""
    found = [
        _fix(key, row, today)
        for key, row in whole.corrections.items()
        if row.worked >= _MIN_FIXES and row.worked > row.failed
    ]
    return tuple(
        sorted(
            found,
            key=lambda fix: (
                -fix.rate.low * _weight(fix.age_days, half_life_days),
                fix.error_text,
                fix.changes,
            ),
        )
    )


def _fix(key: tuple[str, tuple[Change, ...]], row: CorrectionRow, today: int) -> Fix:
    rate = Rate.of(row.worked, row.worked + row.failed)
    return Fix(*_parted(key[0]), key[1], rate, len(row.sessions), max(0, today - row.last_day))


def _arguments(whole: Aggregate) -> tuple[ArgumentPattern, ...]:
    """Features that part good calls from bad ones, at 99 %, with five calls on either side."""
    found: list[tuple[float, ArgumentPattern]] = []
    every = whole.features.get(ANY, [0, 0])
    for feature, (ok, failed) in whole.features.items():
        others = every[0] - ok, every[1] - failed
        if ok + failed < _MIN_CALLS or sum(others) < _MIN_CALLS:
            continue
        having, lacking = Rate.of(ok, ok + failed, Z_99), Rate.of(others[0], sum(others), Z_99)
        if apart(having, lacking):
            found.append((abs(having.share - lacking.share), _argument(feature, having, lacking)))
    found.sort(
        key=lambda item: (-item[0], item[1].value is None, item[1].path, item[1].value or item[1].form or "")
    )
    return tuple(argument for _, argument in found[:16])


def _argument(feature: str, having: Rate, lacking: Rate) -> ArgumentPattern:
    path, _, rest = feature.partition(PART)
    value, form = (rest[1:], None) if rest.startswith("=") else (None, rest[1:])
    return ArgumentPattern(path, value, form, having, lacking)


def _sequences(whole: Aggregate) -> tuple[SequencePattern, ...]:
    calls = whole.successes + whole.failures
    found: list[SequencePattern] = []
    for key, (ok, failed) in whole.sequences.items():
        if ok + failed < _MIN_CALLS or ok <= failed:
            continue
        rate, others = Rate.of(ok, ok + failed, Z_99), calls - ok - failed
        better = others >= _MIN_CALLS and difference(rate, Rate.of(whole.successes - ok, others, Z_99))[0] > 0
        found.append(SequencePattern(tuple(key.split(PART)), Rate.of(ok, ok + failed), better))
    found.sort(key=lambda one: (not one.better, -one.rate.calls, one.previous))
    return tuple(found[:8])


def _drifts(whole: Aggregate) -> Iterable[Drift]:
    """The newest 16 calls (or a third, if there are fewer than 48) against all before them."""
    calls = whole.successes + whole.failures
    size = min(16, calls // 3)
    if size < _MIN_DRIFT:
        return
    newest = whole.newest[-size:]
    good = sum(ok for _, _, ok, _ in newest)
    recent, before = Rate.of(good, size, Z_99), Rate.of(whole.successes - good, calls - size, Z_99)
    if apart(recent, before):
        yield Drift("rate", before, recent)
    shapes = [shape for _, _, ok, shape in newest if ok and shape]
    usual = max(whole.shapes, key=lambda shape: (whole.shapes[shape][0], shape), default="")
    if len(shapes) < _MIN_DRIFT or len(set(shapes)) != 1 or not usual:
        return
    seen_before = whole.shapes.get(shapes[0], [0])[0] - len(shapes)
    former = {shape: row[0] - (shape == shapes[0]) * len(shapes) for shape, row in whole.shapes.items()}
    usual = max(former, key=lambda shape: (former[shape], shape))
    if seen_before <= 0.05 * sum(former.values()) and former[usual] >= 0.9 * sum(former.values()) > 0:
        yield Drift("result", before, recent, usual, shapes[0])
