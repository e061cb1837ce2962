"""A process that searches a conversation and prints the seqs of its hits."""

import asyncio
import sys

from summarizer import SessionManager


async def main(url: str, session_id: str, query: str) -> None:
    hits = await SessionManager(session_id, store=url).recall(query)
    print(*(hit.seq for hit in hits))  # noqa: T201 - its answer


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
