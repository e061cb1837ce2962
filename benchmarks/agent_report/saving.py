"""Tokens that references and previews would have saved.

Counted at four characters a token, as `guards` does without a tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from guards.bindings import BindingManager
from guards.calls import canonical_json, parse_arguments
from guards.paths import member_path, opened
from guards.previews import preview
from guards.reading import estimate_tokens

from .watching import Seen, Watched

__all__ = ["References", "previewed", "references"]

_PARTS = 20_000
"""Values of one result that are indexed; a run's larger results are cut there."""


@dataclass(frozen=True, slots=True)
class References:
    """What `$vN` would have spared in one run.

    Attributes:
        values: Texts, numbers, objects and lists that stood in arguments, the outermost copied one for each.
        copied: Those equal to a bound value, or to a part of one.
        argument_tokens: Of all arguments as written.
        saved_tokens: Of those copies that a reference is shorter than.
        shortened: How many these are.
    """

    values: int
    copied: int
    argument_tokens: int
    saved_tokens: int
    shortened: int


def references(watched: Watched) -> References:
    """Look each argument value up among the results that came before it."""
    bound: dict[str, str] = {}
    values = copied = written = saved = shortened = 0
    for seen in watched.calls:
        written += estimate_tokens(seen.call.arguments)
        for value in _copies(parse_arguments(seen.call.arguments), bound):
            values += 1
            reference = bound.get(canonical_json(value))
            if reference is None:
                continue
            copied += 1
            spared = estimate_tokens(json.dumps(value)) - estimate_tokens(json.dumps(reference))
            saved, shortened = saved + max(0, spared), shortened + (spared > 0)
        if seen.record is not None and seen.record.success:
            _bind(seen, bound)
    return References(values, copied, written, saved, shortened)


def previewed(watched: Watched, above_tokens: int) -> tuple[int, int, int]:
    """How many results have a preview at this limit, the tokens spared once, and over all later requests."""
    many = once = sent = 0
    for seen in watched.calls:
        if seen.record is None or not seen.record.success:
            continue
        shown = BindingManager()
        binding = shown.bind(1, seen.call.name, {}, seen.record.result)
        text = preview(binding, above_tokens=above_tokens)
        if text is None:
            continue
        spared = estimate_tokens(str(seen.record.result)) - estimate_tokens(text)
        many, once = many + 1, once + spared
        sent += spared * watched.requests_after.get(seen.call.index, 0)
    return many, once, sent


def _copies(value: Any, bound: dict[str, str]) -> Iterator[Any]:
    """The outermost values that were copied whole, and the scalars outside them; no bools and nulls."""
    if isinstance(value, dict | list) and value:
        if canonical_json(value) in bound:
            yield value
            return
        held = cast("dict[str, Any] | list[Any]", value)
        members = held.values() if isinstance(held, dict) else held
        for member in members:
            yield from _copies(member, bound)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield value


def _bind(seen: Seen, bound: dict[str, str]) -> None:
    """Name the result and all its parts; the newest name counts, as it does for a reader."""
    assert seen.record is not None
    stack: list[tuple[Any, str]] = [(opened(seen.record.result), f"$v{seen.number}")]
    for _ in range(_PARTS):
        if not stack:
            return
        value, path = stack.pop()
        bound[canonical_json(value)] = path
        if isinstance(value, dict):
            stack += [(v, member_path(path, k)) for k, v in cast("dict[str, Any]", value).items()]
        elif isinstance(value, list):
            stack += [(v, f"{path}[{i}]") for i, v in enumerate(cast("list[Any]", value))]
