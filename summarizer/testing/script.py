"""A script of expected calls, and the account of what did not go by it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Script", "ScriptMismatch", "UnexpectedCall"]

Step = TypeVar("Step")


class ScriptMismatch(AssertionError):
    """The test expected other calls than those that came."""


class UnexpectedCall(ScriptMismatch):
    """A call came for which the script has no step left."""


class Script(Generic[Step]):
    """Steps that are used once each, in order of arrival. Thread-safe.

    A mismatch is remembered as well as raised: code under test may rightly survive an
    error of its model, and the test must fail all the same.
    """

    def __init__(self, steps: Iterable[Step], player: str) -> None:
        """Take the steps.

        Args:
            steps: What to play; a plain string is refused, as it would play its letters.
            player: Who plays, for error texts.

        Raises:
            TypeError: `steps` is a string.
        """
        if isinstance(steps, str | bytes):
            raise TypeError(
                f"{player} takes a list of steps, got {type(steps).__name__}; write [{steps[:20]!r}]"
            )
        self._player = player
        self._steps = deque(steps)
        self._total = len(self._steps)
        self._unexpected: list[str] = []
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()

    def take(self) -> Step | None:
        """The next step, or `None` when all are used."""
        with self._lock:
            return self._steps.popleft() if self._steps else None

    def unexpected(self, call: str) -> UnexpectedCall:
        """Remember a call that has no step, and return the error to raise."""
        with self._lock:
            self._unexpected.append(call)
        return UnexpectedCall(
            f"{self._player} got an unexpected call: {call}; {self._total} steps were given, all are used"
        )

    def failed(self, error: BaseException) -> None:
        """Remember an error that a step's own function raised."""
        with self._lock:
            self._failures.append(error)

    def assert_done(self) -> None:
        """Check that the calls were those of the script.

        Raises:
            ScriptMismatch: Steps are unused, calls were unexpected, or a step's function
                raised; that error is the cause.
        """
        with self._lock:
            unused, unexpected, failures = list(self._steps), list(self._unexpected), list(self._failures)
        problems: list[str] = []
        if unused:
            problems.append(f"{len(unused)} of {self._total} steps unused, next: {_short(unused[0])}")
        if unexpected:
            problems.append(f"{len(unexpected)} unexpected calls, first: {unexpected[0]}")
        if failures:
            problems.append(f"{len(failures)} steps raised, first: {type(failures[0]).__name__}")
        if problems:
            raise ScriptMismatch(f"{self._player}: {'; '.join(problems)}") from (
                failures[0] if failures else None
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
