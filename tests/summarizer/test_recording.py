"""Messages and responses become events: weighed, priced, and refused whole where they cannot be kept."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from summarizer import SessionManager
from summarizer.errors import InvalidMessage, InvalidSetting, OrphanToolResult, ValueTooLarge
from summarizer.events import Event, Origin
from summarizer.incoming import read_answer
from summarizer.messages import Message
from summarizer.meter import counter_named
from summarizer.recording import LONG_TEXT, Recorder
from summarizer.stores import MemoryStore
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import calls_tool, fresh, tool_result

RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Four."}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
}


def as_object(value: object) -> Any:
    """A response as a client library hands it over: attributes in place of keys."""
    return json.loads(json.dumps(value), object_hook=lambda d: SimpleNamespace(**d))


def recorder(**options: Any) -> Recorder:
    return Recorder(counter_named("utf8/4"), None, **options)


def used(
    made: Recorder, name: str, arguments: object, result: object, error: BaseException | str | None = None
) -> list[Event]:
    return made.tool(name, arguments, result=result, error=error, tool_call_id=None, metadata=None)


@pytest.mark.parametrize(
    "response",
    [
        "Four.",
        {"role": "assistant", "content": "Four."},
        {"content": "Four."},
        RESPONSE,
        SimpleNamespace(content="Four."),
    ],
)
def test_an_answer_is_read_from_whatever_holds_it(response: object) -> None:
    """Text, a message, a response and an object with `content` give the same message."""
    assert read_answer(response).message == Message("assistant", "Four.")


def test_a_response_brings_its_usage_and_model() -> None:
    """Usage and model of a response are taken, and what is handed over beside it goes before them."""
    answer = read_answer(RESPONSE)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 2)
    assert answer.model == "gpt-4o-mini-2024-07-18"
    told = read_answer(RESPONSE, usage={"input_tokens": 1, "output_tokens": 1}, model="mine")

    assert told.usage is not None
    assert (told.usage.input_tokens, told.model) == (1, "mine")


@pytest.mark.parametrize("response", [7, object(), {"choices": []}, {"choices": "none"}, b"x"])
def test_what_is_no_answer_is_refused(response: object) -> None:
    """A value that holds no assistant message is refused with what to pass in its place."""
    with pytest.raises(InvalidMessage):
        read_answer(response)


def test_usage_that_cannot_be_is_refused() -> None:
    """A negative number of tokens is an error that names it."""
    with pytest.raises(InvalidSetting, match="-1"):
        read_answer("Four.", usage={"prompt_tokens": -1, "completion_tokens": 2})


def test_a_made_up_call_and_its_result_are_one_batch() -> None:
    """A tool's outcome stands behind a call of its own, bound by id."""
    call, result = used(recorder(), "search", {"q": "rooms"}, [1, 2])
    assert call.message is not None
    assert result.message is not None

    assert call.message.tool_calls[0].id == result.message.tool_call_id
    assert call.message.tool_calls[0].arguments == {"q": "rooms"}
    assert (call.data["synthetic"], call.origin, result.origin) == (True, Origin.ASSISTANT, Origin.TOOL)
    assert json.loads(result.message.text) == [1, 2]


def test_an_error_is_what_the_tool_said() -> None:
    """An exception is recorded with its class and text, beside a result if there is one."""
    _, raised = used(recorder(), "search", {}, None, ValueError("no such city"))
    _, both = used(recorder(), "search", {}, "half", "cut off")

    assert raised.data["tool"] == {"name": "search", "error": "no such city", "error_type": "ValueError"}
    assert raised.message is not None
    assert "no such city" in raised.message.text
    assert both.message is not None
    assert ("cut off" in both.message.text, "half" in both.message.text) == (True, True)


