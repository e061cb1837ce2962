"""litellm's callback: SDK, Router, streams and failures of the real litellm against a loopback server.

litellm keeps clients and callbacks per process, and makes a logging worker per event loop, which the tests of
others would meet: all tests here run in a process of their own.
"""

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from guards import ToolSpec
from summarizer import InvalidSetting, SessionManager, SessionNotFound, ToolCall
from summarizer.stores import ANY_OWNER, default_store
from summarizer.testing import Fault, LoopbackServer, Reply, ScriptMismatch
from tests import redis_servers
from tests.integrations.runtimes import needs, version_of
from tests.test_examples import run

APART = "LITELLM_LOGGER_APART"
if APART in os.environ and version_of("litellm") is not None:
    import litellm

    from summarizer.integrations.litellm_logger import LongspliceLogger

pytestmark = [
    needs("litellm"),
    # litellm's own: how it declares its types, and what it makes of answers that come in parts.
    pytest.mark.filterwarnings("ignore:Items? '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_.*' attribute on the instance:DeprecationWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore:(?s).*coroutine object Logging.async_success_handler:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:(?s).*Pydantic serializer warnings:UserWarning"),
]
apart = pytest.mark.skipif(APART not in os.environ, reason="runs in a process of its own, below")
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_litellm_runs_in_a_process_of_its_own() -> None:
    """What litellm keeps of its clients would meet the servers of later tests."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=native", "-k", "not of_its_own", __file__]
    environment = {**os.environ, APART: "1"}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_without_litellm_the_install_line_is_said_by_a_process_of_its_own() -> None:
    """The import names the extra."""
    script = (
        "import sys; sys.modules['litellm'] = None\n"
        "try: import summarizer.integrations.litellm_logger\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "pip install 'longsplice[litellm]'" in done.stdout


@pytest.mark.slow
def test_the_example_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """`examples/litellm_callback.py`: the whole history goes in, what fits goes out, cost as litellm says."""
    printed = run("litellm_callback.py", folder=tmp_path, NO_PROXY="127.0.0.1")

    assert "40 messages in the history, " in printed
    assert "the model still knew: My locker is number 318." in printed
    assert "recorded 40 messages in " in printed
    assert "after a restart: 42 messages, nothing twice" in printed


PROXY = """
model_list:
  - model_name: chat
    litellm_params: {model: openai/gpt-4o-mini, api_base: "%s", api_key: k}
litellm_settings:
  callbacks: %s
general_settings:
  master_key: sk-master
