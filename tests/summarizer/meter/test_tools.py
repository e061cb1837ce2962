from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.meter import count_tokens, counter_named, tool_tokens

COUNTER = counter_named("o200k_base")
WEATHER: dict[str, Any] = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
QUESTION = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.mark.parametrize(("model", "api"), [("gpt-4", 105), ("gpt-4o", 101)])
def test_the_cookbooks_tools_count_as_the_api_counted_them(model: str, api: int) -> None:
    """OpenAI's published example comes to the API's own figures."""
    assert count_tokens(QUESTION, model=model, tools=[{"type": "function", "function": WEATHER}]) == api


def test_every_dialect_of_a_function_weighs_the_same() -> None:
    """Chat Completions, Responses, Anthropic and Gemini shapes of one function are one function."""
    schema = WEATHER["parameters"]
    anthropic = {"name": WEATHER["name"], "description": WEATHER["description"], "input_schema": schema}
    shapes: list[dict[str, Any]] = [
        {"type": "function", "function": WEATHER},
        {"type": "function", **WEATHER},
        anthropic,
        {"function_declarations": [WEATHER]},
        {"functionDeclarations": [WEATHER]},
    ]

    assert len({tool_tokens([shape], COUNTER) for shape in shapes}) == 1


def rendered(schema: dict[str, Any]) -> str:
    """The declaration as the model sees it."""
    from summarizer.meter.tools import _declaration

    return str(_declaration({"name": "f", "description": "Do.", "parameters": schema}))


def test_nested_schemas_are_rendered_as_declarations() -> None:
    """Objects, arrays, unions, enums and optional fields take the form that OpenAI shows its models."""
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["to"],
        "properties": {
            "to": {"type": "array", "items": {"type": "string"}, "description": "Who\ngets it"},
            "when": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"enum": ["a", 1]}},
            "size": {"type": ["number", "null"]},
            "body": {"type": "object", "properties": {"html": {"type": "boolean", "description": "Or text"}}},
            "rest": {"type": "object"},
            "any": {},
            "list": {"type": "array"},
        },
    }

    assert rendered(schema).splitlines() == [
        "// Do.",
        "type f = (_: {",
        "// Who",
        "// gets it",
        "to: string[],",
        "when?: number | null,",
        'tags?: ("a" | 1)[],',
        "size?: number | null,",
        "body?: {",
        "  // Or text",
        "  html?: boolean,",
        "},",
        "rest?: object,",
        "any?: any,",
        "list?: any[],",
        "}) => any;",
    ]


@pytest.mark.parametrize("schema", [{}, {"type": "object", "properties": {}}, None, {"type": "string"}])
def test_a_function_without_fields_takes_none(schema: Any) -> None:
    """No properties: the declaration has no argument."""
    assert rendered(schema) == "// Do.\ntype f = () => any;"


@pytest.mark.parametrize(
    "field",
    [
        {"$ref": "#/$defs/X"},
        {"allOf": [{"type": "string"}]},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "no-such-type"},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"x": {"not": {}}}},
        "not a schema",
    ],
)
def test_what_has_no_known_rendering_counts_as_compact_json(field: Any) -> None:
    """A schema beyond the declarations is counted as the JSON that is sent."""
    function = {
        "name": "f",
        "description": "Do.",
        "parameters": {"type": "object", "properties": {"x": field}},
    }
    expected = COUNTER.count(json.dumps(function, separators=(",", ":")))

    assert tool_tokens([{"type": "function", "function": function}], COUNTER) == expected


def test_a_providers_own_tool_counts_as_json() -> None:
    """A built-in tool is no function of ours; its entry is counted as it is sent."""
    assert tool_tokens([{"type": "web_search"}], COUNTER) == COUNTER.count('{"type":"web_search"}')
    assert tool_tokens([], COUNTER) == 0


def test_a_schema_nested_beyond_reason_is_counted() -> None:
    """A hundred levels of nesting fall back to JSON instead of to a crash."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"x": schema}}

    assert tool_tokens([{"name": "f", "description": "d", "parameters": schema}], COUNTER) > 300


SCHEMA = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "array", "object", "null", "odd"])}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", "array"])},
        optional={
            "properties": st.dictionaries(st.text(max_size=5), inner, max_size=3),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "required": st.lists(st.text(max_size=5), max_size=2) | st.booleans(),
            "enum": st.lists(st.integers() | st.text(max_size=3), max_size=2) | st.none() | st.integers(),
            "oneOf": st.none() | st.integers(),
            "description": st.text(max_size=20) | st.none(),
        },
    ),
    max_leaves=12,
)


@given(SCHEMA)
@settings(max_examples=150, deadline=None)
def test_any_schema_has_a_weight(schema: dict[str, Any]) -> None:
    """No JSON schema makes counting fail, and a tool is never free."""
    assert tool_tokens([{"name": "f", "description": "d", "parameters": schema}], COUNTER) > 0
