"""Gemini's contents, as ADK sends them, as chat messages and back.

A content of the model's is one chat message. One of the user's is several: a `tool` message for each function
response, and one for what stands between them.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final, cast

from google.adk.events import Event
from google.genai.types import Blob, Content, FileData, FunctionCall, FunctionResponse, Part

from ...dialects.turns import parsed_arguments
from ...messages import dump_json, result_text

__all__ = ["CallIds", "Piece", "arranged", "of_this_request", "pieces_of", "plain_result", "spoken"]

_DATA_URL: Final = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """What of a content is one chat message.

    Attributes:
        wire: The chat message.
        owner: Number of the content.
        parts: Its parts that the message is of.
    """

    wire: dict[str, Any]
    owner: int
    parts: tuple[Part, ...]


class CallIds:
    """Ids of function calls in contents: ADK takes its own out of requests, and many models give none.

    A call is looked up among the session's events, in their order; one that is not there gets an id that
    follows from its name, arguments and number. A response without an id answers the oldest call of its name.

    Args:
        events: The session's events.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._known: dict[str, deque[FunctionCall]] = {}
        self._open: dict[str, deque[str]] = {}
        self._made: dict[str, int] = {}
        for event in events:
            for call in event.get_function_calls():
                self._known.setdefault(call.name or "", deque()).append(call)

    def of_call(self, call: FunctionCall) -> str:
        """The id of a call, in the order of the contents."""
        call_id = call.id or self._looked_up(call) or self._made_up(call)
        self._open.setdefault(call.name or "", deque()).append(call_id)
        return call_id

    def of_response(self, response: FunctionResponse) -> str:
        """The id of the call that a response answers."""
        waiting = self._open.get(response.name or "", deque())
        if response.id:
            if response.id in waiting:
                waiting.remove(response.id)
            return response.id
        return waiting.popleft() if waiting else f"call_{_digest(response.name, response.response)}"

    def _looked_up(self, call: FunctionCall) -> str | None:
        known = self._known.get(call.name or "", deque())
        for i, one in enumerate(known):
            if one.id and (one.args is call.args or (one.args or {}) == (call.args or {})):
                for _ in range(i + 1):  # Calls come in the order of the events.
                    known.popleft()
                return one.id
        return None

    def _made_up(self, call: FunctionCall) -> str:
        digest = _digest(call.name, call.args)
        self._made[digest] = self._made.get(digest, 0) + 1
        return f"call_{digest}_{self._made[digest]}"


def _digest(*values: object) -> str:
    return blake2b(dump_json(values).encode(), digest_size=8).hexdigest()


def of_this_request(contents: Sequence[Content], events: Sequence[Event]) -> set[int]:
    """Numbers of the contents that ADK put into this one request: instructions among the user's messages.

    They have a place of their own in each request, and are no part of the conversation.
    """
    said = {part.text for event in events if event.content for part in event.content.parts or []}
    others = tuple({f"[{event.author}]" for event in events if event.author != "user"})
    found: set[int] = set()
    for i, content in enumerate(contents):
        texts = [part.text for part in content.parts or [] if part.text]
        only_text = content.role == "user" and texts and len(texts) == len(content.parts or [])
        if only_text and not any(text in said or text.startswith(others) for text in texts):
            found.add(i)
    return found


def pieces_of(contents: Sequence[Content], ids: CallIds) -> list[Piece]:
    """The chat messages of a request's contents."""
    pieces: list[Piece] = []
    for owner, content in enumerate(contents):
        parts = content.parts or []
        if content.role == "model":
            pieces.append(Piece(spoken(parts, ids), owner, tuple(parts)))
            continue
        for is_result, group in groupby(parts, lambda part: part.function_response is not None):
            found = tuple(group)
            if is_result:
                pieces += [Piece(_result(part, ids), owner, (part,)) for part in found]
            else:
                said = [_part(part) for part in found]
                plain = len(said) == 1 and said[0].keys() == {"type", "text"}
                wire = {"role": "user", "content": said[0]["text"] if plain else said}
                pieces.append(Piece(wire, owner, found))
    return pieces


def spoken(parts: Sequence[Part], ids: CallIds) -> dict[str, Any]:
    """What the model said, as a chat message."""
    thoughts = [part.text for part in parts if part.thought and part.text]
    calls = [part.function_call for part in parts if part.function_call is not None]
    said = [_part(part) for part in parts if not part.thought and part.function_call is None]
    plain = len(said) == 1 and said[0].keys() == {"type", "text"}
    message: dict[str, Any] = {"role": "assistant", "content": said[0]["text"] if plain else said or None}
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        message["tool_calls"] = [_call(call, ids) for call in calls]
    return message


def _call(call: FunctionCall, ids: CallIds) -> dict[str, Any]:
    function = {"name": call.name or "unnamed", "arguments": dump_json(call.args or {})}
    return {"id": ids.of_call(call), "type": "function", "function": function}


def _result(part: Part, ids: CallIds) -> dict[str, Any]:
    response = cast("FunctionResponse", part.function_response)
    return {
        "role": "tool",
        "tool_call_id": ids.of_response(response),
        "content": result_text(plain_result(response.response)),
    }


def plain_result(response: object) -> object:
    """A function's result: ADK wraps what is no object in `{"result": ...}`."""
    if not isinstance(response, Mapping):
        return response
    told = cast("Mapping[str, object]", response)
    return told["result"] if set(told) == {"result"} else told


