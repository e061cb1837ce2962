"""The report on quality: what is counted under which title, and the plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..harness import Figure
from ..plots import Axes, can_plot, lines
from .badges import Found
from .evidence import Evidence
from .generations import METHODS, Tally
from .judge import Share

__all__ = ["Planting", "Report", "draw", "figures_of", "lists_of"]

_FACTS: Final = ("fact", "number", "name", "changed")
_FREE: Final = ("constraint, blunt", "constraint, oblique")
_TITLES: Final[Mapping[str, tuple[str, ...]]] = {
    "the twelve facts": _FACTS,
    "constraints in documented forms": ("constraint, documented",),
    "constraints in free wording": _FREE,
    "obligations": ("obligation",),
    "false: changed facts whose old value is shown as if it held": ("stale",),
    "changed facts whose old value stands unmarked before the newer one": ("beside",),
}


@dataclass(frozen=True, slots=True)
class Planting:
    """What the conversations of one kind of talk gave at one budget."""

    talk: str
    budget: int
    conversations: int
    generations: Sequence[int]
    tally: Tally


@dataclass(slots=True)
class Report:
    """Everything that was measured."""

    plantings: list[Planting] = field(default_factory=list[Planting])
    evidence: dict[int, list[Evidence]] = field(default_factory=dict[int, list[Evidence]])
    found: Found | None = None


_DOCUMENTED: Final = ("constraint, documented",)


def figures_of(report: Report) -> list[Figure]:
    """The goals, and what was found for each; of several generations the worst."""
    goals = [figure for planting in report.plantings for figure in _goals(planting)]
    return [*goals, *_recalled(report.found)]


def _goals(planting: Planting) -> Iterator[Figure]:
    for method, facts, stale in (("ours, perfect model", 12, 0), ("ours, rules", 10, None)):
        name = f"{planting.talk}, {planting.budget:,} tokens, {method}"
        yield _of_twelve(planting, method, f"{name}: facts of 12", facts)
        yield _percent(planting, method, _DOCUMENTED, f"{name}: documented constraints", least=100)
        yield _percent(planting, method, ("stale",), f"{name}: stale", most=stale)
    yield _invented(planting, f"{planting.talk}, {planting.budget:,} tokens: invented values in notes")


def _of_twelve(planting: Planting, method: str, name: str, least: float) -> Figure:
    """The worst over generations."""
    shares = [planting.tally.share(method, g, *_FACTS) for g in planting.generations]
    worst = min(12 * share.hits / share.of for share in shares if share.of)
    return Figure(name, worst, "", at_least=least)


def _percent(
    planting: Planting,
    method: str,
    groups: Sequence[str],
    name: str,
    *,
    most: float | None = None,
    least: float | None = None,
) -> Figure:
    found = [planting.tally.share(method, g, *groups).percent for g in planting.generations]
    told = [value for value in found if value is not None]
    pick: Callable[[list[float]], float] = min if least is not None else max
    return Figure(name, pick(told) if told else None, "%", at_most=most, at_least=least)


def _invented(planting: Planting, name: str) -> Figure:
    tally = planting.tally
    hits = sum(tally.share(m, g, "invented").hits for m in METHODS for g in planting.generations)
    return Figure(name, hits, "", at_most=0)


def _recalled(found: Found | None) -> list[Figure]:
    if found is None:
        return []
    figures = [
        Figure(f"recall among {found.messages} messages: the first hit holds it", found.first.percent, "%"),
        Figure("recall: one of the first five hits holds it", found.five.percent, "%"),
    ]
    for budget, (without, recalled) in found.contexts.items():
        figures += [
            Figure(f"a context of {budget:,} tokens without recall holds it", without.percent, "%"),
            Figure(f"a context of {budget:,} tokens with recall holds it", recalled.percent, "%"),
        ]
    return figures


def lists_of(report: Report) -> dict[str, list[dict[str, str]]]:
    """A table for each question, methods down and segmentations across."""
    tables: dict[str, list[dict[str, str]]] = {}
    for title, groups in _TITLES.items():
        for planting in report.plantings:
            rows = [_row(planting, method, groups) for method in METHODS]
            told = [row for row in rows if any(cell != "-" for cell in list(row.values())[1:])]
            n = planting.conversations
            tables[f"{title}; {planting.talk}, {planting.budget:,} tokens, {n} conversations"] = told
    if report.evidence:
        tables["values that the next call needs, to be seen when it is made; recorded runs"] = _evidence(
            report.evidence, lambda each: each.shares
        )
        tables["those of them that the newest messages within the budget do not hold"] = _evidence(
            report.evidence, lambda each: each.gone
        )
    return tables


def _row(planting: Planting, method: str, groups: Sequence[str]) -> dict[str, str]:
    cells = {f"after {g}": planting.tally.share(method, g, *groups).told for g in planting.generations}
    return {"method": method} | cells


def _evidence(
    by_budget: Mapping[int, Sequence[Evidence]], shares: Callable[[Evidence], Mapping[str, Share]]
) -> list[dict[str, str]]:
    everything = [each for several in by_budget.values() for each in several]
    rows: list[dict[str, str]] = []
    for method in dict.fromkeys(method for each in everything for method in each.shares):
        row = {"method": method}
        for budget, several in by_budget.items():
            total = sum((shares(each).get(method, Share()) for each in several), Share())
            row[f"{budget:,} tokens"] = total.told
        rows.append(row)
    return rows


def draw(report: Report, folder: Path, *, at: int = 2_000, after: int = 20) -> list[Path]:
    """The plots, if matplotlib is installed: over segmentations, over budgets, and what is false."""
    talk = report.plantings[0].talk if report.plantings else ""
    mine = [planting for planting in report.plantings if planting.talk == talk]
    here = next((planting for planting in mine if planting.budget == at), None)
    if not can_plot() or here is None:
        return []
    made = [folder / f"quality_{name}.svg" for name in ("segmentations", "constraints", "false", "budgets")]
    across = Axes(
        f"Twelve facts, {at:,} tokens",
        "segmentations since",
        "% in the context",
        log_x=True,
        y_limits=(-3, 103),
    )
    _over_generations(made[0], across, here, _FACTS)
    stated = Axes(
        f"Constraints, {at:,} tokens",
        "segmentations since",
        "% in the context",
        log_x=True,
        y_limits=(-3, 103),
    )
    _over_generations(made[1], stated, here, ("constraint, documented", *_FREE))
    false = Axes(
        f"Changed facts, {at:,} tokens", "segmentations since", "% stale", log_x=True, y_limits=(-2, 62)
    )
    _over_generations(made[2], false, here, ("stale",))
    budgets = Axes(
        f"Twelve facts, {after} segmentations later", "tokens of the context", "% in the context", log_x=True,
        y_limits=(-3, 103),
    )  # fmt: skip
    shares = {m: [(p.budget, p.tally.share(m, after, *_FACTS)) for p in mine] for m in METHODS}
    _drawn(made[3], budgets, shares)
    return made


def _over_generations(path: Path, axes: Axes, planting: Planting, groups: Sequence[str]) -> None:
    shares = {m: [(g, planting.tally.share(m, g, *groups)) for g in planting.generations] for m in METHODS}
    _drawn(path, axes, shares)


_BANDS: Final = ("ours, rules", "ours, recall")
"""Methods that are drawn with their intervals; those of all would hide each other."""


def _drawn(path: Path, axes: Axes, shares: Mapping[str, Sequence[tuple[float, Share]]]) -> None:
    known = {name: [(x, share) for x, share in told if share.of] for name, told in shares.items()}
    known = {name: told for name, told in known.items() if told}
    series = {name: [(x, share.percent or 0.0) for x, share in told] for name, told in known.items()}
    bands = {name: [share.interval for _, share in told] for name, told in known.items() if name in _BANDS}
    lines(path, axes, series, bands=bands)
