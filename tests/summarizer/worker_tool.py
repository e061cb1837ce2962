"""One step of a conversation with tools, in a process of its own: argv = URL, file for runs, step, call id.

The steps print a line of JSON; those that run a tool add a line to the file for each run.
"""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.summarizer.tools import session

URL, RUNS, STEP, CALL = sys.argv[1:5]


def ran(what: str) -> None:
    with Path(RUNS).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


async def remove(path: str) -> str:
    ran(f"remove {path}")
    if STEP == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"removed {path}"


async def look(q: int) -> dict[str, int]:
    ran(f"look {q}")
    await asyncio.sleep(0.3)
    return {"q": q, "n": 5}


async def step() -> Any:
    manager = session(URL)
    tools = manager.tools
    if STEP == "ask":
        verdict = await tools.before_call("remove_all", {"path": "/tmp/x"}, CALL)
        return [verdict.action, verdict.reason_code]
    if STEP == "approve":
        verdict = await tools.approve(CALL)
        done = await tools.finish(remove, verdict)
        return [verdict.action, verdict.arguments, done.content]
    if STEP == "flight":
        await tools.open()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        done = await tools.run(look, "look", {"q": 7})
        return [done.verdict.action, done.result]
    done = await tools.run(remove, "remove", {"path": "/tmp/x"}, call_id=CALL)
    return [done.verdict.action, done.verdict.reason_code, done.content]


async def main() -> None:
    print(json.dumps(await step()), flush=True)


asyncio.run(main())
