"""`SessionManager`: what is recorded is there, what is read is derived, and an error names what to do."""

import asyncio
import json
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from summarizer import SessionManager, settle
from summarizer.errors import (
    InvalidSetting,
    SessionErased,
    SessionNotFound,
    StoreError,
    StoreNotWritable,
    StoreUnavailable,
    TokenLimitExceeded,
)
from summarizer.policy import Policy
from summarizer.stores import MemoryStore, RedisStore, SQLiteStore
from summarizer.testing import Hang
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import (
    SMALL,
    asking,
    calls_tool,
    chain_of,
    environment,
    fill,
    fresh,
    is_valid,
    said,
    scripted,
    soft_only,
    summary_text,
    talk,
    told,
    tool_result,
)


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_another_process_takes_over(name: str) -> None:
    """A manager holds nothing that a cold instance could not read: context, rows and settings are equal."""
    async with fresh(name) as made:
        first = SessionManager("c", store=made.store, system_prompt="Be kind.", policy=soft_only(300))
        await talk(first, 15)
        await first.settle()
        second = SessionManager("c", store=await made.second())

        assert await second.get_messages_for_llm() == await first.get_messages_for_llm()
        assert await second.get_conversation() == await first.get_conversation()
        assert (await second.get_messages_for_llm())[0] == {"role": "system", "content": "Be kind."}
        await talk(second, 15, 15)
        await settle()
        assert (await second.get_stats()).session_segments > 2


async def test_two_managers_see_each_other() -> None:
    """What one manager records is in the other's next context, in order."""
    store = MemoryStore()
    one, two = SessionManager("c", store=store), SessionManager("c", store=store)
    await one.user_says("one")
    await two.ai_responds("two")
    await one.user_says("three")

    for manager in (one, two):
        assert [m["content"] for m in await manager.get_messages_for_llm()] == ["one", "two", "three"]


async def test_reading_creates_nothing() -> None:
    """Each way of reading an unknown id is `SessionNotFound`, and leaves no conversation behind."""
    store = MemoryStore()
    manager = SessionManager("nobody", store=store)
    for read in (
        manager.get_messages_for_llm,
        manager.context,
        manager.get_conversation,
        manager.get_stats,
        manager.get_session_chain,
        manager.segment,
        manager.read,
    ):
        with pytest.raises(SessionNotFound, match="nobody"):
            await read()

    assert not [row async for row in rows_of(store)]


async def rows_of(store: MemoryStore) -> Any:
    for row in await store.list(None):
        yield row


async def test_a_first_request_needs_no_store() -> None:
    """Before its first write a new conversation has a context: the system prompt alone."""
    manager = SessionManager(store=MemoryStore(), system_prompt="Be kind.")

    assert await manager.get_messages_for_llm() == [{"role": "system", "content": "Be kind."}]


async def test_create_false_writes_to_what_exists_only() -> None:
    """With `create=False` a write to an unknown id is `SessionNotFound`; to a known one it lands."""
    store = MemoryStore()
    with pytest.raises(SessionNotFound, match="create=True"):
        await SessionManager("c", store=store, create=False).user_says("hi")
    await SessionManager("c", store=store).user_says("hi")

    assert await SessionManager("c", store=store, create=False).user_says("again") == "c"


