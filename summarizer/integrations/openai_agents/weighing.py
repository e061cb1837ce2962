"""What of an item the model reads, and what that weighs. Pure; nothing raises, whatever an item holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from ...messages import dump_json
from ...meter.media import media_tokens
from .kinds import ANSWERED_BY, OUTPUTS, Item, Wire, kind_of, wire_of

__all__ = ["Parts", "item_tokens", "parts_of", "text_of"]

_UNREAD: Final = frozenset(
    {
        "type", "id", "call_id", "approval_request_id", "role", "status", "caller", "phase", "execution",
        "container_id", "logprobs", "created_by", "detail", "cache_control", "acknowledged_safety_checks",
        "_agents_tool_description", "_agents_tool_title",
    }
)  # fmt: skip
"""Keys that the model is not shown, or shown as part of an item's frame."""
_SEALED: Final = frozenset({"encrypted_content", "signature", "fingerprint"})
"""Keys of text that only the provider can open."""
_SEALED_CHARS: Final = 16 / 3
"""Characters of sealed text a token: base64 of a cipher, three bytes in four characters, four bytes a token.
No provider says what sealed reasoning costs; what it hides is not longer than itself."""
_MEDIA: Final[Mapping[object, str]] = {
    "computer_screenshot": "input_image",
    **{kind: kind for kind in ("input_image", "image", "image_url", "input_file", "file", "document")},
    **{kind: kind for kind in ("input_audio", "audio", "audio_url", "input_video", "video", "video_url")},
}
"""Parts that are no text, and the type under which the meter prices each."""
_SOURCES: Final = (
    "image_url", "file_id", "file_url", "file_data", "filename", "url", "data", "source", "input_audio",
    "file", "image", "document", "video", "audio", "video_url", "audio_url",
)  # fmt: skip
"""Keys of which a media part has one; without any, it is a record that merely has such a type."""
_PROSE: Final = ("text", "refusal", "transcript")
_KNOWN: Final = frozenset(
    {
        "message", "reasoning", "compaction", "mcp_call", "mcp_list_tools", "additional_tools",
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
        *ANSWERED_BY, *OUTPUTS,
    }
)  # fmt: skip
_FRAME: Final = 4
"""Tokens around each item: role, separators, the names of keys."""
_MOST_LEVELS: Final = 50


@dataclass(frozen=True, slots=True)
class Parts:
    """What of an item the model reads.

    Attributes:
        texts: Every text, in the item's order: prose, arguments, outputs, refusals; what is structured, as
            compact JSON.
        media: Parts that are priced by size, pages or seconds: images, screenshots, files, audio.
        sealed: Characters of text that only the provider can open.
    """

    texts: tuple[str, ...] = ()
    media: tuple[Wire, ...] = ()
    sealed: int = 0


@dataclass(slots=True)
class _Found:
    texts: list[str] = field(default_factory=list[str])
    media: list[Wire] = field(default_factory=list[Wire])
    sealed: int = 0


def text_of(item: Item) -> str:
    """All text of an item, joined by blanks."""
    return " ".join(parts_of(item).texts)


def parts_of(item: Item) -> Parts:
    """Take an item apart for counting. Everything is counted; of kinds that nobody knows, the keys too."""
    wire, found = wire_of(item), _Found()
    if wire:
        named = kind_of(item) not in _KNOWN
        for key, value in wire.items():
            if key in _UNREAD or value is None:
                continue
            if named:
                found.texts.append(str(key))
            _walk(_picture(value) if key == "result" and _drawn(wire) else value, found, key)
    elif item is not None:
        found.texts.append(item if isinstance(item, str) else dump_json(item))
    return Parts(tuple(found.texts), tuple(found.media), found.sealed)


def _drawn(wire: Wire) -> bool:
    return wire.get("type") == "image_generation_call"


def _picture(data: object) -> object:
    return {"type": "input_image", "data": data} if isinstance(data, str) else data


def _walk(value: object, found: _Found, key: object, level: int = 0) -> None:
    """Sort one value: text, media and sealed text are known by their looks, the rest is JSON."""
    if isinstance(value, str):
        if key in _SEALED:
            found.sealed += len(value)
        elif value:
            found.texts.append(value)
    elif isinstance(value, list | tuple) and level < _MOST_LEVELS:
        for one in cast("Sequence[object]", value):
            _walk(one, found, key, level + 1)
    elif isinstance(value, Mapping):
        _walk_part(cast("Wire", value), found, level)
    elif value is not None:
        found.texts.append(dump_json(cast("object", value)))


def _walk_part(part: Wire, found: _Found, level: int) -> None:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _MEDIA and any(part.get(name) for name in _SOURCES):
        found.media.append({**part, "type": _MEDIA[kind]})
    elif level < _MOST_LEVELS and any(isinstance(part.get(name), str) for name in _PROSE):
        for name, inner in part.items():
            if name not in _UNREAD and inner is not None:
                _walk(inner, found, name, level + 1)
    elif part:
        found.texts.append(dump_json(part))


def item_tokens(item: Item, count: Callable[[str], int], model: str | None = None) -> int:
    """What one item weighs: its text by `count`, media by `model`'s formulas, and 4 for its frame.

    Sealed text is taken for 16/3 characters a token. At least 5.

    Args:
        item: Anything; see `parts_of`.
        count: Tokens of a text; called once for the item's text, and for the text in a file.
        model: Whose image and page formulas; `None` takes the larger of the usual ones (an image of
            unknown size: 1,568 tokens).
    """
    parts = parts_of(item)
    tokens = count(" ".join(parts.texts)) if parts.texts else 0
    for part in parts.media:
        weighed = media_tokens(part, model, count)
        tokens += count(dump_json(part)) if weighed is None else weighed
    return max(1, tokens + math.ceil(parts.sealed / _SEALED_CHARS)) + _FRAME
