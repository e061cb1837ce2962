"""`longsplice serve` as a command, under the clients that people have: openai, litellm, the Agents SDK."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from summarizer import SessionManager
from summarizer.messages import ToolCall
from summarizer.server.sessions import owner_of
from summarizer.stores import open_store
from summarizer.testing import LoopbackServer, Reply
from tests.integrations.runtimes import needs
from tests.test_examples import environment, run

pytestmark = needs("starlette", "uvicorn", "httpx", "openai")

KEY = "sk-of-a-caller"
OWNER = owner_of({"authorization": f"Bearer {KEY}"})
READY_S = 30.0
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}


@contextmanager
def serve(upstream: str, folder: Path, *options: str) -> Iterator[str]:
    """The command, until the block ends; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "summarizer.cli", "serve", "--upstream", upstream, "--port", str(port)),
        *("--store", f"sqlite:///{folder / 'log.db'}", "--threshold", "600", *options),
    ]
    with (folder / "serve.log").open("a") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                httpx.get(f"{url}/healthz", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (folder / "serve.log").read_text()
                assert process.poll() is None, (folder / "serve.log").read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        assert process.wait(20) in (0, -15)


@dataclass(frozen=True)
class Served:
    """A running command: its URL, its upstream, and the folder of its store and its log."""

    url: str
    upstream: LoopbackServer
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The command with two workers, for all tests of this module."""
    folder = tmp_path_factory.mktemp("serve")
    with (
        LoopbackServer(answer=model) as upstream,
        serve(upstream.openai_url, folder, "--workers", "2") as url,
    ):
        yield Served(url, upstream, folder)


def model(prompt: Any) -> Reply:
    """Looks again for ever, adds once; else it says how many messages it was sent."""
    last = prompt.body["messages"][-1]
    if "look again" in prompt.text and last["role"] != "assistant":
        return Reply(tool_calls=(ToolCall(f"call_{prompt.number}", "look", '{"place": "shelf"}'),))
    if last["role"] == "user" and str(last["content"]).startswith("add"):
        return Reply(tool_calls=(ToolCall(f"call_{prompt.number}", "add", '{"a": 2, "b": 3}'),))
    return Reply(f"I read {len(prompt.messages)} messages, the last of them about {last['content'][:60]!r}.")


def test_two_workers_serve_one_conversation_over_a_restart(served: Served) -> None:
    """Streams, tools and segmentations, in two processes at once, and again in one that knows nothing."""
    talk(served.url, range(20))
    with serve(served.upstream.openai_url, served.folder) as url:
        talk(url, range(20, 40))
    last = served.upstream.requests[-1].body["messages"]

    rows, chain = logged(served, "trip")
    log = (served.folder / "serve.log").read_text()
    started = [line for line in log.splitlines() if "endpoint.started" in line]

    assert len(started) == 3
    assert json.loads(started[0])["mode"] == "append"
    assert len(chain) >= 3
    assert [row["content"].split()[1] for row in rows if row["role"] == "user"] == [
        f"{n}:" for n in range(40)
    ]
    assert sum(row["role"] == "tool" for row in rows) == 10
    assert len(last) < 40
    assert KEY not in log
    assert KEY.encode() not in (served.folder / "log.db").read_bytes()


def talk(url: str, turns: range) -> None:
    """Turns of one conversation, each over a connection of its own, so that both workers have their share."""
    for n in turns:
        # Certificates are not read, which is most of the time that a client takes to be made.
        http = httpx.Client(verify=False)
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, http_client=http) as client:
            turn(client, n)


def turn(client: openai.OpenAI, n: int) -> None:
    """One turn: every fourth with a tool, every second as a stream."""
    text = (
        f"{'add' if n % 4 == 0 else 'Stop'} {n}: how far is it from there to the next one, by bus or on foot?"
    )
    messages: list[Any] = [{"role": "user", "content": text}]
    headers = {"X-Longsplice-Session-Id": "trip"}
    if n % 2:
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=messages, stream=True, extra_headers=headers
        )
        assert "".join(c.choices[0].delta.content or "" for c in stream).startswith("I read")
        return
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=messages, tools=[ADD], extra_headers=headers
    )
    for call in answer.choices[0].message.tool_calls or ():
        client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "tool", "tool_call_id": call.id, "content": f"5, as {n} says"}],
            tools=[ADD],
            extra_headers=headers,
        )


def logged(served: Served, session_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A conversation's messages and sessions, as another process finds them."""

    async def read() -> tuple[list[dict[str, Any]], list[str]]:
        store = open_store(f"sqlite:///{served.folder / 'log.db'}")
        sm = SessionManager(session_id, store=store, owner=OWNER)
        rows, chain = await sm.get_conversation(), await sm.get_session_chain()
        await store.close()
        return rows, chain

    return asyncio.run(read())


def test_requests_of_two_workers_at_once_lose_nothing(served: Served) -> None:
    """Twenty-four requests of one session at once, over two processes: all are in the log."""

    async def ask_all(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="gpt-4o-mini",
                        messages=[{"role": "user", "content": f"question {n}"}],
                        extra_headers={"X-Longsplice-Session-Id": "busy"},
                    )
                    for n in range(24)
                )
            )

    asyncio.run(ask_all(served.url))
    rows, _ = logged(served, "busy")

    assert sorted(r["content"] for r in rows if r["role"] == "user") == sorted(
        f"question {n}" for n in range(24)
    )
    assert sum(row["role"] == "assistant" for row in rows) == 24


