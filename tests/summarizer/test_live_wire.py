"""A live summary through litellm, on two wires: the host's last request is its prefix, block for block."""

import asyncio
import json

import pytest

from summarizer import Policy, SessionManager
from summarizer.messages import ToolCall
from summarizer.meter import Usage, cost_of, price_for
from summarizer.summary import LlmSummarizer
from summarizer.summary.llm import load_litellm
from summarizer.testing import Fault, LoopbackServer, Reply
from tests.summarizer.talk import calls_tool, summary_text, talk, tool_result

WIRES = {
    "openai": ("openai/gpt-4o-mini", "openai_url"),
    "anthropic": ("anthropic/claude-sonnet-4-5", "url"),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Looks.",
            "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
        },
    }
]
CREATED = {"openai": None, "anthropic": 150}

# What litellm 1.106 makes pydantic say at a call; nothing of ours could silence it at its source.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class 'ChatCompletion.*' is using:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_.*' attribute on the instance:DeprecationWarning"
    ),
]


@pytest.fixture(autouse=True, scope="module")
def _litellm_loaded():
    """Litellm takes seconds to import; no timeout of a test may have to cover them."""
    asyncio.run(load_litellm())


@pytest.fixture(params=sorted(WIRES))
def wire(request):
    return request.param


def blocks(body):
    """What a request consists of, in the order in which providers cache it; marks are no content."""
    found = [("tools", body.get("tools")), ("system", body.get("system"))]
    for message in body["messages"]:
        content = message.get("content") or []
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        found += [(message["role"], part) for part in parts]
        found += [(message["role"], call) for call in message.get("tool_calls") or ()]
    text = json.dumps([(role, _bare(part)) for role, part in found])
    return json.loads(text)


def _bare(part):
    if isinstance(part, list):
        return [_bare(each) for each in part]
    return {k: v for k, v in part.items() if k != "cache_control"} if isinstance(part, dict) else part


async def test_the_hosts_last_request_is_a_prefix_of_the_summarys(wire):
    """Tools, system prompt and messages are the same; the usage is booked with what the cache gave."""
    model, url = WIRES[wire]
    billed = Usage(5000, 60, 4800, CREATED[wire])
    litellm = await load_litellm()
    async with LoopbackServer(["It is open.", Reply(summary_text(), usage=billed)]) as server:
        address = {"api_base": getattr(server, url), "api_key": "k"}
        async with SessionManager(
            store="memory://",
            system_prompt="You book rooms.",
            model=model,
            tools=TOOLS,
            cache_control=wire == "anthropic",
            policy=Policy(token_threshold=100_000, summary_mode="live", tail_share=0.001),
            summarizer=LlmSummarizer([model], **address),
        ) as sm:
            await talk(sm, 5)
            await sm.user_says("Is the lobby open?")
            await sm.record(calls_tool("c1"))
            await sm.record(tool_result("c1", "Open."))
            messages = await sm.get_messages_for_llm()
            response = await litellm.acompletion(
                model=model,
                messages=messages,
                tools=TOOLS,
                max_tokens=300,
                max_retries=0,
                _skip_mcp_handler=True,  # Else litellm needs the package `mcp`, which is not ours.
                **address,
            )
            await sm.record(response)
            outcome = await sm.segment()
            data = next(
                e.data for e in await sm.read(include_all_segments=True) if e.kind == "segment.created"
            )
        hosts, ours = (request.body for request in server.requests)
    await litellm.close_litellm_async_clients()
    last, live = blocks(hosts), blocks(ours)

    assert outcome.writer == model
    assert data["rejections"] == []
    assert live[: len(last)] == last
    assert [role for role, _ in live[len(last) :]] == ["assistant", "user"]
    assert "response_format" not in ours
    assert "output_format" not in ours
    assert ours.get("tool_choice") == ("none" if wire == "openai" else None)
    (call,) = data["model_calls"]
    price = price_for(model)
    assert price is not None
    assert call["usage"]["cache_read_tokens"] == 4800
    assert call["cost_pico"] == int(cost_of(billed, price) * 10**12)


async def test_the_marks_of_the_summarys_request_meet_the_hosts():
    """Where requests are marked, the host's last mark is marked again, or within the provider's look-back."""
    model, url = WIRES["anthropic"]
    async with LoopbackServer([summary_text()]) as server:
        async with SessionManager(
            store="memory://",
            model=model,
            cache_control=True,
            policy=Policy(token_threshold=100_000, summary_mode="live", tail_share=0.001),
            summarizer=LlmSummarizer([model], api_base=getattr(server, url), api_key="k"),
        ) as sm:
            await talk(sm, 5)
            await sm.user_says("Is the lobby open?")
            sent = await sm.get_messages_for_llm()
            await sm.ai_responds("It is open.")
            await sm.segment()
        (request,) = server.requests
    await (await load_litellm()).close_litellm_async_clients()
    parts = [part for message in request.body["messages"] for part in message["content"]]
    marked = [i for i, part in enumerate(parts) if "cache_control" in part]

    assert "cache_control" in json.dumps(sent[-1])
    assert any(0 <= at - (len(sent) - 1) < 20 for at in marked)
    assert "cache_control" not in parts[-1]


async def test_a_server_without_tool_choice_is_asked_without_it(wire):
    """And a call in place of an answer is refused, over either wire; the next answer stands."""
    model, url = WIRES[wire]
    steps = [
        *([Fault.status(400, message="Unsupported parameter: 'tool_choice'")] if wire == "openai" else []),
        Reply(tool_calls=(ToolCall("c9", "look", "{}"),)),
        summary_text(),
    ]
    async with LoopbackServer(steps) as server:
        async with SessionManager(
            store="memory://",
            model=model,
            tools=TOOLS,
            policy=Policy(token_threshold=100_000, summary_mode="live", tail_share=0.001),
            summarizer=LlmSummarizer([model], api_base=getattr(server, url), api_key="k"),
        ) as sm:
            await talk(sm, 5)
            await sm.segment()
            data = next(
                e.data for e in await sm.read(include_all_segments=True) if e.kind == "segment.created"
            )
        bodies = [request.body for request in server.requests]
    await (await load_litellm()).close_litellm_async_clients()

    assert [r["reason_code"] for r in data["rejections"]] == ["summary.tool_call"]
    assert data["writer"] == model
    assert "tool_choice" not in bodies[-1]
    assert all(body["tools"] for body in bodies)
