"""The LangChain middleware, in real agents with a scripted model; and the translation of messages."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import Limits, LoopPolicy, PermissionPolicy, ToolSpec
from summarizer import SessionManager, open_store
from summarizer.errors import InvalidMessage, InvalidSetting, StoreError
from summarizer.integrations.native import native_of
from tests.integrations.runtimes import needs, version_of

pytestmark = needs("langchain", "langgraph")

if version_of("langchain") is not None and version_of("langgraph") is not None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware
    from langchain.agents.structured_output import ToolStrategy
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        ChatMessage,
        FunctionMessage,
        HumanMessage,
        RemoveMessage,
        SystemMessage,
        ToolMessage,
    )
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command, interrupt
    from pydantic import BaseModel

    from summarizer.integrations.langchain import LongspliceMiddleware, from_chat, to_chat
    from summarizer.integrations.langchain.translate import model_of, usage_of
    from summarizer.integrations.langchain.wording import STOPPED
    from tests.integrations.langchain_agents import Scripted, calling, thread, turns

ROOT = Path(__file__).parent.parent.parent
ASK = "How far is it from the last stop to the next one, please?"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chats.db"


@pytest.fixture
def ran() -> list[Any]:
    """What the tools were called with."""
    return []


@pytest.fixture
def look(ran: list[Any]) -> Any:
    @tool
    def look(n: Any = None) -> str:
        """Look something up."""
        ran.append(n)
        return f"Stop {n} lies behind the old bridge; the road goes on for {n} km. " * 5

    return look


def memory(store: Any, **given: Any) -> Any:
    given.setdefault("segmentation", "inline")
    return LongspliceMiddleware(store=store, **given)


async def log_of(url: str, session_id: str = "t", **given: Any) -> SessionManager:
    """The conversation, through a store that knows nothing of it yet."""
    return SessionManager(session_id, store=open_store(url), create=False, **given)


async def roles(sm: SessionManager) -> list[str]:
    return [row["role"] for row in await sm.get_conversation()]


# Translation


def there_and_back(message: Any) -> Any:
    """The message, through JSON."""
    wire, native = json.loads(json.dumps(to_chat(message)))
    return from_chat(wire, native)


def samples() -> list[Any]:
    call = {"name": "look", "args": {"n": 1, "deep": {"a": [1.5, None]}}, "id": "c1", "type": "tool_call"}
    bad = {"name": None, "args": "{n: 1", "id": None, "error": "no JSON", "type": "invalid_tool_call"}
    return [
        HumanMessage("hello"),
        HumanMessage("hello", id="m1", name="ana", additional_kwargs={"k": 1}, flag="extra field"),
        HumanMessage([]),
        HumanMessage(
            [
                "plain text",
                {"type": "text", "text": "block", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "base64": "QUJD", "mime_type": "image/png", "extras": {"a": 1}},
                {"type": "image", "url": "https://example.org/a.png", "id": "b1"},
                {"type": "image", "source_type": "base64", "data": "QUJD", "mime_type": "image/png"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                {"type": "audio", "base64": "QUJD", "mime_type": "audio/wav"},
                {"type": "audio", "file_id": "f1"},
                {"type": "video", "base64": "QUJD", "mime_type": "video/mp4"},
                {"type": "file", "base64": "QUJD", "mime_type": "application/pdf", "filename": "a.pdf"},
                {"type": "file", "file_id": "f2"},
                {"type": "file", "url": "https://example.org/a.pdf"},
                {"type": "text-plain", "text": "a file", "mime_type": "text/plain"},
                {"type": "non_standard", "value": {"x": 1}},
                {"type": "of_tomorrow", "what": [1, 2]},
                {"text": "a block of Bedrock"},
                {"cachePoint": {"type": "default"}},
            ]
        ),
        AIMessage("", tool_calls=[call], usage_metadata=usage(), response_metadata={"model_name": "m"}),
        AIMessage("", tool_calls=[{**call, "id": None}, {**call, "name": ""}], invalid_tool_calls=[bad]),
        AIMessage(
            [
                {"type": "thinking", "thinking": "hm", "signature": "abc"},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "id": "rs_1"},
                {"type": "text", "text": "answer", "annotations": [{"type": "citation", "url": "u"}]},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"n": 1}},
                {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {}},
            ],
            tool_calls=[call],
        ),
        AIMessage("", additional_kwargs={"function_call": {"name": "look", "arguments": "{}"}}),
        AIMessage("", additional_kwargs={"reasoning_content": "because", "refusal": "no"}),
        ToolMessage("done", tool_call_id="c1", name="look", artifact={"rows": [1]}, status="error", id="m2"),
        ToolMessage([{"type": "text", "text": "a"}, "b"], tool_call_id="c1"),
        SystemMessage("be brief"),
        SystemMessage("be brief", additional_kwargs={"__openai_role__": "developer"}),
        SystemMessage("be brief", additional_kwargs={"__openai_role__": "developer", "k": 1}),
        ChatMessage("aside", role="critic"),
        ChatMessage("said", role="assistant"),
        FunctionMessage("result", name="look"),
    ]


def usage() -> Any:
    return {
        "input_tokens": 30,
        "output_tokens": 7,
        "total_tokens": 37,
        "input_token_details": {"cache_read": 20, "cache_creation": 0, "ephemeral_5m_input_tokens": 4},
        "output_token_details": {"reasoning": 5},
    }


def test_every_message_comes_back_as_it_was() -> None:
    """A message that went through the chat shape and through JSON equals the one before, class and fields."""
    for message in samples():
        back = there_and_back(message)

        assert back == message
        assert type(back) is type(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(max_size=20)
OBJECT = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
KINDS = (
    "text",
    "image",
    "audio",
    "file",
    "video",
    "reasoning",
    "tool_use",
    "tool_call",
    "new",
    "non_standard",
)
BLOCK = (
    TEXT
    | OBJECT
    | st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS)},
        optional={
            "text": TEXT,
            "base64": st.binary(max_size=6).map(lambda raw: b64encode(raw).decode()),
            "url": TEXT,
            "file_id": TEXT,
            "mime_type": st.sampled_from(["image/png", "audio/wav", "application/pdf"]),
            "id": st.sampled_from(["c0", "c1", "other"]),
            "extras": OBJECT,
            "filename": TEXT,
        },
    )
)
CONTENT = TEXT | st.lists(BLOCK, max_size=4)
CALL = st.fixed_dictionaries(
    {"name": st.text(max_size=5), "args": OBJECT, "id": st.none() | st.sampled_from(["c0", "c1"])}
)
BAD_CALL = st.fixed_dictionaries(
    {"name": st.none() | TEXT, "args": st.none() | TEXT, "id": st.none() | TEXT, "error": st.none() | TEXT}
)
FIELDS = {"id": st.none() | TEXT, "additional_kwargs": OBJECT, "response_metadata": OBJECT}


def built(kind: str, fields: dict[str, Any]) -> Any:
    classes: dict[str, Any] = {
        "human": HumanMessage,
        "ai": AIMessage,
        "tool": ToolMessage,
        "system": SystemMessage,
    }
    return classes[kind](**fields)


MESSAGE = st.one_of(
    st.fixed_dictionaries({"content": CONTENT, **FIELDS}, optional={"name": TEXT}).map(
        lambda f: ("human", f)
    ),
    st.fixed_dictionaries({"content": CONTENT, **FIELDS}).map(lambda f: ("system", f)),
    st.fixed_dictionaries(
        {
            "content": CONTENT,
            "tool_calls": st.lists(CALL, max_size=3),
            "invalid_tool_calls": st.lists(BAD_CALL, max_size=2),
            **FIELDS,
        },
        optional={"name": TEXT, "usage_metadata": st.just(usage())},
    ).map(lambda f: ("ai", f)),
    st.fixed_dictionaries(
        {"content": CONTENT, "tool_call_id": st.text(min_size=1, max_size=5), "artifact": JSON, **FIELDS},
        optional={"status": st.sampled_from(["success", "error"]), "name": TEXT},
    ).map(lambda f: ("tool", f)),
)


@settings(max_examples=80, deadline=None)
@given(MESSAGE)
def test_no_message_loses_anything(given: tuple[str, dict[str, Any]]) -> None:
    """Whatever JSON values a message is made of, it comes back equal."""
    message = built(*given)

    assert there_and_back(message) == message


def test_a_chat_message_alone_becomes_what_langchain_makes_of_it() -> None:
    """A message that no LangChain host wrote is read by its role; broken calls are kept as such."""
    wire = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{x"}},
        ],
    }

    message = from_chat(wire)

    assert isinstance(message, AIMessage)
    assert [call["args"] for call in message.tool_calls] == [{"x": 1}]
    assert [call["args"] for call in message.invalid_tool_calls] == ["{x"]
    assert from_chat({"role": "developer", "content": "be brief"}) == samples()[12]
    with pytest.raises(InvalidMessage, match="'robot'"):
        from_chat({"role": "robot", "content": ""})


def test_content_that_was_rewritten_is_taken_as_it_is() -> None:
    """A result that a policy has cleared keeps its other fields, and shows the new text."""
    was = ToolMessage(
        [{"type": "image", "base64": "QUJD", "mime_type": "image/png"}], tool_call_id="c", id="m"
    )
    wire, native = to_chat(was)

    assert from_chat({**wire, "content": "[cleared]"}, native) == ToolMessage(
        "[cleared]", tool_call_id="c", id="m"
    )


def test_an_instruction_to_a_reducer_is_no_message() -> None:
    """A RemoveMessage is refused, and the error says what to do."""
    with pytest.raises(InvalidMessage, match="add_messages"):
        to_chat(RemoveMessage(id="m1"))


def test_a_chunk_is_read_as_its_message() -> None:
    """The sum of a stream goes into the log as the message it is."""
    chunk = AIMessageChunk("Good morn") + AIMessageChunk("ing", id="run-1")

    assert there_and_back(chunk) == AIMessage("Good morning", id="run-1")


def test_usage_is_what_the_provider_reported() -> None:
    """Cache reads and writes are parts of the input, reasoning of the output; nothing reported is None."""
    reported = usage_of(AIMessage("", usage_metadata=usage()))

    assert reported is not None
    assert reported.to_dict() == {
        "input_tokens": 30,
        "output_tokens": 7,
        "cache_read_tokens": 20,
        "cache_creation_tokens": 4,
        "reasoning_tokens": 5,
    }
    assert usage_of(AIMessage("")) is None
    assert model_of(AIMessage("", response_metadata={"model_name": "gpt-4o"})) == "gpt-4o"
    assert model_of(AIMessage("")) is None


# Context and summary


async def test_text_that_is_no_unicode_costs_no_run(url: str) -> None:
    """Lone surrogates in a question, an answer and arguments reach the log as U+FFFD, and end no run."""

    @tool
    def echo(q: str) -> str:
        """Say it again."""
        return q

    asked = AIMessage("\ud800", tool_calls=[{"name": "echo", "args": {"q": "a\udfff"}, "id": "c"}])
    agent = create_agent(Scripted([asked, AIMessage("done")]), [echo], middleware=[memory(url)])
    await agent.ainvoke({"messages": [HumanMessage("hi \ud800")]}, thread("t"))
    rows = await (await log_of(url)).get_conversation()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "assistant"]
    assert rows[0]["content"] == "hi \ufffd"


async def test_an_agent_that_is_asked_nothing_goes_on(url: str) -> None:
    """A graph without messages is the host's business: the answer is recorded, and the thread goes on."""
    agent = create_agent(
        Scripted([AIMessage("hello"), AIMessage("fine")]), [], middleware=[memory(url)],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    await agent.ainvoke({"messages": []}, thread("t"))
    await agent.ainvoke({"messages": [HumanMessage("and?")]}, thread("t"))

    assert await roles(await log_of(url)) == ["assistant", "user", "assistant"]


async def test_an_agent_goes_on_through_many_segments(url: str, look: Any, ran: list[Any]) -> None:
    """Requests stay small, state and log keep everything, and the log is one conversation without forks."""
    model = Scripted(turns(12))
    agent = create_agent(
        model, [look], middleware=[memory(url, token_threshold=500)], checkpointer=InMemorySaver()
    )
    for n in range(12):
        state = await agent.ainvoke({"messages": [HumanMessage(f"{ASK} Stop {n}.")]}, thread("t"))
    sm = await log_of(url)
    stats = await sm.get_stats()

    assert model.left == 0
    assert len(state["messages"]) == 48
    assert ran == list(range(12))
    assert max(map(len, model.requests)) <= 18
    assert model.requests[-1][0].content.startswith("[Notes on events")
    assert stats.session_segments >= 4
    assert len(await sm.tree()) == stats.session_segments
    assert (stats.user_messages, stats.ai_messages, stats.tool_results) == (12, 24, 12)
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"] * 12


async def test_the_model_is_sent_the_graphs_own_messages(url: str, look: Any) -> None:
    """Messages that are shown whole are the state's objects, with all that the chat shape does not know."""
    seen: list[Any] = []

    class Watch(AgentMiddleware[Any, Any, Any]):
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            seen.append((request.state["messages"], request.messages))
            return await handler(request)

    agent = create_agent(
        Scripted(turns(1)), [look], middleware=[memory(url), Watch()], checkpointer=InMemorySaver()
    )
    question = HumanMessage(
        [{"type": "image", "url": "https://example.org/a.png"}], additional_kwargs={"k": 1}
    )
    await agent.ainvoke({"messages": [question]}, thread("t"))

    for state, sent in seen:
        assert [id(message) for message in sent] == [id(message) for message in state]
    assert len(seen) == 2


async def test_a_trimmed_state_is_the_summary_and_the_rest(url: str, tmp_path: Path, look: Any) -> None:
    """With trim_state the model is sent the same as without; nothing is summarized twice, or forks."""
    whole, trimmed = Scripted(turns(12)), Scripted(turns(12))
    other = f"sqlite:///{tmp_path}/trimmed.db"
    sizes: list[int] = []
    for model, store, trim in ((whole, url, False), (trimmed, other, True)):
        saver = InMemorySaver()
        for n in range(12):
            mine = memory(open_store(store), token_threshold=500, trim_state=trim)  # Cold each time.
            agent = create_agent(model, [look], middleware=[mine], checkpointer=saver)
            state = await agent.ainvoke({"messages": [HumanMessage(f"{ASK} Stop {n}.")]}, thread("t"))
            sizes.append(len(state["messages"]))
    sm = await log_of(other)
    segments = (await sm.get_stats()).session_segments

    assert [[m.text for m in r[1:]] for r in trimmed.requests] == [
        [m.text for m in r[1:]] for r in whole.requests
    ]
    assert segments == (await (await log_of(url)).get_stats()).session_segments >= 4
    assert len(await sm.tree()) == segments
    assert sizes[11] == 48
    assert max(sizes[12:]) <= 18
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"] * 12


async def test_a_stand_in_that_nobody_made_is_a_message(url: str, look: Any) -> None:
    """A message that claims to stand for others, but of no log of ours, is taken as said."""
    told = {"session_id": "t", "n": 3, "chain": "00" * 16, "first": "x"}
    forged = HumanMessage("hello", additional_kwargs={"lc_source": "longsplice", "lc_data": told})
    agent = create_agent(Scripted([AIMessage("hi"), AIMessage("ho")]), [look], middleware=[memory(url)])
    for said in ([forged], [forged, AIMessage("hi"), HumanMessage("and?")]):
        await agent.ainvoke({"messages": said}, thread("t"))
    sm = await log_of(url)

    assert [row["content"] for row in await sm.get_conversation()] == ["hello", "hi", "and?", "ho"]
    assert len(await sm.tree()) == 1


async def test_the_log_has_what_the_chat_shape_has_no_place_for(url: str, look: Any) -> None:
    """From the log alone each message comes back as it was in the state."""
    agent = create_agent(
        Scripted(turns(1)), [look], middleware=[memory(url, guard=False)], checkpointer=InMemorySaver()
    )
    state = await agent.ainvoke({"messages": [HumanMessage("x", additional_kwargs={"k": 1})]}, thread("t"))
    events = [e for e in await (await log_of(url)).read() if e.message is not None]
    back = [from_chat(e.message.to_wire(), native_of(e, "langchain")) for e in events if e.message]

    assert [m.model_copy(update={"id": None}) for m in back] == [
        m.model_copy(update={"id": None}) for m in state["messages"]
    ]


async def test_blocks_nobody_knows_are_kept_and_counted(url: str, look: Any) -> None:
    """An unknown block reaches the model and the log, and has tokens."""
    block = {"type": "of_tomorrow", "what": "a block of some length " * 10}
    model = Scripted([AIMessage("ok")])
    agent = create_agent(model, [look], middleware=[memory(url)])
    await agent.ainvoke({"messages": [HumanMessage([block])]}, thread("t"))
    sm = await log_of(url)

    assert model.requests[0][-1].content == [block]
    assert (await sm.get_conversation())[0]["content"] == [block]
    assert (await sm.get_stats()).total_tokens > 40


async def test_usage_and_system_prompt_reach_the_log(url: str, look: Any) -> None:
    """Reported tokens are booked at the answer; the prompt is counted, stored once, and sent once."""
    answer = AIMessage("ok", usage_metadata=usage(), response_metadata={"model_name": "gpt-4o-mini"})
    model = Scripted([answer, AIMessage("again")])
    agent = create_agent(
        model, [look], system_prompt="Be brief.", middleware=[memory(url)], checkpointer=InMemorySaver()
    )
    for text in ("one", "two"):
        await agent.ainvoke({"messages": [HumanMessage(text)]}, thread("t"))
    sm = await log_of(url)
    stats = await sm.get_stats()
    sent = [m.content for m in model.requests[1]]

    assert sent == ["Be brief.", "one", "ok", "two"]
    assert (stats.input_tokens, stats.output_tokens, stats.cache_read_tokens) == (30, 7, 20)
    assert stats.estimated_cost > 0
    assert (await sm.get_messages_for_llm())[0] == {"role": "system", "content": "Be brief."}
    assert [e.kind.value for e in await sm.read()] == ["message"] * 4


async def test_an_earlier_checkpoint_goes_on_in_a_fork(url: str, look: Any) -> None:
    """Time travel rewrites the history: the log keeps both courses, and the first is as it was."""
    model = Scripted([*turns(2), AIMessage("Another answer.")])
    agent = create_agent(model, [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    for n in range(2):
        await agent.ainvoke({"messages": [HumanMessage(f"Question {n}")]}, thread("t"))
    earlier = next(
        s for s in agent.get_state_history(thread("t")) if len(s.values["messages"]) == 4 and not s.next
    )
    await agent.ainvoke({"messages": [HumanMessage("Otherwise?")]}, earlier.config)
    sm = await log_of(url)
    fork = next(node for node in await sm.tree() if node.session_id.startswith("t^"))
    told = [row["content"] for row in await (await log_of(url, fork.session_id)).get_conversation()]

    assert await roles(sm) == ["user", "assistant", "tool", "assistant"] * 2
    assert told[0] == "Question 0"
    assert told[-2:] == ["Otherwise?", "Another answer."]
    assert len(told) == 6


async def test_a_forks_guard_has_the_same_policies(url: str, look: Any, ran: list[Any]) -> None:
    """What was said of tools and limits holds in the fork of a thread that was rewritten."""
    steps = [AIMessage("a"), calling(("x", "look", {"n": 1})), AIMessage("b")]
    agent = create_agent(
        Scripted(steps), [look], middleware=[memory(url, guard={"limits": Limits(total=0)})],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    await agent.ainvoke({"messages": [HumanMessage("one")]}, thread("t"))
    start = next(s for s in agent.get_state_history(thread("t")) if not s.values.get("messages"))
    await agent.ainvoke({"messages": [HumanMessage("two")]}, start.config)

    assert len(await (await log_of(url)).tree()) == 2
    assert ran == []


async def test_a_fork_is_found_again_by_a_process_that_resumes_at_a_tool(url: str) -> None:
    """A call that waits in a fork is answered there, though a new process sees the tool first."""

    @tool
    def book(n: int) -> str:
        """Book."""
        return f"booked for {interrupt('who?')}"

    steps = [AIMessage("one"), AIMessage("two"), calling(("c", "book", {"n": 1})), AIMessage("done")]
    model, saver = Scripted(steps), InMemorySaver()

    def agent() -> Any:
        return create_agent(model, [book], middleware=[memory(open_store(url))], checkpointer=saver)

    for n in range(2):
        await agent().ainvoke({"messages": [HumanMessage(f"Question {n}")]}, thread("t"))
    history = agent().get_state_history(thread("t"))
    earlier = next(s for s in history if len(s.values["messages"]) == 2 and not s.next)
    await agent().ainvoke({"messages": [HumanMessage("Book")]}, earlier.config)
    state = await agent().ainvoke(Command(resume="Ana"), thread("t"))
    sm = await log_of(url)
    (fork,) = (node.session_id for node in await sm.tree() if "^" in node.session_id)

    assert state["messages"][-1].content == "done"
    assert await roles(sm) == ["user", "assistant"] * 2
    assert await roles(await log_of(url, fork)) == [*["user", "assistant"] * 2, "tool", "assistant"]


async def test_the_sessions_own_prompt_is_sent_where_the_agent_has_none(url: str, look: Any) -> None:
    """A prompt that the session was given goes to the model; an agent's own goes before it."""
    model = Scripted([AIMessage("a"), AIMessage("b")])
    for prompt in (None, "Be loud."):
        mine = memory(url, system_prompt="Be brief.")
        agent = create_agent(model, [look], system_prompt=prompt, middleware=[mine])
        await agent.ainvoke({"messages": [HumanMessage("x")]}, thread(str(prompt)))

    assert [request[0].content for request in model.requests] == ["Be brief.", "Be loud."]
    assert [len(request) for request in model.requests] == [2, 2]


# The guard


async def test_a_loop_ends_the_run_with_an_answer(url: str, look: Any, ran: list[Any]) -> None:
    """A model that repeats one call is nudged, refused and stopped; the next turn goes on."""

    def again(messages: Any) -> Any:
        return calling((f"c{len(messages)}", "look", {"n": 1}))

    model = Scripted([again] * 8 + [AIMessage("Sorry. Here it is.")])
    policy = LoopPolicy(nudge_before=3, block_before=4, stop_before=6)
    mine = memory(url, guard={"loop": policy}, tool_specs=[ToolSpec("look", replay=False)])
    agent = create_agent(model, [look], middleware=[mine], checkpointer=InMemorySaver())
    state = await agent.ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))
    results = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    made = len(model.requests)
    model.skip_to_last()
    after = await agent.ainvoke({"messages": [HumanMessage("Then say it.")]}, thread("t"))
    sm = await log_of(url)

    assert state["messages"][-1].content == STOPPED
    assert (made, len(ran)) == (6, 3)
    assert [m.status for m in results] == ["success"] * 3 + ["error"] * 3
    assert results[2].content.startswith('"look" was called 2 times with the same arguments')
    assert results[-1].artifact["longsplice"]["should_stop"] is True
    assert after["messages"][-1].content == "Sorry. Here it is."
    assert len(await sm.get_conversation()) == len(after["messages"])
    assert len(await sm.tree()) == 1


async def test_parallel_calls_are_numbered_by_their_order(url: str, ran: list[Any]) -> None:
    """Of calls at once, the first listed is $v1 though it ends last; a reference becomes the value."""

    @tool
    async def fetch(n: int) -> str:
        """Fetch."""
        await asyncio.sleep(0.05 if n == 1 else 0)
        return json.dumps({"price": n * 10})

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return "paid"

    both = calling(("a", "fetch", {"n": 1}), ("b", "fetch", {"n": 2}))
    model = Scripted([both, calling(("c", "pay", {"amount": "$v1.price"})), AIMessage("done")])
    agent = create_agent(model, [fetch, pay], middleware=[memory(url)], checkpointer=InMemorySaver())
    state = await agent.ainvoke({"messages": [HumanMessage("pay the first")]}, thread("t"))

    assert ran == [10]
    assert state["messages"][4].tool_calls[0]["args"] == {"amount": "$v1.price"}
    assert await roles(await log_of(url)) == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]


async def test_a_repeated_read_is_replayed(url: str, look: Any, ran: list[Any]) -> None:
    """An equal call of a read-only tool is answered with the earlier result, as a success."""
    steps = [calling(("a", "look", {"n": 1})), calling(("b", "look", {"n": 1})), AIMessage("done")]
    mine = memory(url, tool_specs=[ToolSpec("look", read_only=True)])
    state = await create_agent(Scripted(steps), [look], middleware=[mine]).ainvoke(
        {"messages": [HumanMessage(ASK)]}, thread("t")
    )
    first, second = (m for m in state["messages"] if isinstance(m, ToolMessage))

    assert ran == [1]
    assert second.status == "success"
    assert second.content.startswith("Already called")
    assert first.content in second.content


async def test_a_refused_call_says_what_to_do(url: str, look: Any, ran: list[Any]) -> None:
    """A denied tool is not run; the model reads why, the host finds the reason beside it."""
    mine = memory(url, guard={"permissions": PermissionPolicy(deny=["look"])})
    state = await create_agent(Scripted(turns(1)), [look], middleware=[mine]).ainvoke(
        {"messages": [HumanMessage(ASK)]}, thread("t")
    )
    result = state["messages"][2]

    assert ran == []
    assert (result.status, result.artifact["longsplice"]["reason_code"]) == ("error", "permission.denied")
    assert "not allowed" in result.content


async def test_without_a_guard_tools_are_left_alone(url: str, look: Any, ran: list[Any]) -> None:
    """`guard=False` refuses nothing, and results are recorded all the same."""
    steps = [calling((f"c{n}", "look", {"n": 1})) for n in range(12)]
    agent = create_agent(Scripted([*steps, AIMessage("done")]), [look], middleware=[memory(url, guard=False)])
    await agent.ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))

    assert len(ran) == 12
    assert (await (await log_of(url)).get_stats()).tool_results == 12


