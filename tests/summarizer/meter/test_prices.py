from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting
from summarizer.meter import (
    Price,
    Rates,
    Usage,
    context_window,
    cost_of,
    max_output_tokens,
    price_for,
    price_table_id,
    prices,
    set_price,
    supports_response_schema,
)

pytestmark = pytest.mark.usefixtures("fresh")
TABLE: dict[str, dict[str, Any]] = {
    "sample_spec": {"input_cost_per_token": 0.0, "max_input_tokens": "a word"},
    "m": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
        "input_cost_per_token_above_200k_tokens_priority": 9e-06,
        "output_cost_per_token_above_400k_tokens": 3e-05,
        "max_input_tokens": 272000,
        "max_output_tokens": 128000,
        "supports_response_schema": True,
    },
    "m-2026-01-01": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 1e-06,
    },
    "steady": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
    "steady-2026-01-01": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
    },
    "azure/m": {"litellm_provider": "azure", "input_cost_per_token": 3e-06, "output_cost_per_token": 3e-06},
    "gem": {
        "litellm_provider": "vertex_ai-language-models",
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
    },
    "think": {
        "litellm_provider": "p",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "output_cost_per_reasoning_token": 5e-06,
    },
    "grok": {
        "litellm_provider": "xai",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 0,
        "input_cost_per_token_above_128k_tokens": 2e-06,
    },
    "ranged": {
        "litellm_provider": "dashscope",
        "tiered_pricing": [
            {"range": [256000.0, 1000000.0], "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06},
            {"range": [0, 256000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06},
        ],
    },
    "picture": {"litellm_provider": "openai", "mode": "image_generation"},
    "ft:m-2026-01-01": {
        "litellm_provider": "openai",
        "input_cost_per_token": 7e-06,
        "output_cost_per_token": 7e-06,
    },
}


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    (tmp_path / prices._FILE).write_text(json.dumps(TABLE))
    monkeypatch.setattr(prices, "litellm_folder", lambda: tmp_path)


def cost(model: str, *usage: int | None) -> Decimal | None:
    price = price_for(model)
    assert price is not None
    return cost_of(Usage(*usage), price)


def test_cached_tokens_have_their_own_rate() -> None:
    """Cache reads are taken out of the input and billed at theirs."""
    assert cost("m", 1000, 500, 800) == Decimal("0.008") - Decimal("0.0015")


def test_a_cache_write_without_a_rate_costs_what_input_costs() -> None:
    """No rate for writing the cache is listed: those tokens are ordinary input."""
    assert cost("m", 1000, 0, 0, 400) == Decimal("0.0025")


@pytest.mark.parametrize(
    ("prompt", "rates"),
    [
        (200_000, ("2.5e-06", "1e-05", "1.25e-06")),
        (200_001, ("5e-06", "1.5e-05", "1.25e-06")),
        (400_001, ("5e-06", "3e-05", "1.25e-06")),
    ],
)
def test_the_whole_prompt_chooses_the_tier(prompt: int, rates: tuple[str, str, str]) -> None:
    """Above a threshold every token has the tier's rate; what a tier leaves out is as below it."""
    fresh_input, output, read = map(Decimal, rates)

    assert cost("m", prompt, 10, 1000) == (prompt - 1000) * fresh_input + 1000 * read + 10 * output


def test_a_threshold_may_be_inclusive() -> None:
    """The long-context price of xAI begins at the threshold."""
    assert cost("grok", 127_999, 1) == Decimal("0.127999")
    assert cost("grok", 128_000, 1) == Decimal("0.256")


def test_ranges_hold_up_to_their_end() -> None:
    """Alibaba's ranges include their end, in whatever order they are listed."""
    assert cost("ranged", 256_000, 1) == Decimal("0.256004")
    assert cost("ranged", 256_001, 1) == Decimal("0.512010")


def test_reasoning_may_have_its_own_rate() -> None:
    """Reasoning is taken out of the output where it is priced apart, and stays in where it is not."""
    assert cost("think", 0, 100, None, None, 40) == Decimal("0.00032")
    assert cost("steady", 0, 100, None, None, 40) == Decimal("0.0002")


def test_a_free_model_costs_nothing_and_an_unknown_one_nothing_known() -> None:
    """Listed zeros are a price; no listing is None."""
    assert cost("gem", 1000, 1000) == 0
    assert price_for("no-such-model") is None
    assert price_for("picture") is None
    assert price_for("sample_spec") is None


@pytest.mark.parametrize("usage", [Usage(), Usage(5), Usage(None, 5)])
def test_unknown_tokens_have_no_cost(usage: Usage) -> None:
    """Without input and output there is no cost, not a cost of 0."""
    assert cost_of(usage, Price.per_million(1, 1)) is None


def test_a_rate_that_is_needed_and_unknown_makes_the_cost_unknown() -> None:
    """A missing output rate matters only if there was output."""
    half = Price(Rates(Decimal("0.001"), None))

    assert cost_of(Usage(10, 1), half) is None
    assert cost_of(Usage(10, 0), half) == Decimal("0.010")


TOKENS = st.integers(0, 10**6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TOKENS, min_size=5, max_size=5))
def test_a_cost_is_never_negative(numbers: list[int]) -> None:
    """Even a report whose parts exceed the whole costs 0 or more."""
    price = Price.per_million("2.5", 10, "1.25", "3.75", 20)
    total = cost_of(Usage(*numbers), price)

    assert total is not None
    assert total >= 0


