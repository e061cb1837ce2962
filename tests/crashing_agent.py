"""Runs examples/agent_runtime.py again and again, each time killed after another step.

Prints a line of JSON for each series: the steps that its processes died after, what the last one told, and
what was booked. Forked, since most of a process's time would go into its imports.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import procedural.memory  # noqa: F401 - as below
import summarizer.stores.sqlite
import summarizer.tool_calls  # noqa: F401 - a fork of this process need not import it again
from summarizer import count_tokens

ASK = {"text": "A train to Lyon, please.", "yes": False}
AGREE = {"text": None, "yes": True}


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("agent_runtime", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attempt(agent: ModuleType, crash_after: int, given: dict) -> bool:
    """Run the agent in a process of its own; whether that was killed."""
    pid = os.fork()
    if pid == 0:
        with Path("told.txt").open("a") as told:
            os.dup2(told.fileno(), 1)
        agent.CRASH_AFTER = crash_after
        asyncio.run(agent.main(argparse.Namespace(store="sqlite:///agents.db", **given)))
        sys.stdout.flush()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), code
    return code == 9


def series(agent: ModuleType, folder: Path, *, ask: int = 0, agree: int = 0) -> bool:
    """One conversation, in which the asking or the agreeing process is killed; whether it was."""
    folder.mkdir()
    os.chdir(folder)
    killed = [attempt(agent, ask, ASK), attempt(agent, 0, ASK), attempt(agent, agree, AGREE)]
    for _ in range(2):
        attempt(agent, 0, AGREE)
    told = Path("told.txt").read_text().splitlines()
    died = [line.partition(": ")[2] for line in told if line.startswith("died")]
    answers = [line for line in told if line.startswith("agent: ")]
    row = {"died": died, "answer": answers[-1], "booked": Path("booked.txt").read_text()}
    sys.stdout.write(json.dumps(row) + "\n")
    return any(killed)


def main(path: str, folder: Path) -> None:
    agent = load(path)
    count_tokens("The tokenizer's table is read before the first fork.")
    for phase in ("ask", "agree"):
        step = 1
        while series(agent, folder / f"{phase}{step}", **{phase: step}):
            step += 1


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