@pytest.mark.parametrize(("decision", "times"), [("approve", 1), ({"type": "reject", "message": "no"}, 0)])
async def test_a_person_decides_through_an_interrupt(
    url: str, look: Any, ran: list[Any], decision: Any, times: int
) -> None:
    """A call that needs a person interrupts the graph; another process goes on with what the person said."""
    model, saver = Scripted(turns(1)), InMemorySaver()

    def agent() -> Any:
        mine = memory(
            open_store(url),
            tool_specs=[ToolSpec("look", destructive=True)],
            guard={"permissions": PermissionPolicy(confirm_destructive=True)},
        )
        return create_agent(model, [look], middleware=[mine], checkpointer=saver)

    paused = await agent().ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))
    (asked,) = paused["__interrupt__"]
    state = await agent().ainvoke(Command(resume=decision), thread("t"))

    assert asked.value["name"] == "look"
    assert asked.value["arguments"] == {"n": 0}
    assert len(ran) == times
    assert state["messages"][2].status == ("success" if times else "error")
    assert state["messages"][-1].content.startswith("Answer 0")
    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"]


async def test_a_call_that_needs_a_person_can_be_answered(url: str, look: Any, ran: list[Any]) -> None:
    """With confirm='answer' no interrupt is raised; the model is told, and the call waits in the session."""
    mine = memory(
        url,
        confirm="answer",
        tool_specs=[ToolSpec("look", destructive=True)],
        guard={"permissions": PermissionPolicy(confirm_destructive=True)},
    )
    state = await create_agent(Scripted(turns(1)), [look], middleware=[mine]).ainvoke(
        {"messages": [HumanMessage(ASK)]}, thread("t")
    )
    sm = await log_of(url)

    assert ran == []
    assert state["messages"][2].status == "error"
    assert [call.name for call in await sm.tools.waiting_calls()] == ["look"]


