"""Your own summarizer, in the two shapes there are, and what becomes of one that fails.

python examples/custom_summarizer.py
"""

import asyncio
import re
from dataclasses import replace
from typing import Any

from summarizer import Entry, EntryKind, Origin, SessionManager, Summary, SummaryRequest
from summarizer.summary import ExtractiveSummarizer


def first_sentences(messages: list[dict[str, Any]]) -> str:
    """A function: its text becomes the narrative; rules fill the ledger all the same."""
    said = [str(m["content"]).split(".")[0] for m in messages if m["role"] == "user"]
    return f"The user ordered parts, the newest request: {said[-1]}."


class NewestMachine:
    """An object: it sees the events themselves and returns a whole `Summary`.

    What it adds is checked like a model's word: an entry needs sources, and a value that stands in none
    of them becomes `[unverified]`. What the rules protect stays, even if it is left out here.
    """

    async def summarize(self, request: SummaryRequest) -> Summary:
        summary = await ExtractiveSummarizer().summarize(request)
        newest = next(
            e for e in reversed(request.events) if e.message is not None and e.message.role == "user"
        )
        assert newest.message is not None
        found = re.search(r"machine \d+", newest.message.text)
        machine = found.group() if found else "no machine"
        added = Entry(
            f"e{summary.next_entry}",
            EntryKind.FACT,
            f"Last ordered for: {machine}",
            (newest.seq,),
            Origin.USER,
        )
        return replace(summary, entries=(*summary.entries, added), next_entry=summary.next_entry + 1)


def broken(_: list[dict[str, Any]]) -> str:
    """Fails; rules write the summary instead, and the log says so."""
    raise RuntimeError("the summary service is down")


async def try_out(summarizer: object) -> None:
    async with SessionManager(store="memory://", token_threshold=400, summarizer=summarizer) as sm:
        for n in range(1, 31):
            await sm.user_says(f"Part P-{100 + n} for machine {n % 4}. Deliver it to hall {n % 3}.")
            await sm.ai_responds(f"Part P-{100 + n} is ordered.")
            await sm.settle()
    newest = (await sm.segments())[-1].summary
    assert newest is not None
    name = getattr(summarizer, "__name__", type(summarizer).__name__)
    print(f"== {name}: written by {newest['summary']['writer']}")
    print(newest["seed"])


async def main() -> None:
    for summarizer in (first_sentences, NewestMachine(), broken):
        await try_out(summarizer)


if __name__ == "__main__":
    asyncio.run(main())
