"""Messages, in and out."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from summarizer.errors import InvalidMessage
from summarizer.messages import Message, ToolCall, content_text, dump_json, jsonable, result_text
from tests.summarizer.histories import answering, calling, histories

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
extras = st.dictionaries(words.map(lambda word: f"x_{word}"), json_values, max_size=2)
parts = st.builds(lambda text, more: {"type": "text", "text": text} | more, texts, extras)
calls = st.builds(
    lambda key, name, text, custom, more: (
        {"id": key, "type": "custom", "custom": {"name": name, "input": text}} | more
        if custom
        else {"id": key, "type": "function", "function": {"name": name, "arguments": text}} | more
    ),
    words,
    words,
    texts,
    st.booleans(),
    extras,
)
wires = st.one_of(
    st.builds(
        lambda role, content, more: {"role": role, "content": content} | more,
        st.sampled_from(["system", "developer", "user", "assistant"]),
        st.none() | texts | st.lists(parts, min_size=1, max_size=3),
        extras,
    ),
    st.builds(
        lambda made, more: {"role": "assistant", "content": None, "tool_calls": made} | more,
        st.lists(calls, min_size=1, max_size=3),
        extras,
    ),
    st.builds(lambda key, text: {"role": "tool", "tool_call_id": key, "content": text}, words, texts),
    st.builds(lambda name, text: {"role": "function", "name": name, "content": text}, words, texts),
)


@given(wires)
def test_what_goes_out_comes_back(wire):
    """A message survives the wire, and the store, unchanged."""
    message = Message.from_wire(wire)
    stored = json.loads(json.dumps(message.to_wire()))

    assert Message.from_wire(message.to_wire()) == message
    assert Message.from_wire(stored) == message
    assert Message.from_stored(stored) == message


@given(wires)
def test_what_came_in_goes_out_key_for_key(wire):
    """Nothing is added, and nothing lost but keys without a value, which mean the same as absent ones."""
    expected = {key: value for key, value in wire.items() if value is not None or key == "content"}
    for call in expected.get("tool_calls", ()):
        for key in [key for key, value in call.items() if value is None]:
            del call[key]

    assert Message.from_wire(wire).to_wire() == expected


class Picky:
    """Fails at everything one may do with it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def model_dump(self) -> dict[str, object]:
        raise RuntimeError("no dump")


class Torn(Mapping[str, object]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> object:
        raise RuntimeError(key)

    def __iter__(self):
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 1


class Colour(Enum):
    """An enumeration of an object."""

    RED = (1, 2)


class Kind(StrEnum):
    """An enumeration of texts."""

    HOT = "hot"


@dataclass
class Point:
    """A plain value."""

    x: int
    y: object = None


class Reading(BaseModel):
    """A pydantic value."""

    at: date
    value: Decimal


objects = st.recursive(
    json_values
    | st.floats()
    | st.text(st.characters(categories=["Cs", "L"]), max_size=4)
    | st.binary(max_size=8)
    | st.decimals()
    | st.datetimes()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([Torn(), Colour.RED, Kind.HOT, Picky, object(), len])
    | st.frozensets(st.integers() | texts, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | texts | st.dates() | st.none(), inner, max_size=3)
        | st.builds(Point, st.integers(), inner)
        | st.builds(lambda value: SimpleNamespace(value=value), inner)
    ),
    max_leaves=8,
)


@given(objects)
def test_everything_becomes_json(value):
    """No value raises, and what comes out is JSON text that every store can keep."""
    text = dump_json(value)

    assert json.loads(text.encode()) == jsonable(value)
    assert result_text(value).encode().decode() == result_text(value)


@given(json_values)
def test_json_stays_as_it_is(value):
    """A JSON value is its own JSON value."""
    assert jsonable(value) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", {"$bytes": "AP8="}),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/tmp/a"), "/tmp/a"),
        (datetime(2026, 11, 21, 9, tzinfo=UTC), "2026-11-21T09:00:00+00:00"),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: "a", None: "b", date(2026, 1, 2): "c"}, {"1": "a", "null": "b", "2026-01-02": "c"}),
        ({1: "a", "1": "b"}, {"$pairs": [[1, "a"], ["1", "b"]]}),
        ([{True: {2}, "true": b"\xff"}], [{"$pairs": [[True, [2]], ["true", {"$bytes": "/w=="}]]}]),
        ({(1, 2): "a", "[1,2]": "b", "c": 3}, {"$pairs": [[[1, 2], "a"], ["[1,2]", "b"], ["c", 3]]}),
        (Colour.RED, [1, 2]),
        (Kind.HOT, "hot"),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (Reading(at=date(2026, 1, 2), value=Decimal("0.1")), {"at": "2026-01-02", "value": "0.1"}),
        ("a\udc80b", "a\ufffdb"),
        ({"\ud800": 1}, {"\ufffd": 1}),
    ],
    ids=repr,
)
def test_values_that_are_no_json_have_a_form(value, expected):
    """The forms that the documentation lists."""
    assert jsonable(value) == expected


@given(st.dictionaries(st.integers(-3, 3) | st.booleans() | st.sampled_from(["1", "-2", "true"]), st.text()))
def test_keys_that_become_the_same_text_lose_nothing(value):
    """However the keys read as text, each value of a mapping is there."""
    stored = jsonable(value)
    kept = [v for _, v in stored["$pairs"]] if "$pairs" in stored else [*stored.values()]

    assert kept == [*value.values()]
    assert len(json.loads(dump_json(value)).get("$pairs", stored)) == len(value)


