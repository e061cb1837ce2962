"""What sums say, and when they say nothing."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedural import Pattern, Rate, Trace
from procedural.aggregates import aggregate
from procedural.evidence import apart, difference
from procedural.patterns import pattern_of
from tests.procedural.traced import START, traces


def calls(outcomes: list[bool], **fields: object) -> list[Trace]:
    """Calls of one tool, a minute apart."""
    shape = {"result_shape": "list"}
    return [
        Trace(
            trace_id=f"{number:05}",
            tool_name="fetch",
            at=START + timedelta(minutes=number),
            success=ok,
            error_class=None if ok else "other",
            **{**(shape if ok else {}), **fields},  # pyright: ignore[reportArgumentType]
        )
        for number, ok in enumerate(outcomes)
    ]


def pattern(recorded: list[Trace], days: float = 1, half_life_days: float = 30) -> Pattern:
    """The pattern some days after the start."""
    now = START + timedelta(days=days)
    return pattern_of("fetch", aggregate(recorded)["fetch"], now, half_life_days=half_life_days)


@given(traces())
def test_every_pattern_states_its_evidence(recorded: list[Trace]) -> None:
    """Counts, an interval that holds the share, and an age; never a share outside 0 to 1."""
    for tool, whole in aggregate(recorded).items():
        found = pattern_of(tool, whole, START + timedelta(days=90))
        rates = [found.rate, *(fix.rate for fix in found.fixes), *(one.rate for one in found.sequences)]

        assert found.calls == sum(trace.tool_name == tool for trace in recorded)
        assert found.age_days >= 0
        assert all(0 <= one.low <= one.share <= one.high <= 1 and one.calls > 0 for one in rates)


@given(st.integers(0, 500), st.integers(1, 500))
def test_more_evidence_narrows_the_interval(successes: int, failures: int) -> None:
    """Ten times the calls at the same share say more."""
    few = Rate.of(successes, successes + failures)
    many = Rate.of(10 * successes, 10 * (successes + failures))

    assert few.low <= many.low <= many.share <= many.high <= few.high


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_difference_holds_what_was_seen(a: int, b: int, c: int, d: int) -> None:
    """The interval of a difference contains it, and the other way round is its mirror."""
    first, second = Rate.of(a, a + b + 1), Rate.of(c, c + d + 1)
    low, high = difference(first, second)

    assert low <= first.share - second.share <= high
    assert (-high, -low) == pytest.approx(difference(second, first))


def test_wilsons_interval_is_the_published_one() -> None:
    """8 of 10: 0.49 to 0.94 (Newcombe 1998 gives 0.4902 to 0.9433)."""
    rate = Rate.of(8, 10)

    assert (round(rate.low, 4), round(rate.high, 4)) == (0.4902, 0.9433)


def test_old_calls_weigh_less_and_prove_less() -> None:
    """After a half-life a failure of then weighs half a success of now, and counts are never bent."""
    old = calls([False] * 10)
    new = [Trace(f"n{number}", "fetch", START + timedelta(days=30), success=True) for number in range(10)]
    rate = pattern([*old, *new], days=30).rate
    alone = pattern(old, days=300).rate

    assert rate.share == pytest.approx(2 / 3)
    assert (rate.successes, rate.calls) == (10, 20)
    assert alone.high > 0.95


def test_an_argument_is_named_when_it_parts_good_from_bad() -> None:
    """A choice that always fails is found; with few calls nothing is said."""
    good = calls([True] * 20, choices={"unit": "metric"}, forms={"unit": "word"})
    bad = calls([False] * 8, choices={"unit": "imperial"}, forms={"unit": "word"})
    for number, trace in enumerate(bad):
        bad[number] = Trace(
            f"b{number}", "fetch", trace.at, success=False, choices=trace.choices, forms=trace.forms
        )
    found = {one.value: one.having.successes for one in pattern([*good, *bad]).arguments}
    few = pattern([*good[:6], *bad[:3]]).arguments

    assert found == {"metric": 20, "imperial": 0}
    assert [one.value for one in few if one.value] == []


def test_one_call_over_and_over_is_no_evidence_on_its_arguments() -> None:
    """Repetitions within a session count as calls alone."""
    good = calls([True] * 20, choices={"unit": "metric"})
    bad = [
        Trace(f"b{number}", "fetch", START, success=False, choices={"unit": "imperial"}, repeated=number > 0)
        for number in range(20)
    ]

    assert pattern([*good, *bad]).arguments == ()


def test_a_tool_that_breaks_has_drifted() -> None:
    """The newest calls against those before; a tool that always failed now and then has not."""
    broke = pattern(calls([True] * 60 + [False] * 12 + [True] * 4)).drift
    steady = pattern(calls([number % 4 != 0 for number in range(80)])).drift

    assert [(one.kind, one.recent.successes, one.recent.calls) for one in broke] == [("rate", 4, 16)]
    assert steady == ()


def test_results_of_a_new_shape_are_drift() -> None:
    """A renamed field is seen before it is missed."""
    old = calls([True] * 40, result_shape="object(id, name)")
    new = [
        Trace(f"n{n:03}", "fetch", START + timedelta(hours=5, minutes=n), success=True, result_shape="list")
        for n in range(16)
    ]
    found = pattern([*old, *new]).drift

    assert [(d.kind, d.before_shape, d.recent_shape) for d in found] == [
        ("result", "object(id, name)", "list")
    ]


def test_a_sequence_that_helps_is_named() -> None:
    """Calls after a login succeed, calls without fail."""
    after = calls([True] * 12, previous=("login",))
    without = [Trace(f"w{number}", "fetch", START, success=False) for number in range(12)]
    found = pattern([*after, *without]).sequences

    assert [(one.previous, one.better, one.rate.calls) for one in found] == [(("login",), True, 12)]


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=60))
def test_a_latency_quantile_is_right_within_nine_percent(durations: list[float]) -> None:
    """Against the exact order statistic."""
    recorded = [
        Trace(str(n), "fetch", START, success=True, duration_s=seconds) for n, seconds in enumerate(durations)
    ]
    exact = sorted(durations)[-(-len(durations) // 2) - 1]
    latency = pattern(recorded).latency

    assert latency is not None
    assert latency.p50_s == pytest.approx(exact, rel=0.095)


def test_rates_that_chance_explains_are_not_apart() -> None:
    """Three of four against five of five proves nothing."""
    assert not apart(Rate.of(3, 4), Rate.of(5, 5))
    assert apart(Rate.of(2, 40), Rate.of(38, 40))
