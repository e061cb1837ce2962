"""Which passages answer a query best: BM25 within the conversation, then role and recency. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from ..events import Event
from ..stores.sqlite.postings import Place
from .hits import Way
from .query import Query, asks, sentences, squeezed
from .words import is_function_word, words

__all__ = ["Scored", "candidates", "diverse", "fused", "quotes_in", "rarities", "score_passage"]

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
"""Weight of words that the user only asks with: the query shares them, and the answer seldom does."""
FUSED: Final = 60
"""Reciprocal rank fusion's usual constant. Source: Cormack, Clarke and Buettcher (SIGIR 2009)."""
REPEATED: Final = 0.1
"""Weight of a user's passage that is the very question and little else: asked again, it is no answer."""
BESIDES: Final = 100
"""Most characters beside it in such a passage: room to say that one asks again, and little for an answer."""
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
        words: The passage's own words, those without meaning aside.
        found_by: In which ways it was found.
    """

    event: Event
    text: str
    score: float
    share: float
    quotes: int
    words: frozenset[str] = frozenset()
    found_by: tuple[Way, ...] = ("words",)


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

    weighing: dict[float, list[int]] = {}
    for seq, found in by_event.items():
        if not hidden(seq):
            weighing.setdefault(max(map(sums.__getitem__, found)), []).append(seq)
    best = _spread(weighing, most)
    each = max(OF_ONE, most // max(1, len(best)))
    return [
        place
        for seq in best
        for place in heapq.nlargest(each, by_event[seq], key=lambda place: (sums[place], place))
    ]


def _spread(weighing: Mapping[float, list[int]], most: int) -> list[int]:
    """At most `most` events, those that weigh most first; of many that weigh alike, not all.

    Such a group gives at most half of what is left to give, the newest and the oldest of it: the later
    holds, and the first is where a thing was told. Sixty that repeat a question leave room for its answer.
    """
    chosen: list[int] = []
    rest: list[int] = []
    for weight in sorted(weighing, reverse=True):
        if len(chosen) >= most:
            break
        group = sorted(weighing[weight], reverse=True)
        share = max(OF_ONE, (most - len(chosen)) // 2)
        first = len(group) if len(group) <= share else share - share // 2
        last = max(first, len(group) - share // 2)
        chosen += group[:first] + group[last:]
        rest += group[first:last]
    return [*chosen[:most], *rest[: max(0, most - len(chosen))]]


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
    parts = [(sentence, words(sentence)) for sentence in sentences(text)]
    counts = Counter(chain.from_iterable(found for _, found in parts))
    role = event.message.role if event.message is not None else ""
    told = {word for sentence, found in parts if role != "user" or not asks(sentence) for word in found}
    length = B * sum(counts.values()) / USUAL_WORDS + 1 - B
    score = 0.0
    for word, weight in weights.items():
        if count := counts[word]:
            score += weight * count * (K1 + 1) / (count + K1 * length) * (1 if word in told else ASKED)
    score *= ROLE_WEIGHTS.get(role, 1.0) * (1 + RECENCY * event.seq / max(1, last_seq))
    if role == "user" and _repeats(text, query.question):
        score *= REPEATED
    if quotes and score:
        score += QUOTED * (quotes + quotes_in(text, query))
    telling = frozenset(word for word in counts if not is_function_word(word))
    matched = sum(weight for word, weight in weights.items() if counts[word])
    total = sum(weights.values())
    return Scored(event, text, score, matched / total if total else 0.0, quotes, telling)


def _repeats(text: str, question: str) -> bool:
    """Whether a text is a question, word for word, with little besides."""
    return bool(question) and len(text) - len(question) <= BESIDES and question in squeezed(text)


def diverse(scored: Sequence[Scored], most: int) -> list[Scored]:
    """The passages, best first; each of the first `most` weighs less the more those before it said the same.

    The weight is divided by one and the squared likenesses (Jaccard, of words) to all chosen before: a second
    value of a thing still follows the first, and the tenth repetition comes behind what else there is.
    """
    left = list(scored)
    said = [1.0] * len(left)
    chosen: list[Scored] = []
    while left and len(chosen) < most:
        best = max(range(len(left)), key=lambda at: (left[at].score / said[at], left[at].event.seq))
        one = left.pop(best)
        chosen.append(replace(one, score=one.score / said.pop(best)))
        for at, other in enumerate(left):
            said[at] += _likeness(one.words, other.words) ** 2
    rest = [replace(one, score=one.score / weight) for one, weight in zip(left, said, strict=True)]
    return chosen + sorted(rest, key=lambda one: (one.score, one.event.seq), reverse=True)


def fused(by_words: Sequence[Scored], by_meaning: Sequence[Scored]) -> list[Scored]:
    """Two rankings as one: an event's score is the sum of 1 / (60 + its rank) over those that hold it."""
    found: dict[int, Scored] = {}
    for way, ranking in (("words", by_words), ("meaning", by_meaning)):
        for rank, one in enumerate(ranking, start=1):
            before = found.get(one.event.seq)
            score = 1 / (FUSED + rank)
            if before is None:
                found[one.event.seq] = replace(one, score=score, found_by=(way,))
            else:
                found[one.event.seq] = replace(
                    before, score=before.score + score, found_by=(*before.found_by, way)
                )
    said: dict[str, Scored] = {}
    for one in sorted(found.values(), key=lambda one: (one.score, one.event.seq), reverse=True):
        said.setdefault(one.text, one)
    return list(said.values())


def _likeness(some: frozenset[str], others: frozenset[str]) -> float:
    shared = len(some & others)
    return shared / max(1, len(some) + len(others) - shared)