def test_what_has_no_form_keeps_type_and_repr():
    """An object that even fails at its repr keeps its type; a huge integer its digits' start."""
    assert jsonable(Picky()) == {"$type": f"{__name__}.Picky", "$repr": "repr() failed"}
    assert jsonable(10**5000)["$type"] == "builtins.int"
    assert len(jsonable("x" * 9 for _ in range(1))["$repr"]) < 1000


def test_cycles_end():
    """A value inside itself is marked; the same value twice side by side is no cycle."""
    looped: dict[str, object] = {"a": 1}
    looped["self"] = looped
    shared = [1]

    assert jsonable(looped) == {"a": 1, "self": {"$cycle": True}}
    assert jsonable([shared, shared]) == [[1], [1]]


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: Point(1, v)])
def test_deep_values_end(wrap):
    """Ten thousand levels are cut, not followed into a stack overflow."""
    value: object = 1
    for _ in range(10_000):
        value = wrap(value)

    assert "nested deeper than 100 levels" in dump_json(value)


@pytest.mark.parametrize("role", ["bot", "", None, 5, ["user"], "User"])
def test_an_unknown_role_is_refused(role):
    """The error lists the roles that are known."""
    with pytest.raises(InvalidMessage, match="assistant, developer, function, system, tool, user"):
        Message.from_wire({"role": role, "content": "x"})


@pytest.mark.parametrize(
    "wire",
    [
        "text",
        None,
        {"role": "user", "content": b"bytes"},
        {"role": "user", "content": 5},
        {"role": "user", "content": {"type": "text"}},
        {"role": "user", "content": ["text"]},
        {"role": "user", "content": [{"text": "no type"}]},
        {"role": "user", "content": "x", "name": 5},
        {"role": "user", "content": "x", "tool_calls": calling("a")["tool_calls"]},
        {"role": "tool", "content": "x"},
        {"role": "tool", "content": "x", "tool_call_id": ""},
        {"role": "tool", "content": "x", "tool_call_id": 5},
        {"role": "assistant", "tool_calls": "a"},
        {"role": "assistant", "tool_calls": {"id": "a"}},
        {"role": "assistant", "tool_calls": [None]},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": None}]},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": ["function"], "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": [{"id": "", "function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": None}}]},
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(wire):
    """A shape that cannot be kept is a typed error, never another one."""
    with pytest.raises(InvalidMessage):
        Message.from_wire(wire)


@pytest.mark.parametrize(
    "wire",
    [
        {"role": "user", "content": "abc\ud800"},
        {"role": "user", "content": [{"type": "text", "text": "abc\udfff"}]},
        {"role": "user", "content": "x", "name": "abc\ud800"},
        answering("abc\ud800"),
        calling("abc\ud800"),
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "abc\ud800"}}],
        },
    ],
    ids=ascii,
)
def test_a_lone_surrogate_is_refused_with_its_place(wire):
    """Text that is no Unicode cannot be stored; the error names the position and not the text."""
    with pytest.raises(InvalidMessage, match="lone surrogate at character 3") as caught:
        Message.from_wire(wire)

    assert "abc" not in str(caught.value)


def test_a_null_byte_is_kept():
    """It is valid Unicode, and tools print it."""
    assert Message.from_wire({"role": "user", "content": "a\x00b"}).text == "a\x00b"


def test_ten_megabytes_are_read_at_once():
    """Reading a message costs about one pass over its text."""
    text = "Grüße " * 1_700_000
    start = time.perf_counter()
    message = Message.from_wire({"role": "user", "content": text})

    assert message.content is text
    assert time.perf_counter() - start < 1


def test_objects_with_a_dump_are_read():
    """Messages of pydantic, openai and litellm need no conversion."""

    class Answer(BaseModel):
        role: str = "assistant"
        content: str | None = None
        refusal: str | None = None

    assert Message.from_wire(Answer(content="Hi")) == Message("assistant", "Hi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", {}), ('{"a":1}', {"a": 1}), ("[1]", None), ("{", None), ("[" * 100_000, None), ("1" * 5000, None)],
)
def test_arguments_are_an_object_or_unknown(text, expected):
    """Arguments that a model got wrong are None, and the text stays."""
    call = ToolCall("a", "f", text)

    assert call.arguments == expected
    assert call.arguments_json == text


def test_arguments_given_as_an_object_become_text():
    """Some servers send the arguments parsed."""
    call = ToolCall.from_wire({"id": "a", "function": {"name": "f", "arguments": {"city": "Oslo"}}})

    assert call.arguments_json == '{"city":"Oslo"}'


def test_the_text_of_content_is_its_text_parts():
    """Parts without text give nothing."""
    content = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "b"},
    ]

    assert content_text(content) == "a\nb"
    assert (content_text(None), content_text("x"), content_text(5)) == ("", "x", "")


@given(histories(most=8))
def test_what_goes_out_is_the_callers(events):
    """Changing a message that was handed out changes neither the event nor the next one handed out."""
    for event in events:
        if event.message is not None:
            before = json.dumps(event.message.to_wire())
            event.message.to_wire()["content"] = "changed"

            assert json.dumps(event.message.to_wire()) == before
