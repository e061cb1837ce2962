"""The three wire protocols, proved by the client that the library calls them through."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from summarizer.messages import ToolCall
from summarizer.meter import Usage
from summarizer.testing import Fault, LoopbackServer, Reply

Ask = Callable[..., Awaitable[Any]]

MODELS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}
UNREADABLE = {"openai": "InternalServerError", "anthropic": "APIConnectionError", "gemini": "BadRequestError"}
"""What litellm 1.106 raises when a 200 has no readable body."""

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}

pytestmark = pytest.mark.slow


@pytest.fixture(params=MODELS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def ask(litellm: ModuleType, protocol: str) -> AsyncIterator[Ask]:
    """Ask a server through litellm, by one protocol, with no retries of its own."""

    async def ask(server: LoopbackServer, **more: Any) -> Any:
        bases = {"openai": server.openai_url, "anthropic": server.url, "gemini": server.gemini_url}
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
        call = {
            "model": MODELS[protocol],
            "api_base": bases[protocol],
            "messages": messages,
            "max_tokens": 50,
        }
        return await litellm.acompletion(**{**call, **more}, api_key="test-key", max_retries=0, timeout=5)

    yield ask
    await litellm.close_litellm_async_clients()


async def test_text_and_prompt_pass_both_ways(ask: Ask, protocol: str) -> None:
    """The model's text arrives, and the server sees system prompt, message, limit and no key."""
    async with LoopbackServer(["Paris"]) as server:
        response = await ask(server)
        (request,) = server.requests

    assert response.choices[0].message.content == "Paris"
    assert response.choices[0].finish_reason == "stop"
    assert request.prompt is not None
    assert (request.protocol, request.prompt.text) == (protocol, "Be brief.\n\nWhere?")
    assert request.prompt.max_output_tokens == 50
    assert "test-key" not in repr(request)


async def test_usage_arrives_in_inclusive_buckets(ask: Ask, protocol: str) -> None:
    """Cached tokens are inside the prompt's, reasoning is inside the answer's, on every wire."""
    creation = 30 if protocol == "anthropic" else 0
    reasoning = 0 if protocol == "anthropic" else 8
    reported = Usage(100, 20, 60, creation, reasoning)
    async with LoopbackServer([Reply("x", usage=reported)]) as server:
        usage = (await ask(server)).usage

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 20, 120)
    assert usage.prompt_tokens_details.cached_tokens == 60
    assert (getattr(usage.prompt_tokens_details, "cache_creation_tokens", 0) or 0) == creation
    assert (getattr(usage.completion_tokens_details, "reasoning_tokens", 0) or 0) == reasoning


async def test_structured_output_passes_both_ways(ask: Ask) -> None:
    """The server sees the schema; the client sees the JSON."""
    async with LoopbackServer(['{"city": "Paris"}']) as server:
        response = await ask(server, response_format=FORMAT)
        prompt = server.requests[0].prompt

    assert json.loads(response.choices[0].message.content) == {"city": "Paris"}
    assert prompt is not None
    assert prompt.response_schema == SCHEMA


@pytest.mark.parametrize("protocol", ["anthropic"])
async def test_a_forced_tool_is_how_older_models_are_asked_for_structure(ask: Ask) -> None:
    """The text is given as the input of the tool, which litellm reads back as the text."""
    async with LoopbackServer(['{"city": "Paris"}']) as server:
        response = await ask(server, model="anthropic/claude-3-haiku-20240307", response_format=FORMAT)
        prompt = server.requests[0].prompt

    assert json.loads(response.choices[0].message.content) == {"city": "Paris"}
    assert prompt is not None
    assert (prompt.forced_tool, prompt.response_schema) == ("json_tool_call", SCHEMA)


async def test_a_stream_arrives_in_pieces(ask: Ask) -> None:
    """The pieces joined are the text, and there is more than one."""
    text = "a long answer, " * 10
    async with LoopbackServer([text]) as server:
        chunks = [chunk async for chunk in await ask(server, stream=True)]
    pieces = [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]

    assert "".join(pieces) == text
    assert len(pieces) > 1


