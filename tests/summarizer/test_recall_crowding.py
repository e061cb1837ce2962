"""What is said often does not hide what was said once."""

import random

import pytest

from summarizer import SessionManager
from summarizer.recall.ranking import Scored, candidates, diverse
from summarizer.stores import EventStore, MemoryStore
from tests.summarizer.test_recall import filled, filled_more

QUESTION = "Which door code has the north gate?"
REPEATS = [
    "Which door code has the north gate?",
    "I asked before: Which door code has the north gate?",
    "Which door code has the north gate? Please look it up, try {}.",
    "You asked which door code the north gate has; I do not know, attempt {}.",
    "the north gate, the door code, line {}",
    "north gate door code",
]


async def crowded(store: EventStore, repeat: str, count: int = 60) -> SessionManager:
    """The fact at the beginning, then talk, then the repetitions."""
    manager = await filled(store, 100)
    await filled_more(store, count, "So.", repeat)
    return manager


@pytest.mark.parametrize("count", [60, 400])
@pytest.mark.parametrize("repeat", REPEATS)
async def test_sixty_messages_that_share_the_words_crowd_the_fact_out(repeat: str, count: int) -> None:
    """However often the question's words are repeated, in whatever sentence, the fact is among the hits."""
    manager = await crowded(MemoryStore(), repeat, count)

    hits = await manager.recall(QUESTION)

    assert 1 in [hit.seq for hit in hits]


async def test_a_question_asked_again_is_no_answer() -> None:
    """Messages that hold the very question stand behind the fact, and are still found by their own words."""
    manager = await crowded(MemoryStore(), "Which door code has the north gate? Try {} of mine.")

    asked = await manager.recall(QUESTION)
    own = await manager.recall("try 17 of mine")

    assert asked[0].text == "The door code of the north gate is AB-7731."
    assert "Try 17 of" in own[0].text


async def test_a_crowded_context_brings_the_fact() -> None:
    """What is brought along unasked keeps a place for the fact, too."""
    manager = await crowded(MemoryStore(), "The north gate, the door code, line {}.")
    await filled_more(manager.store, 120, "Another matter.")
    await manager.user_says(QUESTION)

    context = await manager.context(1500, recall=True)

    assert 1 in context.recalled
    assert "AB-7731" in context.messages[-1]["content"]


async def test_a_changed_fact_comes_with_its_older_values_behind_it() -> None:
    """Values of one thing are alike, and none of them hides the newest."""
    manager = await filled(MemoryStore(), 30)
    for days in (30, 45, 60):
        await manager.user_says(f"The rotation interval is {days} days.")

    hits = await manager.recall("what is the rotation interval?", 3)

    assert [hit.text for hit in hits] == [f"The rotation interval is {days} days." for days in (60, 45, 30)]


async def test_an_aside_with_a_question_does_not_weigh_less_for_it() -> None:
    """Only what stands in the asking sentence counts for less, not the fact before it."""
    manager = await filled(MemoryStore(), 30)
    await manager.user_says("My locker has the number 418. Can you keep that?")
    await manager.user_says("Is there a locker with a number?")

    hits = await manager.recall("locker number", 2)

    assert "418" in hits[0].text


def test_candidates_of_one_weight_are_the_newest_and_the_oldest() -> None:
    """Many events that weigh alike leave room for those that weigh less, and for the first that was said."""
    crowd = [(seq, 0) for seq in range(500, 100, -1)]
    places = candidates([2.0, 1.0], [crowd, [*crowd, (7, 0), (3, 0)]], [], 40, lambda _: False)

    seqs = [seq for seq, _ in places]
    assert len(seqs) == 40
    assert {500, 101, 7, 3} <= set(seqs)
    assert sum(seq > 100 for seq in seqs) == 38


def test_diversity_reorders_and_loses_nothing() -> None:
    """All passages stay, the best stays first, and scores fall from one to the next."""
    rng = random.Random(3)
    manager = [
        Scored(_event(seq), f"{seq}", rng.random() * 9, 1.0, 0, frozenset(rng.sample("abcdefgh", 3)))
        for seq in range(1, 60)
    ]

    ordered = diverse(manager, 20)
    scores = [one.score for one in ordered[:20]]

    assert {one.event.seq for one in ordered} == set(range(1, 60))
    assert ordered[0].event.seq == max(manager, key=lambda one: one.score).event.seq
    assert scores == sorted(scores, reverse=True)


def _event(seq: int):
    from dataclasses import replace

    from summarizer.events import Event, EventKind, Origin
    from summarizer.messages import Message
    from tests.summarizer.histories import AT

    event = Event(EventKind.MESSAGE, f"e{seq}", AT, Origin.USER, 1, Message("user", f"{seq}"))
    return replace(event, seq=seq)
