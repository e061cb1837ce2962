"""The bill: long conversations replayed call by call through a model of providers' prompt caches.

Every contestant hears the same messages and says what to send at each call. A request is cut into blocks, a
cache model says what of it is read, written or neither, and litellm's price table what that costs. The
replies are the recorded ones, the same for all, and part of the bill. What it forgot stands beside it.
`--data PATH` names other recordings (see `agent_report.recordings`), `--plots DIR` writes SVG files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .agent_report.recordings import Run, load
from .billing import ours, peers
from .billing.contestants import Entry, Everything
from .billing.meters import TARIFFS, Meter, Tariff, Tokens, meters_of
from .billing.pictures import picture_of_bills, picture_of_evidence
from .billing.reader import SUMMARY_TOKENS
from .billing.replay import WINDOW, Replay, replay
from .billing.transcripts import PACES, Kind, Pace, Transcript, transcript_of
from .harness import Figure, Result
from .plots import can_plot

_SAMPLE: Final = Path(__file__).parent / "data"
_LENGTHS: Final = (50, 200, 1000)
_BUDGET: Final = 8_000
_QUICK: Final = (30,)
_QUICK_BUDGET: Final = 3_000
_KINDS: Final[Sequence[Kind]] = ("chat", "agent")
_CHATTY: Final = 3
"""User messages from which a run is a chat."""

_SONNET, _GPT5, _MINI = TARIFFS
_STEADY, _PAUSES = PACES
_BILLED: Final[Sequence[tuple[Tariff, Pace]]] = (
    (_SONNET, _STEADY),
    (_SONNET, _PAUSES),
    (_GPT5, _STEADY),
    (_MINI, _STEADY),
)
_EVERYTHING: Final = Entry("no management", Everything, rounds="defaults")


@dataclass(frozen=True, slots=True)
class _Row:
    """How a contestant fared: its cheapest bill for each model and pace.

    Attributes:
        entry: The contestant.
        replay: Its replay with the first model at the first pace.
        bills: In the order of `_BILLED`.
    """

    entry: Entry
    replay: Replay
    bills: Sequence[Meter]

    @property
    def usd(self) -> float:
        """Dollars with the first model at the first pace."""
        return float(self.bills[0].cost_usd)

    def to_dict(self) -> dict[str, Any]:
        """A line of the table."""
        sonnet, pauses, gpt5, mini = (float(meter.cost_usd) for meter in self.bills)
        evidence = self.replay.evidence
        return {
            "contestant": self.entry.name,
            "sonnet-4-5": f"{sonnet:.2f}",
            "of it summaries": f"{self.bills[0].summary_usd:.2f} ({self.replay.summaries})",
            "with pauses": f"{pauses:.2f}",
            "gpt-5": f"{gpt5:.2f}",
            "gpt-4o-mini": f"{mini:.3f}",
            "largest prompt": f"{self.replay.largest:,}",
            "cached": f"{self.bills[0].read_tokens / self.bills[0].prompt_tokens:.2f}",
            "breakpoints": self.bills[0].habit,
            "facts": f"{self.replay.known}/{len(self.replay.transcript.planted)}",
            "evidence": "" if evidence is None else f"{evidence:.3f}",
        }


async def run(*, quick: bool = False, data: Path | None = None, plots: Path | None = None) -> Result:
    """Replay chats and agents of each length, at documented defaults and at one budget for all."""
    runs, tokens, notes = load(data or _SAMPLE), Tokens(), _notes()
    figures: list[Figure] = []
    lists: dict[str, Sequence[Mapping[str, Any]]] = {}
    if plots is not None and not can_plot():
        notes.append("no plots: pip install matplotlib")
        plots = None
    for kind in _KINDS[-1:] if quick else _KINDS:
        told = _runs_for(runs, kind)
        if not told:
            notes.append(f"no {kind}: none of the recordings is one")
            continue
        for turns in _QUICK if quick else _LENGTHS:
            transcript = transcript_of(told, kind, turns)
            rows = {
                budget: [await _row(entry, transcript, budget, tokens) for entry in _entries(kind, budget)]
                for budget in (None, _QUICK_BUDGET if quick else _BUDGET)
            }
            lists |= {
                _title(transcript, budget, tokens): [row.to_dict() for row in rows[budget]] for budget in rows
            }
        figures += _figures(kind, rows, _replies_usd(transcript, tokens))
        if plots is not None:
            picture_of_bills(plots, kind, _drawn(rows))
            if kind == "agent" and not quick:
                await picture_of_evidence(plots, transcript, _entries(kind, _BUDGET), tokens)
    return Result("bill", figures, notes, lists)


def _drawn(rows: Mapping[int | None, Sequence[_Row]]) -> dict[str, Sequence[float]]:
    """Peers at their defaults, and at the common budget who is drawn at several; all would be too many."""
    by_default, budgeted = rows.values()
    theirs = [row for row in by_default if not row.entry.ours]
    drawn = {f"{row.entry.name}, defaults": row.bills[0].per_turn for row in theirs}
    return drawn | {row.entry.name: row.bills[0].per_turn for row in budgeted if row.entry.swept}


def _runs_for(runs: Sequence[Run], kind: Kind) -> Sequence[Run]:
    if kind == "agent":
        return [run for run in runs if any(message.get("tool_calls") for message in run.messages)]
    return [run for run in runs if sum(message["role"] == "user" for message in run.messages) >= _CHATTY]


def _entries(kind: Kind, budget: int | None) -> Iterable[Entry]:
    round_ = "defaults" if budget is None else "budget"
    entries = (_EVERYTHING, *peers.present(), *ours.ENTRIES)
    return [e for e in entries if e.rounds in ("both", round_) and not (e.clears and kind == "chat")]


async def _row(entry: Entry, transcript: Transcript, budget: int | None, tokens: Tokens) -> _Row:
    """Replay once for all bills, or once for each where what a contestant does depends on the prices."""
    groups = [[each] for each in _BILLED] if entry.by_model else [list(_BILLED)]
    replays: list[Replay] = []
    for group in groups:
        meters = [meter for tariff, pace in group for meter in meters_of([tariff], pace.name)]
        paces = list(dict.fromkeys(pace for _, pace in group))
        replays.append(
            await replay(entry, transcript, budget=budget, meters=meters, paces=paces, tokens=tokens)
        )
    meters = [meter for each in replays for meter in each.meters]
    bills = [
        min(
            (meter for meter in meters if (meter.model, meter.pace) == (tariff.model, pace.name)),
            key=lambda meter: meter.cost_usd,
        )
        for tariff, pace in _BILLED
    ]
    return _Row(entry, replays[0], bills)


def _replies_usd(transcript: Transcript, tokens: Tokens) -> float:
    """What the replies alone cost with the first model: no management of a context can spare them."""
    rate = _SONNET.price("none").rates.output
    assert rate is not None
    return float(rate * sum(tokens.of_answer(step.answer) for step in transcript.steps))


def _title(transcript: Transcript, budget: int | None, tokens: Tokens) -> str:
    limit = "documented defaults" if budget is None else f"at most {budget:,} tokens a request"
    rounds = f", recording begun {transcript.rounds} times" if transcript.rounds > 1 else ""
    replies = _replies_usd(transcript, tokens)
    return f"{transcript.kind}, {transcript.turns:,} turns, {limit} (replies ${replies:.2f}{rounds})"


def _figures(kind: Kind, rows: Mapping[int | None, Sequence[_Row]], replies: float) -> list[Figure]:
    """Ours beside the cheapest peer that keeps within its limit and does not forget; ours knows as much."""
    figures: list[Figure] = []
    for budget, all_rows in rows.items():
        limit = "defaults" if budget is None else f"{budget:,} tokens"
        most = WINDOW if budget is None else budget * _LENIENCE
        fitting = [row for row in all_rows if row.replay.largest <= most and row.replay.recall >= _KNOWING]
        theirs = [row for row in fitting if not row.entry.ours]
        if not theirs:
            continue
        best = min(theirs, key=lambda row: row.usd)
        mine = [row for row in fitting if row.entry.ours and row.replay.known >= best.replay.known]
        if not mine:
            continue
        own = min(mine, key=lambda row: row.usd)
        figures += [
            Figure(
                f"{kind}, {limit}: {own.entry.name}, over {best.entry.name}", own.usd / best.usd, at_most=0.5
            ),
            Figure(f"  {kind}, {limit}: without the replies", (own.usd - replies) / (best.usd - replies)),
        ]
        if own.replay.evidence is not None and best.replay.evidence is not None:
            share = own.replay.evidence / best.replay.evidence
            figures.append(Figure(f"  {kind}, {limit}: evidence visible, over", share, at_least=1))
    return figures


_KNOWING: Final = 0.8
"""Share of the planted facts below which a bill counts as cheap because it forgets."""
_LENIENCE: Final = 1.1
"""Times the budget that a request may have: some peers count in another way, or keep one large message."""


def _notes() -> list[str]:
    told = f"""\
US dollars by litellm's table, replies included; each has the cheapest of five habits of setting breakpoints
tokens by o200k for every model; no tool schemas but that of the recall tool
{_STEADY.tool_s:g} s before a call with tool results, {_STEADY.user_s:g} s before one with a user's message; \
with pauses: {_PAUSES.pause_s / 60:g} min before every {_PAUSES.every}th call
summaries: by a perfect scripted model, {SUMMARY_TOKENS} tokens each, at the price of the host's model
facts: 12 planted ones, asked for after the last turn
evidence: share of the values in calls' arguments that stood in earlier messages and were visible then"""
    return [*told.splitlines(), *(f"peer left out: pip install {package}" for package in peers.missing())]