async def test_an_erased_conversation_takes_no_writes() -> None:
    """A write to an erased conversation is `SessionErased`, from managers that knew it and from new ones."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    await manager.user_says("hi")
    await store.erase(None, "c")
    for writer in (manager, SessionManager("c", store=store)):
        with pytest.raises(SessionErased, match="'c'"):
            await writer.user_says("again")


@pytest.mark.parametrize(
    "options",
    [
        {"segmentation": "later"},
        {"token_threshold": 0},
        {"token_threshold": 1.5},
        {"token_threshold": -3},
        {"token_threshold": True},
        {"max_turns_per_segment": 0},
        {"summarizer": 7},
        {"summarizer": ""},
        {"summarizer": []},
        {"session_id": "a~b"},
        {"session_id": ""},
        {"policy": "cost"},
        {"retain": -1},
        {"context_policies": 3},
        {"cache_control": "2h"},
        {"vm_mode": "strict"},
        {"enable_vm": True, "vm_mode": "loose"},
        {"recall_embeddings": 5},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_at_once(options: dict[str, Any]) -> None:
    """A wrong argument is an error of the constructor that shows the value."""
    with pytest.raises(InvalidSetting):
        SessionManager(**options)


@pytest.mark.parametrize("url", ["nonsense", "ftp:/x/y", "sqlite://", "redis:/", "memory"])
async def test_a_wrong_url_names_itself(url: str) -> None:
    """A store's URL that cannot be used is an error that shows it, before anything is written."""
    with pytest.raises(InvalidSetting, match=url.partition(":")[0]):
        await SessionManager("c", store=url).user_says("hi")


async def test_a_store_that_is_down_says_so() -> None:
    """A Redis that nobody serves is `StoreUnavailable` by the deadline, never a missing session."""
    store = RedisStore.from_url("redis://127.0.0.1:1/0", deadline_s=0.3)
    manager = SessionManager("c", store=store)
    with pytest.raises(StoreUnavailable):
        await manager.user_says("hi")
    with pytest.raises(StoreUnavailable):
        await manager.get_stats()
    await store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file that root cannot write either")
async def test_a_file_that_takes_no_writes_says_so(tmp_path: Path) -> None:
    """A database that refuses each write is a `StoreError`; it can be read, and is as it was."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    await talk(SessionManager("c", store=store), 2)
    await store.close()
    connection = sqlite3.connect(path)
    [(table,)] = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'event%' LIMIT 1"
    ).fetchall()
    connection.execute(
        f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no more'); END"
    )
    connection.commit()
    connection.close()
    store = SQLiteStore(path)
    manager = SessionManager("c", store=store)
    with pytest.raises(StoreError):
        await manager.user_says("hi")

    assert (await manager.get_stats()).total_messages == 4
    await store.close()


async def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """A path that runs through a file can hold no database: an error that names it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidSetting, match="file"):
        await SessionManager("c", store=f"sqlite:///{tmp_path / 'file' / 'log.db'}").user_says("hi")


async def test_a_failed_write_leaves_a_manager_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that the store refused, the manager's next context and writes are right."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    await manager.user_says("one")

    async def refuse(*_: object, **__: object) -> None:
        raise StoreNotWritable("full")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "append", refuse)
        with pytest.raises(StoreNotWritable, match="full"):
            await manager.user_says("lost")
    await manager.ai_responds("two")

    assert [m["content"] for m in await manager.get_messages_for_llm()] == ["one", "two"]


