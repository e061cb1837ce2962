"""The leaves of a call's arguments, and which of them ought to have a source.

Decided by pattern, from the parameter's name, the value's shape and the schema; never by a list of tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from guards.calls import PendingCall
from guards.checks.index import step
from guards.checks.values import date_of, number_of, range_of, unquoted

__all__ = ["Leaf", "Need", "choice", "is_literal", "leaves", "need_of", "steers"]

_LEAVES: Final = 1_000
_DEPTH: Final = 8
_LONGEST: Final = 200
"""Characters of the longest text that may be an identifier or exact text; longer text is prose."""

Schema = Mapping[str, Any]
_NO_SCHEMA: Final[Schema] = {}
_COMPOSED: Final = frozenset({"$ref", "anyOf", "oneOf", "allOf"})


class Need(Enum):
    """Why a leaf ought to have a source."""

    IDENTIFIER = auto()
    NUMBER = auto()
    EXACT = auto()


class Leaf(NamedTuple):
    """A scalar of the arguments.

    Attributes:
        path: Its path, such as `$.items[0].id`.
        name: The nearest key above it.
        top: The parameter that it belongs to.
        value: The scalar.
        source: The reference that it was written as; `None` if it is a literal.
        schema: What the tool's schema says of it; empty if nothing.
    """

    path: str
    name: str
    top: str
    value: Any
    source: str | None
    schema: Schema


def leaves(call: PendingCall, parameters: Schema | None) -> Iterator[Leaf]:
    """The scalars of a call's arguments in their order, at most 1,000.

    What lies in an object or list that a reference put in has that reference as its source.
    """
    root, sources, left = parameters or _NO_SCHEMA, call.sources, _LEAVES
    stack = [Leaf("$", "", "", call.arguments, None, root)]
    while stack and left:
        leaf = stack.pop()
        value, source = leaf.value, leaf.source
        if source is None and sources:
            source = sources.get(leaf.path)
        if isinstance(value, dict):
            for key, item in reversed(cast("dict[str, Any]", value).items()):
                schema = _below(leaf.schema, key, root) if leaf.schema else leaf.schema
                stack.append(Leaf(leaf.path + step(key), key, leaf.top or key, item, source, schema))
        elif isinstance(value, list):
            schema = _below(leaf.schema, None, root) if leaf.schema else leaf.schema
            stack += [
                Leaf(f"{leaf.path}[{i}]", leaf.name, leaf.top, value[i], source, schema)
                for i in range(min(len(cast("list[Any]", value)), left) - 1, -1, -1)
            ]
        else:
            left -= 1
            yield leaf if source is leaf.source else leaf._replace(source=source)


def _below(schema: Schema, key: str | None, root: Schema) -> Schema:
    """The schema of an object's member, or of a list's items (`key` is `None`); empty if it says nothing."""
    for option in _options(schema, root, _DEPTH):
        found = option.get("items") if key is None else (option.get("properties") or _NO_SCHEMA).get(key)
        if key is not None and not isinstance(found, Mapping):
            found = option.get("additionalProperties")
        if isinstance(found, Mapping):
            below = cast("Schema", found)
            return below if _COMPOSED.isdisjoint(below) else {**below, "$root": root}
    return _NO_SCHEMA


def _options(schema: Schema, root: Schema, depth: int) -> Iterator[Schema]:
    """The schema itself and what it is composed of."""
    yield schema
    if depth == 0:
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = root
        for part in reference[2:].split("/"):
            target = cast("Schema", target).get(part) if isinstance(target, Mapping) else None
        if isinstance(target, Mapping):
            yield from _options(cast("Schema", target), root, depth - 1)
    for word in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(word) or ():
            if isinstance(option, Mapping):
                yield from _options(cast("Schema", option), root, depth - 1)


def choice(value: Any, schema: Schema) -> str | None:
    """`default`, `enum` or `const` where the schema itself offers the value."""
    if not schema:
        return None
    for option in _options(schema, schema.get("$root", schema), _DEPTH):
        for word in ("default", "const"):
            if word in option and _same(value, option[word]):
                return word
        if any(_same(value, item) for item in option.get("enum") or ()):
            return "enum"
    return None


def _same(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) is isinstance(right, bool)


class _Role(Enum):
    """What a parameter's name says about its values."""

    NAMES = auto()
    STEERS = auto()
    INVENTS = auto()
    WRITES = auto()
    ANY = auto()


