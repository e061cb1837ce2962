"""Plain loops over the OpenAI and Anthropic SDKs, against a server that speaks both protocols."""

import asyncio
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import LoopPolicy, ToolSpec
from summarizer import SessionManager, ToolCall
from summarizer.dialects import chat_of_anthropic
from summarizer.errors import StoreError
from summarizer.integrations.plain import (
    AnswerBuilder,
    anthropic_messages,
    merged,
    recorded,
    responses_input,
)
from summarizer.messages import Message
from summarizer.testing import Fault, LoopbackServer, Prompt, Reply
from tests.integrations.plain_loops import LOOPS, MODELS, asked, calling, say
from tests.integrations.runtimes import needs
from tests.test_examples import run

pytestmark = needs("openai", "anthropic")

PROTOCOLS = pytest.mark.parametrize("protocol", ["openai", "anthropic"])
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
FILLER = "The train leaves at nine and reaches the coast by noon. " * 6


def stops_of(line: int) -> dict[str, Any]:
    return {"line": line, "stops": [f"stop {line}-{n}" for n in range(3)]}


def fare(stops: int) -> float:
    return stops * 1.5


TOOLS = {"stops_of": stops_of, "fare": fare}
SPECS = [ToolSpec("stops_of", read_only=True), ToolSpec("fare", read_only=True)]


def traveller(prompt: Prompt) -> Reply:
    """Asks two tools at once for each question, and answers when it has their results."""
    text, is_result = asked(prompt)
    if is_result:
        return Reply(f"Answered. {FILLER}")
    line = int(text.rpartition(" ")[2])
    return calling(prompt.number, ("stops_of", {"line": line}), ("fare", {"stops": 3}))


def session(folder: Path, protocol: str, **settings: Any) -> SessionManager:
    """A manager on the file in the folder; its store is opened anew and knows nothing."""
    sm = SessionManager(
        "trip",
        store=f"sqlite:///{folder}/log.db",
        model=MODELS[protocol],
        system_prompt="You plan trips.",
        **settings,
    )
    sm.tools.configure(SPECS)
    return sm


@STREAMED
@PROTOCOLS
async def test_a_loop_goes_on_over_segments_and_restarts(protocol: str, stream: bool, tmp_path: Path) -> None:
    """Every message, result and usage is in the log once, in order, over segments and a cold restart."""
    async with LoopbackServer(answer=traveller) as server:
        ask = LOOPS[protocol](server, stream=stream)
        for half in range(2):
            async with session(tmp_path, protocol, token_threshold=400, segmentation="inline") as sm:
                for n in range(3):
                    await say(sm, ask, TOOLS, f"{FILLER}Tell me of line {half * 3 + n}")
            await sm.store.close()
        sent = [len(request.body["messages"]) for request in server.requests]
    async with session(tmp_path, protocol) as sm:
        rows = await sm.get_conversation()
        stats = await sm.get_stats()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "tool", "assistant"] * 6
    assert [row["content"][-6:] for row in rows if row["role"] == "user"] == [f"line {n}" for n in range(6)]
    assert json.loads(rows[2]["content"]) == stops_of(0)
    assert stats.session_segments >= 3
    assert stats.billed_tokens > 0
    assert len(sent) == 12
    assert max(sent) < 14


@PROTOCOLS
async def test_a_loop_of_equal_calls_is_stopped(protocol: str, tmp_path: Path) -> None:
    """A model that makes one call again and again is told so, and the tool does not run each time."""
    ran: list[str] = []

    def search(query: str) -> str:
        ran.append(query)
        return "nothing found"

    def stubborn(prompt: Prompt) -> Reply:
        text, is_result = asked(prompt)
        if is_result and "nothing found" not in text:
            return Reply("I give up.")
        return calling(prompt.number, ("search", {"query": "fares"}))

    async with LoopbackServer(answer=stubborn) as server:
        sm = SessionManager("loop", store=f"sqlite:///{tmp_path}/log.db", model=MODELS[protocol])
        sm.tools.configure([ToolSpec("search")], loop=LoopPolicy())
        ask = LOOPS[protocol](server, stream=True)
        await say(sm, ask, {"search": search}, "What are the fares?", rounds=20)
        rows = await sm.get_conversation()
    await sm.store.close()

    assert len(ran) < 10
    assert rows[-1]["content"] == "I give up."


