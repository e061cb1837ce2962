"""What the bills look like over the turns, and against what the model could see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..plots import Axes, Points, lines
from .contestants import Entry
from .meters import TARIFFS, Tokens, meters_of
from .replay import replay
from .transcripts import PACES, Kind, Transcript

__all__ = ["picture_of_bills", "picture_of_evidence"]

_BUDGETS: Final = (4_500, 8_000, 12_000, 24_000)
_POINTS: Final = 100
_FROM: Final = 50
"""Up to here everything fits into everybody's requests, and all pay much the same."""


def picture_of_bills(folder: Path, kind: Kind, spent: Mapping[str, Sequence[float]]) -> None:
    """Save what each contestant had spent after each turn from `_FROM` on, the dearest first."""
    dearest_first = sorted(spent.items(), key=lambda named: -named[1][-1])
    step = max(1, len(dearest_first[0][1]) // _POINTS)
    first = min(_FROM, len(dearest_first[0][1])) - 1
    series = {name: list(enumerate(usd, 1))[first::step] for name, usd in dearest_first}
    title = f"The bill of a long conversation ({kind}), {TARIFFS[0].model}"
    lines(folder / f"bill-{kind}.svg", Axes(title, "turn", "US dollars so far", log_y=True), series)


async def picture_of_evidence(
    folder: Path, transcript: Transcript, entries: Iterable[Entry], tokens: Tokens
) -> None:
    """Save bill and evidence at several budgets, for the contestants that can be held to one."""
    series: dict[str, Points] = {}
    for entry in entries:
        if entry.swept:
            series[entry.name] = [await _point(entry, transcript, budget, tokens) for budget in _BUDGETS]
    title = (
        f"Bill and evidence, {transcript.turns:,} turns, {_BUDGETS[0]:,} to {_BUDGETS[-1]:,} tokens a request"
    )
    axes = Axes(title, f"US dollars, {TARIFFS[0].model}", "share of needed values visible")
    lines(folder / "bill-evidence.svg", axes, series, markers=True)


async def _point(entry: Entry, transcript: Transcript, budget: int, tokens: Tokens) -> tuple[float, float]:
    pace = PACES[0]
    meters = meters_of(TARIFFS[:1], pace.name)
    told = await replay(entry, transcript, budget=budget, meters=meters, paces=[pace], tokens=tokens)
    cheapest = min(float(meter.cost_usd) for meter in meters)
    return cheapest, told.evidence or 0
