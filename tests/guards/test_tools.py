"""What a tool is: flags from wherever they come, and the careful answer where nobody said."""

from dataclasses import make_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.tools import ToolSpec

HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def test_a_tool_of_which_nothing_is_known_is_treated_with_care() -> None:
    """It may write, is not replayed and not tried again; and it has no flags."""
    spec = ToolSpec("t")

    assert (spec.writes, spec.may_replay, spec.may_retry) == (True, False, False)
    assert spec.flags() == {}


@pytest.mark.parametrize("flag", ["read_only", "idempotent"])
def test_a_tool_that_can_be_called_twice_may_be_replayed_and_retried(flag: str) -> None:
    """Unless its own `replay` or `retryable` says otherwise."""
    spec = ToolSpec("t").with_flags(**{flag: True})
    strict = spec.with_flags(replay=False, retryable=False)

    assert (spec.may_replay, spec.may_retry) == (True, True)
    assert (strict.may_replay, strict.may_retry) == (False, False)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HINTS, st.booleans())))
def test_hints_of_a_stranger_only_add_care(hints: dict[str, bool]) -> None:
    """Whatever an untrusted server says, its tool writes, is not replayed, and keeps every warning."""
    spec = ToolSpec.from_mcp("t", hints)

    assert (spec.writes, spec.may_replay, spec.may_retry) == (True, False, False)
    assert spec.destructive is (True if hints.get("destructiveHint") else None)
    assert spec.open_world is (True if hints.get("openWorldHint") else None)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HINTS, st.booleans())))
def test_hints_of_a_trusted_server_are_believed(hints: dict[str, bool]) -> None:
    """As they stand, except that what only reads destroys nothing; what was not said stays unknown."""
    spec = ToolSpec.from_mcp("t", hints, trusted=True)
    said = [hints.get(name) for name in HINTS]

    assert said[0] is spec.read_only
    assert (False if said[0] else said[1]) is spec.destructive
    assert said[2:] == [spec.idempotent, spec.open_world]


def test_hints_come_as_mapping_or_object_in_either_spelling_and_only_as_booleans() -> None:
    """`"true"` and `1` are no statement."""
    annotations = make_dataclass("Annotations", HINTS)(True, None, None, False)
    snake = {"read_only_hint": True, "open_world_hint": False}

    assert (ToolSpec.from_mcp("t", annotations, trusted=True).flags()) == {
        "read_only": True,
        "destructive": False,
        "open_world": False,
    }
    assert ToolSpec.from_mcp("t", annotations, trusted=True) == ToolSpec.from_mcp("t", snake, trusted=True)
    assert ToolSpec.from_mcp("t", {"readOnlyHint": "true", "idempotentHint": 1}, trusted=True).flags() == {}
    assert ToolSpec.from_mcp("t", None, trusted=True).flags() == {}


SCHEMA = {"type": "object", "properties": {}, "x-read-only": True, "x-requires-confirmation": "yes"}


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "t", "parameters": SCHEMA}},
        {"type": "function", "name": "t", "parameters": SCHEMA},
    ],
)
def test_a_tool_definition_brings_its_name_its_schema_and_its_flags(tool: dict[str, Any]) -> None:
    """Nested or flat; a flag that is no boolean says nothing."""
    spec = ToolSpec.from_schema(tool)

    assert (spec.name, spec.parameters, spec.flags()) == ("t", SCHEMA, {"read_only": True})


def test_a_definition_without_parameters_or_name() -> None:
    """The first is a tool without a known schema, the second no tool."""
    assert ToolSpec("t") == ToolSpec.from_schema({"name": "t"})
    with pytest.raises(ValueError, match="name=''"):
        ToolSpec.from_schema({"type": "function", "function": {}})


def test_a_function_brings_its_parameters_with_json_defaults() -> None:
    """Whatever has a default is optional; `*args` and `**kwargs` are no parameters."""

    def look(path: str, *rest: str, limit: int = 3, tags: tuple[str, ...] = ("a",), **more: str) -> None: ...

    spec = ToolSpec.from_function(look, read_only=True)

    assert (spec.name, spec.read_only) == ("look", True)
    assert spec.parameters == {
        "type": "object",
        "properties": {"path": {}, "limit": {"default": 3}, "tags": {"default": ["a"]}},
        "required": ["path"],
    }


def test_a_callable_without_a_signature_still_is_a_tool() -> None:
    """A class instance goes by its class, a builtin by its name."""

    class Finder:
        def __call__(self, q: str) -> None: ...

    assert ToolSpec.from_function(Finder()).name == "Finder"
    assert (
        ToolSpec.from_function(iter).name,
        (ToolSpec.from_function(iter).parameters or {})["required"],
    ) == ("iter", [])


@pytest.mark.parametrize(
    ("scope", "arguments", "expected"),
    [
        (None, {"id": 1}, None),
        ("orders", {}, "orders"),
        ("order:{id}", {"id": "A7"}, "order:A7"),
        ("order:{id}", {"id": 7}, "order:7"),
        ("order:{id}", {"id": 7.0}, "order:7"),
        ("order:{id}", {"id": {"b": 1, "a": 2}}, 'order:{"a":2,"b":1}'),
        ("order:{id}", {"id": "{x}"}, "order:{x}"),
        ("order:{id}", {}, None),
        ("order:{id[x]}", {"id": "A7"}, None),
        ("order:{", {"id": "A7"}, None),
    ],
)
def test_a_scope_is_named_by_the_arguments(
    scope: str | None, arguments: dict[str, Any], expected: str | None
) -> None:
    """What cannot be named is anything, the careful answer."""
    assert expected == ToolSpec("t", scope=scope).scope_of(arguments)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"name": ""}, "name=''"),
        ({"read_only": True, "destructive": True}, "read_only and destructive"),
        ({"loop_patience": 0}, "loop_patience=0"),
        ({"ttl_s": -1}, "ttl_s=-1 of tool 't'"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"offload_tokens": -1}, "offload_tokens=-1"),
    ],
)
def test_what_is_no_tool_is_refused_when_it_is_made(bad: dict[str, Any], said: str) -> None:
    """The error names the field, its value and the tool."""
    with pytest.raises(ValueError, match=said):
        ToolSpec(**{"name": "t", **bad})
