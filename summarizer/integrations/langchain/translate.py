"""LangChain messages in the chat shape, and back, without loss.

A chat message goes into the log. What it has no place for (ids, artifacts, `additional_kwargs`,
`response_metadata`, the exact content blocks, calls that could not be parsed) goes along as `native`, kept in
the event's data, and only that: a text is not stored twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from ...errors import InvalidMessage, MissingExtra
from ...messages import dump_json, jsonable
from ...meter import Usage
from .content import content_to_chat, content_to_langchain

try:
    from langchain_core.messages import (
        AIMessage,
        BaseMessage,
        ChatMessage,
        FunctionMessage,
        HumanMessage,
        RemoveMessage,
        SystemMessage,
        ToolMessage,
        message_chunk_to_message,
    )
except ImportError as error:
    raise MissingExtra("the LangChain integration", "langchain") from error

__all__ = ["Translated", "from_chat", "model_of", "to_chat", "usage_of"]

_CLASSES: Final[dict[str, type[BaseMessage]]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}
_TYPES: Final = {
    "user": "human",
    "assistant": "ai",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "function",
}
_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
_DEVELOPER: Final = "__openai_role__"
"""Key of `additional_kwargs` by which LangChain tells a developer message from a system message."""
_TRANSLATED: Final = frozenset(
    {"content", "type", "name", "tool_calls", "invalid_tool_calls", "tool_call_id"}
)
"""Fields that the chat message carries, or that have their own place in `native`."""
_NAMELESS: Final = "unnamed_tool"


class Translated(NamedTuple):
    """A LangChain message, as the log keeps it.

    Attributes:
        wire: The chat message.
        native: What `wire` has no place for, JSON values; `None` if there is nothing of the kind.
    """

    wire: dict[str, Any]
    native: dict[str, Any] | None


def to_chat(message: BaseMessage) -> Translated:
    """A message as a chat message, and what that has no place for.

    Chunks are read as the messages that they are chunks of. A class of your own goes by its `type`, in the
    user's role if that says nothing. What is no JSON is kept as `messages.jsonable` has it.

    Raises:
        InvalidMessage: A `RemoveMessage`, which is an instruction to LangGraph and no message.
    """
    if isinstance(message, RemoveMessage):
        raise InvalidMessage(
            f"RemoveMessage(id={message.id!r}) is no message but an instruction; apply add_messages first"
        )
    message = message_chunk_to_message(message)
    wire: dict[str, Any] = {"role": _role_of(message)}
    native: dict[str, Any] = {}
    if message.type != _TYPES[wire["role"]]:
        native["type"] = message.type
    calls = _calls_to_chat(message, native) if isinstance(message, AIMessage) else []
    content, marks = content_to_chat(message.content, frozenset(call["id"] for call in calls))
    wire["content"] = content
    if marks is not None:
        native["blocks"] = marks
    if calls:
        wire["tool_calls"] = calls
    elif function := message.additional_kwargs.get("function_call"):
        wire |= _legacy_call(function)
    if isinstance(message, ToolMessage):
        wire["tool_call_id"] = message.tool_call_id
        if message.name is not None:
            native["name"] = message.name  # The call has it; with a result it would be counted again.
    elif message.name is not None:
        wire["name"] = message.name
    fields = _fields_of(message)
    if fields:
        native["fields"] = fields
    return Translated(jsonable(wire), native or None)  # No store takes a lone surrogate: it is U+FFFD there.


def from_chat(wire: Mapping[str, Any], native: Mapping[str, Any] | None = None) -> BaseMessage:
    """The inverse of `to_chat`; a chat message alone gives what LangChain makes of one.

    Content that was rewritten since, such as a result cleared by a policy, is taken as it is.

    Raises:
        InvalidMessage: An unknown role.
    """
    native = native or {}
    role = wire.get("role")
    kind = _TYPES.get(role) if isinstance(role, str) else None
    if kind is None:
        raise InvalidMessage(f"unknown role {role!r}; use one of {', '.join(_TYPES)}")
    fields: dict[str, Any] = dict(native.get("fields") or {})
    fields["content"] = content_to_langchain(wire.get("content"), native.get("blocks"))
    name = native.get("name", wire.get("name"))
    if name is not None:
        fields["name"] = name
    if "tool_call_id" in wire:
        fields["tool_call_id"] = wire["tool_call_id"]
    made = _CLASSES.get(native.get("type", kind), _CLASSES[kind])
    if made is AIMessage:
        fields |= _calls_to_langchain(wire.get("tool_calls") or (), native)
    kwargs: dict[str, Any] = fields.get("additional_kwargs") or {}
    if role == "developer":
        fields["additional_kwargs"] = {_DEVELOPER: "developer", **kwargs}
    if "function_call" in wire and "function_call" not in kwargs:
        fields["additional_kwargs"] = {**kwargs, "function_call": wire["function_call"]}
    return made(**fields)


def usage_of(message: BaseMessage) -> Usage | None:
    """The usage that a chat model reported; `None` if it reported none.

    LangChain's input includes what came from or went to a cache, and its output the reasoning, as ours do.
    """
    reported = message.usage_metadata if isinstance(message, AIMessage) else None
    if reported is None:
        return None
    given = cast("Mapping[str, Any]", reported.get("input_token_details") or {})
    made = cast("Mapping[str, Any]", reported.get("output_token_details") or {})
    # Anthropic's writes are split by how long they are kept; the sum has its own key only where they are not.
    written: list[int] = [v for k, v in given.items() if k == "cache_creation" or k.startswith("ephemeral_")]
    return Usage(
        reported["input_tokens"],
        reported["output_tokens"],
        given.get("cache_read"),
        sum(written) if written else None,
        made.get("reasoning"),
    )


def model_of(message: BaseMessage) -> str | None:
    """The model that answered, as its provider names it; `None` if the message does not say."""
    told = message.response_metadata
    name = told.get("model_name") or told.get("model")
    return name if isinstance(name, str) and name else None


def _role_of(message: BaseMessage) -> str:
    if isinstance(message, SystemMessage) and message.additional_kwargs.get(_DEVELOPER) == "developer":
        return "developer"
    if isinstance(message, ChatMessage):
        return message.role if message.role in ("system", "developer", "user", "assistant") else "user"
    if isinstance(message, FunctionMessage):
        return "function"
    return next((role for kind, role in _ROLES.items() if isinstance(message, _CLASSES[kind])), "user")


def _fields_of(message: BaseMessage) -> dict[str, Any]:
    """Fields, extra ones included, that the chat message does not carry and that are not as by default."""
    defaults = _defaults_of(type(message))
    found: dict[str, Any] = {}
    for key, value in message:
        if key not in _TRANSLATED and (key not in defaults or value != defaults[key]):
            found[key] = jsonable(value)
    if found.get("additional_kwargs") == {_DEVELOPER: "developer"}:
        del found["additional_kwargs"]  # The role says it.
    return found


@cache
def _defaults_of(kind: type[BaseMessage]) -> dict[str, Any]:
    """What the fields of a class are if nobody says otherwise; pydantic takes long to tell."""
    fields = kind.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields}


def _legacy_call(function: object) -> dict[str, Any]:
    """`function_call` of older models, if it is one."""
    call = cast("Mapping[str, Any]", function if isinstance(function, Mapping) else {})
    return {"function_call": dict(call)} if isinstance(call.get("name"), str) else {}


def _calls_to_chat(message: AIMessage, native: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a message, those that could not be parsed last.

    An id or a name that is missing is made up of the call and its place; `native` has what there was.
    """
    calls: list[dict[str, Any]] = []
    odd: dict[str, Any] = {}
    for i, call in enumerate([*message.tool_calls, *message.invalid_tool_calls]):
        args = call["args"]
        text = args if isinstance(args, str) else dump_json({} if args is None else args)
        name = call["name"] or _NAMELESS
        call_id = call["id"] or f"call_{_digest(f'{i}:{name}:{text}')}"
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": text}})
        differs = call["id"] != call_id or call["name"] != name
        if i >= len(message.tool_calls) or differs:
            odd[str(i)] = jsonable({k: v for k, v in call.items() if k != "args" or v is None})
    if odd:
        native["calls"] = odd
    if message.invalid_tool_calls:
        native["invalid_from"] = len(message.tool_calls)
    return calls


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="replace"), digest_size=9).hexdigest()


def _calls_to_langchain(calls: Sequence[Mapping[str, Any]], native: Mapping[str, Any]) -> dict[str, Any]:
    odd: Mapping[str, Any] = native.get("calls") or {}
    first_invalid = native.get("invalid_from")
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for i, call in enumerate(calls):
        body: Mapping[str, Any] = call.get(call.get("type") or "function") or {}
        text = body.get("arguments", body.get("input")) or ""
        was: Mapping[str, Any] = odd.get(str(i)) or {}
        named = {"name": body.get("name"), "id": call.get("id")}
        args = _parsed(text)
        invalid = args is None if first_invalid is None else i >= first_invalid
        if invalid:
            bad.append({**named, "args": text, "error": None, "type": "invalid_tool_call", **was})
        else:
            good.append({**named, "args": args or {}, "type": "tool_call", **was})
    return {"tool_calls": good, "invalid_tool_calls": bad}


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
