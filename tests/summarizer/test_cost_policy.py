"""Segmenting when it pays, from the first message to the booked saving."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer import CostAwarePolicy, EventKind, InvalidSetting, SessionManager, count_tokens
from summarizer.cost_policy import read_policy
from summarizer.economy import Situation
from summarizer.meter import Price, set_price
from summarizer.policy import Policy, Skip, Trigger, due, limits_of, plan
from summarizer.stores.protocol import Head
from summarizer.summary import LlmSummarizer
from summarizer.testing import FakeClock
from summarizer.units import safe_cuts
from tests.summarizer.histories import histories

MODEL = "gpt-4o-mini"
LIFETIME_S = 300.0
SMALL = CostAwarePolicy(least_tokens=1500, tail_tokens=300, seed_tokens=400)


@pytest.fixture(autouse=True)
def prices():
    """Prices that stand here, of a provider that caches by itself and charges for writing."""
    set_price(MODEL, Price.per_million(3, 15, "0.3", "3.75"))
    yield
    set_price(MODEL, None)


@cache
def weight(role, content):
    """Tokens of a message in a request; most of a request was sent before."""
    return count_tokens([{"role": role, "content": content}], model=MODEL) - 3


class Provider:
    """A provider whose cache is a prefix of whole messages, and whose bill is kept."""

    def __init__(self, clock):
        self._clock = clock
        self._kept, self._used_at = [], None
        self.bills = []

    def answer(self, messages, output_tokens):
        """The usage of a call."""
        now, same = self._clock(), 0
        warm = self._used_at is not None and (now - self._used_at).total_seconds() <= LIFETIME_S
        while warm and same < min(len(self._kept), len(messages)) and self._kept[same] == messages[same]:
            same += 1
        weights = [weight(message["role"], message["content"]) for message in messages]
        total, read = sum(weights), sum(weights[:same])
        self._kept, self._used_at = messages, now
        micro = read * Decimal("0.3") + (total - read) * Decimal("3.75") + output_tokens * 15
        self.bills.append(micro / 10**6)
        details = {"cached_tokens": read, "cache_creation_tokens": total - read}
        return {
            "prompt_tokens": total,
            "completion_tokens": output_tokens,
            "prompt_tokens_details": details,
        }


async def talk(policy, *, pauses=(), turns=30, words=8, summarizer=None, **given):
    """A conversation of equal turns; before those of `pauses` the user is away for long."""
    clock = FakeClock()
    provider = Provider(clock)
    sm = SessionManager(
        store="memory://",
        model=MODEL,
        system_prompt="Be brief. " * 60,
        policy=policy,
        summarizer=summarizer,
        segmentation="inline",
        clock=clock,
        **given,
    )
    for i in range(turns):
        clock.advance(1000 if i in pauses else 20)
        await sm.user_says(f"Tell me about item {i}. " + "Please go into detail. " * words)
        usage = provider.answer(await sm.get_messages_for_llm(), 80)
        clock.advance(5)
        await sm.ai_responds(f"Item {i} is blue. " + "It has many sides. " * words * 2, usage=usage)
    return sm, provider


async def openings(sm):
    """What was written down at each segmentation."""
    return [e for e in await sm.read(include_all_segments=True) if e.kind is EventKind.SEGMENTED]


def test_it_is_stored_whole_and_read_by_those_who_know_less():
    """A reader of an older version takes it for a plain policy with the same ceiling."""
    policy = CostAwarePolicy(token_threshold=0.5, least_tokens=3000, at_cold="never")
    stored = policy.to_dict()

    assert read_policy(stored) == policy
    assert Policy.from_dict(stored) == Policy(token_threshold=0.5)
    assert read_policy(Policy(7).to_dict()) == Policy(7)
    assert read_policy(stored | {"kind": "of tomorrow"}) == Policy(token_threshold=0.5)
    assert limits_of(policy, window=1000).hard == limits_of(Policy(token_threshold=0.5), window=1000).hard


@pytest.mark.parametrize(
    "given",
    [
        {"least_tokens": -1},
        {"tail_tokens": 1.5},
        {"seed_tokens": 10},
        {"seed_tokens": True},
        {"summary_mode": "best"},
        {"at_cold": "wait"},
        {"cache_lifetime_s": -1},
        {"cache_lifetime_s": float("inf")},
        {"caching": "no"},
        {"token_threshold": 0},
    ],
)
def test_a_setting_out_of_range_is_refused(given):
    """What is wrong is named with its value."""
    with pytest.raises(InvalidSetting, match=next(iter(given))):
        CostAwarePolicy(**given)


async def test_another_worker_goes_on_with_it():
    """A manager that was given no policy decides by the stored one, from the same figures."""
    sm, _ = await talk(SMALL, turns=9)
    other = SessionManager(sm.session_id, store=sm.store)

    assert await other.decision() == await sm.decision()


@pytest.mark.parametrize("policy", [CostAwarePolicy(), Policy(0.75)])
async def test_another_worker_keeps_to_the_window_of_the_stored_model(policy):
    """A share of the window is one of the conversation's own model, whoever asks."""
    sm = SessionManager(store="memory://", model="gpt-4", policy=policy, segmentation="inline")
    await sm.user_says("Hello.")
    other = SessionManager(sm.session_id, store=sm.store, segmentation="inline")
    for i in range(20):
        await other.turn(f"Tell me about {i}. " * 50, "It is blue. " * 50)

    assert await openings(other)


