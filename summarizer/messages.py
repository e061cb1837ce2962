"""Messages, in and out: the OpenAI chat shape is read and written here alone.

In come mappings in the Chat Completions shape (and objects that carry one); out go frozen `Message`
values and the same mappings again, key for key. What this module does not know it keeps: reasoning,
thinking blocks, refusals, audio and provider fields ride along in `Message.extra`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, cast
from uuid import UUID

from .errors import InvalidMessage

__all__ = [
    "ROLES",
    "Content",
    "Message",
    "ToolCall",
    "as_wire",
    "content_text",
    "dump_json",
    "jsonable",
    "result_text",
]

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
"""Roles of Chat Completions; `function` is the older form of `tool`."""

_KNOWN: Final = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_MOST_LEVELS: Final = 100
"""Nesting that `jsonable` follows; it keeps well within the interpreter's default stack of 1,000 frames."""
_MOST_BITS: Final = 14_000
"""Size of the largest integer kept as a number; CPython writes none of over 4,300 digits (14,284 bits)."""
_MOST_REPR: Final = 1000

Content = str | tuple[Mapping[str, Any], ...] | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that an assistant message makes.

    Attributes:
        id: The id that the result names.
        name: The tool's name.
        arguments_json: The arguments as the model wrote them; may be invalid JSON.
        kind: `function`, or `custom` for a free-text tool.
        extra: Whatever else the wire object carried.
    """

    id: str
    name: str
    arguments_json: str
    kind: str = "function"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def arguments(self) -> Mapping[str, Any] | None:
        """The parsed arguments; `None` if they are no JSON object."""
        try:
            value = json.loads(self.arguments_json or "{}")
        except (ValueError, RecursionError):
            return None
        return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None

    def to_wire(self) -> dict[str, Any]:
        """The call as Chat Completions writes it."""
        text = "input" if self.kind == "custom" else "arguments"
        return {
            "id": self.id,
            "type": self.kind,
            self.kind: {"name": self.name, text: self.arguments_json},
            **self.extra,
        }

    @classmethod
    def from_wire(cls, value: object) -> ToolCall:
        """Read one entry of `tool_calls`.

        Raises:
            InvalidMessage: No id, no name, or not an object.
        """
        call = as_wire(value)
        kind = call.get("type") or "function"
        body = call.get(kind) if isinstance(kind, str) else None
        if not isinstance(kind, str) or not isinstance(body, Mapping):
            raise InvalidMessage(
                f"tool call of type {kind!r} has no {kind!r} object; send {{'id', 'type', 'function'}}"
            )
        body = cast("Mapping[str, Any]", body)
        call_id, name = call.get("id"), body.get("name")
        if not isinstance(call_id, str) or not call_id or not isinstance(name, str) or not name:
            raise InvalidMessage(f"tool call needs a non-empty id and name, got id={call_id!r} name={name!r}")
        text = body.get("input" if kind == "custom" else "arguments")
        arguments = text if isinstance(text, str) else dump_json(text if text is not None else {})
        _check_text(call_id, "tool call id")
        _check_text(name, "tool name")
        _check_text(arguments, "tool call arguments")
        extra = _rest(call, frozenset({"id", "type", kind}))
        return cls(call_id, name, arguments, kind, extra)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation.

    Attributes:
        role: One of `ROLES`.
        content: Text, a tuple of content parts left as they came, or `None`.
        tool_calls: Calls this assistant message makes, in list order.
        tool_call_id: For a `tool` message, the call it answers.
        name: Participant or function name.
        extra: Every other key of the wire object, JSON values only.
    """

    role: str
    content: Content = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The text of the content; parts that are no text are left out."""
        return content_text(self.content)

    def to_wire(self) -> dict[str, Any]:
        """A fresh mapping, ready to send. `content` is always present."""
        content = self.content
        wire: dict[str, Any] = {
            "role": self.role,
            "content": list(content) if isinstance(content, tuple) else content,
        }
        if self.name is not None:
            wire["name"] = self.name
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        if self.extra:
            wire.update(self.extra)
        return wire

    @classmethod
    def from_wire(cls, value: object) -> Message:
        """Read a message in the Chat Completions shape.

        Args:
            value: A mapping, or an object with `model_dump()` (pydantic, litellm, openai).

        Raises:
            InvalidMessage: Unknown role, content that is neither text nor parts, text
                that is not valid Unicode, or a `tool` message that names no call.
        """
        wire = as_wire(value)
        role = wire.get("role")
        if not isinstance(role, str) or role not in ROLES:
            shown = repr(role) if role is None or isinstance(role, str) else f"of type {type(role).__name__}"
            raise InvalidMessage(f"unknown role {shown}; use one of {', '.join(sorted(ROLES))}")
        content = wire.get("content")
        if isinstance(content, str) and len(wire) == 2 and role != "tool":  # most messages by far
            _check_text(content, f"{role} content")
            return cls(role, content)
        calls = wire.get("tool_calls") or ()
        if not isinstance(calls, Sequence) or isinstance(calls, str):
            raise InvalidMessage(f"tool_calls must be a list, got {type(calls).__name__}")
        if calls and role != "assistant":
            raise InvalidMessage(f"a {role!r} message cannot make tool calls; only 'assistant' can")
        call_id = wire.get("tool_call_id")
        for given, what in ((call_id, "tool_call_id"), (wire.get("name"), "name")):
            if given is not None and not isinstance(given, str):
                raise InvalidMessage(f"{what} must be text, got {type(given).__name__}")
            _check_text(given or "", what)
        if role == "tool" and not call_id:
            raise InvalidMessage(f"a 'tool' message needs the tool_call_id it answers, got {call_id!r}")
        return cls(
            role=role,
            content=_read_content(content, role),
            tool_calls=tuple(ToolCall.from_wire(call) for call in cast("Sequence[object]", calls)),
            tool_call_id=call_id,
            name=wire.get("name"),
            extra=_rest(wire, _KNOWN),
        )

    @classmethod
    def from_stored(cls, wire: Mapping[str, Any]) -> Message:
        """The inverse of `to_wire` for what was checked before; takes about half of `from_wire`'s time."""
        content = wire["content"]
        calls = wire.get("tool_calls")
        return cls(
            wire["role"],
            tuple(cast("list[Any]", content)) if isinstance(content, list) else content,
            tuple([_stored_call(call) for call in calls]) if calls else (),
            wire.get("tool_call_id"),
            wire.get("name"),
            {k: v for k, v in wire.items() if k not in _KNOWN} if wire.keys() - _KNOWN else {},
        )


