"""Strands' messages (the shape of Bedrock's Converse API) and chat messages, each made into the other. Pure.

A message with tool results becomes one `tool` message for each, and a `user` message for what stands
beside them. What a chat message cannot carry is kept verbatim beside it, as `native`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from ...messages import dump_json, jsonable

__all__ = [
    "Block",
    "Message",
    "Piece",
    "blocks_of",
    "call_ids",
    "custom_of",
    "decoded",
    "from_chat",
    "is_plain_user",
    "mapping_of",
    "mark_of",
    "marked",
    "metadata_of",
    "pieces_of",
    "result_id",
    "result_ids",
    "result_text_of",
]

Block = Mapping[str, Any]
Message = dict[str, Any]
"""A Strands message: the runtime's TypedDict, read without its types, since blocks of other kinds occur."""

_MARK: Final = "longsplice"
_BINARY: Final = ("bytes", "redactedContent")
"""Keys under which Strands keeps bytes; only there is `{"$bytes": ...}` read back as bytes."""


class Piece(NamedTuple):
    """One chat message of a Strands message.

    Attributes:
        wire: The chat message.
        native: The blocks, where the chat message alone would not give them back; `None` where it does.
        error: The text of a failed tool result; `None` for anything else.
    """

    wire: dict[str, Any]
    native: list[Any] | None
    error: str | None = None


def blocks_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content blocks; what is no list of mappings counts as none."""
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [cast("dict[str, Any]", b) for b in cast("list[object]", content) if isinstance(b, dict)]


def call_ids(message: Mapping[str, Any]) -> list[str]:
    """Ids of the tool uses in it."""
    return [str(block["toolUse"].get("toolUseId")) for block in blocks_of(message) if "toolUse" in block]


def result_id(block: Block) -> str | None:
    """The id of the call that a block is the result of; `None` for other blocks."""
    return str(block["toolResult"].get("toolUseId")) if "toolResult" in block else None


def result_ids(message: Mapping[str, Any]) -> list[str]:
    """Ids of the tool results in it."""
    return [
        str(block["toolResult"].get("toolUseId")) for block in blocks_of(message) if "toolResult" in block
    ]


def is_plain_user(message: Mapping[str, Any]) -> bool:
    """Whether it is what a user said: a turn begins with it."""
    return message.get("role") == "user" and not result_ids(message)


def metadata_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its metadata, which no provider is sent; empty if it has none."""
    return mapping_of(message.get("metadata"))


def custom_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of its metadata that is anybody's."""
    return mapping_of(metadata_of(message).get("custom"))


def mapping_of(value: object) -> Mapping[str, Any]:
    """The value, if it is a mapping; else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def mark_of(message: Mapping[str, Any]) -> str | None:
    """What a message of ours is (`summary`, `seed`, `gap`); `None` for the conversation's own."""
    mark = custom_of(message).get(_MARK)
    return mark if isinstance(mark, str) else None


def marked(role: str, text: str, mark: str) -> Message:
    """A message of ours; one that stands for others is pinned, so that no other manager takes it away."""
    custom: dict[str, Any] = {_MARK: mark} if mark == "gap" else {_MARK: mark, "pinned": True}
    return {"role": role, "content": [{"text": text}], "metadata": {"custom": custom}}


# To chat messages


def pieces_of(message: Mapping[str, Any], start: int = 0) -> list[Piece]:
    """The chat messages of a Strands message, in order, from its block `start` on; at least one."""
    role = str(message.get("role"))
    groups: list[list[dict[str, Any]]] = []
    for block in blocks_of(message)[start:]:
        alone = role == "user" and "toolResult" in block
        if groups and not alone and "toolResult" not in groups[-1][0]:
            groups[-1].append(block)
        else:
            groups.append([block])
    return [_piece(role, group) for group in groups or [[]]]


def _piece(role: str, blocks: list[dict[str, Any]]) -> Piece:
    error = None
    if role == "user" and blocks and "toolResult" in blocks[0]:
        result = cast("Mapping[str, Any]", blocks[0]["toolResult"])
        content = _content(cast("Sequence[Block]", result.get("content") or ()))
        wire: dict[str, Any] = {
            "role": "tool",
            "tool_call_id": str(result.get("toolUseId") or "unknown"),
            "content": "" if content is None else content,
        }
        if result.get("status") == "error":
            error = result_text_of(result)[:500]
    elif role == "assistant":
        wire = {"role": role, "content": _content([b for b in blocks if "toolUse" not in b])}
        if calls := [_call(block["toolUse"]) for block in blocks if "toolUse" in block]:
            wire["tool_calls"] = calls
        if thought := "\n".join(_thoughts(blocks)):
            wire["reasoning_content"] = thought
    else:
        content = _content(blocks)
        wire = {"role": "user", "content": "" if content is None else content}
    wire = jsonable(wire)  # A lone surrogate, which no store takes, is U+FFFD from here on.
    again = from_chat(wire, failed=error is not None)["content"]
    return Piece(wire, None if again == blocks else jsonable(blocks), error)


