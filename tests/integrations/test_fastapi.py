"""FastAPI and Starlette: real applications, over ASGI or a real server, with scripted models."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from summarizer import SessionManager, SummarizerError, errors, open_store
from summarizer.testing import LoopbackServer, Reply
from tests import redis_servers
from tests.integrations.runtimes import needs, version_of

pytestmark = needs("fastapi", "starlette", "httpx", "uvicorn")

if version_of("fastapi") and version_of("httpx") and version_of("uvicorn"):
    import uvicorn
    from fastapi import Depends, FastAPI, Header
    from httpx import ASGITransport, AsyncClient, Limits, TransportError
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    from summarizer.integrations.fastapi import LongspliceChats, Turn, status_of

    def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
        return x_user

    def application(model: Callable[..., Any], **settings: Any) -> FastAPI:
        """A service with one chat route for streams, one for whole replies, and the history."""
        chats = LongspliceChats(current_user, **settings)
        app = FastAPI(lifespan=chats.lifespan)
        chats.handle_errors(app)

        @app.post("/chats/{session_id}")
        async def say(text: str, turn: Annotated[Turn, Depends(chats.turn)]) -> StreamingResponse:
            return await turn.stream(text, model)

        @app.post("/chats/{session_id}/whole")
        async def whole(text: str, turn: Annotated[Turn, Depends(chats.turn)]) -> str:
            return await turn.reply(text, model)

        @app.post("/chats/{session_id}/later")
        async def later(text: str, turn: Annotated[Turn, Depends(chats.turn)]) -> str:
            turn.answer(model(await turn.ask(text)))
            return "sent"

        @app.get("/chats/{session_id}")
        async def history(sm: Annotated[SessionManager, Depends(chats.session)]) -> list[dict[str, Any]]:
            return await sm.get_conversation()

        return app


ROOT = Path(__file__).parent.parent.parent
ANA = {"x-user": "ana"}


def client_of(app: Any, **settings: Any) -> "AsyncClient":
    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://chat", headers=ANA, **settings)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chats.db"


async def words(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    for word in ("You ", "said: ", messages[-1]["content"]):
        yield word


async def rows_of(store: str, chat: str = "trip", owner: str = "ana") -> list[tuple[str, str]]:
    """The conversation as a cold reader finds it."""
    opened = open_store(store)
    try:
        events = await SessionManager(chat, owner=owner, store=opened).read(include_all_segments=True)
    finally:
        await opened.close()
    return [(e.message.role, e.message.text) for e in events if e.message is not None]


async def cut_of(store: str) -> str | None:
    opened = open_store(store)
    try:
        events = await SessionManager("trip", owner="ana", store=opened).read(include_all_segments=True)
    finally:
        await opened.close()
    marks = [event.data.get("metadata", {}).get("cut") for event in events if event.message is not None]
    return marks[-1]


def events_in(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


# Answers


async def test_a_stream_is_recorded_when_it_ends(store: str) -> None:
    """The pieces come as events; `done` comes once the answer is durable."""
    async with client_of(application(words, store=store)) as client:
        answer = await client.post("/chats/trip", params={"text": "Hello\n\nyou"})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events_in(answer.text) == [
        ("message", {"delta": "You "}),
        ("message", {"delta": "said: "}),
        ("message", {"delta": "Hello\n\nyou"}),
        ("done", {"session_id": "trip"}),
    ]
    assert await rows_of(store) == [("user", "Hello\n\nyou"), ("assistant", "You said: Hello\n\nyou")]
    assert await cut_of(store) is None


@pytest.mark.parametrize("path", ["whole", "later"])
async def test_a_whole_answer_is_recorded(path: str, store: str) -> None:
    """`reply` records before the response, `answer` once it is sent."""
    response = {"choices": [{"message": {"role": "assistant", "content": "The 9:15."}}], "model": "m"}
    async with client_of(application(lambda _: response, store=store)) as client:
        answer = await client.post(f"/chats/trip/{path}", params={"text": "A train?"})

    assert answer.json() == ("The 9:15." if path == "whole" else "sent")
    assert await rows_of(store) == [("user", "A train?"), ("assistant", "The 9:15.")]


@needs("openai")
async def test_a_providers_chunks_are_put_together(store: str) -> None:
    """The openai SDK's own stream goes in; text comes out, and usage is booked with the answer."""
    from openai import AsyncOpenAI

    with LoopbackServer([Reply("The 9:15 to Porto.")]) as server:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="none") as openai:

            async def model(messages: list[dict[str, Any]]) -> Any:
                return await openai.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=messages,  # type: ignore[arg-type]
                    stream=True,
                    stream_options={"include_usage": True},
                )

            async with client_of(application(model, store=store)) as client:
                answer = await client.post("/chats/trip", params={"text": "A train?"})

    said = "".join(data.get("delta", "") for _, data in events_in(answer.text))
    opened = open_store(store)
    stats = await SessionManager("trip", owner="ana", store=opened).get_stats()
    await opened.close()

    assert said == "The 9:15 to Porto."
    assert await rows_of(store) == [("user", "A train?"), ("assistant", said)]
    assert stats.billed_tokens > 0


