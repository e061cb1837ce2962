"""Importing each package in a fresh process, beside the import of pydantic alone."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from .harness import Figure, Result

_FIRST_USES = (
    "from summarizer import SessionManager",
    "from guards import ToolGuard",
    "from procedural import ToolMemoryManager",
)
_STATEMENTS = {
    "pydantic": "import pydantic",
    "summarizer": "import summarizer",
    "guards": "import guards",
    "procedural": "import procedural",
    **{statement: statement for statement in _FIRST_USES},
}
_PROGRAM = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


async def run(*, quick: bool = False) -> Result:
    """Measure inside each process, so that the interpreter's own start is left out."""
    times: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    for _ in range(2 if quick else 30):
        for name, statement in _STATEMENTS.items():
            times[name].append(_timed(statement))
    medians = {name: median(spent) for name, spent in times.items()}
    beside = medians.pop("pydantic")
    figures = [Figure("import pydantic", beside * 1e3, "ms")]
    first_uses = {statement: medians.pop(statement) for statement in _FIRST_USES}
    for name, spent in medians.items():
        figures += [
            Figure(f"import {name}", spent * 1e3, "ms"),
            Figure(f"import {name} over pydantic", spent / beside, at_most=2),
        ]
    figures += [Figure(f"{name}, over pydantic", spent / beside) for name, spent in first_uses.items()]
    return Result("imports", figures)


def _timed(statement: str) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(statement)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)
