"""The calls of a chat endpoint: one line records a turn, and an error is never swallowed."""

import asyncio
import contextlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from summarizer import (
    SessionManager,
    get_conversation_history,
    get_session_stats,
    settle,
    track_conversation,
    track_infinite_conversation,
    track_llm_call,
    track_tool_use,
)
from summarizer.config import INFINITE_THRESHOLD
from summarizer.errors import InvalidSetting, OrphanToolResult, SessionNotFound
from summarizer.events import EventKind
from summarizer.stores import MemoryStore
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import calls_tool, chain_of, fresh, said, told

RESPONSE: dict[str, Any] = {
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Four."}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
}


class Dumped:
    """A response as OpenAI's client and litellm give it: dumped by `model_dump`."""

    usage = RESPONSE["usage"]

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        return RESPONSE


def plain(*_: object) -> str:
    return "Four."


async def awaited(*_: object) -> str:
    return "Four."


class Awaited:
    """An object whose call is a coroutine."""

    async def __call__(self, _text: object) -> str:
        return "Four."


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_turn_is_one_line(name: str) -> None:
    """`track_conversation` makes a conversation, goes on with the id that it returned, and a cold instance
    reads both turns.
    """
    async with fresh(name) as made:
        session_id = await track_conversation("Hello.", "Hi.", store=made.store)
        again = await track_conversation("And?", "So.", session_id=session_id, store=await made.second())
        rows = await get_conversation_history(session_id, store=await made.second())
        stats = await get_session_stats(session_id, store=made.store)

        assert again == session_id
        assert [(row["role"], row["content"]) for row in rows] == [
            ("user", "Hello."),
            ("assistant", "Hi."),
            ("user", "And?"),
            ("assistant", "So."),
        ]
        assert [row["seq"] for row in rows] == [1, 2, 3, 4]
        assert (stats["total_messages"], stats["session_segments"]) == (4, 1)


async def test_two_conversations_without_an_id_have_nothing_in_common() -> None:
    """Without a session id each call begins a conversation under an id that nobody guesses."""
    store = MemoryStore()
    ids = {await track_conversation("a", "b", store=store) for _ in range(5)}

    assert len(ids) == 5
    assert min(map(len, ids)) >= 20


async def test_an_unknown_id_is_made_or_refused() -> None:
    """An unknown id is created under that id; with `create=False` it is `SessionNotFound`."""
    store = MemoryStore()
    with pytest.raises(SessionNotFound, match="user-7"):
        await track_conversation("a", "b", session_id="user-7", store=store, create=False)
    with pytest.raises(SessionNotFound):
        await get_session_stats("user-7", store=store)

    assert await track_conversation("a", "b", session_id="user-7", store=store) == "user-7"
    assert await track_conversation("a", "b", session_id="user-7", store=store, create=False) == "user-7"


async def test_another_owners_id_is_a_missing_one() -> None:
    """Who holds another owner's id finds nothing there, and creates one of his own."""
    store = MemoryStore()
    await track_conversation("secret", "yes", session_id="c", store=store, owner="ann")
    for owner in ("bob", None):
        with pytest.raises(SessionNotFound):
            await get_conversation_history("c", store=store, owner=owner)
        with pytest.raises(SessionNotFound):
            await get_session_stats("c", store=store, owner=owner)
        with pytest.raises(SessionNotFound):
            await track_conversation("a", "b", session_id="c", store=store, owner=owner, create=False)
    await track_conversation("mine", "ok", session_id="c", store=store, owner="bob")

    assert [r["content"] for r in await get_conversation_history("c", store=store, owner="bob")] == [
        "mine",
        "ok",
    ]
    assert (await get_session_stats("c", store=store, owner="ann")).total_messages == 2


