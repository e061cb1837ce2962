"""Six workers of one process write to a full conversation at once: argv = URL, file for calls, number."""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import os
import sys

from summarizer import SessionManager, settle
from tests.summarizer.talk import soft_only


async def main(url: str, path: str, number: int) -> None:
    calls = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def summarize(_messages: list[dict[str, object]]) -> str:
        os.write(calls, b"asked\n")
        await asyncio.sleep(0.5)
        return "The user had rooms booked for several guests; each booking was made and has its reference."

    managers = [SessionManager("c", store=url, policy=soft_only(), summarizer=summarize) for _ in range(6)]
    await managers[0].get_stats()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(m.user_says(f"me too {10 * number + i}") for i, m in enumerate(managers)))
    await settle()
    os.close(calls)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