async def test_a_tool_that_interrupts_is_run_again(url: str, ran: list[Any]) -> None:
    """LangGraph runs an interrupted tool from its start, in another process too; the guard lets it."""

    @tool
    def book(n: int) -> str:
        """Book."""
        ran.append(n)
        return f"booked for {interrupt('who?')}"

    model, saver = Scripted([calling(("a", "book", {"n": 1})), AIMessage("done")]), InMemorySaver()

    def agent() -> Any:
        mine = memory(open_store(url), tool_specs=[ToolSpec("book", destructive=True)])
        return create_agent(model, [book], middleware=[mine], checkpointer=saver)

    await agent().ainvoke({"messages": [HumanMessage("book")]}, thread("t"))
    state = await agent().ainvoke(Command(resume="Ana"), thread("t"))

    assert ran == [1, 1]
    assert state["messages"][2].content == "booked for Ana"
    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"]


async def test_commands_pass_through(url: str) -> None:
    """A tool that updates the state by a Command does so, and its message is in the log."""

    @tool
    def remember(n: int) -> Any:
        """Remember."""
        return Command(update={"messages": [ToolMessage(f"kept {n}", tool_call_id="a")]})

    steps = [calling(("a", "remember", {"n": 1})), AIMessage("done")]
    agent = create_agent(Scripted(steps), [remember], middleware=[memory(url)], checkpointer=InMemorySaver())
    state = await agent.ainvoke({"messages": [HumanMessage("keep")]}, thread("t"))
    rows = await (await log_of(url)).get_conversation()

    assert [m.content for m in state["messages"]][2:] == ["kept 1", "done"]
    assert [row["content"] for row in rows][2:] == ["kept 1", "done"]


