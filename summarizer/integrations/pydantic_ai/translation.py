"""Pydantic AI's messages as chat messages, and back.

A `ModelResponse` is one chat message. A `ModelRequest` holds several: each of its parts is one. What the chat
shape cannot say of a part is its native JSON, as Pydantic AI itself stores it; with it nothing is lost.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeAlias, cast

from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryFeedbackPart,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_core import to_jsonable_python

from ...messages import dump_json
from ...meter import Usage

__all__ = [
    "Item",
    "chat_of",
    "from_native",
    "item_of",
    "items_of",
    "leading_prompts",
    "native_of_item",
    "usage_of",
]

Item: TypeAlias = ModelResponse | ModelRequestPart
"""What is one chat message: a whole response, or a part of a request."""

_DATA_URL: Final = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)
_TIMES: Final = frozenset(
    {"timestamp", "part_kind", "kind", "run_id", "conversation_id", "usage", "model_name"}
)
"""What a part or response carries beside its content, and is the same again without."""


def items_of(messages: Sequence[ModelMessage]) -> tuple[list[Item], list[int]]:
    """The items of a history without its leading system prompts, and of each the number of its message."""
    items: list[Item] = []
    owners: list[int] = []
    for i, message in enumerate(messages):
        if isinstance(message, ModelResponse):
            found: Sequence[Item] = [message]
        else:
            found = message.parts[len(leading_prompts(message)) if i == 0 else 0 :]
        items += found
        owners += [i] * len(found)
    return items, owners


def leading_prompts(message: ModelMessage) -> list[SystemPromptPart]:
    """The system prompts that a history begins with."""
    prompts: list[SystemPromptPart] = []
    for part in message.parts:
        if not isinstance(part, SystemPromptPart):
            break
        prompts.append(part)
    return prompts


# To chat


def chat_of(item: Item) -> dict[str, Any]:
    """An item as a chat message."""
    if isinstance(item, ModelResponse):
        return _answer(item)
    if isinstance(item, SystemPromptPart):
        return {"role": "system", "content": item.content}
    if isinstance(item, UserPromptPart):
        said = item.content
        return {"role": "user", "content": said if isinstance(said, str) else [*map(_part, said)]}
    if isinstance(item, ToolReturnPart):
        return {"role": "tool", "tool_call_id": item.tool_call_id, "content": _returned(item)}
    if isinstance(item, RetryFeedbackPart):
        return {"role": "user", "content": item.model_response()}
    if item.part_kind == "retry-prompt":
        said = item.model_response()
        if item.tool_name is None:
            return {"role": "user", "content": said}
        return {"role": "tool", "tool_call_id": item.tool_call_id, "content": said}
    # Records of the framework's own, and whatever comes with its next version.
    return {"role": "developer", "content": [_unknown(item)]}


def _returned(part: ToolReturnPart[Any]) -> str | list[dict[str, Any]]:
    text = part.model_response_str()
    files = [_part(file) for file in part.files]
    return [*([{"type": "text", "text": text}] if text else []), *files] if files else text


def _answer(response: ModelResponse) -> dict[str, Any]:
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    thoughts = [part for part in response.parts if isinstance(part, ThinkingPart)]
    said = [_said(part) for part in response.parts if not isinstance(part, ToolCallPart | ThinkingPart)]
    plain = len(said) == 1 and said[0]["type"] == "text"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": said[0]["text"] if plain else said or None,
    }
    if thoughts:
        message["reasoning_content"] = "\n\n".join(part.content for part in thoughts)
    if calls:
        message["tool_calls"] = [_call(part) for part in calls]
    return message


def _said(part: ModelResponsePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.content}
    if part.part_kind == "file":
        return _part(part.content)
    return _unknown(part)


def _call(part: ToolCallPart[Any]) -> dict[str, Any]:
    arguments = part.args if isinstance(part.args, str) else dump_json(part.args or {})
    return {
        "id": part.tool_call_id,
        "type": "function",
        "function": {"name": part.tool_name, "arguments": arguments},
    }


def _part(content: UserContent) -> dict[str, Any]:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    if isinstance(content, TextContent):
        return {"type": "text", "text": content.content}
    if isinstance(content, ImageUrl):
        return {"type": "image_url", "image_url": {"url": content.url}}
    if isinstance(content, BinaryContent):
        return _binary(content)
    return _unknown(content)


def _binary(content: BinaryContent) -> dict[str, Any]:
    if content.is_image:
        return {"type": "image_url", "image_url": {"url": content.data_uri}}
    if content.is_audio:
        kind = content.media_type.partition("/")[2]
        return {"type": "input_audio", "input_audio": {"data": content.base64, "format": kind}}
    return {"type": "file", "file": {"file_data": content.data_uri, "filename": content.identifier}}


def _unknown(value: Any) -> dict[str, Any]:
    """What the chat shape has no word for, as Pydantic AI writes it."""
    kind = getattr(value, "part_kind", None) or getattr(value, "kind", None) or type(value).__name__
    told: dict[str, Any] = to_jsonable_python(value, fallback=repr, bytes_mode="base64")
    return {"type": str(kind), **{key: told[key] for key in told if told[key] is not None and key != "type"}}


def usage_of(response: ModelResponse) -> Usage | None:
    """What the provider reported of a response; `None` if nothing."""
    used = response.usage
    if not used.has_values():
        return None
    return Usage(
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens or None,
        used.cache_write_tokens or None,
        used.output_reasoning_tokens or used.details.get("reasoning_tokens"),
    )


# And back


def native_of_item(item: Item) -> dict[str, Any] | None:
    """An item in Pydantic AI's own JSON; `None` if its chat message says as much."""
    if _says_it_all(item):
        return None
    message = item if isinstance(item, ModelResponse) else ModelRequest(parts=[item])
    return cast("dict[str, Any]", ModelMessagesTypeAdapter.dump_python([message], mode="json")[0])


