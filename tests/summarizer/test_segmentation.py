"""Opening a child: once, by whoever is first, and never at the cost of a message or a turn."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest

from summarizer import SessionManager
from summarizer.errors import OrphanToolResult
from summarizer.events import EventKind
from summarizer.policy import Policy
from summarizer.segmentation import settle
from summarizer.stores import MemoryStore, open_store
from summarizer.testing import Hang
from tests.summarizer.stores.contract import let_pass
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import (
    SMALL,
    asking,
    calls_tool,
    chain_of,
    command,
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

HALF = Policy(token_threshold=None)


async def settled_chain(manager: SessionManager) -> list[str]:
    await settle()
    return await manager.get_session_chain()


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_many_workers_open_one_child_and_ask_once(name: str) -> None:
    """However many workers notice the need at once, over several store instances, one child opens and the
    summary model is asked once.
    """
    async with fresh(name) as made:
        stores = [made.store, await made.second(), await made.second(), await made.second()]
        model = scripted()
        await fill(SessionManager("c", store=made.store, policy=HALF), SMALL)
        workers = [
            SessionManager("c", store=stores[i % 4], policy=soft_only(), summarizer=asking(model))
            for i in range(20)
        ]
        await asyncio.gather(*(worker.user_says(f"me too {i}") for i, worker in enumerate(workers)))
        await settle()
        events, chain = await chain_of(await made.second(), "c")

        assert len(chain) == 2
        assert len(model.requests) == 1
        assert sum(e.kind is EventKind.SEGMENTED for e in events) == 1
        assert {f"me too {i}" for i in range(20)} <= {e.message.text for e in events if e.message}


async def test_many_processes_open_one_child_and_ask_once(tmp_path: Path) -> None:
    """Workers in several processes that notice the need at once open one child and ask the model once."""
    url, calls = f"sqlite:///{tmp_path / 'log.db'}", tmp_path / "calls"
    manager = SessionManager("c", store=url, policy=HALF)
    turns = await fill(manager, SMALL)
    children = [
        await asyncio.create_subprocess_exec(
            *command("worker_race.py", url, calls, number),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        for number in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
    assert [await ended(child) for child in children] == [0, 0, 0]
    events, chain = await chain_of(manager.store, "c")

    assert calls.read_text().count("\n") == 1
    assert len(chain) == 2
    assert sum(e.message is not None for e in events) == 2 * turns + 3 * 6


async def ended(child: asyncio.subprocess.Process) -> int | None:
    await child.communicate(b"go\n")
    return child.returncode


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_an_old_session_id_leads_to_the_tip(name: str) -> None:
    """A write to any id of the chain lands in the tip and returns its id; reads answer for the tip."""
    async with fresh(name) as made:
        first = SessionManager("c", store=made.store)
        await talk(first, 6)
        assert (await first.segment()).session_id == "c~1"
        held = SessionManager("c", store=await made.second())

        assert held.session_id == "c"
        assert await held.user_says("to the root") == "c~1"
        assert held.session_id == "c~1"
        assert (await SessionManager("c", store=made.store).context()).session_id == "c~1"
        assert (await SessionManager("c", store=made.store).get_messages_for_llm())[-1][
            "content"
        ] == "to the root"
        assert (await SessionManager("c", store=made.store).get_stats())["session_id"] == "c~1"


async def test_the_held_id_shows_its_own_range() -> None:
    """`include_all_segments=False` shows the held session's own events, as they were; the ranges join."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    for part in range(3):
        await talk(manager, 6, 6 * part)
        assert (await manager.segment()).status == "segmented"
    chain = await manager.get_session_chain()
    parts = [
        await SessionManager(held, store=store).get_conversation(include_all_segments=False) for held in chain
    ]
    whole = await manager.get_conversation()

    assert chain == ["c", "c~1", "c~2", "c~3"]
    assert [row for part in parts for row in part] == whole
    assert parts[0][0]["content"] == said(0)
    assert all(parts[:3])


