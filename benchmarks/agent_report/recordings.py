"""Recorded agent runs, as the steps that a host would have seen.

A file holds JSON lines, gzipped or not, one run a line: `run_id`, `source`, `domain`, `reward` and `messages`
in OpenAI's chat format: `tool_calls` whose `arguments` are JSON text, and `tool` messages that answer them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from .declared import is_failure

__all__ = ["Asked", "Call", "Ran", "Run", "Said", "Step", "load"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it.

    Attributes:
        index: Its place among the run's calls, from 0.
        name: The tool.
        arguments: JSON text, as recorded; possibly none.
    """

    index: int
    name: str
    arguments: str

    @property
    def call_id(self) -> str:
        """Its id for the guard. Not the recorded one: some recordings use one id twice."""
        return f"c{self.index}"


@dataclass(frozen=True, slots=True)
class Said:
    """Text of a `system`, `user` or `assistant` message."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The calls that one assistant message lists; none if it is only text."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """A call that ran.

    Attributes:
        call: The call.
        text: What the tool answered; `None` if no answer was recorded.
        failed: Whether that is an error.
    """

    call: Call
    text: str | None
    failed: bool = False

    @property
    def ended(self) -> dict[str, Any]:
        """How it ended, as arguments of `ToolGuard.after_call`."""
        return {"error": self.text} if self.failed else {"result": self.text}


Step = Said | Asked | Ran


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run.

    Attributes:
        run_id: Its name in the recording.
        origin: Source and domain, such as `tau-bench airline`: what one memory learns from.
        reward: 1 where the run reached its goal, as the recording says; `None` if it does not.
        messages: As recorded.
    """

    run_id: str
    origin: str
    reward: float | None
    messages: Sequence[Mapping[str, Any]]

    def steps(self) -> Iterator[Step]:
        """The run's steps in order; the calls of one message one after another, as a plain loop runs them.

        (Some recordings merge calls into one message whose arguments come from each other's answers.)
        """
        made = 0
        for i, message in enumerate(self.messages):
            role, text = str(message["role"]), str(message.get("content") or "")
            if text and role != "tool":
                yield Said(role, text)
            if role != "assistant":
                continue
            listed = list(message.get("tool_calls") or ())
            calls = tuple(_call(made + k, one) for k, one in enumerate(listed))
            made += len(calls)
            yield Asked(calls)
            answers = self._answers(i + 1)
            for call, one in zip(calls, listed, strict=True):
                yield _ran(call, answers.get(str(one["id"])))

    def _answers(self, start: int) -> dict[str, Mapping[str, Any]]:
        """The tool messages that stand there, by the id that they answer."""
        told = takewhile(lambda message: message["role"] == "tool", self.messages[start:])
        return {str(message.get("tool_call_id")): message for message in told}


def _call(index: int, listed: Mapping[str, Any]) -> Call:
    function = listed["function"]
    return Call(index, str(function["name"]), str(function.get("arguments") or ""))


def _ran(call: Call, answer: Mapping[str, Any] | None) -> Ran:
    if answer is None:
        return Ran(call, None)
    text = str(answer.get("content") or "")
    return Ran(call, text, is_failure(text, flagged=bool(answer.get("error"))))


def load(path: Path) -> list[Run]:
    """The runs of a file, or of every `.jsonl` and `.jsonl.gz` file of a folder.

    Raises:
        FileNotFoundError: Nothing there to read.
        ValueError: A line is no run.
    """
    files = sorted(path.glob("*.jsonl*")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(
            f"no .jsonl or .jsonl.gz in {str(path)!r}; name a file or folder with recorded runs"
        )
    return [run for file in files for run in _read(file)]


def _read(file: Path) -> Iterator[Run]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                origin = f"{row.get('source', file.stem)} {row.get('domain', '')}".strip()
                yield Run(str(row["run_id"]), origin, row.get("reward"), row["messages"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {file.name!r} is no run ({error!r}); see {__name__} for what one is"
                ) from error