def _part(part: Part) -> dict[str, Any]:
    if part.text is not None and not part.inline_data:
        return {"type": "text", "text": part.text}
    blob = part.inline_data
    if blob is None or blob.data is None:
        return _unknown(part)
    kind, data = blob.mime_type or "application/octet-stream", base64.b64encode(blob.data).decode()
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
    if kind.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": data, "format": kind.partition("/")[2]}}
    name = {"filename": blob.display_name} if blob.display_name else {}
    return {"type": "file", "file": {"file_data": f"data:{kind};base64,{data}", **name}}


def _unknown(part: Part) -> dict[str, Any]:
    """What the chat shape has no word for, as Gemini writes it."""
    told = part.model_dump(mode="json", exclude_none=True)
    return {"type": next(iter(told), "empty"), **told}


def arranged(
    contents: Sequence[Content], pieces: Sequence[Piece], shown: Sequence[int | Mapping[str, Any]]
) -> list[Content]:
    """What is shown as contents: the host's own where all of one is.

    Args:
        contents: The host's, with those that are of this request alone.
        pieces: Of all others.
        shown: Numbers of pieces, and chat messages of our own.
    """
    return _Arranger(contents, pieces, shown).arranged()


class _Arranger:
    def __init__(
        self, contents: Sequence[Content], pieces: Sequence[Piece], shown: Sequence[int | Mapping[str, Any]]
    ) -> None:
        self._contents = contents
        self._pieces = pieces
        self._shown = shown
        self._numbers: dict[int, list[int]] = {}
        for i, piece in enumerate(pieces):
            self._numbers.setdefault(piece.owner, []).append(i)
        calls = [call for piece in pieces for call in piece.wire.get("tool_calls") or ()]
        self._names: dict[str, str] = {call["id"]: call["function"]["name"] for call in calls}

    def arranged(self) -> list[Content]:
        placed: list[tuple[int, Content]] = []
        at = 0
        while at < len(self._shown):
            at, owner, content = self._next(at)
            if content is not None:
                placed.append((owner, content))
        for owner, content in enumerate(self._contents):
            if owner not in self._numbers:
                place = next((i for i, (other, _) in enumerate(placed) if other > owner), len(placed))
                placed.insert(place, (owner, content))
        return [content for _, content in placed]

    def _next(self, at: int) -> tuple[int, int, Content | None]:
        """Where the content that begins at `at` ends, whose it is (-1: our own), and the content."""
        first = self._shown[at]
        if not isinstance(first, int):
            return self._results(at, -1) if first["role"] == "tool" else (at + 1, -1, _content(first))
        piece = self._pieces[first]
        numbers = self._numbers[piece.owner]
        if list(self._shown[at : at + len(numbers)]) == numbers:
            return at + len(numbers), piece.owner, self._contents[piece.owner]
        if piece.wire["role"] == "tool":
            return self._results(at, piece.owner)
        return at + 1, piece.owner, Content(role="user", parts=list(piece.parts))

    def _results(self, at: int, owner: int) -> tuple[int, int, Content]:
        """Gemini wants all results of a round in one content."""
        parts: list[Part] = []
        while at < len(self._shown):
            one = self._shown[at]
            wire = self._pieces[one].wire if isinstance(one, int) else one
            if wire["role"] != "tool":
                break
            parts += self._pieces[one].parts if isinstance(one, int) else [_response(wire, self._names)]
            at += 1
        return at, owner, Content(role="user", parts=parts)


def _response(wire: Mapping[str, Any], names: Mapping[str, str]) -> Part:
    call_id: str = wire["tool_call_id"]
    told = {"result": wire["content"] if isinstance(wire["content"], str) else dump_json(wire["content"])}
    return Part(
        function_response=FunctionResponse(id=call_id, name=names.get(call_id, "tool"), response=told)
    )


def _content(wire: Mapping[str, Any]) -> Content | None:
    """A chat message as a content; system prompts have their place elsewhere."""
    said = wire.get("content") or ()
    listed = [{"type": "text", "text": said}] if isinstance(said, str) else cast("Sequence[Any]", said)
    parts = [_part_of(part) for part in listed]
    if wire["role"] != "assistant":
        return Content(role="user", parts=parts) if parts else None
    if thought := wire.get("reasoning_content"):
        parts.insert(0, Part(text=thought, thought=True))
    for call in wire.get("tool_calls") or ():
        function = call["function"]
        parts.append(
            Part(
                function_call=FunctionCall(
                    id=call["id"], name=function["name"], args=parsed_arguments(function["arguments"])
                )
            )
        )
    return Content(role="model", parts=parts) if parts else None


def _part_of(part: Mapping[str, Any]) -> Part:
    match part["type"]:
        case "text":
            return Part(text=part["text"])
        case "image_url":
            given = part["image_url"]
            return _media(given if isinstance(given, str) else given["url"])
        case "input_audio":
            audio = part["input_audio"]
            return Part(
                inline_data=Blob(data=base64.b64decode(audio["data"]), mime_type=f"audio/{audio['format']}")
            )
        case "file" if isinstance(data := part["file"].get("file_data"), str):
            return _media(data, part["file"].get("filename"))
        case kind if kind in Part.model_fields:
            return Part.model_validate({key: value for key, value in part.items() if key != "type"})
        case _:
            return Part(text=dump_json(part))


def _media(url: str, name: str | None = None) -> Part:
    if found := _DATA_URL.fullmatch(url):
        data = base64.b64decode(found[2])
        return Part(inline_data=Blob(data=data, mime_type=found[1], display_name=name))
    return Part(file_data=FileData(file_uri=url))
