"""A store that keeps requests waiting until it fails is left alone for a while, so that few wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from ..errors import StoreUnavailable

__all__ = ["Breaker"]

_LONG_S: Final = 1.0
"""A failure that took less keeps nobody waiting."""
_REST_S: Final = 5.0
"""How long the store is left alone, and how often one request then looks whether it is back."""


class Breaker:
    """Opens when a failure took long; then one request each few seconds tries, and one success closes it.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests_until: float | None = None

    @contextmanager
    def watch(self) -> Generator[None]:
        """What is done within needs the store.

        Raises:
            StoreUnavailable: It failed a moment ago; nothing was done.
        """
        begun = self._clock()
        if self._rests_until is not None:
            if begun < self._rests_until:
                raise StoreUnavailable("the store did not answer a moment ago; it is asked again in seconds")
            self._rests_until = begun + _REST_S  # This one tries; those behind it do not wait for it.
        try:
            yield
        except StoreUnavailable:
            now = self._clock()
            if now - begun >= _LONG_S:
                self._rests_until = now + _REST_S
            raise
        self._rests_until = None