async def test_many_segments_and_a_restart_in_the_middle(store: str) -> None:
    """Small segments, a second application on the same store: contexts stay small, nothing is lost."""
    sent: list[int] = []

    async def model(messages: list[dict[str, Any]]) -> str:
        sent.append(len(json.dumps(messages)))
        return f"Noted: {messages[-1]['content']}. The hotel B-17 is booked for two nights, with breakfast."

    for half in range(2):
        app = application(model, store=store, token_threshold=300)
        async with app.router.lifespan_context(app), client_of(app) as client:
            for n in range(12):
                text = f"Wish {half}/{n}: a room with a view of the river, and late check-out"
                assert (await client.post("/chats/trip/whole", params={"text": text})).status_code == 200

    rows = await rows_of(store)
    opened = open_store(store)
    segments = await SessionManager("trip", owner="ana", store=opened).segments()
    await opened.close()
    assert len(segments) >= 4
    assert len(rows) == 48
    assert max(sent) < 4000


async def test_tools_and_a_stopped_loop(store: str) -> None:
    """What else belongs to a turn goes through its session: calls, results, and a guard that ends a loop."""
    chats = LongspliceChats(current_user, store=store)
    app = FastAPI()

    @app.post("/chats/{session_id}")
    async def say(text: str, turn: Annotated[Turn, Depends(chats.turn)]) -> str:
        await turn.ask(text)
        sm = turn.session
        for n in range(20):
            function = {"name": "look", "arguments": '{"hotel": "B-17"}'}
            call = {"id": f"call_{n}", "type": "function", "function": function}
            await sm.record({"role": "assistant", "content": None, "tool_calls": [call]})
            result = await sm.tools.run(
                lambda hotel: f"{hotel} is full", "look", {"hotel": "B-17"}, call_id=call["id"]
            )
            if result.verdict.should_block:
                break
        turn.answer(f"Stopped after {n + 1} calls.")
        return result.content

    async with client_of(app) as client:
        answer = await client.post("/chats/trip", params={"text": "Is hotel B-17 free?"})

    rows = await rows_of(store)
    assert answer.status_code == 200
    assert rows[-1][1].startswith("Stopped after ")
    assert 3 <= len([role for role, _ in rows if role == "tool"]) < 20


async def test_requests_at_once_are_answered_each_for_itself(store: str) -> None:
    """Twelve requests in one chat: each model call ends with its own question, however they overlap."""

    async def model(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        await asyncio.sleep(0.01)
        yield messages[-1]["content"].upper()

    texts = [f"question {n}: a room with a view of the river, and late check-out" for n in range(12)]
    async with client_of(application(model, store=store, token_threshold=150)) as client:
        answers = await asyncio.gather(*(client.post("/chats/trip", params={"text": text}) for text in texts))

    said = [events_in(answer.text)[0][1]["delta"] for answer in answers]
    assert said == [text.upper() for text in texts]
    assert sorted(text for role, text in await rows_of(store) if role == "assistant") == sorted(said)


# Whose it is


async def test_a_foreign_id_is_answered_as_a_missing_one(store: str) -> None:
    """To the byte: status, headers and body do not tell whether somebody else has this chat."""
    async with client_of(application(words, store=store, create=False)) as client:
        opened = open_store(store)
        await SessionManager("trip", owner="ana", store=opened).user_says("secret")
        await opened.close()
        mine = await client.get("/chats/trip")
        answers = [
            await client.request(method, f"/chats/{chat}", headers={"x-user": "eve"}, params={"text": "x"})
            for method in ("GET", "POST")
            for chat in ("trip", "none", "trip~3")
        ]

    assert mine.json()[0]["content"] == "secret"
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (404, {"detail": "no such session"})
    ] * 6
    assert len({str(answer.headers) for answer in answers}) == 1


