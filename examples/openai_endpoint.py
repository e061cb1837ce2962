"""The official `openai` client against `longsplice serve`: endless context by changing the base URL.

Runs without key and network: the model behind the endpoint is scripted. Real use is
`longsplice serve --upstream https://api.openai.com/v1`, and any client in any language.

    python examples/openai_endpoint.py
"""

import asyncio
import socket
from typing import Any

import uvicorn
from openai import AsyncOpenAI

from summarizer.messages import ToolCall
from summarizer.server import Settings, create_app
from summarizer.testing import LoopbackServer, Prompt, Reply

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "list_files", "parameters": {"type": "object"}}}
]
SESSION = {"X-Longsplice-Session-Id": "line-7"}


def model(prompt: Prompt) -> Reply:
    """Knows every stop, and one tool that it cannot let go of."""
    if prompt.body.get("tools"):
        return Reply(tool_calls=(ToolCall(f"call_{prompt.number}", "list_files", '{"path": "/tmp"}'),))
    return Reply(f"It takes {prompt.number % 7 + 2} minutes. ({len(prompt.messages)} messages read)")


async def long_chat(client: AsyncOpenAI) -> None:
    """Sends the new message only; the endpoint holds the rest."""
    for n in range(1, 61):
        question = f"How long does the bus take from stop {n} to stop {n + 1}, and is there a shelter?"
        stream = await client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            extra_headers=SESSION,
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream.parse()])
        if n % 12 == 0:
            told = stream.headers
            segment, size = told["x-longsplice-segment"], told["x-longsplice-context-tokens"]
            print(f"turn {n}: segment {segment}, {size} tokens sent | {said}")


async def stuck_agent(client: AsyncOpenAI) -> None:
    """Runs the tool that the model asks for, as often as it asks."""
    messages: list[Any] = [{"role": "user", "content": "What is in /tmp?"}]
    for calls in range(50):
        answer = await client.chat.completions.create(
            model="gpt-4o-mini", messages=messages, tools=TOOLS, extra_headers=SESSION
        )
        choice = answer.choices[0]
        if not choice.message.tool_calls:
            print(f"stopped after {calls} calls ({choice.finish_reason}): {choice.message.content}")
            return
        messages = [
            {"role": "tool", "tool_call_id": c.id, "content": "a.txt"} for c in choice.message.tool_calls
        ]


async def main() -> None:
    async with LoopbackServer(answer=model) as upstream:
        app = create_app(Settings(upstream.openai_url, store="memory://", threshold=800))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        with socket.create_server(("127.0.0.1", 0)) as bound:
            running = asyncio.create_task(server.serve(sockets=[bound]))
            base_url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
            async with AsyncOpenAI(base_url=base_url, api_key="sk-yours") as client:
                await long_chat(client)
                await stuck_agent(client)
            server.should_exit = True
            await running


asyncio.run(main())