@PROTOCOLS
async def test_a_cut_stream_is_recorded_as_far_as_it_came(protocol: str, tmp_path: Path) -> None:
    """What came of a cut answer is in the log, marked; the user's message stays; the next turn is whole."""
    whole = " ".join(f"word{n}" for n in range(200))
    async with LoopbackServer([Fault.cut_body(whole), "Now in full."]) as server:
        sm = session(tmp_path, protocol)
        ask = LOOPS[protocol](server, stream=True)
        with pytest.raises(Exception, match=r"peer closed|incomplete|Connection"):
            await say(sm, ask, TOOLS, "Tell me all.")
        await say(sm, ask, TOOLS, "Again, please.")
        rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant", "user", "assistant"]
    assert whole.startswith(rows[1]["content"])
    assert 0 < len(rows[1]["content"]) < len(whole)
    assert rows[1]["metadata"]["cut"]
    assert "metadata" not in rows[3]


@PROTOCOLS
async def test_half_of_a_call_is_none(protocol: str, tmp_path: Path) -> None:
    """A stream that breaks off within a call leaves a context that can be sent."""
    call = ToolCall("c1", "stops_of", json.dumps({"line": 1, "note": FILLER * 3}))
    cut = Fault.cut_body(Reply("Let me look. " * 5, tool_calls=(call,)))
    async with LoopbackServer([cut, "Sorry, once more."]) as server:
        sm = session(tmp_path, protocol)
        ask = LOOPS[protocol](server, stream=True)
        with pytest.raises(Exception, match=r"peer closed|incomplete|Connection"):
            await say(sm, ask, TOOLS, "Look.")
        await say(sm, ask, TOOLS, "And?")
        rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant", "user", "assistant"]
    assert "tool_calls" not in rows[1]


@PROTOCOLS
async def test_a_cancelled_stream_is_recorded(protocol: str, tmp_path: Path) -> None:
    """Cancelled in the middle of an answer, the task ends cancelled, and the log has what came."""
    async with LoopbackServer([Fault.stall(30, " ".join(f"word{n}" for n in range(200)))]) as server:
        sm = session(tmp_path, protocol)
        task = asyncio.create_task(say(sm, LOOPS[protocol](server, stream=True), TOOLS, "Tell me all."))
        await server.wait_for_requests(1)
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert rows[1]["metadata"] == {"cut": "CancelledError"}


async def test_a_stream_that_is_left_is_recorded(tmp_path: Path) -> None:
    """Who leaves the block early keeps what came; chunks pass through as the same objects."""
    from openai import AsyncOpenAI

    async with LoopbackServer([" ".join(f"word{n}" for n in range(200))]) as server:
        sm = session(tmp_path, "openai")
        await sm.user_says("Tell me all.")
        async with AsyncOpenAI(base_url=server.openai_url, api_key="none") as client:
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}], stream=True
            )
            async with recorded(sm, stream) as chunks:
                async for chunk in chunks:
                    assert type(chunk).__name__ == "ChatCompletionChunk"
                    if len(str((chunks.message or {}).get("content"))) > 30:
                        break
        rows = await sm.get_conversation()
    await sm.store.close()

    assert rows[1]["metadata"] == {"cut": "left early"}


async def test_the_helpers_of_the_sdks_are_streams_too(tmp_path: Path) -> None:
    """`stream()` of both SDKs adds events of its own; they pass through, and the answer is recorded."""
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    sm = session(tmp_path, "openai")
    async with LoopbackServer(["One.", "Two."]) as server:
        await sm.user_says("Count.")
        async with (
            AsyncOpenAI(base_url=server.openai_url, api_key="none") as client,
            client.chat.completions.stream(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "Count."}]
            ) as stream,
            recorded(sm, stream) as events,
        ):
            async for _ in events:
                pass
        prompt: Any = anthropic_messages(await sm.context()).arguments
        async with (
            AsyncAnthropic(base_url=server.url, api_key="none") as claude,
            claude.messages.stream(model="claude-sonnet-5", max_tokens=9, **prompt) as told,
            recorded(sm, told) as events,
        ):
            async for _ in events:
                pass
        rows = await sm.get_conversation()
    await sm.store.close()

    assert [(row["content"], row.get("metadata")) for row in rows[1:]] == [("One.", None), ("Two.", None)]