async def test_a_failing_segmentation_costs_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hand-over fails in the store, the turn is recorded, the call returns, and the need stays."""
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(200), segmentation="inline")

    async def refuse(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "segment", refuse)
        await talk(manager, 8)
    assert manager.session_id == "c"
    await talk(manager, 1, 8)

    assert manager.session_id == "c~1"
    assert (await manager.get_stats()).user_messages == 9
    assert (await store.load(None, "c")).head.lease_s == 0


# The context


async def test_a_context_keeps_within_its_budget_or_says_so() -> None:
    """Whatever the budget, the context keeps within it and is valid, or the error says how much is needed."""
    manager = SessionManager("c", store=MemoryStore(), system_prompt="Be kind.", policy=soft_only(600))
    await talk(manager, 30)
    await manager.settle()
    await manager.user_says("Look at both.")
    both = calls_tool("a")
    both["tool_calls"] += calls_tool("b")["tool_calls"]
    await manager.record(both)
    await manager.record(tool_result("a", "word " * 300))
    await manager.record(tool_result("b", "word " * 300))
    whole = await manager.context()
    refused: list[tuple[int, int]] = []
    for budget in range(1, whole.tokens + 50, 37):
        try:
            context = await manager.context(max_tokens=budget)
        except TokenLimitExceeded as error:
            refused.append((error.limit, error.needed))
            continue
        assert context.tokens <= budget
        assert is_valid(context.messages)
        assert bool(context.omitted) == (context.tokens < whole.tokens)
        assert context.messages[0] == {"role": "system", "content": "Be kind."}

    assert 0 < len(refused) < 10
    assert all(limit < needed for limit, needed in refused)
    assert not whole.omitted


STEPS = st.lists(
    st.sampled_from(["user", "assistant", "call", "calls", "result", "tool", "segment", "prompt"]),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(40, 2000))
def test_any_order_of_calls_gives_valid_requests(steps: list[str], budget: int) -> None:
    """Whatever is recorded in whatever order, the log holds it, the chain partitions it, and each request is
    valid and within its budget.
    """
    asyncio.run(played(steps, budget))


async def played(steps: list[str], budget: int) -> None:
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(150), segmentation="inline")
    await manager.user_says("Begin.")
    waiting: list[str] = []
    for number, step in enumerate(steps):
        await step_taken(manager, step, number, waiting)
        try:
            context = await manager.context(max_tokens=budget)
        except TokenLimitExceeded:
            continue
        assert context.tokens <= budget
        assert valid_or_waiting(context.messages)
    await chain_of(store, "c")


async def step_taken(manager: SessionManager, step: str, number: int, waiting: list[str]) -> None:
    """One call of a kind; `waiting` are the calls without a result."""
    match step:
        case "user":
            await manager.user_says(said(number))
        case "assistant":
            await manager.ai_responds(told(number))
        case "call" | "calls":
            message = calls_tool(f"x{number}")
            if step == "calls":
                message["tool_calls"] += calls_tool(f"y{number}")["tool_calls"]
            await manager.record(message)
            waiting += [call["id"] for call in message["tool_calls"]]
        case "result" if waiting:
            await manager.record(tool_result(waiting.pop(), f"result {number}"))
        case "tool":
            await manager.tool_used("look", {"n": number}, f"seen {number}")
        case "segment":
            await manager.segment()
        case _:
            await manager.update_system_prompt(f"prompt {number}")


def valid_or_waiting(messages: list[dict[str, Any]]) -> bool:
    """Valid, but for calls of the newest round, which may still run."""
    closed = list(messages)
    answered = {m["tool_call_id"] for m in messages if m["role"] == "tool"}
    last = next((m for m in reversed(messages) if m["role"] != "tool"), {})
    closed += [tool_result(c["id"], "") for c in last.get("tool_calls") or () if c["id"] not in answered]
    return is_valid(closed)


async def test_a_callers_changes_stay_the_callers() -> None:
    """Changing the messages that were returned changes neither the next request nor the log."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says([{"type": "text", "text": "hi"}])
    await manager.record(calls_tool("a", arguments='{"x": 1}'))
    await manager.record(tool_result("a", "1"))
    messages = await manager.get_messages_for_llm()
    kept = json.loads(json.dumps(messages))
    messages[0]["content"][0]["text"] = "changed"
    messages[1]["tool_calls"][0]["function"]["name"] = "changed"
    messages.clear()

    assert await manager.get_messages_for_llm() == kept


async def test_the_system_prompt_can_be_replaced() -> None:
    """A new system prompt holds at once and for all who read; `None` takes it away."""
    store = MemoryStore()
    manager = SessionManager("c", store=store, system_prompt="one")
    await manager.user_says("hi")
    await manager.update_system_prompt("two")
    other = SessionManager("c", store=store)
    assert (await other.get_messages_for_llm())[0]["content"] == "two"
    await manager.update_system_prompt(None)

    assert [m["role"] for m in await other.get_messages_for_llm()] == ["user"]


