"""Long conversations out of recorded ones: runs joined one after another, with facts planted in them.

No public recording of this kind has 1,000 turns. So runs of one kind are joined, as one user's many requests;
the system prompt is that of the first. Where the recording ends, it begins again with other names: every word
with a digit in it is turned into another of the same shape, so that nothing repeats word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import Any, Final, Literal

from ..agent_report.recordings import Run
from ..quality.planted import Kind as PlantedKind
from ..quality.planted import Planted, plant

__all__ = ["PACES", "Pace", "Step", "Transcript", "transcript_of"]

Wire = Mapping[str, Any]
Kind = Literal["chat", "agent"]

_FACTS: Final[Mapping[PlantedKind, int]] = {
    "number": 5,
    "name": 5,
    "fact": 2,
    "changed": 0,
    "constraint": 0,
    "obligation": 0,
}
_PLANTED_WITHIN: Final = 0.8
"""Share of the turns, from the first, in which facts are planted; all are asked for after the last."""
_SEED: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the model.

    Attributes:
        new: Messages since the last call: what the user said, what tools answered.
        answer: What the model then said; part of the next request.
        by_user: Whether a user's message is among `new`.
        needed: Values in the arguments of `answer` that stood in an earlier message, none of them in `new`.
    """

    new: Sequence[Wire]
    answer: Wire
    by_user: bool
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation to be replayed.

    Attributes:
        kind: `chat`: what users and agents said, a turn for each message of the user; `agent`: tool
            calls and results too, a turn for each call of the model.
        turns: How many.
        system_prompt: Sent first.
        steps: The calls in order, one a turn.
        planted: What users said in passing, to be asked for after the last step.
        rounds: How often the recording was begun.
    """

    kind: Kind
    turns: int
    system_prompt: str
    steps: Sequence[Step]
    planted: Sequence[Planted]
    rounds: int


@dataclass(frozen=True, slots=True)
class Pace:
    """When calls are made; the recordings have no times.

    Attributes:
        name: For the table.
        tool_s: Seconds from an answer to the call that brings its tools' results.
        user_s: Seconds from an answer to the call with the user's next message.
        pause_s: Seconds of a pause instead, before each call of a number divisible by `every`.
        every: Calls between pauses; 0 for none.
    """

    name: str
    tool_s: float = 5
    user_s: float = 60
    pause_s: float = 1800
    every: int = 0

    def before(self, step: Step, number: int) -> float:
        """Seconds that pass before a call, the first being number 0."""
        if self.every and number and number % self.every == 0:
            return self.pause_s
        return self.user_s if step.by_user else self.tool_s


PACES: Final = (Pace("steady"), Pace("pauses", every=20))


def transcript_of(runs: Sequence[Run], kind: Kind, turns: int) -> Transcript:
    """The first turns of the joined runs.

    Raises:
        ValueError: The runs hold no answer of a model.
    """
    planted = _planted(turns)
    at = {each.turn: each for each in planted}
    steps: list[Step] = []
    earlier: list[str] = []
    calls = list(islice(_calls(runs, kind), turns))
    for number, (_, new, answer) in enumerate(calls):
        fact = at.get(number)
        steps.append(_step(_with_fact(new, fact) if fact else new, answer, earlier))
    system = next((str(m["content"]) for run in runs for m in run.messages if m["role"] == "system"), "")
    return Transcript(kind, turns, system, steps, planted, rounds=calls[-1][0])


def _planted(turns: int) -> list[Planted]:
    return plant(_SEED, turns, within=int(turns * _PLANTED_WITHIN), counts=_FACTS)[1]


def _with_fact(new: Sequence[Wire], fact: Planted) -> list[Wire]:
    """The fact at the end of what the user says, or as a message of its own behind tool results."""
    newest = new[-1] if new else None
    if newest is not None and newest["role"] == "user":
        return [*new[:-1], {"role": "user", "content": f"{newest['content']} {fact.text}"}]
    return [*new, {"role": "user", "content": fact.text}]


def _step(new: Sequence[Wire], answer: Wire, earlier: list[str]) -> Step:
    fresh = "\n".join(str(message["content"]) for message in new)
    needed = tuple(
        value
        for value in dict.fromkeys(_values_of(answer))
        if value not in fresh and any(value in text for text in earlier)
    )
    earlier += (fresh, str(answer.get("content") or ""))
    return Step(new, answer, any(message["role"] == "user" for message in new), needed)


_VALUE: Final = re.compile(r"[\w.@/+-]*\d[\w.@/+-]*")
_LEAST_LENGTH: Final = 4


def _values_of(answer: Wire) -> Iterator[str]:
    """Words with a digit in them among the arguments of calls: ids, numbers, dates, versioned paths."""
    for call in answer.get("tool_calls") or ():
        for found in _VALUE.findall(str(call["function"]["arguments"])):
            value = found.strip("./+-")
            if len(value) >= _LEAST_LENGTH:
                yield value


def _calls(runs: Sequence[Run], kind: Kind) -> Iterator[tuple[int, list[Wire], Wire]]:
    """The round, from 1, what came since the last answer, and the answer, over all runs again and again."""
    if not any(message["role"] == "assistant" for run in runs for message in run.messages):
        raise ValueError(f"{len(runs)} runs hold no answer of a model; name recordings that do")
    new: list[Wire] = []
    for number, run in enumerate(cycle(runs)):
        rounds = number // len(runs)
        reader = _Reader(kind, str(number), rounds * 7 % 10)
        for message in run.messages:
            for wire in reader.read(message, answerable=bool(new)):
                if wire["role"] == "assistant":
                    yield rounds + 1, new, wire
                    new = []
                else:
                    new.append(wire)
        new += reader.unanswered()


class _Reader:
    """Makes a run's messages legal to send: no call without its result, no result without its call.

    Ids of calls are made anew: some recordings use one twice. A result answers the oldest open call.
    """

    def __init__(self, kind: Kind, run: str, shift: int) -> None:
        self._kind, self._run, self._shift = kind, run, shift
        self._open: list[str] = []
        self._made = 0

    def read(self, message: Wire, *, answerable: bool) -> Iterator[Wire]:
        """The messages to send for a recorded one: none for an answer to nothing."""
        role, text = message["role"], _shifted(str(message.get("content") or ""), self._shift)
        if role == "tool":
            if self._open:
                yield _result(self._open.pop(0), text)
        elif role == "user":
            yield from self.unanswered()
            yield {"role": "user", "content": text}
        elif role == "assistant":
            missing = self.unanswered()
            yield from missing
            calls = self._calls(message) if self._kind == "agent" and (answerable or missing) else []
            if (text or calls) and (answerable or missing):
                told: dict[str, Any] = {"role": "assistant", "content": text or None}
                yield told | ({"tool_calls": calls} if calls else {})

    def unanswered(self) -> list[Wire]:
        """Results for the calls whose own are not recorded."""
        missing = [_result(call_id, "No answer was recorded.") for call_id in self._open]
        self._open = []
        return missing

    def _calls(self, message: Wire) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        for call in message.get("tool_calls") or ():
            self._open.append(f"call-{self._run}-{self._made}")
            self._made += 1
            arguments = _shifted(str(call["function"].get("arguments") or "{}"), self._shift)
            function = {"name": call["function"]["name"], "arguments": arguments}
            calls.append({"id": self._open[-1], "type": "function", "function": function})
        return calls


def _result(call_id: str, text: str) -> Wire:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


_WORD_WITH_DIGIT: Final = re.compile(r"[A-Za-z]*\d[A-Za-z\d]*")


def _shifted(text: str, shift: int) -> str:
    """The text with each digit of its words moved on, and with it the capitals of codes such as `HAT001`."""
    if not shift:
        return text
    return _WORD_WITH_DIGIT.sub(lambda found: found[0].translate(_table(shift)), text)


@cache
def _table(shift: int) -> dict[int, str]:
    digits = {ord("0") + d: chr(ord("0") + (d + shift) % 10) for d in range(10)}
    return digits | {ord("A") + c: chr(ord("A") + (c + shift) % 26) for c in range(26)}
