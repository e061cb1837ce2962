"""How pages are made shorter, per modality. Pure: a page and a level in, a text out.

The rules need no model and give the same text for the same page. A `summarize_fn` writes the
ABSTRACT level instead, where the caller awaits it; what it writes is held to the same bounds.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from ..summary.redact import redact
from ..summary.speech import binds, decides, sentences
from ..telemetry import log
from . import wording
from .pages import Level, Modality, Page

__all__ = [
    "Compressor",
    "CompressorRegistry",
    "MediaCompressor",
    "StructuredCompressor",
    "SummarizeFunction",
    "TextCompressor",
    "clip_words",
    "written_by",
]

SummarizeFunction = Callable[[str], str | Awaitable[str]]
"""Text of a page in, its gist out; sync (it runs in a thread) or async."""

_REDUCED_SHARE: Final = 0.4
_REDUCED_CHARACTERS: Final = 16_000
_ABSTRACT_CHARACTERS: Final = 320
_REFERENCE_CHARACTERS: Final = 80
_SHORT_VALUE: Final = 60
_VALUE: Final = re.compile(r"\d|https?://|[A-Za-z]/[A-Za-z]|[\"“`']\w")
_PIECE: Final = 240
"""Longest sentence that is weighed as one; of a text without sentences, stretches of this length."""

_WEIGHED: Final = 50_000
"""Characters at the beginning, and as many at the end, that are read of a longer text: about 0.1 s."""


class Compressor(Protocol):
    """Derives the shorter levels of one modality's pages."""

    def compress(self, page: Page, level: Level) -> str:
        """The page's text at a level below FULL.

        What is longer than the level above it is not used: that level's text stands in.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextCompressor:
    """Keeps whole sentences: what binds or decides first, then values, the beginning and the end."""

    def compress(self, page: Page, level: Level) -> str:
        if level is Level.REFERENCE:
            return clip_words(page.text, _REFERENCE_CHARACTERS)
        if level is Level.ABSTRACT:
            return _selected(page.text, _ABSTRACT_CHARACTERS)
        most = min(int(len(page.text) * _REDUCED_SHARE), _REDUCED_CHARACTERS)
        return _selected(page.text, max(_ABSTRACT_CHARACTERS, most))


@dataclass(frozen=True, slots=True)
class StructuredCompressor:
    """Keeps the shape of a JSON value: long texts and lists are cut, then only keys and sizes stay."""

    def compress(self, page: Page, level: Level) -> str:
        try:
            value: object = json.loads(page.text)
        except (ValueError, RecursionError):
            return TextCompressor().compress(page, level)
        if level is Level.REDUCED:
            return json.dumps(_pruned(value, 4), ensure_ascii=False)
        outline = _outline(value, 2 if level is Level.ABSTRACT else 1)
        most = _ABSTRACT_CHARACTERS if level is Level.ABSTRACT else _REFERENCE_CHARACTERS
        return clip_words(outline, most)


@dataclass(frozen=True, slots=True)
class MediaCompressor:
    """Drops the medium and keeps its caption or transcript, then shortens that."""

    def compress(self, page: Page, level: Level) -> str:
        if not page.text.strip():
            return f"{page.modality}, {wording.NO_CAPTION}"
        return page.text if level is Level.REDUCED else TextCompressor().compress(page, level)


class CompressorRegistry:
    """Which compressor serves which modality.

    Attributes:
        summarize_fn: Writes ABSTRACT texts, or `None`.
    """

    def __init__(
        self, compressors: Mapping[Modality, Compressor], *, summarize_fn: SummarizeFunction | None = None
    ) -> None:
        """A modality that `compressors` lacks is compressed as text."""
        self._compressors = dict(compressors)
        self.summarize_fn = summarize_fn

    @classmethod
    def default(cls, summarize_fn: SummarizeFunction | None = None) -> CompressorRegistry:
        """Rules for every modality.

        Args:
            summarize_fn: Writes ABSTRACT texts in place of the rules. If it raises, or writes nothing
                or more than the REDUCED text, the rules' text stands.
        """
        media = MediaCompressor()
        return cls(
            {
                Modality.TEXT: TextCompressor(),
                Modality.STRUCTURED: StructuredCompressor(),
                Modality.IMAGE: media,
                Modality.AUDIO: media,
                Modality.VIDEO: media,
            },
            summarize_fn=summarize_fn,
        )

    def register(self, modality: Modality, compressor: Compressor) -> None:
        """Compress a modality your way, from the next page on."""
        self._compressors[modality] = compressor

    def compress(self, page: Page, level: Level) -> str:
        """The page's text at a level, by its modality's compressor; FULL is the original."""
        if level is Level.FULL:
            return page.text
        return self._compressors.get(page.modality, TextCompressor()).compress(page, level)


async def written_by(write: SummarizeFunction, page: Page) -> str | None:
    """The gist that a user's function writes, secrets redacted in what it is given; `None` if it fails."""
    text = redact(page.text)
    try:
        if inspect.iscoroutinefunction(write):
            answer = write(text)
        else:
            answer = await asyncio.to_thread(write, text)
        written: object = await answer if inspect.isawaitable(answer) else answer
    except Exception:  # noqa: BLE001  # The caller's own function: the rules' text stands in.
        log.exception("page.summary_failed", page_id=page.id)
        return None
    if isinstance(written, str):
        return written
    log.warning("page.summary_failed", page_id=page.id, returned=type(written).__name__)
    return None