async def test_metadata_goes_with_messages() -> None:
    """Metadata of a message comes back in its row, and is not sent to the model."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("hi", channel="web")
    await manager.ai_responds("ho", score=1)

    assert [row["metadata"] for row in await manager.get_conversation()] == [{"channel": "web"}, {"score": 1}]
    assert all("metadata" not in m for m in await manager.get_messages_for_llm())


async def test_leaving_the_block_leaves_no_work_behind() -> None:
    """At the end of `async with` no segmentation of the conversation is under way."""
    hang = Hang(summary_text())
    asyncio.get_running_loop().call_later(0.05, hang.release)
    async with SessionManager(
        "c", store=MemoryStore(), policy=soft_only(), summarizer=asking(scripted(hang))
    ) as manager:
        await fill(manager, SMALL)

    assert manager.session_id == "c~1"
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "longsplice-segmentation"]


async def test_a_url_opens_one_store(tmp_path: Path) -> None:
    """Managers of one process that name the same file share a store, and what is written is there."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    one, two = SessionManager("c", store=url), SessionManager("c", store=url)
    await one.user_says("hi")

    assert one.store is two.store
    assert [m["content"] for m in await two.get_messages_for_llm()] == ["hi"]
    await one.store.close()


# What is logged


async def test_events_are_logged_without_content() -> None:
    """A segmentation, a rejected summary and a lost race are logged with ids and without content."""
    word = secrets.token_hex(8)

    def broken(_messages: object) -> str:
        raise RuntimeError(word)

    with capture_logs() as logs:
        store = MemoryStore()
        manager = SessionManager(
            "c", store=store, policy=soft_only(200), summarizer=broken, segmentation="inline"
        )
        for number in range(12):
            await manager.turn(f"{said(number)} {word}", f"{told(number)} {word}")
        await manager.tool_used("look", {"x": word}, word)
        await manager.ai_responds("Seen.")
        hang = Hang(summary_text())
        slow = SessionManager("c", store=store, summarizer=asking(scripted(hang)))
        task = asyncio.create_task(slow.segment())
        await hang.started.wait()
        await SessionManager("c", store=store).segment()
        hang.release()
        await task
        await SessionManager("d", store=store).user_says("x")
        await SessionManager("d", store=store).segment()
    names = {entry["event"] for entry in logs}

    assert names >= {"segment.created", "segment.conflict_lost", "segment.skipped", "summary.rejected"}
    assert word not in repr(logs)
    assert all("session_id" in entry or "conversation_id" in entry for entry in logs)
    assert "Lisbon" not in repr(logs)


QUIET = """
import asyncio
from summarizer import SessionManager, Policy
def broken(messages): raise RuntimeError("no")
async def main():
    policy = Policy(token_threshold=200)
    async with SessionManager("c", store="memory://", policy=policy, summarizer=broken) as m:
        for i in range(30):
            await m.turn(f"question {i}, a longer one, please", f"answer {i}, just as long as that")
    assert m.session_id != "c"
asyncio.run(main())
"""


def test_a_program_hears_nothing() -> None:
    """A program that configured no logging prints nothing, though segments close and summaries fail."""
    ran = subprocess.run(
        [sys.executable, "-c", QUIET], env=environment(), capture_output=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


async def test_a_newest_turn_that_fits_nowhere_says_how_much_it_needs() -> None:
    """A budget below the newest message alone is `TokenLimitExceeded`; recording it was fine."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("word " * 1000)
    with pytest.raises(TokenLimitExceeded, match="limit is 100") as caught:
        await manager.get_messages_for_llm(max_tokens=100)

    assert caught.value.needed > 1000
    assert (await manager.get_stats()).total_messages == 1


async def test_a_share_of_the_window_is_a_threshold() -> None:
    """A threshold of so much of the model's window segments where the request fills that share."""
    manager = SessionManager(
        "c", store=MemoryStore(), model="gpt-4", token_threshold=0.05, segmentation="inline"
    )
    await talk(manager, 20)
    stats = await manager.get_stats()

    assert stats.session_segments > 1
    assert stats.context_tokens < 8192 * 0.05


def test_a_policy_that_cannot_gain_is_refused() -> None:
    """Tail, seed and gain that leave nothing to gain are refused together."""
    with pytest.raises(InvalidSetting, match="minimum_gain"):
        Policy(token_threshold=100, tail_share=0.5, seed_share=0.5)