async def test_failures_of_the_provider_leave_the_users_message(tmp_path: Path) -> None:
    """An error status raises in the loop; the user's message is in the log, and no answer."""
    from openai import InternalServerError

    async with LoopbackServer([Fault.status(500)]) as server:
        sm = session(tmp_path, "openai")
        with pytest.raises(InternalServerError):
            await say(sm, LOOPS["openai"](server, stream=False), TOOLS, "Hello?")
        rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["content"] for row in rows] == ["Hello?"]


# Answers with more in them than text


THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "fare", "input": {"stops": 3}}
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "fares"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}


def answer_of(*blocks: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5"}
    return {**head, "content": list(blocks), "stop_reason": "end_turn", "usage": usage}


@pytest.mark.parametrize(
    "blocks",
    [
        [THOUGHT, {"type": "text", "text": "It is 4.50."}],
        [THOUGHT, {"type": "text", "text": "I look."}, CALL],
        [{"type": "redacted_thinking", "data": "eA=="}, CALL],
        [THOUGHT, SEARCH, FOUND, THOUGHT, {"type": "text", "text": "Found."}, CALL],
        [{"type": "text", "text": "a"}, {"type": "brand_new", "field": {"deep": [1]}}],
        [CALL, {"type": "text", "text": "after the call"}],
    ],
    ids=["thinking", "calling", "redacted", "searching", "unknown", "text-last"],
)
async def test_the_blocks_of_an_answer_survive(blocks: list[dict[str, Any]]) -> None:
    """What Claude answered is sent back block for block: signatures, server tools, unknown kinds."""
    from anthropic.types import Message as AnthropicMessage

    sm = SessionManager("blocks", store="memory://")
    await sm.user_says("What is the fare?")
    await sm.record(
        AnthropicMessage.model_validate(answer_of(*blocks))
        if blocks[-1]["type"] != "brand_new"
        else answer_of(*blocks)
    )
    if CALL in blocks:
        await sm.tools.run(fare, "fare", {"stops": 3}, call_id="toolu_1")
    prompt = anthropic_messages(await sm.context())
    stats = await sm.get_stats()

    said = prompt.messages[1]["content"]
    assert said == (blocks if len(blocks) > 1 else blocks[0])
    assert stats.billed_tokens == 22
    assert stats.input_tokens == 15


async def test_reasoning_of_the_responses_api_survives() -> None:
    """Items with reasoning go back as they came; calls are calls, and their results follow."""
    from openai.types.responses import Response

    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "eHg="},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "fare",
            "arguments": '{"stops":3}',
        },
    ]
    body = {"id": "r1", "object": "response", "created_at": 0, "model": "gpt-5", "output": items}
    usage = {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 2},
    }
    sm = SessionManager("responses", store="memory://", system_prompt="Be brief.")
    await sm.user_says("What is the fare?")
    await sm.record(Response.model_construct(**body, usage=usage))
    done = await sm.tools.run(fare, "fare", {"stops": 3}, call_id="call_1")
    prompt = responses_input(await sm.context())
    stats = await sm.get_stats()

    assert prompt.instructions == "Be brief."
    assert prompt.input == [
        {"role": "user", "content": "What is the fare?"},
        *items,
        {"type": "function_call_output", "call_id": "call_1", "output": done.content},
    ]
    assert stats.billed_tokens == 13