async def test_background_delays_no_turn_below_the_hard_limit() -> None:
    """Below the hard limit a turn returns while the summary is written, and the child opens later."""
    hang = Hang(summary_text())
    manager = SessionManager("c", store=MemoryStore(), policy=soft_only(), summarizer=asking(scripted(hang)))
    turns = await fill(manager, SMALL)
    await hang.started.wait()
    await talk(manager, 3, turns)
    before = manager.session_id
    hang.release()
    await manager.settle()

    assert before == "c"
    assert manager.session_id == "c~1"
    assert (await manager.get_stats()).user_messages == turns + 3
    assert (await manager.get_messages_for_llm())[-1]["content"] == told(turns + 2)


async def test_at_the_hard_limit_a_turn_waits_to_the_deadline_and_no_longer() -> None:
    """At the hard limit a turn waits for the summary until the deadline, then goes on with the extractive
    one; what the model brings later is kept as an offer, and its cost is in the figures.
    """
    hang = Hang(summary_text())
    store, model = MemoryStore(), scripted(hang)
    policy = Policy(token_threshold=SMALL, hard_wait_s=0.3)
    manager = SessionManager("c", store=store, policy=policy, summarizer=asking(model))
    began, number, slowest = time.monotonic(), 0, 0.0
    while manager.session_id == "c":
        began = time.monotonic()
        await talk(manager, 1, number)
        slowest, number = max(slowest, time.monotonic() - began), number + 1
    events, chain = await chain_of(store, "c")
    [opened] = [e for e in events if e.kind is EventKind.SEGMENTED]

    assert 0.3 <= slowest < 3
    assert (opened.data["trigger"], opened.data["writer"]) == ("hard_limit", "extractive")
    hang.release()
    await manager.settle()
    events, chain = await chain_of(store, "c")
    [offered] = [e for e in events if e.kind is EventKind.SUMMARY_OFFERED]
    assert len(chain) == 2
    assert "booked" in offered.data["summary"]["narrative"]
    assert (await manager.get_stats()).summary_calls == len(model.requests) == 1
    assert await manager.segment() is not None
    assert "booked" in (await store.load(None, "c")).summary["summary"]["narrative"]


async def test_the_hard_limit_may_extract_at_once() -> None:
    """With `on_hard_limit="extract"` no turn waits, however long the model takes."""
    hang = Hang(summary_text())
    policy = Policy(token_threshold=SMALL, on_hard_limit="extract")
    manager = SessionManager("c", store=MemoryStore(), policy=policy, summarizer=asking(scripted(hang)))
    async with asyncio.timeout(5):
        await talk(manager, 25)
    stats = await manager.get_stats()
    hang.release()
    await manager.settle()

    assert stats.session_segments >= 2
    assert stats.context_tokens < 1.25 * SMALL + 60


async def test_inline_returns_behind_the_hand_over() -> None:
    """Inline, the call that makes the segment full returns the child's id."""
    model = scripted()
    manager = SessionManager(
        "c", store=MemoryStore(), policy=soft_only(), summarizer=asking(model), segmentation="inline"
    )
    ids = [await manager.turn(said(i), told(i)) for i in range(25)]
    stats = await manager.get_stats()

    assert ids[-1] == manager.session_id == stats.session_id
    assert stats.session_segments == len(model.requests) + 1 == len(set(ids)) > 1
    assert stats.context_tokens < SMALL


async def test_turns_trigger_without_any_threshold() -> None:
    """So many user messages since the segment was opened make it full, whatever it weighs."""
    manager = SessionManager("c", store=MemoryStore(), max_turns_per_segment=3, segmentation="inline")
    ids = [await manager.turn(said(i), told(i)) for i in range(9)]

    assert [ids.index(f"c~{n}") for n in (1, 2, 3)] == [2, 5, 8]


async def test_by_hand_it_says_why_not() -> None:
    """A segmentation by hand of a log without a finished unit is skipped as `nothing_to_cut`, and changes
    nothing; one that would let the context grow is skipped as `no_gain`, or does not let it grow.
    """
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    await manager.user_says("Is anybody there?")
    outcome = await manager.segment()

    assert (outcome.status, outcome.reason_code, outcome.session_id) == ("skipped", "nothing_to_cut", "c")
    assert (await manager.get_stats()).total_events == 1
    await manager.ai_responds("ok")
    before = (await manager.get_stats()).context_tokens
    outcome = await manager.segment()
    assert outcome.status == "segmented" or outcome.reason_code == "no_gain"
    assert (await manager.get_stats()).context_tokens <= before


