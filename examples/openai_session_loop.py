"""A tool loop over OpenAI's SDK, streamed: the session gives the messages and takes the answers.

    python examples/openai_session_loop.py          # no key: a scripted model behind a loopback server
    python examples/openai_session_loop.py --real   # with OPENAI_API_KEY

The conversation is kept in shop.db, in the current folder: run it again, and it goes on.
"""

import asyncio
import json
import sys
from typing import Any

from openai import AsyncOpenAI

from guards import ToolSpec
from summarizer import SessionManager, ToolCall
from summarizer.integrations.plain import recorded
from summarizer.testing import LoopbackServer, Prompt, Reply

MODEL = "gpt-4o-mini"
PARAMETERS = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
FUNCTION = {"name": "find_order", "description": "An order by its number.", "parameters": PARAMETERS}
SCHEMAS: Any = [{"type": "function", "function": FUNCTION}]


def find_order(order: str) -> dict[str, Any]:
    return {"order": order, "state": "sent", "items": int(order[-1]) + 1}


async def answer(client: AsyncOpenAI, sm: SessionManager) -> None:
    """One turn: ask, run what is called, ask again, until the model says something."""
    while True:
        messages: Any = await sm.get_messages_for_llm()
        stream = await client.chat.completions.create(
            model=MODEL, messages=messages, tools=SCHEMAS, stream=True, stream_options={"include_usage": True}
        )
        async with recorded(sm, stream) as chunks:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    print(chunk.choices[0].delta.content, end="", flush=True)
        calls = (chunks.message or {}).get("tool_calls", [])
        for call in calls:
            function = call["function"]
            done = await sm.tools.run(find_order, function["name"], function["arguments"], call_id=call["id"])
            print(f"[{done.verdict.action}] ", end="")
        if not calls:
            return


async def talk(client: AsyncOpenAI) -> None:
    settings: Any = {"model": MODEL, "system_prompt": "You serve a shop.", "token_threshold": 500}
    async with SessionManager("shop", store="sqlite:///shop.db", **settings) as sm:
        sm.tools.configure([ToolSpec("find_order", read_only=True)])
        for n in range(10):
            text = f"Where is my order O-{100 + n % 4}?"
            print(f"\nyou: {text}\nshop: ", end="")
            await sm.user_says(text)
            await answer(client, sm)
        stats, context = await sm.get_stats(), await sm.context()
        print(
            f"\n{stats.total_messages} messages, {stats.session_segments} segments, {stats.cost_usd} dollars"
        )
        print(f"the next request has {len(context.messages)} messages and {context.tokens} tokens")


def scripted(prompt: Prompt) -> Reply:
    last = prompt.body["messages"][-1]
    if last["role"] == "tool":
        found = json.loads(last["content"].splitlines()[-1])
        return Reply(
            f"{found['order']} was {found['state']}, {found['items']} items. " + "Anything else? " * 8
        )
    order = json.dumps({"order": last["content"].rpartition(" ")[2].rstrip("?")})
    return Reply(tool_calls=(ToolCall(f"call_{prompt.number}", "find_order", order),))


async def main() -> None:
    if "--real" in sys.argv:
        await talk(AsyncOpenAI())
        return
    async with LoopbackServer(answer=scripted) as server:
        await talk(AsyncOpenAI(base_url=server.openai_url, api_key="none"))


if __name__ == "__main__":
    asyncio.run(main())