_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NAMING: Final = frozenset({
    "id", "ids", "uuid", "uuids", "guid", "sku", "iban", "isbn", "ssn", "vin", "email", "emails",
    "phone", "zip", "zipcode", "postcode",
})  # fmt: skip
_NUMBERING: Final = frozenset({"number", "numbers", "no", "num", "ref", "reference", "token"})
"""Words that name a thing only behind another, as in `flight_number`."""
_STEERING: Final = frozenset({
    "limit", "page", "pages", "offset", "size", "top", "max", "min", "maximum", "minimum",
    "timeout", "retries", "retry", "temperature", "seed", "depth", "step", "steps", "start", "end",
    "stop", "index", "skip", "per", "batch", "width", "height", "line", "lines", "precision",
    "digits", "decimals", "interval", "delay", "threshold", "port", "workers", "threads",
    "verbosity",
})  # fmt: skip
_INVENTING: Final = frozenset({"idempotency", "nonce", "correlation", "trace"})
_WRITING: Final = frozenset({
    "query", "text", "content", "message", "body", "summary", "title", "description", "note",
    "notes", "reason", "thought", "thoughts", "command", "cmd", "script", "expression", "prompt",
    "comment", "subject", "question", "sql", "regex", "pattern", "path", "file", "filename",
    "filepath", "dir", "directory", "label", "instructions", "explanation", "input", "diff",
    "patch", "search",
})  # fmt: skip


@lru_cache(maxsize=1024)
def _role(name: str) -> _Role:
    words = [word.lower() for word in _CAMEL.split(name) if word]
    if not words:
        return _Role.ANY
    if not _INVENTING.isdisjoint(words):
        return _Role.INVENTS
    if not _STEERING.isdisjoint(words):
        return _Role.STEERS
    if words[-1] in _NAMING or (words[-1] in _NUMBERING and len(words) > 1):
        return _Role.NAMES
    return _Role.WRITES if words[-1] in _WRITING else _Role.ANY


def steers(name: str) -> bool:
    """Whether a parameter's numbers tell a tool how to work (`limit`, `page`), and name nothing."""
    return _role(name) is _Role.STEERS


_REFERENCE: Final = re.compile(r"\$+\{?\s*v\d+\b").match
_EXACT_FORMATS: Final = frozenset(
    {"email", "uuid", "uri", "url", "date", "date-time", "hostname", "ipv4", "ipv6"}
)
_URL: Final = re.compile(r"https?://\S+", re.IGNORECASE).fullmatch
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]+").fullmatch
_PATH: Final = re.compile(r".*[/\\].*|.*\.[A-Za-z][A-Za-z0-9]{0,4}").fullmatch
_TOKEN: Final = re.compile(r"[#@]?[^\W_]+(?:[-_.:#][^\W_]+)*").fullmatch
_HARMLESS: Final = re.compile(
    r"\d{1,2}:\d{2}(?::\d{2})?|v?\d+(?:\.\d+){2,3}\S*|\d+x\d+|\d+[A-Za-z%]{1,3}|[a-z]+\d{1,3}"
).fullmatch
"""Clock times, versions, sizes such as `800x600`, amounts with a unit, names such as `sha256`."""


def is_literal(value: Any) -> bool:
    """Whether a scalar is text or a number that was written out: no bool, no null, no `$vN`."""
    if isinstance(value, str):
        return not value.isspace() and value != "" and not _REFERENCE(value)
    return value is not None and not isinstance(value, bool)


def need_of(leaf: Leaf) -> Need | None:
    """Why the leaf ought to have a source, whatever the tool; `None` if its kind of value needs none."""
    value, role = leaf.value, _role(leaf.name)
    if not is_literal(value) or role is _Role.INVENTS:
        return None
    if isinstance(value, int | float):
        return Need.IDENTIFIER if role is _Role.NAMES and isinstance(value, int) else Need.NUMBER
    if len(value) > _LONGEST or "\n" in value:
        return None
    if "pattern" in leaf.schema or leaf.schema.get("format") in _EXACT_FORMATS:
        return Need.EXACT
    if role is _Role.WRITES:
        return None
    if unquoted(value) or _URL(value):
        return Need.EXACT
    return _need_of_text(value, role)


def _need_of_text(value: str, role: _Role) -> Need | None:
    digits = sum(map(str.isdigit, value))
    if value.isdigit():
        named = role is _Role.NAMES or digits > 4 or (value[0] == "0" and digits > 2)
        return Need.IDENTIFIER if named else Need.NUMBER
    if _EMAIL(value):
        return Need.IDENTIFIER
    if digits and date_of(value):
        return Need.EXACT
    if role is _Role.NAMES and (digits or " " not in value):
        return Need.IDENTIFIER
    if digits and (number_of(value) is not None or range_of(value)):
        return Need.NUMBER
    if not digits or not _TOKEN(value) or _HARMLESS(value) or _PATH(value):
        return None
    upper = any(map(str.isupper, value))
    return Need.IDENTIFIER if digits > 2 or (upper and len(value) > 4) else None
