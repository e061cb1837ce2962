"""Marks on their way through litellm's own adapters, offline: kept, in place, and nothing else changed."""

import asyncio
import copy
import json

import pytest

from summarizer.context.breakpoints import breakpoints, with_breakpoints
from summarizer.summary.llm import load_litellm
from tests.summarizer.histories import PIXEL, answering, assistant, calling, user

PICTURE = {"type": "image_url", "image_url": {"url": PIXEL}}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}
TALK = [
    {"role": "system", "content": "You answer questions about the weather."},
    user("Notes on the earlier part: the user lives in Oslo."),
    user("Is it cold?"),
    assistant("Quite.  "),
    user("And in Rome?"),
    calling("x", "y", text="Let me see."),
    answering("x"),
    answering("y"),
    assistant("No. "),
    {"role": "user", "content": [{"type": "text", "text": "Here too?"}, PICTURE]},
]
LENGTHS = (3, 5, 8, 9, 10)
"""Requests that end with a question, with results, with an answer, with a picture."""

# What litellm 1.106 makes pydantic say at a call; nothing of ours could silence it at its source.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class 'ChatCompletion.*' is using:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_.*' attribute on the instance:DeprecationWarning"
    ),
]


@pytest.fixture(autouse=True, scope="module")
def _litellm_loaded():
    """Litellm takes seconds to import; no timeout of a test may have to cover them."""
    asyncio.run(load_litellm())


def to_anthropic(messages):
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    body = AnthropicConfig().transform_request(
        model="claude-sonnet-4-5",
        messages=copy.deepcopy(messages),
        optional_params={"max_tokens": 5},
        litellm_params={},
        headers={},
    )
    return [*body["system"], *(block for message in body["messages"] for block in message["content"])]


def to_bedrock(messages):
    from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig

    body = AmazonConverseConfig().transform_request(
        model="anthropic.claude-sonnet-4-5-20250929-v1:0",
        messages=copy.deepcopy(messages),
        optional_params={"maxTokens": 5, "tools": [TOOL]},
        litellm_params={},
        headers={},
    )
    return [*body["system"], *(block for message in body["messages"] for block in message["content"])]


@pytest.mark.parametrize("length", LENGTHS)
def test_anthropic_gets_each_mark_on_the_block_it_ends(length):
    """As many marks arrive as were set; without them the blocks are those of the unmarked request."""
    messages = TALK[:length]
    at = breakpoints(messages, (0, 1))

    blocks = to_anthropic(with_breakpoints(messages, at, "1h"))
    marks = [block.pop("cache_control") for block in blocks if "cache_control" in block]

    assert marks == [{"type": "ephemeral", "ttl": "1h"}] * len(at)
    assert "cache_control" not in json.dumps(blocks)
    assert blocks == to_anthropic(messages)


@pytest.mark.parametrize("length", LENGTHS)
def test_bedrock_gets_a_cache_point_for_each_mark(length):
    """As many points arrive as were set; without them the blocks are those of the unmarked request."""
    messages = TALK[:length]
    at = breakpoints(messages, (0, 1))

    blocks = to_bedrock(with_breakpoints(messages, at))
    points = [block for block in blocks if "cachePoint" in block]

    assert len(points) == len(at)
    assert [block for block in blocks if "cachePoint" not in block] == to_bedrock(messages)


def test_a_mark_within_a_results_content_would_stand_where_anthropic_refuses_it():
    """Why a result bears its mark on the message: litellm copies parts of results as they are."""
    part = {"type": "text", "text": "12 degrees", "cache_control": {"type": "ephemeral"}}
    talk = [user(), calling("x"), {**answering("x"), "content": [part]}]

    result = to_anthropic([TALK[0], *talk])[-1]

    assert "cache_control" not in result
    assert result["content"] == [part]