async def test_the_endless_kind_segments_at_its_threshold() -> None:
    """`track_infinite_conversation` opens children at 4,000 tokens, told otherwise at what it was told, and
    the id that it returns is the tip's.
    """
    store, session_id = MemoryStore(), "c"
    for number in range(30):
        session_id = await track_infinite_conversation(
            said(number), told(number), session_id=session_id, store=store, token_threshold=300
        )
        await settle()
    large, small = "word " * (INFINITE_THRESHOLD - 500), "word " * 100
    await track_infinite_conversation(large, small, session_id="d", store=store)
    assert (await get_session_stats("d", store=store)).session_segments == 1
    for _ in range(8):
        await track_infinite_conversation(small, small, session_id="d", store=store)
        await settle()
    events, chain = await chain_of(store, "c")

    assert len(chain) > 3
    assert sum(e.message is not None for e in events) == 60
    assert (await get_session_stats("d", store=store)).session_segments == 2
    assert session_id.startswith("c~")


async def test_infinite_context_off_never_segments() -> None:
    """With `infinite_context=False` a conversation stays one session, whatever its size."""
    store = MemoryStore()
    for number in range(10):
        await track_conversation(
            said(number),
            told(number),
            session_id="c",
            store=store,
            token_threshold=100,
            infinite_context=False,
        )
    await settle()

    assert (await get_session_stats("c", store=store)).session_segments == 1


@pytest.mark.parametrize("function", [plain, awaited, Awaited(), lambda _: awaited(), lambda _: RESPONSE])
async def test_a_model_call_is_recorded_with_its_answer(function: Any) -> None:
    """Sync and async callables, and any answer that holds a text: user and assistant stand in the log, and
    the text is returned.
    """
    store = MemoryStore()
    text, session_id = await track_llm_call("Two and two?", function, store=store)
    rows = await get_conversation_history(session_id, store=store)

    assert text == "Four."
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", "Two and two?"),
        ("assistant", "Four."),
    ]


@pytest.mark.parametrize(
    "response",
    [
        RESPONSE,
        Dumped(),
        SimpleNamespace(
            choices=[
                SimpleNamespace(message=SimpleNamespace(role="assistant", content="Four.", tool_calls=None))
            ],
            usage=SimpleNamespace(prompt_tokens=11, completion_tokens=2, total_tokens=13),
            model="gpt-4o-mini",
        ),
    ],
    ids=["mapping", "dumped", "attributes"],
)
async def test_a_response_brings_its_usage(response: object) -> None:
    """The usage and the model of an OpenAI-like response are recorded, so the cost is known."""
    store = MemoryStore()
    _, session_id = await track_llm_call("Two and two?", lambda _: response, store=store)
    stats = await get_session_stats(session_id, store=store)

    assert (stats.input_tokens, stats.output_tokens) == (11, 2)
    assert stats.cost_usd is not None


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("model down"), KeyError("x"), asyncio.CancelledError()])
async def test_a_raising_call_keeps_the_users_message_and_passes_the_error(
    error: BaseException, is_async: bool
) -> None:
    """What the callable raises reaches the caller as it is, and the user's message is in the log."""
    store = MemoryStore()

    async def later(_text: object) -> str:
        raise error

    def now(_text: object) -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        await track_llm_call("Are you there?", later if is_async else now, session_id="c", store=store)
    rows = await get_conversation_history("c", store=store)

    assert caught.value is error or isinstance(error, asyncio.CancelledError)
    assert [row["content"] for row in rows] == ["Are you there?"]
    await track_llm_call("And now?", plain, session_id="c", store=store)
    assert (await get_session_stats("c", store=store)).total_messages == 3


async def test_a_sync_call_does_not_block_the_loop() -> None:
    """A sync callable runs beside the event loop."""
    loop, reached = asyncio.get_running_loop(), asyncio.Event()

    def waits(_text: object) -> str:
        asyncio.run_coroutine_threadsafe(reached.wait(), loop).result(5)
        return "Four."

    call = asyncio.create_task(track_llm_call("x", waits, store=MemoryStore()))
    await asyncio.sleep(0)
    reached.set()
    text, _ = await call

    assert text == "Four."


