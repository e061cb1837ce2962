"""Ordinary talk to stand between what is planted: made up, or spoken in the licensed recordings."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from .sorts import letters, number, word

__all__ = ["Pair", "recorded_talk", "small_talk"]

Pair = tuple[str, str]
"""What a user asks, and what is answered."""

_SAMPLE: Final = Path(__file__).parents[1] / "data" / "agent_runs.jsonl"
_DIGIT: Final = re.compile(r"\d")
_LONGEST: Final = 1_200


def small_talk(rng: random.Random) -> Iterator[Pair]:
    """Questions on everyday topics with answers of one to five sentences; some hold names and numbers."""
    while True:
        topic, aspect = rng.choice(_TOPICS), rng.choice(_ASPECTS)
        asked = rng.choice(_QUESTIONS).format(topic=topic, aspect=aspect)
        told = [_filled(rng, rng.choice(_ANSWERS), topic, aspect) for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.3:
            asked = f"{asked} {_filled(rng, rng.choice(_ASIDES), topic, aspect)}"
        yield asked, " ".join(dict.fromkeys(told))


def recorded_talk(rng: random.Random) -> Iterator[Pair]:
    """What was said in the recordings of `benchmarks/data`, the digits drawn anew, and small talk.

    The recordings hold 76 exchanges. They come back in a new order, with other numbers, and every second
    pair is small talk. So a long conversation holds many sentences that differ in their numbers alone.
    """
    invented = small_talk(rng)
    while True:
        for asked, answered in rng.sample(_exchanges(), len(_exchanges())):
            yield _renumbered(rng, asked), _renumbered(rng, answered)
            yield next(invented)


@cache
def _exchanges() -> Sequence[Pair]:
    pairs: list[Pair] = []
    with _SAMPLE.open(encoding="utf-8") as lines:
        for line in lines:
            messages: list[dict[str, Any]] = json.loads(line)["messages"]
            spoken = [m for m in messages if m["role"] in ("user", "assistant") and m.get("content")]
            for asked, answered in pairwise(spoken):
                if asked["role"] == "user" and answered["role"] == "assistant":
                    pairs.append((_plain(asked["content"]), _plain(answered["content"])))
    return tuple(dict.fromkeys(pairs))


def _plain(text: str) -> str:
    return text.replace("###STOP###", "").strip()[:_LONGEST] or "Okay."


def _renumbered(rng: random.Random, text: str) -> str:
    return _DIGIT.sub(lambda _: str(rng.randrange(10)), text)


def _filled(rng: random.Random, text: str, topic: str, aspect: str) -> str:
    return text.format(
        topic=topic,
        aspect=aspect,
        name=word(rng),
        n=rng.randrange(2, 90),
        year=rng.randrange(1950, 2025),
        code=f"{letters(rng, 2)}{number(rng, 3)}",
    )


_TOPICS: Final = (
    "sourdough bread",
    "night trains",
    "house plants",
    "bicycle repair",
    "chess openings",
    "old cameras",
    "bird watching",
    "vegetable soup",
    "hiking boots",
    "knitting",
    "board games",
    "black holes",
    "garden ponds",
    "jazz records",
    "mountain huts",
    "spreadsheets",
    "public libraries",
    "coral reefs",
    "sailing knots",
    "street markets",
    "tax history",
    "unit tests",
    "database indexes",
    "city maps",
    "honey bees",
    "wooden toys",
    "language learning",
    "lighthouses",
)
_ASPECTS: Final = (
    "the cost",
    "the weather",
    "storage",
    "cleaning",
    "the first steps",
    "common mistakes",
    "the history",
    "safety",
    "the best season",
    "the vocabulary",
    "maintenance",
    "the tools",
    "patience",
    "noise",
    "the smell",
    "planning",
)
_QUESTIONS: Final = (
    "What should I know about {topic}?",
    "How does {aspect} matter for {topic}?",
    "Tell me something about {topic}.",
    "Is {aspect} a problem with {topic}?",
    "Why do people like {topic} so much?",
    "I was reading about {topic} today.",
    "What would you say about {aspect} when it comes to {topic}?",
    "And {topic}?",
    "Could you explain {topic} to a child?",
)
_ASIDES: Final = (
    "My neighbour {name} talks of nothing else.",
    "I have tried it {n} times at least.",
    "It is raining here.",
    "There was an article on page {n} of the paper.",
    "A friend got into it in {year}.",
    "Not that it matters much.",
    "The magazine had a picture, {code} or so in the index.",
    "I have some time this evening.",
)
_ANSWERS: Final = (
    "People have cared about {topic} for a long time, and {aspect} is a good place to begin.",
    "A study of {year} looked at {n} households and found little difference.",
    "Most beginners think of {aspect} too late, which is easy to put right.",
    "The writer {name} devoted a whole chapter to {topic}.",
    "It depends on what you enjoy: some like the quiet, others the company.",
    "Around {n} percent of those who try it stay with it for more than a year.",
    "In {name} there is a small museum about it, open in summer.",
    "With {topic}, {aspect} makes up for a lot of what is missing elsewhere.",
    "There is a standard reference, numbered {code}, which few have read to the end.",
    "A good rule of thumb is to do a little every week and to write down what worked.",
    "Compared with {year}, {topic} has become much more popular.",
    "One could talk about {aspect} for hours, and some do.",
    "Start small, look at how others do it, and ask {name} or somebody like that if you get stuck.",
    "The short answer is yes, the long one has {n} footnotes.",
)