async def test_usage_that_says_nothing_of_a_cache_leaves_it_unknown():
    """Law 17: a figure that nobody reported is no 0; the provider's rule holds until one is."""
    silent, denying = ({}, {"prompt_tokens_details": {"cached_tokens": 0}})
    seen = []
    for details in (silent, denying):
        sm = SessionManager(store="memory://", model=MODEL, policy=CostAwarePolicy())
        for i in range(3):
            usage = {"prompt_tokens": 3000, "completion_tokens": 10, **details}
            await sm.turn(f"Tell me about {i}. " * 50, "It is blue.", usage=usage)
        decision = await sm.decision()
        assert decision is not None
        seen.append((decision.situation.cached, decision.cache))

    assert seen == [(None, "warm"), (False, "none")]


@pytest.mark.parametrize("policy", [CostAwarePolicy(1000), CostAwarePolicy(0.6), Policy(0.6)])
async def test_a_long_system_prompt_does_not_keep_it_from_segmenting(policy):
    """What may stay is measured by what the segment can hold, not by what the prompt holds."""
    sm = SessionManager(
        store="memory://",
        model="gpt-4",
        system_prompt="Be brief. " * 1500,
        policy=policy,
        segmentation="inline",
    )
    for i in range(40):
        await sm.turn(f"Tell me about {i}. " * 5, "It is blue. " * 5)
    events = await sm.read(include_all_segments=True)

    assert await openings(sm)
    assert [e.data["reason_code"] for e in events if e.kind is EventKind.SKIPPED] == []


async def test_it_segments_where_it_pays_and_says_what_it_expects():
    """The chain opens children far below the window, each with its expected saving and the inputs of it."""
    sm, _ = await talk(SMALL)
    opened = await openings(sm)

    assert len(opened) >= 2
    for event in opened:
        expected = event.data["expected"]

        assert event.data["trigger"] == "cost"
        assert expected["saving_pico"] > 0
        assert expected["prices_pico"] == {"input": 3e6, "output": 15e6, "read": 3e5, "write": 3.75e6}
        assert 1500 <= expected["threshold"] <= expected["before"] < 1.2 * expected["threshold"]
        assert expected["after"] < expected["before"]
        assert expected["cache"] == "warm"


@pytest.mark.parametrize(("pauses", "share"), [((), 1.02), ((9, 17, 31, 38, 44, 59, 63, 80), 0.95)])
async def test_its_bill_is_that_of_the_best_threshold(pauses, share):
    """No fixed threshold is 2 percent cheaper; where the user pauses, each is 5 percent dearer, or more."""

    async def bill(policy):
        _, provider = await talk(policy, turns=90, pauses=pauses, words=3)
        return float(sum(provider.bills))

    ours = await bill(replace(SMALL, least_tokens=0))
    fixed = [
        await bill(Policy(most, tail_share=300 / most, seed_share=400 / most))
        for most in (1300, 1600, 2000, 2400)
    ]

    assert ours <= share * min(fixed)
    assert ours < 0.85 * await bill(None)


