"""What a conversation has used: the same before and after a restart, and unknown where it is unknown."""

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from summarizer import SessionManager, get_session_stats
from summarizer.stats import SessionStats
from summarizer.stores import MemoryStore, SQLiteStore
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import asking, calls_tool, fresh, scripted, soft_only, talk, tool_result

PROMISED = {
    "session_id",
    "total_messages",
    "user_messages",
    "ai_messages",
    "tool_calls",
    "total_tokens",
    "estimated_cost",
    "session_segments",
}
OPENAI: dict[str, Any] = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
ANTHROPIC: dict[str, Any] = {
    "input_tokens": 300,
    "output_tokens": 200,
    "cache_read_input_tokens": 600,
    "cache_creation_input_tokens": 100,
}
GEMINI: dict[str, Any] = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 150,
    "thoughtsTokenCount": 50,
    "cachedContentTokenCount": 600,
    "totalTokenCount": 1200,
}


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_restart_changes_no_figure(name: str) -> None:
    """Over several segments, with tools, reported usage and paid summaries, the figures that a cold instance
    reads are those of the instance that wrote.
    """
    async with fresh(name) as made:
        manager = SessionManager(
            "c", store=made.store, policy=soft_only(300), summarizer=asking(scripted()), segmentation="inline"
        )
        await talk(manager, 12)
        await manager.tool_used("search", {"q": "rooms"}, [1, 2])
        await manager.ai_responds("Two rooms.", model="gpt-4o-mini", usage=OPENAI)
        await talk(manager, 12, 12)
        before = await manager.get_stats()
        after = await get_session_stats("c", store=await made.second())

        assert after == before
        assert after.to_json() == before.to_json()
        assert before.session_segments > 2
        assert (before.user_messages, before.ai_messages, before.total_messages) == (24, 25, 49)
        assert (before.tool_calls, before.tool_results) == (1, 1)
        assert before.summary_calls == before.session_segments - 1
        assert before.summary_tokens == 120 * before.summary_calls
        assert before.summary_cost_usd == Decimal("0.001") * before.summary_calls
        assert before.billed_tokens == 1200


async def test_figures_read_in_three_ways() -> None:
    """Each figure is an attribute, a key and a JSON value, and an unknown key is an error."""
    manager = SessionManager("c", store=MemoryStore())
    await talk(manager, 2)
    stats = await manager.get_stats()

    assert set(stats) >= PROMISED
    assert [stats[key] for key in stats] == [getattr(stats, key) for key in stats]
    assert json.loads(stats.to_json()) == stats.to_dict()
    assert json.loads(stats.to_json())["estimated_cost"] == "0E-12" or stats.estimated_cost == 0
    assert (stats.get("total_messages"), stats.get("nothing")) == (4, None)
    assert len(stats) == len(list(stats)) == len(dict(stats))
    with pytest.raises(KeyError, match="nothing"):
        stats["nothing"]
    with pytest.raises(KeyError):
        stats["to_json"]


