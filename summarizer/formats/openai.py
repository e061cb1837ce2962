"""Transcripts as people keep them: OpenAI messages as JSON or JSONL.

Read are: an array of messages; one object `{"messages": [...]}`, whose other keys are left alone; a message
a line (one conversation); and one `{"messages": [...]}` a line (a conversation each).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ..errors import InvalidMessage
from ..messages import Message

__all__ = ["InvalidTranscript", "Transcript", "parse_transcripts", "read_transcripts"]

_SHAPES: Final = 'give a JSON array of OpenAI messages, {"messages": [...]}, or a line each of one of the two'


class InvalidTranscript(InvalidMessage):
    """A file that is no transcript we can read; nothing of it was used.

    Attributes:
        source: The file, as it was named.
        line: The line at fault, from 1; `None` where the file as a whole is.
    """

    def __init__(self, source: str, line: int | None, problem: str, fix: str) -> None:
        where = source if line is None else f"{source}, line {line}"
        super().__init__(f"{where}: {problem}; {fix}")
        self.source = source
        self.line = line


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation of a file.

    Attributes:
        messages: In file order, as they stand there; each has been read as a `Message` once.
        line: Where it begins, from 1.
    """

    messages: tuple[Mapping[str, Any], ...]
    line: int = 1

    @property
    def system_prompt(self) -> str | None:
        """The text of a leading `system` message; `None` if there is none, or it is no plain text."""
        if not self.messages or self.messages[0].get("role") != "system":
            return None
        content = self.messages[0].get("content")
        return content if isinstance(content, str) else None


@dataclass(frozen=True, slots=True)
class _Value:
    """One JSON value of a file and the line on which it begins."""

    value: object
    line: int


def read_transcripts(path: str | Path) -> tuple[Transcript, ...]:
    """Read a file's conversations, one at least.

    Raises:
        InvalidTranscript: It cannot be opened, is no UTF-8, no JSON, or holds something that is no
            message. The text names the line and what to do.

    Cost: the whole file in memory.
    """
    source = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidTranscript(source, line, "is no UTF-8", "convert the file to UTF-8") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
        raise InvalidTranscript(source, None, problem, "name a file that exists and is readable") from None
    return parse_transcripts(text, source=source)


def parse_transcripts(text: str, *, source: str = "transcript") -> tuple[Transcript, ...]:
    """The conversations in a text; see `read_transcripts`.

    Args:
        text: JSON or JSON lines.
        source: Its name in errors.

    Raises:
        InvalidTranscript: See `read_transcripts`.
    """
    values = _values(text, source)
    if not values:
        raise InvalidTranscript(source, None, "holds no messages", _SHAPES)
    whole = values[0].value
    if len(values) == 1 and isinstance(whole, list):
        listed = [_Value(one, values[0].line) for one in cast("list[object]", whole)]
        return (_transcript(listed, values[0].line, source),)
    holders = [one for one in values if _holds_messages(one.value)]
    if not holders:
        return (_transcript(values, values[0].line, source),)
    for one in values:
        if one not in holders:
            problem = 'is no {"messages": [...]} object like the others'
            raise InvalidTranscript(source, one.line, problem, "keep one form in a file")
    return tuple(_held(one, source) for one in holders)


def _holds_messages(value: object) -> bool:
    return isinstance(value, dict) and "messages" in cast("dict[str, object]", value)


def _values(text: str, source: str) -> list[_Value]:
    """The whole text as one JSON value, else each line as one."""
    try:
        return [_Value(json.loads(text), 1)]
    except RecursionError:
        raise InvalidTranscript(source, None, "is nested too deeply", _SHAPES) from None
    except ValueError as error:
        whole = error
    # Only "\n" and "\r\n" end a line: JSON strings may hold the other separators that splitlines() knows.
    lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and not _is_json(lines[0][1]) and isinstance(whole, json.JSONDecodeError):
        # Not JSON lines either: the place in the whole text says more than "line 1".
        raise InvalidTranscript(source, whole.lineno, f"is no JSON ({whole.msg})", _SHAPES)
    return [_Value(_loads(line, i, source), i) for i, line in lines]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _loads(line: str, number: int, source: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        problem = f"is no JSON ({error.msg}, column {error.colno})"
        raise InvalidTranscript(source, number, problem, "repair or remove the line") from None


def _held(holder: _Value, source: str) -> Transcript:
    messages = cast("Mapping[str, object]", holder.value)["messages"]
    if not isinstance(messages, list):
        problem = f"'messages' must be a list, got {type(messages).__name__}"
        raise InvalidTranscript(source, holder.line, problem, _SHAPES)
    found = [_Value(one, holder.line) for one in cast("list[object]", messages)]
    return _transcript(found, holder.line, source)


def _transcript(values: Sequence[_Value], line: int, source: str) -> Transcript:
    if not values:
        raise InvalidTranscript(source, line, "holds no messages", _SHAPES)
    for number, one in enumerate(values, 1):
        try:
            Message.from_wire(one.value)
        except InvalidMessage as error:
            problem, _, fix = str(error).rpartition("; ")
            problem, fix = (problem, fix) if problem else (fix, _SHAPES)
            raise InvalidTranscript(source, one.line, f"message {number}: {problem}", fix) from None
    return Transcript(tuple(cast("Mapping[str, Any]", one.value) for one in values), line)
