"""A store that is down is left alone for a while."""

import pytest

from summarizer.errors import StoreUnavailable
from summarizer.server.breaker import Breaker


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def use(breaker: Breaker, clock: Clock, takes: float, *, fails: bool) -> bool:
    """One use of a store that takes so long; whether it was asked at all."""
    asked = False
    try:
        with breaker.watch():
            asked = True
            clock.now += takes
            if fails:
                raise StoreUnavailable("down")
    except StoreUnavailable:
        pass
    return asked


def test_behind_a_long_failure_nobody_waits_for_some_seconds() -> None:
    """Then one request tries while the others go by, and a success ends it."""
    clock = Clock()
    breaker = Breaker(clock)

    assert use(breaker, clock, 15.0, fails=True)
    assert not use(breaker, clock, 0.0, fails=False)
    clock.now += 5.0
    with breaker.watch():
        assert not use(breaker, clock, 0.0, fails=False)
    assert use(breaker, clock, 0.0, fails=False)


def test_a_failure_that_takes_no_time_keeps_nobody_from_trying() -> None:
    """A store that is back at once is used at once."""
    clock = Clock()
    breaker = Breaker(clock)

    assert use(breaker, clock, 0.01, fails=True)
    assert use(breaker, clock, 0.01, fails=False)


def test_other_errors_are_none_of_the_stores() -> None:
    """A bug does not open it, however long it takes."""
    clock = Clock()
    breaker = Breaker(clock)
    with pytest.raises(ZeroDivisionError), breaker.watch():
        clock.now += 60
        raise ZeroDivisionError

    assert use(breaker, clock, 0.0, fails=False)
