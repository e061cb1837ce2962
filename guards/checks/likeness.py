"""Whether two calls of a tool ask the same in other words.

Words may differ, facts may not: numbers, paths, identifiers and flags must be equal. So page 2 is not page
1 reworded, and a file is not another file, while `cheap flights to Rome` is `flights to Rome, cheap`. Nor
need `weather in Bern` be `weather in Rome` reworded: other words in one place may name another item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

__all__ = ["Wish", "wish"]

_ENOUGH: Final = 0.5
"""Share of all words that two texts must have in common."""

_MANY: Final = 30
_FEW: Final = 6
_FILLERS: Final = frozenset({"a", "an", "the", "of", "in", "on", "for", "to", "at", "with", "and", "about"})
"""Words that a question may have, in which half may differ, for more is a draft; those that a short one may
have, where the answer says little; and words that do not count in it."""

_LEAVES: Final = 32
_TEXT: Final = 2_000
_STEM: Final = 5
"""Letters by which words are compared, a final `s` left out: `trips` is `trip`."""

_PIECE = re.compile(r"[^\s,;()\"'?!]+")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a call asks: by leaf, the words that may be others, each once, and the facts that may not."""

    words: Mapping[str, tuple[str, ...]]
    facts: frozenset[str]

    def like(self, other: Wish, *, nested: bool = False) -> bool:
        """Whether the other asks the same, in the same or in other words.

        Args:
            other: What another call of the tool asks.
            nested: Accept only a few words more or less, or in another order: what may be believed
                even where the answer says so little that equal ones prove nothing.
        """
        if self.facts != other.facts or self.words.keys() != other.words.keys():
            return False
        near = _nested if nested else _overlap
        return all(
            words == other.words[path] or near(words, other.words[path]) for path, words in self.words.items()
        )

    def another_item(self, other: Wish) -> bool:
        """Whether the other asks the same of something else: a leaf has other words in one place only."""
        return any(_other_item(words, other.words.get(path, ())) for path, words in self.words.items())


def wish(arguments: Mapping[str, Any]) -> Wish | None:
    """What the arguments ask; `None` if they are too many or too long to say."""
    words: dict[str, tuple[str, ...]] = {}
    facts: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", arguments)]
    for path, value in waiting:
        if len(waiting) > _LEAVES:
            return None
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}", item) for key, item in cast("dict[str, Any]", value).items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", item) for i, item in enumerate(cast("list[Any]", value))]
        elif not isinstance(value, str):
            facts.add(f"{path}={value}")
        elif len(value) > _TEXT:
            return None
        else:
            words[path] = _read(path, value, facts)
    return Wish(words, frozenset(facts))


def _read(path: str, text: str, facts: set[str]) -> tuple[str, ...]:
    words: dict[str, None] = {}
    for piece in _PIECE.findall(text):
        bare = piece.strip(".:")
        if bare.isalpha():
            word = bare.lower()
            words[(word[:-1] if len(word) > 3 and word[-1] == "s" else word)[:_STEM]] = None
        elif bare:
            facts.add(f"{path}={bare}")
    return tuple(words)


def _overlap(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    ones, others = set(ours), set(theirs)
    return max(len(ones), len(others)) <= _MANY and len(ones & others) >= _ENOUGH * len(ones | others)


def _other_item(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    one, other = ([word for word in words if word not in _FILLERS] for words in (ours, theirs))
    for end in (0, -1):
        while one and other and one[end] == other[end]:
            del one[end], other[end]
    return bool(one and other) and set(one).isdisjoint(other)


def _nested(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    shorter, longer = sorted((set(ours) - _FILLERS, set(theirs) - _FILLERS), key=len)
    return len(shorter) >= 2 and len(longer) <= _FEW and shorter <= longer