def clip_words(text: str, most: int) -> str:
    """The beginning of a text as one line of at most `most` characters, cut between words if it can be."""
    line = " ".join(text[: most * 4].split())
    if len(line) <= most:
        return line
    cut = line.rfind(" ", most // 2, most - 3)
    return line[: cut if cut > 0 else most - 3] + "..."


def _selected(text: str, most: int) -> str:
    """The best sentences of a text within some characters, in order, gaps marked."""
    if len(text) <= most:
        return text
    if len(text) > 2 * _WEIGHED:
        text = f"{text[:_WEIGHED]}\n{text[-_WEIGHED:]}"
    found = list(sentences(text, _PIECE)) or [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)]
    last = len(found) - 1
    ranked = sorted(range(len(found)), key=lambda i: (-_weight(found[i], first=i == 0, last=i == last), i))
    kept: set[int] = set()
    used = 0
    for i in ranked:
        cost = len(found[i]) + len(wording.GAP) + 2
        if used + cost <= most:
            kept.add(i)
            used += cost
    return _joined(found, sorted(kept)) if kept else clip_words(text, most)


def _weight(sentence: str, *, first: bool, last: bool) -> int:
    telling = binds(sentence) or decides(sentence, by_user=False)
    return 4 * telling + 2 * bool(_VALUE.search(sentence)) + 3 * first + last


def _joined(found: list[str], kept: list[int]) -> str:
    parts: list[str] = []
    expected = 0
    for i in kept:
        if i != expected:
            parts.append(wording.GAP)
        parts.append(found[i])
        expected = i + 1
    if expected != len(found):
        parts.append(wording.GAP)
    return " ".join(parts)


def _pruned(value: object, depth: int) -> object:
    if isinstance(value, str):
        return clip_words(value, _SHORT_VALUE) if len(value) > _SHORT_VALUE else value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if not depth:
            return [wording.MORE.format(count=len(items))]
        shown: list[object] = [_pruned(item, depth - 1) for item in items[:3]]
        return [*shown, wording.MORE.format(count=len(items) - 3)] if len(items) > 3 else shown
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _pruned(fields[key], depth - 1) for key in list(fields)[:20]} if depth else "{...}"
    return value


def _outline(value: object, depth: int) -> str:
    """Keys of objects and lengths of lists."""
    if isinstance(value, dict) and depth:
        fields = cast("dict[str, Any]", value)
        inner = [_member(key, fields[key], depth - 1) for key in list(fields)[:20]]
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return f"[{len(items)} x {_outline(items[0], depth)}]" if items and depth else f"[{len(items)}]"
    return "{...}" if isinstance(value, dict) else clip_words(json.dumps(value, ensure_ascii=False), 40)


def _member(key: str, value: object, depth: int) -> str:
    return f"{key}: {_outline(value, depth)}" if depth else key