async def test_a_pause_is_used():
    """The message after a pause in which the cache died is recorded in a child: its request is short."""
    with_pause, _ = await talk(SMALL, pauses=(11,), turns=12)
    without, _ = await talk(SMALL, turns=12)
    opened = await openings(with_pause)

    assert [event.data["trigger"] for event in opened] == ["cold"]
    assert opened[0].data["expected"]["idle_s"] == 1000
    assert await openings(without) == []


async def test_at_a_cold_moment_no_turn_waits_for_a_model():
    """With a model for summaries, the one of a cold moment is written by rules all the same."""

    def never(_):
        raise AssertionError("asked")

    sm, _ = await talk(SMALL, pauses=(11,), turns=12, summarizer=never)
    opened = await openings(sm)

    assert [(e.data["trigger"], e.data["writer"]) for e in opened] == [("cold", "extractive")]


async def test_by_choice_the_turn_waits_at_a_cold_moment():
    """`at_cold="model"` asks the model, and the request that follows is short already."""
    asked = []

    def summarize(messages):
        asked.append(messages)
        return "They spoke about items, one after the other, all of them blue."

    policy = CostAwarePolicy(least_tokens=1500, tail_tokens=300, seed_tokens=400, at_cold="model")
    sm, _ = await talk(policy, pauses=(18,), turns=19, summarizer=summarize)

    assert [event.data["trigger"] for event in await openings(sm)] == ["cold"]
    assert len(asked) == 1


async def test_without_new_messages_it_is_never_due_again():
    """Law 9: records that are no messages do not make a segmentation due."""
    sm, _ = await talk(SMALL, turns=31, pauses=range(10, 31, 10))
    tip = sm.session_id
    for _ in range(5):
        await sm.update_system_prompt("Be brief. " * 61)
        await sm.get_messages_for_llm()
    await sm.settle()

    assert (await sm.get_session_chain())[-1] == tip
    decision = await sm.decision()
    assert decision is not None
    assert decision.due is None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10**6), st.booleans())
def test_it_is_never_due_without_a_new_message(opened, skipped, since, size, is_cold):
    """Law 9: after an opening or a skip, no saving makes it due until a message came."""
    decision = SMALL.decide(Situation(MODEL, size, 100, 300, 96_000, idle_s=400 if is_cold else None))
    head = Head("c", opened_seq=opened, skipped_seq=skipped, message_seq=since)
    trigger = due(head, SMALL, limits_of(SMALL, window=128_000), size, decision=decision)

    assert trigger is None or since > max(opened, skipped)
    assert trigger in (None, Trigger.TOKENS, Trigger.HARD_LIMIT, Trigger.COST, Trigger.COLD)
    assert (trigger is Trigger.COLD) <= is_cold


@given(histories(), st.integers(0, 200), st.integers(0, 300), st.sampled_from([Trigger.COST, Trigger.COLD]))
def test_what_stays_is_the_floor(events, tail, seed_tokens, trigger):
    """The tail is what fits its measure, or the newest unit; and the minimum gain is kept (law 9)."""
    policy = CostAwarePolicy(tail_tokens=tail, seed_tokens=100)
    total = events[-1].cumulative_tokens if events else 0
    head = Head("c", last_seq=len(events), total_tokens=total, seed_tokens=seed_tokens)
    decision = policy.decide(Situation(MODEL, total + seed_tokens, 0, 300))
    planned = plan(head, events, policy, limits_of(policy), trigger, decision=decision)
    if isinstance(planned, Skip):
        return
    cuts = [cut.seq for cut in safe_cuts(events)]
    later = [seq for seq in cuts if planned.cut.seq < seq and total > events[seq - 1].cumulative_tokens]

    assert planned.seed_budget <= 100
    assert planned.tail_tokens + planned.seed_budget <= 0.7 * planned.before_tokens
    assert planned.tail_tokens <= tail or not later


async def test_the_newest_unit_stays_verbatim():
    """A newest turn larger than the tail's measure stays whole, where the gain allows it."""
    policy = CostAwarePolicy(least_tokens=1500, tail_tokens=10, seed_tokens=400)
    sm, _ = await talk(policy)
    opened = await openings(sm)

    assert opened
    assert all(event.data["tail_tokens"] > 10 for event in opened)


