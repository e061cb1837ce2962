"""The examples, run as a user would run them."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from summarizer import SessionManager, ToolCall, get_session_stats, open_store
from summarizer.testing import LoopbackServer, Reply
from tests import redis_servers

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
REQUESTS = 40
READY_S = 60.0


def environment(**settings: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **settings}


def run(script: str, *arguments: str, folder: Path, typed: str = "", **settings: str) -> str:
    """Run an example in `folder`; what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        check=False,
        cwd=folder,
        env=environment(**settings),
        input=typed,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    """A new example gets a test, here or beside the tests of the runtime that it shows."""
    tests = [
        Path(__file__),
        *(ROOT / "tests" / "integrations").glob("*.py"),
        *(ROOT / "tests").glob("*/test_sync.py"),
    ]
    text = "".join(path.read_text("utf-8") for path in tests)

    assert [path.name for path in EXAMPLES.glob("*.py") if path.stem not in text] == []


async def test_the_endless_chat_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The scripted chat opens child sessions, keeps its context small, and continues under its id."""
    first = await asyncio.to_thread(run, "endless_chat.py", "--chat", "trip", folder=tmp_path)
    again = await asyncio.to_thread(run, "endless_chat.py", "--chat", "trip", "--turns", "5", folder=tmp_path)
    stats = await get_session_stats("trip", store=f"sqlite:///{tmp_path}/chat.db")
    largest = re.search(r"largest context sent: (\d+)", first)

    assert "messages 120," in first
    assert "messages 130," in again
    assert stats.session_segments >= 5
    assert largest is not None
    assert int(largest.group(1)) < 900


@pytest.mark.slow
def test_the_endless_chat_speaks_to_a_model(tmp_path: Path) -> None:
    """With `--model` what is typed reaches the model, its answer is shown, and usage and cost are booked."""
    pytest.importorskip("litellm")
    with LoopbackServer(["Good morning, Ana.", "The 9:15 to Porto."]) as server:
        printed = run(
            *("endless_chat.py", "--chat", "trip", "--model", "openai/gpt-4o-mini"),
            folder=tmp_path,
            typed="I am Ana.\nWhich train?\n\n",
            OPENAI_API_KEY="none",
            OPENAI_BASE_URL=server.openai_url,
        )
    stats = asyncio.run(get_session_stats("trip", store=f"sqlite:///{tmp_path}/chat.db"))

    assert "Good morning, Ana." in printed
    assert "The 9:15 to Porto." in printed
    assert stats.total_messages == 4
    assert stats.billed_tokens > 0
    assert stats.cost_coverage == 1.0


async def test_custom_summarizers_are_adopted_or_replaced(tmp_path: Path) -> None:
    """A function and an object write the summary; one that fails leaves it to the rules."""
    printed = await asyncio.to_thread(run, "custom_summarizer.py", folder=tmp_path)

    assert "== first_sentences: written by custom" in printed
    assert "== NewestMachine: written by custom" in printed
    assert "== broken: written by extractive" in printed


@pytest.mark.slow
def test_the_plain_loop_passes_results_on_by_name(tmp_path: Path) -> None:
    """A large result reaches two tools whole, by a name of a few characters; a wrong path is corrected."""
    printed = run("openai_loop.py", folder=tmp_path, NO_PROXY="127.0.0.1")

    assert [line for line in printed.splitlines() if not line.startswith("  ")] == [
        "find_customer: allow, 28 characters written, 28 received",
        "list_orders: block, 34 characters written, 34 received",
        "list_orders: allow, 25 characters written, 25 received",
        "sum_prices: allow, 17 characters written, 26922 received",
        "send_mail: allow, 74 characters written, 26980 received",
        "answer: I mailed you the list. Your 500 orders cost 129750 together.",
    ]
    assert '"$v1.customer_id" leads nowhere' in printed


@pytest.mark.slow
def test_the_plain_loop_speaks_to_an_endpoint(tmp_path: Path) -> None:
    """With `--base-url` the tools are sent, and what the guard says of a call goes back as its result."""
    call = ToolCall("call_1", "find_customer", '{"email": "$v7"}')
    with LoopbackServer([Reply(tool_calls=(call,)), Reply("Sorry.")]) as server:
        printed = run(
            *("openai_loop.py", "--base-url", server.openai_url), folder=tmp_path, NO_PROXY="127.0.0.1"
        )

    sent = [request.body for request in server.requests]
    assert [tool["function"]["name"] for tool in sent[0]["tools"]][-1] == "read_value"
    assert sent[1]["messages"][-1]["content"].startswith('"$v7" names no result, so the call was not run.')
    assert printed.splitlines()[-1] == "answer: Sorry."


def test_a_nudge_ends_the_loop(tmp_path: Path) -> None:
    """Unguarded, the agent uses up its rounds; nudged before its fourth equal call, it finds the answer."""
    printed = run("loop_nudge.py", folder=tmp_path)
    unguarded, guarded = printed.split("with it:\n")

    assert "no answer after 40 calls" in unguarded
    assert "call 4, warn:" in guarded
    assert "answer after 5 calls: The 24th is full." in guarded


def test_a_confirmation_outlives_the_process(tmp_path: Path) -> None:
    """The call waits over two processes; approved in a third, it runs once, with its own arguments."""
    asked = run("confirmation.py", folder=tmp_path)
    waiting = run("confirmation.py", folder=tmp_path)
    approved = run("confirmation.py", "--approve", folder=tmp_path)
    again = run("confirmation.py", "--approve", folder=tmp_path)

    assert asked.endswith("buckets: backups-2024, backups-2025\n")
    assert 'delete_bucket({"bucket": "backups-2025"})\nsay --approve or --reject' in waiting
    assert waiting.endswith("buckets: backups-2024, backups-2025\n")
    assert 'ran delete_bucket: {"deleted":"backups-2025","left":["backups-2024"]}' in approved
    assert "ran delete_bucket" not in again
    assert again.endswith("buckets: backups-2024\n")


def test_a_rejection_is_told_to_the_agent(tmp_path: Path) -> None:
    """Rejected, the call never runs, and its result says so with the person's reason."""
    run("confirmation.py", folder=tmp_path)
    printed = run("confirmation.py", "--reject", "not on a Friday", folder=tmp_path)

    assert "agent: This came of it: Not run: a person rejected this call" in printed
    assert '"not on a Friday"' in printed
    assert printed.endswith("buckets: backups-2024, backups-2025\n")


