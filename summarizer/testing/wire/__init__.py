"""Three providers' wire protocols, each written once, from the server's side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from re import Match, Pattern
from typing import Any, Final, Protocol, cast

from ...meter.usage import Usage
from ..replies import Prompt, Reply

__all__ = [
    "STREAM_PIECE",
    "InvalidRequest",
    "Wire",
    "event",
    "known",
    "objects",
    "pieces",
    "plain_text",
    "section",
    "total",
]

STREAM_PIECE: Final = 24
"""Characters of text in one event of a stream, about what providers send."""


class InvalidRequest(ValueError):
    """The body is no request of this protocol; the text goes into a 400 answer."""


class Wire(Protocol):
    """One protocol: reads its requests, writes its answers.

    Attributes:
        name: Of the protocol.
        paths: What a request's path has to match.
        too_long: How the provider says that a prompt is beyond the model's window.
    """

    name: str
    paths: Pattern[str]
    too_long: str

    def read(self, path: Match[str], body: Mapping[str, Any], number: int) -> Prompt:
        """What is asked.

        Raises:
            InvalidRequest: A required field is missing or of the wrong type.
        """
        ...

    def body(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """The answer as one JSON object."""
        ...

    def events(self, prompt: Prompt, reply: Reply) -> Iterator[bytes]:
        """The answer as server-sent events."""
        ...

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error as a JSON object."""
        ...


def event(data: object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def known(**fields: int | None) -> dict[str, int]:
    """The fields that have a value: what is unknown is left out, never written as 0."""
    return {name: value for name, value in fields.items() if value is not None}


def total(usage: Usage) -> int | None:
    """Input and output together, if both are known."""
    both = (usage.input_tokens, usage.output_tokens)
    return None if both[0] is None or both[1] is None else both[0] + both[1]


def pieces(text: str) -> Iterator[str]:
    """The text in the pieces of a stream."""
    for start in range(0, len(text), STREAM_PIECE):
        yield text[start : start + STREAM_PIECE]


def objects(body: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """A field that must be a non-empty list of objects.

    Raises:
        InvalidRequest: It is not.
    """
    value = body.get(field)
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(v, dict) for v in cast("list[Any]", value))
    ):
        raise InvalidRequest(f"{field}: expected a non-empty list of objects")
    return cast("list[Mapping[str, Any]]", value)


def section(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """A field that is an object; empty if it is absent or null.

    Raises:
        InvalidRequest: It is something else.
    """
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{field}: expected an object")
    return cast("Mapping[str, Any]", value)


def plain_text(content: object) -> str:
    """The text of a content: itself, or its text parts joined; everything else is left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (
        cast("dict[str, Any]", part) for part in cast("Sequence[object]", content) if isinstance(part, dict)
    )
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