def test_a_responses_stream_is_put_together() -> None:
    """The last event carries the answer; without it there is the text that came."""
    whole, cut = AnswerBuilder(), AnswerBuilder()
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    done = {"object": "response", "model": "gpt-5", "output": [message], "usage": {"input_tokens": 1}}
    for builder in (whole, cut):
        builder.add({"type": "response.created", "response": {"model": "gpt-5", "output": []}})
        builder.add({"type": "response.output_text.delta", "delta": "Hel"})
    whole.add({"type": "response.completed", "response": done})

    assert (whole.message(), whole.is_done) == ({"role": "assistant", "content": "Hello"}, True)
    assert (cut.message(), cut.is_done, cut.model) == (
        {"role": "assistant", "content": "Hel"},
        False,
        "gpt-5",
    )


def test_reasoning_of_other_providers_is_kept() -> None:
    """Deltas of fields that OpenAI does not have are joined and kept beside the content."""
    builder = AnswerBuilder()
    for delta in (
        {"reasoning_content": "Let "},
        {"reasoning_content": "me."},
        {"content": "Hi"},
        {"content": "!"},
    ):
        builder.add({"model": "r1", "choices": [{"index": 0, "delta": delta}]})
    builder.add({"choices": [{"index": 1, "delta": {"content": "another choice"}}]})
    builder.add({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})

    assert builder.message() == {"role": "assistant", "content": "Hi!", "reasoning_content": "Let me."}


