"""What a value looks like, without saying what it is.

Arguments become a flat mapping from path to form: `{"city": "word", "days": "int", "filter.kind": "word"}`.
A list's places share one path (`items[].id`), so that calls of different length compare.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from procedural.redaction import is_secret_name, is_secret_value, redact_name

__all__ = ["SECRET", "Leaf", "form_of", "leaves_of", "result_shape", "without_places", "word_value"]

Leaf = str | int | float | bool | None
"""A value at the end of a path; text is cut to 400 characters."""

SECRET: Final = "secret"  # noqa: S105 - the form of a secret, not one

_DEPTH: Final = 6
_LEAVES: Final = 64
_ITEMS: Final = 8
_TEXT: Final = 400
_PARSED: Final = 100_000
_KEYS: Final = 8

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_PLACE: Final = re.compile(r"\[\d+\]")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,19}(?:[ _][A-Za-z-]{1,19}){0,2}")
_FORMS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("blank", re.compile(r"\s*")),
    ("date YYYY-MM-DD", re.compile(r"\d{4}-\d\d-\d\d")),
    ("date YYYY/MM/DD", re.compile(r"\d{4}/\d\d?/\d\d?")),
    ("date D/M/Y", re.compile(r"\d\d?[/.]\d\d?[/.]\d{2,4}")),
    ("timestamp", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,20}")),
    ("time", re.compile(r"\d\d?:\d\d(?::\d\d)?")),
    ("whole number as text", re.compile(r"[+-]?\d+")),
    ("number as text", re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")),
    ("email", re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")),
    ("url", re.compile(r"[a-z][a-z0-9+.-]{1,10}://\S*")),
    ("absolute path", re.compile(r"/\S*|[A-Za-z]:\\\S*")),
    ("id with #", re.compile(r"#\w+")),
    ("uuid", re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")),
    ("upper-case code", re.compile(r"[A-Z0-9]{2,12}")),
    ("id", re.compile(r"(?=\S*\d)[\w-]+")),
    ("relative path", re.compile(r"(?=\S*[/.])[\w./~-]+")),
    ("word", re.compile(r"[^\W\d_]+(?:[-_'][^\W\d_]+)*")),
)


def leaves_of(arguments: object) -> dict[str, Leaf]:
    """The leaves of arguments by path, at most 64, without those whose name says secret.

    A secret's leaf is the text `secret`, and a name that is itself a secret is `_`. Anything is taken: a
    mapping, the JSON text of one, other text, an object. What is no mapping has the path `$`.
    """
    return dict(_leaves("", _parsed(arguments), 0, _Budget(_LEAVES)))


class _Budget:
    """How many leaves may still be read."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _parsed(arguments: object) -> object:
    if isinstance(arguments, bytes | bytearray):
        arguments = bytes(arguments[:_PARSED]).decode("utf-8", "replace")
    if isinstance(arguments, str):
        try:
            loaded = json.loads(arguments) if len(arguments) <= _PARSED else arguments
        except (ValueError, RecursionError):
            loaded = arguments
        return cast("object", loaded) if isinstance(loaded, dict) else arguments
    return {} if arguments is None else arguments


def _leaves(path: str, value: object, depth: int, budget: _Budget) -> Iterator[tuple[str, Leaf]]:
    if depth > _DEPTH or budget.left <= 0:
        return
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            name = str(key) if isinstance(key, str | int | float | bool | None) else type(key).__name__
            shown = "_" if redact_name(name) != name else name[:80]
            inner = f"{path}.{shown}" if path else shown
            if is_secret_name(name):
                yield inner, SECRET
            else:
                yield from _leaves(inner, item, depth + 1, budget)
            if budget.left <= 0:
                return
    elif isinstance(value, list | tuple):
        for place, item in enumerate(cast("Sequence[object]", value)[:_ITEMS]):
            yield from _leaves(f"{path}[{place}]", item, depth + 1, budget)
    elif budget.spend():
        yield path or "$", _leaf(value)


def _leaf(value: object) -> Leaf:
    if isinstance(value, str):
        # `str.__str__` so that a subclass or an enum gives its text.
        text = str.__str__(value)[: _TEXT + 1]
        return SECRET if is_secret_value(text) else text[:_TEXT]
    if value is None or type(value) in (bool, int, float):
        return cast("Leaf", value)
    return f"<{type(value).__name__[:40]}>"


def without_places(path: str) -> str:
    """The path with every index gone: `items[3].id` is `items[].id`."""
    return _PLACE.sub("[]", path)


def form_of(leaf: Leaf) -> str:
    """The short typed form of a leaf: `int`, `date YYYY-MM-DD`, `word`, `text`; `secret` for a secret."""
    if leaf is None:
        return "null"
    if isinstance(leaf, bool):
        return "bool"
    if isinstance(leaf, int | float):
        return "zero" if leaf == 0 else ("negative " if leaf < 0 else "") + type(leaf).__name__
    if leaf == SECRET:
        return SECRET
    return next((name for name, form in _FORMS if form.fullmatch(leaf)), "text")


def word_value(leaf: Leaf) -> str | None:
    """The leaf itself where it can stand for a choice: a bool, or one to three short plain words.

    Numbers, identifiers, codes of more than three letters, paths and text are `None`: they are what a call
    was about.
    """
    if isinstance(leaf, bool):
        return str(leaf).lower()
    if isinstance(leaf, str) and leaf != SECRET and len(leaf) <= 30 and _WORD.fullmatch(leaf):
        return None if leaf.isupper() and len(leaf) > 3 else leaf
    return None


def result_shape(result: Any) -> str:
    """The outline of a result: its type, and of an object up to eight of its keys.

    Costs the same for a small and for a huge result.
    """
    if isinstance(result, Mapping):
        mapping = cast("Mapping[object, object]", result)
        if len(mapping) > _KEYS:
            return "object"
        keys = sorted(str(key) for key in mapping if isinstance(key, str))
        plain = len(keys) == len(mapping) and all(
            _NAME.fullmatch(key) and redact_name(key) == key for key in keys
        )
        return f"object({', '.join(keys)})" if plain else "object"
    if isinstance(result, str):
        return "text" if result.strip() else "blank text"
    if isinstance(result, list | tuple):
        return "list" if cast("Sequence[object]", result) else "empty list"
    if result is None or isinstance(result, bool):
        return "null" if result is None else "bool"
    return "number" if isinstance(result, int | float) else "object"
