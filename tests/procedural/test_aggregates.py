"""Sums over traces."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedural import Aggregate, Trace, TraceError
from procedural.aggregates import aggregate, merge
from tests.procedural.traced import START, traces


def plain(sums: dict[str, Aggregate]) -> dict[str, Any]:
    """Sums as JSON, ready to be compared."""
    return {tool: one.to_json() for tool, one in sums.items()}


def canonical(sums: dict[str, Aggregate]) -> str:
    """The same without regard to the order in which rows were made."""
    data = plain(sums)
    for one in data.values():
        one["corrections"].sort()
    return json.dumps(data, sort_keys=True)


@given(traces(), st.integers(0, 12))
def test_the_sum_of_two_parts_is_the_sum_of_all(recorded: list[Trace], cut: int) -> None:
    """`merge(aggregate(a), aggregate(b)) == aggregate(a + b)`, wherever the log is cut."""
    parts = merge(aggregate(recorded[:cut]), aggregate(recorded[cut:]))

    assert canonical(aggregate(recorded)) == canonical(parts)


@given(traces(), st.randoms(use_true_random=False))
def test_the_order_of_the_traces_does_not_matter(recorded: list[Trace], random: Any) -> None:
    """Two workers that read in different orders hold the same sums."""
    shuffled = random.sample(recorded, len(recorded))

    assert canonical(aggregate(recorded)) == canonical(aggregate(shuffled))


@given(traces())
def test_a_sum_survives_its_json(recorded: list[Trace]) -> None:
    """A checkpoint that is read back is the sum that was written."""
    sums = aggregate(recorded)
    read = {tool: Aggregate.from_json(json.loads(json.dumps(one.to_json()))) for tool, one in sums.items()}

    assert plain(sums) == plain(read)


@given(traces())
def test_a_trace_survives_its_json(recorded: list[Trace]) -> None:
    """A store gives back the trace that it was given."""
    read = [Trace.from_json(json.loads(json.dumps(trace.to_json()))) for trace in recorded]

    assert recorded == read


def test_a_sum_stays_small_whatever_it_has_seen() -> None:
    """Thousands of different errors, words and days leave a bounded summary, and an exact count."""
    whole = Aggregate()
    for number in range(3000):
        whole.add(
            Trace(
                trace_id=str(number),
                tool_name="fetch",
                at=START + timedelta(days=number % 700),
                success=False,
                goal_words=(f"word{number}",),
                forms={f"path{number}": "int"},
                error_class="other",
                error=f"kind {number}",
                previous=(f"tool{number}",),
            )
        )

    assert whole.calls == 3000
    assert len(json.dumps(whole.to_json())) < 60_000


def test_a_frequent_error_outlives_a_flood_of_single_ones() -> None:
    """Rows with the least evidence go first."""
    whole = Aggregate()
    for number in range(2000):
        text = "usual" if number % 10 == 0 else f"kind {number}"
        whole.add(Trace(str(number), "fetch", START, success=False, error_class="other", error=text))

    assert whole.errors["other: usual"] == [0, 200]


@pytest.mark.parametrize("damage", [{"schema": 2}, {"days": None}, {"cost": [1, "x"]}, {"newest": [[1]]}])
def test_a_newer_or_damaged_summary_is_a_typed_error(damage: dict[str, Any]) -> None:
    """Nobody computes with half of a checkpoint."""
    data = {**aggregate([Trace("1", "fetch", START, success=True)])["fetch"].to_json(), **damage}

    with pytest.raises(TraceError):
        Aggregate.from_json(data)
