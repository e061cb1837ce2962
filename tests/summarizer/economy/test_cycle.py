"""Where the sum of long prompts and segmentations is least."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.economy import Situation, Terms, cycle_calls, cycle_cost, decide
from summarizer.meter import Price, set_price

RUNS = st.fixed_dictionaries(
    {
        "base": st.integers(500, 30_000),
        "growth": st.integers(50, 5_000),
        "rewritten": st.integers(500, 10_000),
        "read": st.floats(0.02, 1.0),
        "write": st.floats(1.0, 2.0),
        "once": st.floats(0, 50_000),
    }
)


def bill(calls_per_cycle, cycles, *, base, growth, rewritten, read, write, once):
    """What a provider bills for the prompts of a run, call by call, from an implementation of its own."""
    total = 0.0
    for _ in range(cycles):
        total += once
        size = base
        for i in range(calls_per_cycle):
            fresh = growth + (rewritten if i == 0 else 0)
            total += (size - (rewritten if i == 0 else 0)) * read + fresh * write
            size += growth
    return total


@given(RUNS, st.integers(1, 40))
def test_the_formula_is_the_bill(run, calls):
    """The average cost of a call is what a bill drawn up call by call comes to."""
    expected = bill(calls, 3, **run) / (3 * calls)

    assert cycle_cost(calls, **run) == pytest.approx(expected)


@given(RUNS)
def test_the_chosen_cycle_is_the_cheapest(run):
    """The bill of the chosen length is within two percent of the best that trying every length finds."""
    calls = cycle_calls(**{name: value for name, value in run.items() if name != "base"})
    best = min(bill(n, 1, **run) / n for n in range(1, 400))
    chosen = bill(round(calls), 1, **run) / round(calls)

    assert chosen <= best * 1.02


@given(RUNS, st.floats(1.0, 10.0))
def test_the_cycle_moves_with_each_price_as_it_must(run, factor):
    """Dearer reads and faster growth shorten it; a dearer summary or writing, or more of it, does not."""
    given_ = {name: value for name, value in run.items() if name != "base"}
    calls = cycle_calls(**given_)

    assert cycle_calls(**given_ | {"read": min(run["read"] * factor, run["write"])}) <= calls
    assert cycle_calls(**given_ | {"growth": run["growth"] * factor}) <= calls
    for name in ("once", "rewritten", "write"):
        assert cycle_calls(**given_ | {name: run[name] * factor}) >= calls


def test_a_prompt_that_costs_nothing_to_read_need_never_be_cut():
    """Where reading is free, cost never asks for a segmentation."""
    assert cycle_calls(growth=100, rewritten=1000, read=0.0, write=0.0, once=0.0) == inf


def terms(**changed):
    """The terms of a `CostAwarePolicy` as it comes, but for these."""
    given = {
        "least_tokens": 0,
        "tail_tokens": 2000,
        "seed_tokens": 2000,
        "minimum_gain": 0.3,
        "tail_share": 0.2,
        "seed_share": 0.25,
        "summary_mode": "fenced",
        "at_cold": "extract",
        "caching": True,
        "cache_lifetime_s": None,
        "cache_minimum": 0,
    }
    return Terms(**given | changed)


@pytest.fixture
def priced():
    """A model of a price that the test names; taken back afterwards."""
    names = []

    def make(name, *amounts):
        set_price(name, Price.per_million(*amounts))
        names.append(name)
        return name

    yield make
    for name in names:
        set_price(name, None)


def test_dearer_reads_bring_the_threshold_down_and_a_dearer_summary_up(priced):
    """The threshold moves with the prices as it must, and stays between floor and ceiling."""
    reads, summaries = [], []
    for read in (0.05, 0.1, 0.3, 1.0, 3.0):
        host = priced("host", 3, 15, read, 3.75)
        reads.append(decide(terms(), Situation(host, 60_000, 3_000, 700, 96_000)).threshold)
    host = priced("host", 3, 15, 0.3, 3.75)
    for cost in (0.1, 1, 5, 20):
        writer = priced("writer", cost, 5 * cost)
        at = Situation(host, 60_000, 3_000, 700, 96_000, summary_models=(writer,))
        summaries.append(decide(terms(), at).threshold)

    assert sorted(reads, reverse=True) == reads
    assert sorted(summaries) == summaries
    assert len(set(reads)) > 3
    assert len(set(summaries)) == 4
    assert max(reads + summaries) <= 96_000


@given(RUNS, st.integers(0, 40_000), st.integers(2_000, 200_000), st.floats(0, 1), st.booleans())
def test_the_threshold_lies_within_the_window(run, least, ceiling, cold_share, cached):
    """Whatever the figures, the threshold is at most the ceiling, and due means that it is reached."""
    at = Situation(
        None, run["base"], 300, run["growth"], ceiling, idle_s=400.0, cold_share=cold_share, cached=cached
    )
    decision = decide(terms(least_tokens=least, caching=None), at)

    assert 0 < decision.threshold <= ceiling
    assert decision.threshold >= min(least, ceiling)
    assert decision.due is None or at.size >= decision.threshold
