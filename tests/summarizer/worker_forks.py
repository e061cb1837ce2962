"""Fork a conversation again and again, to be killed: argv = URL, file for what was acknowledged."""

import asyncio
import os
import sys

from summarizer import SessionManager


async def run(url: str, acked: int) -> None:
    sm = SessionManager("c", store=url, create=False)
    turns = (await sm.get_stats()).user_messages
    number = 0
    while True:
        number += 1
        fork = await sm.fork(turns=number % (turns + 1))
        os.write(acked, f"\n{fork.session_id};".encode())  # as `acknowledged` reads it


def main(url: str, path: str) -> None:
    asyncio.run(run(url, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))


main(*sys.argv[1:])
