"""A store that is down is left alone for a while."""

from contextlib import suppress

from summarizer.errors import StoreUnavailable
from summarizer.server.breaker import Breaker

DOWN = StoreUnavailable("down")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def use(breaker: Breaker, clock: Clock, takes: float, error: Exception | None = None) -> bool:
    """One use of a store that takes so long; whether it was asked at all."""
    asked = False
    with suppress(StoreUnavailable, ZeroDivisionError), breaker.watch():
        asked = True
        clock.now += takes
        if error is not None:
            raise error
    return asked


def test_behind_a_long_failure_nobody_waits_for_some_seconds() -> None:
    """Then one request tries while the others go by, and a success ends it."""
    clock = Clock()
    breaker = Breaker(clock)

    assert use(breaker, clock, 15.0, DOWN)
    assert not use(breaker, clock, 0.0)
    clock.now += 5.0
    with breaker.watch():
        assert not use(breaker, clock, 0.0)
    assert use(breaker, clock, 0.0)


def test_a_failure_that_takes_no_time_keeps_nobody_from_trying() -> None:
    """A store that is back at once is used at once."""
    clock = Clock()
    breaker = Breaker(clock)

    assert use(breaker, clock, 0.01, DOWN)
    assert use(breaker, clock, 0.01)


def test_other_errors_are_none_of_the_stores() -> None:
    """A bug does not open it, however long it takes."""
    clock = Clock()
    breaker = Breaker(clock)

    assert use(breaker, clock, 60.0, ZeroDivisionError())
    assert use(breaker, clock, 0.0)