def test_a_streamed_answer_has_all_its_blocks() -> None:
    """Thinking with its signature, searches and calls of a stream are those of the whole answer."""
    builder = AnswerBuilder()
    builder.add({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3}}})
    blocks = [
        ({"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": "Let me see."}]),
        ({**SEARCH, "input": {}}, [{"type": "input_json_delta", "partial_json": '{"query": "fares"}'}]),
        (FOUND, []),
        (
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": "Fo"}, {"type": "text_delta", "text": "und."}],
        ),
        ({**CALL, "input": {}}, [{"type": "input_json_delta", "partial_json": '{"stops": 3}'}]),
    ]
    for index, (block, deltas) in enumerate(blocks):
        builder.add({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            builder.add({"type": "content_block_delta", "index": index, "delta": delta})
    signed = {"type": "signature_delta", "signature": "c2ln"}
    builder.add({"type": "content_block_delta", "index": 0, "delta": signed})
    half = builder.message()
    unfinished = builder.unfinished_calls()
    builder.add({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}})
    builder.add({"type": "message_stop"})
    prompt = anthropic_messages([builder.message() or {}])

    assert prompt.messages[0]["content"] == [THOUGHT, SEARCH, FOUND, {"type": "text", "text": "Found."}, CALL]
    assert builder.usage == {"input_tokens": 3, "output_tokens": 9}
    assert half is not None
    assert "tool_calls" not in half
    assert [call["id"] for call in unfinished] == ["toolu_1"]


def answered(*deltas: dict[str, Any]) -> dict[str, Any]:
    """The answer of a whole stream of Chat Completions."""
    builder = AnswerBuilder()
    for delta in deltas:
        builder.add({"choices": [{"index": 0, "delta": delta}]})
    builder.add({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return builder.message() or {}


def call_delta(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}


def test_calls_of_servers_that_do_not_count_stay_apart() -> None:
    """Two calls under one index are two, told apart by their ids; later chunks belong to the newest."""
    message = answered(
        call_delta(0, "a", "f", "{}"), call_delta(0, "b", "g", '{"x": '), call_delta(0, "", None, "1}")
    )

    calls = [(call["id"], *call["function"].values()) for call in message["tool_calls"]]
    assert calls == [("a", "f", "{}"), ("b", "g", '{"x": 1}')]


def test_odd_streams_give_answers_that_can_be_recorded() -> None:
    """Empty roles, calls without a name, and text after lists of parts lose nothing."""
    message = answered(
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
        {"role": "", "content": "It "},
        {"role": "", "content": "is."},
        call_delta(0, None, None, "{}"),
    )

    assert Message.from_wire(message).role == "assistant"
    assert message["content"] == [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "It is."}]
    assert message["tool_calls"][0]["function"]["name"] == "unnamed"


def test_a_cut_answer_has_nothing_that_waits() -> None:
    """Calls, a search without its result, and reasoning before a call are left out of a cut answer."""
    claude, responses = AnswerBuilder(), AnswerBuilder()
    claude.add({"type": "message_start", "message": {"model": "m", "usage": {}}})
    for index, block in enumerate(
        [SEARCH, FOUND, {"type": "text", "text": "Found."}, {**SEARCH, "id": "srv_2"}]
    ):
        claude.add({"type": "content_block_start", "index": index, "content_block": block})
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    for item in ({"type": "reasoning", "id": "rs_1", "summary": []}, call):
        responses.add({"type": "response.output_item.done", "item": item})

    assert claude.message() == {
        "role": "assistant",
        "content": [SEARCH, FOUND, {"type": "text", "text": "Found."}],
    }
    assert responses.message() is None
    assert [call["id"] for call in responses.unfinished_calls()] == ["c"]


async def test_a_stream_is_closed_though_its_answer_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store fails at the end of the block, the error is raised and the connection is freed."""

    class Chunks:
        closed = False

        def __aiter__(self) -> "Chunks":
            return self

        async def __anext__(self) -> dict[str, Any]:
            return {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}

        async def close(self) -> None:
            self.closed = True

    async def fails(*_: Any, **__: Any) -> str:
        raise StoreError("the disk is full")

    sm, stream = session(tmp_path, "openai"), Chunks()
    monkeypatch.setattr(sm, "ai_responds", fails)
    with pytest.raises(StoreError, match="the disk is full"):
        async with recorded(sm, stream) as chunks:
            await anext(chunks)

    assert stream.closed


# Translations


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
values = st.dictionaries(texts, st.integers() | texts | st.booleans(), max_size=3)
images = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "f1"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    ]
)
# Anthropic takes no blank text, so no transcript of it has any.
text_blocks = st.builds(lambda text: {"type": "text", "text": text}, texts.filter(str.strip))
user_turns = st.lists(text_blocks | images, min_size=1, max_size=3)
thoughts = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, texts)
other_blocks = st.sampled_from([SEARCH, FOUND, {"type": "brand_new", "field": 1}])
answers = st.lists(text_blocks | thoughts | other_blocks | st.just("call"), min_size=1, max_size=5)


@st.composite
def transcripts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Valid transcripts in Anthropic's shape: user and assistant in turn, each call answered at once."""
    turns: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for n in range(draw(st.integers(1, 4))):
        turns.append({"role": "user", "content": [*results, *draw(user_turns)]})
        said, results = [], []
        for i, block in enumerate(draw(answers)):
            call_id = f"toolu_{n}_{i}"
            if block != "call":
                said.append(block)
                continue
            said.append({"type": "tool_use", "id": call_id, "name": "look", "input": draw(values)})
            results.append({"type": "tool_result", "tool_use_id": call_id, "content": draw(texts)})
        turns.append({"role": "assistant", "content": said})
    return [*turns, *([{"role": "user", "content": results}] if results else [])]


def as_blocks(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn["content"]
    return {**turn, "content": [{"type": "text", "text": content}] if isinstance(content, str) else content}


@given(transcripts())
def test_anthropic_transcripts_come_back(turns: list[dict[str, Any]]) -> None:
    """To the chat shape, through the log's own form, and back: not a block is lost or moved."""
    chat = [Message.from_wire(message).to_wire() for message in chat_of_anthropic(turns)]
    prompt = anthropic_messages(chat)

    assert prompt.system is None
    assert [as_blocks(turn) for turn in prompt.messages] == turns


chat_messages = st.lists(
    st.builds(
        lambda role, text: {"role": role, "content": text},
        st.sampled_from(["system", "user", "assistant"]),
        texts,
    ),
    max_size=8,
)


@given(chat_messages)
def test_neighbours_of_one_role_are_merged(messages: list[dict[str, Any]]) -> None:
    """No two neighbours have one role, no text is lost, and merging again changes nothing."""
    once = merged(messages)

    assert all(a["role"] != b["role"] for a, b in pairwise(once))
    assert "\n\n".join(m["content"] for m in once) == "\n\n".join(m["content"] for m in messages)
    assert merged(once) == once


def test_merging_keeps_calls_and_parts() -> None:
    """Parts and calls follow each other; results of tools stay apart; differing names go."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    given_messages = [
        {"role": "user", "content": "Look:", "name": "ana"},
        {"role": "user", "content": [image], "name": "ben"},
        {"role": "assistant", "content": "I look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
    ]

    assert merged(given_messages) == [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, image]},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        *given_messages[4:],
    ]


def test_what_anthropic_refuses_is_not_sent() -> None:
    """Empty texts, unsigned thinking, foreign ids and late system messages take an accepted form."""
    call = {"id": "call:1", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    prompt = anthropic_messages(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "", "thinking_blocks": [{"type": "thinking", "thinking": "x"}]},
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,eA=="}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "system", "content": "The user has left."},
            {"role": "tool", "tool_call_id": "call:1", "content": "", "cache_control": {"type": "ephemeral"}},
        ]
    )

    assert prompt.system == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    assert prompt.messages == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "eA=="},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"invalid_json": "{broken"}}
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": "",
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "<system>\nThe user has left.\n</system>"},
            ],
        },
    ]


def test_ids_that_come_back_are_sent_once() -> None:
    """Answers without ids have `call_0` again and again; Claude refuses an id that is there twice."""
    function = {"name": "f", "arguments": "{}"}
    turn = [
        {"role": "assistant", "tool_calls": [{"id": "call:0", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call:0", "content": "1"},
    ]
    prompt = anthropic_messages([{"role": "user", "content": "Go."}, *turn, *turn])

    ids = [
        block.get("id") or block["tool_use_id"] for said in prompt.messages[1:] for block in said["content"]
    ]
    assert ids == ["call_0", "call_0", "call_0_again_2", "call_0_again_2"]


def test_blank_text_is_not_sent_to_claude() -> None:
    """Claude answers with blank texts at times, and refuses to be sent one."""
    blank = {"type": "text", "text": "\n\n"}
    answer = chat_of_anthropic([{"role": "assistant", "content": [THOUGHT, blank, CALL]}])
    prompt = anthropic_messages(
        [{"role": "user", "content": "Go."}, *answer, {"role": "user", "content": " "}]
    )

    assert prompt.messages[1:] == [{"role": "assistant", "content": [THOUGHT, CALL]}]


def test_four_cache_marks_are_sent_at_most() -> None:
    """Of a host's own marks, in all its messages and results, the first and the newest three are left."""
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {"type": "text", "text": "Hello.", **mark}
    told = [{"role": "user", "content": [dict(part)]}, {"role": "assistant", "content": "Hi."}] * 5
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [dict(part)]}
    given = [{"role": "system", "content": [dict(part)]}, *told, {"role": "user", "content": [result]}]
    before = json.dumps(given)
    prompt = anthropic_messages(given)

    places = [json.dumps(turn).count("cache_control") for turn in prompt.messages]
    assert places == [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1]
    assert prompt.system == [part]
    assert json.dumps(given) == before


def segments_in(printed: str, *, messages: int) -> int:
    """Segments that an example tells of; how many depends on when those in the background are done."""
    told = re.search(rf"^{messages} messages, (\d+) segments", printed, re.MULTILINE)

    assert told is not None, printed
    return int(told[1])


@pytest.mark.slow
def test_the_openai_example_streams(tmp_path: Path) -> None:
    """Equal look-ups run once, and the conversation goes over segments."""
    printed = run("openai_session_loop.py", folder=tmp_path, NO_PROXY="127.0.0.1")

    assert "[replay] O-100 was sent, 1 items." in printed
    assert segments_in(printed, messages=30) >= 2


@pytest.mark.slow
def test_the_anthropic_example_streams(tmp_path: Path) -> None:
    """The example streams its answers, over several segments."""
    first = run("anthropic_loop.py", folder=tmp_path, NO_PROXY="127.0.0.1")

    assert "claude: Porto is clear, at 19 degrees." in first
    assert segments_in(first, messages=24) >= 2
