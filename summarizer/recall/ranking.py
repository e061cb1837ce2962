"""Which passages answer a query best: BM25 within the conversation, then role and recency. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..events import Event
from ..stores.sqlite.postings import Place
from .query import Query, squeezed
from .words import words

__all__ = ["Scored", "candidates", "quotes_in", "rarities", "score_passage"]

K1: Final = 1.2
B: Final = 0.75
"""BM25's usual constants. Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009)."""
USUAL_WORDS: Final = 80
"""Words of a passage that is neither long nor short; one of 1,000 characters of English has about 180."""
ROLE_WEIGHTS: Final[Mapping[str, float]] = {
    "user": 1.2,
    "system": 1.2,
    "developer": 1.2,
    "assistant": 1.0,
    "tool": 0.9,
    "function": 0.9,
}
"""Of two passages that match alike, what the user said goes before what a tool printed."""
RECENCY: Final = 0.2
"""The newest event's score grows by this share, the oldest one's by none: of two values, the later holds."""
ASKED: Final = 0.6
"""Weight of a passage in which the user asks: it shares words with the query, and seldom holds the answer."""
OF_ONE: Final = 3
"""Passages of one event that are candidates at least; more where few events match, and never all for one."""
QUOTED: Final = 1000.0
"""Added for each quote that stands word for word in the event, and again if it stands in the passage: such a
passage goes before all that only share words with the query."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage and how well it matches.

    Attributes:
        event: The event.
        text: The passage.
        score: Above 0.
        share: How much of the query it answers, by the rarity of words, in [0, 1].
        quotes: How many of the query's quotes stand in the event.
    """

    event: Event
    text: str
    score: float
    share: float
    quotes: int


def rarities(query: Query, documents: int, counts: Sequence[int]) -> dict[str, float]:
    """The weight of each word: high where few of the documents hold it (BM25's idf, never below 0)."""
    return {
        word: math.log(1 + (max(documents, count) - count + 0.5) / (count + 0.5))
        for word, count in zip(query.words, counts, strict=True)
    }


def candidates(
    weights: Sequence[float],
    lists: Sequence[Sequence[Place]],
    quoted: Sequence[Sequence[Place]],
    most: int,
    hidden: Callable[[int], bool],
) -> list[Place]:
    """The best places of the `most` events whose words weigh most together in one passage.

    Newer ones go first where they weigh alike, those of quotes before all. An event gives few places where
    many events match: one long result would else stand before all others.
    """
    sums: dict[Place, float] = {}
    for weight, found in zip(weights, lists, strict=True):
        for place in found:
            sums[place] = sums.get(place, 0.0) + weight
    for found in quoted:
        for place in found:
            sums[place] = sums.get(place, 0.0) + QUOTED
    by_event: dict[int, list[Place]] = {}
    for place in sums:
        by_event.setdefault(place[0], []).append(place)

    def rank(place: Place) -> tuple[float, Place]:
        return sums[place], place

    shown = (found for seq, found in by_event.items() if not hidden(seq))
    best = heapq.nlargest(most, shown, key=lambda found: max(map(rank, found)))
    each = max(OF_ONE, most // max(1, len(best)))
    return [place for found in best for place in heapq.nlargest(each, found, key=rank)]


def quotes_in(text: str, query: Query) -> int:
    """How many of the query's quotes stand in a text; it is read whole, so ask once for each event."""
    if not query.quotes:
        return 0
    text = squeezed(text)
    return sum(quote in text for quote in query.quotes)


def score_passage(
    event: Event, text: str, query: Query, weights: Mapping[str, float], last_seq: int, *, quotes: int
) -> Scored:
    """Score one passage of an event in which `quotes` quotes stand; 0 if it holds nothing that is sought."""
    counts = Counter(words(text))
    length = B * sum(counts.values()) / USUAL_WORDS + 1 - B
    score = matched = 0.0
    for word, weight in weights.items():
        count = counts[word]
        if count:
            matched += weight
            score += weight * count * (K1 + 1) / (count + K1 * length)
    role = event.message.role if event.message is not None else ""
    score *= ROLE_WEIGHTS.get(role, 1.0) * (1 + RECENCY * event.seq / max(1, last_seq))
    if role == "user" and text.rstrip().endswith(("?", "\uff1f")):
        score *= ASKED
    if quotes and score:
        score += QUOTED * (quotes + quotes_in(text, query))
    total = sum(weights.values())
    return Scored(event, text, score, matched / total if total else 0.0, quotes)
