"""Virtual memory: what pages cost, alone and in a session, what they hold, and what is to be seen with them.

`--data PATH` names recorded runs (see `agent_report.recordings`); without it, the sample in `benchmarks/data`
is used. Before each tool call of a run, the values that its arguments need are looked for in the context.
"""

from __future__ import annotations

import random
import re
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from summarizer import EventStore, SessionManager, TokenLimitExceeded, open_store
from summarizer.memory import MemoryManager, WorkingSetConfig
from summarizer.meter import counter_for_model
from summarizer.stores.memory import MemoryStore

from .agent_report.recordings import Ran, Run, load
from .agent_report.recordings import Said as Spoken
from .append import LENGTHS
from .harness import Figure, Result
from .logs import ANSWER, grown, message_event
from .quality.evidence import needed_values

_SAMPLE = Path(__file__).parent / "data"
_BUDGET = 8_000
_PAGES = 10_000
_WORDS = 120
_OPEN_EVENTS = 160
"""Messages of 100 tokens in the open segment: twice the budget."""
_BUDGETS = (1_500, 2_000, 2_500, 4_000)
_LONGEST = 60_000
"""Characters of a recorded result that are taken over; few are larger."""
_WAYS: Mapping[str, Mapping[str, Any]] = {
    "newest messages": {},
    "pages": {"enable_vm": True},
    "pages and recall": {"enable_vm": True, "recall": True},
}


async def run(*, quick: bool = False, data: Path | None = None) -> Result:
    """Measure the manager alone, then in a session, then on recorded runs."""
    runs = load(data or _SAMPLE)[: 3 if quick else None]
    lengths, rounds = ((60, 200), 3) if quick else (LENGTHS, 30)
    figures = await _alone(200 if quick else _PAGES, rounds)
    figures += await _in_a_session(lengths, rounds)
    seen, notes = await _evidence(runs, _BUDGETS[:2] if quick else _BUDGETS)
    notes = [
        f"alone: pages of {_WORDS} words; in a session: {_OPEN_EVENTS} open messages; {_BUDGET:,} tokens",
        "held: what the pages of one context keep in memory, the conversation's events aside (tracemalloc)",
        *notes,
    ]
    return Result("pages", figures + seen, notes)


async def _alone(pages: int, rounds: int) -> list[Figure]:
    """Medians of `MemoryManager`'s calls with many pages."""
    draw = random.Random(7)
    vm = MemoryManager("bench", config=WorkingSetConfig(max_l0_tokens=_BUDGET))
    start = time.process_time()
    made = [vm.create_page(_text(draw, n)) for n in range(pages)]
    spent = (time.process_time() - start) / pages
    for page in made[:200]:
        await vm.add_to_working_set(page)
    others = iter(made[200:] * 3)

    async def build(**given: Any) -> None:
        vm.build_context("You are helpful.", **given)

    async def let_in() -> None:
        await vm.add_to_working_set(next(others, made[0]))

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "let one in": let_in,
        "build a prompt": build,
        "build it for a question": partial(build, question=f"what of item {pages // 2} and its delivery?"),
    }
    figures = [Figure(f"alone, {pages:,} pages: make one", spent * 1e3, "ms CPU")]
    times = await _cpu(ways, rounds)
    return figures + [Figure(f"  {name}", median(took) * 1e3, "ms CPU") for name, took in times.items()]


async def _in_a_session(lengths: Sequence[int], rounds: int) -> list[Figure]:
    """A context with pages behind histories of each length: the first one, the next ones, what they hold."""
    store = open_store("memory://bench-pages")
    first: dict[int, tuple[float, float]] = {}
    ways: dict[str, Callable[[], Awaitable[object]]] = {}
    for n in lengths:
        root = await grown(store, n, open_events=_OPEN_EVENTS)
        manager = SessionManager(root, store=store, enable_vm=True)
        plain = SessionManager(root, store=store)
        first[n] = await _held(manager, plain)
        ways[f"{n:,}: as before"] = partial(manager.context, _BUDGET)
        ways[f"{n:,}: one turn more"] = partial(_one_turn_more, store, root, manager)
        ways[f"{n:,}: without pages"] = partial(_one_turn_more, store, root, plain)
    times = await _cpu(ways, rounds)
    figures: list[Figure] = []
    for n in lengths:
        spent, held = first[n]
        figures.append(Figure(f"in a session behind {n:,} events: the first context", spent * 1e3, "ms CPU"))
        figures.append(Figure("  held by its pages", held / 1024, "KiB"))
        figures += [
            Figure(f"  {way}", median(times[f"{n:,}: {way}"]) * 1e3, "ms CPU")
            for way in ("as before", "one turn more", "without pages")
        ]
        slid = max(times[f"{n:,}: one turn more"])
        figures.append(Figure("  the window sliding, the slowest", slid * 1e3, "ms CPU"))
    return figures


