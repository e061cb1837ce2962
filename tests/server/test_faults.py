"""Bad requests, bad upstreams, and faults of our own."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from summarizer import SessionManager, open_store
from summarizer.errors import StoreUnavailable
from summarizer.server import Settings, breaker
from summarizer.server.errors import error_event
from summarizer.server.sessions import owner_of
from summarizer.stores import MemoryStore
from summarizer.testing import Fault
from tests.server.endpoints import KEY, conversations, endpoint, sent, serving
from tests.server.raw_upstream import raw_upstream

OWNER = owner_of({"authorization": f"Bearer {KEY}"})
AUTH = {"authorization": f"Bearer {KEY}", "x-longsplice-session-id": "s"}
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": HI}


async def posted(url: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(base_url=url) as client:
        return await client.post("/v1/chat/completions", content=content, headers={**AUTH, **headers})


async def got(url: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url) as client:
        return await client.get(path)


# What the upstream says


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
async def test_an_upstreams_error_is_the_clients_to_see(status: int, error: type[Exception]) -> None:
    """Status, body and `Retry-After` are passed on, and the official client raises its own error."""
    fault = Fault.status(status, retry_after=7, message="the upstream's own words")
    async with serving([fault, fault]) as (_upstream, served):
        with pytest.raises(error, match="the upstream's own words"):
            await served.client().chat.completions.create(**ASK)
        answer = await posted(served.url, ASK)

    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-longsplice-session-id"] == "s"
    assert answer.json()["error"]["message"] == "the upstream's own words"


async def test_an_upstream_that_is_not_there_is_a_bad_gateway() -> None:
    """In the protocol's shape, without the upstream's address."""
    async with endpoint("http://127.0.0.1:1/v1") as served:
        answer = await posted(served.url, ASK)
        models = await got(served.url, "/v1/models")

    assert (answer.status_code, models.status_code) == (502, 502)
    assert answer.json()["error"]["type"] == "upstream_error"
    assert "127.0.0.1" not in answer.text
    assert answer.headers["x-longsplice-session-id"] == "s"


async def test_an_upstream_that_hangs_is_given_up() -> None:
    """After its time limit the client is told so."""
    async with (
        raw_upstream([float("inf")]) as upstream,
        endpoint(upstream.url, upstream_timeout_s=0.2) as served,
    ):
        answer = await posted(served.url, ASK)
        streamed = await posted(served.url, {**ASK, "stream": True})

    assert answer.status_code == 200  # Its head had come, as an event stream.
    assert json.loads(answer.text.partition("data: ")[2])["error"]["code"] == "upstream_timeout"
    assert "upstream_timeout" in streamed.text


@pytest.mark.parametrize(
    "fault", [Fault.html(200), Fault.invalid_json(), Fault.empty_body(), Fault.html(502)]
)
async def test_nonsense_of_the_upstream_is_passed_on_and_not_recorded(fault: Fault) -> None:
    """What is no completion never becomes an answer in the log."""
    async with serving([fault]) as (_upstream, served):
        answer = await posted(served.url, ASK)
        rows = await SessionManager("s", store=served.store, owner=OWNER).get_conversation()

    assert answer.content == fault.body
    assert answer.status_code == fault.code or answer.headers["x-longsplice-fault"] == "not_recorded"
    assert [row["role"] for row in rows] == ["user"]


async def test_models_are_the_upstreams() -> None:
    """`GET /v1/models` is passed through, and no path that leads out of it."""
    listed = b'{"object": "list", "data": [{"id": "m-1"}]}'
    async with (
        raw_upstream([listed], headers=["content-type: application/json"]) as upstream,
        endpoint(upstream.url) as served,
    ):
        models = await served.client().models.list()
        other = await got(served.url, "/v1/embeddings")
        named = await got(served.url, "/v1/models/org/m%3F1")
        above = [
            await got(served.url, "/v1/models/%2e%2e/%2e%2e/admin"),
            await got(served.url, "/v1/models/a/%2e/b"),
        ]

    assert [model.id for model in models.data] == ["m-1"]
    assert other.json()["error"]["code"] == "unknown_url"
    assert named.status_code == 200
    assert [answer.status_code for answer in above] == [404, 404]
    assert upstream.requests == 2


# What the client says


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        ({"model": "m"}, "invalid_messages"),
        ({"model": "m", "messages": []}, "invalid_messages"),
        ({"model": "m", "messages": ["hi"]}, "invalid_messages"),
    ],
)
async def test_a_body_that_is_no_request_is_refused_in_the_protocols_shape(body: Any, code: str) -> None:
    """Status 400; the upstream is not asked."""
    async with serving() as (_upstream, served):
        answer = await posted(served.url, body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-longsplice-session-id": "a~b"}, 400),
        ({"x-longsplice-session-id": "x" * 300}, 400),
        ({"x-longsplice-session-id": "one, two"}, 400),
        ({"x-longsplice-session-id": "nobody~3"}, 404),
        ({"x-longsplice-mode": "guess"}, 400),
    ],
)
async def test_names_and_modes_that_cannot_be_are_refused(headers: dict[str, str], status: int) -> None:
    """An id that names nothing possible, or a child that is not there, is the client's to mend."""
    async with serving() as (_upstream, served):
        answer = await posted(served.url, ASK, **headers)

    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_a_body_beyond_the_limit_is_refused() -> None:
    """With a length it is refused unread; without one, as soon as it is too much."""

    async def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 1000

    async with serving(max_body_bytes=10_000) as (_upstream, served):
        declared = await posted(served.url, b"x" * 20_000)
        flowing = await served.http.post("/v1/chat/completions", content=pieces())

    assert (declared.status_code, flowing.status_code) == (413, 413)
    assert declared.json()["error"]["code"] == "body_too_large"


