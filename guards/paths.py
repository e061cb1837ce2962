"""Paths into JSON values, such as `.items[0]["a b"]`: how they are read, written and walked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, cast

__all__ = [
    "STEP",
    "PathError",
    "Step",
    "compact",
    "kind_of",
    "member_path",
    "opened",
    "parse_path",
    "path_text",
    "put",
    "walk",
]

Step = str | int
"""A key of an object, or an index of a list; a negative index counts from the end."""

STEP: Final = r"""\.\w+|\[(?:-?[0-9]{1,18}|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]"""
"""Regular expression of one step; needs `re.DOTALL`."""

_STEPS: Final = re.compile(STEP, re.DOTALL)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_KINDS: Final[Mapping[type, str]] = {
    dict: "object",
    list: "list",
    str: "text",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}

compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON without spaces, keys in their order."""


class PathError(LookupError):
    """A path leads nowhere.

    Attributes:
        done: The steps that could be taken.
        value: Where they led.
        step: The step that could not be taken.
    """

    def __init__(self, done: tuple[Step, ...], value: Any, step: Step) -> None:
        super().__init__(f"no {path_text((step,))} in {kind_of(value)} at {path_text(done) or 'the top'}")
        self.done = done
        self.value = value
        self.step = step


def parse_path(text: str) -> tuple[Step, ...] | None:
    """The steps of a path such as `.items[0]["a b"]`; `None` if it cannot be read to its end."""
    steps: list[Step] = []
    at = 0
    for match in _STEPS.finditer(text):
        step = _step(match[0])
        if match.start() != at or step is None:
            return None
        at = match.end()
        steps.append(step)
    return tuple(steps) if at == len(text) else None


def _step(text: str) -> Step | None:
    if text[0] == ".":
        return text[1:]
    inner = text[1:-1]
    if inner[0] not in "\"'":
        return int(inner)
    if inner[0] == "'":
        inner = '"' + inner[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        return cast("str", json.loads(inner, strict=False))
    except ValueError:
        return None


def path_text(steps: Sequence[Step]) -> str:
    """The path as `parse_path` reads it: `.key` where the key is a word, `["a b"]` else, `[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else member_path("", step) for step in steps)


def member_path(path: str, key: str) -> str:
    """The path of an object's member: `$.id`, or `$["a b"]` where the key is no plain word."""
    return f"{path}.{key}" if _WORD.fullmatch(key) else f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def walk(value: Any, steps: Sequence[Step]) -> Any:
    """What a path leads to in JSON values; not a copy.

    Text that holds a JSON object or list is walked as that. `.0` is an index in a list.

    Raises:
        PathError: A key or index that is not there, or a step into a scalar.
    """
    for i, step in enumerate(steps):
        try:
            value = _member(opened(value), step)
        except LookupError:
            raise PathError(tuple(steps[:i]), value, step) from None
    return value


def put(value: Any, path: str, item: Any) -> None:
    """Replace what stands at `path`, such as `$.items[0].id`, in JSON values.

    Raises:
        PathError: The path leads nowhere, or is the top.
    """
    steps = parse_path(path.removeprefix("$"))
    if not steps:
        raise PathError((), value, path)
    walk(value, steps)
    walk(value, steps[:-1])[steps[-1]] = item


def _member(value: Any, step: Step) -> Any:
    if isinstance(value, dict) and isinstance(step, str):
        return cast("dict[str, Any]", value)[step]
    if isinstance(value, list):
        if isinstance(step, str) and step.isdecimal() and len(step) < 19:
            step = int(step)
        if isinstance(step, int):
            return cast("list[Any]", value)[step]
    raise LookupError(step)


def opened(value: Any) -> Any:
    """The object or list that a text holds as JSON; any other value itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def kind_of(value: Any) -> str:
    """What a JSON value is, in JSON's words; `text` for a string, `list` for an array."""
    return _KINDS[cast("type[object]", type(value))]
