"""`$vN` in arguments: values are walked, never text rewritten (law 18)."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from guards import GuardLimitError, UnresolvedReferenceError
from guards.bindings import BindingManager
from guards.paths import PathError, parse_path, path_text, walk
from guards.references import Resolution, Source, explain, resolve, to_finding
from guards.wording import Wording

TEXT = st.text(max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DOLLARS = st.text("$v{}.[]'\"1a b:-\\", max_size=24)

ORDER = {"items": [{"id": 5}, {"id": 6}], "name": "Ann", "a b": {"it's": 1, 'say "x"': 2}, "größe": 3}


def bound(*values: Any, **aliased: Any) -> BindingManager:
    """Bindings `v1, v2, ...`, then one for each alias."""
    bindings = BindingManager()
    for value in values:
        bindings.bind(bindings.reserve(), "tool", {}, value)
    for name, value in aliased.items():
        bindings.bind(bindings.reserve(), "tool", {}, value, aliases=(name,))
    return bindings


def resolved(text: str, *values: Any, **aliased: Any) -> Any:
    return resolve({"x": text}, bound(*values, **aliased)).arguments["x"]


def escaped(text: str) -> str:
    """The text with the dollars before each reference doubled."""
    name = r"v[0-9]+(?![A-Za-z0-9_])"
    return re.sub(rf"(?<![A-Za-z0-9$])\$+(?={name})|(?<!\$)\$+(?=\{{ *{name})", lambda m: m[0] * 2, text)


@given(JSON)
def test_a_whole_reference_gives_the_value_itself(value: Any) -> None:
    """Type and value are those that were bound, at any depth of the arguments, braced or not."""
    bindings = bound(value)
    given_back = resolve({"x": "$v1", "y": [{"z": "${v1}"}]}, bindings).arguments

    assert repr(given_back) == repr({"x": value, "y": [{"z": value}]})


@pytest.mark.parametrize(
    "value",
    [
        10**18 + 1,
        "02139",
        "3.5",
        True,
        False,
        None,
        1.0,
        -0.0,
        1e22,
        {},
        [],
        "",
        "\ud800",
        'a"b\n\x00\\',
        "$v1",
        "$$v1",
    ],
)
def test_a_value_keeps_its_type(value: Any) -> None:
    """Big integers, text of digits, booleans, null, floats and odd text arrive as they were bound."""
    assert repr(value) == repr(resolved("$v1", value))
    assert repr(value) == repr(resolved("$v1.x[0]", {"x": [value]}))


@given(JSON, st.sampled_from(["$v1", "a $v1", "${v1}b", "$v1 ${v1}"]))
def test_what_was_put_in_is_not_resolved_again(value: Any, text: str) -> None:
    """A reference inside a bound value is text."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    expected = (
        value if text == "$v1" else text.replace("${v1}", "\0").replace("$v1", "\0").replace("\0", shown)
    )

    assert repr(expected) == repr(resolved(text, value))


@given(DOLLARS | TEXT)
def test_text_without_references_is_left_alone(text: str) -> None:
    """Whatever holds no `$vN` and no bound alias comes out unchanged, with nothing bound or much."""
    without = re.sub(r"v[0-9]", "w", text)

    assert without == resolved(without)
    assert without == resolved(without, ORDER, 1, order=2)


@given(DOLLARS)
def test_doubled_dollars_are_the_text(text: str) -> None:
    """Any text can be said: doubling the dollars before each reference gives it back."""
    assert text == resolved(escaped(text))


