"""`read_value`: the tool by which the model reads on in a result that was too large to show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from guards.errors import UnresolvedReferenceError
from guards.paths import STEP, PathError, compact, member_path, opened, parse_path, walk
from guards.references import Lookup, explain, lost, nearest_names
from guards.wording import Wording, quoted

__all__ = [
    "NEVER_OFFLOADED",
    "READ_VALUE",
    "READ_VALUE_SCHEMA",
    "Rows",
    "TokenCounter",
    "clipped",
    "estimate_tokens",
    "read_value",
    "read_value_schema",
    "rows_of",
]

TokenCounter = Callable[[str], int]
"""Tokens of a text; never more than its bytes in UTF-8."""

READ_VALUE: Final = "read_value"

NEVER_OFFLOADED: Final = frozenset({READ_VALUE})
"""Tools whose results are given whole: what was paged in is not put away again. Their arguments name
bindings, so they are not resolved either: `read_value` takes them as the model wrote them."""

_TARGET: Final = re.compile(
    rf"\$?(?:(?P<name>[A-Za-z0-9_]+)(?P<path>(?:{STEP})*)|\{{(?P<braced>[A-Za-z0-9_]+)(?P<inner>(?:{STEP})*)\}})",
    re.DOTALL,
)
_UNITS: Final = ("items", "lines", "characters")
_AROUND: Final = 60
_MATCHES: Final = 10_000
_CHARACTERS: Final = 16
"""Characters a token, at most, that are tried first when a text is cut."""

_SLACK: Final = 40
"""Tokens kept for the note about a row that was cut."""


def read_value_schema(wording: Wording | None = None) -> dict[str, Any]:
    """The OpenAI tool definition of `read_value`; `ToolSpec.from_schema` reads its flags."""
    words = wording or Wording()
    return {
        "type": "function",
        "function": {
            "name": READ_VALUE,
            "description": words.read_tool,
            "parameters": {
                "type": "object",
                "properties": {
                    "reference": {"type": "string", "description": words.read_tool_reference},
                    "path": {"type": "string", "description": words.read_tool_path},
                    "offset": {"type": "integer", "minimum": 0, "description": words.read_tool_offset},
                    "limit": {"type": "integer", "minimum": 1, "description": words.read_tool_limit},
                    "unit": {"type": "string", "enum": list(_UNITS), "description": words.read_tool_unit},
                    "search": {"type": "string", "description": words.read_tool_search},
                },
                "required": ["reference"],
                "additionalProperties": False,
                "x-read-only": True,
                "x-idempotent": True,
            },
        },
    }


READ_VALUE_SCHEMA: Final[Mapping[str, Any]] = read_value_schema()
"""`read_value_schema` in the default words."""


def estimate_tokens(text: str) -> int:
    """Tokens of a text at four characters each, for where no counter is at hand.

    English prose comes out near; digits, code and other scripts may have two to four times as many.
    """
    return -(-len(text) // 4)


def read_value(
    bindings: Lookup,
    arguments: Mapping[str, Any],
    *,
    cap_tokens: int = 1000,
    count: TokenCounter = estimate_tokens,
    wording: Wording | None = None,
) -> str:
    """Answer a call of the `read_value` tool: a range of a value, or where a text occurs in it.

    Args:
        bindings: What names stand for.
        arguments: As the model wrote them, references not resolved; see `READ_VALUE_SCHEMA`.
        cap_tokens: Size of the answer, 100 or more.
        count: Counts tokens.
        wording: The sentences.

    Returns:
        Text for the model, with the next offset where more follows. A mistake of the model is a sentence
        too, never an error.
    """
    wording = wording or Wording()
    try:
        request = _Request.read(arguments)
        reference, value = _target(bindings, request)
    except UnresolvedReferenceError as error:
        return explain(error, wording)
    except _RefusedError as error:
        return wording.say(
            "read_refused", argument=error.argument, value=quoted(error.value), wanted=error.wanted
        )
    rows = rows_of(value, request.unit) if request.search is None else _matches(value, request.search)
    return _Page(reference, request, rows, cap_tokens, count, wording).text()


class _RefusedError(ValueError):
    """An argument of the model's that cannot be used."""

    def __init__(self, argument: str, value: Any, wanted: str) -> None:
        super().__init__(argument)
        self.argument = argument
        self.value = value
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `read_value`, checked."""

    reference: str
    path: str = ""
    search: str | None = None
    offset: int = 0
    limit: int | None = None
    unit: str | None = None

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> _Request:
        given = {key: value for key, value in arguments.items() if value is not None and value != ""}
        reference = given.get("reference")
        if not isinstance(reference, str):
            raise _RefusedError("reference", reference, "the name of a result, such as v3")
        return cls(
            reference.strip(),
            _text_of(given, "path") or "",
            _text_of(given, "search"),
            _whole(given, "offset", 0) or 0,
            _whole(given, "limit", 1),
            _text_of(given, "unit", _UNITS),
        )


def _text_of(given: Mapping[str, Any], key: str, allowed: Sequence[str] = ()) -> str | None:
    value = given.get(key)
    if value is not None and (not isinstance(value, str) or (allowed and value not in allowed)):
        raise _RefusedError(key, value, " or ".join(allowed) if allowed else "text")
    return value


def _whole(given: Mapping[str, Any], key: str, least: int) -> int | None:
    value = given.get(key)
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is not None and (type(value) is not int or value < least):
        raise _RefusedError(key, value, f"a whole number, {least} or more")
    return value


def _target(bindings: Lookup, request: _Request) -> tuple[str, Any]:
    """The reference as a whole, and what it names."""
    match = _TARGET.fullmatch(request.reference)
    if match is None:
        raise _RefusedError("reference", request.reference, "the name of a result, such as v3")
    name = match["name"] or match["braced"]
    path = request.path.strip().removeprefix("$")
    if path and path[0] not in ".[":
        path = "." + path
    path = (match["path"] or match["inner"] or "") + path
    steps, reference = parse_path(path), f"${name}{path}"
    if steps is None:
        raise UnresolvedReferenceError(reference, (f"${name}",), reason="malformed")
    bound = bindings.lookup(name)
    if bound is None:
        raise UnresolvedReferenceError(reference, nearest_names(name, bindings))
    try:
        return reference, walk(bound.value, steps)
    except PathError as error:
        raise lost(error, reference, f"${name}") from None


@dataclass(frozen=True, slots=True)
class Rows:
    """A value as rows that are counted, and made one by one.

    Attributes:
        unit: `items`, `lines`, `characters` or `matches`.
        total: How many.
        read: The rows from one index to another, as text; characters are one text.
        whole: What `read_value` is given to read a row that was cut to its end; `None` for characters.
    """

    unit: str
    total: int
    read: Callable[[int, int], Sequence[str]]
    whole: Callable[[int], dict[str, Any]] | None = None


def rows_of(value: Any, unit: str | None = None) -> Rows:
    """A value's items, lines or characters: as asked for, else as fits it.

    Text that holds a JSON object or list is read by items, other text by lines, or by characters where it
    has one line only. What has no items is read as text.
    """
    inner = opened(value) if unit in (None, "items") else value
    if isinstance(inner, dict | list):
        pairs = list(_members(cast("dict[str, Any] | list[Any]", inner)))
        return Rows(
            "items",
            len(pairs),
            lambda start, stop: [f"{key}: {compact(item)}" for key, item in pairs[start:stop]],
            lambda i: {"path": pairs[i][0]},
        )
    text = value if isinstance(value, str) else compact(value)
    if unit == "characters" or (unit != "lines" and "\n" not in text):
        return Rows("characters", len(text), lambda start, stop: [text[start:stop]])
    lines = text.split("\n")
    return Rows(
        "lines",
        len(lines) if text else 0,
        lambda start, stop: lines[start:stop],
        lambda i: {"unit": "characters", "offset": sum(len(line) + 1 for line in lines[:i])},
    )


def _members(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((member_path("", key), item) for key, item in value.items())
    return ((f"[{i}]", item) for i, item in enumerate(value))


def _matches(value: Any, search: str) -> Rows:
    """The places where a text occurs in the keys and scalars of a value, or in its lines."""
    pattern = re.compile(re.escape(search), re.IGNORECASE)
    found = list(islice(_occurrences(opened(value), pattern), _MATCHES))
    return Rows("matches", len(found), lambda start, stop: found[start:stop])


def _occurrences(value: Any, pattern: re.Pattern[str]) -> Iterator[str]:
    if isinstance(value, str):
        for i, line in enumerate(value.split("\n")):
            if match := pattern.search(line):
                yield f"line {i}: {_around(line, match)}"
        return
    for path, key, leaf in _leaves(value, "", ""):
        text = leaf if isinstance(leaf, str) else compact(leaf)
        if match := pattern.search(text):
            yield f"{path}: {_around(text, match)}"
        elif pattern.search(key):
            yield f"{path}: {quoted(text)}"


def _leaves(value: Any, path: str, key: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _leaves(item, member_path(path, name), name)
    elif isinstance(value, list):
        for i, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(item, f"{path}[{i}]", key)
    else:
        yield path, key, value


def _around(text: str, match: re.Match[str]) -> str:
    start, stop = max(0, match.start() - _AROUND), match.end() + _AROUND
    cut = text[start:stop].replace("\n", " ")
    return ("..." if start else "") + cut + ("..." if stop < len(text) else "")


@dataclass(frozen=True, slots=True)
class _Page:
    """One answer of `read_value`."""

    reference: str
    request: _Request
    rows: Rows
    cap: int
    count: TokenCounter
    wording: Wording

    def text(self) -> str:
        offset, total, unit = self.request.offset, self.rows.total, self.rows.unit
        reference = quoted(self.reference)
        if not total and self.request.search is not None:
            return self.wording.say("read_no_match", search=quoted(self.request.search), reference=reference)
        if not total:
            return self.wording.say("read_empty", reference=reference, unit=unit)
        if offset >= total:
            return self.wording.say("read_beyond", reference=reference, total=total, unit=unit, offset=offset)
        stop = total if self.request.limit is None else min(total, offset + self.request.limit)
        room = self.cap - self.count(self._head(total)) - self.count(self._next(total)) - _SLACK
        shown, end, note = self._fitting(stop, max(room, _SLACK))
        more = self._next(end) if end < total else ""
        return "\n".join([self._head(end), *shown, *filter(None, (note, more))])

    def _fitting(self, stop: int, room: int) -> tuple[list[str], int, str]:
        """The rows that fit, the index behind the last, and a note if that one is cut."""
        offset = self.request.offset
        if self.rows.unit == "characters":
            body = clipped(self.rows.read(offset, stop)[0], room, self.count)
            return [body], offset + max(1, len(body)), ""
        shown: list[str] = []
        for i in range(offset, stop):
            row = self.rows.read(i, i + 1)[0]
            needed = self.count(row) + 1
            if needed > room and not shown:
                return [clipped(row, room, self.count)], i + 1, self._cut(i)
            if needed > room:
                break
            shown.append(row)
            room -= needed
        return shown, offset + len(shown), ""

    def _cut(self, index: int) -> str:
        """How a row that was cut is read whole; nothing where saying it would take too much room."""
        if self.rows.whole is None:
            return ""
        more = self.rows.whole(index)
        how = {"reference": self.reference[1:] + more.pop("path", ""), **more}
        note = self.wording.say("read_cut", index=index, how=compact(how))
        return note if self.count(note) <= _SLACK else ""

    def _head(self, end: int) -> str:
        request, total = self.request, self.rows.total
        values = {"reference": quoted(self.reference), "first": request.offset, "last": end - 1}
        shown = f"{total} or more" if self.rows.unit == "matches" and total == _MATCHES else str(total)
        if request.search is not None:
            return self.wording.say("read_matches", search=quoted(request.search), total=shown, **values)
        return self.wording.say("read_page", unit=self.rows.unit, total=shown, **values)

    def _next(self, end: int) -> str:
        return self.wording.say("read_next", offset=end)


def clipped(text: str, tokens: int, count: TokenCounter) -> str:
    """The longest head of a text found to be within so many tokens; empty if none is."""
    length = min(len(text), max(0, tokens) * _CHARACTERS)
    while length and (counted := count(text[:length])) > tokens:
        length = min(length - 1, length * max(0, tokens) // counted)
    return text[:length]
