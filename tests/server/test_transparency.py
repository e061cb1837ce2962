"""The official client behind the endpoint, beside the same client at the bare upstream."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from summarizer.messages import ToolCall
from summarizer.testing import Fault, LoopbackServer, Reply
from tests.server.endpoints import endpoint

STEPS = [
    Reply("Let me look.", tool_calls=(ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "{}"))),
    "plain",
    *(Fault.status(status, retry_after=0) for status in (400, 401, 429, 500)),
    Fault.context_window(),
    Fault.html(502),
    Fault.invalid_json(),
    Fault.empty_body(),
]
CONNECTION = ("date", "server", "connection", "content-length", "transfer-encoding", "x-longsplice-")


def asked(url: str, ask: dict[str, Any]) -> list[Any]:
    """What the synchronous client sees of each step."""
    seen = []
    # Certificates are not read, which is most of the time that a client takes to be made.
    http = httpx.Client(verify=False)
    with openai.OpenAI(base_url=url, api_key="sk-x", max_retries=0, http_client=http) as client:
        for _ in STEPS:
            try:
                raw = client.chat.completions.with_raw_response.create(**ask)
                said = raw.parse()
                seen.append([heads(raw), [c.model_dump() for c in said] if ask["stream"] else plain(said)])
            except (openai.OpenAIError, json.JSONDecodeError) as error:
                seen.append(told(error))
    return seen


async def awaited(url: str, ask: dict[str, Any]) -> list[Any]:
    """What the asynchronous client sees of each step."""
    seen = []
    http = httpx.AsyncClient(verify=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-x", max_retries=0, http_client=http) as client:
        for _ in STEPS:
            try:
                raw = await client.chat.completions.with_raw_response.create(**ask)
                said: Any = raw.parse()
                seen.append(
                    [heads(raw), [c.model_dump() async for c in said] if ask["stream"] else plain(said)]
                )
            except (openai.OpenAIError, json.JSONDecodeError) as error:
                seen.append(told(error))
    return seen


def heads(raw: Any) -> dict[str, str]:
    """Headers of the answer, but for those of one connection and those of ours."""
    return {name: value for name, value in raw.headers.items() if not name.startswith(CONNECTION)}


def plain(said: Any) -> Any:
    return said.model_dump() if hasattr(said, "model_dump") else said


def told(error: Exception) -> list[Any]:
    return [type(error), str(error), getattr(error, "body", None), getattr(error, "status_code", None)]


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("synchronous", [False, True])
async def test_the_official_client_sees_no_difference(synchronous: bool, stream: bool, usage: bool) -> None:
    """Answers, headers and errors are those of the bare upstream."""
    ask: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
    }
    if stream and usage:
        ask["stream_options"] = {"include_usage": True}

    async def seen(url: str) -> list[Any]:
        return await (asyncio.to_thread(asked, url, ask) if synchronous else awaited(url, ask))

    async with LoopbackServer(STEPS) as upstream:
        bare = await seen(upstream.openai_url)
    async with LoopbackServer(STEPS) as upstream, endpoint(upstream.openai_url) as served:
        through = await seen(f"{served.url}/v1")

    assert len(bare) == len(STEPS)
    assert through == bare
