"""Loops of tool calls that the client runs: nudged, then stopped, as the protocol allows."""

from typing import Any

import pytest

from summarizer import SessionManager
from summarizer.messages import ToolCall
from summarizer.server.looping import nudged
from summarizer.server.sessions import owner_of
from summarizer.testing import Reply
from tests.server.endpoints import KEY, Endpoint, sent, serving

OWNER = owner_of({"authorization": f"Bearer {KEY}"})
TOOL = {"type": "function", "function": {"name": "list_files", "parameters": {"type": "object"}}}
NAMED = {"X-Longsplice-Session-Id": "loop"}


def stuck(prompt: Any) -> Reply:
    """A model that makes one call for ever."""
    return Reply(tool_calls=(ToolCall(f"call_{prompt.number}", "list_files", '{"path": "/tmp"}'),))


async def agent(served: Endpoint, *, append: bool, most: int = 30, stream: bool = False) -> list[Any]:
    """A client's loop: it runs each call and sends what came of it; the answers' headers and ends."""
    client = served.client().chat.completions
    history: list[Any] = [{"role": "user", "content": "What is in /tmp?"}]
    new, ends = list(history), []
    for _ in range(most):
        raw = await client.with_raw_response.create(
            model="gpt-4o-mini",
            messages=new if append else history,
            tools=[TOOL],
            extra_headers=NAMED,
            stream=stream,
        )
        message, finish = await whole(raw.parse()) if stream else told(raw.parse())
        ends.append((raw.headers.get("x-longsplice-loop"), finish, message))
        if not message.get("tool_calls"):
            break
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "a.txt"} for call in message["tool_calls"]
        ]
        history += [message, *results]
        new = results
    return ends


def told(completion: Any) -> tuple[dict[str, Any], str]:
    return completion.choices[0].message.model_dump(exclude_none=True), completion.choices[0].finish_reason


async def whole(stream: Any) -> tuple[dict[str, Any], str]:
    text, calls, finish = "", [], ""
    async for chunk in stream:
        choice = chunk.choices[0]
        text += choice.delta.content or ""
        finish = choice.finish_reason or finish
        for call in choice.delta.tool_calls or ():
            if call.id:
                calls.append({"id": call.id, "type": "function", "function": {"name": "", "arguments": ""}})
            calls[-1]["function"]["name"] += call.function.name or ""
            calls[-1]["function"]["arguments"] += call.function.arguments or ""
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}, finish


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("append", [True, False])
async def test_a_loop_is_nudged_and_then_stopped(append: bool, stream: bool) -> None:
    """The model reads what it does; when it goes on, the client gets the guard's words and `stop`."""
    async with serving(answer=stuck, mode="append" if append else "full-history") as (upstream, served):
        ends = await agent(served, append=append, stream=stream)
        rows = await SessionManager("loop", store=served.store, owner=OWNER).get_conversation()
        last = sent(upstream)["messages"]
        asked = len(upstream.requests)

    assert [loop for loop, _, _ in ends[:3]] == [None] * 3
    assert ends[3][0] == "loop.repeat"
    assert ends[-1][:2] == ("loop.repeat; stopped", "stop")
    assert "list_files" in ends[-1][2]["content"]
    assert "The run ends here" in ends[-1][2]["content"]
    assert asked == len(ends) - 1 < 12
    assert "nothing new came of it" in last[-1]["content"]
    assert last[-1]["content"].endswith("\n\na.txt")
    assert rows[-1]["role"] == "assistant"
    assert rows[-1]["content"] == ends[-1][2]["content"]
    assert all(row["content"] == "a.txt" for row in rows if row["role"] == "tool")


async def test_after_a_stop_the_user_may_go_on() -> None:
    """What the user says is progress: the model is asked again, and sees that the run was ended."""
    async with serving(answer=stuck) as (upstream, served):
        await agent(served, append=True)
        before = len(upstream.requests)
        answer = await served.client().chat.completions.with_raw_response.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Try /var instead."}],
            tools=[TOOL],
            extra_headers=NAMED,
        )

    assert len(upstream.requests) == before + 1
    assert "x-longsplice-loop" not in answer.headers
    assert "The run ends here" in sent(upstream)["messages"][-2]["content"]


async def test_work_with_changing_results_is_no_loop() -> None:
    """A poll whose answer changes goes on."""
    async with serving(answer=stuck) as (upstream, served):
        client = served.client().chat.completions.with_raw_response
        new: list[Any] = [{"role": "user", "content": "Watch it."}]
        for n in range(15):
            answer = await client.create(model="gpt-4o-mini", messages=new, tools=[TOOL], extra_headers=NAMED)
            call = answer.parse().choices[0].message.tool_calls[0]
            new = [{"role": "tool", "tool_call_id": call.id, "content": f"{n * 7} of 100 rows are done"}]

    assert "x-longsplice-loop" not in answer.headers
    assert len(upstream.requests) == 15


async def test_without_the_guard_nothing_is_said() -> None:
    """`--no-guard` leaves loops to the client."""
    async with serving(answer=stuck, guard=False) as (upstream, served):
        ends = await agent(served, append=True, most=12)

    assert {loop for loop, _, _ in ends} == {None}
    assert len(upstream.requests) == 12


def test_a_nudge_stands_before_the_newest_result() -> None:
    """Text or parts; nothing else is changed, and nothing is said where nothing is to be said."""
    result = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]}
    messages = [{"role": "tool", "tool_call_id": "b", "content": "x"}, result]

    assert nudged(messages, "Stop.")[1]["content"] == [{"type": "text", "text": "Stop."}, *result["content"]]
    assert nudged(messages, "Stop.")[0] is messages[0]
    assert nudged(messages, "") == messages
    assert nudged([{"role": "user", "content": "hi"}], "Stop.") == [{"role": "user", "content": "hi"}]
