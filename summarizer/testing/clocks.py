"""Time and identity that a test decides."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock", "Ids"]


class FakeClock:
    """A clock that stands still until it is told to move.

    Call it where a `clock` is asked for (aware UTC), pass `monotonic` where seconds are.
    Both faces move together. Safe to read and move from several threads.

    Args:
        start: The first reading; must be aware.
        tick_s: Seconds by which every reading moves the clock afterwards, 0 or more;
            gives distinct times to code that reads the clock several times.

    Raises:
        ValueError: `start` is naive, or `tick_s` is negative.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, tick_s: float = 0.0) -> None:
        if start.tzinfo is None:
            raise ValueError(
                f"start {start!r} has no time zone; pass an aware datetime such as datetime(..., tzinfo=UTC)"
            )
        if tick_s < 0:
            raise ValueError(f"tick_s {tick_s!r} is negative; a clock does not run backwards")
        self._start = start.astimezone(UTC)
        self._elapsed = timedelta()
        self._tick = timedelta(seconds=tick_s)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """The time now, aware and in UTC."""
        return self._start + self._read()

    def monotonic(self) -> float:
        """Seconds since the clock was made, as `time.monotonic` gives them."""
        return self._read().total_seconds()

    def advance(self, by: float | timedelta) -> datetime:
        """Move the clock on and return the new time.

        Args:
            by: Seconds, or a duration; 0 or more.

        Raises:
            ValueError: `by` is negative.
        """
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta():
            raise ValueError(f"cannot advance by {by!r}; a clock does not run backwards")
        with self._lock:
            self._elapsed += step
            return self._start + self._elapsed

    def _read(self) -> timedelta:
        with self._lock:
            elapsed = self._elapsed
            self._elapsed += self._tick
            return elapsed


class Ids:
    """A factory of ids that are the same in every run: `e-000001`, `e-000002`, ...

    Pass it where a `new_id` is asked for. The ids sort in the order of their making, up
    to a million of them. Safe to call from several threads; two factories with one
    prefix give the same ids, so give each process of a test its own prefix.
    """

    def __init__(self, prefix: str = "id") -> None:
        self._prefix = prefix
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """The next id."""
        return f"{self._prefix}-{next(self._numbers):06d}"
