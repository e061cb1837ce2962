from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.errors import InvalidMessage
from summarizer.meter import count_tokens, counter_named, message_tokens, request_tokens

COUNTER = counter_named("o200k_base")
COOKBOOK = [
    {
        "role": "system",
        "content": (
            "You are a helpful, pattern-following assistant that translates corporate jargon"
            " into plain English."
        ),
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": (
            "Let's circle back when we have more bandwidth to touch base on opportunities"
            " for increased leverage."
        ),
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]


@pytest.mark.parametrize(("model", "api"), [("gpt-4", 129), ("gpt-4-0613", 129), ("gpt-4o", 124)])
def test_the_cookbooks_messages_count_as_the_api_counted_them(model: str, api: int) -> None:
    """OpenAI's published example comes to the API's own figures."""
    assert count_tokens(COOKBOOK, model=model) == api


def test_a_bare_text_has_no_frame() -> None:
    """A string counts its text alone; the same text as a message has frame and priming."""
    assert count_tokens("hello world", model="gpt-4o") == 2
    assert count_tokens({"role": "user", "content": "hello world"}, model="gpt-4o") == 2 + 1 + 3 + 3
    assert count_tokens("", model="gpt-4o") == 0
    assert count_tokens([], model="gpt-4o") == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PART = st.dictionaries(
    st.sampled_from(["type", "text", "image_url", "source", "file", "data", "input_audio", "content", "x"]),
    st.sampled_from(["text", "image_url", "file", "tool_result", "document", "data:image/png;base64,QUJD"])
    | JSON,
    max_size=4,
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "tool", "system"]),
        "content": JSON | st.lists(PART, max_size=3),
    },
    optional={
        "name": JSON,
        "tool_calls": JSON,
        "function_call": JSON,
        "thinking_blocks": JSON,
        "refusal": JSON,
    },
)


@given(st.lists(MESSAGE, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_request_is_its_messages_and_three(messages: list[dict[str, Any]]) -> None:
    """Counts add up over messages, whatever is in them, and no content makes counting fail."""
    each = [message_tokens(message, COUNTER) for message in messages]

    assert request_tokens(messages, COUNTER) == sum(each) + 3
    assert all(tokens >= 3 for tokens in each)


def test_a_tool_call_counts_its_name_and_arguments_and_not_its_id() -> None:
    """What the model is shown of a call is counted; ids are not shown to it."""
    call = {
        "id": "call_" + "x" * 500,
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": 1}'},
    }
    bare = {"role": "assistant", "content": None}
    expected = 3 + COUNTER.count("get_weather") + COUNTER.count('{"city": 1}')

    assert message_tokens({**bare, "tool_calls": [call]}, COUNTER) - message_tokens(bare, COUNTER) == expected
    assert (
        message_tokens({**bare, "tool_calls": [call, call]}, COUNTER) - message_tokens(bare, COUNTER)
        == 2 * expected
    )
    assert (
        message_tokens({**bare, "function_call": call["function"]}, COUNTER)
        == message_tokens(bare, COUNTER) + expected
    )


def test_every_dialect_of_a_call_is_counted() -> None:
    """Anthropic's block, a custom tool and parsed arguments weigh like the Chat Completions call."""
    text = json.dumps({"city": "Paris"}, separators=(",", ":"))
    shapes: list[dict[str, Any]] = [
        {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"city": "Paris"}}}]},
        {"content": None, "tool_calls": [{"type": "custom", "custom": {"name": "f", "input": text}}]},
        {"content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris"}}]},
    ]
    counts = {message_tokens({"role": "assistant", **shape}, COUNTER) for shape in shapes}

    assert counts == {3 + 1 + 3 + 1 + COUNTER.count(text)}


def test_arguments_are_counted_whatever_their_keys() -> None:
    """A call's argument named like a blob is text that the model wrote."""
    arguments = {"data": "x" * 4000, "file_data": ["words and words"] * 100}
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    parsed = message_tokens({"role": "assistant", "content": None, "tool_calls": [call]}, COUNTER)
    call["function"] = {"name": "f", "arguments": json.dumps(arguments, separators=(",", ":"))}

    assert (
        parsed == message_tokens({"role": "assistant", "content": None, "tool_calls": [call]}, COUNTER) > 500
    )


def test_an_unknown_parts_own_words_are_counted() -> None:
    """Only opaque strings are left out of a part that we do not know."""
    part = {
        "type": "chart",
        "data": {"rows": ["north grew by ten percent"] * 100},
        "cache_control": {"type": "x"},
    }

    assert message_tokens({"role": "user", "content": [part]}, COUNTER) > 500


def test_text_parts_of_every_dialect_count_alike() -> None:
    """text, input_text, output_text and a refusal weigh their text; a nested result weighs its content."""
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "hello world"},
        {"type": "input_text", "text": "hello world"},
        {"type": "refusal", "refusal": "hello world"},
        {"type": "thinking", "thinking": "hello world", "signature": "x" * 9000},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "hello world"}]},
        {"type": "tool_result", "tool_use_id": "t1", "content": "hello world"},
    ]

    assert {message_tokens({"role": "user", "content": [part]}, COUNTER) for part in parts} == {3 + 1 + 2}


def test_reasoning_that_is_sent_back_counts_once() -> None:
    """Reasoning arrives twice from litellm, as text and as blocks; only one of them is sent."""
    message = {
        "role": "assistant",
        "content": "yes",
        "reasoning_content": "hello world",
        "thinking_blocks": [{"type": "thinking", "thinking": "hello world", "signature": "abc"}],
    }

    assert message_tokens(message, COUNTER) == 3 + 1 + 1 + 2


def test_base64_is_never_counted_by_its_length() -> None:
    """Ten megabytes of opaque data in any part weigh less than a page of text would."""
    blob = base64.b64encode(random.Random(2).randbytes(300_000)).decode()
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + blob}},
        {"type": "brand_new", "payload": {"data": blob}},
        {"type": "brand_new", "url": "data:application/x;base64," + blob},
        {"type": "redacted_thinking", "data": blob},
    ]

    assert all(message_tokens({"role": "user", "content": [part]}, COUNTER) < 2000 for part in parts)


@pytest.mark.parametrize("wrong", [5, ["text"], [None], [("role", "user")]])
def test_what_is_no_message_is_refused_by_name(wrong: Any) -> None:
    """Anything but mappings is an error that says what came and what to send."""
    with pytest.raises(InvalidMessage, match="got '"):
        count_tokens(wrong)


def test_tools_are_part_of_a_request() -> None:
    """The schemas' tokens are added once, to messages or to a bare text."""
    tools = [{"type": "function", "function": {"name": "now", "description": "The time", "parameters": {}}}]

    assert count_tokens("hi", tools=tools) > count_tokens("hi")
    assert count_tokens(COOKBOOK, tools=tools) > count_tokens(COOKBOOK)
    assert count_tokens(COOKBOOK, tools=[]) == count_tokens(COOKBOOK)
