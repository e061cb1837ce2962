"""LangChain content blocks as Chat Completions parts, and back. Pure, and needs no LangChain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from ...messages import jsonable

__all__ = ["content_to_chat", "content_to_langchain"]

_VERBATIM: Final = 0
"""Mark of a block that is a part of the chat message as it is."""
_CALLS: Final = frozenset({"tool_call", "tool_use", "function_call"})
"""Blocks that say again what `tool_calls` says: LangChain's own, Anthropic's, those of OpenAI Responses."""

Block = dict[str, Any]


def content_to_chat(
    content: str | Sequence[str | Mapping[str, Any]], call_ids: frozenset[str]
) -> tuple[str | list[Block], list[Any] | None]:
    """The content of a chat message, and marks by which the blocks are made from it again.

    Standard images, audio and files become the parts of Chat Completions, so that they are counted by their
    size and any other host can send them. Blocks of a provider, and of kinds nobody knows, stay as they
    are. A block that repeats a tool call of the message is no part: the call stands in `tool_calls`.

    Args:
        content: As a LangChain message has it.
        call_ids: Ids of the message's tool calls.

    Returns:
        Text or parts; one mark for each block, or `None` if every part is a block as it is.
    """
    if isinstance(content, str):
        return content, None
    parts: list[Block] = []
    marks: list[Any] = []
    for block in content:
        part, mark = _to_part(block, call_ids)
        marks.append(mark)
        if part is not None:
            parts.append(part)
    return parts, None if all(mark == _VERBATIM for mark in marks) else marks


def content_to_langchain(content: object, marks: Sequence[Any] | None) -> str | list[str | Block]:
    """The inverse of `content_to_chat`; marks that do not fit the content any more are passed over."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = cast("Sequence[Block]", content)
    if marks is None:
        return list(parts)
    if sum(not _stands_aside(mark) for mark in marks) != len(parts):
        return list(parts)
    rest = iter(parts)
    return [mark["block"] if _stands_aside(mark) else _to_block(next(rest), mark) for mark in marks]


def _stands_aside(mark: Any) -> bool:
    """Whether the block is no part of the chat message."""
    return isinstance(mark, dict) and "block" in mark


def _to_part(block: str | Mapping[str, Any], call_ids: frozenset[str]) -> tuple[Block | None, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}, {"text": True}
    given = cast("Block", jsonable(block))
    kind = given.get("type")
    if not isinstance(kind, str):  # Bedrock's and Gemini's blocks name their kind by their key.
        text = given.get("text")
        if isinstance(text, str):
            return {"type": "text", "text": text}, {"data": "text", "rest": _without(given, "text")}
        return {"type": "non_standard", "value": given}, {"data": "value"}
    if kind in _CALLS and (given.get("call_id") or given.get("id")) in call_ids:
        return None, {"block": given}
    key = next((key for key in ("base64", "url", "file_id") if isinstance(given.get(key), str)), None)
    part = None if key is None or "source_type" in given else _media_part(kind, given, key)
    return (given, _VERBATIM) if part is None else (part, {"data": key, "rest": _without(given, key or "")})


def _media_part(kind: str, block: Block, key: str) -> Block | None:
    """The part of Chat Completions for a standard block, `None` if there is none of its kind."""
    data, media_type = block[key], block.get("mime_type") or ""
    inline = f"data:{media_type};base64,{data}"
    match kind, key:
        case "image", "base64" | "url":
            return {"type": "image_url", "image_url": {"url": inline if key == "base64" else data}}
        case "video", "base64":
            return {"type": "video_url", "video_url": {"url": inline}}
        case "audio", "base64":
            sound = media_type.rpartition("/")[2] if isinstance(media_type, str) else ""
            return {"type": "input_audio", "input_audio": {"data": data, "format": sound}}
        case "file", "base64":
            name = block.get("filename")
            named = {"filename": name} if isinstance(name, str) else {}
            return {"type": "file", "file": {"file_data": inline, **named}}
        case "file", "file_id":
            return {"type": "file", "file": {"file_id": data}}
        case _:
            return None


def _to_block(part: Block, mark: Any) -> str | Block:
    if not isinstance(mark, dict):
        return part
    mark = cast("dict[str, Any]", mark)
    if "text" in mark:
        return cast("str", part.get("text", ""))
    key = cast("str", mark["data"])
    if "rest" not in mark:
        return cast("Block", part[key])
    return {**mark["rest"], key: _data_of(part, key)}


def _data_of(part: Block, key: str) -> Any:
    """What a block holds under `key`, taken out of the part that was made of it."""
    if key == "text":
        return part["text"]
    body = cast("Block", part[part["type"]])
    if key == "base64":
        inline = next((body[name] for name in ("url", "file_data") if name in body), None)
        return body["data"] if inline is None else inline.partition(";base64,")[2]
    return body[key]


def _without(block: Block, key: str) -> Block:
    return {name: value for name, value in block.items() if name != key}