"""
HANDLER = """
from summarizer.integrations.litellm_logger import LongspliceLogger
handler = LongspliceLogger(token_threshold=300, segmentation="inline")
"""


@contextlib.contextmanager
def proxy(folder: Path, url: str, upstream: str, callbacks: str) -> Iterator[Callable[..., bytes]]:
    """The proxy, running; posts a chat request, and gives the body of the answer."""
    (folder / "config.yaml").write_text(PROXY % (upstream, callbacks))
    (folder / "handler.py").write_text(HANDLER)
    port = redis_servers.free_port()
    base = f"http://127.0.0.1:{port}"

    def post(**body: Any) -> bytes:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-master"}
        headers |= body.pop("headers", {})
        request = urllib.request.Request(
            f"{base}/v1/chat/completions", json.dumps({"model": "chat", **body}).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LONGSPLICE_STORE": url, "NO_PROXY": "127.0.0.1"}
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("litellm")), "--config", str(folder / "config.yaml")),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            assert process.poll() is None, (folder / "proxy.log").read_text()
            assert time.monotonic() < deadline, "the proxy does not come up"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{base}/health/liveliness", timeout=2).close()
                break
            time.sleep(0.2)
        yield post
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    version_of("litellm-proxy-extras") is None, reason="not installed: litellm-proxy-extras (litellm[proxy])"
)
@pytest.mark.parametrize(
    "callbacks", ["summarizer.integrations.litellm_logger.proxy_handler", "handler.handler"]
)
async def test_the_proxy_takes_one_line_of_configuration_in_a_process_of_its_own(
    callbacks: str, url: str, tmp_path: Path
) -> None:
    """Streamed or not, over a restart of the proxy: each message once, all billed, no forged owner."""
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    forged = {"user_api_key_user_id": "mallory"}

    def turn(post: Callable[..., bytes], n: int) -> None:
        history.append(user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?"))
        if n % 2:
            metadata = {"session_id": "chat", **forged}
            told = json.loads(post(messages=history, metadata=metadata, litellm_metadata=forged))
            history.append(told["choices"][0]["message"])
            return
        options = {"stream": True, "stream_options": {"include_usage": True}}
        streamed = post(messages=history, headers={"x-litellm-session-id": "chat"}, **options).decode()
        chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        history.append({"role": "assistant", "content": text})

    # The proxy asks for /v1/models too, which the server has not.
    upstream = LoopbackServer(answer=lambda prompt: f"Answer to {prompt.text[-40:]}")
    with contextlib.suppress(ScriptMismatch), upstream as server:
        for numbers in (range(8), range(8, 16)):
            with proxy(tmp_path, url, server.openai_url, callbacks) as post:
                for n in numbers:
                    await asyncio.to_thread(turn, post, n)
                await recorded(url, 2 * (numbers[-1] + 1), owner="default_user_id")
        sent = [request.body["messages"] for request in server.requests if request.method == "POST"]

    kept = await said(url, owner="default_user_id")
    segments = (await stats(url, owner="default_user_id")).session_segments
    rows = await default_store(url).list(ANY_OWNER)
    assert kept == [(one["role"], one["content"]) for one in history[1:]]
    assert [(row.conversation_id, row.owner) for row in rows] == [("chat", "default_user_id")]
    assert (segments >= 2 and len(sent[-1]) < 20) is (callbacks == "handler.handler")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'log.db').as_posix()}"


@pytest.fixture(autouse=True)
def callbacks() -> Iterator[None]:
    """Take out what a test put into litellm, and its leftover clients with it."""
    yield
    if APART in os.environ:
        litellm.callbacks = []
        litellm.logging_callback_manager._reset_all_callbacks()
        litellm.in_memory_llm_clients_cache.flush_cache()
        litellm.cache = None
        with warnings.catch_warnings(action="ignore"):
            gc.collect()


@pytest.fixture(autouse=True)
async def settled() -> AsyncIterator[None]:
    """Let litellm's worker of this loop end before the loop does."""
    yield
    if APART in os.environ:
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

        with warnings.catch_warnings(action="ignore"):  # It may leave a coroutine that nobody awaits.
            await GLOBAL_LOGGING_WORKER.flush()
            await GLOBAL_LOGGING_WORKER.stop()


def watched(url: str, **settings: Any) -> "LongspliceLogger":
    """A logger that litellm calls."""
    logger = LongspliceLogger(url, segmentation="inline", **settings)
    litellm.callbacks = [logger]
    return logger


def call_of(server: LoopbackServer, session_id: str | None = "chat", **more: Any) -> dict[str, Any]:
    """Arguments of a call that reach the server, once."""
    named = {} if session_id is None else {"metadata": {"session_id": session_id}}
    return {
        "model": "openai/gpt-4o-mini",
        "api_base": server.openai_url,
        "api_key": "k",
        "max_retries": 0,
        **named,
        **more,
    }


def deployment(server: LoopbackServer, name: str) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": call_of(server, None)}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def said(url: str, session_id: str = "chat", owner: str | None = None) -> list[tuple[str, Any]]:
    """Roles and texts of a session, read by a manager of its own; empty if it is not there."""
    try:
        rows = await SessionManager(session_id, store=url, owner=owner, create=False).get_conversation()
    except SessionNotFound:
        return []
    return [(row["role"], row["content"]) for row in rows]


async def stats(url: str, session_id: str = "chat", owner: str | None = None) -> Any:
    return await SessionManager(session_id, store=url, owner=owner, create=False).get_stats()


async def conversations(url: str) -> set[str]:
    """The ids of the owner's conversations, forks included."""
    return {row.conversation_id for row in await default_store(url).list(None)}


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for litellm's logging worker to have brought something about."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


