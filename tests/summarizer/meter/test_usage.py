from __future__ import annotations

import json
import subprocess
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting
from summarizer.meter import Usage

NUMBER = st.none() | st.integers(0, 10**9)
USAGE = st.builds(Usage, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)

CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 150, "accepted_prediction_tokens": 0},
}
SHAPES: dict[str, tuple[dict[str, Any], Usage]] = {
    "chat": (CHAT, Usage(1000, 200, 800, None, 150)),
    "chat bare": ({"prompt_tokens": 10, "completion_tokens": 0}, Usage(10, 0)),
    "chat null details": (
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None},
        Usage(10, 5),
    ),
    "embedding": ({"prompt_tokens": 10}, Usage(10, None)),
    "xai": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        Usage(10, 105, None, None, 100),
    ),
    "deepseek": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_cache_hit_tokens": 8,
            "prompt_cache_miss_tokens": 2,
        },
        Usage(10, 5, 8),
    ),
    "litellm anthropic": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 5,
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 300,
            "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 300},
        },
        Usage(1000, 5, 600, 300),
    ),
    "responses": (
        {
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens_details": {"reasoning_tokens": 20},
        },
        Usage(100, 50, 40, None, 20),
    ),
    "anthropic": (
        {
            "input_tokens": 100,
            "output_tokens": 50,
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 300,
        },
        Usage(1000, 50, 600, 300),
    ),
    "anthropic thinking": (
        {"input_tokens": 100, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}},
        Usage(100, 50, reasoning_tokens=20),
    ),
    "anthropic uncached": ({"input_tokens": 100, "output_tokens": 50}, Usage(100, 50)),
    "anthropic nulls": (
        {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": None},
        Usage(100, 50),
    ),
    "bedrock": (
        {"inputTokens": 10, "outputTokens": 5, "totalTokens": 35, "cacheReadInputTokens": 20},
        Usage(30, 5, 20),
    ),
    "gemini": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "cachedContentTokenCount": 60,
            "toolUsePromptTokenCount": 7,
            "totalTokenCount": 157,
        },
        Usage(107, 50, 60, None, 30),
    ),
    "gemini sdk": (
        {"prompt_token_count": 9, "candidates_token_count": 3, "total_token_count": 12},
        Usage(9, 3),
    ),
    "gemini blocked": ({"promptTokenCount": 9, "totalTokenCount": 9}, Usage(9, 0)),
    "ours": ({"input_tokens": 9, "output_tokens": 3, "cache_read_tokens": 2}, Usage(9, 3, 2)),
}


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return types.SimpleNamespace(**{key: as_object(inner) for key, inner in value.items()})
    return value


@pytest.mark.parametrize("shape", SHAPES)
def test_every_providers_usage_is_read_into_one_shape(shape: str) -> None:
    """As a mapping or an object, alone or inside its response, a usage is the same usage."""
    raw, expected = SHAPES[shape]
    key = "usageMetadata" if "promptTokenCount" in raw else "usage"

    for form in (raw, as_object(raw), {key: raw, "id": "x"}, as_object({key: raw})):
        assert Usage.from_response(form) == expected


@pytest.mark.slow
def test_a_litellm_response_is_read_without_knowing_its_class() -> None:
    """The objects of litellm, cached tokens included, are read by their attributes."""
    code = """
import json
from litellm.types.utils import Choices, ModelResponse, Usage as Theirs
from summarizer.meter import Usage
usage = Theirs(prompt_tokens=1000, completion_tokens=50, total_tokens=1050, cache_read_input_tokens=600,
               cache_creation_input_tokens=300, completion_tokens_details={"reasoning_tokens": 20})
response = ModelResponse(choices=[Choices()], model="m")
response.usage = usage
print(json.dumps([Usage.from_response(x).to_dict() for x in (usage, response, response.model_dump())]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = Usage(1000, 50, 600, 300, 20).to_dict()

    assert json.loads(done.stdout.splitlines()[-1]) == [expected] * 3


@pytest.mark.parametrize(
    "empty", [None, {}, "text", b"", 7, {"usage": None}, {"choices": []}, object(), [], {"usage": {}}]
)
def test_no_usage_is_none(empty: object) -> None:
    """A response that reports nothing is unknown, never zero."""
    assert Usage.from_response(empty) is None


@pytest.mark.parametrize("wrong", [-1, 1.5, 2.0, "12", True, [1], float("nan")])
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens"])
def test_a_number_that_is_no_count_is_refused(field: str, wrong: object) -> None:
    """Negative, fractional, textual and boolean counts raise, and the error shows field and value."""
    with pytest.raises(InvalidSetting, match=rf"{field}=.*integer of 0 or more") as caught:
        Usage.from_response({**CHAT, field: wrong})

    assert isinstance(caught.value, ValueError)
    with pytest.raises(InvalidSetting):
        Usage(wrong)  # type: ignore[arg-type]


def test_a_usage_inside_a_usage_is_not_searched_forever() -> None:
    """An object whose `usage` is itself, as test doubles have, ends."""
    loop = types.SimpleNamespace()
    loop.usage = loop

    assert Usage.from_response(loop) is None


def test_a_usage_passes_through() -> None:
    """What is a Usage already stays the same object."""
    usage = Usage(1, 2)

    assert Usage.from_response(usage) is usage
    assert Usage.from_response({"usage": usage}) is usage


@given(USAGE)
def test_a_usage_survives_json(usage: Usage) -> None:
    """Stored and read again, a usage is the same; unknown buckets are not stored."""
    stored = json.loads(json.dumps(usage.to_dict()))

    assert Usage.from_dict(stored) == usage
    assert None not in stored.values()


@given(USAGE, USAGE, USAGE)
def test_unknown_stays_unknown_in_a_sum(a: Usage, b: Usage, c: Usage) -> None:
    """Addition is associative and commutative, has a neutral element, and never turns None into 0."""
    total = a + b

    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Usage.NOTHING == a
    for name, x, y in ((n, getattr(a, n), getattr(b, n)) for n in ("input_tokens", "cache_read_tokens")):
        assert getattr(total, name) == (None if None in (x, y) else x + y)
