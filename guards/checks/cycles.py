"""Cycles: the same few calls in the same order, with the same answers, over and over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["LONGEST", "Cycle", "Cycles", "Step"]

LONGEST: Final = 12
"""Calls in the longest cycle that is recognized."""


class Step(NamedTuple):
    """One finished call: which, the digest of what it said, its index and its id."""

    fingerprint: str
    key: str
    at: int
    call_id: str


class Cycle(NamedTuple):
    """A cycle that the next call would go on with.

    Attributes:
        period: Calls in one round, 2 to 12.
        rounds: Times that the next call was made in it.
        calls: Index and id of each call of the last round.
        different: Different calls in a round, 2 or more.
        constant: Each of them has one answer; else an answer may be news that comes again by chance.
    """

    period: int
    rounds: int
    calls: tuple[tuple[int, str], ...]
    different: int
    constant: bool


class Cycles:
    """Knows for each period how long the calls have repeated themselves at that distance.

    Twelve comparisons a call, whatever the history.
    """

    def __init__(self) -> None:
        self._last: deque[Step] = deque(maxlen=LONGEST)
        self._runs = [0] * (LONGEST + 1)
        self.rounds = 0
        """Rounds of the cycle that goes on, the most of any period; 1 or less if there is none."""

    def add(self, step: Step) -> None:
        """A call ended."""
        rounds = 0
        for period, before in enumerate(reversed(self._last), 1):
            if before.fingerprint == step.fingerprint and before.key == step.key:
                self._runs[period] += 1
                rounds = max(rounds, 1 + self._runs[period] // period)
            else:
                self._runs[period] = 0
        self.rounds = rounds
        self._last.append(step)

    def next_call(self) -> str | None:
        """The fingerprint with which the shortest cycle would go on."""
        period = next((p for p in range(2, LONGEST + 1) if self._runs[p] >= p), None)
        return self._last[-period].fingerprint if period else None

    def going_on_with(self, fingerprint: str) -> Cycle | None:
        """The shortest cycle of two or more calls that the next call would go on with."""
        for period in range(2, LONGEST + 1):
            run = self._runs[period]
            if run >= period and self._last[-period].fingerprint == fingerprint:
                steps = list(self._last)[-period:]
                calls = {step.fingerprint for step in steps}
                if len(calls) > 1:
                    answers = {step[:2] for step in steps}
                    rounds = (run + period) // period
                    made = tuple((step.at, step.call_id) for step in steps)
                    return Cycle(period, rounds, made, len(calls), len(calls) == len(answers))
        return None

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        return {"last": [list(step) for step in self._last], "runs": list(self._runs), "rounds": self.rounds}

    def restore(self, value: Mapping[str, Any]) -> None:
        """Take what `snapshot` gave."""
        last: Iterable[Any] = value["last"]
        self._last.extend(Step(str(f), str(key), int(i), str(call)) for f, key, i, call in last)
        self._runs, self.rounds = [int(run) for run in value["runs"]], int(value["rounds"])
