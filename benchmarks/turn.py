"""A turn of 200 tokens in memory, beside the tokenizer's own time for its texts; and with counts given."""

from __future__ import annotations

from itertools import count

from summarizer import SessionManager, open_store
from summarizer.meter import counter_for_model

from .harness import Figure, Result, interleaved
from .logs import ANSWER, QUESTION

_MODEL = "gpt-4o-mini"


async def run(*, quick: bool = False) -> Result:
    """Measure a whole turn, each time with new text, so that nothing can be remembered."""
    rounds = 5 if quick else 3000
    counter = counter_for_model(_MODEL)
    counter.load()
    numbers = count()

    async def tokenizer() -> None:
        number = next(numbers)
        counter.count(f"{number} {QUESTION}")
        counter.count(f"{number} {ANSWER}")

    counted, given = _manager(), _manager()

    async def turn() -> None:
        number = next(numbers)
        await counted.turn(f"{number} {QUESTION}", f"{number} {ANSWER}")

    async def turn_with_counts() -> None:
        number = next(numbers)
        await given.turn(f"{number} {QUESTION}", f"{number} {ANSWER}", tokens=(100, 100))

    await turn()
    await turn_with_counts()
    ways = {"tokenizer": tokenizer, "turn": turn, "given": turn_with_counts}
    medians = await interleaved(ways, rounds=rounds)
    size = counter.count(f"1000 {QUESTION}") + counter.count(f"1000 {ANSWER}")
    figures = [
        Figure("tokens of a turn", size, ""),
        Figure("the tokenizer alone", medians["tokenizer"] * 1e6, "us"),
        Figure("a turn", medians["turn"] * 1e6, "us"),
        Figure("a turn over the tokenizer", medians["turn"] / medians["tokenizer"], at_most=1.2),
        Figure("a turn beyond the tokenizer", (medians["turn"] - medians["tokenizer"]) * 1e6, "us"),
        Figure("a turn with tokens= given", medians["given"] * 1e6, "us", at_most=50),
    ]
    return Result("turn", figures)


def _manager() -> SessionManager:
    return SessionManager(store=open_store("memory://"), model=_MODEL, infinite_context=False)