async def test_an_image_as_result_stays_an_image(url: str) -> None:
    """A result of parts reaches model and log as parts, and is counted as what it is."""
    picture = {"type": "image", "base64": "QUJD" * 20_000, "mime_type": "image/png"}

    @tool
    def draw() -> Any:
        """Draw."""
        return [{"type": "text", "text": "a bridge"}, picture]

    model = Scripted([calling(("a", "draw", {})), AIMessage("nice")])
    agent = create_agent(model, [draw], middleware=[memory(url)], checkpointer=InMemorySaver())
    await agent.ainvoke({"messages": [HumanMessage("draw")]}, thread("t"))
    sm = await log_of(url)
    row = (await sm.get_conversation())[2]

    assert model.requests[1][-1].content == [{"type": "text", "text": "a bridge"}, picture]
    assert [part["type"] for part in row["content"]] == ["text", "image_url"]
    assert (await sm.get_stats()).total_tokens < 5_000
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"]
    assert len(await sm.tree()) == 1


async def test_a_large_result_is_a_preview_with_a_tool_to_read_on(url: str) -> None:
    """With read_values a large result is shown in part, and read_value brings the rest."""

    @tool
    def rows() -> str:
        """Rows."""
        return "\n".join(f"row {n}" for n in range(5000))

    page = {"reference": "v1", "search": "row 4321"}
    model = Scripted([calling(("a", "rows", {})), calling(("b", "read_value", page)), AIMessage("done")])
    agent = create_agent(
        model, [rows], middleware=[memory(url, read_values=True)], checkpointer=InMemorySaver()
    )
    await agent.ainvoke({"messages": [HumanMessage("rows")]}, thread("t"))

    assert len(model.requests[1][-1].content) < 3_000
    assert "row 4321" in model.requests[2][-1].content
    assert len(await (await log_of(url)).tree()) == 1


