"""OpenAI Responses: its output as a chat message, and chat messages as its input.

An answer of text and calls of functions becomes an ordinary chat message. One with reasoning, or with items
that the chat shape has no word for, carries its items beside that, in `responses_output`; `responses_input`
sends those back as they came.

Source: the Responses API as the `openai` package 2.54 types it (November 2026).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

from .turns import parts_of

__all__ = ["ResponsesPrompt", "is_responses", "read_responses", "responses_input"]

Wire: TypeAlias = Mapping[str, Any]

_CALLS: Final = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
_SYSTEM: Final = ("system", "developer")


class ResponsesPrompt(NamedTuple):
    """What goes into a request.

    Attributes:
        instructions: The system prompt; `None` without one.
        input: Items.
    """

    instructions: str | None
    input: list[dict[str, Any]]

    @property
    def arguments(self) -> dict[str, Any]:
        """For `client.responses.create(**prompt.arguments, ...)`."""
        return {"input": self.input, **({"instructions": self.instructions} if self.instructions else {})}


def is_responses(wire: Wire) -> bool:
    """Whether a mapping is a whole `Response`."""
    return wire.get("object") == "response" and isinstance(wire.get("output"), list)


def read_responses(response: Wire) -> dict[str, Any]:
    """The output of a response as a chat message."""
    items = cast("list[Wire]", response["output"])
    texts = [part for item in items if item["type"] == "message" for part in item.get("content") or ()]
    said = "".join(part.get("text") or part.get("refusal") or "" for part in texts)
    calls = [_call(item) for item in items if item["type"] in _CALLS]
    message: dict[str, Any] = {"role": "assistant", "content": said if texts else None}
    if calls:
        message["tool_calls"] = calls
    if not _is_plain(items):
        message["responses_output"] = [dict(item) for item in items]
    return message


def _is_plain(items: Sequence[Wire]) -> bool:
    """Whether the chat message alone says it all: one text, then calls of functions."""
    kinds = [item["type"] for item in items]
    if kinds.count("message") > 1 or kinds[1:].count("message") or not {*kinds} <= {"message", *_CALLS}:
        return False
    parts = [part for item in items if item["type"] == "message" for part in item.get("content") or ()]
    return all(part["type"] == "output_text" and not part.get("annotations") for part in parts)


def _call(item: Wire) -> dict[str, Any]:
    kind, key = _CALLS[item["type"]]
    return {"id": item["call_id"], "type": kind, kind: {"name": item["name"], key: item.get(key) or ""}}


def responses_input(messages: Iterable[Wire]) -> ResponsesPrompt:
    """Chat messages as items of the Responses API.

    Args:
        messages: In wire shape, as contexts give them.
    """
    rest = list(messages)
    start = next((i for i, message in enumerate(rest) if message["role"] not in _SYSTEM), len(rest))
    told = [part.get("text") or "" for message in rest[:start] for part in parts_of(message.get("content"))]
    items: list[dict[str, Any]] = []
    custom: set[str] = set()
    for message in rest[start:]:
        if message["role"] == "assistant":
            items += _spoken(message)
            custom |= {call["id"] for call in message.get("tool_calls") or () if call.get("type") == "custom"}
        elif message["role"] == "tool":
            items.append(
                _result(message, "custom_tool_call" if message["tool_call_id"] in custom else "function_call")
            )
        else:
            role = message["role"] if message["role"] in _SYSTEM else "user"
            items.append({"role": role, "content": _content(message.get("content"))})
    return ResponsesPrompt("\n\n".join(told) or None, items)


def _spoken(message: Wire) -> list[dict[str, Any]]:
    if native := message.get("responses_output"):
        return [dict(item) for item in native]
    texts = [part.get("text") or part.get("refusal") for part in parts_of(message.get("content"))]
    said = "".join(text for text in texts if isinstance(text, str))
    items: list[dict[str, Any]] = [{"role": "assistant", "content": said}] if said else []
    for call in message.get("tool_calls") or ():
        kind: str = call.get("type") or "function"
        key = "input" if kind == "custom" else "arguments"
        item = "custom_tool_call" if kind == "custom" else "function_call"
        items.append({"type": item, "call_id": call["id"], "name": call[kind]["name"], key: call[kind][key]})
    return items


def _result(message: Wire, kind: str) -> dict[str, Any]:
    return {
        "type": f"{kind}_output",
        "call_id": message["tool_call_id"],
        "output": _content(message.get("content")),
    }


def _content(content: object) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in parts_of(content)]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "text":
            return {"type": "input_text", "text": part["text"]}
        case "image_url":
            given = part["image_url"]
            return {
                "type": "input_image",
                **({"image_url": given} if isinstance(given, str) else _image(given)),
            }
        case "file":
            return {"type": "input_file", **part["file"]}
        case _:
            return part


def _image(given: Wire) -> dict[str, Any]:
    return {"image_url": given["url"], "detail": given.get("detail") or "auto"}