async def test_parts_add_up_to_the_whole() -> None:
    """The figures of the sessions' own ranges add up to the conversation's, and never fall."""
    store = MemoryStore()
    manager = SessionManager("c", store=store, policy=soft_only(300), segmentation="inline")
    totals: list[int] = []
    for number in range(25):
        await talk(manager, 1, number)
        totals.append((await manager.get_stats()).total_tokens)
    whole = await manager.get_stats()
    parts = [
        await get_session_stats(held, include_all_segments=False, store=store)
        for held in await manager.get_session_chain()
    ]

    assert totals == sorted(totals)
    assert len(parts) == whole.session_segments > 2
    for figure in ("total_messages", "user_messages", "ai_messages", "total_tokens", "total_events"):
        assert sum(part[figure] for part in parts) == whole[figure]
    assert [part.session_id for part in parts] == await manager.get_session_chain()


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize(
    ("usage", "created", "reasoning"), [(OPENAI, 0, 50), (ANTHROPIC, 100, 0), (GEMINI, 0, 50)]
)
async def test_buckets_are_inclusive_in_every_dialect(
    usage: dict[str, Any], created: int, reasoning: int, as_object: bool
) -> None:
    """OpenAI's, Anthropic's and Gemini's usage, as mappings or objects, fill the same inclusive buckets."""
    given: object = (
        json.loads(json.dumps(usage), object_hook=lambda d: SimpleNamespace(**d)) if as_object else usage
    )
    manager = SessionManager("c", store=MemoryStore())
    await manager.turn("hi", "hello", model="gpt-4o-mini", usage=given)
    stats = await manager.get_stats()

    assert (stats.input_tokens, stats.output_tokens, stats.billed_tokens) == (1000, 200, 1200)
    assert stats.cache_read_tokens == 600
    assert (stats.cache_creation_tokens, stats.reasoning_tokens) == (created, reasoning)


async def test_a_cost_that_is_partly_unknown_is_none() -> None:
    """`cost_usd` is a number only while every call's cost is known; the known part stays."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.turn("a", "b", model="gpt-4o-mini", usage=OPENAI)
    known = await manager.get_stats()
    await manager.turn("a", "b", model="nobody/knows-this", usage=OPENAI)
    priceless = await manager.get_stats()
    await manager.turn("a", "b")
    partly = await manager.get_stats()

    assert known.cost_usd == known.estimated_cost
    assert known.estimated_cost > 0
    assert (known.cost_coverage, priceless.cost_coverage) == (1.0, 0.5)
    assert partly.cost_coverage == pytest.approx(1 / 3)
    assert priceless.cost_usd is None
    assert partly.cost_usd is None
    assert partly.estimated_cost == known.estimated_cost


async def test_nothing_reported_is_unknown_and_not_free() -> None:
    """Without reported usage the estimate is 0 with a coverage of 0, and the cost is `None`."""
    manager = SessionManager("c", store=MemoryStore())
    await talk(manager, 1)
    stats = await manager.get_stats()

    assert (stats.estimated_cost, stats.cost_coverage, stats.cost_usd, stats.billed_tokens) == (
        0,
        0.0,
        None,
        0,
    )
    assert stats.total_tokens > 0


async def test_summaries_are_an_account_of_their_own() -> None:
    """What summaries cost is neither in the billed tokens nor in the cost of the host's calls."""
    free = SessionManager("c", store=MemoryStore(), summarizer=asking(scripted()))
    await talk(free, 8)
    await free.segment()
    stats = await free.get_stats()

    assert (stats.billed_tokens, stats.estimated_cost) == (0, 0)
    assert (stats.summary_calls, stats.summary_tokens) == (1, 120)
    assert stats.summary_cost == stats.summary_cost_usd == Decimal("0.001")


async def test_calls_that_tool_used_made_up_are_no_messages() -> None:
    """A call recorded by `tool_used` counts as a call; one that the model made counts as message and call."""
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("Look.")
    await manager.tool_used("look", {"at": "sky"}, "blue")
    await manager.record(calls_tool("call_1"))
    await manager.record(tool_result("call_1", "grey"))
    stats = await manager.get_stats()

    assert (stats.tool_calls, stats.tool_results, stats.ai_messages, stats.total_messages) == (2, 2, 1, 2)


async def test_statistics_survive_a_new_process_on_sqlite(tmp_path: Path) -> None:
    """The figures read through a second file handle are equal, as values."""
    first = SQLiteStore(tmp_path / "log.db")
    await talk(SessionManager("c", store=first, policy=soft_only(200), segmentation="inline"), 12)
    before: SessionStats = await get_session_stats("c", store=first)
    await first.close()
    second = SQLiteStore(tmp_path / "log.db")

    assert await get_session_stats("c", store=second) == before
    await second.close()
