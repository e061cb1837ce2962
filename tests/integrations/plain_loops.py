"""Plain loops over the official SDKs, as a user would write them, for tests of what they record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from summarizer import SessionManager, ToolCall
from summarizer.integrations.plain import anthropic_messages, recorded
from summarizer.testing import LoopbackServer, Prompt, Reply

Tools = Mapping[str, Callable[..., Any]]
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5"}


class Loop(Protocol):
    """One request to the model, whose answer is recorded; the calls it made."""

    async def __call__(self, sm: SessionManager) -> list[tuple[str, str, Any]]: ...


def openai_loop(server: LoopbackServer, *, stream: bool) -> Loop:
    """A loop over the `openai` SDK."""
    from openai import AsyncOpenAI

    async def ask(sm: SessionManager) -> list[tuple[str, str, Any]]:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="none", max_retries=0) as client:
            request: Any = {"model": MODELS["openai"], "messages": await sm.get_messages_for_llm()}
            if stream:
                options = {"include_usage": True}
                chunks = await client.chat.completions.create(stream=True, stream_options=options, **request)
                async with recorded(sm, chunks) as answer:
                    async for _ in answer:
                        pass
                calls = (answer.message or {}).get("tool_calls") or []
            else:
                response = await client.chat.completions.create(**request)
                await sm.record(response)
                calls = [call.model_dump() for call in response.choices[0].message.tool_calls or []]
        return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls]

    return ask


def anthropic_loop(server: LoopbackServer, *, stream: bool) -> Loop:
    """A loop over the `anthropic` SDK."""
    from anthropic import AsyncAnthropic

    async def ask(sm: SessionManager) -> list[tuple[str, str, Any]]:
        async with AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
            prompt = anthropic_messages(await sm.context())
            request: Any = {"model": MODELS["anthropic"], "max_tokens": 500, **prompt.arguments}
            if stream:
                async with recorded(sm, await client.messages.create(stream=True, **request)) as answer:
                    async for _ in answer:
                        pass
                calls = (answer.message or {}).get("tool_calls") or []
                return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls]
            message = await client.messages.create(**request)
            await sm.record(message)
            return [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"]

    return ask


LOOPS = {"openai": openai_loop, "anthropic": anthropic_loop}


async def say(sm: SessionManager, ask: Loop, tools: Tools, text: str, *, rounds: int = 12) -> None:
    """One turn: the user's text, and the rounds of calls until the model answers."""
    await sm.user_says(text)
    for _ in range(rounds):
        calls = await ask(sm)
        if not calls:
            return
        for call_id, name, arguments in calls:
            await sm.tools.run(tools[name], name, arguments, call_id=call_id)


def asked(prompt: Prompt) -> tuple[str, bool]:
    """The newest text that the model was sent, and whether it is a tool's result."""
    last = prompt.body["messages"][-1]
    content = last["content"]
    if isinstance(content, list):
        block = content[-1]
        return str(block.get("content") or block.get("text")), block["type"] == "tool_result"
    return str(content), last["role"] == "tool"


def calling(number: int, *calls: tuple[str, dict[str, Any]]) -> Reply:
    """An answer that makes calls."""
    made = [ToolCall(f"call_{number}_{i}", name, json.dumps(args)) for i, (name, args) in enumerate(calls)]
    return Reply(tool_calls=tuple(made))


__all__ = ["LOOPS", "MODELS", "Loop", "asked", "calling", "say"]
