"""What the model sees instead of a large result: its reference, size, shape and start.

It passes the result on by `$vN` without copying it, or reads a part with `read_value` (see `guards.reading`).
"""

from __future__ import annotations

from typing import Any, Final, cast

from guards.bindings import Binding
from guards.paths import kind_of, member_path, opened
from guards.reading import (
    NEVER_OFFLOADED,
    READ_VALUE,
    Rows,
    TokenCounter,
    clipped,
    estimate_tokens,
    rows_of,
)
from guards.wording import Wording, quoted

__all__ = ["preview", "shape_of"]

_ROW_TOKENS: Final = 60
_KEYS: Final = 24
_DEPTH: Final = 3
_SAMPLE: Final = 1000


def preview(
    binding: Binding,
    *,
    above_tokens: int,
    cap_tokens: int = 500,
    count: TokenCounter = estimate_tokens,
    wording: Wording | None = None,
) -> str | None:
    """What the model sees instead of a large result; `None` if the result may be shown as it is.

    Args:
        binding: The result; its value is held.
        above_tokens: Size up to which a result is shown whole.
        cap_tokens: Size of the preview; its two sentences stand whole under any cap.
        count: Counts tokens.
        wording: The sentences.

    Raises:
        UnresolvedReferenceError: The binding's value is not held.
    """
    if binding.size <= above_tokens or binding.tool_name in NEVER_OFFLOADED:
        return None
    value = binding.value
    body = value if isinstance(value, str) else binding.json_text
    tokens = count(body)
    if tokens <= above_tokens:
        return None
    wording = wording or Wording()
    reference = f"${binding.id}"
    head = wording.say(
        "preview_head",
        tool=quoted(binding.tool_name),
        reference=reference,
        bytes=f"{binding.size:,}",
        tokens=f"{tokens:,}",
    )
    inner = opened(value)
    example = _example(inner)
    use = wording.say(
        "preview_use" if example else "preview_use_whole",
        reference=reference,
        example=reference + example,
        tool=READ_VALUE,
        name=quoted(binding.id),
    )
    left = cap_tokens - count(head) - count(use)
    shape = shape_of(inner) if inner is value else f"text that holds JSON: {shape_of(inner)}"
    shape = clipped(wording.say("preview_shape", shape=shape), left // 2, count)
    return "\n".join([head, shape, *_start(rows_of(inner), left - count(shape), count), use])


def shape_of(value: Any, depth: int = _DEPTH) -> str:
    """A value's type in words: keys of objects, length and item type of lists, lines of text."""
    if isinstance(value, dict):
        return _shape_of_object(cast("dict[str, Any]", value), depth)
    if isinstance(value, list):
        return _shape_of_list(cast("list[Any]", value), depth)
    if not isinstance(value, str) or depth < _DEPTH:
        return kind_of(value)
    lines = value.count("\n") + 1
    return f"text, {lines:,} {'line' if lines == 1 else 'lines'}, {len(value):,} characters"


def _shape_of_object(value: dict[str, Any], depth: int) -> str:
    if not depth:
        return f"object of {len(value)}"
    keys = list(value)[:_KEYS]
    shown = [f"{member_path('', key).removeprefix('.')}: {shape_of(value[key], depth - 1)}" for key in keys]
    if len(value) > len(keys):
        shown.append(f"and {len(value) - len(keys):,} more")
    return "{" + ", ".join(shown) + "}"


def _shape_of_list(value: list[Any], depth: int) -> str:
    if not value:
        return "empty list"
    kinds = sorted({kind_of(item) for item in value[:_SAMPLE]})
    items = shape_of(value[0], depth - 1) if len(kinds) == 1 and depth else " or ".join(kinds)
    return f"list of {len(value):,} x {items}"


def _start(rows: Rows, room: int, count: TokenCounter) -> list[str]:
    """As many first rows, each cut to a line, as there is room for."""
    if rows.unit == "characters":
        return [clipped(rows.read(0, rows.total)[0], room, count)]
    shown: list[str] = []
    for i in range(rows.total):
        row = rows.read(i, i + 1)[0]
        line = clipped(row, _ROW_TOKENS, count)
        line += "..." if len(line) < len(row) else ""
        room -= count(line) + 1
        if room < 0:
            break
        shown.append(line)
    return shown


def _example(value: Any) -> str:
    """A path to a first scalar, to show how one is written."""
    path = ""
    for _ in range(_DEPTH):
        if isinstance(value, dict) and value:
            key, value = next(iter(cast("dict[str, Any]", value).items()))
            path = member_path(path, key)
        elif isinstance(value, list) and value:
            path, value = f"{path}[0]", cast("list[Any]", value)[0]
    return path