async def test_limits_count_over_restarts(url: str, look: Any, ran: list[Any]) -> None:
    """What one process has counted, the next one knows."""
    saver = InMemorySaver()
    for n in range(3):
        model = Scripted([calling((f"c{n}", "look", {"n": n})), AIMessage(str(n))])
        mine = memory(open_store(url), guard={"limits": Limits(total=2)})
        agent = create_agent(model, [look], middleware=[mine], checkpointer=saver)
        await agent.ainvoke({"messages": [HumanMessage("go on")]}, thread("t"))

    assert ran == [0, 1]


# Faults


async def test_a_model_that_fails_loses_no_message(url: str, look: Any, ran: list[Any]) -> None:
    """The user's message is in the log; the run goes on in another process where it stopped, and once."""
    first, *rest = turns(1)
    model, saver = Scripted([RuntimeError("down"), first, RuntimeError("down again"), *rest]), InMemorySaver()

    def agent() -> Any:
        return create_agent(model, [look], middleware=[memory(open_store(url))], checkpointer=saver)

    with pytest.raises(RuntimeError, match="down"):
        await agent().ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))
    after_first = await roles(await log_of(url))
    with pytest.raises(RuntimeError, match="again"):
        await agent().ainvoke(None, thread("t"))
    after_second = await roles(await log_of(url))
    await agent().ainvoke(None, thread("t"))
    sm = await log_of(url)

    assert after_first == ["user"]
    assert after_second == ["user", "assistant", "tool"]
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"]
    assert ran == [0]
    assert len(await sm.tree()) == 1


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_answer_outlives_a_store_that_fails(
    url: str, look: Any, ran: list[Any], monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """What was paid for stays with the run, and is recorded before what follows; nobody pays for it again."""
    store, saver = open_store(url), InMemorySaver()

    async def down(*_: Any, **__: Any) -> Any:
        raise StoreError("down")

    def answer_while_down(answer: Any) -> Any:
        def step(_: Any) -> Any:
            monkeypatch.setattr(store, "append", down)
            return answer

        return step

    paid = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    first = calling(("a", "look", {"n": 1}), ("b", "look", {"n": 2})).model_copy(
        update={"usage_metadata": paid}
    )
    model = Scripted([answer_while_down(first), answer_while_down(AIMessage("done")), AIMessage("two")])
    agent = create_agent(model, [look], middleware=[memory(store)], checkpointer=saver)
    with pytest.raises(StoreError, match="down"):
        await agent.ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))
    monkeypatch.undo()
    if restarts:
        agent = create_agent(model, [look], middleware=[memory(store)], checkpointer=saver)
    before = list(ran)
    await agent.ainvoke(None, thread("t"))
    monkeypatch.undo()
    state = await agent.ainvoke({"messages": [HumanMessage("and?")]}, thread("t"))
    sm = await log_of(url)

    assert (before, sorted(ran)) == ([], [1, 2])
    assert [m.text for m in state["messages"][-3:]] == ["done", "and?", "two"]
    assert await roles(sm) == ["user", "assistant", "tool", "tool", "assistant", "user", "assistant"]
    assert len(await sm.tree()) == 1
    assert (await sm.get_stats()).input_tokens == (0 if restarts else 100)