async def test_two_users_have_two_chats_of_one_name(store: str) -> None:
    """An id of the client's own never leads into another user's chat."""
    async with client_of(application(words, store=store)) as client:
        for user in ("ana", "ben"):
            await client.post("/chats/trip", params={"text": f"I am {user}"}, headers={"x-user": user})

    assert (await rows_of(store, owner="ana"))[0] == ("user", "I am ana")
    assert (await rows_of(store, owner="ben"))[0] == ("user", "I am ben")


async def test_bad_requests_have_a_status(store: str) -> None:
    """No user: 401; an id that is none, a key that is none: 422; a user that is no string: ours to mend."""
    async with client_of(application(words, store=store)) as client:
        nobody = await client.get("/chats/trip", headers={"x-user": ""})
        no_id = await client.get("/chats/a~b")
        key = await client.post("/chats/trip", params={"text": "x"}, headers={"idempotency-key": "k" * 300})
        empty = await client.post("/chats/trip", params={"text": "x"}, headers={"idempotency-key": ""})
    chats = LongspliceChats(lambda: 17, store=store)
    app = FastAPI()
    chats.handle_errors(app)

    @app.get("/mine/{session_id}")
    async def mine(sm: Annotated[SessionManager, Depends(chats.session)]) -> str:
        return sm.session_id

    async with client_of(app) as client:
        wrong = await client.get("/mine/trip")

    assert [answer.status_code for answer in (nobody, no_id, key, empty, wrong)] == [401, 422, 422, 422, 500]
    assert wrong.json() == {"detail": "internal error"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.SessionNotFound("x"), 404),
        (errors.SessionErased("x"), 410),
        (errors.OrphanToolResult("c", ()), 422),
        (errors.StaleFence("x"), 409),
        (errors.TokenLimitExceeded(9, 8, "it"), 413),
        (errors.ValueTooLarge(9, 8), 413),
        (errors.StoreUnavailable("redis://:password@host"), 503),
        (errors.InvalidSetting("x"), 500),
        (SummarizerError("x"), 500),
    ],
)
async def test_each_error_has_its_status(error: SummarizerError, expected: int) -> None:
    """What the client can mend is told; of what it cannot, nothing but the status."""
    chats = LongspliceChats(current_user)
    app = Starlette(routes=[Route("/", fails_with(error))])
    chats.handle_errors(app)
    async with client_of(app) as client:
        answer = await client.get("/")

    assert answer.status_code == status_of(error) == expected
    assert "password" not in answer.text
    assert ("retry-after" in answer.headers) == (expected == 503)


def fails_with(error: Exception) -> Callable[..., Any]:
    async def fails(request: "Request") -> Any:
        raise error

    return fails


# Faults


async def test_a_model_that_fails_leaves_the_question(store: str) -> None:
    """Before the first piece its error passes on, and has a status; the user's message is kept."""

    async def model(_: list[dict[str, Any]]) -> Any:
        raise ConnectionError("no route")

    async with client_of(application(model, store=store)) as client:
        answers = [await client.post(f"/chats/trip{path}", params={"text": "Hi"}) for path in ("", "/whole")]

    assert [answer.status_code for answer in answers] == [500, 500]
    assert await rows_of(store) == [("user", "Hi"), ("user", "Hi")]


