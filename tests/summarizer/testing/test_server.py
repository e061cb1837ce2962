"""The loopback server: script, record, faults, lifecycle."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.meter import Usage
from summarizer.testing import (
    Fault,
    LoopbackServer,
    Prompt,
    Reply,
    ScriptMismatch,
    UrlProcess,
    read_log,
)
from summarizer.testing.dispatch import WIRES
from summarizer.testing.replies import settled

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
MESSAGES = {**CHAT, "max_tokens": 10}
CONTENTS = {"contents": [{"parts": [{"text": "hello there"}]}]}
ASKS = {
    "openai": ("/v1/chat/completions", CHAT),
    "anthropic": ("/v1/messages", MESSAGES),
    "gemini": ("/v1beta/models/m:generateContent", CONTENTS),
}


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5) as client:
        yield client


def ask(
    client: httpx.Client, server: LoopbackServer, protocol: str = "openai", **headers: str
) -> httpx.Response:
    path, body = ASKS[protocol]
    return client.post(server.url + path, json=body, headers=headers)


def text_of(protocol: str, answer: Any) -> str:
    if protocol == "openai":
        return answer["choices"][0]["message"]["content"]
    if protocol == "anthropic":
        return answer["content"][0]["text"]
    return answer["candidates"][0]["content"]["parts"][0]["text"]


def collect(answer: httpx.Response, got: bytearray) -> None:
    for chunk in answer.iter_raw():
        got.extend(chunk)


def shout(prompt: Prompt) -> str:
    return prompt.text.upper()


@pytest.mark.parametrize("protocol", ASKS)
def test_each_protocol_is_answered_from_one_script(client: httpx.Client, protocol: str) -> None:
    """A text, a reply, a function and a coroutine function say the same on every wire."""

    async def later(prompt: Prompt) -> Reply:
        return Reply(f"{prompt.protocol} {prompt.model} {prompt.number}")

    with LoopbackServer(["text", Reply("reply"), shout, later]) as server:
        answers = [ask(client, server, protocol).json() for _ in range(4)]

    assert [text_of(protocol, a) for a in answers] == ["text", "reply", "HELLO THERE", f"{protocol} m 4"]


def test_requests_are_recorded_without_their_secrets(client: httpx.Client) -> None:
    """Keys in headers and in the query are masked; the rest is as it was sent."""
    with LoopbackServer(answer="ok") as server:
        ask(
            client,
            server,
            authorization="Bearer s3cret",
            **{"x-api-key": "s3cret", "x-goog-api-key": "s3cret"},
        )
        client.post(f"{server.url}/v1beta/models/m:generateContent?alt=json&key=s3cret", json=CONTENTS)
        first, second = server.requests

    assert "s3cret" not in repr(server.requests)
    assert (first.number, first.method, first.path) == (1, "POST", "/v1/chat/completions")
    assert (first.headers["authorization"], first.body, first.protocol) == ("***", CHAT, "openai")
    assert second.path == "/v1beta/models/m:generateContent?alt=json&key=***"


def test_without_a_step_a_request_is_refused_and_fails_the_test(client: httpx.Client) -> None:
    """The status is one that no client tries again."""
    expected = pytest.raises(ScriptMismatch, match="1 unexpected calls, first: POST /v1/chat/completions")
    with expected, LoopbackServer() as server:
        answer = ask(client, server)

    assert answer.status_code == 400


def test_unused_steps_fail_the_test() -> None:
    """A script that was not played to its end is a failure."""
    with pytest.raises(ScriptMismatch, match="1 of 1 steps unused"), LoopbackServer(["never"]):
        pass


def test_a_failing_block_keeps_its_own_error() -> None:
    """The check at the end does not replace what went wrong in the block."""
    with pytest.raises(KeyError), LoopbackServer(["never"]):
        raise KeyError("mine")


def test_an_error_in_a_step_is_the_cause_of_the_failure(client: httpx.Client) -> None:
    """An assertion inside an answer function reaches the test, not only the client."""

    def strict(prompt: Prompt) -> str:
        raise AssertionError(f"not {prompt.model}")

    expected = pytest.raises(ScriptMismatch, match="1 steps raised")
    with expected as caught, LoopbackServer(answer=strict) as server:
        answer = ask(client, server)

    assert answer.status_code == 400
    assert str(caught.value.__cause__) == "not m"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/embeddings", CHAT, 404, "no such method and path"),
        ("/v1/chat/completions", {"messages": []}, 400, "model: expected"),
        ("/v1/chat/completions", {"model": "m", "messages": []}, 400, "messages: expected"),
        ("/v1/chat/completions", {**CHAT, "response_format": "json"}, 400, "response_format: expected"),
        ("/v1/chat/completions", {**CHAT, "stream_options": 1}, 400, "stream_options: expected"),
        ("/v1/chat/completions", [CHAT], 400, "no JSON object"),
        ("/v1/messages", CHAT, 400, "max_tokens: field required"),
        ("/v1/messages", {**MESSAGES, "model": ""}, 400, "model: expected"),
        ("/v1beta/models/m:generateContent", {"contents": "hi"}, 400, "contents: expected"),
    ],
)
def test_what_a_provider_would_refuse_is_refused(
    client: httpx.Client, path: str, body: Any, status: int, says: str
) -> None:
    """A request that breaks the protocol gets a 4xx that says why, and fails the test."""
    with pytest.raises(ScriptMismatch, match="1 unexpected calls"), LoopbackServer(answer="ok") as server:
        answer = client.post(server.url + path, json=body)

    assert answer.status_code == status
    assert says in answer.text


def test_a_body_that_is_no_json_is_kept_as_text(client: httpx.Client) -> None:
    """What cannot be parsed is recorded as it came."""
    with pytest.raises(ScriptMismatch), LoopbackServer(answer="ok") as server:
        client.post(f"{server.url}/v1/messages", content=b"\xffoops")

    assert server.requests[0].body == "\ufffdoops"


def test_too_large_a_body_is_refused(client: httpx.Client) -> None:
    """The limit is named in the answer."""
    with pytest.raises(ScriptMismatch), LoopbackServer(answer="ok", max_body_bytes=20) as server:
        answer = ask(client, server)

    assert answer.status_code == 413
    assert "limit of 20" in answer.text


def test_usage_is_counted_given_or_left_out(client: httpx.Client) -> None:
    """A quarter of the characters, what the reply says, or nothing at all."""
    given_usage = Usage(100, 20, cache_read_tokens=60, reasoning_tokens=5)
    with LoopbackServer(["12345", Reply("x", usage=given_usage), Reply("x", usage=None)]) as server:
        counted, given_, none = (ask(client, server).json() for _ in range(3))

    assert counted["usage"]["prompt_tokens"] == 3
    assert counted["usage"]["completion_tokens"] == 2
    assert given_["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
    assert given_["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
    assert "usage" not in none


@pytest.mark.parametrize(
    ("protocol", "force"),
    [
        ("openai", {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            "anthropic",
            {"tool_choice": {"type": "tool", "name": "f"}, "tools": [{"name": "f", "input_schema": {}}]},
        ),
        ("gemini", {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
    ],
)
def test_a_forced_tool_is_called_with_an_answer_that_can_be_its_input(
    client: httpx.Client, protocol: str, force: dict[str, Any]
) -> None:
    """A JSON object becomes the tool's arguments; any other text stays text."""
    path, body = ASKS[protocol]
    with LoopbackServer(['{"a": 1}', "prose"]) as server:
        called, spoken = (client.post(server.url + path, json={**body, **force}) for _ in range(2))

    assert '"name": "f"' in called.text
    assert text_of(protocol, spoken.json()) == "prose"
    assert [request.prompt and request.prompt.forced_tool for request in server.requests] == ["f", "f"]


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_says_from_the_start_whether_usage_comes(client: httpx.Client, asked: bool) -> None:
    """Asked for, it is null until a last chunk without choices brings it; else no chunk names it."""
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": asked}}
    with LoopbackServer([Reply("many words " * 9, usage=Usage(100, 20))]) as server:
        lines = client.post(f"{server.url}/v1/chat/completions", json=body).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if "[DONE]" not in line and line]
    reported = [chunk["usage"] and chunk["usage"]["total_tokens"] for chunk in chunks if "usage" in chunk]

    assert reported == ([*[None] * (len(chunks) - 1), 120] if asked else [])
    assert all(chunk["choices"] for chunk in chunks[:-1])


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Any usage whose parts fit into their wholes; parts may be unknown."""
    parts = [draw(st.none() | st.integers(0, 1000)) for _ in range(3)]
    whole, output = draw(st.integers(2000, 9000)), draw(st.integers(1000, 9000))
    return Usage(whole, output, *parts)


@given(usages())
def test_what_is_reported_reads_back_as_the_same_usage(usage: Usage) -> None:
    """On every wire, but for the buckets that it has no word for; what is unknown stays so."""
    prompt = Prompt("any", "m", 1, (), None, None, None, False, {})
    reply = settled(Reply("x", usage=usage), prompt)
    read = {wire.name: Usage.from_response(wire.body(prompt, reply)) for wire in WIRES}

    assert read["openai"] == replace(usage, cache_creation_tokens=None)
    assert read["anthropic"] == usage
    assert read["gemini"] == replace(usage, cache_creation_tokens=None)


@pytest.mark.parametrize("counts", [(1, 1, 2, 0, 0), (1, 1, 1, 1, 0), (1, 1, 0, 0, 2)])
def test_impossible_usage_is_refused(counts: tuple[int, ...]) -> None:
    """A part cannot exceed its whole, as our buckets are inclusive."""
    with pytest.raises(ValueError, match="tokens"):
        Reply(usage=Usage(*counts))


@pytest.mark.parametrize("protocol", ASKS)
@pytest.mark.parametrize("code", [429, 500, 503, 529])
def test_a_status_comes_in_the_protocols_own_shape(client: httpx.Client, protocol: str, code: int) -> None:
    """The status, an error object and, where asked for, `retry-after`."""
    with LoopbackServer([Fault.status(code, retry_after=2, message="told to")]) as server:
        answer = ask(client, server, protocol)

    assert (answer.status_code, answer.headers["retry-after"]) == (code, "2")
    assert answer.json()["error"]["message"] == "told to"


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (Fault.empty_body(), 200, "application/json", ""),
        (Fault.html(), 502, "text/html; charset=utf-8", "<h1>"),
        (Fault.html(200), 200, "text/html; charset=utf-8", "<h1>"),
        (Fault.error_body("boom"), 200, "text/plain; charset=utf-8", "boom"),
        (Fault.content_type_wrong("fine"), 200, "text/plain; charset=utf-8", '"fine"'),
    ],
)
def test_a_wrong_body_comes_as_it_is(
    client: httpx.Client, fault: Fault, status: int, content_type: str, body: str
) -> None:
    """Faults of the body replace what the protocol would send."""
    with LoopbackServer([fault]) as server:
        answer = ask(client, server)

    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    assert body in answer.text


def test_invalid_json_is_invalid(client: httpx.Client) -> None:
    """The body says that it is JSON and breaks off."""
    with LoopbackServer([Fault.invalid_json()]) as server:
        answer = ask(client, server)

    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_cut_connection_gives_no_answer(client: httpx.Client) -> None:
    """The client sees the server disconnect; the request is recorded all the same."""
    with (
        LoopbackServer([Fault.cut()]) as server,
        pytest.raises(httpx.RemoteProtocolError, match="disconnected"),
    ):
        ask(client, server)

    assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_body_breaks_off_in_the_middle(client: httpx.Client, stream: bool) -> None:
    """A part of the answer arrives, and then the connection is gone."""
    got = bytearray()
    url, body = "/v1/chat/completions", {**CHAT, "stream": stream}
    with (
        LoopbackServer([Fault.cut_body("many words " * 20)]) as server,
        client.stream("POST", server.url + url, json=body) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        collect(answer, got)

    assert b"many words" in got


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.stall(60, "late")])
def test_an_answer_that_does_not_come_meets_the_clients_deadline(fault: Fault) -> None:
    """The server holds the connection open, and still closes at once when the test is done."""
    with (
        httpx.Client(timeout=0.1) as client,
        LoopbackServer([fault]) as server,
        pytest.raises(httpx.ReadTimeout),
    ):
        ask(client, server)


def test_slow_and_stalling_answers_arrive_whole(client: httpx.Client) -> None:
    """A delay before the head or in the middle of the body changes nothing else."""
    with LoopbackServer(
        [Fault.slow(0.01, "slow"), Fault.stall(0.01), Fault.slow(0.01)], answer=shout
    ) as server:
        answers = [text_of("openai", ask(client, server).json()) for _ in range(3)]

    assert answers == ["slow", "HELLO THERE", "HELLO THERE"]


@pytest.mark.parametrize("protocol", ASKS)
def test_what_a_model_says_wrongly_is_well_formed(client: httpx.Client, protocol: str) -> None:
    """Faults of the model are ordinary answers with an extraordinary text."""
    faults = [
        Fault.error_text("Error: no"),
        Fault.invalid_content("{"),
        Fault.over_long(1000),
        Fault.apology("no"),
    ]
    with LoopbackServer(faults) as server:
        texts = [text_of(protocol, ask(client, server, protocol).json()) for _ in faults]

    assert [texts[0], texts[1], len(texts[2]), texts[3]] == ["Error: no", "{", 1000, "no"]


@pytest.mark.parametrize(
    ("fault", "openai", "anthropic", "gemini"),
    [
        (Fault.content_filter(), "content_filter", "refusal", "SAFETY"),
        (Fault.refusal("no"), "stop", "refusal", "PROHIBITED_CONTENT"),
        (Fault.truncated("a"), "length", "max_tokens", "MAX_TOKENS"),
        (Fault.empty_content(), "stop", "end_turn", "STOP"),
    ],
)
def test_each_protocol_has_its_word_for_an_ending(
    client: httpx.Client, fault: Fault, openai: str, anthropic: str, gemini: str
) -> None:
    """Finish reasons are written as each provider writes them."""
    with LoopbackServer([fault] * 3) as server:
        chat, message, content = (ask(client, server, protocol).json() for protocol in ASKS)

    assert chat["choices"][0]["finish_reason"] == openai
    assert message["stop_reason"] == anthropic
    assert content["candidates"][0]["finishReason"] == gemini


def test_a_refusal_has_its_own_field_in_chat_completions(client: httpx.Client) -> None:
    """The content is null, the refusal says why."""
    with LoopbackServer([Fault.refusal("no")]) as server:
        message = ask(client, server).json()["choices"][0]["message"]

    assert (message["content"], message["refusal"]) == (None, "no")


def test_one_fault_met_the_next_request_goes_through(client: httpx.Client) -> None:
    """Each step is used once, so a retry can be seen to help."""
    with LoopbackServer([Fault.status(503), "after all"]) as server:
        statuses = [ask(client, server).status_code for _ in range(2)]

    assert statuses == [503, 200]


def test_an_answer_may_be_a_fault_and_a_fault_without_text_says_ok(client: httpx.Client) -> None:
    """A function can decide by what it is asked; a bare late answer has a text too."""
    with LoopbackServer(
        answer=lambda prompt: Fault.slow(0.001) if prompt.number == 1 else Fault.status(500)
    ) as server:
        first, second = ask(client, server), ask(client, server)

    assert text_of("openai", first.json()) == "ok"
    assert second.status_code == 500


async def test_parallel_requests_are_served_in_parallel() -> None:
    """Requests wait for each other only if their answers do."""
    gate = asyncio.Barrier(8)

    async def together(prompt: Prompt) -> str:
        async with gate:
            return prompt.text

    async with LoopbackServer(answer=together) as server, httpx.AsyncClient() as client:
        calls = [client.post(f"{server.openai_url}/chat/completions", json=CHAT) for _ in range(8)]
        answers = await asyncio.wait_for(asyncio.gather(*calls), 10)

    assert [answer.status_code for answer in answers] == [200] * 8
    assert [request.number for request in server.requests] == list(range(1, 9))


async def test_a_test_can_wait_for_a_request_to_come() -> None:
    """The wait ends with the request, not with its answer; in vain, it says what came."""
    async with LoopbackServer([Fault.hang()]) as server, httpx.AsyncClient() as client:
        call = asyncio.create_task(client.post(f"{server.openai_url}/chat/completions", json=CHAT))
        await server.wait_for_requests(1)
        with pytest.raises(TimeoutError, match="1 of 2 requests"):
            await server.wait_for_requests(2, timeout_s=0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert len(server.requests) == 1


def test_a_log_file_outlives_servers_and_counts_every_call(client: httpx.Client, tmp_path: Path) -> None:
    """Two servers append to one file; each line is there before its answer is."""
    log = tmp_path / "calls.jsonl"

    assert read_log(log) == []

    for _ in range(2):
        with LoopbackServer(answer=lambda _: str(len(read_log(log))), log=log) as server:
            last = text_of("openai", ask(client, server).json())

    assert last == "2"
    assert [(line["number"], line["protocol"], line["model"]) for line in read_log(log)] == [
        (1, "openai", "m")
    ] * 2
    assert read_log(log)[0]["body"] == CHAT


def test_a_server_that_is_not_running_has_no_url() -> None:
    """Before and after the block, the address is an error that says what to do."""
    with LoopbackServer() as server:
        pass

    with pytest.raises(RuntimeError, match="inside `with`"):
        _ = server.url


def test_a_taken_port_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The thread ends and the log closes when the socket cannot be bound."""
    before = set(threading.enumerate())
    with LoopbackServer() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            LoopbackServer(port=port, log=tmp_path / "log").__enter__()

    assert set(threading.enumerate()) <= before


def test_the_command_serves_processes_and_ends_with_sigterm(client: httpx.Client, tmp_path: Path) -> None:
    """The URL is its first line, the log counts, and the exit code is 0."""
    log = tmp_path / "calls.jsonl"
    (tmp_path / "answers.py").write_text("def reverse(prompt):\n    return prompt.text[::-1]\n")
    arguments = ["--log", str(log), "--answer", "answers:reverse"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with UrlProcess("summarizer.testing.server", arguments) as process:
            answer = client.post(f"{process.url}/v1/chat/completions", json=CHAT).json()
            pid = process.pid

    assert text_of("openai", answer) == "ereht olleh"
    assert [line["pid"] for line in read_log(log)] == [pid]