async def test_a_tail_that_must_stay_is_no_gain() -> None:
    """A segmentation by tokens whose gain is out of reach is skipped with a record, and does not fire again
    before a new message comes.
    """
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(100), segmentation="inline")
    await manager.turn("hi", "hello")
    await manager.user_says("word " * 200)
    events, chain = await chain_of(store, "c")
    [skipped] = [e for e in events if e.kind is EventKind.SKIPPED]

    assert len(chain) == 1
    assert skipped.data["reason_code"] == "no_gain"
    for _ in range(3):
        await SessionManager("c", store=store, policy=soft_only(100)).update_system_prompt("Be brief.")
        await manager.get_messages_for_llm()
    assert sum(e.kind is EventKind.SKIPPED for e in await store.read(None, "c")) == 1
    await manager.ai_responds("done")
    _, chain = await chain_of(store, "c")
    assert len(chain) == 2


async def test_it_never_fires_again_without_new_messages() -> None:
    """A child that is full from its first event on opens no grandchild before a message comes."""
    store = MemoryStore()
    manager = SessionManager("c", store=store, max_turns_per_segment=2, segmentation="inline")
    await talk(manager, 2)
    assert manager.session_id == "c~1"
    for prompt in ("a", "b", "c"):
        await manager.update_system_prompt(prompt)
        await manager.get_messages_for_llm()

    assert await settled_chain(manager) == ["c", "c~1"]


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_cancelled_claimant_releases_its_lease(name: str) -> None:
    """Whoever is cancelled while summarizing gives the lease back; the next write goes on."""
    async with fresh(name) as made:
        hang, second = Hang(), scripted()
        manager = SessionManager("c", store=made.store, summarizer=asking(scripted(hang)))
        await talk(manager, 6)
        task = asyncio.create_task(manager.segment())
        await hang.started.wait()
        assert (await made.store.load(None, "c")).head.lease_s > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await made.store.load(None, "c")).head.lease_s == 0
        other = SessionManager(
            "c", store=await made.second(), policy=soft_only(50), summarizer=asking(second)
        )
        await talk(other, 1, 6)
        assert await settled_chain(other) == ["c", "c~1"]
        assert len(second.requests) == 1


@pytest.mark.parametrize("name", ["memory", "sqlite"])
async def test_a_dead_claimants_lease_runs_out(name: str) -> None:
    """While a dead worker's lease runs, others leave the segment alone; then the next write takes it."""
    async with fresh(name) as made:
        policy = soft_only(50)
        await talk(SessionManager("c", store=made.store, policy=HALF), 6)
        claim = await made.store.claim(None, "c", index=0, lease_s=60)
        manager = SessionManager("c", store=made.store, policy=policy, segmentation="inline")
        await talk(manager, 1, 6)

        assert claim.fence is not None
        assert await settled_chain(manager) == ["c"]
        await let_pass(made, 61)
        await talk(manager, 1, 7)
        assert await settled_chain(manager) == ["c", "c~1"]


async def test_what_was_due_stays_due_after_the_process_ends(tmp_path: Path) -> None:
    """A process that ends while its summary is being written leaves the need behind: the next write of any
    other process segments.
    """
    url = f"sqlite:///{tmp_path / 'log.db'}"
    await asyncio.to_thread(
        subprocess.run, command("worker_leave.py", url), check=True, env=environment(), timeout=60
    )
    store = open_store(url)
    before = (await store.load(None, "c")).head
    manager = SessionManager("c", store=store, segmentation="inline")
    await talk(manager, 1, 100)

    assert (before.index, before.lease_s) == (0, 0)
    assert await manager.get_session_chain() == ["c", "c~1"]
    await store.close()


async def test_constraints_cross_twenty_segmentations() -> None:
    """What the user said must never happen stands in the twentieth seed word for word."""
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(600), segmentation="inline")
    rule = "Never charge any card but the one ending in 7447."
    await manager.turn(f"Hello. {rule} Let us begin.", "Understood.")
    number = 0
    while (await manager.get_stats()).session_segments <= 20:
        await talk(manager, 1, number)
        number += 1
    seeds = [s.summary["seed"] for s in await manager.segments() if s.summary]

    assert len(seeds) == 20
    assert [rule in seed for seed in seeds] == [True] * 20
    assert any(rule in m["content"] for m in await manager.get_messages_for_llm() if m["role"] == "user")
    assert not any(
        rule in m["content"] for m in await manager.get_messages_for_llm() if m["role"] == "system"
    )