async def test_a_body_that_does_not_arrive_is_not_awaited_for_ever() -> None:
    """A client that stops in the middle of its request is told so."""

    async def pieces() -> Any:
        yield b'{"model"'
        await asyncio.sleep(1)
        yield b": 1}"

    async with serving(client_timeout_s=0.1) as (_upstream, served):
        answer = await served.http.post("/v1/chat/completions", content=pieces())

    assert answer.status_code == 408


# What is passed through


async def test_several_choices_are_passed_through() -> None:
    """Nobody says which of the answers goes on, so none is recorded; a header says that we stood back."""
    async with serving(["a"]) as (upstream, served):
        answer = await posted(served.url, {**ASK, "n": 2})

        assert await conversations(served.store) == []

    assert answer.headers["x-longsplice-passed-through"] == "n"
    assert "x-longsplice-session-id" not in answer.headers
    assert sent(upstream) == {**ASK, "n": 2}


async def test_images_stay_as_they_are_and_in_the_conversation() -> None:
    """Their parts go on unchanged, now and in the next request; no summary will describe them."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    async with serving(["A dot.", "Black."]) as (upstream, served):
        answer = await posted(served.url, {**ASK, "messages": [message]})
        await posted(served.url, {**ASK, "messages": [{"role": "user", "content": "Its colour?"}]})

    assert answer.headers["x-longsplice-passed-through"] == "media"
    assert sent(upstream)["messages"][0] == message


async def test_tools_beyond_the_window_are_passed_through() -> None:
    """Nothing could be made to fit beside them; the upstream may say so itself."""
    tool = {"type": "function", "function": {"name": "t", "description": "word " * 10_000, "parameters": {}}}
    async with serving(["ok"]) as (upstream, served):
        answer = await posted(served.url, {**ASK, "model": "gpt-4", "tools": [tool]})

    assert answer.headers["x-longsplice-passed-through"] == "tools"
    assert sent(upstream)["messages"] == HI


async def test_a_message_beyond_the_window_is_passed_through_and_kept() -> None:
    """The upstream judges it; the log has it."""
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "word " * 10_000}]}
    async with serving([Fault.context_window()]) as (_upstream, served):
        answer = await posted(served.url, body)
        rows = await SessionManager("s", store=served.store, owner=OWNER).get_conversation()

    assert answer.status_code == 400
    assert answer.headers["x-longsplice-passed-through"] == "too_large"
    assert answer.headers["x-longsplice-segment"] == "0"
    assert [row["role"] for row in rows] == ["user"]


# Faults of ours


class BrokenStore(MemoryStore):
    """A store that is down, wholly (`appends=None`) or for writes behind the first ones."""

    def __init__(self, appends: int | None = None) -> None:
        super().__init__()
        self.appends = appends

    async def load(self, *given: Any, **named: Any) -> Any:
        self._check(self.appends is None)
        return await super().load(*given, **named)

    async def create(self, *given: Any, **named: Any) -> Any:
        self._check(self.appends is None)
        return await super().create(*given, **named)

    async def append(self, *given: Any, **named: Any) -> Any:
        self._check(not self.appends)
        self.appends = (self.appends or 0) - 1
        return await super().append(*given, **named)

    def _check(self, down: bool) -> None:
        if down:
            raise StoreUnavailable("the store is down")


@pytest.mark.parametrize("mode", ["append", "full-history"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_is_down_costs_no_answer(
    mode: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The request goes on unchanged; a header and a line in the logs say so."""
    body = {**ASK, "stream": stream, "temperature": 0.5}
    with caplog.at_level(logging.ERROR, logger="summarizer"):
        async with serving(["hello"], store=BrokenStore(), mode=mode) as (upstream, served):
            answer = await posted(served.url, body)

    assert answer.status_code == 200
    assert "hel" in answer.text
    assert answer.headers["x-longsplice-passed-through"] == "fault; StoreUnavailable"
    assert sent(upstream) == body
    assert "endpoint.failed_open" in caplog.text