def from_native(native: Mapping[str, Any]) -> Item:
    """The inverse of `native_of_item`."""
    message = ModelMessagesTypeAdapter.validate_python([native])[0]
    return message if isinstance(message, ModelResponse) else message.parts[0]


def _says_it_all(item: Item) -> bool:
    if isinstance(item, ModelResponse):
        kinds = [type(part) for part in item.parts]
        in_order = sorted(kinds, key=lambda kind: kind is not TextPart) == kinds
        usual = in_order and kinds.count(TextPart) <= 1 and {*kinds} <= {TextPart, ToolCallPart}
        return (
            usual
            and item.state == "complete"
            and all(_is_plain(p, "content", "tool_name", "args", "tool_call_id") for p in item.parts)
        )
    if isinstance(item, UserPromptPart):
        return isinstance(item.content, str)
    return isinstance(item, SystemPromptPart) and _is_plain(item, "content")


def _is_plain(value: Any, *known: str) -> bool:
    """Whether a dataclass has nothing but these fields set, and what does not count."""
    for one in fields(value):
        if one.name in known or one.name in _TIMES:
            continue
        if getattr(value, one.name) != one.default:
            return False
    return True


def item_of(wire: Mapping[str, Any], names: Mapping[str, str]) -> Item:
    """A chat message as an item: of a seed, a shortened result, another runtime's message.

    Args:
        wire: The message.
        names: Of tool calls the tool's name, by the call's id.
    """
    role, content = wire["role"], wire["content"]
    if role == "assistant":
        return ModelResponse(parts=_answer_parts(wire))
    if role == "tool":
        call_id: str = wire["tool_call_id"]
        return ToolReturnPart(names.get(call_id, "tool"), _content(content), tool_call_id=call_id)
    if role == "user":
        return UserPromptPart(_content(content))
    return SystemPromptPart(_text(content))


def _answer_parts(wire: Mapping[str, Any]) -> list[ModelResponsePart]:
    parts: list[ModelResponsePart] = []
    if thought := wire.get("reasoning_content"):
        parts.append(ThinkingPart(thought))
    if text := _text(wire["content"]):
        parts.append(TextPart(text))
    for call in wire.get("tool_calls") or ():
        kind: str = call.get("type") or "function"
        body = call[kind]
        parts.append(ToolCallPart(body["name"], body.get("arguments", body.get("input")), call["id"]))
    return parts


def _content(content: object) -> Any:
    if not isinstance(content, Sequence) or isinstance(content, str):
        return content or ""
    return [_user_content(part) for part in cast("Sequence[Mapping[str, Any]]", content)]


def _user_content(part: Mapping[str, Any]) -> UserContent:
    match part["type"]:
        case "image_url":
            given = part["image_url"]
            url: str = given if isinstance(given, str) else given["url"]
            return _from_data_url(url) or ImageUrl(url)
        case "input_audio":
            audio = part["input_audio"]
            return BinaryContent(base64.b64decode(audio["data"]), media_type=f"audio/{audio['format']}")
        case "file" if found := _from_data_url(str(part["file"].get("file_data"))):
            return found
        case _:
            text = part.get("text")
            return text if isinstance(text, str) else dump_json(part)


def _from_data_url(url: str) -> BinaryContent | None:
    found = _DATA_URL.fullmatch(url)
    return BinaryContent(base64.b64decode(found[2]), media_type=found[1]) if found else None


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = cast("Iterable[Mapping[str, Any]]", content or ())
    return "\n".join(p["text"] if isinstance(p.get("text"), str) else dump_json(p) for p in parts)