@pytest.mark.parametrize(
    "text",
    [
        "US$v1",
        "$USD",
        "$5",
        "$$5",
        "v1",
        "$v1x",
        "$V1",
        "${v1:-x}",
        "${v1",
        "${USD}",
        "$",
        "$$",
        "A$v1",
        "5$v1",
    ],
)
def test_money_and_shell_are_text(text: str) -> None:
    """What merely looks like a reference is left alone, also where `v1` is bound."""
    assert text == resolved(text, "BOUND")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$v1.items[0].id", 5),
        ("$v1.items[-1].id", 6),
        ("$v1.items.1.id", 6),
        ("${v1.items[0]}", {"id": 5}),
        ('$v1["a b"]["it\'s"]', 1),
        ("$v1['a b']['it\\'s']", 1),
        ("$v1['a b']['say \"x\"']", 2),
        ("$v1.größe", 3),
        ("$v2", "ten"),
        ("$v1.name, $v1.name. Then $v1.name's", "Ann, Ann. Then Ann's"),
        ("${v1.name}.txt", "Ann.txt"),
        ("id${v1.name}x", "idAnnx"),
        ("order_$v2", "order_ten"),
        ("是$v2是", "是ten是"),
        ("${ v2 }!", "ten!"),
        ("$v1.items!", '[{"id":5},{"id":6}]!'),
        ("$$v2", "$v2"),
        ("$$$v2", "$ten"),
        ("$$$$v2", "$$v2"),
        ("$${v2} $v2", "${v2} ten"),
        ("$v3 $v4 $v5", "null true 1.0"),
        ("$order.id", 7),
        ("$orders ${orders} $order", '$orders ${orders} {"id":7}'),
    ],
)
def test_references_walk_and_interpolate(text: str, expected: Any) -> None:
    """Paths reach as far as they can be read; inside text, scalars read as JSON does and text is bare."""
    assert expected == resolved(text, ORDER, "ten", None, True, 1.0, order={"id": 7})


def test_numbers_are_read_whole() -> None:
    """`$v1` and `$v10` are two references."""
    assert resolved("$v10 $v1", *range(10)) == "9 0"


def test_a_path_walks_into_text_that_holds_json() -> None:
    """A tool that answers in JSON text is referred to like one that answers in values; whole, it is text."""
    assert resolved("$v1.items[1].id", json.dumps(ORDER)) == 6
    assert resolved("$v1", json.dumps(ORDER)) == json.dumps(ORDER)


def test_keys_are_never_resolved() -> None:
    """A key that reads as a reference stays."""
    assert resolve({"$v1": {"$v1": "$v1"}}, bound(0)).arguments == {"$v1": {"$v1": 0}}


def test_every_leaf_has_a_source() -> None:
    """Provenance names each leaf's place and the references in it; a value put in is one leaf."""
    arguments = {"a": {"b c": ["$v1", 1]}, "t": "x ${v1.id} $v2", "n": None, "m": "US$v1"}
    resolution = resolve(arguments, bound({"id": 1}, 2))

    assert resolution == Resolution(
        {"a": {"b c": [{"id": 1}, 1]}, "t": "x 1 2", "n": None, "m": "US$v1"},
        {
            '$.a["b c"][0]': Source("whole", ("$v1",)),
            '$.a["b c"][1]': Source("literal"),
            "$.t": Source("interpolated", ("${v1.id}", "$v2")),
            "$.n": Source("literal"),
            "$.m": Source("literal"),
        },
        ("v1", "v2"),
    )
    assert resolution.sources == {'$.a["b c"][0]': "$v1", "$.t": "${v1.id} $v2"}


def test_resolved_arguments_share_nothing() -> None:
    """Two references to one value are two copies, and neither is what is bound or what was passed in."""
    bindings = bound({"ids": [1]})
    arguments = {"a": "$v1", "b": "$v1.ids", "c": "$v1.ids", "d": [0]}
    first = resolve(arguments, bindings).arguments

    for changed in (first["a"]["ids"], first["b"], first["d"]):
        changed.append(9)

    assert first["c"] == [1]
    assert resolve(arguments, bindings).arguments == {"a": {"ids": [1]}, "b": [1], "c": [1], "d": [0]}


def unresolved(text: str, bindings: BindingManager) -> UnresolvedReferenceError:
    with pytest.raises(UnresolvedReferenceError) as raised:
        resolve({"good": "$v1", "bad": [text]}, bindings)
    return raised.value


@pytest.mark.parametrize(
    ("text", "reason", "known"),
    [
        ("$v9", "unknown", ("$v3", "$v2", "$v1", "$order")),
        ("see $v9.", "unknown", ("$v3", "$v2", "$v1", "$order")),
        ("$v1.nme", "path", ("$v1.name",)),
        ("$v1.items[2]", "path", ("$v1.items[1]",)),
        ("$v1.items[0].ids", "path", ("$v1.items[0].id",)),
        ("$v1.name.txt", "path", ()),
        ("$order.idd", "path", ("$order.id",)),
        ("$v1[see below]", "malformed", ("$v1",)),
        ("$v1['a b", "malformed", ("$v1",)),
        ("${v1.a b}", "malformed", ("$v1",)),
        ("${v1.}", "malformed", ("$v1",)),
    ],
)
def test_what_does_not_resolve_names_the_nearest(text: str, reason: str, known: tuple[str, ...]) -> None:
    """One bad reference blocks the whole call and lists what could have been meant, the likeliest first."""
    error = unresolved(text, bound(ORDER, 2, order={"id": 7}))

    assert (reason, known) == (error.reason, error.known[: len(known)])


