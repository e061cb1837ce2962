"""Items of a Responses history as chat messages, and chat messages as items. Pure.

A model's items between two answers (reasoning, texts, hosted tools, calls) become one assistant message; each
answer to a call becomes one tool message. What the chat shape cannot give back exactly is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ...messages import content_text, dump_json, jsonable
from .items import call_key, is_model_output, kind_of, output_key, text_of

__all__ = ["Round", "Wire", "items_of", "plain", "rounds", "with_text"]

Wire = dict[str, Any]

_HOSTED: Final = frozenset({"program_output", "tool_search_output"})
"""Answers that come with the model's own items, since the provider ran the call."""
_ARGUMENTS: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
_TO_CHAT: Final = {"input_text": "text", "output_text": "text"}
_TEXT_OUTPUTS: Final = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "apply_patch_call_output",
    }
)


@dataclass(slots=True)
class Round:
    """One message and the items that it stands for.

    Attributes:
        message: In the Chat Completions shape.
        items: The items, in their order.
        places: Where each stood in the list that was read.
    """

    message: Wire
    items: list[Wire]
    places: list[int] = field(default_factory=list[int])

    @property
    def native(self) -> list[Wire] | None:
        """The items, where the message alone does not give them back; else `None`."""
        return None if items_of(self.message) == self.items else self.items

    @property
    def is_beyond_chat(self) -> bool:
        """Whether there is something in the items that the message does not weigh."""
        return any(kind_of(item) not in _PLAIN for item in self.items)


_PLAIN: Final = frozenset({"message", "function_call", "function_call_output"})


def plain(item: object) -> Wire:
    """The item as JSON values, an object as the SDK writes it down; what is neither is wrapped."""
    dump = getattr(item, "model_dump", None)
    value = jsonable(dump(exclude_unset=True) if callable(dump) else item)
    return cast("Wire", value) if isinstance(value, dict) else {"type": "", "value": value}


def rounds(items: Sequence[Wire], places: Sequence[int] | None = None) -> list[Round]:
    """Group items into messages.

    Args:
        items: As the runtime gave them.
        places: Of each item where it stood; `None`: as they stand here.
    """
    found: list[Round] = []
    said: Round | None = None
    for place, item in zip(range(len(items)) if places is None else places, items, strict=True):
        if is_model_output(item) or kind_of(item) in _HOSTED:
            if said is None:
                said = Round({}, [])
                found.append(said)
            said.items.append(item)
            said.places.append(place)
            continue
        said = None
        found.append(Round(_answer(item) if output_key(item) else _message(item), [item], [place]))
    for one in found:
        if not one.message:
            one.message = _said(one.items)
    return found


def _message(item: Wire) -> Wire:
    return {"role": item["role"], "content": _chat_content(item.get("content"))}


def _answer(item: Wire) -> Wire:
    key = output_key(item)
    assert key is not None
    call_id = key[1] or f"{kind_of(item)}"
    output: object = item.get("output")
    content = _chat_content(output) if isinstance(output, str | list) else text_of(item)  # pyright: ignore[reportUnknownArgumentType]
    return {"role": "tool", "content": content, "tool_call_id": call_id}


def _said(items: Sequence[Wire]) -> Wire:
    """The assistant message of a model's items."""
    texts = [text for text in map(_prose, items) if text]
    calls = [call for call in map(_call, items) if call is not None]
    wire: Wire = {"role": "assistant", "content": "\n".join(texts) or None}
    if calls:
        wire["tool_calls"] = calls
    elif not texts:
        wire["content"] = ""
        if all(kind_of(item) == "reasoning" for item in items):  # So it stays with the message that follows.
            wire["reasoning"] = " ".join(map(text_of, items)) or "(sealed)"
    return wire


def _prose(item: Wire) -> str:
    """What the item says in a transcript; nothing for calls and reasoning."""
    kind = kind_of(item)
    if kind == "reasoning" or _call(item) is not None:
        return ""
    if kind == "message":
        return text_of(item)
    return f"[{kind or 'item'}] {text_of(item)}".rstrip()