async def test_a_crash_between_two_steps_repeats_nothing(url: str, look: Any) -> None:
    """An answer that the log has and the state has not is overtaken in a fork; the log is never wrong."""
    model, saver = Scripted([*turns(1), AIMessage("once more")]), InMemorySaver()
    agent = create_agent(model, [look], middleware=[memory(open_store(url))], checkpointer=saver)
    await agent.ainvoke({"messages": [HumanMessage("x")]}, thread("t"))
    before = next(
        s
        for s in agent.get_state_history(thread("t"))
        if s.next == ("model",) and len(s.values["messages"]) == 3
    )
    await agent.ainvoke(None, before.config)
    sm = await log_of(url)

    assert await roles(sm) == ["user", "assistant", "tool", "assistant"]
    assert len(await sm.tree()) == 2


async def test_a_tool_that_raises_ends_its_call(url: str, ran: list[Any]) -> None:
    """The run fails as LangChain has it; the log has the error, and the same call can be made again."""

    @tool
    def fetch(n: int) -> str:
        """Fetch."""
        ran.append(n)
        if len(ran) == 1:
            raise OSError("no route")
        return "there"

    model, saver = Scripted([calling(("a", "fetch", {"n": 1})), AIMessage("done")]), InMemorySaver()
    agent = create_agent(model, [fetch], middleware=[memory(url)], checkpointer=saver)
    with pytest.raises(OSError, match="no route"):
        await agent.ainvoke({"messages": [HumanMessage("go")]}, thread("t"))
    state = await agent.ainvoke(None, thread("t"))
    told = [row["content"] for row in await (await log_of(url)).get_conversation() if row["role"] == "tool"]

    assert ran == [1, 1]
    assert state["messages"][2].content == "there"
    assert "no route" in told[0]
    assert told[-1] == "there"


async def test_a_cancelled_tool_is_recorded_as_such(url: str) -> None:
    """Cancelling the run ends the call in the log; the conversation goes on."""
    began = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        began.set()
        await asyncio.sleep(30)
        return "never"

    model = Scripted([calling(("a", "wait", {})), AIMessage("fine")])
    agent = create_agent(model, [wait], middleware=[memory(url)], checkpointer=InMemorySaver())
    task = asyncio.create_task(agent.ainvoke({"messages": [HumanMessage("wait")]}, thread("t")))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rows = await (await log_of(url)).get_conversation()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool"]
    assert "cancelled" in rows[2]["content"]