async def test_a_tool_use_is_call_and_result() -> None:
    """`track_tool_use` records a call and its outcome, and answers an open call where its id is given."""
    store = MemoryStore()
    session_id = await track_tool_use("search", {"q": "rooms"}, [1, 2], store=store)
    await track_tool_use(
        "search", {"q": "x"}, error=ValueError("no such city"), session_id=session_id, store=store
    )
    await SessionManager(session_id, store=store).record(calls_tool("call_1"))
    await track_tool_use("look", {}, "seen", session_id=session_id, tool_call_id="call_1", store=store)
    rows = await get_conversation_history(session_id, store=store)

    assert [row["role"] for row in rows] == ["assistant", "tool"] * 3
    assert "no such city" in rows[3]["content"]
    assert rows[5]["tool_call_id"] == "call_1"
    with pytest.raises(OrphanToolResult):
        await track_tool_use("look", {}, 1, session_id=session_id, tool_call_id="call_1", store=store)


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_repeated_key_records_once(name: str) -> None:
    """The same idempotency key records a turn and a tool use once, also from another instance, behind a
    segmentation, and answers alike.
    """
    async with fresh(name) as made:
        second = await made.second()
        ids = [
            await track_conversation("a", "b", session_id="c", idempotency_key="k1", store=store)
            for store in (made.store, second, made.store)
        ]
        tools = [
            await track_tool_use("t", {}, 1, session_id="c", idempotency_key="k2", store=store)
            for store in (made.store, second)
        ]
        await track_conversation("more " * 50, "text " * 50, session_id="c", store=second)
        assert (await SessionManager("c", store=made.store).segment()).status == "segmented"
        later = await track_conversation("a", "b", session_id="c", idempotency_key="k1", store=second)
        stats = await get_session_stats("c", store=made.store)

        assert set(ids + tools) == {"c"}
        assert later == "c~1"
        assert (stats.total_messages, stats.tool_calls, stats.tool_results) == (4, 1, 1)


async def test_an_unknown_child_is_never_created() -> None:
    """`ROOT~N` that does not exist is not found by reading or writing; a malformed one is refused."""
    store = MemoryStore()
    for session_id in ("nobody~3",):
        with pytest.raises(SessionNotFound, match="nobody~3"):
            await track_conversation("a", "b", session_id=session_id, store=store)
        with pytest.raises(SessionNotFound):
            await get_session_stats(session_id, store=store)
    await track_conversation("a", "b", session_id="c", store=store)
    with pytest.raises(SessionNotFound, match="c~1"):
        await track_conversation("a", "b", session_id="c~1", store=store)
    for bad in ("c~", "c~0", "c~x", "", "a\x00b", "~1", "x" * 201):
        with pytest.raises(InvalidSetting):
            await track_conversation("a", "b", session_id=bad, store=store)

    assert (await get_session_stats("c", store=store)).total_events == 2


async def test_many_endpoints_at_once_lose_nothing() -> None:
    """Forty concurrent calls on one new id leave forty whole turns."""
    store = MemoryStore()
    await asyncio.gather(
        *(
            track_conversation(said(i), told(i), session_id="c", store=store, token_threshold=300)
            for i in range(40)
        )
    )
    await settle()
    events, _ = await chain_of(store, "c")
    texts = [e.message.text for e in events if e.kind is EventKind.MESSAGE and e.message]

    assert sorted(texts[0::2]) == sorted(said(i) for i in range(40))
    assert [told(int(t.split()[1].rstrip(":"))) for t in texts[0::2]] == texts[1::2]


def test_the_promised_names_take_the_promised_arguments() -> None:
    """The calls of the house plan bind by position as promised."""
    inspect.signature(track_llm_call).bind("hi", plain, "m", "p", "s")
    inspect.signature(track_conversation).bind("hi", "ho", "m", "p", "s")
    inspect.signature(track_infinite_conversation).bind("hi", "ho", "m", "p", "s", token_threshold=5)
    inspect.signature(track_tool_use).bind("t", {}, 1, None, "s")


async def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Stdout and stderr stay empty, also when a summary fails and a call raises."""

    def broken(_messages: object) -> str:
        raise RuntimeError("no")

    store = MemoryStore()
    for number in range(20):
        await track_conversation(
            said(number), told(number), session_id="c", store=store, token_threshold=200, summarizer=broken
        )
    await settle()
    with contextlib.suppress(RuntimeError):
        await track_llm_call("x", broken, session_id="c", store=store)

    assert capfd.readouterr() == ("", "")