@pytest.mark.parametrize(
    ("model", "provider", "rate"),
    [
        ("m", None, "2.5e-06"),
        ("m", "openai", "2.5e-06"),
        ("openai/m", None, "2.5e-06"),
        ("openai/m", "openai", "2.5e-06"),
        ("m", "azure", "3e-06"),
        ("azure/m", None, "3e-06"),
        ("azure/m", "azure", "3e-06"),
        ("m", "groq", None),
        ("groq/m", None, None),
        ("azure/m", "openai", None),
        ("gem", "vertex_ai", "0"),
        ("vertex_ai/gem", None, "0"),
        ("gem", "vertex", None),
        ("m-2026-01-01", None, "1e-06"),
        ("m-2027-01-01", None, None),  # Dates of this model differ in price.
        ("steady-2027-01-01", None, "1e-06"),
        ("steady-20270101", "openai", "1e-06"),
        ("steady-mini", None, None),
        ("ft:m-2026-01-01:acme::x", None, "7e-06"),
        ("ft:steady:acme::x", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_price_is_never_another_models(model: str | None, provider: str | None, rate: str | None) -> None:
    """Prefix, provider, fine-tune and date are understood; a doubt is None."""
    price = price_for(model, provider)

    assert (price and price.rates.input) == (None if rate is None else Decimal(rate))


def test_limits_come_from_the_table() -> None:
    """Window, reply limit and schema support are the listed ones, else None."""
    assert (context_window("openai/m"), max_output_tokens("m"), supports_response_schema("m")) == (
        272000,
        128000,
        True,
    )
    assert (context_window("steady"), max_output_tokens("steady"), supports_response_schema("steady")) == (
        None,
    ) * 3
    assert (context_window(None), max_output_tokens("x"), supports_response_schema("x")) == (None,) * 3


def test_your_price_comes_first_and_changes_the_tables_id() -> None:
    """An override holds until it is taken back, and is visible in the id that costs are stored with."""
    before = price_table_id()
    mine = Price.per_million("1.5", 6)
    set_price("m", mine)
    set_price("azure/deployment", mine)

    assert price_for("m") is mine
    assert price_for("deployment", "azure") is mine
    assert price_table_id() not in (before, None)

    set_price("m", None)
    set_price("azure/deployment", None)

    assert price_for("m") != mine
    assert price_table_id() == before


@pytest.mark.parametrize("wrong", [Decimal(-1), Decimal("nan"), 0.1, 1])
def test_a_rate_is_a_decimal_of_zero_or_more(wrong: Any) -> None:
    """A rate that is negative or no Decimal is refused with its value."""
    with pytest.raises(InvalidSetting, match="Decimal of 0 or more"):
        Rates(wrong, None)


def test_amounts_per_million_are_exact() -> None:
    """Strings, integers and floats give the amount that was written."""
    assert Price.per_million(0.15, "0.60", 1).rates == Rates(
        Decimal("0.00000015"), Decimal("0.0000006"), Decimal("0.000001")
    )
    with pytest.raises(InvalidSetting, match="numbers in US dollars"):
        Price.per_million("cheap", 1)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", '{"m": 3}'])
def test_without_a_sound_table_every_price_is_unknown(content: str | None, tmp_path: Path) -> None:
    """A missing or damaged file makes prices unknown, never an error."""
    file = tmp_path / prices._FILE
    file.unlink() if content is None else file.write_text(content)

    assert price_for("m") is None
    assert context_window("m") is None
    assert price_table_id() is None


@pytest.mark.slow
@pytest.mark.skipif(
    version("litellm") == "1.83.0",
    reason="that calculator prices cache writes otherwise where the table lists no rate for them",
)
def test_costs_equal_litellms_own_calculator() -> None:
    """Over hundreds of listed models, tiers, cache reads and writes and reasoning, to a billionth.

    Left out are the providers whose figures litellm makes outside its table (Fireworks' default
    discount for cached tokens, Perplexity's own calculator) and prices that depend on the hour.
    """
    code = """
import json, random, sys
import litellm
from litellm import cost_per_token
from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper, Usage as Theirs
from summarizer.meter import Usage, cost_of, price_for
listed, rnd, checked, wrong = litellm.model_cost, random.Random(5), 0, []
names = [m for m, e in listed.items()
         if e.get("mode") in ("chat", "responses") and e.get("input_cost_per_token") is not None
         and e.get("litellm_provider") not in ("fireworks_ai", "perplexity")
         and not e.get("off_peak_pricing")]
long = [m for m in names if any("_above_" in k for k in listed[m])]
known = [m for m in ("gpt-4o", "gpt-5.4", "gemini/gemini-2.5-pro", "claude-sonnet-4-5") if m in listed]
for model in known + rnd.sample(names, 150) + rnd.sample(long, 50):
    for prompt in (1000, 128000, 200000, 200001, 272001, 600000):
        read, made, thought = rnd.choice([0, prompt // 3]), rnd.choice([0, prompt // 5]), rnd.choice([0, 100])
        theirs = Theirs(prompt_tokens=prompt, completion_tokens=500, total_tokens=prompt + 500,
            prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=read, cache_creation_tokens=made),
            completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=thought))
        by = listed[model]["litellm_provider"]
        expected = sum(cost_per_token(model=model, usage_object=theirs, custom_llm_provider=by))
        ours = cost_of(Usage.from_response(theirs), price_for(model))
        checked += 1
        if ours is None or abs(float(ours) - expected) > 1e-9 * max(1, expected):
            wrong.append((model, prompt, read, made, thought, expected, str(ours)))
print(json.dumps([checked, wrong[:5]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    checked, wrong = json.loads(done.stdout.splitlines()[-1])

    assert wrong == []
    assert checked > 1000
