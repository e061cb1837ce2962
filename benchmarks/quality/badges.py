"""What recall finds: facts about people among recorded messages, asked for in other words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from summarizer import SessionManager
from summarizer.stores.memory import MemoryStore

from ..agent_report.recordings import Ran, Run
from .judge import Share, lines_of, stands
from .planted import Planted
from .sorts import letters, number, word

__all__ = ["BUDGETS", "Found", "find"]

BUDGETS: Final = (1_000, 2_000)
_TOLD: Final = (
    ("The badge number of {who} is {value}.", "Which badge does {who} wear?"),
    ("{who} keeps the spare keys in locker {value}.", "Where would I look for {who}'s spare keys?"),
    ("I filed the complaint by {who} under {value}.", "What became of what {who} complained about?"),
    ("{who}'s parcel went out with {value}.", "How can {who} follow the delivery?"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of so many facts.

    Attributes:
        messages: Recorded messages around them.
        first: Of the questions, those whose first hit holds the value.
        five: Those of whose first five hits one holds it.
        contexts: By budget, those whose context holds it, without recall and with it.
    """

    messages: int
    first: Share
    five: Share
    contexts: dict[int, tuple[Share, Share]]


async def find(runs: Sequence[Run], facts: int, messages: int, seed: int = 0) -> Found:
    """Plant facts evenly in recorded messages, and ask for each."""
    rng = random.Random(seed)
    texts = _texts(runs)[:messages]
    manager = SessionManager("badges", store=MemoryStore(), segmentation="inline", token_threshold=8_000)
    planted = [_fact(rng, i) for i in range(facts)]
    places = dict(zip(sorted(rng.sample(range(len(texts)), facts)), planted, strict=True))
    for i, text in enumerate(texts):
        if i in places:
            await manager.user_says(places[i].text)
        await (manager.ai_responds if i % 2 else manager.user_says)(text)
    first = five = Share()
    contexts = {budget: (Share(), Share()) for budget in BUDGETS}
    for each in planted:
        hits = [stands(each, hit.text) for hit in await manager.recall(each.question)]
        first += Share(any(hits[:1]), 1)
        five += Share(any(hits), 1)
    for each in rng.sample(planted, len(planted)):
        await manager.user_says(each.question)
        for budget in BUDGETS:
            without, recalled = contexts[budget]
            contexts[budget] = (
                without + await _shown(manager, each, budget, recall=False),
                recalled + await _shown(manager, each, budget, recall=True),
            )
        await manager.ai_responds("Let me see.")
    return Found(len(texts), first, five, contexts)


async def _shown(manager: SessionManager, each: Planted, budget: int, *, recall: bool) -> Share:
    context = await manager.context(max_tokens=budget, recall=recall)
    return Share(any(stands(each, line) for line in lines_of(context.messages)), 1)


def _texts(runs: Sequence[Run]) -> list[str]:
    """What was said and what tools answered, in order, without system prompts."""
    told: list[str] = []
    for run in runs:
        for step in run.steps():
            if isinstance(step, Ran):
                told.append((step.text or "")[:4_000])
            else:
                told.append(getattr(step, "text", "") if getattr(step, "role", "") != "system" else "")
    return [text for text in told if text.strip()]


def _fact(rng: random.Random, i: int) -> Planted:
    text, question = _TOLD[i % len(_TOLD)]
    who = f"{word(rng)} {word(rng)}"
    value = f"{letters(rng, 1)}{number(rng, 3)}-{word(rng).lower()}{number(rng, 2)}"
    return Planted(
        "fact", text.format(who=who, value=value), (value,), question.format(who=who), 0, labels=(who,)
    )
