"""A tool loop over Anthropic's SDK, streamed: the session gives the messages and takes the answers.

    python examples/anthropic_loop.py          # no key: a scripted model behind a loopback server
    python examples/anthropic_loop.py --real   # with ANTHROPIC_API_KEY

The conversation is kept in claude.db, in the current folder: run it again, and it goes on.
"""

import asyncio
import json
import sys
from typing import Any

from anthropic import AsyncAnthropic

from guards import ToolSpec
from summarizer import SessionManager, ToolCall
from summarizer.integrations.plain import anthropic_messages, recorded
from summarizer.testing import LoopbackServer, Prompt, Reply

MODEL = "claude-sonnet-5"
CITIES = ["Porto", "Faro", "Braga", "Lagos", "Porto", "Evora", "Faro", "Tomar"]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA: Any = {"name": "weather", "description": "The weather of a city.", "input_schema": PARAMETERS}


def weather(city: str) -> dict[str, Any]:
    return {"city": city, "sky": "clear", "celsius": 14 + len(city)}


async def answer(client: AsyncAnthropic, sm: SessionManager) -> None:
    """One turn: ask, run what is called, ask again, until the model says something."""
    while True:
        prompt: Any = anthropic_messages(await sm.context()).arguments
        stream = await client.messages.create(
            model=MODEL, max_tokens=500, tools=[SCHEMA], stream=True, **prompt
        )
        async with recorded(sm, stream) as events:
            async for event in events:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    print(event.delta.text, end="", flush=True)
        calls = (events.message or {}).get("tool_calls", [])
        for call in calls:
            function = call["function"]
            await sm.tools.run(weather, function["name"], function["arguments"], call_id=call["id"])
        if not calls:
            return


async def talk(client: AsyncAnthropic) -> None:
    settings: Any = {"system_prompt": "You know the weather.", "token_threshold": 400}
    async with SessionManager("weather", store="sqlite:///claude.db", **settings) as sm:
        sm.tools.configure([ToolSpec("weather", read_only=True)])
        for city in CITIES:
            print(f"\nyou: What is the weather like in {city}?\nclaude: ", end="")
            await sm.user_says(f"What is the weather like in {city}?")
            await answer(client, sm)
        stats = await sm.get_stats()
        print(f"\n{stats.total_messages} messages, {stats.session_segments} segments")


def scripted(prompt: Prompt) -> Reply:
    said = prompt.messages[-1]["content"]
    block = prompt.body["messages"][-1]["content"][-1]
    if isinstance(block, dict) and block["type"] == "tool_result":
        sky = json.loads(block["content"].splitlines()[-1])
        return Reply(f"{sky['city']} is {sky['sky']}, at {sky['celsius']} degrees. " + "Take a hat. " * 12)
    city = json.dumps({"city": said.rpartition(" ")[2].rstrip("?")})
    return Reply(tool_calls=(ToolCall(f"toolu_{prompt.number}", "weather", city),))


async def main() -> None:
    if "--real" in sys.argv:
        await talk(AsyncAnthropic())
        return
    async with LoopbackServer(answer=scripted) as server:
        await talk(AsyncAnthropic(base_url=server.url, api_key="none"))
        print("most messages sent:", max(len(request.body["messages"]) for request in server.requests))


if __name__ == "__main__":
    asyncio.run(main())