async def recorded(url: str, count: int, session_id: str = "chat", owner: str | None = None) -> Any:
    """Wait until so many messages and the usage of all answers are recorded; what was said."""

    async def whole() -> bool:
        found = await said(url, session_id, owner)
        return len(found) >= count and (await stats(url, session_id, owner)).cost_coverage == 1.0

    await until(whole)
    return await said(url, session_id, owner)


@apart
async def test_a_long_chat_stays_within_the_window(url: str) -> None:
    """The host sends its whole history; the model gets its system prompt, notes and the newest turns."""
    watched(url, token_threshold=200)
    history = [{"role": "system", "content": "Be brief."}]
    with LoopbackServer([f"Answer {n}: it is {n * 3} km on foot." for n in range(16)]) as server:
        for n in range(16):
            history.append(user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?"))
            answer = await litellm.acompletion(messages=history, **call_of(server))
            history.append(answer.choices[0].message.model_dump())
        sent = [request.body["messages"] for request in server.requests]

    kept = await recorded(url, 32)
    totals = await stats(url)
    assert kept == [(one["role"], one["content"]) for one in history[1:]]
    assert totals.session_segments >= 3
    assert await conversations(url) == {"chat"}
    assert max(map(len, sent)) < 22
    assert all(messages[0] == history[0] for messages in sent)
    assert all(messages[-1]["content"].startswith(f"Question {n}:") for n, messages in enumerate(sent))
    assert "[Notes on events" in sent[-1][1]["content"]


@apart
async def test_usage_and_cost_are_those_litellm_reports(url: str) -> None:
    """A price of the deployment's own goes before every list; tokens are the provider's."""
    watched(url)
    with LoopbackServer(["Hello."]) as server:
        answer = await litellm.acompletion(
            messages=[user("Hello?")],
            **call_of(server, input_cost_per_token=0.5, output_cost_per_token=0.25),
        )

    await recorded(url, 2)
    totals = await stats(url)
    assert (totals.input_tokens, totals.output_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert totals.cost_usd == Decimal("0.5") * totals.input_tokens + Decimal("0.25") * totals.output_tokens


@apart
async def test_the_router_s_own_prices_count(url: str) -> None:
    """What the deployment costs, as the answer itself has it; durable before the host has the answer."""
    watched(url)
    with LoopbackServer(["Hello."]) as server:
        one = deployment(server, "main")
        one["model_info"] = {"input_cost_per_token": 0.125, "output_cost_per_token": 0.5}
        router = litellm.Router(model_list=[one], num_retries=0)
        answer = await router.acompletion("main", [user("Hello?")], metadata={"session_id": "chat"})
        totals = await stats(url)

    assert totals.ai_messages == 1
    assert totals.cost_usd == Decimal(str(answer._hidden_params["response_cost"])) > Decimal("0.1")


@apart
async def test_a_stream_is_recorded_once_and_whole(url: str) -> None:
    """Chunks reach the host as they come; its end brings one answer with usage."""
    watched(url)
    with LoopbackServer([Reply("One two three four."), "Five."]) as server:
        stream = await litellm.acompletion(
            messages=[user("Count.")], stream=True, stream_options={"include_usage": True}, **call_of(server)
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        history = [user("Count."), {"role": "assistant", "content": text}, user("Go on.")]
        await litellm.acompletion(messages=history, **call_of(server))

    kept = await recorded(url, 4)
    assert text == "One two three four."
    assert kept == [
        ("user", "Count."),
        ("assistant", text),
        ("user", "Go on."),
        ("assistant", "Five."),
    ]
    assert (await stats(url)).session_segments == 1


@apart
async def test_an_abandoned_stream_keeps_the_question(url: str) -> None:
    """What the host did not read to its end is not recorded; what it asked is."""
    watched(url)
    with LoopbackServer(["One two three four."]) as server:
        stream = await litellm.acompletion(messages=[user("Count.")], stream=True, **call_of(server))
        await anext(aiter(stream))
        await stream.aclose()

    assert await said(url) == [("user", "Count.")]


@apart
async def test_a_cancelled_call_keeps_the_question(url: str) -> None:
    """The next request goes on behind it."""
    watched(url)
    with LoopbackServer([Fault.slow(30.0), "Here."]) as server:
        call = asyncio.ensure_future(litellm.acompletion(messages=[user("Where?")], **call_of(server)))
        await server.wait_for_requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await litellm.acompletion(messages=[user("Where?"), user("Where is it?")], **call_of(server))

    assert await recorded(url, 3) == [("user", "Where?"), ("user", "Where is it?"), ("assistant", "Here.")]


@apart
async def test_retries_and_fallbacks_of_the_router_record_once(url: str) -> None:
    """Three attempts on two deployments: one question, one answer, one bill; and no fork."""
    watched(url)
    faults = [Fault.status(429, retry_after=0), Fault.status(500), Fault.status(500)]
    with LoopbackServer([*faults, "There."]) as server:
        router = litellm.Router(
            model_list=[deployment(server, "main"), deployment(server, "spare")],
            fallbacks=[{"main": ["spare"]}],
            num_retries=2,
            retry_after=0,
        )
        await router.acompletion("main", [user("Where?")], metadata={"session_id": "chat"})
        count = len(server.requests)

    assert count == 4
    assert await recorded(url, 2) == [("user", "Where?"), ("assistant", "There.")]
    assert await conversations(url) == {"chat"}


@apart
async def test_fallbacks_of_the_sdk_get_what_was_to_be_sent(url: str) -> None:
    """Litellm calls itself with the messages that were prepared: they are not taken for a new history."""
    watched(url, token_threshold=200)
    history = [user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?") for n in range(20)]
    with LoopbackServer([Fault.status(500), "Far."]) as server:
        await litellm.acompletion(messages=history, fallbacks=["openai/gpt-4o"], **call_of(server))
        first, second = (request.body["messages"] for request in server.requests)

    assert first == second
    assert len(second) < 20
    assert [role for role, _ in await recorded(url, 21)] == ["user"] * 20 + ["assistant"]
    assert await conversations(url) == {"chat"}


@apart
async def test_a_failed_call_keeps_the_question(url: str) -> None:
    """The host gets litellm's own error."""
    watched(url)
    with LoopbackServer([Fault.status(400)]) as server, pytest.raises(litellm.BadRequestError):
        await litellm.acompletion(messages=[user("Where?")], **call_of(server))

    assert await said(url) == [("user", "Where?")]


@apart
async def test_synchronous_calls_are_tracked_not_managed(url: str) -> None:
    """`completion`, streamed and failed ones too; the log says once that nothing holds it in the window."""
    watched(url)

    def calls() -> None:
        litellm.completion(messages=[user("One?")], **call_of(server, None, litellm_session_id="a"))
        stream = litellm.completion(messages=[user("Two?")], stream=True, **call_of(server, "b"))
        assert list(stream)
        with pytest.raises(litellm.BadRequestError):
            litellm.completion(messages=[user("Three?")], **call_of(server, "c"))

    with structlog.testing.capture_logs() as logged, LoopbackServer(["1", "2", Fault.status(400)]) as server:
        await asyncio.to_thread(calls)
        kept = [await recorded(url, 2, "a"), await recorded(url, 2, "b"), await said(url, "c")]

    assert kept == [
        [("user", "One?"), ("assistant", "1")],
        [("user", "Two?"), ("assistant", "2")],
        [("user", "Three?")],
    ]
    assert [line["event"] for line in logged] == ["litellm.not_managed"]


@apart
async def test_a_synchronous_call_inside_a_running_loop_is_tracked(url: str) -> None:
    """Where `completion` blocks the loop, its log entry does not wait for that loop."""
    watched(url)
    with LoopbackServer(["1", Fault.status(400)]) as server:
        litellm.completion(messages=[user("One?")], **call_of(server))
        with pytest.raises(litellm.BadRequestError):
            litellm.completion(messages=[user("Two?")], **call_of(server, "b"))

    assert await recorded(url, 2) == [("user", "One?"), ("assistant", "1")]
    assert await said(url, "b") == [("user", "Two?")]


@apart
async def test_messages_passed_by_position_are_tracked(url: str) -> None:
    """The hook cannot change them, so the call goes on as it is; the log says so once."""
    watched(url, token_threshold=200)
    with structlog.testing.capture_logs() as logged, LoopbackServer(["Far."]) as server:
        arguments = call_of(server)
        await litellm.acompletion(arguments.pop("model"), [user("How far?")], **arguments)

        assert await recorded(url, 2) == [("user", "How far?"), ("assistant", "Far.")]
    assert [(line["event"], line["fix"]) for line in logged] == [
        ("litellm.not_managed", "pass messages by name")
    ]


@apart
async def test_a_text_that_litellm_hides_is_not_recorded(url: str) -> None:
    """Told to keep messages out of callbacks, litellm hands over a stand-in: it is no answer."""
    watched(url)
    litellm.turn_off_message_logging = True
    try:
        with LoopbackServer(["One two.", "Three."]) as server:
            stream = await litellm.acompletion(messages=[user("Count.")], stream=True, **call_of(server))
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            await asyncio.sleep(0.3)
            history = [user("Count."), {"role": "assistant", "content": text}, user("Go on.")]
            await litellm.acompletion(messages=history, **call_of(server))
    finally:
        litellm.turn_off_message_logging = False

    assert [text for _, text in await said(url)] == ["Count.", "One two.", "Go on.", "Three."]
    assert await conversations(url) == {"chat"}


@apart
async def test_parallel_calls_of_one_session_lose_nothing(url: str) -> None:
    """The same list at once is one conversation; other lists are forks, each with its answer."""
    watched(url)
    with LoopbackServer(answer=lambda prompt: f"Re: {prompt.text[-9:]}") as server:
        await litellm.acompletion(messages=[user("Begin.")], **call_of(server))
        base = [user("Begin."), {"role": "assistant", "content": (await recorded(url, 2))[1][1]}]
        asked = [[*base, user(f"Question {n}")] for n in (1, 1, 2, 3)]
        await asyncio.gather(*(litellm.acompletion(messages=one, **call_of(server)) for one in asked))

    async def whole() -> bool:
        logs = [await said(url, one) for one in await conversations(url)]
        return sorted(str(log[-1][1])[-10:] for log in logs if len(log) >= 2) == [
            "Question 1",
            "Question 2",
            "Question 3",
        ] or (all(log[-1][0] == "assistant" for log in logs) and len(logs) == 3)

    await until(whole)


@apart
async def test_a_restart_goes_on_where_the_log_is(url: str) -> None:
    """Another logger, cold, is handed the history: nothing is recorded twice, nothing is summarized anew."""
    history: list[dict[str, Any]] = []

    async def turns(server: LoopbackServer, numbers: range) -> None:
        for n in numbers:
            history.append(user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?"))
            answer = await litellm.acompletion(messages=history, **call_of(server))
            history.append(answer.choices[0].message.model_dump())
        await recorded(url, len(history))

    watched(url, token_threshold=200)
    with LoopbackServer([f"Answer {n}: it is {n * 3} km on foot." for n in range(8)]) as server:
        await turns(server, range(8))
    script = (
        "import asyncio, json, sys, litellm\n"
        "from summarizer.integrations.litellm_logger import LongspliceLogger\n"
        "url, base, history = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])\n"
        "litellm.callbacks = [LongspliceLogger(url, segmentation='inline', token_threshold=200)]\n"
        "history.append({'role': 'user', 'content': 'Question 8: and from there?'})\n"
        "answer = asyncio.run(litellm.acompletion(model='openai/gpt-4o-mini', api_base=base, api_key='k',\n"
        "    max_retries=0, messages=history, metadata={'session_id': 'chat'}))\n"
    )
    with LoopbackServer(["Answer 8: not far."]) as server:
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script, url, server.openai_url, json.dumps(history)],
            check=True,
            cwd=ROOT,
        )
        sent = server.requests[0].body["messages"]

    kept = await recorded(url, 18)
    assert [text for _, text in kept[:16]] == [one["content"] for one in history]
    assert kept[16:] == [("user", "Question 8: and from there?"), ("assistant", "Answer 8: not far.")]
    assert len(sent) < 17
    assert await conversations(url) == {"chat"}


@apart
async def test_a_rewritten_history_becomes_a_fork(url: str) -> None:
    """The first wording stays; the second goes on in a conversation of its own."""
    watched(url)
    with LoopbackServer(["A.", "B."]) as server:
        await litellm.acompletion(messages=[user("First wording")], **call_of(server))
        await recorded(url, 2)
        await litellm.acompletion(messages=[user("Second wording")], **call_of(server))

    async def forked() -> bool:
        return len(await conversations(url)) == 2

    await until(forked)
    (fork,) = await conversations(url) - {"chat"}
    assert await said(url) == [("user", "First wording"), ("assistant", "A.")]
    assert await recorded(url, 2, fork) == [("user", "Second wording"), ("assistant", "B.")]


TOOL = {
    "type": "function",
    "function": {
        "name": "stock",
        "description": "Items in stock.",
        "parameters": {
            "type": "object",
            "properties": {"sku": {"type": "string"}},
            "x-read-only": True,
        },
    },
}


@apart
async def test_an_agent_loop_with_tools_is_guarded_and_stopped(url: str) -> None:
    """Calls run through the session's guard: the equal ones are answered from the first and then stopped."""
    watched(url)
    ran: list[str] = []
    actions: list[str] = []

    async def stock(sku: str) -> dict[str, Any]:
        ran.append(sku)
        return {"sku": sku, "left": 3}

    steps = [Reply(tool_calls=(ToolCall(f"call_{n}", "stock", '{"sku": "A-7"}'),)) for n in range(8)]
    history: list[Any] = [user("Is A-7 in stock?")]
    async with SessionManager("chat", store=url) as sm:
        sm.tools.configure([ToolSpec("stock", read_only=True)])
        with LoopbackServer([*steps, "Three are left."]) as server:
            for n in range(9):
                answer = await litellm.acompletion(
                    messages=history, tools=[TOOL], _skip_mcp_handler=True, **call_of(server)
                )
                message = answer.choices[0].message
                history.append(message)
                if not message.tool_calls:
                    break
                count = 2 * n + 2
                await until(lambda count=count: _has(url, count))
                for call in message.tool_calls:
                    done = await sm.tools.run(stock, "stock", call.function.arguments, call_id=call.id)
                    actions.append(str(done.verdict.action))
                    history.append({"role": "tool", "tool_call_id": call.id, "content": done.content})

    kept = await recorded(url, 18)
    assert ran == ["A-7"]
    assert actions[0] == "allow"
    assert actions[-1] == "block"
    assert [role for role, _ in kept] == ["user", *["assistant", "tool"] * 8, "assistant"]
    assert await conversations(url) == {"chat"}


async def _has(url: str, count: int) -> bool:
    return len(await said(url)) >= count


@apart
async def test_unknown_fields_and_parts_go_through(url: str) -> None:
    """Images, names, reasoning and keys nobody knows reach the model as the host sent them, and the log."""
    watched(url)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    history: list[Any] = [
        {"role": "user", "name": "ana", "content": [{"type": "text", "text": "What is it?"}, picture]},
        {"role": "assistant", "content": "A line.", "reasoning_content": "Hm.", "x_own": {"a": 1}},
        user("Sure?"),
    ]
    with LoopbackServer(["Yes."]) as server:
        await litellm.acompletion(messages=history, **call_of(server))
        sent = server.requests[0].body["messages"]

    await until(lambda: _has(url, 4))
    rows = await SessionManager("chat", store=url).get_conversation()
    assert sent[0]["content"] == history[0]["content"]
    assert len(sent) == 3
    assert rows[0]["content"] == history[0]["content"]
    assert rows[1]["x_own"] == {"a": 1}
    assert rows[1]["reasoning_content"] == "Hm."


@apart
@pytest.mark.parametrize(
    ("given", "session_id"),
    [
        ({"metadata": {"session_id": "m", "trace_id": "t"}}, "m"),
        ({"litellm_session_id": "s"}, "s"),
        ({"litellm_metadata": {"session_id": "lm"}}, "lm"),
        ({"metadata": {"trace_id": "t"}}, "t"),
        ({"metadata": {"session_id": 7}}, "7"),
        ({"metadata": {"session_id": "a~b"}}, "litellm-6d0b6c8f1d2aa6ab5d3d8f3ce2cb0d1b"),
    ],
)
async def test_the_session_is_found_where_litellm_users_name_it(
    url: str, given: dict[str, Any], session_id: str
) -> None:
    """In either metadata, as litellm's own argument, as a trace; an id no store takes becomes a digest."""
    watched(url)
    with LoopbackServer(["Hello."]) as server:
        await litellm.acompletion(messages=[user("Hello?")], **call_of(server, None, **given))
    if session_id.startswith("litellm-"):
        rows = await default_store(url).list(None)
        session_id = rows[0].conversation_id

        assert session_id.startswith("litellm-")

    assert await recorded(url, 2, session_id) == [("user", "Hello?"), ("assistant", "Hello.")]


@apart
async def test_calls_without_a_session_are_left_alone(url: str) -> None:
    """Neither read nor written; the Router's made-up trace id is no session."""
    watched(url)
    with LoopbackServer(["1", "2"]) as server:
        await litellm.acompletion(messages=[user("One?")], **call_of(server, None))
        router = litellm.Router(model_list=[deployment(server, "main")], num_retries=0)
        await router.acompletion("main", [user("Two?")])
        await asyncio.sleep(0.2)

    assert await default_store(url).list(None) == ()


@apart
async def test_the_owner_is_whom_the_proxy_has_authenticated(url: str) -> None:
    """The key's user, else the key; what a client writes into the other slot opens nobody's session."""
    watched(url)
    ana = {"session_id": "chat", "user_api_key_user_id": "ana", "user_api_key_hash": "88"}
    keyed = {"session_id": "chat", "user_api_key_user_id": None, "user_api_key_hash": "99"}
    forged = {"user_api_key_user_id": "mallory"}
    with LoopbackServer(["0", "0", "1", "2"]) as server:
        other = ana | {"session_id": "other"}
        for slots in ((other, forged), (forged, other)):  # Which one the proxy writes depends on the route.
            call = call_of(server, None, metadata=slots[0], litellm_metadata=slots[1])
            await litellm.acompletion(messages=[user("Zero?")], **call)
        await litellm.acompletion(messages=[user("One?")], **call_of(server, None, metadata=ana))
        await litellm.acompletion(messages=[user("Two?")], **call_of(server, None, metadata=keyed))

    assert await recorded(url, 2, owner="ana") == [("user", "One?"), ("assistant", "1")]
    assert await recorded(url, 2, owner="key:99") == [("user", "Two?"), ("assistant", "2")]
    assert await said(url) == []
    assert await default_store(url).list("mallory") == ()


@apart
async def test_a_store_that_fails_does_not_fail_the_call(tmp_path: Path) -> None:
    """The request goes on as it was, and a log line says so, without its content."""
    (tmp_path / "not-a-folder").write_text("")
    watched(f"sqlite:///{tmp_path}/not-a-folder/log.db")
    with structlog.testing.capture_logs() as logged, LoopbackServer(["Hello."]) as server:
        answer = await litellm.acompletion(messages=[user("Secret?")], **call_of(server))
        await until(lambda: _true(len(logged) >= 2))
        sent = server.requests[0].body["messages"]

    assert answer.choices[0].message.content == "Hello."
    assert sent == [user("Secret?")]
    assert {(line["event"], line.get("step")) for line in logged} >= {
        ("litellm.failed_open", "prepare"),
        ("litellm.failed_open", "record"),
    }
    assert "Secret" not in str([{k: v for k, v in line.items() if k != "exc_info"} for line in logged])


async def _true(value: bool) -> bool:
    return value


@apart
async def test_a_slow_store_is_waited_for_a_bounded_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the request goes on as it was."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    watched(url, timeout_s=0.2)
    monkeypatch.setattr(SessionManager, "open_segment", never)
    with structlog.testing.capture_logs() as logged, LoopbackServer(["Hello."]) as server:
        began = time.monotonic()
        await litellm.acompletion(messages=[user("Hello?")], **call_of(server))
        took = time.monotonic() - began
        await asyncio.sleep(0.4)

    assert took < 15
    assert logged[0]["error"] == "TimeoutError"


@apart
async def test_a_malformed_history_does_not_fail_differently(url: str) -> None:
    """Litellm judges what it is given, as it would without us."""
    watched(url)
    with LoopbackServer(answer="Hello.") as server:
        for messages in ([{"content": "no role"}], [user("ok"), {"role": "martian", "content": "x"}]):
            with structlog.testing.capture_logs():
                with contextlib.suppress(litellm.APIError):
                    await litellm.acompletion(messages=messages, **call_of(server))
                await asyncio.sleep(0.1)
        answer = await litellm.acompletion(messages=[user("Hello?")], **call_of(server))

    assert answer.choices[0].message.content == "Hello."


@apart
async def test_an_answer_out_of_the_cache_is_not_billed(url: str) -> None:
    """It is recorded, and costs nothing that nobody has paid."""
    logger = watched(url)
    seen = {
        "call_type": "acompletion",
        "messages": [user("Hello?")],
        "model": "gpt-4o-mini",
        "cache_hit": True,
    }
    told = {"litellm_params": {"metadata": {"session_id": "chat"}}, "response_cost": 0.0}
    answer = litellm.ModelResponse(
        choices=[{"message": {"role": "assistant", "content": "Hello."}}],
        usage=litellm.Usage(prompt_tokens=9, completion_tokens=1, total_tokens=10),
    )
    for _ in range(2):  # litellm has called one callback twice where it was registered twice.
        await logger.async_log_success_event(seen | told, answer, None, None)

    assert await said(url) == [("user", "Hello?"), ("assistant", "Hello.")]
    assert (await stats(url)).billed_tokens == 0


@apart
async def test_tracking_alone_changes_no_request(url: str) -> None:
    """`manage=False`: everything is recorded and segmented, and every request goes out as it came."""
    watched(url, token_threshold=200, manage=False)
    history = [user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?") for n in range(20)]
    with LoopbackServer(["Far."]) as server:
        await litellm.acompletion(messages=history, **call_of(server))
        sent = server.requests[0].body["messages"]

    await recorded(url, 21)
    assert sent == history
    assert (await stats(url)).session_segments >= 2


@apart
async def test_our_own_summary_calls_are_not_tracked(url: str) -> None:
    """A summarizer that asks litellm goes through the same callback, and belongs to no session."""
    watched(url, token_threshold=200, summarizer="openai/gpt-4o-mini")
    history: list[Any] = []
    os.environ["OPENAI_API_KEY"] = "k"
    try:
        with LoopbackServer(answer="It is 3 km.") as server:
            os.environ["OPENAI_API_BASE"] = server.openai_url
            for n in range(10):
                history.append(user(f"Question {n}: how far is it from stop {n} to stop {n + 1}, please?"))
                answer = await litellm.acompletion(messages=history, **call_of(server))
                history.append(answer.choices[0].message.model_dump())
            await recorded(url, 20)
            asked = len(server.requests)
    finally:
        del os.environ["OPENAI_API_BASE"], os.environ["OPENAI_API_KEY"]

    assert asked > 10
    assert await conversations(url) == {"chat"}


@apart
async def test_other_calls_than_chat_are_left_alone(url: str) -> None:
    """Embeddings and the like have no conversation."""
    logger = watched(url)
    from litellm.types.utils import CallTypes

    kwargs = {"input": ["text"], "metadata": {"session_id": "chat"}, "messages": [user("x")]}
    assert await logger.async_pre_call_deployment_hook(kwargs, CallTypes.aembedding) is None
    await logger.async_log_success_event(kwargs | {"call_type": "aembedding"}, {}, None, None)

    assert await said(url) == []


@apart
def test_a_bad_setting_is_refused_where_it_is_given() -> None:
    """Not in the middle of the first call."""
    with pytest.raises(InvalidSetting, match="timeout_s=0"):
        LongspliceLogger(timeout_s=0)
    with pytest.raises(InvalidSetting, match="use 'background' or 'inline'"):
        LongspliceLogger(segmentation="sometimes")