def test_a_value_that_was_let_go_says_so() -> None:
    """An evicted and an oversized result are told apart from one that never was."""
    bindings = BindingManager(limit_bytes=20_000, value_limit_bytes=3_000)
    bindings.bind(1, "search", {}, "x" * 2_900)
    bindings.bind(2, "dump", {}, "x" * 5_000, oversize="tombstone")
    for number in range(3, 12):
        bindings.bind(number, "tool", {}, "x" * 2_900)

    evicted, oversize = (explain(unresolved_at(text, bindings)) for text in ("$v1.a", "$v2"))

    assert evicted == snapshot(
        '"$v1.a" is no longer held: the result of "search" (2902 bytes) made room for newer ones, so the '
        "call was not run. Call that tool again, or write the value itself."
    )
    assert oversize == snapshot(
        '"$v2" was never held: the result of "dump" has 5002 bytes, more than may be kept, so the call was '
        "not run. Ask that tool for a smaller part, or write the value itself."
    )


def unresolved_at(text: str, bindings: BindingManager) -> UnresolvedReferenceError:
    with pytest.raises(UnresolvedReferenceError) as raised:
        resolve({"x": text}, bindings)
    return raised.value


def test_the_model_is_told_what_to_write() -> None:
    """Each reason is one imperative sentence with the candidates quoted as data."""
    bindings = bound(ORDER, 2)

    assert explain(unresolved_at("$v3", bindings)) == snapshot(
        '"$v3" names no result, so the call was not run. Known: "$v2", "$v1". Use a known reference, or '
        "write the value itself; double the dollar if you mean the text."
    )
    assert explain(unresolved_at("$v3", bound())) == snapshot(
        '"$v3" names no result, so the call was not run. No result has a name yet. Use a known reference, '
        "or write the value itself; double the dollar if you mean the text."
    )
    assert explain(unresolved_at("$v1.nam", bindings)) == snapshot(
        '"$v1.nam" leads nowhere, so the call was not run: "$v1" is of type object. Known: "$v1.name", '
        '"$v1[\\"a b\\"]", "$v1.items", "$v1.größe". Correct the path; write '
        "${...} around a reference that other text follows."
    )
    assert explain(unresolved_at("$v1[x]", bindings)) == snapshot(
        '"$v1[x]" has no readable path, so the call was not run. Write steps as .key, [0] or ["a key"], or '
        "write ${v1} around a reference that other text follows."
    )


def test_a_finding_blocks_without_text_of_the_call() -> None:
    """The finding blocks, its code names the reason, and its evidence holds no argument."""
    finding = to_finding(unresolved_at("$v3", bound(1)), Wording(reference_unknown="No {reference}."))

    assert (finding.action, finding.reason_code) == ("block", "references.unknown")
    assert finding.message == 'No "$v3".'
    assert finding.evidence == {"known": 1}


def test_references_cannot_multiply_a_value_without_limit() -> None:
    """A short text that names a large result many times is refused, and parts of a large result are not."""
    bindings = bound("x" * 1000, {"id": 5, "rest": "x" * 1000})

    assert resolve({"x": ["$v2.id"] * 100}, bindings, limit_bytes=1000).arguments == {"x": [5] * 100}
    with pytest.raises(GuardLimitError, match="the limit is 5000"):
        resolve({"x": "$v1 " * 6}, bindings, limit_bytes=5000)


@given(st.lists(TEXT | st.integers(-5, 5), max_size=4))
def test_a_path_written_reads_back(steps: list[str | int]) -> None:
    """`parse_path` is the inverse of `path_text`."""
    assert tuple(steps) == parse_path(path_text(steps))


@given(JSON, st.lists(TEXT | st.integers(-5, 5), max_size=3))
def test_walking_gives_a_value_or_a_path_error(value: Any, steps: list[str | int]) -> None:
    """No value and no path makes it fail in another way."""
    try:
        walk(value, steps)
        done = len(steps)
    except PathError as error:
        done = len(error.done) + 1

    assert done <= len(steps)
