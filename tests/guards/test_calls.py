"""The JSON form in which calls are compared, and the copies that keep a guard apart from its callers."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from guards import InvalidArgumentsError
from guards.calls import canonical_json, fingerprint, parse_arguments, plain

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)


def typed(value: Any) -> str:
    """A value's text in which 1, 1.0 and True differ."""
    return repr(value)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@dataclasses.dataclass
class Node:
    name: str
    next: Any = None


class Order(BaseModel):
    id: int
    total: Decimal


class Colour(Enum):
    RED = "red"


class Broken:
    def model_dump(self, **_: Any) -> Any:
        raise RuntimeError("no")


@given(OBJECTS)
def test_the_order_of_keys_does_not_change_a_fingerprint(arguments: dict[str, Any]) -> None:
    """A call is the same however its object was written."""
    assert fingerprint("t", arguments) == fingerprint("t", reversed_keys(arguments))


@given(OBJECTS, OBJECTS)
def test_equal_fingerprints_mean_equal_canonical_json(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two calls are one exactly where their canonical arguments are."""
    same = canonical_json(one) == canonical_json(other)

    assert same == (fingerprint("t", one) == fingerprint("t", other))


@given(JSON)
def test_canonical_json_reads_back_as_an_equal_value(value: Any) -> None:
    """Canonical JSON is JSON, and says what the value says."""
    assert value == json.loads(canonical_json(value))


@given(JSON)
def test_plain_copies_json_values_exactly(value: Any) -> None:
    """A JSON value comes out with each type as it was, lenient or not."""
    assert typed(value) == typed(plain(value))
    assert typed(value) == typed(plain(value, lenient=True))


@given(OBJECTS)
def test_arguments_as_text_are_the_arguments(arguments: dict[str, Any]) -> None:
    """The JSON text that a model writes and the mapping it stands for are the same call."""
    assert typed(arguments) == typed(parse_arguments(json.dumps(arguments)))


def test_whole_floats_are_integers_and_nothing_else_is_alike() -> None:
    """`1` and `1.0` are one number, as in JSON; text, booleans and accents in two spellings stay apart."""
    values = [1, "1", True, None, "null", [1], {"1": 1}, "\u00e9", "e\u0301", 1.5, 10**18 + 1, 10**18]
    prints = [fingerprint("t", {"x": value}) for value in values]

    assert fingerprint("t", {"x": 1}) == fingerprint("t", {"x": 1.0})
    assert fingerprint("t", {"x": 0}) == fingerprint("t", {"x": -0.0})
    assert len(values) == len(set(prints))


def test_the_tool_is_part_of_a_fingerprint() -> None:
    """No name and arguments of one tool spell those of another."""
    assert fingerprint("a", {}) != fingerprint("b", {})
    assert fingerprint("1:a", {}) != fingerprint("a", {})


def test_what_a_caller_changes_later_stays_outside() -> None:
    """The copy shares no object with what was handed over."""
    given_in = {"items": [{"id": 1}]}
    copied = plain(given_in)

    given_in["items"][0]["id"] = 2
    given_in["items"].append({})

    assert copied == {"items": [{"id": 1}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (MappingProxyType({"a": range(2)}), {"a": [0, 1]}),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1.5), 90.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        (b"ab", {"$bytes": "YWI="}),
        (Colour.RED, "red"),
        (Node("a", Node("b")), {"name": "a", "next": {"name": "b", "next": None}}),
        (Order(id=1, total=Decimal("1.10")), {"id": 1, "total": "1.10"}),
    ],
)
def test_common_types_have_a_json_form(value: Any, expected: Any) -> None:
    """What tools are given and return becomes JSON by the documented rule."""
    assert expected == plain(value)
    assert expected == plain(value, lenient=True)


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def ring() -> Node:
    node = Node("a")
    node.next = node
    return node


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


UNFIT = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "cycle": cycle(),
    "dataclass cycle": ring(),
    "deep": nested(1000),
    "key": {1: "a"},
    "object": object(),
    "generator": (i for i in [1]),
    "long integer": 10**5000,
    "broken model": Broken(),
}


@pytest.mark.parametrize("name", UNFIT)
def test_arguments_without_a_json_form_are_refused(name: str) -> None:
    """Each is a typed error that names the place."""
    with pytest.raises(InvalidArgumentsError, match=r"\$"):
        parse_arguments({"x": UNFIT[name]})


@pytest.mark.parametrize("name", UNFIT)
def test_results_without_a_json_form_never_fail(name: str) -> None:
    """Each becomes a JSON value that can be written and compared."""
    copied = plain({"x": UNFIT[name]}, lenient=True)

    assert copied == json.loads(json.dumps(copied, allow_nan=False))
    assert canonical_json(copied)


def test_a_shared_object_is_no_cycle() -> None:
    """One list that stands in two places is copied twice."""
    shared = [1]

    assert plain([shared, shared]) == [[1], [1]]


def test_keys_that_are_no_text_keep_their_values_apart() -> None:
    """In a result, `1` and `"1"` are two keys and both values stay."""
    assert plain({1: "a", "1": "b"}, lenient=True) == {"1 (2)": "a", "1": "b"}


@pytest.mark.parametrize("nothing", [None, "", "  \n", b""])
def test_no_arguments_are_an_empty_object(nothing: Any) -> None:
    """Models call tools without parameters in several ways."""
    assert parse_arguments(nothing) == {}


@pytest.mark.parametrize("text", ["{", "[1]", "1", '{"a": NaN}', '{"a": 1e999}', "[" * 5000, b"\xff", 5])
def test_arguments_that_are_no_object_are_refused(text: Any) -> None:
    """Broken JSON, NaN and anything but an object is one typed error."""
    with pytest.raises(InvalidArgumentsError):
        parse_arguments(text)