def _call(item: Wire) -> Wire | None:
    """The item as a call that an answer of the host will follow; `None` if it is none."""
    key, kind = call_key(item), kind_of(item)
    if key is None or not key[1] or key[0] in _HOSTED:
        return None
    name = item.get("name")
    text = item.get(_ARGUMENTS.get(kind, ""))
    shape = "custom" if kind == "custom_tool_call" else "function"
    body = {
        "name": name if isinstance(name, str) and name else kind,
        "input" if shape == "custom" else "arguments": text if isinstance(text, str) else text_of(item),
    }
    return {"id": key[1], "type": shape, shape: body}


def _chat_content(content: object) -> Any:
    """Content of an item as chat content: text, or parts under their chat names."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else "" if content is None else dump_json(content)
    return [_chat_part(part) for part in cast("list[object]", content)]


def _chat_part(part: object) -> Wire:
    if not isinstance(part, Mapping):
        return {"type": "text", "text": part if isinstance(part, str) else dump_json(part)}
    wire = cast("Mapping[str, Any]", part)
    kind = wire.get("type")
    if kind in _TO_CHAT and isinstance(wire.get("text"), str):
        return {"type": "text", "text": wire["text"]}
    if kind == "input_image" and isinstance(wire.get("image_url"), str):
        detail = {"detail": wire["detail"]} if isinstance(wire.get("detail"), str) else {}
        return {"type": "image_url", "image_url": {"url": wire["image_url"]} | detail}
    if kind == "input_file":
        return {"type": "file", "file": {k: v for k, v in wire.items() if k != "type" and v is not None}}
    return dict(wire) if isinstance(kind, str) else {"type": "text", "text": dump_json(wire)}


# And back


def items_of(message: Mapping[str, Any]) -> list[Wire]:
    """The items that say what a chat message says; of an assistant's calls one each."""
    role = message.get("role")
    content = message.get("content")
    if role == "tool":
        answer = {"type": "function_call_output", "call_id": message.get("tool_call_id")}
        return [answer | {"output": _item_content(content)}]
    if role == "function":
        return [{"role": "user", "content": f"[{message.get('name')}] {content_text(content)}"}]
    items: list[Wire] = []
    if role == "assistant":
        if text := content_text(content):
            items.append({"role": "assistant", "content": text})
        calls = cast("Sequence[Mapping[str, Any]]", message.get("tool_calls") or ())
        return [*items, *map(_call_item, calls)]
    return [{"role": role, "content": _item_content(content)}]


def _call_item(call: Mapping[str, Any]) -> Wire:
    if call.get("type") == "custom":
        body = call["custom"]
        return {
            "type": "custom_tool_call",
            "call_id": call["id"],
            "name": body["name"],
            "input": body["input"],
        }
    body = call["function"]
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": body["name"],
        "arguments": body["arguments"],
    }


def _item_content(content: object) -> Any:
    if not isinstance(content, list | tuple):
        return "" if content is None else content
    return [_item_part(part) for part in cast("Sequence[Mapping[str, Any]]", content)]


def _item_part(part: Mapping[str, Any]) -> Wire:
    kind = part.get("type")
    if kind == "text":
        return {"type": "input_text", "text": part["text"]}
    if kind == "image_url" and isinstance(part.get("image_url"), Mapping):
        image = cast("Mapping[str, Any]", part["image_url"])
        detail = {"detail": image["detail"]} if "detail" in image else {}
        return {"type": "input_image", "image_url": image.get("url")} | detail
    if kind == "file" and isinstance(part.get("file"), Mapping):
        return {"type": "input_file", **part["file"]}
    return dict(part)


def with_text(item: Wire, text: str) -> Wire | None:
    """An answer to a call with another text, as a context shortened it; `None` where it takes no text."""
    kind = kind_of(item)
    if kind in _TEXT_OUTPUTS:
        return {**item, "output": text}
    if kind == "shell_call_output":
        outcome = {"type": "exit", "exit_code": 0}
        return {**item, "output": [{"stdout": text, "stderr": "", "outcome": outcome}]}
    return None