def _call(use: Mapping[str, Any]) -> dict[str, Any]:
    given = use.get("input")
    text = given if isinstance(given, str) else dump_json({} if given is None else given)
    return {
        "id": str(use.get("toolUseId") or "unknown"),
        "type": "function",
        "function": {"name": str(use.get("name") or "unknown"), "arguments": text},
    }


def _thoughts(blocks: Sequence[Block]) -> list[str]:
    texts = [_at(block, "reasoningContent", "reasoningText", "text") for block in blocks]
    return [text for text in texts if isinstance(text, str) and text]


def _content(blocks: Sequence[Block]) -> Any:
    """Text for one text block, parts for more, `None` for nothing."""
    parts = [part for block in blocks if (part := _part(block)) is not None]
    if not parts:
        return None
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _part(block: Block) -> dict[str, Any] | None:
    """The content part of one block; of a kind that chat has no part for, its JSON as text."""
    kind = next(iter(block), "")
    body: Any = block.get(kind)
    if kind in ("cachePoint", "reasoningContent"):
        return None
    if kind == "text" and isinstance(body, str):
        return {"type": "text", "text": body}
    if kind in ("image", "document", "video", "audio") and isinstance(body, Mapping):
        if (part := _media(kind, cast("Block", body))) is not None:
            return part
    elif kind == "guardContent" and isinstance(text := _at(body, "text", "text"), str):
        return {"type": "text", "text": text}
    elif kind == "json":
        return {"type": "text", "text": dump_json(body)}
    return {"type": "text", "text": dump_json(_without_bytes(block))}


def _media(kind: str, body: Block) -> dict[str, Any] | None:
    data = _at(body, "source", "bytes")
    if not isinstance(data, bytes):
        return None
    form = str(body.get("format") or "")
    text = base64.b64encode(data).decode()
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": f"data:image/{form};base64,{text}"}}
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": text, "format": form}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": f"data:video/{form};base64,{text}"}}
    named = {"filename": str(body.get("name") or "document"), "file_data": _document_url(form, text)}
    return {"type": "file", "file": named}


def _document_url(form: str, text: str) -> str:
    plain = {"txt": "plain", "md": "markdown", "csv": "csv", "html": "html"}
    media = f"text/{plain[form]}" if form in plain else f"application/{form or 'octet-stream'}"
    return f"data:{media};base64,{text}"


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = mapping_of(value).get(key)
    return value


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return {str(k): _without_bytes(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(v) for v in cast("Sequence[Any]", value)]
    return value


def result_text_of(result: Mapping[str, Any]) -> str:
    """The text of a tool result, JSON included, media left out."""
    texts: list[str] = []
    for block in cast("Sequence[Block]", result.get("content") or ()):
        if isinstance(text := block.get("text"), str):
            texts.append(text)
        elif "json" in block:
            texts.append(dump_json(block["json"]))
    return "\n".join(texts)


# And back


def from_chat(wire: Mapping[str, Any], *, failed: bool = False) -> Message:
    """The Strands message of one chat message; a `tool` message becomes a user's with its result."""
    blocks = _parts_back(wire.get("content"))
    if wire["role"] == "tool":
        result = {
            "toolUseId": wire.get("tool_call_id"),
            "status": "error" if failed else "success",
            "content": blocks,
        }
        return {"role": "user", "content": [{"toolResult": result}]}
    if wire["role"] != "assistant":
        return {"role": "user", "content": blocks}
    for call in wire.get("tool_calls") or ():
        blocks.append({"toolUse": _use(call)})
    return {"role": "assistant", "content": blocks}


def _use(call: Mapping[str, Any]) -> dict[str, Any]:
    body = cast("Mapping[str, Any]", call.get(str(call.get("type") or "function")) or {})
    text = body.get("arguments", body.get("input")) or "{}"
    try:
        given = json.loads(text)
    except ValueError:
        given = text
    return {"toolUseId": call.get("id"), "name": body.get("name"), "input": given}


def _parts_back(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [_block(part) for part in content or ()]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(text := part.get("text"), str):
        return {"text": text}
    url = _at(part, "image_url", "url")
    if isinstance(url, str) and url.startswith("data:image/"):
        head, _, data = url.partition(";base64,")
        source = {"bytes": base64.b64decode(data)}
        return {"image": {"format": head.removeprefix("data:image/"), "source": source}}
    return {"text": dump_json(part)}


def decoded(value: Any) -> Any:
    """Stored blocks as they were, bytes included."""
    if isinstance(value, list):
        return [decoded(v) for v in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for key, inner in cast("Mapping[str, Any]", value).items():
        text = _at(inner, "$bytes") if key in _BINARY else None
        found[key] = base64.b64decode(text) if isinstance(text, str) else decoded(inner)
    return found