async def test_call_ids_that_come_again_are_calls_of_their_own(url: str, look: Any, ran: list[Any]) -> None:
    """A local model that numbers its calls anew each time gets each result in its place, and no fork."""
    steps = [
        step for n in range(4) for step in (calling(("call_0", "look", {"n": n})), AIMessage(f"Stop {n}."))
    ]
    model = Scripted(steps)
    agent = create_agent(model, [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    for n in range(4):
        state = await agent.ainvoke({"messages": [HumanMessage(f"Question {n}")]}, thread("t"))
    sm = await log_of(url)
    rows = await sm.get_conversation()

    assert ran == [0, 1, 2, 3]
    assert len(state["messages"]) == 16
    assert [row["content"][:6] for row in rows if row["role"] == "tool"] == [f"Stop {n}" for n in range(4)]
    assert not [node for node in await sm.tree() if "^" in node.session_id]
    assert [m.content for m in model.requests[-1]] == [m.content for m in state["messages"][:-1]]


async def test_a_call_with_broken_arguments_is_kept(url: str, look: Any, ran: list[Any]) -> None:
    """Arguments that are no JSON are answered by LangChain; state and log agree, and nothing forks."""
    bad = {"name": "look", "args": "{n: ", "id": "c1", "error": None, "type": "invalid_tool_call"}
    model = Scripted([AIMessage("", invalid_tool_calls=[bad]), *turns(1)])
    agent = create_agent(model, [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    await agent.ainvoke({"messages": [HumanMessage("one")]}, thread("t"))
    await agent.ainvoke({"messages": [HumanMessage("two")]}, thread("t"))
    sm = await log_of(url)

    assert ran == [0]
    assert len(await sm.tree()) == 1
    assert (await sm.get_conversation())[1]["tool_calls"][0]["function"]["arguments"] == "{n: "


async def test_structured_output_is_recorded_whole(url: str, look: Any) -> None:
    """The call that carries a structured answer is there, and the result that LangChain makes up for it."""

    class Distance(BaseModel):
        """A distance."""

        km: int

    model = Scripted([calling(("s", "Distance", {"km": 3})), calling(("s2", "Distance", {"km": 4}))])
    agent = create_agent(
        model,
        [look],
        middleware=[memory(url)],
        checkpointer=InMemorySaver(),
        response_format=ToolStrategy(Distance),
    )
    for km in (3, 4):
        state = await agent.ainvoke({"messages": [HumanMessage(ASK)]}, thread("t"))
        assert state["structured_response"] == Distance(km=km)
    sm = await log_of(url)

    assert await roles(sm) == ["user", "assistant", "tool"] * 2
    assert len(await sm.tree()) == 1


# Ways to run


def test_synchronous_agents_do_the_same(url: str, look: Any, ran: list[Any]) -> None:
    """`invoke` in a script keeps the conversation as `ainvoke` does, guard included."""
    model = Scripted(turns(8))
    mine = memory(url, token_threshold=500, guard={"limits": Limits(total=7)})
    agent = create_agent(model, [look], middleware=[mine], checkpointer=InMemorySaver())
    for n in range(8):
        state = agent.invoke({"messages": [HumanMessage(f"{ASK} Stop {n}.")]}, thread("t"))
    stats = asyncio.run(stats_of(url))

    assert len(state["messages"]) == 32
    assert len(ran) == 7
    assert max(map(len, model.requests)) <= 18
    assert stats.session_segments >= 3
    assert (stats.user_messages, stats.ai_messages) == (8, 16)


async def stats_of(url: str) -> Any:
    return await (await log_of(url)).get_stats()


async def test_invoke_works_in_a_thread_of_a_running_loop(url: str, look: Any, ran: list[Any]) -> None:
    """Both faces of one agent serve one conversation, whichever is called."""
    model = Scripted(turns(2))
    agent = create_agent(model, [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    await asyncio.to_thread(agent.invoke, {"messages": [HumanMessage("one")]}, thread("t"))
    await agent.ainvoke({"messages": [HumanMessage("two")]}, thread("t"))

    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"] * 2
    assert ran == [0, 1]


async def test_streams_are_recorded(url: str, look: Any) -> None:
    """`astream` yields as ever, and the answer is in the log when it ends."""
    agent = create_agent(Scripted(turns(1)), [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    modes = ["updates", "messages"]
    seen = [m async for m in agent.astream({"messages": [HumanMessage("x")]}, thread("t"), stream_mode=modes)]

    assert {mode for mode, _ in seen} == set(modes)
    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"]


async def test_parallel_threads_stay_apart(url: str, look: Any) -> None:
    """One agent serves many conversations at once."""

    def echo(messages: Any) -> Any:
        return AIMessage(f"You said {messages[-1].content}")

    agent = create_agent(Scripted([echo] * 8), [look], middleware=[memory(url)], checkpointer=InMemorySaver())
    await asyncio.gather(
        *(agent.ainvoke({"messages": [HumanMessage(f"I am {n}")]}, thread(f"t{n}")) for n in range(8))
    )
    for n in range(8):
        rows = await (await log_of(url, f"t{n}")).get_conversation()
        assert [row["content"] for row in rows] == [f"I am {n}", f"You said I am {n}"]


# Which conversation


async def test_an_owners_threads_are_the_owners(url: str, look: Any) -> None:
    """The owner of the run's context, or what a callable tells, owns the thread; its id is no key."""

    class User(BaseModel):
        owner: str

    agent = create_agent(
        Scripted([AIMessage("a"), AIMessage("b")]), [look], middleware=[memory(url)], context_schema=User
    )
    await agent.ainvoke({"messages": [HumanMessage("x")]}, thread("t"), context=User(owner="ana"))
    await agent.ainvoke({"messages": [HumanMessage("y")]}, thread("t"), context=User(owner="ben"))
    told = memory(url, owner=lambda runtime: runtime.context["user"], session_id=lambda _: "u")
    agent = create_agent(Scripted([AIMessage("c")]), [look], middleware=[told])
    await agent.ainvoke({"messages": [HumanMessage("z")]}, context={"user": "eva"})

    for owner, name, said in (("ana", "t", "x"), ("ben", "t", "y"), ("eva", "u", "z")):
        rows = await (await log_of(url, name, owner=owner)).get_conversation()
        assert rows[0]["content"] == said
        assert len(rows) == 2


async def test_a_run_without_an_id_says_what_to_do(url: str, look: Any) -> None:
    """Without a thread id there is no conversation to keep."""
    agent = create_agent(Scripted([AIMessage("a")]), [look], middleware=[memory(url)])
    with pytest.raises(InvalidSetting, match="thread_id"):
        await agent.ainvoke({"messages": [HumanMessage("x")]})


async def test_a_manager_or_a_factory_can_be_given(url: str, look: Any) -> None:
    """A session of one's own is used as it is; settings beside it are refused."""
    async with SessionManager("mine", store=url) as sm:
        agent = create_agent(Scripted([AIMessage("a")]), [look], middleware=[LongspliceMiddleware(sm)])
        await agent.ainvoke({"messages": [HumanMessage("x")]})
        agent = create_agent(
            Scripted([AIMessage("b")]),
            [look],
            middleware=[LongspliceMiddleware(lambda name, _: SessionManager(f"made-{name}", store=url))],
        )
        await agent.ainvoke({"messages": [HumanMessage("y")]}, thread("t"))

        assert await roles(sm) == ["user", "assistant"]
        assert await roles(await log_of(url, "made-t")) == ["user", "assistant"]
    with pytest.raises(InvalidSetting, match="token_threshold"):
        LongspliceMiddleware(sm, token_threshold=5)
    with pytest.raises(InvalidSetting, match="'interrupt' or 'answer'"):
        LongspliceMiddleware(confirm="ask")  # type: ignore[arg-type]


async def test_a_given_session_keeps_its_own_guard(url: str, look: Any, ran: list[Any]) -> None:
    """A manager whose guard is set up, and in use, is taken as it is."""
    async with SessionManager("mine", store=url) as sm:
        sm.tools.configure([ToolSpec("look", read_only=True)])
        await sm.tools.open()
        steps = [calling(("a", "look", {"n": 1})), calling(("b", "look", {"n": 1})), AIMessage("done")]
        agent = create_agent(Scripted(steps), [look], middleware=[LongspliceMiddleware(sm)])
        await agent.ainvoke({"messages": [HumanMessage(ASK)]})

    assert ran == [1]


async def test_tools_of_the_provider_are_counted(url: str) -> None:
    """A built-in tool of a provider, which has no name and no schema of ours, stands in nobody's way."""
    model = Scripted([AIMessage("found")])
    builtin = [{"type": "web_search"}, {"google_search": {}}]
    agent = create_agent(model, builtin, middleware=[memory(url)])
    await agent.ainvoke({"messages": [HumanMessage("search")]}, thread("t"))

    assert await roles(await log_of(url)) == ["user", "assistant"]


async def test_two_runs_of_one_thread_at_once_lose_nothing(url: str, look: Any) -> None:
    """Two runs that go on from one state are two courses: each has its question and its answer."""

    def echo(messages: Any) -> Any:
        return AIMessage(f"You said {messages[-1].content}")

    agent = create_agent(Scripted([echo] * 2), [look], middleware=[memory(url)])
    await asyncio.gather(*(agent.ainvoke({"messages": [HumanMessage(t)]}, thread("t")) for t in ("a", "b")))
    told: set[tuple[str, ...]] = set()
    for node in await (await log_of(url)).tree():
        rows = await (await log_of(url, node.session_id)).get_conversation()
        told.add(tuple(row["content"] for row in rows))

    assert told == {("a", "You said a"), ("b", "You said b")}


async def test_agents_inside_an_agent_have_their_own_conversations(url: str) -> None:
    """A sub-agent of the same thread is recorded apart, each task for itself."""
    helper = create_agent(
        Scripted([AIMessage("one done"), AIMessage("two done")]), [], middleware=[memory(url)]
    )

    @tool
    async def delegate(task: str) -> str:
        """Delegate."""
        state = await helper.ainvoke({"messages": [HumanMessage(task)]})
        return state["messages"][-1].content

    steps = [calling((f"c{n}", "delegate", {"task": n})) for n in ("one", "two")]
    model = Scripted([*steps, AIMessage("all done")])
    agent = create_agent(model, [delegate], middleware=[memory(url)], checkpointer=InMemorySaver())
    state = await agent.ainvoke({"messages": [HumanMessage("go")]}, thread("t"))
    sm = await log_of(url)
    names = [row.conversation_id for row in await sm.store.list(None) if row.conversation_id != "t"]

    assert [m.content for m in state["messages"] if isinstance(m, ToolMessage)] == ["one done", "two done"]
    assert len(await roles(sm)) == 6
    assert len(names) == 2
    for name in names:
        assert name.startswith("t/tools/")
        assert await roles(await log_of(url, name)) == ["user", "assistant"]


async def test_tools_that_change_are_counted_anew(url: str, look: Any) -> None:
    """A middleware that chooses tools changes what a request weighs; guard and log go on."""

    @tool
    def other(n: int) -> str:
        """Another tool, whose description is long enough to be seen in a count of tokens, as it were."""
        return str(n)

    class Choose(AgentMiddleware[Any, Any, Any]):
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            few = [t for t in request.tools if t.name == "look"]
            return await handler(request.override(tools=few if len(request.messages) < 3 else request.tools))

    agent = create_agent(
        Scripted(turns(2)), [look, other], middleware=[Choose(), memory(url)], checkpointer=InMemorySaver()
    )
    for n in range(2):
        await agent.ainvoke({"messages": [HumanMessage(str(n))]}, thread("t"))

    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"] * 2


# The package


def test_without_langchain_the_import_says_what_to_install() -> None:
    """Importing the adapter without its runtime names the extra, whichever part of it is missing."""
    program = """
import sys
for missing in ("langchain_core", "langgraph", "langchain"):
    sys.modules[missing] = None
    try:
        from summarizer.integrations.langchain import LongspliceMiddleware
    except ImportError as error:
        print(type(error).__name__, error)
    del sys.modules[missing]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    lines = done.stdout.splitlines()

    assert len(lines) == 3
    assert all(line.startswith("MissingExtra ") and "longsplice[langchain]" in line for line in lines)


def test_the_example_runs(tmp_path: Path) -> None:
    """The example prints how the requests stay small, and what the guard did."""
    from tests.test_examples import run

    printed = run("langchain_agent.py", folder=tmp_path)

    whole, largest = (int(line.split()[-2]) for line in printed.splitlines()[:2])

    assert largest < whole / 2
    assert printed.count("  error: ") == 2
    assert printed.splitlines()[-1] == STOPPED
