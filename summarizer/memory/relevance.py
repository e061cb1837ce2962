"""Which pages bear on a text: BM25 over whole page texts, kept as pages come and go. Pure, in memory."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["Match", "PageIndex", "excerpt", "snippet", "terms_of"]

_K1: Final = 1.2
_B: Final = 0.75
"""Usual constants of BM25 (Robertson and Zaragoza, 2009, section 3.5.2)."""
_COMMON_FROM: Final = 8
"""Pages from which a word in more than half of them is taken to tell nothing."""
_STRETCH: Final = 240
"""Longest piece of a line that an excerpt takes or leaves as one, in characters."""
_WORD: Final = re.compile(r"[^\W_]+(?:[-./_:@#][^\W_]+)*")
_INNER: Final = re.compile(r"[-./_:@#]")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
"""Scripts that write no blanks between words, or glue particles to them: read in pairs of characters."""


class Match(NamedTuple):
    """A page that bears on a query."""

    page_id: str
    score: float
    """Above 0; comparable within one query."""


def terms_of(text: str) -> Iterator[str]:
    """Words, case folded; a composed one (`ORD-17`, `src/app.py`) whole and in its parts."""
    for found in _WORD.finditer(text.casefold()):
        word = found.group()
        if unspaced := _UNSPACED.findall(word):
            yield from (run[i : i + 2] for run in unspaced for i in range(max(1, len(run) - 1)))
            word = _UNSPACED.sub(" ", word).strip()
        parts = _INNER.split(word) if word else []
        yield from (_stem(part) for part in parts if part)
        if len(parts) > 1:
            yield word


def _stem(word: str) -> str:
    """Plural and singular, alike; nothing cleverer, so that nothing is found that is not there."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


class PageIndex:
    """Pages by their words."""

    def __init__(self) -> None:
        self._postings: dict[str, dict[str, int]] = {}
        self._lengths: dict[str, int] = {}
        self._words = 0

    def add(self, page_id: str, text: str) -> None:
        """Index a page that is not in yet."""
        counts = Counter(terms_of(text))
        for term, count in counts.items():
            self._postings.setdefault(term, {})[page_id] = count
        self._lengths[page_id] = counts.total()
        self._words += counts.total()

    def remove(self, page_id: str, text: str) -> None:
        """Take a page out again; `text` is what it was added with."""
        for term in set(terms_of(text)):
            pages = self._postings[term]
            del pages[page_id]
            if not pages:
                del self._postings[term]
        self._words -= self._lengths.pop(page_id)

    def search(self, query: str) -> list[Match]:
        """Pages that share a word with the query, best first, then by id."""
        total = len(self._lengths)
        scores: dict[str, float] = {}
        average = self._words / total if total else 1.0
        for term in dict.fromkeys(terms_of(query)):
            pages = self._postings.get(term, {})
            if not pages or (total >= _COMMON_FROM and len(pages) * 2 > total):
                continue
            weight = math.log(1 + (total - len(pages) + 0.5) / (len(pages) + 0.5))
            for page_id, count in pages.items():
                norm = _K1 * (1 - _B + _B * self._lengths[page_id] / average)
                scores[page_id] = scores.get(page_id, 0.0) + weight * count * (_K1 + 1) / (count + norm)
        matches = [Match(page_id, score) for page_id, score in scores.items()]
        return sorted(matches, key=lambda match: (-match.score, match.page_id))


def snippet(text: str, query: str, most: int = 200) -> str:
    """The stretch of a text, about `most` characters, that holds most words of the query."""
    starts = range(0, max(1, len(text)), most // 2)
    held = list(_held((text[start : start + most] for start in starts), query))
    best = starts[max(range(len(held)), key=lambda i: (len(held[i]), -i))]
    piece = " ".join(text[best : best + most].split())
    return ("..." if best else "") + piece + ("..." if best + most < len(text) else "")


def excerpt(text: str, query: str, most: int, gap: str) -> str:
    """The stretches of a text that bear most on a query, in order, at most `most` characters.

    A word counts for more the fewer stretches hold it. Empty if no stretch holds any.
    """
    pieces = list(_pieces(text))
    held = list(_held(pieces, query))
    spread = Counter(term for terms in held for term in terms)
    scores = {i: sum(1 / spread[term] for term in terms) for i, terms in enumerate(held) if terms}
    kept: set[int] = set()
    for i in sorted(scores, key=lambda i: (-scores[i], i)):
        cost = len(pieces[i]) + len(gap) + 2
        if cost <= most:
            kept.add(i)
            most -= cost
    parts = [("" if i - 1 in kept or not i else f"{gap} ") + pieces[i] for i in sorted(kept)]
    return " ".join(parts)


def _held(pieces: Iterable[str], query: str) -> Iterator[set[str]]:
    """Which words of the query each piece holds. Most pieces are told by a search of text alone."""
    wanted = set(terms_of(query))
    telling = [term for term in wanted if len(term) > 2] or list(wanted)
    for piece in pieces:
        folded = piece.casefold()
        bears = any(term in folded for term in telling)
        yield wanted & set(terms_of(piece)) if bears else set()


def _pieces(text: str) -> Iterator[str]:
    """Lines; long ones in stretches cut at a blank."""
    for line in text.splitlines():
        rest = line.strip()
        while len(rest) > _STRETCH:
            cut = rest.rfind(" ", _STRETCH // 2, _STRETCH) + 1 or _STRETCH
            yield rest[:cut].strip()
            rest = rest[cut:]
        if rest:
            yield rest