async def test_a_store_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request waits until the store fails; those behind it go on at once."""
    monkeypatch.setattr(breaker, "_LONG_S", 0.05)
    waited = 0

    class Hanging(MemoryStore):
        async def load(self, *given: Any, **named: Any) -> Any:
            nonlocal waited
            waited += 1
            await asyncio.sleep(0.1)
            raise StoreUnavailable("the store is down")

    async with serving(answer="hello", store=Hanging()) as (_upstream, served):
        answers = [await posted(served.url, ASK) for _ in range(3)]

    assert waited == 1
    assert {answer.headers["x-longsplice-passed-through"] for answer in answers} == {
        "fault; StoreUnavailable"
    }


async def test_a_bug_of_ours_costs_no_answer() -> None:
    """Whatever is raised, the model can still answer."""

    class Buggy(MemoryStore):
        async def load(self, *given: Any, **named: Any) -> Any:
            raise ZeroDivisionError

    async with serving(["hello"], store=Buggy()) as (upstream, served):
        answer = await posted(served.url, ASK)

    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.headers["x-longsplice-passed-through"] == "fault; ZeroDivisionError"
    assert sent(upstream) == ASK


async def test_a_damaged_log_costs_no_answer(tmp_path: Path) -> None:
    """A file that is no database any more stands in nobody's way."""
    path = tmp_path / "log.db"
    path.write_bytes(b"no database " * 1000)
    store = open_store(f"sqlite:///{path}")
    async with serving(["hello"], store=store) as (_, served):
        answer = await posted(served.url, ASK)
    await store.close()

    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.headers["x-longsplice-passed-through"].startswith("fault; ")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_cannot_be_recorded_is_given_all_the_same(stream: bool) -> None:
    """The client has its answer, and is told that the log has not."""
    async with serving(["hello"], store=BrokenStore(1)) as (_upstream, served):
        answer = await posted(served.url, {**ASK, "stream": stream})

    assert answer.status_code == 200
    if stream:
        assert b": longsplice could not record this answer\n\ndata: [DONE]\n\n" in answer.content
    else:
        assert answer.headers["x-longsplice-fault"] == "not_recorded"


async def test_a_message_that_we_cannot_read_is_the_upstreams_to_judge() -> None:
    """A role that we do not know may be one that the upstream knows."""
    body = {**ASK, "messages": [{"role": "critic", "content": "hm"}]}
    async with serving(["ok"]) as (upstream, served):
        answer = await posted(served.url, body)

    assert answer.headers["x-longsplice-passed-through"] == "unreadable"
    assert sent(upstream) == body


async def test_a_result_whose_call_is_unknown_is_kept() -> None:
    """A client that comes with a result of another session is answered."""
    body = {**ASK, "messages": [{"role": "tool", "tool_call_id": "call_9", "content": "42"}]}
    async with serving(["ok"]) as (upstream, served):
        answer = await posted(served.url, body)

    assert answer.status_code == 200
    assert "42" in str(sent(upstream)["messages"])


def test_an_error_event_is_one_line() -> None:
    """Whatever an upstream's body holds, it stays within its event."""
    assert error_event(b'{\n "error": {}\n}\n\n') == b'data: { "error": {} }\n\n'


def test_settings_survive_their_way_to_a_worker() -> None:
    """What a worker process reads is what the command was told; the token is not in their repr."""
    settings = Settings("http://up/v1", hosts=("a.example",), token="t" * 16, threshold=0.5)

    assert Settings.from_environment({"LONGSPLICE_ENDPOINT": settings.to_json()}) == settings
    assert "tttt" not in repr(settings)


async def test_a_summary_that_the_upstream_refuses_is_written_by_rules() -> None:
    """A key that may not summarize, or a server without schemas, costs no conversation its end."""
    refused: list[dict[str, Any]] = []

    def upstream_says(prompt: Any) -> Any:
        if "Stop" in prompt.messages[-1]["content"][:4]:
            return "It is two kilometres, by the road along the river, and the bus takes four minutes."
        refused.append(dict(prompt.body))
        return Fault.status(400)

    async with serving(answer=upstream_says, threshold=400, summarizer="upstream") as (_, served):
        for n in range(16):
            content = f"Stop {n}: how far is it to the next one, and how long does the bus take to get there?"
            answer = await posted(served.url, {**ASK, "messages": [{"role": "user", "content": content}]})
            assert answer.status_code == 200
        sm = SessionManager("s", store=served.store, owner=OWNER)
        await sm.settle()

        assert len(await sm.get_session_chain()) > 1

    assert "response_format" in refused[0]
    assert sorted(refused[1]) == ["messages", "model"]


async def test_tools_of_another_kind_are_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A free-text tool has no function; its calls are recorded and judged like any other's."""
    tool = {"type": "custom", "custom": {"name": "shell"}}
    async with serving(["ok", "ok"]) as (_, served):
        for content in ("hi", None):
            message = {"role": "user", "content": content}
            if content is None:
                message = {"role": "tool", "tool_call_id": "call_1", "content": "a.txt"}
            answer = await posted(served.url, {**ASK, "messages": [message], "tools": [tool]})

    assert answer.status_code == 200
    assert "x-longsplice-passed-through" not in answer.headers
    assert "guard_failed" not in caplog.text
