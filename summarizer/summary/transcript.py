"""What the summary model reads: events as JSON records, in chunks that fit its window. Pure.

A record is one line of JSON. Nothing is left out in silence: text that does not fit a chunk is
split into marked parts, and content that is no text is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..events import Event
from ..messages import Message
from .redact import redact

__all__ = ["FRAME", "Chunk", "Record", "chunk_records", "dump_line", "dump_text", "records_of"]

FRAME: Final = "<<<"
"""Begins each line that frames a block of the prompt."""
_DENSEST: Final = 8
"""Most characters a token that a part is first tried with; denser text gives smaller parts than need be."""
_TRUST: Final = {"developer": "system", "function": "tool"}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the transcript.

    Attributes:
        seq: The event it shows.
        fields: What it shows, JSON values.
        part: Which part of its event it shows, from 1, and which part of that; empty for all of it.
        follows: Whether it answers the record before it, so that a chunk had better not begin here.
    """

    seq: int
    fields: Mapping[str, Any]
    part: tuple[int, ...] = ()
    follows: bool = False

    @property
    def line(self) -> str:
        """The record as it is sent."""
        return dump_line(self.fields)

    @property
    def begins(self) -> bool:
        """Whether it shows the beginning of its event."""
        return all(number == 1 for number in self.part)

    @property
    def text(self) -> str:
        """Its text, for comparing answers with."""
        return cast("str", self.fields.get("text", ""))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records that one request shows.

    Attributes:
        records: In order, at least one.
        tokens: Of their lines, by the counter that made the chunk.
    """

    records: tuple[Record, ...]
    tokens: int

    @property
    def first(self) -> int:
        """Seq of its first record."""
        return self.records[0].seq

    @property
    def last(self) -> int:
        """Seq of its last record."""
        return self.records[-1].seq


def dump_line(value: Mapping[str, Any]) -> str:
    """One line of JSON in which no frame line can begin or stand."""
    return _framed(json.dumps(value, ensure_ascii=False))


def dump_text(text: str) -> str:
    """A text as JSON in one line, in which no frame line can begin or stand."""
    return _framed(json.dumps(text, ensure_ascii=False))


def _framed(line: str) -> str:
    return line.replace(FRAME, "\\u003c" * len(FRAME))


def records_of(events: Iterable[Event]) -> tuple[Record, ...]:
    """The records of all events that carry a message, secrets redacted."""
    names: dict[str, str] = {}
    found: list[Record] = []
    for event in events:
        message = event.message
        if message is None:
            continue
        names.update((call.id, call.name) for call in message.tool_calls)
        fields = _fields(event.seq, message, names)
        found.append(Record(event.seq, fields, follows=fields["role"] == "tool"))
    return tuple(found)


def _fields(seq: int, message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"seq": seq, "role": _TRUST.get(message.role, message.role)}
    name = names.get(message.tool_call_id or "") or message.name
    if name:
        fields["name"] = name
    fields["text"] = redact(message.text)
    if message.tool_calls:
        fields["calls"] = [f"{call.name} {redact(call.arguments_json)}" for call in message.tool_calls]
    if isinstance(message.content, tuple):
        others = [str(part["type"]) for part in message.content if "text" not in part]
        if others:
            fields["attached"] = others
    return fields


def chunk_records(records: Sequence[Record], limit: int, count: Callable[[str], int]) -> tuple[Chunk, ...]:
    """Cut a transcript into chunks of at most `limit` tokens.

    A chunk ends before a record that answers nothing, where there is one in its second half, so
    that a call and its results are read together. A record larger than `limit` is split
    into parts, marked `"part": "2/5"`.

    Args:
        records: In order.
        limit: Most tokens of one chunk, 64 or more.
        count: Tokens of a text.

    Returns:
        Chunks whose records, parts joined, are the input's; none for no records.
    """
    weighed = [(record, count(record.line) + 1) for record in _fitting(records, limit, count)]
    chunks: list[Chunk] = []
    start = used = 0
    for i, (_, tokens) in enumerate(weighed):
        while used + tokens > limit and i > start:
            cut = _border(weighed, start, i)
            chunks.append(_chunk(weighed[start:cut]))
            start = cut
            used = sum(weight for _, weight in weighed[start:i])
        used += tokens
    return (*chunks, _chunk(weighed[start:])) if weighed else ()


def _chunk(weighed: Sequence[tuple[Record, int]]) -> Chunk:
    return Chunk(tuple(record for record, _ in weighed), sum(tokens for _, tokens in weighed))


def _border(weighed: Sequence[tuple[Record, int]], start: int, stop: int) -> int:
    """The last index in the second half of `(start, stop]` at which a unit begins, else `stop`."""
    total = sum(tokens for _, tokens in weighed[start:stop])
    behind = 0
    for i in range(stop, start, -1):
        if not weighed[i][0].follows:
            return i
        behind += weighed[i - 1][1]
        if behind > total / 2:
            break
    return stop


def _fitting(records: Iterable[Record], limit: int, count: Callable[[str], int]) -> Iterator[Record]:
    for record in records:
        if len(record.line) < limit or count(record.line) < limit:
            yield record
        else:
            yield from _parts(record, limit, count)


def _parts(record: Record, limit: int, count: Callable[[str], int]) -> Iterator[Record]:
    """Split a record's text (and its calls, where those are what is large) over several records."""
    calls = cast("list[str]", record.fields.get("calls", []))
    text = "\n".join([record.text, *calls]) if calls else record.text
    room = max(16, limit - 48 - count(str(record.fields.get("name", ""))))
    pieces = _pieces(text, room, count)
    whole = record.fields.get("part")
    for number, piece in enumerate(pieces, 1):
        fields = {key: value for key, value in record.fields.items() if key not in ("text", "calls")}
        label = f"{number}/{len(pieces)}"
        fields |= {"part": f"{label} of {whole}" if whole else label, "text": piece}
        yield Record(record.seq, fields, (*record.part, number), follows=number > 1 or record.follows)


def _pieces(text: str, room: int, count: Callable[[str], int]) -> list[str]:
    pieces: list[str] = []
    while text:
        size = min(len(text), room * _DENSEST)
        while size > 1 and (tokens := count(json.dumps(text[:size], ensure_ascii=False))) > room:
            size = max(1, min(size - 1, int(size * room / tokens * 0.95)))
        if size < len(text):
            blank = max(text.rfind("\n", size // 2, size), text.rfind(" ", size // 2, size)) + 1
            size = blank or size
        pieces.append(text[:size])
        text = text[size:]
    return pieces or [""]