@pytest.mark.parametrize(("pauses", "turns"), [((), 22), ((11,), 17), ((11, 13), 16), ((18, 20), 22)])
async def test_what_it_saved_is_what_the_bills_say(pauses, turns):
    """The booked saving is the difference to the bill of the same conversation without the segmentation."""
    policy = replace(SMALL, least_tokens=2000) if pauses == (18, 20) else SMALL
    sm, ours = await talk(policy, pauses=pauses, turns=turns)
    _, never = await talk(None, pauses=pauses, turns=turns)
    savings = await sm.savings()
    real = sum(never.bills) - sum(ours.bills)

    assert savings.segmentations == 1
    assert savings.coverage == 1.0
    assert float(savings.realized) == pytest.approx(float(real), abs=0.01 * float(sum(ours.bills)))


async def test_savings_go_on_over_segments():
    """What earlier segments saved is carried, so that the sums need the open segment alone."""
    sums = [(await (await talk(SMALL, turns=turns))[0].savings()) for turns in (20, 40, 60)]

    assert sorted(s.segmentations for s in sums) == [s.segmentations for s in sums]
    assert sums[0].saved_pico < sums[1].saved_pico < sums[2].saved_pico
    assert sums[2].segmentations >= 3
    assert all(s.coverage == 1.0 for s in sums)
    assert abs(sums[2].realized / sums[2].expected - 1) < 0.3


async def test_what_is_not_known_is_not_booked():
    """Law 17: a call without usage makes the saving unknown, and the known part says how much it covers."""
    sm, _ = await talk(SMALL, turns=25)
    known = await sm.savings()
    await sm.user_says("Go on.")
    await sm.ai_responds("Gladly.")
    less = await sm.savings()

    assert known.realized is not None
    assert less.realized is None
    assert less.estimated == known.estimated
    assert 0 < less.coverage < 1


async def test_a_call_made_while_the_summary_is_written_is_booked_where_it_belongs():
    """What is recorded between the cut and the hand-over counts against the segmentation before."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    sm, provider = await talk(SMALL, turns=24)
    before = await sm.savings()

    async def slowly(_):
        asked.set()
        await go_on.wait()
        return "They spoke about items, one after the other, all of them blue."

    slow = SessionManager(sm.session_id, store=sm.store, model=MODEL, policy=SMALL, summarizer=slowly)
    by_hand = asyncio.ensure_future(slow.segment())
    await asyncio.wait_for(asked.wait(), 5)
    await sm.user_says("Go on. " * 10)
    usage = provider.answer(await sm.get_messages_for_llm(), 80)
    await sm.ai_responds("Gladly. " * 10, usage=usage)
    meanwhile = await sm.savings()
    go_on.set()
    outcome = await by_hand
    after = await sm.savings()

    assert outcome.status == "segmented"
    assert before.segmentations == 1
    assert meanwhile.known_calls == before.known_calls + 1
    assert after.segmentations == 2
    assert (after.saved_pico, after.known_calls) == (meanwhile.saved_pico, meanwhile.known_calls)
    assert after.realized is None  # A function's summary has no price.


async def test_a_plain_policy_books_nothing():
    """Without a policy that weighs costs there is no decision and no saving, not even of 0."""
    sm, _ = await talk(Policy(1200))
    savings = await sm.savings()

    assert len(await openings(sm)) > 1
    assert await sm.decision() is None
    assert (savings.segmentations, savings.expected, savings.realized) == (0, None, None)


async def test_it_can_be_switched_off_and_bounded():
    """`infinite_context=False` leaves it to the hand; a threshold given beside it is the ceiling."""
    off, _ = await talk(SMALL, infinite_context=False, pauses=(9,))
    bounded, _ = await talk(CostAwarePolicy(least_tokens=50_000), token_threshold=1200)

    assert await openings(off) == []
    assert {event.data["trigger"] for event in await openings(bounded)} == {"tokens"}


@pytest.mark.parametrize(("writer", "mode"), [(MODEL, "live"), ("gpt-4.1-nano", "fenced")])
async def test_the_summary_of_the_own_model_extends_the_live_prefix(writer, mode):
    """Where the host's own model writes the summary, the decision is to extend what is cached of it."""
    summarizer = LlmSummarizer([writer], model_factory=lambda _: None)
    sm = SessionManager(store="memory://", model=MODEL, policy=SMALL, summarizer=summarizer)
    await sm.turn("What is this? " * 200, "It is a test. " * 100)
    decision = await sm.decision()

    assert decision is not None
    assert decision.summary_mode == mode
