"""How providers cache prompts, as far as it is written down."""

import pytest

from summarizer.economy import cache_rule, tariff_of
from summarizer.meter import Price, set_price


@pytest.mark.parametrize(
    ("model", "provider", "lifetime_s", "minimum", "automatic"),
    [
        ("claude-sonnet-4-5", None, 300, 1024, False),
        ("anthropic/claude-haiku-4-5", None, 300, 4096, False),
        ("openrouter/anthropic/claude-opus-4.5", None, 300, 4096, False),
        ("vertex_ai/claude-sonnet-4-5", None, 300, 1024, False),
        ("azure_ai/claude-sonnet-4-5", None, 300, 1024, False),
        ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", None, 300, 1024, False),
        ("gpt-4o", None, 300, 1024, True),
        ("my-deployment", "azure", 300, 1024, True),
        ("gemini/gemini-2.5-pro", None, 300, 2048, True),
        ("vertex_ai/gemini-3.5-flash", None, 300, 4096, True),
        ("deepseek/deepseek-chat", None, 3600, 1024, True),
        ("nobody/knows-it", None, 300, 1024, True),
        (None, None, 300, 1024, True),
    ],
)
def test_each_provider_has_its_rule(model, provider, lifetime_s, minimum, automatic):
    """A model is known by who serves it, else by its family; the rest gets a cautious rule that says so."""
    rule = cache_rule(model, provider)

    assert (rule.lifetime_s, rule.minimum_tokens, rule.automatic) == (lifetime_s, minimum, automatic)
    assert ("no rule known" in rule.source) == (model in ("nobody/knows-it", None))


def test_a_write_price_of_nothing_is_the_input_price():
    """The table's 0 for providers that charge nothing extra does not make writing free."""
    set_price("stored-on-disk", Price.per_million("0.28", "0.42", "0.028", 0))
    try:
        tariff = tariff_of("stored-on-disk")
    finally:
        set_price("stored-on-disk", None)

    assert (tariff.input, tariff.write, tariff.read) == (280_000, 280_000, 28_000)
    assert tariff.uncached.read == 280_000


def test_an_unknown_model_has_ratios_and_no_prices():
    """What is assumed says so."""
    assert not tariff_of("nobody/knows-it").known
    assert not tariff_of(None).known