async def test_the_seed_keeps_its_share_over_a_hundred_segments() -> None:
    """Over a hundred segments no seed takes more than a quarter of the threshold, and the context stays
    valid and within its budget.
    """
    store, threshold = MemoryStore(), 300
    manager = SessionManager(
        "c", store=store, policy=soft_only(threshold), system_prompt="You book rooms.", segmentation="inline"
    )
    number = 0
    while manager.session_id != "c~100":
        await talk(manager, 1, number)
        number += 1
        if number % 50 == 0:
            context = await manager.context(max_tokens=250)
            assert context.tokens <= 250
            assert is_valid(context.messages)
    _, chain = await chain_of(store, "c")
    opened = [e.data for e in await store.read(None, "c") if e.kind is EventKind.SEGMENTED]

    assert len(chain) == 101
    assert max(data["seed_tokens"] for data in opened) <= threshold / 4
    assert all(data["seed_tokens"] + data["tail_tokens"] <= 0.7 * data["before_tokens"] for data in opened)


async def test_a_long_agent_run_is_cut_between_its_rounds() -> None:
    """One user message and two hundred tool rounds are one turn: it is segmented between finished rounds, its
    user message crosses every seed verbatim, no pair is parted, and each request is valid.
    """
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(800), segmentation="inline")
    task = "Count the lines of all 200 files under /srv/data and never touch /srv/keep."
    await manager.user_says(task)
    for i in range(200):
        await manager.record(calls_tool(f"call_{i}", "count", json.dumps({"path": f"/srv/data/{i}.csv"})))
        if i % 20 == 0:
            assert (await manager.get_messages_for_llm())[-1]["role"] in ("assistant", "tool")
        await manager.record(tool_result(f"call_{i}", f"/srv/data/{i}.csv has {i * 7} lines"))
        messages = await manager.get_messages_for_llm()
        assert is_valid(messages)
        assert any(task in (m["content"] or "") for m in messages if m["role"] == "user")
    events, chain = await chain_of(store, "c")

    assert len(chain) > 5
    assert sum(e.message is not None for e in events) == 401
    for segment in chain[1:]:
        first = next(e for e in events if e.seq >= segment.start_seq and e.message is not None)
        assert first.message is not None
        assert first.message.role != "tool"


async def test_a_failing_summarizer_costs_no_message_and_no_turn() -> None:
    """A summarizer that raises is replaced by rules, and the record says so without its words."""
    store = MemoryStore()

    def broken(_messages: list[dict[str, object]]) -> str:
        raise ZeroDivisionError("secret words")

    manager = SessionManager("c", store=store, policy=soft_only(), summarizer=broken, segmentation="inline")
    await talk(manager, 25)
    events, chain = await chain_of(store, "c")
    opened = [e.data for e in events if e.kind is EventKind.SEGMENTED]

    assert len(chain) > 1
    assert {data["writer"] for data in opened} == {"extractive"}
    assert all(data["rejections"] for data in opened)
    assert "secret words" not in str([data["rejections"] for data in opened])


async def test_an_outage_heals() -> None:
    """After segments that rules alone closed, the next model reads on from where a model last read."""
    store = MemoryStore()
    await talk(SessionManager("c", store=store, policy=soft_only(), segmentation="inline"), 30)
    assert (await store.load(None, "c")).head.index > 1
    model = scripted()
    manager = SessionManager("c", store=store, summarizer=asking(model))
    assert (await manager.segment()).writer == "scripted"
    asked = "".join(str(m["content"]) for request in model.requests for m in request.messages)

    assert "G00000" in asked
    summary = (await store.load(None, "c")).summary
    assert summary is not None
    assert summary["summary"]["model_through"] == summary["summary"]["through"]


async def test_a_hand_over_that_loses_adopts_the_winner() -> None:
    """A worker whose summary comes after another's hand-over adopts the other's child and opens none."""
    store, hang = MemoryStore(), Hang(summary_text())
    slow = SessionManager("c", store=store, summarizer=asking(scripted(hang)))
    await talk(slow, 6)
    task = asyncio.create_task(slow.segment())
    await hang.started.wait()
    assert (await SessionManager("c", store=store).segment()).status == "segmented"
    hang.release()
    outcome = await task

    assert (outcome.status, outcome.session_id) == ("elsewhere", "c~1")
    assert slow.session_id == "c~1"
    assert await slow.get_session_chain() == ["c", "c~1"]


