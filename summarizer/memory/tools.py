"""The paging tools: their schemas, and what is made of a model's arguments. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from . import wording
from .pages import Level
from .wording import VMMode

__all__ = [
    "PAGE_FAULT",
    "PAGING_TOOLS",
    "SEARCH_PAGES",
    "BadArguments",
    "FaultRequest",
    "SearchRequest",
    "tool_schemas",
]

PAGE_FAULT: Final = "page_fault"
SEARCH_PAGES: Final = "search_pages"
PAGING_TOOLS: Final = (PAGE_FAULT, SEARCH_PAGES)

_LEVELS: Final = (Level.FULL, Level.REDUCED, Level.ABSTRACT)
_MOST_FOUND: Final = 10
_FOUND: Final = 5
_MOST_CHARACTERS: Final = 10**12


class BadArguments(Exception):
    """Arguments that a tool cannot serve; the text is for the model."""


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """A `page_fault` call."""

    page_id: str
    level: Level
    offset: int

    @classmethod
    def read(cls, arguments: object) -> FaultRequest:
        """Read a model's arguments.

        Raises:
            BadArguments: With what to correct.
        """
        given = _mapping(arguments)
        level = given.get("level") or Level.FULL.label
        by_label = {one.label: one for one in _LEVELS}
        if not isinstance(level, str) or level not in by_label:
            choices = ", ".join(by_label)
            raise BadArguments(wording.NEEDS_CHOICE.format(name="level", choices=choices))
        offset = _count(given, "offset", 0, 0, _MOST_CHARACTERS)
        return cls(_text(given, "page_id"), by_label[level], offset)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A `search_pages` call."""

    query: str
    limit: int

    @classmethod
    def read(cls, arguments: object) -> SearchRequest:
        """Read a model's arguments.

        Raises:
            BadArguments: With what to correct.
        """
        given = _mapping(arguments)
        return cls(_text(given, "query"), _count(given, "limit", _FOUND, 1, _MOST_FOUND))


def tool_schemas(mode: VMMode) -> tuple[dict[str, Any], ...]:
    """The tools of a mode in the Chat Completions shape; none in PASSIVE."""
    if mode is VMMode.PASSIVE:
        return ()
    levels = {"type": "string", "enum": [one.label for one in _LEVELS], "description": wording.PAGE_LEVEL}
    fault = {
        "page_id": {"type": "string", "description": wording.PAGE_ID},
        "level": levels,
        "offset": {"type": "integer", "minimum": 0, "description": wording.PAGE_OFFSET},
    }
    search = {
        "query": {"type": "string", "description": wording.SEARCH_QUERY},
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": _MOST_FOUND,
            "description": wording.SEARCH_COUNT,
        },
    }
    return (
        _schema(PAGE_FAULT, wording.PAGE_FAULT, fault, "page_id"),
        _schema(SEARCH_PAGES, wording.SEARCH_PAGES, search, "query"),
    )


def _schema(name: str, description: str, properties: dict[str, Any], required: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": [required]}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def _mapping(arguments: object) -> Mapping[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise BadArguments(wording.NOT_JSON) from None
    if not isinstance(arguments, Mapping):
        raise BadArguments(wording.NOT_JSON)
    return cast("Mapping[str, Any]", arguments)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadArguments(wording.NEEDS_TEXT.format(name=name))
    return value.strip()


def _count(given: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadArguments(wording.NEEDS_COUNT.format(name=name, least=least, most=most))
    return value
