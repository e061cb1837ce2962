"""Results under their numbers: snapshots, names, and a bound on their bytes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import GuardLimitError, UnresolvedReferenceError
from guards.bindings import BindingManager

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def small(limit: int = 20_000, one: int = 3_000) -> BindingManager:
    return BindingManager(limit, one, clock=lambda: NOW)


def fill(bindings: BindingManager, count: int, size: int = 2_900) -> None:
    for _ in range(count):
        bindings.bind(bindings.reserve(), "tool", {}, "x" * size)


def held(bindings: BindingManager) -> list[str]:
    return [binding.id for binding in bindings]


@given(JSON)
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    """Every copy has each type as it was, and the size is that of its JSON in UTF-8."""
    binding = small().bind(1, "tool", {}, value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    assert repr(value) == repr(binding.value)
    assert len(text.encode("utf-8", "surrogatepass")) == binding.size


def test_a_binding_is_a_snapshot() -> None:
    """Neither the caller's object nor a copy that was handed out reaches what is bound."""
    value, arguments = {"ids": [1]}, {"q": ["a"]}
    binding = small().bind(1, "tool", arguments, value, "call_1")

    for ids in (value["ids"], binding.value["ids"], arguments["q"], binding.arguments["q"]):
        ids.append(9)

    assert (binding.value, binding.arguments) == ({"ids": [1]}, {"q": ["a"]})
    assert (binding.id, binding.call_id, binding.created_at) == ("v1", "call_1", NOW)


def test_a_binding_never_shows_its_content() -> None:
    """What a log or a traceback prints of it holds no result and no argument."""
    binding = small().bind(1, "tool", {"q": "secret"}, "secret")

    assert "secret" not in repr(binding)


def test_numbers_are_given_once() -> None:
    """Reserved numbers rise by one and are never repeated, whatever was bound from outside or forgotten."""
    bindings = small()
    first = [bindings.reserve(), bindings.reserve()]
    bindings.bind(7, "tool", {}, 1)
    bindings.clear()

    assert first == [1, 2]
    assert bindings.next_number == bindings.reserve() == 8


def test_a_leased_block_is_used_first() -> None:
    """Numbers that a store assigned are given in their order; behind them follow numbers of its own."""
    bindings = small()
    bindings.reserve()
    bindings.reserve_block(5, 2)
    bindings.reserve_block(9, 1)
    left = bindings.leased
    given_out = [bindings.next_number, *(bindings.reserve() for _ in range(4))]

    assert (left, bindings.leased) == (3, 0)
    assert given_out == [5, 5, 6, 9, 10]


@pytest.mark.parametrize(("first", "count"), [(1, 1), (0, 1), (5, 0)])
def test_a_block_that_was_given_out_is_refused(first: int, count: int) -> None:
    """Two workers never hold one number."""
    bindings = small()
    bindings.reserve()

    with pytest.raises(ValueError, match="from 2 on"):
        bindings.reserve_block(first, count)


def test_numbers_that_others_took_are_passed_over() -> None:
    """A number that was given out elsewhere is not given again, and no other leased one is lost."""
    bindings = small()
    bindings.reserve_block(3, 4)
    bindings.pass_over(5)
    bindings.pass_over(8)
    bindings.bind(3, "tool", {}, 1)

    assert [bindings.reserve() for _ in range(3)] == [4, 6, 9]


@pytest.mark.parametrize("number", [0, -1, 1])
def test_a_number_is_bound_once(number: int) -> None:
    """A number below 1 or bound before is refused, and the first value stays."""
    bindings = small()
    bindings.bind(1, "tool", {}, "first")

    with pytest.raises(ValueError, match=f"number={number}"):
        bindings.bind(number, "tool", {}, "second")
    assert [binding.value for binding in bindings] == ["first"]


def test_aliases_name_the_latest() -> None:
    """An alias that is given again moves, and both bindings know it."""
    bindings = small()
    bindings.bind(1, "tool", {}, "old", aliases=("order", "a"))
    bindings.bind(2, "tool", {}, "new", aliases=("order",))
    bindings.alias("b", "v1")
    found = {
        name: binding and binding.id
        for name in ("v1", "order", "a", "b", "c")
        for binding in [bindings.lookup(name)]
    }

    assert found == {"v1": "v1", "order": "v2", "a": "v1", "b": "v1", "c": None}
    assert [binding.aliases for binding in bindings] == [("a", "b"), ("order",)]
    assert list(bindings.known()) == ["v2", "order", "v1", "a", "b"]


@pytest.mark.parametrize("name", ["", "v3", "v03", "a b", "1a", "$a", "ä", "a" * 65])
def test_an_alias_is_a_name_and_no_number(name: str) -> None:
    """What could not be written as a reference, or reads as a number, is refused and nothing is bound."""
    bindings = small()

    with pytest.raises(ValueError, match="is no name"):
        bindings.bind(1, "tool", {}, 1, aliases=(name,))
    assert held(bindings) == []


def test_an_alias_needs_a_binding() -> None:
    """The error lists what is known."""
    bindings = small()
    bindings.bind(1, "tool", {}, 1)

    with pytest.raises(UnresolvedReferenceError, match=r"known: '\$v1'"):
        bindings.alias("order", "v2")