async def test_a_stream_reports_usage_when_asked(ask: Ask) -> None:
    """With `include_usage` the counts come at the end."""
    async with LoopbackServer([Reply("abc", usage=Usage(9, 4))]) as server:
        chunks = [
            chunk async for chunk in await ask(server, stream=True, stream_options={"include_usage": True})
        ]
    usage = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]

    assert (usage[-1].prompt_tokens, usage[-1].completion_tokens) == (9, 4)


CALLS = (ToolCall("call_a", "find", '{"city": "Paris", "limit": 3}'), ToolCall("call_b", "stop", "{}"))


def called(calls: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments or "{}")) for call in calls]


async def test_tool_calls_arrive_with_their_arguments(ask: Ask) -> None:
    """Two parallel calls keep names, arguments and order, and the finish reason says that they are there."""
    async with LoopbackServer([Reply("Let me see.", tool_calls=CALLS)]) as server:
        choice = (await ask(server)).choices[0]

    assert called(choice.message.tool_calls) == [("find", {"city": "Paris", "limit": 3}), ("stop", {})]
    assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")


async def test_tool_calls_arrive_in_a_stream(ask: Ask, litellm: ModuleType) -> None:
    """Joined, the deltas are the same calls."""
    async with LoopbackServer([Reply("Let me see.", tool_calls=CALLS)]) as server:
        chunks = [chunk async for chunk in await ask(server, stream=True)]
    message = litellm.stream_chunk_builder(chunks).choices[0].message

    assert called(message.tool_calls) == [("find", {"city": "Paris", "limit": 3}), ("stop", {})]
    assert message.content == "Let me see."


async def test_a_429_is_a_rate_limit_error(ask: Ask, litellm: ModuleType) -> None:
    """One request, one error: litellm does not try again by itself."""
    async with LoopbackServer([Fault.status(429, retry_after=0)]) as server:
        with pytest.raises(litellm.RateLimitError):
            await ask(server)

    assert len(server.requests) == 1


async def test_a_prompt_beyond_the_window_is_recognised(ask: Ask, litellm: ModuleType) -> None:
    """Each provider's own words reach the class for it."""
    async with LoopbackServer([Fault.context_window()]) as server:
        with pytest.raises(litellm.ContextWindowExceededError):
            await ask(server)


@pytest.mark.parametrize(
    "fault",
    [Fault.status(500), Fault.status(503), Fault.cut(), Fault.cut_body("half " * 50)],
    ids=lambda f: f"{f.name} {f.code}",
)
async def test_a_failing_server_is_an_error_that_can_be_tried_again(
    ask: Ask, litellm: ModuleType, fault: Fault
) -> None:
    """Each is a connection error or a server's, and the next request goes through."""
    async with LoopbackServer([fault, "after all"]) as server:
        with pytest.raises(
            (litellm.APIConnectionError, litellm.InternalServerError, litellm.ServiceUnavailableError)
        ):
            await ask(server)
        response = await ask(server)

    assert response.choices[0].message.content == "after all"


@pytest.mark.parametrize(
    "fault", [Fault.empty_body(), Fault.invalid_json(), Fault.html(200)], ids=lambda f: f.name
)
async def test_a_body_that_is_no_answer_is_an_error(
    ask: Ask, litellm: ModuleType, protocol: str, fault: Fault
) -> None:
    """Nothing that is not the protocol's passes for an answer, though the class of error differs."""
    async with LoopbackServer([fault]) as server:
        with pytest.raises(getattr(litellm, UNREADABLE[protocol])):
            await ask(server)


async def test_a_hanging_call_ends_with_its_caller(ask: Ask) -> None:
    """A caller that gives up is not held, and neither is the server."""
    async with LoopbackServer([Fault.hang()]) as server:
        call = asyncio.ensure_future(ask(server))
        await server.wait_for_requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_filtered_answer_says_so(ask: Ask) -> None:
    """The finish reason is one and the same over every wire."""
    async with LoopbackServer([Fault.content_filter("so far")]) as server:
        response = await ask(server)

    assert response.choices[0].finish_reason == "content_filter"


async def test_a_truncated_answer_says_so(ask: Ask) -> None:
    """So is the one for an answer that met its limit."""
    async with LoopbackServer([Fault.truncated("so far")]) as server:
        response = await ask(server)

    assert (response.choices[0].message.content, response.choices[0].finish_reason) == ("so far", "length")
