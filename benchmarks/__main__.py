"""`python3 run.py bench [names ...]`: run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .harness import Result, noise, shown

NAMES = (
    "append",
    "context",
    "policies",
    "turn",
    "sqlite_load",
    "redis_load",
    "writers",
    "one_child",
    "resident",
    "imports",
    "agent_runs",
    "guard_calls",
    "recall",
    "recall_speed",
    "recall_bearing",
    "pages",
    "bill",
    "adapters",
    "endpoint",
)
_TAKES = {"data": ("agent_runs", "recall", "pages", "bill"), "plots": ("bill", "recall")}
"""Options that name a path, and the benchmarks that take each."""


async def run(name: str, *, quick: bool, **paths: Path) -> Result:
    """Run one benchmark. `quick` shrinks it to see that it works; its figures then mean nothing."""
    result: Result = await import_module(f".{name}", __package__).run(quick=quick, **paths)
    return result


async def run_all(names: Sequence[str], *, quick: bool, as_json: bool, **paths: Path) -> None:
    """Run benchmarks one after another; each prints as soon as it is done."""
    for name in names:
        result = await run(name, quick=quick, **paths)
        print(result.to_json() if as_json else result.to_table() + "\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="name", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="see that they work; the figures mean nothing")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each benchmark")
    for option, what in (
        ("data", "recorded runs: a file or a folder"),
        ("plots", "a folder to save plots in"),
    ):
        parser.add_argument(f"--{option}", type=Path, help=f"{what}; for {', '.join(_TAKES[option])}")
    given = parser.parse_args(arguments)
    paths = {option: path for option in _TAKES if (path := getattr(given, option)) is not None}
    for option, path in paths.items():
        if len(given.names) != 1 or given.names[0] not in _TAKES[option]:
            takers = " or ".join(_TAKES[option])
            parser.error(f"--{option} {str(path)!r} is for {takers}; name one of these and nothing else")
    if not given.json:
        ratio = asyncio.run(noise(20 if given.quick else 300))
        print(f"Python {platform.python_version()}, {platform.machine()}, two equal ways: {shown(ratio)} x\n")
    asyncio.run(run_all(given.names or NAMES, quick=given.quick, as_json=given.json, **paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
