"""Recorded agent runs through the guard and the memory: what they would have seen, spared and learned.

`--data PATH` names a file or folder of recordings (see `agent_report.recordings`); without it, the sample in
`benchmarks/data` is used. Nothing is called: every answer is the recorded one.
"""

from __future__ import annotations

from pathlib import Path

from .agent_report.figures import figures_of, lists_of
from .agent_report.learning import learn
from .agent_report.recordings import load
from .agent_report.watching import replays, watch
from .harness import Result

_SAMPLE = Path(__file__).parent / "data"


async def run(*, quick: bool = False, data: Path | None = None) -> Result:
    """Report on the recordings; `quick` takes the first three runs."""
    runs = load(data or _SAMPLE)[: 3 if quick else None]
    watched = [watch(each) for each in runs]
    replayed = [replay for each in runs for replay in replays(each)]
    learned = await learn(watched)
    notes = [
        "what failed and what each tool does is declared in benchmarks/agent_report/declared.py",
        "a token is four characters; the guard watches only, so findings say what it would have done",
    ]
    return Result(
        "agent_runs",
        figures_of(watched, replayed, learned),
        notes,
        lists_of(watched, replayed, learned),
    )
