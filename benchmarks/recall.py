"""What is still known after segmentations, measured without a judge; see `benchmarks/quality`.

Conversations with planted facts go through the real `SessionManager`, on the memory store, with a
threshold equal to the budget of the context that is looked at, and beside it through other ways of
choosing what a model sees. Recorded agent runs (`--data PATH`: a file or folder; without it the sample
in `benchmarks/data`) show whether the values that the next tool call needs can be seen when it is made.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from .agent_report.recordings import Run, load
from .harness import Result
from .plots import can_plot
from .quality.badges import find
from .quality.evidence import Evidence, weigh
from .quality.generations import GENERATIONS, Case, Tally, measure
from .quality.report import Planting, Report, draw, figures_of, lists_of
from .quality.selections import can_rank

_SAMPLE: Final = Path(__file__).parent / "data"
_SEEDS: Final = {1_000: 4, 2_000: 6, 4_000: 2, 8_000: 2}
"""Conversations of small talk at each budget; a hundred segmentations of 8,000 tokens take a minute each."""
_SERVICE_SEEDS: Final = {2_000: 2, 8_000: 1}
_RANKED: Final = 2
"""Conversations of small talk in which TextRank goes along: it compares every sentence with every other."""
_RANKED_TO: Final = 2_000
_BUDGETS: Final = (1_000, 2_000, 4_000, 8_000)


async def run(*, quick: bool = False, data: Path | None = None, plots: Path | None = None) -> Result:
    """Measure everything, and save plots in a folder; `quick` takes one short conversation and three runs."""
    runs = load(data or _SAMPLE)[: 3 if quick else None]
    cases = [Case(0, 1_000, (1, 5))] if quick else list(_cases())
    budgets = _BUDGETS[:1] if quick else _BUDGETS
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        tallies = [loop.run_in_executor(pool, _measured, case) for case in cases]
        weighed = {b: [loop.run_in_executor(pool, _weighed, each, b) for each in runs] for b in budgets}
        report = Report(_plantings(cases, await asyncio.gather(*tallies)))
        for budget, several in weighed.items():
            report.evidence[budget] = list(await asyncio.gather(*several))
    report.found = await find(runs, 8 if quick else 80, 40 if quick else 950)
    notes = list(_notes(report, runs))
    if plots is not None and (made := draw(report, plots)):
        notes.append(f"plots: {', '.join(path.name for path in made)}")
    return Result("recall", figures_of(report), notes, lists_of(report))


def _cases() -> Iterator[Case]:
    """The long ones first, so that no process idles at the end."""
    for budget, seeds in sorted(_SEEDS.items(), reverse=True):
        ranked = _RANKED if budget <= _RANKED_TO else 0
        yield from (Case(s, budget, GENERATIONS, ranks=s < ranked) for s in range(seeds))
    for budget, seeds in sorted(_SERVICE_SEEDS.items(), reverse=True):
        generations = GENERATIONS if budget <= _RANKED_TO else GENERATIONS[:-1]
        yield from (Case(s, budget, generations, ranks=False, talk="service talk") for s in range(seeds))


def _measured(case: Case) -> Tally:
    return asyncio.run(measure(case))


def _weighed(run: Run, budget: int) -> Evidence:
    return asyncio.run(weigh(run, budget, ranks=budget <= _RANKED_TO))


def _plantings(cases: Sequence[Case], tallies: Sequence[Tally]) -> list[Planting]:
    found: dict[tuple[str, int], Planting] = {}
    for case, tally in sorted(
        zip(cases, tallies, strict=True), key=lambda pair: pair[0].talk != "small talk"
    ):
        key = (case.talk, case.budget)
        before = found.get(key) or Planting(case.talk, case.budget, 0, case.generations, Tally())
        before.tally.join(tally)
        found[key] = Planting(
            case.talk, case.budget, before.conversations + 1, case.generations, before.tally
        )
    return sorted(found.values(), key=lambda each: (each.talk != "small talk", each.budget))


def _notes(report: Report, runs: Sequence[Run]) -> Iterator[str]:
    yield "how presence, staleness and invention are decided: benchmarks/quality/judge.py"
    yield "intervals are Wilson's, 95 %; n counts what was planted, over all conversations"
    yield "BM25 and recall know the question; nothing else does"
    calls = {budget: sum(each.calls for each in several) for budget, several in report.evidence.items()}
    yield f"{len(runs)} recorded runs; calls beyond the budget that need a value: {calls}"
    if not can_rank():
        yield "sumy is not installed (extra `bench`): TextRank left out"
    if not can_plot():
        yield "matplotlib is not installed (extra `bench`): no plots"
