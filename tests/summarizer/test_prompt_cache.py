"""The provider's cache, through a manager: marks on its contexts, and whether the cache works."""

import json

import pytest
from structlog.testing import capture_logs

from summarizer import CostAwarePolicy, SessionManager
from summarizer.context.policies import KeepLast
from summarizer.errors import InvalidSetting
from summarizer.testing import FakeClock
from tests.summarizer.prompt_cache import PromptCache, blocks_of, marked_blocks, unmarked
from tests.summarizer.talk import said, told

MARKED = "anthropic/claude-sonnet-4-5"


async def plain(sm):
    """What is sent without marks."""
    return json.dumps((await sm.context(cache_control=False)).messages)


def usage(prompt, read=0, created=None):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": read},
        **({} if created is None else {"cache_creation_input_tokens": created}),
    }


async def test_marks_come_on_request_and_change_no_figure():
    """Off by default; on for one call or for the manager; tokens and text are the same either way."""
    async with SessionManager(store="memory://", system_prompt="Be brief.") as sm:
        await sm.turn(said(1), told(1))
        await sm.user_says(said(2))
        without, marked = await sm.context(), await sm.context(cache_control="1h")
    async with SessionManager(store="memory://", system_prompt="Be brief.", cache_control=True) as sm:
        await sm.user_says(said(2))
        messages = await sm.get_messages_for_llm()
        bare = await plain(sm)

    assert "cache_control" not in json.dumps(without.messages)
    assert unmarked(marked.messages) == without.messages
    assert (marked.tokens, marked.parts) == (without.tokens, without.parts)
    assert json.dumps(marked.messages).count('{"type": "ephemeral", "ttl": "1h"}') == 4
    assert json.dumps(messages).count('"cache_control"') == 2
    assert "cache_control" not in bare


async def test_the_recalled_suffix_bears_no_mark():
    """It stands in one request alone; the question before it is marked."""
    async with SessionManager(store="memory://", system_prompt="Be brief.", cache_control=True) as sm:
        await sm.turn("The gate code is 4711-B.", "Noted.")
        for n in range(12):
            await sm.turn(said(n), told(n))
        await sm.segment()
        await sm.user_says("Which gate code is it?")
        context = await sm.context(recall=True)

    assert context.recalled
    assert isinstance(context.messages[-1]["content"], str)
    assert "cache_control" in json.dumps(context.messages[-2])
    assert "cache_control" in json.dumps(context.messages[1])


async def test_a_conversation_is_paid_for_once_between_segmentations():
    """Over 60 turns and some segmentations, each request reads all that the one before it marked."""
    cache, last, cut = PromptCache(), 0, 0
    async with SessionManager(
        store="memory://",
        system_prompt="Be brief.",
        cache_control=True,
        token_threshold=900,
        segmentation="inline",
    ) as sm:
        for n in range(60):
            await sm.user_says(said(n))
            messages = await sm.get_messages_for_llm()
            read = cache.send(messages)
            if sm.session_id.endswith(f"~{cut}") or (not cut and "~" not in sm.session_id):
                assert read >= last
            else:
                cut += 1
                assert read >= 1  # The system prompt.
            last = marked_blocks(messages)
            await sm.ai_responds(told(n))

    assert cut >= 2


@pytest.mark.parametrize("wrong", ["2h", 5, "ephemeral"])
async def test_a_lifetime_that_there_is_not_is_refused(wrong):
    """By the constructor and by the call."""
    with pytest.raises(InvalidSetting, match="cache_control"):
        SessionManager(store="memory://", cache_control=wrong)
    async with SessionManager(store="memory://") as sm:
        await sm.user_says("Hello")
        with pytest.raises(InvalidSetting, match="cache_control"):
            await sm.context(cache_control=wrong)


@pytest.mark.parametrize(("model", "lifetime_s"), [("gpt-4o", 300), ("claude-sonnet-4-5", 3600)])
async def test_an_hour_is_bought_only_where_marks_are_taken(model, lifetime_s):
    """A provider that caches by itself overlooks the mark, and keeps a prefix as long as it ever does."""
    clock = FakeClock()
    policy = CostAwarePolicy()
    async with SessionManager(
        store="memory://", model=model, policy=policy, cache_control="1h", clock=clock
    ) as sm:
        for n in range(5):
            clock.advance(900)
            await sm.user_says(f"{n} " + "A longer message than others. " * 300)
            prompt = (await sm.context()).tokens
            await sm.ai_responds(told(n), usage=usage(prompt), model=model)
        decision, health = await sm.decision(), await sm.cache_health()

    assert decision is not None
    assert decision.lifetime_s == lifetime_s
    assert lifetime_s == 3600 or (health.status, health.likely_cause) == ("cold", "idle")