async def test_a_model_that_fails_in_the_middle_leaves_what_it_said(store: str) -> None:
    """The client gets an `error` event; question and half an answer are kept, marked with the error."""

    async def model(_: list[dict[str, Any]]) -> AsyncIterator[str]:
        yield "The 9:1"
        raise ConnectionError("reset")

    async with client_of(application(model, store=store)) as client:
        answer = await client.post("/chats/trip", params={"text": "A train?"})

    assert events_in(answer.text)[-1] == ("error", {"detail": "the answer broke off"})
    assert await rows_of(store) == [("user", "A train?"), ("assistant", "The 9:1")]
    assert await cut_of(store) == "ConnectionError"


async def test_a_providers_stream_without_an_end_is_marked(store: str) -> None:
    """Chunks that stop before a finish reason are no whole answer, and calls in them are not kept."""

    async def model(_: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": "The 9:1"}}]}
        call = {"index": 0, "id": "c1", "function": {"name": "book", "arguments": '{"tr'}}
        yield {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    async with client_of(application(model, store=store)) as client:
        answer = await client.post("/chats/trip", params={"text": "A train?"})

    assert events_in(answer.text)[-1] == ("done", {"session_id": "trip", "cut": "unfinished"})
    assert await rows_of(store) == [("user", "A train?"), ("assistant", "The 9:1")]
    assert await cut_of(store) == "unfinished"


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application behind a real socket; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["while the model thinks", "while it speaks", "before it spoke"])
async def test_a_client_that_goes_away_leaves_what_was_said(moment: str, store: str) -> None:
    """The question and what was said so far are kept, marked as cut; the model's stream is closed."""
    closed = asyncio.Event()

    async def model(_: list[dict[str, Any]]) -> AsyncIterator[str]:
        try:
            if moment != "before it spoke":
                yield "The 9:15"
            if moment != "while it speaks":
                await asyncio.sleep(60)
            while True:
                await asyncio.sleep(0.001)
                yield "."
        finally:
            closed.set()

    async with served(application(model, store=store)) as address:
        async with AsyncClient(base_url=address, headers=ANA, trust_env=False) as client:
            if moment == "before it spoke":
                with pytest.raises(asyncio.TimeoutError):
                    async with asyncio.timeout(0.5):
                        await client.post("/chats/trip", params={"text": "A train?"})
            else:
                async with client.stream("POST", "/chats/trip", params={"text": "A train?"}) as answer:
                    async for line in answer.aiter_lines():
                        assert line == 'data: {"delta": "The 9:15"}'
                        break
        async with asyncio.timeout(20):
            await closed.wait()

    rows = await rows_of(store)
    if moment == "before it spoke":
        assert rows == [("user", "A train?")]
    else:
        assert rows[0] == ("user", "A train?")
        assert rows[1][1].startswith("The 9:15")
        assert len(rows) == 2
        assert await cut_of(store) == "disconnected"


# Repeated requests


async def test_a_repeated_request_is_answered_alike(store: str) -> None:
    """With the same key the model is asked once; both answers and the log are as if asked once."""
    asked: list[int] = []

    async def model(messages: list[dict[str, Any]]) -> str:
        asked.append(len(messages))
        return f"Answer {len(asked)}"

    async with client_of(application(model, store=store)) as client:
        key = {"idempotency-key": "k1"}
        answers = [
            (await client.post(f"/chats/trip{path}", params={"text": "Pay"}, headers=key)).text
            for path in ("/whole", "/whole", "")
        ]
        other = await client.post(
            "/chats/trip/whole", params={"text": "Pay"}, headers={"idempotency-key": "k2"}
        )

    assert answers[:2] == ['"Answer 1"'] * 2
    assert events_in(answers[2])[0] == ("message", {"delta": "Answer 1"})
    assert other.json() == "Answer 2"
    assert asked == [1, 3]
    assert len(await rows_of(store)) == 4


async def test_a_repeated_request_is_known_in_the_next_segment(store: str) -> None:
    """A child session that opened between the two changes nothing."""
    asked: list[int] = []

    async def model(messages: list[dict[str, Any]]) -> str:
        asked.append(len(messages))
        return f"Answer {len(asked)}"

    async with client_of(application(model, store=store)) as client:
        key = {"idempotency-key": "k1"}
        for n in range(6):
            text = f"Wish {n}: a room with a view of the river, and late check-out"
            headers = key if n == 5 else {}
            last = await client.post("/chats/trip/whole", params={"text": text}, headers=headers)
        opened = open_store(store)
        await SessionManager("trip", owner="ana", store=opened).clear()
        await opened.close()
        again = await client.post("/chats/trip/whole", params={"text": text}, headers=key)

    assert again.json() == last.json() == "Answer 6"
    assert len(asked) == 6


async def test_a_cut_answer_is_given_whole_when_asked_again(store: str) -> None:
    """The model does not see its own cut answer, and the whole one is recorded."""
    seen: list[list[str]] = []

    async def model(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        seen.append([message["role"] for message in messages])
        yield "The 9:"
        if len(seen) < 3:
            raise ConnectionError("reset")
        yield "15"

    async with client_of(application(model, store=store)) as client:
        key = {"idempotency-key": "k1"}
        for _ in range(4):
            answer = await client.post("/chats/trip", params={"text": "A train?"}, headers=key)

    assert seen == [["user"]] * 3
    assert events_in(answer.text)[0] == ("message", {"delta": "The 9:15"})
    rows = await rows_of(store)
    assert [text for _, text in rows] == ["A train?", "The 9:", "The 9:", "The 9:15"]


async def test_the_api_says_what_it_takes(store: str) -> None:
    """The documentation that FastAPI makes lists the path's id and the key."""
    schema = application(words, store=store).openapi()
    taken = schema["paths"]["/chats/{session_id}"]["post"]["parameters"]

    assert {(one["in"], one["name"]) for one in taken} == {
        ("path", "session_id"),
        ("header", "Idempotency-Key"),
        ("header", "x-user"),
        ("query", "text"),
    }


async def test_the_end_of_the_application_leaves_nothing_under_way(store: str) -> None:
    """The lifespan waits for summaries; one that takes longer stays due, and nothing hangs."""

    async def summarize(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(0.2)
        return "They spoke of trains to Porto and of the hotel B-17."

    app = application(words, store=store, token_threshold=300, summarizer=summarize)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for n in range(4):
            text = f"Wish {n}: " + "a room with a view of the river, and late check-out, " * 4
            await client.post("/chats/trip", params={"text": text})
    began = time.monotonic()
    opened = open_store(store)
    segments = await SessionManager("trip", owner="ana", store=opened).segments()
    await opened.close()

    assert len(segments) > 1
    assert time.monotonic() - began < 5


# Starlette alone


async def test_starlette_needs_no_fastapi(store: str) -> None:
    """A turn and a session from functions; the user from the request."""

    async def user(request: Request) -> str:
        return request.headers["x-user"]

    chats = LongspliceChats(user, store=store)

    async def say(request: Request) -> Any:
        async with chats.open_turn(request) as turn:
            return await turn.stream((await request.json())["text"], words)

    async def history(request: Request) -> Any:
        return JSONResponse(await (await chats.open(request)).get_conversation())

    app = Starlette(
        routes=[
            Route("/chats/{session_id}", say, methods=["POST"]),
            Route("/chats/{session_id}", history),
        ],
        lifespan=chats.lifespan,
    )
    chats.handle_errors(app)
    async with client_of(app) as client:
        await client.post("/chats/trip", json={"text": "Hello"})
        mine = await client.get("/chats/trip")
        foreign = await client.get("/chats/trip", headers={"x-user": "eve"})

    assert [row["content"] for row in mine.json()] == ["Hello", "You said: Hello"]
    assert foreign.status_code == 404
    assert (await rows_of(store))[1] == ("assistant", "You said: Hello")


ABSENT = """
import sys
sys.modules[sys.argv[1]] = None
from summarizer import MissingExtra
try:
    from summarizer.integrations.fastapi import LongspliceChats
    print("imported")
    LongspliceChats(lambda request: "ana").turn
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize("absent", ["fastapi", "starlette"])
def test_what_is_missing_is_said(absent: str) -> None:
    """Without Starlette the import says what to install; without FastAPI only a dependency of it does."""
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, absent],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines()[-1].endswith("pip install 'longsplice[fastapi]'")
    assert ("imported" in done.stdout) == (absent == "fastapi")


# The example, under several workers on one Redis


@contextlib.contextmanager
def workers(store: str, folder: Path, *, count: int = 2) -> Iterator[str]:
    """The example service under uvicorn; its address."""
    port = redis_servers.free_port()
    with (folder / "uvicorn.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "app:app"),
                *("--app-dir", str(ROOT / "examples" / "fastapi_service")),
                *("--workers", str(count), "--port", str(port), "--log-level", "warning"),
            ],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "LONGSPLICE_STORE": store,
                "CHAT_THRESHOLD": "250",
                "CHAT_PAUSE_S": "0.03",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


async def ready(client: "AsyncClient", count: int) -> list[int]:
    """The ids of the workers' processes, once `count` answer."""
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while len(seen) < count:
        assert time.monotonic() < deadline, f"workers that answer: {seen}"
        with contextlib.suppress(TransportError):
            seen.add((await client.get("/health", headers={"connection": "close"})).json()["worker"])
        await asyncio.sleep(0.01)
    return sorted(seen)


@pytest.mark.slow
async def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    """40 requests of 4 users over 2 workers, one of them killed in the middle: each turn is there, once.

    A request that the killed worker held is sent again with its key.
    """
    store = redis_servers.shared("valkey").url
    users = [f"{name}-{tmp_path.name}" for name in ("ana", "ben", "eva", "tom")]
    tries: list[int] = []

    async def say(client: "AsyncClient", n: int) -> None:
        text = f"Request {n}: book the hotel B-{1000 + n} in Lisbon for two nights, breakfast included."
        headers = {"x-user": users[n % 4], "idempotency-key": f"key-{n}", "connection": "close"}
        for attempt in range(1, 8):
            with contextlib.suppress(TransportError):
                answer = await client.post("/chats/trip", json={"text": text}, headers=headers)
                if answer.status_code == 200 and "event: done" in answer.text:
                    tries.append(attempt)
                    return
            await asyncio.sleep(0.1 * attempt)
        raise AssertionError(f"request {n} was never answered")

    with workers(store, tmp_path) as address:
        limits = Limits(max_connections=60)
        async with AsyncClient(base_url=address, trust_env=False, limits=limits, timeout=60) as client:
            first, _ = await ready(client, 2)
            saying = [asyncio.create_task(say(client, n)) for n in range(40)]
            await asyncio.sleep(0.25)
            os.kill(first, signal.SIGKILL)
            await asyncio.gather(*saying)
            listed = (await client.get("/chats", headers={"x-user": users[0]})).json()
            foreign = await client.get("/chats/trip", headers={"x-user": "mallory"})
            page = await client.get("/")

    opened = open_store(store)
    try:
        for k, user in enumerate(users):
            sm = SessionManager("trip", owner=user, store=opened)
            rows = await sm.get_conversation()
            asked = [row["content"] for row in rows if row["role"] == "user"]
            whole = [row["content"].strip() for row in rows if row["role"] == "assistant"]
            assert sorted(number_in(text) for text in asked) == list(range(k, 40, 4))
            assert {f"You said: {text}" for text in asked} <= set(whole)
            assert len([text for text in whole if text.endswith("included.")]) == 10
            await opened.erase(user)
    finally:
        await opened.close()
    assert max(tries) > 1
    assert listed[0]["total_messages"] >= 20
    assert listed[0]["session_segments"] >= 2
    assert foreign.status_code == 404
    assert "script-src 'nonce-" in page.headers["content-security-policy"]
    assert "NONCE" not in page.text


def number_in(text: str) -> int:
    return int(text.removeprefix("Request ").partition(":")[0])


def test_the_page_sets_text_never_markup() -> None:
    """What anybody said reaches the page as text; nothing is loaded from elsewhere."""
    page = (ROOT / "examples" / "fastapi_service" / "page.html").read_text("utf-8")

    assert [
        word for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(") if word in page
    ] == []
    assert "http://" not in page
    assert "https://" not in page