async def _cpu(ways: Mapping[str, Callable[[], Awaitable[object]]], rounds: int) -> dict[str, list[float]]:
    """Seconds of this process's CPU for each way, run in turn: a crowded machine changes little."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            await way()
            times[name].append(time.process_time() - start)
    return times


async def _held(manager: SessionManager, plain: SessionManager) -> tuple[float, float]:
    """Seconds of CPU of the first context, and the bytes that its pages keep."""
    await plain.context(_BUDGET)  # So that the conversation itself is at hand.
    start = time.process_time()
    await manager.context(_BUDGET)
    spent = time.process_time() - start
    cold = SessionManager(manager.session_id, store=manager.store, enable_vm=True)
    tracemalloc.start()
    await cold.context(_BUDGET)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return spent, held


async def _one_turn_more(store: EventStore, root: str, manager: SessionManager) -> None:
    """A turn of another worker's and a context; the write is in the figure."""
    await store.append(
        None, root, [message_event("user", "And what of it?", 5), message_event("assistant", ANSWER)]
    )
    await manager.context(_BUDGET)


async def _evidence(runs: Sequence[Run], budgets: Sequence[int]) -> tuple[list[Figure], list[str]]:
    """Of the values that the next call needs, the share to be seen, where a run has outgrown the budget."""
    figures: list[Figure] = []
    for budget in budgets:
        seen, wanted = dict.fromkeys(_WAYS, 0), 0
        for each in runs:
            found, values = await _replayed(each, budget)
            wanted += values
            seen = {way: seen[way] + found[way] for way in seen}
        for way, count in seen.items():
            share = 100 * count / wanted if wanted else None
            figures.append(Figure(f"{budget:,} tokens, {wanted} values: {way}", share, "%"))
    notes = [f"{len(runs)} recorded runs, no segmentation, system prompts aside; see --data"]
    return figures, notes


async def _replayed(run: Run, budget: int) -> tuple[dict[str, int], int]:
    store, count = MemoryStore(), counter_for_model(None).count
    given = {way: {k: v for k, v in chosen.items() if k != "recall"} for way, chosen in _WAYS.items()}
    managers = {way: SessionManager("run", store=store, **chosen) for way, chosen in given.items()}
    writer = managers["newest messages"]
    seen, wanted, source, tokens = dict.fromkeys(_WAYS, 0), 0, "", 0
    for step in run.steps():
        if isinstance(step, Ran):
            values = needed_values(step.call.arguments, source) if tokens > budget else []
            wanted += len(values)
            for way, manager in managers.items() if values else ():
                text = await _context(manager, budget, recall="recall" in _WAYS[way])
                seen[way] += sum(bool(re.search(rf"(?<!\w){re.escape(v)}(?!\w)", text)) for v in values)
            result = (step.text or "")[:_LONGEST]
            await writer.tool_used(step.call.name, step.call.arguments, result)
            source, tokens = f"{source}\n{result}", tokens + count(result) + count(step.call.arguments)
        elif isinstance(step, Spoken) and step.role in ("user", "assistant"):
            await (writer.user_says(step.text) if step.role == "user" else writer.ai_responds(step.text))
            source = f"{source}\n{step.text}" if step.role == "user" else source
            tokens += count(step.text)
    return seen, wanted


async def _context(manager: SessionManager, budget: int, *, recall: bool) -> str:
    try:
        context = await manager.context(budget, recall=recall)
    except TokenLimitExceeded:
        return ""
    calls = [call for message in context.messages for call in message.get("tool_calls") or ()]
    # In a record of pages, as a model reads it, a line of text ends with an escape.
    texts = [str(message.get("content") or "").replace("\\n", "\n") for message in context.messages]
    return "\n".join([*texts, *(str(call["function"]["arguments"]) for call in calls)])


def _text(draw: random.Random, number: int) -> str:
    words = [f"w{min(int(draw.paretovariate(0.7)), 20_000)}" for _ in range(_WORDS - 6)]
    return f"Item {number} has code C-{number * 7} for delivery. " + " ".join(words)
