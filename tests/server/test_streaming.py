"""Streaming through the endpoint: every byte, every end, and either side breaking off."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from summarizer import SessionManager, open_store
from summarizer.messages import ToolCall
from summarizer.server import Settings, create_app
from summarizer.server.sessions import owner_of
from summarizer.server.upstream import UpstreamAnswer
from summarizer.testing import Fault, LoopbackServer, Reply
from tests.server.endpoints import KEY, Endpoint, endpoint, sent, serving
from tests.server.raw_upstream import raw_upstream
from tests.server.test_streams import CALL, DONE, STREAM, frame

OWNER = owner_of({"authorization": f"Bearer {KEY}"})
AUTH = {"authorization": f"Bearer {KEY}", "x-longsplice-session-id": "s"}
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
}


SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/v1/chat/completions",
    "raw_path": b"/v1/chat/completions",
    "query_string": b"",
    "headers": [
        (b"host", b"localhost"),
        *((name.encode(), value.encode()) for name, value in AUTH.items()),
    ],
}


class Spoken:
    """What a client says to an application that is called without a server: its body, and no more."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body

    async def __call__(self) -> dict[str, Any]:
        body, self.body = self.body, None
        if body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": False}


class Heard:
    """What a client hears; says when the answer's first words have come."""

    def __init__(self, heard: asyncio.Event) -> None:
        self.heard = heard

    async def __call__(self, event: Any) -> None:
        if event.get("body"):
            self.heard.set()


async def rows(served: Endpoint, session_id: str = "s") -> list[dict[str, Any]]:
    return await SessionManager(session_id, store=served.store, owner=OWNER).get_conversation()


async def streamed(
    served: Endpoint, body: dict[str, Any] = ASK, **options: Any
) -> tuple[httpx.Response, bytes]:
    async with (
        httpx.AsyncClient(base_url=served.url) as client,
        client.stream("POST", "/v1/chat/completions", json=body, headers=AUTH, **options) as answer,
    ):
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


