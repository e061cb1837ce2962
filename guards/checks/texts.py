"""Monologue and chanting: an assistant that writes the same over and over."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Texts", "chanted"]

_KEPT: Final = 4
"""Texts with which a new one is compared, so that alternation is seen too."""

_LENGTH: Final = 20_000
"""Characters of one text that are looked at: the last ones."""

_WORDS: Final = 300
_ALIKE: Final = 0.9
"""Words compared of two texts, and the share of neighbouring pairs they must have in common."""

_SHORT: Final = 20
"""Characters below which a text, such as `Done.`, may well come again."""

_CHANT: Final = 6
_CHANT_SHARE: Final = 0.5
_CHANT_WORDS: Final = 24
"""Times that a phrase must come, the share of the text it must fill, and its words at most."""

_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"[.!?\n]+")


class Texts:
    """How often the assistant wrote the same since something else happened."""

    def __init__(self) -> None:
        self._last: deque[frozenset[str]] = deque(maxlen=_KEPT)
        self.count = 0
        self.chant = 0

    def add(self, text: str) -> None:
        """The assistant wrote this."""
        self.chant = chanted(text)
        if self.chant:
            self.count += 1
            return
        if len(text.strip()) < _SHORT:
            return
        pairs = _pairs(text)
        if any(_alike(pairs, before) for before in self._last):
            self.count += 1
        else:
            self.count = 1
        self._last.append(pairs)

    def clear(self) -> None:
        """Something else happened."""
        self._last.clear()
        self.count = self.chant = 0

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        return {"last": [sorted(p) for p in self._last], "count": self.count, "chant": self.chant}

    def restore(self, value: Mapping[str, Any]) -> None:
        """Take what `snapshot` gave."""
        self._last.extend(frozenset(str(pair) for pair in pairs) for pairs in value["last"])
        self.count, self.chant = int(value["count"]), int(value["chant"])


def chanted(text: str) -> int:
    """How often a text repeats one phrase, if most of it does nothing else; else 0.

    A phrase is a sentence or line of three words or more, or whatever the end of the text repeats.
    """
    text = text[-_LENGTH:].lower()
    words = _WORD.findall(text)
    if len(words) < _CHANT * 3:
        return 0
    return _sentences(text, len(words)) or _ending(words)


def _sentences(text: str, words: int) -> int:
    found = Counter(tuple(_WORD.findall(sentence)) for sentence in _SENTENCE.split(text))
    most, times = max(found.items(), key=lambda pair: pair[1] * len(pair[0]))
    return times if times >= _CHANT and len(most) >= 3 and times * len(most) >= words * _CHANT_SHARE else 0


def _ending(words: list[str]) -> int:
    for period in range(1, _CHANT_WORDS + 1):
        run = period
        while run < len(words) and words[-1 - run] == words[-1 - run + period]:
            run += 1
        times = run // period
        least = _CHANT if period > 2 else 3 * _CHANT
        if times >= least and run >= len(words) * _CHANT_SHARE:
            return times
    return 0


def _pairs(text: str) -> frozenset[str]:
    words = _WORD.findall(text.lower())[:_WORDS]
    return frozenset(f"{a} {b}" for a, b in zip(words, [*words[1:], "."], strict=True))


def _alike(ours: frozenset[str], theirs: frozenset[str]) -> bool:
    return bool(ours or theirs) and len(ours & theirs) >= _ALIKE * len(ours | theirs)