@pytest.mark.parametrize(
    "binding_id", ["", "v", "v2", "v01", "x1", "v-1", "v1 ", "v" + "9" * 5000, "v\u0661"]
)
def test_only_an_exact_id_is_known(binding_id: str) -> None:
    """Another spelling of a number is another id."""
    bindings = small()
    bindings.bind(1, "tool", {}, 1)

    assert bindings.get(binding_id) is None
    assert bindings.get("v1") is not None


def test_use_is_what_was_put_in() -> None:
    """A binding is used where it was marked, once a call; looking at it is no use."""
    bindings = small()
    fill(bindings, 3, size=10)
    bindings.lookup("v2")
    bindings.mark_used(["v3", "v3"])
    bindings.mark_used(["v3", "v9"])

    assert [(binding.id, binding.used) for binding in bindings.used] == [("v3", 2)]
    assert [binding.id for binding in bindings.unused] == ["v1", "v2"]


def test_the_least_recently_used_is_let_go() -> None:
    """Bytes stay within the limit; what was put into a call lately stays, the oldest goes and says so."""
    bindings = small()
    fill(bindings, 5)
    bindings.alias("order", "v2")
    bindings.mark_used(["v1"])
    fill(bindings, 2)
    gone = bindings.lookup("order")

    assert held(bindings) == ["v1", "v4", "v5", "v6", "v7"]
    assert bindings.total_bytes <= bindings.limit_bytes
    assert gone is not None
    assert (gone.id, gone.gone, gone.evicted, gone.size) == ("v2", "evicted", True, 2_902)
    with pytest.raises(UnresolvedReferenceError, match="no longer held"):
        _ = gone.value


def test_many_small_values_are_bounded_too() -> None:
    """What a binding weighs by itself counts."""
    bindings = small()
    fill(bindings, 100, size=1)

    assert len(bindings) == 38


def test_a_value_over_the_limit_is_refused_or_only_remembered() -> None:
    """By default an error with both figures, by choice a binding that says its size; neither is held."""
    bindings = small()
    with pytest.raises(GuardLimitError) as raised:
        bindings.bind(1, "dump", {}, "x" * 4_000)
    binding = bindings.bind(1, "dump", {}, "x" * 4_000, oversize="tombstone")

    assert (raised.value.size, raised.value.limit) == (4_002, 3_000)
    assert (binding.gone, binding.size, len(bindings), bindings.total_bytes) == ("oversize", 4_002, 0, 0)


def test_long_arguments_are_not_kept() -> None:
    """A call with a document as its argument costs no more than its result."""
    binding = small().bind(1, "write", {"text": "x" * 20_000}, "ok")

    assert binding.arguments is None
    assert binding.value == "ok"


@pytest.mark.parametrize(("limit", "one"), [(100, 50), (20_000, 0)])
def test_limits_that_hold_no_value_are_refused(limit: int, one: int) -> None:
    """The limit of all has to hold one value with its arguments."""
    with pytest.raises(ValueError, match="allow 1 or more"):
        BindingManager(limit, one)


def test_a_snapshot_restores_everything() -> None:
    """Values, names, uses, numbers, leases, what is gone and what goes next come back through JSON."""
    bindings = small()
    fill(bindings, 8)
    bindings.bind(9, "dump", {"q": 1}, "x" * 4_000, oversize="tombstone", aliases=("big",))
    bindings.bind(
        12, "tool", {"q": "\ud800"}, {"text": "\ud800", "n": 10**18 + 1, "f": 1.0}, aliases=("order",)
    )
    bindings.mark_used(["v5"])
    bindings.reserve_block(20, 3)
    bindings.reserve()
    restored = BindingManager.restore(json.loads(json.dumps(bindings.snapshot())), 20_000, 3_000)

    assert list(bindings) == list(restored)
    assert bindings.snapshot() == restored.snapshot()
    assert bindings.total_bytes == restored.total_bytes
    assert bindings.lookup("big") == restored.lookup("big")
    assert [restored.reserve() for _ in range(3)] == [21, 22, 23]


def test_a_snapshot_restores_under_a_smaller_limit() -> None:
    """What no longer fits is let go as always."""
    bindings = BindingManager()
    fill(bindings, 8)

    assert held(BindingManager.restore(bindings.snapshot(), 20_000, 3_000)) == ["v4", "v5", "v6", "v7", "v8"]


@pytest.mark.parametrize(
    "change",
    [
        {"json": "{"},
        {"json": None},
        {"gone": "lost"},
        {"created_at": "2026-01-01T00:00:00"},
        {"created_at": 5},
        {"number": "x"},
        {"number": 0},
        {"aliases": ["a b"]},
        {"arguments_json": "{"},
    ],
)
def test_a_broken_snapshot_is_refused(change: dict[str, Any]) -> None:
    """A row that could not be read later is an error now."""
    bindings = small()
    bindings.bind(1, "tool", {}, 1)
    broken = bindings.snapshot()
    broken["bindings"][0] |= change

    with pytest.raises((ValueError, TypeError)):
        BindingManager.restore(broken)


def test_ten_thousand_bindings_are_found() -> None:
    """Names are looked up, not searched for."""
    bindings = BindingManager()
    fill(bindings, 10_000, size=10)
    found = bindings.lookup("v5000")

    assert len(bindings) == 10_000
    assert found is not None
    assert found.value == "x" * 10