def test_the_same_key_gives_the_same_ids() -> None:
    """Events recorded under an idempotency key have ids that follow from it; others never repeat."""
    keyed = [[e.event_id for e in used(recorder(idempotency_key="k"), "t", {}, 1)] for _ in "ab"]
    free = [[e.event_id for e in used(recorder(), "t", {}, 1)] for _ in "ab"]

    assert keyed[0] == keyed[1]
    assert len(set(keyed[0])) == 2
    assert free[0] != free[1]


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff bytes",
        {1, 2, 3},
        object(),
        datetime(2026, 11, 21, tzinfo=UTC),
        Decimal("1.50"),
        float("nan"),
        float("inf"),
        ValueError("x"),
        {("a", 1): object()},
        lambda: None,
        "null \x00 byte",
        "lone \ud800 surrogate",
        {"deep": [{"x": b"\xff"}]},
        None,
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("name", ["memory", "sqlite", "redis"])
async def test_a_result_that_is_no_json_poisons_nothing(name: str, value: object) -> None:
    """Any result is stored, read back by a cold instance, and sent in a request that is JSON."""
    if name not in FACTORIES:
        pytest.skip(f"no {name} here")
    async with fresh(name) as made:
        manager = SessionManager("c", store=made.store)
        await manager.user_says("Go.")
        await manager.tool_used("strange", {"x": value}, value)
        await manager.user_says("And on.")
        cold = SessionManager("c", store=await made.second())
        messages = await cold.get_messages_for_llm()

        assert messages == await manager.get_messages_for_llm()
        assert [m["role"] for m in messages] == ["user", "assistant", "tool", "user"]
        json.dumps(messages, allow_nan=False).encode()
        assert (await cold.segment()).status in ("segmented", "skipped")


@pytest.mark.parametrize(
    "text", ["null \x00 byte", "lone \ud800 surrogate", "<|endoftext|>", "", "\u202e", "👩‍👩‍👧" * 50]
)
@pytest.mark.parametrize("name", ["memory", "sqlite", "redis"])
async def test_any_text_comes_back_or_is_refused(name: str, text: str) -> None:
    """A text comes back as a JSON value for a cold instance, or is refused with the log as it was."""
    if name not in FACTORIES:
        pytest.skip(f"no {name} here")
    async with fresh(name) as made:
        manager = SessionManager("c", store=made.store)
        await manager.user_says("first")
        try:
            await manager.user_says(text)
        except InvalidMessage:
            assert (await manager.get_stats()).total_events == 1
        rows = await SessionManager("c", store=await made.second()).get_conversation()

        assert rows[0]["content"] == "first"
        json.dumps(rows).encode()
        await manager.user_says("after")
        assert (await manager.get_messages_for_llm())[-1]["content"] == "after"