async def test_a_collapse_is_logged_once_and_shown_until_it_ends():
    """A host whose prompt carries a clock: one warning, with ids and figures and no text."""
    text = "A longer message than others. " * 150
    async with SessionManager(store="memory://", model="gpt-4o") as sm:
        with capture_logs() as logs:
            prompt = 0
            for n in range(8):
                await sm.user_says(f"{n} {text}")
                prompt = (await sm.context()).tokens
                await sm.ai_responds(told(n), usage=usage(prompt), model="gpt-4o")
        health, stats = await sm.cache_health(), await sm.get_stats()
        await sm.user_says("Again?")
        await sm.ai_responds(told(9), usage=usage(prompt + 60, prompt // 128 * 128), model="gpt-4o")
        healed, share = await sm.cache_health(), (await sm.get_stats()).cached_share
    collapsed = [line for line in logs if line["event"] == "cache.collapsed"]

    assert len(collapsed) == 1
    assert collapsed[0].keys() == {
        "event", "log_level", "conversation_id", "session_id",
        "likely_cause", "expected_tokens", "reported_tokens",
    }  # fmt: skip
    assert collapsed[0]["likely_cause"] == "prefix_changed_outside"
    assert (health.status, health.reported_tokens) == ("collapsed", 0)
    assert health.expected_tokens is not None
    assert stats.cached_share is None
    assert healed.status == "ok"
    assert share is not None
    assert 0 < share < 1


async def test_a_system_prompt_that_changes_each_time_is_named():
    """A clock in our own system prompt is found too, and its cause is known."""
    text = "A longer message than others. " * 300
    async with SessionManager(store="memory://", model="gpt-4o") as sm:
        for n in range(5):
            await sm.update_system_prompt(f"It is {n} o'clock.")
            await sm.user_says(f"{n} {text}")
            prompt = (await sm.context()).tokens
            await sm.ai_responds(told(n), usage=usage(prompt), model="gpt-4o")
        health = await sm.cache_health()

    assert (health.status, health.likely_cause) == ("collapsed", "settings_changed")


async def test_nothing_recorded_is_nothing_known():
    """Neither a new conversation nor one without usage has a judgement."""
    async with SessionManager(store="memory://") as sm:
        fresh = await sm.cache_health()
        await sm.turn(said(1), told(1))
        silent = await sm.cache_health()

    assert fresh == silent
    assert (fresh.status, fresh.likely_cause) == ("unknown", "no_calls")


async def test_a_window_of_ones_own_is_known_and_no_other_context():
    """What a context left out is not expected: the report holds what was sent."""
    async with SessionManager(store="memory://", model="gpt-4o") as sm:
        for n in range(8):
            await sm.user_says(f"{n} " + "A longer message than others. " * 300)
            context = await sm.context(4000)
            await sm.ai_responds(told(n), usage=usage(context.tokens), model="gpt-4o")
        events, stats = await sm.read(), await sm.get_stats()
    report = next(event.data["report"] for event in reversed(events) if "report" in event.data)

    assert report["raw"] < 4000
    assert stats.context_tokens > 10_000
    assert report["tools"] == 0


@pytest.mark.parametrize("asked", [{}, {"recall": True}, {"policies": KeepLast(turns=4)}], ids=str)
async def test_a_context_within_a_budget_does_not_teach_a_smaller_one(asked):
    """Law 15: what was reported is compared with what was sent, however much the log has besides."""
    async with SessionManager(store="memory://", model="anthropic/claude-opus-4-8") as sm:
        real = 0
        for n in range(30):
            await sm.user_says(f"{said(n)} " + "A room with a view of the harbour. " * 40)
            context = await sm.context(6000, **asked)
            real = int(1.4 * sum(context.parts.values()))
            assert real <= 6000
            await sm.ai_responds(told(n), usage=usage(real))

        assert context.ratio == pytest.approx(1.4, abs=0.01)


@pytest.mark.parametrize(
    "asked", [{}, {"recall": True}, {"policies": [KeepLast(turns=16)]}, {"max_tokens": 5000}], ids=str
)
async def test_a_cache_that_works_is_never_called_a_collapse(asked):
    """Sixty turns against a provider that keeps the rules: segmentations, windows, recall, and no warning."""
    cache = PromptCache()
    async with SessionManager(
        store="memory://",
        system_prompt="Be brief. " * 400,
        model=MARKED,
        cache_control=True,
        token_threshold=9000,
        segmentation="inline",
    ) as sm:
        with capture_logs() as logs:
            for n in range(60):
                await sm.user_says(f"{said(n)} " + f"Room {n} has a view of the harbour. " * 40)
                messages = await sm.get_messages_for_llm(**asked)
                sizes = [len(text) // 4 for text, _ in blocks_of(messages)]
                read = sum(sizes[: cache.send(messages)])
                kept = sum(sizes[: marked_blocks(messages)])
                await sm.ai_responds(told(n), model=MARKED, usage=usage(sum(sizes), read, kept - read))
        health, stats = await sm.cache_health(), await sm.get_stats()

    assert stats.session_segments > 2
    assert [line for line in logs if line["event"] == "cache.collapsed"] == []
    assert health.status in ("ok", "cold")
    assert stats.cached_share is not None
    assert stats.cached_share > 0.5
