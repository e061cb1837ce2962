"""What pays, and what the decision says of itself."""

from dataclasses import replace
from decimal import Decimal

import pytest
from inline_snapshot import snapshot

from summarizer import CostAwarePolicy
from summarizer.economy import Situation
from summarizer.meter import Price, set_price

HOST = "a-host/model"


@pytest.fixture(autouse=True)
def prices():
    """Two models at prices that stand here, whatever litellm's table says tomorrow."""
    set_price(HOST, Price.per_million(3, 15, "0.3", "3.75"))
    set_price("cheap", Price.per_million("0.1", "0.4"))
    set_price("dear", Price.per_million(30, 150))
    yield
    for name in (HOST, "cheap", "dear"):
        set_price(name, None)


AT = Situation(HOST, 12_000, 1_000, 500, 96_000, cached=True)


def decided(at=AT, **policy):
    rooms = {"least_tokens": 8000, "tail_tokens": 2000, "seed_tokens": 2000}
    return CostAwarePolicy(**rooms | policy).decide(at)


def test_it_reads_itself_out():
    """A decision printed shows its inputs and the expected saving."""
    assert str(decided()) == snapshot(
        "segment now, for cost: the next request has 12000 tokens, 5000 after a segmentation; "
        "threshold 11783; a-host/model: cache warm, input 3, output 15, cache read 0.3, cache write "
        "3.75 (USD per million tokens); growth 500 tokens a call; summary fenced; expected saving "
        "0.014689 USD over 13.6 calls"
    )


def test_the_expected_saving_is_the_difference_of_two_bills():
    """What is expected is what the cycle's calls cost with and without the segmentation, call by call."""
    decision = decided(replace(AT, summary_models=("cheap",)))
    calls, kept = 13, 4_000
    decision = replace(decision, calls=13.0).handed_over(after_tokens=kept, asked=True)
    long = sum((12_000 + i * 500) * Decimal("0.3") for i in range(calls))
    short = sum((5_000 + i * 500) * Decimal("0.3") for i in range(calls)) + kept * Decimal("3.45")

    assert decision.summary_pico is not None
    assert decision.saving_pico == int((long - short) * 10**6) - decision.summary_pico


def test_at_a_cold_moment_less_is_enough():
    """After a pause longer than the cache lives, a request below the usual threshold is segmented."""
    size = replace(AT, size=9_000)
    cold = decided(replace(size, idle_s=301))

    assert decided(size).due is None
    assert decided(replace(size, idle_s=299)).due is None
    assert cold.due == "cold"
    assert cold.summary_pico == 0  # By rules, so that no turn waits for a model.
    assert decided(replace(size, idle_s=301), at_cold="never").due is None
    assert decided(replace(size, idle_s=301), least_tokens=9_500).due is None


def test_a_cold_moment_whose_summary_costs_more_than_it_saves_passes():
    """A model's summary at a cold moment is asked for only where it pays."""
    at = replace(AT, size=9_000, idle_s=301)

    assert decided(replace(at, summary_models=("cheap",)), at_cold="model").due == "cold"
    assert decided(replace(at, summary_models=("dear",)), at_cold="model").due is None


def test_at_a_cold_moment_that_is_not_used_a_model_is_still_reckoned_with():
    """What is due by size or turns after a pause is written by a model, and costs what that costs."""
    at = replace(AT, size=97_000, idle_s=301, summary_models=(HOST,))

    assert decided(at, summary_mode="live", least_tokens=97_000).summary_mode == "live"
    assert (
        decided(replace(at, size=7_000)).summary_pico
        == decided(replace(at, size=7_000), at_cold="never").summary_pico
    )
    assert decided(replace(at, size=7_000)).summary_pico != 0


def test_what_stays_is_a_share_of_what_the_ceiling_leaves():
    """System prompt and tools count to the ceiling, and give no room for tail and seed."""
    decision = decided(replace(AT, ceiling=10_000, fixed=9_000, ratio=2.0))

    assert (decision.tail_tokens, decision.seed_tokens) == (100, 125)
    assert decided(replace(AT, ceiling=9_000, fixed=9_000)).seed_tokens == 64


def test_the_cheaper_way_to_ask_is_chosen():
    """The own model's summary extends the cached request; a cheap model gets the transcript."""
    own = replace(AT, summary_models=(HOST,))

    assert decided(own).summary_mode == "live"
    assert decided(replace(AT, summary_models=("dear", HOST))).summary_mode == "live"
    assert decided(own, summary_mode="fenced").summary_mode == "fenced"
    assert decided(replace(own, cached=False)).summary_mode == "fenced"
    assert decided(replace(own, unread=True)).summary_mode == "fenced"
    assert decided(replace(AT, summary_models=("cheap",))).summary_mode == "fenced"
    assert decided(replace(AT, summary_models=("dear",))).summary_mode == "fenced"
    assert decided(replace(AT, summary_models=("dear",)), summary_mode="live").summary_mode == "live"


def test_a_live_summary_that_cannot_be_costs_what_the_fenced_one_costs():
    """Law 17: of a function of the host's nobody knows the cost, whatever way was wished for."""
    function, dear = (replace(AT, summary_models=names) for names in ((), ("dear",)))

    assert decided(function, summary_mode="live").summary_pico is None
    assert decided(dear, summary_mode="live").summary_pico == decided(dear).summary_pico


def test_an_unknown_price_makes_no_money():
    """Without a price it decides by ratios, says so, and states no saving."""
    decision = decided(replace(AT, model="nobody/knows-it"))

    assert decision.threshold is not None
    assert decision.expected_saving is None
    assert decision.to_dict()["prices_pico"] is None
    assert "no price is known" in str(decision)
    assert decided(replace(AT, summary_models=())).expected_saving is None


def test_reported_usage_goes_before_what_the_provider_is_known_for():
    """Where no request was cached, a long prompt costs its whole price, and the threshold is the floor."""
    decision = decided(replace(AT, cached=False))

    assert decision.cache == "none"
    assert decision.threshold == 8_000
    assert decided(replace(AT, cached=False), caching=True).cache == "warm"


def test_before_the_first_call_only_the_ceiling_holds():
    """Without a rate of growth there is no best size."""
    decision = decided(replace(AT, growth=None))

    assert decision.due is None
    assert decision.threshold == 96_000
    assert decision.expected_saving is None


def test_calls_that_come_late_make_long_prompts_dearer():
    """The more calls find the cache dead, the earlier it pays to segment."""
    thresholds = [
        decided(replace(AT, cold_share=share), least_tokens=0).threshold for share in (0, 0.1, 0.5, 1)
    ]

    assert sorted(thresholds, reverse=True) == thresholds
    assert thresholds[0] > thresholds[-1]


def test_the_one_hour_cache_costs_twice_the_input_to_write():
    """A lifetime beyond Anthropic's five minutes is the one-hour cache, at its price."""
    set_price("claude-test", Price.per_million(3, 15, "0.3", "3.75"))
    try:
        short, long = (
            decided(replace(AT, model="claude-test", idle_s=400), cache_lifetime_s=lifetime)
            for lifetime in (None, 3600)
        )
    finally:
        set_price("claude-test", None)

    assert (short.cache, long.cache) == ("cold", "warm")
    assert (short.tariff.write, long.tariff.write) == (3_750_000, 6_000_000)
