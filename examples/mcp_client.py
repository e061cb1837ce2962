"""Recorded conversations for any MCP client: a server over stdio, asked by the SDK's own client.

    python examples/mcp_client.py

Needs no key and no network: `pip install 'longsplice[cli,mcp]'`.
"""

import asyncio
import sys
from pathlib import Path

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from summarizer import SessionManager, open_store

STORE = f"sqlite:///{Path('mcp-example.db').resolve().as_posix()}"
SAID = {3: "My locker is number 318."}


async def record() -> None:
    """A conversation of several segments, as an application would have recorded it."""
    store = open_store(STORE)
    async with SessionManager(
        "trip", store=store, owner="ana", token_threshold=300, segmentation="inline"
    ) as sm:
        for n in range(20):
            await sm.user_says(SAID.get(n, f"Question {n}: how far is it from stop {n} to stop {n + 1}?"))
            await sm.ai_responds(f"From stop {n} to stop {n + 1} it is {n * 3} km.")
    await store.close()


async def events() -> int:
    """How many events the log has."""
    store = open_store(STORE)
    try:
        return len(await store.read("ana", "trip"))
    finally:
        await store.close()


async def main() -> None:
    """Record, then ask the server what an agent would ask it."""
    await record()
    before = await events()
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "summarizer.cli", "mcp", "--store", STORE, "--owner", "ana"],
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    async with Client(server) as client:
        listed = (await client.call_tool("list_sessions")).structured_content
        for one in listed["sessions"]:
            print(f"{one['session_id']}: {one['messages']} messages in {one['segments']} segments")
        found = (await client.call_tool("search_history", {"query": "locker number"})).structured_content
        event = found["hits"][0]["event"]
        span = {"session_id": "trip", "first": event, "last": event}
        read = (await client.call_tool("read_span", span)).structured_content
        print(f'found in event {event}: "{read["messages"][0]["text"]}"')
        print(read["recorded_data"])
    print(f"nothing was written: {await events() == before}")


if __name__ == "__main__":
    asyncio.run(main())