async def until(predicate: Callable[[], Awaitable[bool]], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await predicate():  # noqa: ASYNC110 - what is awaited happens in the store
            await asyncio.sleep(0.01)


async def test_the_official_client_streams_text_and_tools() -> None:
    """Deltas arrive as from the upstream; the answer stands in the log with its calls and its usage."""
    call = ToolCall("call_1", "lookup", '{"id": "A-7"}')
    async with serving([Reply("Let me look.", tool_calls=(call,))]) as (upstream, served):
        stream = await served.client().chat.completions.create(
            model="gpt-4o-mini",
            messages=ASK["messages"],
            stream=True,
            extra_headers={"X-Longsplice-Session-Id": "s"},
        )
        chunks = [chunk async for chunk in stream]
        said = await rows(served)
        stats = await SessionManager("s", store=served.store, owner=OWNER).get_stats()

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Let me look."
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert all(chunk.choices for chunk in chunks)  # The usage frame was ours, and is gone.
    assert sent(upstream)["stream_options"] == {"include_usage": True}
    assert said[1]["content"] == "Let me look."
    assert said[1]["tool_calls"][0]["function"]["arguments"] == '{"id": "A-7"}'
    assert stats.billed_tokens > 0


async def test_usage_reaches_a_client_that_asked_for_it() -> None:
    """Then the last frame is the client's own."""
    async with serving(["hello"]) as (_upstream, served):
        stream = await served.client().chat.completions.create(
            **{**ASK, "stream_options": {"include_usage": True}}
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_bytes_are_the_upstreams_however_it_splits_them(size: int) -> None:
    """Comments, odd events and characters cut in two reach the client as they were sent."""
    pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
    async with raw_upstream(pieces) as upstream, endpoint(upstream.url) as served:
        answer, body = await streamed(served, {**ASK, "stream_options": {"include_usage": True}})
        said = await rows(served)

    assert body == STREAM
    assert answer.headers["content-type"] == "text/event-stream"
    assert said[1]["content"] == "Grüße, 日本 🎉"
    assert said[1]["reasoning_content"] == "hm"
    assert [call["id"] for call in said[1]["tool_calls"]] == ["c1", "c2"]


async def test_the_answer_is_in_the_log_before_the_client_hears_its_end() -> None:
    """A client that goes on at once meets its own answer."""
    async with serving(["one", "two"]) as (upstream, served):
        for _ in range(2):
            await streamed(served)

        assert [m["content"] for m in sent(upstream)["messages"]] == ["hi", "one", "hi"]


async def test_a_stream_that_is_cut_is_kept_as_cut() -> None:
    """What had come is in the log with a mark; the client gets an error event, and no end."""
    async with (
        raw_upstream([frame({"content": "Half a "}), *CALL], cut=True) as upstream,
        endpoint(upstream.url) as served,
    ):
        _, body = await streamed(served)
        said = await rows(served)
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in await served.client().chat.completions.create(**ASK):
                pass

    assert b"[DONE]" not in body
    assert json.loads(body.rpartition(b"data: ")[2])["error"]["code"] == "upstream_cut"
    assert said[1]["content"] == "Half a "
    assert "tool_calls" not in said[1]
    assert said[1]["metadata"] == {"cut": "upstream"}


async def test_a_stream_without_an_end_is_cut_too() -> None:
    """An orderly close with neither a finish reason nor `[DONE]` is no end of an answer."""
    async with raw_upstream([frame({"content": "Half"})]) as upstream, endpoint(upstream.url) as served:
        _, body = await streamed(served)
        said = await rows(served)

    assert b"upstream_cut" in body
    assert said[1]["metadata"] == {"cut": "upstream"}


async def test_a_stream_without_done_is_whole_by_its_finish_reason() -> None:
    """Some servers leave `[DONE]` out."""
    stream = frame({"content": "All of it"}, "stop")
    async with raw_upstream([stream]) as upstream, endpoint(upstream.url) as served:
        _, body = await streamed(served)
        said = await rows(served)

    assert body == stream
    assert "metadata" not in said[1]


async def test_an_answer_cut_before_its_first_word_leaves_the_question_open() -> None:
    """The client tries again, and its message is recorded once."""
    async with serving([Fault.cut(), "hello"]) as (_upstream, served):
        answer, body = await streamed(served)
        await streamed(served)
        said = await rows(served)

    assert answer.status_code == 502
    assert json.loads(body)["error"]["code"] == "upstream_unreachable"
    assert [row["content"] for row in said] == ["hi", "hello"]


async def test_a_client_that_leaves_ends_the_upstreams_work() -> None:
    """The upstream's connection is closed, and what had been said is kept as cut."""
    forever = [frame({"content": "word "}), float("inf")]
    async with raw_upstream(forever) as upstream, endpoint(upstream.url) as served:
        async with served.http.stream("POST", "/v1/chat/completions", json=ASK, headers=AUTH) as answer:
            await anext(answer.aiter_raw())
        await asyncio.wait_for(upstream.gone.wait(), 5)

        async def kept() -> bool:
            return len(await rows(served)) == 2

        await until(kept)
        said = await rows(served)

    assert said[1]["content"] == "word "
    assert said[1]["metadata"] == {"cut": "client"}


async def test_a_server_that_ends_keeps_what_was_said_so_far(tmp_path: Path) -> None:
    """A stream that outlives the server's patience is recorded as cut before the store is closed."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    forever = [frame({"content": "word "}), float("inf")]
    async with raw_upstream(forever) as upstream:
        app = create_app(Settings(upstream.url, store=url))
        async with app.router.lifespan_context(app):
            heard = asyncio.Event()
            stream = asyncio.ensure_future(app(SCOPE, Spoken(json.dumps(ASK).encode()), Heard(heard)))
            await asyncio.wait_for(heard.wait(), 5)
            stream.cancel()
        ended = stream.done()  # The process may end here, and nothing more would be done.
        with suppress(asyncio.CancelledError):
            await stream
    store = open_store(url)
    said = await SessionManager("s", store=store, owner=OWNER).get_conversation()
    await store.close()

    assert ended
    assert [row["content"] for row in said] == ["hi", "word "]
    assert said[1]["metadata"] == {"cut": "client"}


async def test_events_that_arrive_together_are_passed_on_together() -> None:
    """Under load a write for each would cost more than all else."""
    heads = [(b"content-type", b"text/event-stream")]
    events = [frame({"content": f"{n} "}) for n in range(200)]

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for event in events:
                yield event
            await asyncio.sleep(0)
            yield DONE

    answer = UpstreamAnswer(200, tuple(heads), "", httpx.Response(200, stream=Body()))
    chunks = [chunk async for chunk in answer.chunks()]

    assert b"".join(chunks) == b"".join(events) + DONE
    assert len(chunks) <= 3


async def test_a_client_that_does_not_wait_for_done_has_its_answer_recorded() -> None:
    """Many stop reading at the finish reason; the answer is whole all the same."""
    async with (
        raw_upstream([frame({"content": "All of it"}), frame({}, "stop"), float("inf")]) as upstream,
        endpoint(upstream.url) as served,
    ):
        async with served.http.stream("POST", "/v1/chat/completions", json=ASK, headers=AUTH) as answer:
            async for line in answer.aiter_lines():
                if '"stop"' in line:
                    break

        async def kept() -> bool:
            return len(await rows(served)) == 2

        await until(kept)
        said = await rows(served)

    assert said[1]["content"] == "All of it"
    assert "metadata" not in said[1]


async def test_an_event_cut_in_two_does_not_spoil_the_error_behind_it() -> None:
    """The client reads the error, not half an event with an error in it."""
    pieces = [frame({"content": "Half a "}), b'data: {"choices": [{"del']
    async with raw_upstream(pieces, cut=True) as upstream, endpoint(upstream.url) as served:
        _, body = await streamed(served)

    first, error = body.split(b"\n\n")[:2]
    assert first + b"\n\n" == pieces[0]
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_cut"


async def test_a_client_that_leaves_before_the_answer_ends_the_upstreams_work() -> None:
    """Without a stream, too."""
    async with (
        raw_upstream([float("inf")], headers=["content-type: application/json"]) as upstream,
        endpoint(upstream.url) as served,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await served.http.post("/v1/chat/completions", json={**ASK, "stream": False}, timeout=0.5)
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_a_slow_client_slows_the_upstream_and_fills_no_memory() -> None:
    """The endpoint reads no faster than its client does; one that stops reading is let go of."""
    piece = frame({"content": "x" * 60_000})
    async with (
        raw_upstream([piece], repeat=1000) as upstream,
        endpoint(upstream.url, client_timeout_s=1.0, ask_usage=False) as served,
    ):
        async with served.http.stream("POST", "/v1/chat/completions", json=ASK, headers=AUTH) as answer:
            chunks = answer.aiter_raw(1024)
            await anext(chunks)
            await asyncio.wait_for(upstream.gone.wait(), 10)
            await chunks.aclose()

        assert upstream.written < 30 * 2**20


async def test_a_stream_that_waits_for_a_summary_says_that_it_lives() -> None:
    """Comments go out while the summary is awaited; the answer follows, and errors become events."""

    def upstream_says(prompt: Any) -> Any:
        if prompt.stream:
            return "and on we go"
        return Fault.slow(0.6, "The user asked about many stops; each was answered with its distance in km.")

    long = "Tell me about the stops of this line, one by one, in some detail. " * 40
    async with (
        LoopbackServer(answer=upstream_says) as upstream,
        endpoint(upstream.openai_url, threshold=600, summarizer="upstream", keepalive_s=0.1) as served,
    ):
        bodies = []
        for n in range(3):
            body = {**ASK, "messages": [{"role": "user", "content": f"{n} {long}"}]}
            bodies.append((await streamed(served, body))[1])

    alive = [body for body in bodies if body.startswith(b": keepalive\n\n")]
    assert alive
    assert b"\n\n: x-longsplice-session-id: s\n" in alive[0]
    assert all(body.endswith(DONE) for body in bodies)
    asked = [r.prompt for r in upstream.requests if r.prompt and not r.prompt.stream]
    assert asked
    assert {prompt.model for prompt in asked} == {"gpt-4o-mini"}
    assert all(r.headers.get("authorization") == "***" for r in upstream.requests)


async def test_an_error_after_the_headers_is_an_event() -> None:
    """Once a stream has begun for a summary, the upstream's error comes inside it, body and all."""
    failing: list[bool] = []

    def upstream_says(prompt: Any) -> Any:
        if prompt.stream:
            return Fault.status(429, message="slow down") if failing else "ok"
        failing.append(True)
        return Fault.slow(0.6, "Notes on what was said.")

    long = "Tell me about the stops of this line, one by one, in some detail. " * 40
    async with (
        LoopbackServer(answer=upstream_says) as upstream,
        endpoint(upstream.openai_url, threshold=600, summarizer="upstream", keepalive_s=0.1) as served,
    ):
        body = {**ASK, "messages": [{"role": "user", "content": long}]}
        answers = [await streamed(served, body) for _ in range(3)]

    status, raw = next((a.status_code, raw) for a, raw in answers if raw.startswith(b": keepalive"))
    assert status == 200
    assert json.loads(raw.rpartition(b"data: ")[2])["error"]["message"] == "slow down"
