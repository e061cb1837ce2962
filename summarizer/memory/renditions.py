"""How a page reads at each level, and what that weighs: derived, cached, reversible.

A record is one line of JSON, so that nothing in a page can end it; a tag of virtual memory inside a
page's text is written with an escaped bracket. FULL carries the original: `json.loads` gives it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..meter import TokenCounter
from ..meter.media import media_tokens
from ..summary.redact import redact
from ..telemetry import log
from .compressors import CompressorRegistry, TextCompressor
from .pages import Level, Page

__all__ = ["Rendition", "Renditions", "json_line", "weigh"]

_TAG: Final = re.compile(r"<(?=\W{0,20}v\W{0,5}m)", re.IGNORECASE)
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in (0x7F, 0x85, 0x2028, 0x2029, *range(0xD800, 0xE000))}
"""What JSON leaves as it is, and some readers take for the end of a line, or cannot encode."""
_SEAM: Final = 4000
"""Characters after which a counter may be off by one in text without blanks; see `TokenCounter`."""

_HINT: Final = 160


@dataclass(frozen=True, slots=True)
class Rendition:
    """A page at one level.

    Attributes:
        level: How much is really shown: the level asked for, or a richer one that is no longer.
        text: What is shown.
        tokens: Of the record, its medium included.
        part: The medium, at FULL.
    """

    level: Level
    text: str
    tokens: int
    part: Mapping[str, Any] | None = None


def json_line(fields: Mapping[str, Any]) -> str:
    """One line of JSON in which no line can end and no tag of ours can stand."""
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)
    return _TAG.sub("\\\\u003c", line)


def weigh(line: str, counter: TokenCounter) -> int:
    """Upper bound on what a line adds to a prompt in which it ends with a line break."""
    return counter.count(line + "\n") + len(line) // _SEAM


class Renditions:
    """The levels of all pages, each derived when it is first needed.

    Attributes:
        abstracts: Texts of `summarize_fn` that stand as ABSTRACT, by page id.
    """

    def __init__(self, registry: CompressorRegistry, counter: TokenCounter, model: str | None) -> None:
        self.abstracts: dict[str, str] = {}
        self._registry, self._counter, self._model = registry, counter, model
        self._known: dict[tuple[str, Level], Rendition] = {}
        self._hints: dict[str, str] = {}

    def at(self, page: Page, level: Level) -> Rendition:
        """The page at a level; never larger than at the level above."""
        known = self._known.get((page.id, level))
        if known is None:
            known = self._known[page.id, level] = self._derived(page, level)
        return known

    def tokens(self, page: Page) -> dict[Level, int]:
        """What the page's record takes at each level."""
        return {level: self.at(page, level).tokens for level in Level}

    def hint(self, page: Page) -> str:
        """The page's REFERENCE text, at most 160 characters, without deriving the levels above it."""
        known = self._hints.get(page.id)
        if known is None:
            known = self._hints[page.id] = redact(self._compressed(page, Level.REFERENCE))[:_HINT]
        return known

    def record(self, page: Page, level: Level, **more: Any) -> str:
        """The page's line in a prompt."""
        rendition = self.at(page, level)
        return self.line(page, rendition.level, rendition.text, **more)

    def line(self, page: Page, level: Level, text: str, **more: Any) -> str:
        """A record of the page that shows a text of the caller's choice."""
        fields: dict[str, Any] = {
            "page": page.id,
            "type": page.type.value,
            "level": level.label,
            "from": page.origin.value,
        }
        if page.first_seq is not None:
            fields["events"] = [page.first_seq, page.last_seq]
        if page.part is not None:
            fields["medium"] = page.modality.value
        return json_line({**fields, **more, "text": text})

    def offer_abstract(self, page: Page, text: str) -> bool:
        """Let a text stand as the page's ABSTRACT if it is shorter than the REDUCED one."""
        text = redact(text.strip())
        reduced = self.at(page, Level.REDUCED)
        if not text or self._weighed(page, Level.ABSTRACT, text).tokens >= reduced.tokens:
            return False
        self.abstracts[page.id] = text
        self.drop_derived(page.id)
        return True

    def forget(self, page_id: str) -> None:
        """Drop what is known of a page."""
        self.abstracts.pop(page_id, None)
        self.drop_derived(page_id)
        self._known.pop((page_id, Level.FULL), None)
        self._hints.pop(page_id, None)

    def drop_derived(self, page_id: str) -> None:
        """Derive the page's shorter levels again when they are needed."""
        for level in (Level.REDUCED, Level.ABSTRACT, Level.REFERENCE):
            self._known.pop((page_id, level), None)

    def _derived(self, page: Page, level: Level) -> Rendition:
        if level is Level.FULL:
            found = self._weighed(page, level, page.text)
            tokens = media_tokens(page.part, self._model, self._counter.count) if page.part else None
            return Rendition(level, page.text, found.tokens + (tokens or 0), page.part)
        richer = self.at(page, Level(level - 1))
        own = self.abstracts.get(page.id) if level is Level.ABSTRACT else None
        text = redact(self._compressed(page, level)) if own is None else own
        found = self._weighed(page, level, text)
        return found if found.tokens < richer.tokens else richer

    def _compressed(self, page: Page, level: Level) -> str:
        try:
            text = self._registry.compress(page, level)
        except Exception:  # noqa: BLE001  # The caller's own compressor: its fault must not cost a prompt.
            log.exception("page.compressor_failed", page_id=page.id, modality=page.modality.value)
            return TextCompressor().compress(page, level)
        if isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # As above.
            return text
        log.warning("page.compressor_failed", page_id=page.id, modality=page.modality.value)
        return TextCompressor().compress(page, level)

    def _weighed(self, page: Page, level: Level, text: str) -> Rendition:
        return Rendition(level, text, weigh(self.line(page, level, text), self._counter))