@needs("openai-agents")
async def test_the_agents_sdk_runs_through_it(served: Served) -> None:
    """A runtime that resends its history: its tools run, its loop of many calls is segmented and stopped."""
    import agents

    ran = []

    @agents.function_tool
    def look(place: str) -> str:
        """Look at a place."""
        ran.append(place)
        return f"The {place} is empty."

    agents.set_tracing_disabled(disabled=True)
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1",
        api_key=KEY,
        max_retries=0,
        default_headers={"X-Longsplice-Mode": "full-history"},
    ) as client:
        agent = agents.Agent(
            "clerk",
            instructions="Be brief.",
            model=agents.OpenAIChatCompletionsModel("gpt-4o-mini", client),
            tools=[look],
        )
        first = await agents.Runner.run(agent, "hi")
        history = [*first.to_input_list(), {"role": "user", "content": "look again and again"}]
        second = agents.Runner.run_streamed(agent, history, max_turns=30)
        async for _ in second.stream_events():
            pass

    assert first.final_output.startswith("I read 2 messages")
    assert "The run ends here" in second.final_output
    assert len(ran) == 8


LITELLM_CLIENT = """
import asyncio, json, sys
import litellm

async def main():
    said = []
    for text in ("one", "two"):
        stream = await litellm.acompletion(
            model="openai/gpt-4o-mini",
            api_base=sys.argv[1],
            api_key=sys.argv[2],
            messages=[{"role": "user", "content": text}],
            stream=True,
            extra_headers={"x-litellm-session-id": "from-litellm"},
        )
        said.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))
    print(json.dumps(said))

asyncio.run(main())
"""


@needs("litellm")
async def test_litellm_as_a_client(served: Served) -> None:
    """Its own session header names the conversation."""
    # In a process of its own: what litellm keeps in this one would be met by other tests.
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", LITELLM_CLIENT, f"{served.url}/v1", KEY],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)

    assert said[0].startswith("I read 1 messages")
    assert said[1].startswith("I read 3 messages")


def test_the_example_shows_a_long_chat_and_a_stopped_loop(tmp_path: Path) -> None:
    """examples/openai_endpoint.py, as a user would run it."""
    printed = run("openai_endpoint.py", folder=tmp_path)

    assert "turn 60: segment 3" in printed
    assert "stopped after 8 calls (stop)" in printed