async def test_the_system_prompt_owner_and_metadata_cross() -> None:
    """System prompt, owner and metadata hold in every child."""
    store = MemoryStore()
    manager = SessionManager(
        "c",
        store=store,
        owner="ann",
        system_prompt="Be kind.",
        metadata={"plan": "gold"},
        max_turns_per_segment=2,
        segmentation="inline",
    )
    await talk(manager, 5)
    loaded = await store.load("ann", "c")

    assert loaded.head.index == 2
    assert (await manager.get_messages_for_llm())[0] == {"role": "system", "content": "Be kind."}
    assert loaded.settings is not None
    assert loaded.settings["metadata"] == {"plan": "gold"}


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_workers_at_the_hard_limit_wait_for_one_summary(name: str) -> None:
    """Workers of several instances at the hard limit together wait for one summary and open one child."""
    async with fresh(name) as made:
        stores = [made.store, await made.second(), await made.second()]
        hang = Hang(summary_text())
        model = scripted(hang)
        await fill(SessionManager("c", store=made.store, policy=HALF), 2 * SMALL)
        policy = Policy(token_threshold=SMALL, hard_wait_s=20)
        workers = [
            SessionManager("c", store=stores[i % 3], policy=policy, summarizer=asking(model))
            for i in range(16)
        ]
        turns = asyncio.gather(*(worker.user_says(f"me too {i}") for i, worker in enumerate(workers)))
        await hang.started.wait()
        hang.release()
        ids = await turns
        await settle()
        events, chain = await chain_of(await made.second(), "c")

        assert len(model.requests) == 1
        assert [s.session_id for s in chain] == ["c", "c~1"]
        assert set(ids) == {"c~1"}
        assert {f"me too {i}" for i in range(16)} <= {e.message.text for e in events if e.message}


async def test_the_prefix_stays_the_same_between_segmentations() -> None:
    """Between two segmentations each request begins with the request before it, message by message."""
    manager = SessionManager("c", store=MemoryStore(), policy=soft_only(300), segmentation="inline")
    before, session_id, changed = list[dict[str, object]](), "c", 0
    for number in range(30):
        await talk(manager, 1, number)
        messages = await manager.get_messages_for_llm()
        if manager.session_id == session_id:
            assert messages[: len(before)] == before
        else:
            changed += 1
        before, session_id = messages, manager.session_id

    assert changed > 2


async def test_a_call_that_never_comes_back_does_not_stop_segmentation() -> None:
    """Past the hard limit an overtaken call is left behind; its late result is recorded, shown as a note."""
    async with SessionManager(
        "c", store=MemoryStore(), token_threshold=SMALL, segmentation="inline"
    ) as manager:
        await manager.user_says("Where is order 77?")
        await manager.record(calls_tool("late"))
        for i in range(3):
            await talk(manager, 10, start=10 * i)
        chain = await manager.get_session_chain()

        assert len(chain) > 2

        await manager.record(tool_result("late", "Order 77 stands in Hull."))
        context = await manager.context()

        assert "Order 77 stands in Hull." in context.messages[-1]["content"]
        assert is_valid(context.messages)
        with pytest.raises(OrphanToolResult):
            await manager.record(tool_result("late", "Again."))


async def test_the_model_sees_a_large_result_before_it_is_summarized():
    """A result beyond the threshold stands in the next context, whole; once answered, it is summarized."""
    sm = SessionManager("c", store="memory://", token_threshold=1000, segmentation="inline")
    for _ in range(6):
        await sm.turn("What about the harbour? " * 10, "It has cranes. " * 10)
    await sm.user_says("Read the report.")
    await sm.record(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}],
        }
    )
    report = "The crane of berth 7 lifts forty tons. " * 200
    await sm.record({"role": "tool", "tool_call_id": "c1", "content": report})

    assert (await sm.get_messages_for_llm())[-1]["content"] == report
    await sm.ai_responds("It lifts forty tons.")
    await sm.turn("Thank you.", "You are welcome.")
    assert report not in [message["content"] for message in await sm.get_messages_for_llm()]
