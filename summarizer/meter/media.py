"""What a part of a message costs that is no text: image, audio, video, file.

Prices are by size, duration and pages, never by the length of base64. Nothing is fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from .headers import audio_seconds, decoded_size, head_bytes, image_size, pdf_pages, split_data_url
from .images import image_tokens, page_tokens

__all__ = ["media_tokens"]

_AUDIO_RATE: Final = {"gpt": 10.0, "gemini": 32.0}
"""Tokens a second: OpenAI one per 100 ms of user audio, Google 32 (their guides, read 2026-11)."""
_AUDIO_RATE_ELSE: Final = 32.0
_VIDEO_RATE: Final = 300.0
"""Tokens a second of video with sound (Google, "Video understanding", about 300 at default resolution)."""
_AUDIO_BYTES: Final = 2000
"""Bytes a second of the thinnest usual speech codec (16 kbit/s): seconds are bounded from above."""
_VIDEO_BYTES: Final = 31_250
"""Bytes a second of a thin video stream (250 kbit/s)."""
_PAGE_BYTES: Final = 8192
"""Bytes of a lean page of a compressed PDF: pages are bounded from above."""
_MOST_PAGES: Final = 600
"""Pages a request may hold (Anthropic, "PDF support", read 2026-11; others allow fewer)."""
_UNKNOWN_SECONDS: Final = 60
"""Length of audio or video that is only referred to."""

_TYPES: Final = {
    "image_url": "image/", "input_image": "image/", "image": "image/",
    "input_audio": "audio/", "audio": "audio/", "audio_url": "audio/",
    "video_url": "video/", "video": "video/", "input_video": "video/",
    "file": "application/pdf", "input_file": "application/pdf", "document": "application/pdf",
}  # fmt: skip
"""Part types, and the media type of each that states none."""

Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Media:
    """One part, whatever dialect it came in. `data` is base64, `None` if it is only referred to."""

    media_type: str
    data: str | None
    detail: str | None = None


def media_tokens(part: Part, model: str | None, count: Callable[[str], int]) -> int | None:
    """Tokens of an image, audio, video or file part; `None` if it is none of them.

    What is only referred to (a URL, a file id) costs the family's upper bound for an
    image, one page for a file, a minute for audio and video.

    Args:
        part: In the shape of Chat Completions, Responses, Anthropic or Gemini.
        model: Whose formula.
        count: Counts the tokens of the text in a file.
    """
    kind = part.get("type")
    inline = part.get("inline_data") or part.get("inlineData")
    if isinstance(inline, Mapping):
        body, fallback = cast("Part", inline), "application/pdf"
    elif isinstance(kind, str) and kind in _TYPES:
        nested = part.get(kind)
        body = cast("Part", nested) if isinstance(nested, Mapping) else part
        fallback = _TYPES[kind]
    else:
        return None
    text = _title_text(part, body)
    return (count(text) if text else 0) + _priced(_read(body, fallback, part), model, count)


def _title_text(part: Part, body: Part) -> str:
    """Text that a document part brings along: its name, title, context, and a source that is text."""
    found = [body.get("filename"), part.get("title"), part.get("context")]
    source = part.get("source")
    if isinstance(source, Mapping):
        source = cast("Part", source)
        inner = source.get("data") if source.get("type") == "text" else source.get("content")
        blocks = cast("list[object]", inner) if isinstance(inner, list) else [inner]
        found += [cast("Part", b).get("text") if isinstance(b, Mapping) else b for b in blocks]
    return "\n".join(text for text in found if isinstance(text, str))


def _read(body: Part, fallback: str, part: Part) -> _Media | None:
    source = body.get("source")
    if isinstance(source, Mapping):
        body = cast("Part", source)
        if body.get("type") in ("text", "content"):
            return None  # `_title_text` counts it.
    detail = body.get("detail") or part.get("detail")
    detail = detail if isinstance(detail, str) else None
    media_type = _string(body, "media_type", "mime_type", "mimeType") or fallback
    if isinstance(sound := body.get("format"), str) and fallback == "audio/":
        media_type = f"audio/{sound}"
    data = _string(body, "file_data", "data", "url", "image_url", "video_url", "audio_url")
    split = split_data_url(data) if data else None
    if split:
        return _Media(split[0] or media_type, split[1], detail)
    referred = not ("data" in body or "file_data" in body)
    return _Media(media_type, None if referred else data, detail)


def _string(body: Part, *keys: str) -> str | None:
    return next((value for key in keys if isinstance(value := body.get(key), str) and value), None)


def _priced(media: _Media | None, model: str | None, count: Callable[[str], int]) -> int:
    if media is None:
        return 0
    kind = media.media_type.partition("/")[0]
    if kind == "image":
        return image_tokens(model, image_size(head_bytes(media.data)) if media.data else None, media.detail)
    if kind in ("audio", "video"):
        return _timed(media, kind, model)
    if media.data and (kind == "text" or media.media_type in ("application/json", "application/xml")):
        return count(_text(media.data))
    return page_tokens(model) * _pages(media.data)


def _text(data: str) -> str:
    """Text behind base64; what is no UTF-8 is replaced."""
    return head_bytes(data, None).decode("utf-8", "replace")


def _timed(media: _Media, kind: str, model: str | None) -> int:
    if kind == "video":
        seconds = decoded_size(media.data) / _VIDEO_BYTES if media.data else _UNKNOWN_SECONDS
        return math.ceil(seconds * _VIDEO_RATE)
    rate = next((r for family, r in _AUDIO_RATE.items() if family in (model or "").lower()), _AUDIO_RATE_ELSE)
    if not media.data:
        return math.ceil(_UNKNOWN_SECONDS * rate)
    size = decoded_size(media.data)
    seconds = audio_seconds(head_bytes(media.data), size)
    return math.ceil((size / _AUDIO_BYTES if seconds is None else seconds) * rate)


def _pages(data: str | None) -> int:
    if not data:
        return 1
    pages = pdf_pages(head_bytes(data, None)) or math.ceil(decoded_size(data) / _PAGE_BYTES)
    return min(_MOST_PAGES, max(1, pages))
