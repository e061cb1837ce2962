"""Chat messages for models that want user and assistant in turn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

__all__ = ["merged", "parsed_arguments", "parts_of"]

_MERGED: Final = frozenset({"system", "developer", "user", "assistant"})


def merged(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with neighbours of one role made into one, for dialects that demand alternation.

    Texts are joined by a blank line, content parts and tool calls follow each other. A `name` stays where
    both have the same. Tool results are never merged: each answers a call of its own.

    Args:
        messages: In wire shape; not changed.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        last = turns[-1] if turns else None
        if last is not None and last["role"] == message["role"] in _MERGED:
            turns[-1] = _joined(last, message)
        else:
            turns.append(dict(message))
    return turns


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**first, **second, "content": _content(first.get("content"), second.get("content"))}
    for key in first.keys() & second.keys() - {"content"}:
        one, other = first[key], second[key]
        if isinstance(one, list) and isinstance(other, list):
            whole[key] = [*cast("list[Any]", one), *cast("list[Any]", other)]
        elif key in ("reasoning_content", "reasoning", "refusal") and one and other:
            whole[key] = f"{one}\n\n{other}"
    if first.get("name") != second.get("name"):
        whole.pop("name", None)
    return whole


def _content(first: object, second: object) -> object:
    if isinstance(first, str) and isinstance(second, str) and first and second:
        return f"{first}\n\n{second}"
    if not first or not second:
        return first or second or (first if second is None else second)
    return [*parts_of(first), *parts_of(second)]


def parts_of(content: object) -> list[dict[str, Any]]:
    """A message's content as a list of parts; empty text is none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [dict(part) for part in cast("Sequence[Mapping[str, Any]]", content or ())]


def parsed_arguments(text: object) -> dict[str, Any]:
    """A call's arguments as an object; `{"invalid_json": text}` if they are none."""
    if not text:
        return {}
    if not isinstance(text, str):
        return dict(cast("Mapping[str, Any]", text))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"invalid_json": text}
