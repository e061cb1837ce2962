"""A destructive call waits for a person, across a restart; approved, exactly that call runs.

    python examples/confirmation.py             # no key: a scripted agent asks for the deletion, and ends
    python examples/confirmation.py             # what waits is shown, in a new process
    python examples/confirmation.py --approve   # runs that call, once; or --reject "not on a Friday"

The conversation is kept in `confirmation.db`, the buckets that may be deleted in `buckets.json`.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from guards import PermissionPolicy, ToolSpec
from summarizer import SessionManager

BUCKETS = Path("buckets.json")
ASKED = "Delete the bucket with last year's backups."


def stored() -> list[str]:
    return json.loads(BUCKETS.read_text("utf-8")) if BUCKETS.exists() else ["backups-2024", "backups-2025"]


def list_buckets() -> list[str]:
    return stored()


def delete_bucket(bucket: str) -> dict[str, Any]:
    left = [name for name in stored() if name != bucket]
    BUCKETS.write_text(json.dumps(left), "utf-8")
    return {"deleted": bucket, "left": left}


TOOLS = {"list_buckets": list_buckets, "delete_bucket": delete_bucket}
SPECS = (ToolSpec("list_buckets", read_only=True, replay=False), ToolSpec("delete_bucket", destructive=True))


def scripted_model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Stands in for a model: looks, asks for the deletion, and tells what came of it."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    if not results:
        return calling("list_buckets", "{}")
    if len(results) == 1:
        return calling("delete_bucket", '{"bucket": "$v1[1]"}')
    return {"role": "assistant", "content": f"This came of it: {results[-1]}"}


def calling(name: str, arguments: str) -> dict[str, Any]:
    call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def answer(sm: SessionManager) -> None:
    """The agent's loop, up to its answer or to a call that waits for a person."""
    while True:
        message = scripted_model(await sm.get_messages_for_llm())
        await sm.record(message)
        if "tool_calls" not in message:
            print("agent:", message["content"])
            return
        for call in message["tool_calls"]:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            done = await sm.tools.run(TOOLS[name], name, arguments, call_id=call["id"])
            print(f"{name}{arguments}: {done.content}")
        if await sm.tools.waiting_calls():
            return


async def decide(sm: SessionManager, options: argparse.Namespace) -> None:
    """Show what waits; run or refuse it if a person said so."""
    for waiting in await sm.tools.waiting_calls():
        print(f"waiting since {waiting.asked_at:%H:%M}: {waiting.name}({json.dumps(waiting.arguments)})")
        if options.approve:
            verdict = await sm.tools.approve(waiting.call_id, waiting.arguments)  # durable before it runs
            done = await sm.tools.finish(TOOLS[waiting.name], verdict)
            print(f"ran {waiting.name}: {done.content}")
        elif options.reject is not None:
            verdict = await sm.tools.reject(waiting.call_id, options.reject)
            print(verdict.message)
    if options.approve or options.reject is not None:
        await answer(sm)
    else:
        print("say --approve or --reject")


async def main(options: argparse.Namespace) -> None:
    async with SessionManager(options.chat, store=options.store) as sm:
        sm.tools.configure(SPECS, permissions=PermissionPolicy(confirm_destructive=True))
        if await sm.tools.waiting_calls():
            await decide(sm, options)
        else:
            await sm.user_says(ASKED)
            await answer(sm)
    print("buckets:", ", ".join(stored()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--approve", action="store_true", help="let the waiting call run")
    parser.add_argument("--reject", metavar="REASON", help="refuse it")
    parser.add_argument("--chat", default="cleaning", help="id of the conversation")
    parser.add_argument("--store", default="sqlite:///confirmation.db", help="where it is kept")
    asyncio.run(main(parser.parse_args()))
