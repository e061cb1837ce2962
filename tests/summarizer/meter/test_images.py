from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.meter import image_tokens
from summarizer.meter.images import page_tokens

MEASURED = [
    # (model, size, detail, tokens). Data set JOHNISKING/image-token-cost (2026-10), the client's own frame
    # taken off: 77 tokens on Claude 5.5, 65 on Claude 4.5, none on GPT.
    ("gpt-6-astra", (256, 256), "auto", 77),
    ("gpt-6-astra", (1024, 1024), "auto", 1229),
    ("gpt-6-astra", (1280, 720), "high", 1104),
    ("gpt-6-astra", (2560, 1440), "auto", 4320),
    ("gpt-6-astra", (2560, 1440), "high", 2931),
    ("gpt-6-astra", (3840, 2160), "high", 2931),
    ("gpt-6-astra", (4032, 3024), "auto", 14364),
    ("gpt-6-astra", (4032, 3024), "high", 2942),
    ("gpt-5.5", (4032, 3024), "auto", 11868),
    ("gpt-5.5", (1080, 1920), "auto", 2448),
    ("claude-opus-5-5", (256, 256), None, 177 - 77),
    ("claude-opus-5-5", (1024, 1024), None, 1446 - 77),
    ("claude-opus-5-5", (1920, 1080), None, 2768 - 77),
    ("claude-haiku-4-5", (1280, 720), None, 1261 - 65),
    ("claude-haiku-4-5", (1920, 1080), None, 1625 - 65),
    ("claude-haiku-4-5", (1080, 1920), None, 1625 - 65),
    # community.openai.com, topics 1281361 and 1262691 (2025), the text's 8 and 12 tokens taken off.
    ("gpt-4.1", (2049, 513), "high", 1453 - 8),
    ("gpt-4.1", (2050, 513), "high", 773 - 8),
    ("gpt-4o", (128, 64), "high", 267 - 12),
    ("gpt-4o", (128, 64), "low", 97 - 12),
    ("gpt-4o-mini", (128, 64), "high", 8512 - 12),
    ("gpt-4o-mini", (128, 64), "low", 2845 - 12),
]
PUBLISHED = [
    # The providers' own examples, read 2026-11.
    ("gpt-4o", (1024, 1024), "high", 765),
    ("gpt-4o", (2048, 4096), "high", 1105),
    ("gpt-4o", (4096, 8192), "low", 85),
    ("gpt-4.1-mini", (1800, 2400), None, 2353),  # 1,452 patches * 1.62
    ("claude-sonnet-4-6", (1000, 1000), None, 1296),
    ("claude-opus-4-8", (2560, 1440), None, 4784),
    ("claude-opus-4-8", (8000, 8000), None, 4761),  # 69 by 69 patches; 70 by 70 would exceed 4,784.
    ("gemini-2.5-pro", (384, 384), None, 258),
    ("gemini-2.5-flash", (960, 540), None, 6 * 258),
    ("gemini-3.1-pro-preview", (4032, 3024), "low", 280),
    ("gemini-3.1-pro-preview", (4032, 3024), "high", 1120),
]


@pytest.mark.parametrize(("model", "size", "detail", "tokens"), MEASURED + PUBLISHED)
def test_an_image_costs_what_its_provider_charges(
    model: str, size: tuple[int, int], detail: str | None, tokens: int
) -> None:
    """Each family's formula gives the figures that were billed or published."""
    assert image_tokens(model, size, detail) == tokens


MODELS = [
    "gpt-4o", "gpt-4o-mini", "gpt-4.1-nano", "o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.2",
    "gpt-5.4", "gpt-6-sol", "claude-3-5-sonnet-20241022", "claude-opus-4-8", "gemini-3-flash-preview",
    "grok-4", None,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.sampled_from(["auto", "high", "low", "", "odd"])
)
def test_an_unknown_size_costs_the_familys_most(
    model: str | None, size: tuple[int, int], detail: str
) -> None:
    """No image of a known size costs more than one of unknown size at the same level, and none is free."""
    known = image_tokens(model, size, detail)

    assert 0 < known <= image_tokens(model, None, detail)


def test_an_image_of_unknown_size_is_not_85_tokens() -> None:
    """Only `detail: low` is cheap; without it the upper bound holds."""
    assert image_tokens("gpt-4o", None) == 85 + 8 * 170
    assert image_tokens("gpt-4o", None, "low") == 85
    assert image_tokens(None, None) == 1568


@pytest.mark.parametrize("size", [(1, 1), (1, 99_999), (10**7, 1), (3, 10**6)])
@pytest.mark.parametrize("model", MODELS)
def test_extreme_shapes_have_a_price(model: str | None, size: tuple[int, int]) -> None:
    """A hair-thin image is priced, not divided by zero."""
    assert image_tokens(model, size) > 0


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("azure/gpt-4o-mini", "gpt-4o-mini"),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "gpt-4o-mini"),
        ("bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-0"),
        ("vertex_ai/claude-opus-4-8@20260101", "claude-opus-4-8"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-flash"),
    ],
)
def test_a_models_name_may_carry_host_and_date(name: str, like: str) -> None:
    """The family is found behind provider, region and date."""
    for size in (None, (640, 480), (3000, 2000)):
        assert image_tokens(name, size) == image_tokens(like, size)


def test_a_page_costs_picture_and_text() -> None:
    """Pages have the published figure where there is one, and a picture plus text elsewhere."""
    assert page_tokens("claude-sonnet-4-6") == 3000
    assert page_tokens("gemini-2.5-pro") == 258
    assert page_tokens("gemini-3-flash-preview") == 560
    assert page_tokens("gpt-4o") == 765 + 1000
    assert page_tokens(None) > 1000
