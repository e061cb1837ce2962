"""Pages: what virtual memory moves in and out of the prompt.

A page is a view: of a range of the log, a tool result, a summary, a claim. Its text is the original and
never changes; a shorter level is derived from it and can be dropped at any time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, TypeVar, cast

from ..errors import InvalidSetting, SummarizerError
from ..events import Origin
from ..messages import dump_json, jsonable

__all__ = ["Level", "Modality", "Page", "PageNotFound", "PageType", "make_page"]

_Choice = TypeVar("_Choice", bound=StrEnum)

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class PageType(StrEnum):
    """What a page is; it weighs in what leaves first."""

    TRANSCRIPT = "transcript"
    SUMMARY = "summary"
    ARTIFACT = "artifact"
    CLAIM = "claim"
    PROCEDURE = "procedure"
    INDEX = "index"


class Modality(StrEnum):
    """What a page is made of; it decides how the page is made shorter."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    STRUCTURED = "structured"


class Level(IntEnum):
    """How much of a page is shown; a larger number shows less."""

    FULL = 0
    REDUCED = 1
    ABSTRACT = 2
    REFERENCE = 3

    @property
    def label(self) -> str:
        """The name that models read and write."""
        return self.name.lower()


DEFAULT_IMPORTANCE: Final[Mapping[PageType, float]] = {
    PageType.CLAIM: 0.9,
    PageType.PROCEDURE: 0.8,
    PageType.SUMMARY: 0.7,
    PageType.ARTIFACT: 0.5,
    PageType.INDEX: 0.4,
    PageType.TRANSCRIPT: 0.3,
}
"""What a page of a type is worth where nobody says: what was concluded outlives what was said on the way."""

_MEDIA: Final = {
    "image": Modality.IMAGE,
    "image_url": Modality.IMAGE,
    "input_image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "input_audio": Modality.AUDIO,
    "video": Modality.VIDEO,
    "video_url": Modality.VIDEO,
}


class PageNotFound(SummarizerError, KeyError):
    """No page has this id; it never had one, or was forgotten."""

    def __init__(self, page_id: str) -> None:
        super().__init__(f"page {page_id!r} does not exist; list the pages, or search for one")
        self.page_id = page_id

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Page:
    """One page, whole.

    Attributes:
        id: What models cite and ask for; 1 to 64 of `A-Z a-z 0-9 _ . : -`.
        text: The original, to the byte. Of a medium: its caption or transcript; may be empty.
        type: What it is.
        modality: What it is made of.
        part: Of a medium: the content part as a chat message carries it.
        importance: From 0 to 1.
        pinned: Whether it may never leave the working set; it may still be shown shorter.
        origin: Who produced the text. Shown to the model; a page is data whoever wrote it.
        first_seq: First event of the log that it stands for, if it stands for any.
        last_seq: Last such event.
    """

    id: str
    text: str
    type: PageType = PageType.TRANSCRIPT
    modality: Modality = Modality.TEXT
    part: Mapping[str, Any] | None = None
    importance: float = DEFAULT_IMPORTANCE[PageType.TRANSCRIPT]
    pinned: bool = False
    origin: Origin = Origin.IMPORTED
    first_seq: int | None = None
    last_seq: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The page as JSON values."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Page:
        """The inverse of `to_json`; keys that this version does not know are ignored."""
        known = {name: stored[name] for name in cls.__slots__ if name in stored}
        known |= {
            "type": PageType(known["type"]),
            "modality": Modality(known["modality"]),
            "origin": Origin(known["origin"]),
        }
        return cls(**known)


def make_page(
    page_id: str,
    content: str | Mapping[str, Any] | list[Any],
    *,
    page_type: PageType,
    modality: Modality | None,
    caption: str | None,
    importance: float | None,
    pinned: bool,
    origin: Origin,
    seqs: tuple[int, int] | None,
) -> Page:
    """Check what a host gives and make a page of it; see `MemoryManager.create_page`.

    Raises:
        InvalidSetting: An id, importance, range or content that cannot be used.
    """
    if not _ID.fullmatch(page_id):
        raise InvalidSetting(f"page id {page_id!r} is invalid; use 1 to 64 of A-Z a-z 0-9 _ . : -")
    page_type = _one_of(PageType, "page_type", page_type)
    if caption is not None and not isinstance(caption, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # As below.
        raise InvalidSetting(f"caption={caption!r} of page {page_id!r} must be a text")
    worth = DEFAULT_IMPORTANCE[page_type] if importance is None else importance
    if not 0 <= worth <= 1:
        raise InvalidSetting(f"importance={importance!r} of page {page_id!r} must be from 0 to 1")
    if seqs is not None and not 0 < seqs[0] <= seqs[1]:
        raise InvalidSetting(
            f"seqs={seqs!r} of page {page_id!r} must be (first, last) with 1 <= first <= last"
        )
    text, part, found = _read(page_id, content, caption)
    first, last = seqs or (None, None)
    made_of = found if modality is None else _one_of(Modality, "modality", modality)
    origin = _one_of(Origin, "origin", origin)
    return Page(page_id, text, page_type, made_of, part, float(worth), bool(pinned), origin, first, last)


def _one_of(kind: type[_Choice], name: str, value: object) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise InvalidSetting(f"{name}={value!r} is unknown; use one of {', '.join(kind)}") from None


def _read(
    page_id: str, content: str | Mapping[str, Any] | list[Any], caption: str | None
) -> tuple[str, Mapping[str, Any] | None, Modality]:
    if isinstance(content, str):
        return content, None, Modality.TEXT
    if not isinstance(content, Mapping | list):  # pyright: ignore[reportUnnecessaryIsInstance]  # Users pass anything.
        raise InvalidSetting(
            f"content of page {page_id!r} is of type {type(content).__name__!r}; give text, a content part "
            "such as {'type': 'image_url', ...}, or JSON values"
        )
    kind = content.get("type") if isinstance(content, Mapping) else None
    medium = _MEDIA.get(kind) if isinstance(kind, str) else None
    if medium is None:
        return dump_json(content), None, Modality.STRUCTURED
    return caption or "", cast("dict[str, Any]", jsonable(content)), medium