@contextlib.contextmanager
def workers(store: str, folder: Path, *, count: int = 2) -> Iterator[str]:
    """The FastAPI example under uvicorn; its address."""
    port = redis_servers.free_port()
    with (folder / "uvicorn.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "fastapi_chat:app", "--app-dir", str(EXAMPLES)),
                *("--workers", str(count), "--port", str(port), "--log-level", "warning"),
            ],
            cwd=folder,
            env=environment(LONGSPLICE_STORE=store, CHAT_THRESHOLD="500"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextlib.asynccontextmanager
async def connections(address: str, *, each: int) -> AsyncIterator[list[Any]]:
    """Clients with one open connection each, `each` of them to each of the two workers."""
    import httpx

    held: dict[int, list[httpx.AsyncClient]] = {}
    deadline = time.monotonic() + READY_S
    async with contextlib.AsyncExitStack() as stack:
        while sorted(len(clients) for clients in held.values())[-2:] != [each, each]:
            assert time.monotonic() < deadline, f"connections to each worker: {[*map(len, held.values())]}"
            one = httpx.Limits(max_connections=1)
            new = [httpx.AsyncClient(base_url=address, trust_env=False, limits=one) for _ in range(8)]
            for client in new:
                await stack.enter_async_context(client)
            looks = await asyncio.gather(*(client.get("/health") for client in new), return_exceptions=True)
            for client, look in zip(new, looks, strict=True):
                clients = (
                    held.setdefault(look.json()["worker"], []) if isinstance(look, httpx.Response) else None
                )
                if clients is not None and len(clients) < each:
                    clients.append(client)
                else:
                    await client.aclose()
            await asyncio.sleep(0.02)
        yield [client for clients in held.values() for client in clients]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_two_workers_lose_nothing(kind: str, tmp_path: Path) -> None:
    """40 requests at once on one conversation, over two processes: every turn is there, whole and once."""
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    store = f"sqlite:///{tmp_path}/chats.db" if kind == "sqlite" else redis_servers.shared("valkey").url
    owner, chat = f"ana-{tmp_path.name}", "trip"

    async def say(client: Any, n: int) -> Any:
        text = (
            f"Request number {n}: book the hotel B-{1000 + n} in Lisbon for two nights, breakfast included."
        )
        headers = {"X-User": owner, "Idempotency-Key": f"key-{n}"}
        return await client.post(f"/chats/{chat}", json={"text": text}, headers=headers, timeout=60)

    with workers(store, tmp_path) as address:
        async with connections(address, each=REQUESTS // 2) as clients:
            answers = await asyncio.gather(*(say(client, n) for n, client in enumerate(clients)))
            repeated = await say(clients[-1], 0)
            stranger = await clients[0].get(f"/chats/{chat}", headers={"X-User": "mallory"})
            no_id = await clients[0].get("/chats/a~b", headers={"X-User": owner})
            totals = (await clients[0].get(f"/chats/{chat}/stats", headers={"X-User": owner})).json()

    log = (tmp_path / "uvicorn.log").read_text("utf-8")
    assert [answer.status_code for answer in answers] == [200] * REQUESTS, log
    assert repeated.status_code == 200
    assert stranger.status_code == 404
    assert no_id.status_code == 422
    rows = await history_of(store, owner, chat)
    asked = [row["content"] for row in rows if row["role"] == "user"]
    assert sorted(number_in(text) for text in asked) == list(range(REQUESTS))
    assert [row["content"] for row in rows if row["role"] == "assistant"] == [
        f"You said: {text}" for text in asked
    ]
    assert [row["role"] for row in rows] == ["user", "assistant"] * REQUESTS
    assert totals["total_messages"] == 2 * REQUESTS
    assert totals["session_segments"] >= 2


async def history_of(url: str, owner: str, chat: str) -> list[dict[str, Any]]:
    """The conversation as this third process reads it from the store; it is erased afterwards."""
    store = open_store(url)
    try:
        async with SessionManager(chat, owner=owner, store=store) as sm:
            rows = await sm.get_conversation()
        await store.erase(owner)
    finally:
        await store.close()
    return rows


def number_in(text: str) -> int:
    found = re.match(r"Request number (\d+):", text)

    assert found is not None
    return int(found.group(1))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attempt is a fork")
def test_the_agent_survives_a_crash_between_any_two_steps(tmp_path: Path) -> None:
    """Killed after each step in turn, others go on: the train is booked once, and the answer comes."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests" / "crashing_agent.py"),
            str(EXAMPLES / "agent_runtime.py"),
            tmp_path,
        ],
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    series = [json.loads(line) for line in done.stdout.splitlines()]

    assert {one["booked"] for one in series} == {"TGV-61 for 48.0\n"}
    assert {one["answer"].partition(": ")[2].partition(": ")[0] for one in series} == {"This came of it"}
    assert {step for one in series for step in one["died"]} == {
        "the request is recorded",
        "the state is saved",
        "the model has answered",
        "the answer is recorded",
        "find_trains is recorded",
        "book_train is recorded",
        "the approval is recorded",
        "the train is booked, and nobody knows",
        "the decision is carried out",
    }