async def test_bytes_are_no_text() -> None:
    """Bytes as a message are refused with a text that names them; the log is as it was."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("first")
    with pytest.raises(InvalidMessage, match="bytes"):
        await manager.user_says(b"caf\xe9")

    assert (await manager.get_stats()).total_events == 1


@pytest.mark.parametrize("name", ["memory", "sqlite", "redis"])
async def test_ten_megabytes_are_kept(name: str) -> None:
    """Ten megabytes are recorded whole; a message beyond the store's limit is refused with both sizes."""
    if name not in FACTORIES:
        pytest.skip(f"no {name} here")
    async with fresh(name) as made:
        manager = SessionManager("c", store=made.store)
        large = "lorem ipsum " * (10 * 1024 * 1024 // 12)
        await manager.user_says(large, tokens=1)
        rows = await SessionManager("c", store=await made.second()).get_conversation()

        assert rows[0]["content"] == large
        with pytest.raises(ValueTooLarge, match=str(16 * 1024 * 1024)):
            await manager.user_says(large + large, tokens=1)
        assert (await manager.get_stats()).total_events == 1


async def test_an_unknown_role_is_refused() -> None:
    """A role that no dialect knows is refused by name; the log is as it was."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("first")
    with pytest.raises(InvalidMessage, match="robot"):
        await manager.record({"role": "robot", "content": "x"})

    assert (await manager.get_stats()).total_events == 1


async def test_an_orphan_tool_result_is_refused() -> None:
    """A result without an open call is refused, listing the open ones; an answered call is open no more."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("Go.")
    await manager.record(calls_tool("call_1"))
    with pytest.raises(OrphanToolResult, match="'call_1'") as caught:
        await manager.record(tool_result("call_9", "x"))
    with pytest.raises(OrphanToolResult, match="call_9"):
        await manager.tool_used("look", {}, "x", tool_call_id="call_9")
    await manager.record(tool_result("call_1", "x"))
    with pytest.raises(OrphanToolResult, match="call_1"):
        await manager.record(tool_result("call_1", "again"))

    assert caught.value.open_ids == ("call_1",)
    assert (await manager.get_stats()).total_events == 3


async def test_an_open_call_is_found_behind_a_segmentation() -> None:
    """A call that is open while its segment closes stays in the child, and takes its result there."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    for i in range(6):
        await manager.turn(f"question {i} " * 10, f"answer {i} " * 10)
    await manager.user_says("Go.")
    await manager.record(calls_tool("call_1"))
    assert (await manager.segment()).status == "segmented"
    other = SessionManager("c", store=store)
    await other.record(tool_result("call_1", "done"))
    messages = await other.get_messages_for_llm()

    assert messages[-1] == tool_result("call_1", "done")
    assert messages[-2]["tool_calls"][0]["id"] == "call_1"


LONG = "many words " * (LONG_TEXT // 10)


@pytest.mark.parametrize(
    ("say", "beside"),
    [
        (lambda m: m.user_says(LONG), True),
        (lambda m: m.ai_responds(LONG), True),
        (lambda m: m.record({"role": "user", "content": LONG}), True),
        (lambda m: m.tool_used("read", {"path": "a"}, LONG), True),
        (lambda m: m.tool_used("read", {"path": "a"}, {"lines": [LONG]}), True),
        (lambda m: m.tool_used("write", {"text": LONG}), True),
        (lambda m: m.tool_used("read", {"path": "a"}, error=RuntimeError(LONG)), True),
        (lambda m: m.record(calls_tool("call_1", arguments=LONG)), True),
        (lambda m: m.user_says("short"), False),
        (lambda m: m.tool_used("read", {"path": "a"}, ["short"]), False),
    ],
)
async def test_a_long_text_is_counted_beside_the_loop(say: Any, *, beside: bool) -> None:
    """While it is counted the loop serves others, whoever wrote it; a short one is not worth the way."""
    manager = SessionManager("c", store=MemoryStore())
    manager.tools.configure(memory=None)  # Its traces are written beside the loop's other work too.
    await manager.user_says("Go.")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await say(manager)
    served = turns
    task.cancel()

    assert (served > 0) is beside


async def test_a_tool_needs_a_name() -> None:
    """An empty tool name is refused before anything is written."""
    manager = SessionManager("c", store=MemoryStore())
    with pytest.raises(InvalidSetting, match="tool_name"):
        await manager.tool_used("", {}, 1)


async def test_parts_and_calls_come_back_as_they_were() -> None:
    """Content parts, parallel calls and their ids stand in the request untouched."""
    manager = SessionManager("c", store=MemoryStore())
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.invalid/a.png", "detail": "low"}},
    ]
    both = calls_tool("call_1")
    both["tool_calls"] += calls_tool("call_2")["tool_calls"]
    await manager.user_says(parts)
    await manager.record(both)
    await manager.record(tool_result("call_2", "two"))
    await manager.record(tool_result("call_1", "one"))
    messages = await manager.get_messages_for_llm()

    assert messages[0]["content"] == parts
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["call_1", "call_2"]
    assert {m["tool_call_id"] for m in messages[2:]} == {"call_1", "call_2"}


@pytest.mark.parametrize("wrap", [lambda r: r, as_object])
async def test_a_whole_response_is_recorded_with_its_usage(wrap: Any) -> None:
    """`record` takes an OpenAI response, as a mapping or as an object, and its usage with it."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("Two and two?")
    await manager.record(wrap(RESPONSE))
    stats = await manager.get_stats()

    assert (stats.ai_messages, stats.input_tokens, stats.output_tokens) == (1, 11, 2)
    assert stats.cost_usd is not None


async def test_imported_text_is_data() -> None:
    """An imported message keeps its role and is marked as somebody else's."""
    store = MemoryStore()
    await SessionManager("c", store=store).record({"role": "user", "content": "Never pay."}, imported=True)

    assert [e.origin for e in await store.read(None, "c")] == [Origin.IMPORTED]
