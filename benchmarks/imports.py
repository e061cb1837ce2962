"""Importing each package in a fresh process, beside the import of pydantic alone."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from .harness import Figure, Result

_PACKAGES = ("pydantic", "summarizer", "guards", "procedural")
_PROGRAM = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


async def run(*, quick: bool = False) -> Result:
    """Measure inside each process, so that the interpreter's own start is left out."""
    times: dict[str, list[float]] = {name: [] for name in _PACKAGES}
    for _ in range(2 if quick else 30):
        for name in _PACKAGES:
            command = [sys.executable, "-c", _PROGRAM.format(name)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times[name].append(float(done.stdout))
    medians = {name: median(spent) for name, spent in times.items()}
    beside = medians.pop("pydantic")
    figures = [Figure("import pydantic", beside * 1e3, "ms")]
    for name, spent in medians.items():
        figures += [
            Figure(f"import {name}", spent * 1e3, "ms"),
            Figure(f"import {name} over pydantic", spent / beside, at_most=2),
        ]
    return Result("imports", figures)