def _stored_call(call: Mapping[str, Any]) -> ToolCall:
    kind = call["type"]
    body = call[kind]
    extra = {k: v for k, v in call.items() if k not in ("id", "type", kind)}
    return ToolCall(call["id"], body["name"], body["input" if kind == "custom" else "arguments"], kind, extra)


def _rest(wire: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """What a wire object carries beside the keys that are known; absent and null are the same."""
    return {_key(k): jsonable(v) for k, v in wire.items() if k not in known and v is not None}


def as_wire(value: object) -> Mapping[str, Any]:
    """The mapping behind a message-like object.

    Raises:
        InvalidMessage: Neither a mapping nor an object that can be dumped to one.
    """
    if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - a dict is told far quicker alone
        return cast("Mapping[str, Any]", value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        dumped = dump(exclude_none=True)
        if isinstance(dumped, Mapping):
            return cast("Mapping[str, Any]", dumped)
    raise InvalidMessage(
        f"expected a message mapping such as {{'role': 'user', 'content': '...'}}, got {type(value).__name__}"
    )


def _read_content(content: object, role: str) -> Content:
    if content is None:
        return None
    if isinstance(content, str):
        _check_text(content, f"{role} content")
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        return tuple([_read_part(part, role) for part in cast("Sequence[object]", content)])
    raise InvalidMessage(
        f"{role} content must be text, a list of parts or None, got {type(content).__name__}; "
        "decode bytes to text, or pass tool results through tool_used()"
    )


def _read_part(part: object, role: str) -> dict[str, Any]:
    text = cast("Mapping[str, Any]", part).get("text") if isinstance(part, Mapping) else None
    if isinstance(text, str):
        _check_text(text, f"{role} content part")
    given = cast("object", part)
    read: object = jsonable(given)
    if not isinstance(read, dict) or not isinstance(cast("dict[str, Any]", read).get("type"), str):
        raise InvalidMessage(
            f"a content part must be an object with a 'type', got {type(given).__name__}; "
            "send {'type': 'text', 'text': '...'}"
        )
    return cast("dict[str, Any]", read)


def _check_text(text: str, what: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage(
            f"{what} is not valid Unicode: a lone surrogate at character {error.start}; "
            "decode the bytes with errors='replace' first"
        ) from None


def content_text(content: object) -> str:
    """Join the text of a content value; parts without text give nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = cast("Sequence[object]", content)
    texts = [cast("Mapping[str, Any]", part).get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def result_text(result: object) -> str:
    """A tool's result as the text of a `tool` message.

    Text stays as it is (a lone surrogate becomes U+FFFD), `None` is the empty text, and
    everything else is compact JSON by the rules of `jsonable`. Never raises.
    """
    if isinstance(result, str):
        return _valid(result)
    return "" if result is None else dump_json(result)


def dump_json(value: object) -> str:
    """Compact JSON of any value; see `jsonable` for what is no JSON."""
    return json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"))


def jsonable(value: Any, _seen: tuple[int, ...] = ()) -> Any:
    """A JSON value for any Python value; never raises.

    JSON values stay. Keys become text; where two keys become the same text, the mapping is `{"$pairs":
    [[key, value], ...]}`. Dates are ISO 8601; Decimal, UUID and paths are their text; sets are sorted
    lists; dataclasses and pydantic models are objects; NaN and the infinities are the texts `NaN`,
    `Infinity`, `-Infinity`; bytes are `{"$bytes": base64}`; a lone surrogate is U+FFFD; a value inside
    itself is `{"$cycle": true}`; anything else, integers of over 4,000 digits and what lies deeper than
    100 levels included, is `{"$type": its class, "$repr": its repr}`, cut at 1,000 characters.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, Enum):
        return _scalar(value)
    if id(value) in _seen:
        return {"$cycle": True}
    if len(_seen) >= _MOST_LEVELS:
        return {"$type": type(value).__name__, "$repr": f"nested deeper than {_MOST_LEVELS} levels"}
    return _jsonable_object(value, (*_seen, id(value)))


def _scalar(value: str | float) -> Any:
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, int):
        if value.bit_length() <= _MOST_BITS:
            return value
        return {"$type": "builtins.int", "$repr": hex(value)[:_MOST_REPR]}
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


def _valid(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def _key(key: object) -> str:
    return _valid(key) if isinstance(key, str) else dump_json(key).strip('"')


def _jsonable_object(value: Any, seen: tuple[int, ...]) -> Any:
    try:
        return _structure(value, seen)
    except Exception:  # noqa: BLE001 - a foreign object's own methods may raise anything; its repr is kept instead
        return _opaque(value)


def _structure(value: Any, seen: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        pairs = list(cast("Mapping[Any, Any]", value).items())
        found = {_key(k): jsonable(v, seen) for k, v in pairs}
        whole = len(found) == len(pairs)
        return found if whole else {"$pairs": [[jsonable(k, seen), jsonable(v, seen)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        return [jsonable(v, seen) for v in cast("Sequence[Any]", value)]
    if isinstance(value, Enum):
        return jsonable(value.value, seen)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return _valid(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(cast("bytes", value))).decode()}
    if isinstance(value, AbstractSet):
        return sorted((jsonable(v, seen) for v in cast("AbstractSet[Any]", value)), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name), seen) for f in dataclasses.fields(value)}
    dump = getattr(cast("type[object]", type(value)), "model_dump", None)
    if callable(dump):
        return jsonable(dump(value), seen)
    return _opaque(value)


def _opaque(value: object) -> dict[str, str]:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__ may raise anything; the type is still worth keeping
        text = "repr() failed"
    kind = type(value)
    return {"$type": f"{kind.__module__}.{kind.__qualname__}", "$repr": _valid(text[:_MOST_REPR])}
