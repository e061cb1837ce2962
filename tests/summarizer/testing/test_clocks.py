"""Time and identity that a test decides."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.testing import FakeClock, Ids


def test_a_clock_stands_still() -> None:
    """Reading the clock does not move it."""
    clock = FakeClock(datetime(2026, 5, 1, tzinfo=UTC))

    assert [clock(), clock()] == [datetime(2026, 5, 1, tzinfo=UTC)] * 2
    assert clock.monotonic() == 0.0


@given(st.lists(st.integers(0, 10_000)))
def test_both_faces_move_by_what_they_are_told(steps: list[int]) -> None:
    """Wall time and monotonic time advance by the sum of all steps."""
    clock = FakeClock()
    start = clock()
    for step in steps:
        clock.advance(step)

    assert clock() - start == timedelta(seconds=sum(steps))
    assert clock.monotonic() == sum(steps)


def test_a_ticking_clock_gives_distinct_times() -> None:
    """With `tick_s`, each reading is later than the one before, by just as much."""
    clock = FakeClock(tick_s=2)

    assert [clock.monotonic() for _ in range(3)] == [0, 2, 4]


def test_times_are_utc_wherever_the_start_is() -> None:
    """A start in another zone reads as the same moment in UTC."""
    start = datetime(2026, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    assert FakeClock(start)().isoformat() == "2026-05-01T00:00:00+00:00"


def test_a_clock_does_not_run_backwards() -> None:
    """Negative steps and naive starts are refused."""
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().advance(-1)
    with pytest.raises(ValueError, match="backwards"):
        FakeClock(tick_s=-1)
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001


def test_ids_are_the_same_in_every_run_and_sort_by_age() -> None:
    """Two factories of one prefix count alike."""
    ids, again = Ids("e"), Ids("e")
    made = [ids() for _ in range(12)]

    assert made[:2] == ["e-000001", "e-000002"]
    assert made == sorted(made) == [again() for _ in range(12)]
