"""Fill a conversation, and leave while its summary is being written: argv = URL."""

import asyncio
import sys

from summarizer import SessionManager
from tests.summarizer.talk import SMALL, fill, soft_only


async def main(url: str) -> None:
    asked = asyncio.Event()

    async def summarize(_messages: list[dict[str, object]]) -> str:
        asked.set()
        await asyncio.Event().wait()
        return ""

    manager = SessionManager("c", store=url, policy=soft_only(), summarizer=summarize)
    await fill(manager, SMALL)
    await asked.wait()


asyncio.run(main(sys.argv[1]))
