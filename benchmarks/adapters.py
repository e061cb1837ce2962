"""What each adapter adds to a model call and to a tool call, beside the runtime's own manager.

Whole turns of the real runtime are timed, on a model that answers at once, behind short and long histories,
in CPU time of the process with all its threads. A turn without tools has one model call. A tool call is the
slope between turns whose model asks for one call and for nine, in one answer.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from .harness import Figure, Result, interleaved, shown
from .runtimes.scripting import Talk, Way

LENGTHS = (100, 10_000)
_QUICK = (8, 16)
_LONG = 1_000
"""Items behind which a few turns more change nothing: one conversation will do."""
_FEW, _MANY = 1, 9
"""Tool calls of one answer."""

_RUNTIMES = {
    "plain": (None, None),
    "openai_agents": ("agents", "openai-agents"),
    "strands": ("strands", "strands-agents"),
    "langchain": ("langchain", "langchain"),
    "pydantic_ai": ("pydantic_ai", "pydantic-ai-slim"),
    "google_adk": ("google.adk", "google-adk"),
}
"""Of each module in `runtimes` the import and the distribution that it needs."""
_PEERS = {"openai_agents_context_compaction": "openai-agents-context-compaction"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Median seconds of one way behind one history.

    Attributes:
        turn: A turn with one model call and no tool.
        call: A tool call more in the same answer.
    """

    turn: float
    call: float


Costs = Mapping[int, Mapping[str, Cost]]


async def run(*, quick: bool = False) -> Result:
    """Measure one runtime after the other, all ways of each in turn."""
    lengths = _QUICK if quick else LENGTHS
    figures: list[Figure] = []
    lists: dict[str, Sequence[Mapping[str, Any]]] = {}
    notes = [
        "CPU time of the whole process, threads included; waiting for the disk is not",
        f"a turn has one model call; a tool call is the slope from {_FEW} to {_MANY} calls of an answer",
        "in turn a question, a call, its result and an answer; texts of 100 tokens",
        "ours: SQLite, segments of 8,000 tokens, closed by rules; growth: longest history over shortest",
    ]
    for name, (module, distribution) in _RUNTIMES.items():
        if module is not None and not _is_there(module):
            notes.append(f"left out: pip install {distribution}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The runtimes' own: deprecations and experiments of theirs.
            ways: Sequence[Way] = import_module(f".runtimes.{name}", __package__).WAYS
            costs = {n: await _costs(ways, n, quick=quick) for n in lengths}
        title = name if distribution is None else f"{distribution} {version(distribution)}"
        figures += _added(name, ways, costs)
        lists[f"{title}, ms"] = [_row(way, costs) for way in ways]
    notes += [f"peer left out: pip install {name}" for at, name in _PEERS.items() if not _is_there(at)]
    return Result("adapters", figures, notes, lists)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Its parent is missing.
        return False


async def _costs(ways: Sequence[Way], length: int, *, quick: bool) -> dict[str, Cost]:
    """The medians over several conversations of each way, each of which grows little while it is measured."""
    repeats, rounds = (1, 1) if quick else (1, 5) if length >= _LONG else (3, 6)
    found: dict[str, list[Cost]] = {way.name: [] for way in ways}
    for _ in range(repeats):
        for name, cost in (await _measured(ways, length, rounds)).items():
            found[name].append(cost)
    return {
        name: Cost(median(cost.turn for cost in costs), median(cost.call for cost in costs))
        for name, costs in found.items()
    }


async def _measured(ways: Sequence[Way], length: int, rounds: int) -> dict[str, Cost]:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as closing:
            talks: dict[str, Talk] = {}
            for way in ways:
                talks[way.name] = await way.begin(length, Path(folder))
                closing.push_async_callback(talks[way.name].close)
            turns = {
                f"{name}/{calls}": partial(talk.turn, calls)
                for name, talk in talks.items()
                for calls in (0, _FEW, _MANY)
            }
            spent = await interleaved(turns, rounds=rounds, warm=1, clock=time.process_time)
            for name, talk in talks.items():
                expected = (rounds + 1) * (_FEW + _MANY)
                if talk.script.ran != expected:
                    raise RuntimeError(f"{name}: its tool ran {talk.script.ran} times, not {expected}")
    return {
        name: Cost(spent[f"{name}/0"], (spent[f"{name}/{_MANY}"] - spent[f"{name}/{_FEW}"]) / (_MANY - _FEW))
        for name in talks
    }


def _added(runtime: str, ways: Sequence[Way], costs: Costs) -> list[Figure]:
    """What each of ours adds to the runtime alone behind the longest history, and how its turns grow."""
    bare = next(way.name for way in ways if way.kind == "bare")
    first, longest = min(costs), max(costs)
    figures: list[Figure] = []
    for way in ways:
        if way.kind == "ours":
            ours, alone = costs[longest][way.name], costs[longest][bare]
            name = f"{runtime}, {way.name}"
            figures += [
                Figure(f"{name}: added to a model call", (ours.turn - alone.turn) * 1e3, "ms"),
                Figure(f"{name}: added to a tool call", (ours.call - alone.call) * 1e3, "ms"),
                Figure(f"{name}: turns, growth", ours.turn / costs[first][way.name].turn),
            ]
    return figures


def _row(way: Way, costs: Costs) -> dict[str, str]:
    turns = {n: of[way.name].turn * 1e3 for n, of in costs.items()}
    calls = {n: of[way.name].call * 1e3 for n, of in costs.items()}
    return {
        "": way.kind,
        "way": way.name,
        **{f"turn, {n:,}": shown(spent) for n, spent in turns.items()},
        "growth": shown(turns[max(turns)] / turns[min(turns)]),
        **{f"tool call, {n:,}": shown(spent) for n, spent in calls.items()},
    }
