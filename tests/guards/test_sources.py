import copy
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.checks.sources import Kind, Sources

ORDER = {
    "order_id": "W-100",
    "items": [{"price": 10.5, "qty": 2}, {"price": 20.25, "qty": 7}],
    "weird key": "deep value",
    "big": 10**18 + 1,
}


def kinds(sources, *values):
    return [sources.find(value).kind.value for value in values]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("1,250 dollars", 1250),
        ("1,250 dollars", "1250"),
        ("1250", "1,250"),
        ("it is 1.250,00", 1250),
        ("use 3-4 items", 3),
        ("use 3-4 items", 4),
        ("use 3-4 items", "3 to 4"),
        ("50% off", 0.5),
        ("50% off", 50),
        ("seven bags", 7),
        ("about 1.5k users", 1500),
        ("pi is 3.14159", 3.14),
        ("fly on May 26th", "2024-05-26"),
        ("fly on 26 May 2024", "2024-05-26"),
        ("on 2024-05-26", "05/26/2024"),
        ("call (555) 123-2002", "555-123-2002"),
        ("ORDER w1588712", "W1588712"),
        ("I said “No Way”", "no way"),
        ("价格42元", 42),
        ("我想去北京旅行", "北京"),
        ("Straße 5", "STRASSE 5"),
        ("-7 degrees", -7),
        ("minus $3", 3),
        ("a balance of -$3", -3),
        ("a balance of -$1,250.50", -1250.5),
    ],
)
def test_a_value_is_found_however_it_was_spelled(said, value):
    """Format, case, grouping, percent, words and the order of a date do not hide a value."""
    sources = Sources()
    sources.add("user", said, "m1")

    assert sources.find(value) == (Kind.USER, "m1")


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("use 3-4 items", -4),
        ("use 3-4 items", "4-5"),
        ("room 125", 25),
        ("room 1.25", 25),
        ("it is 1,250", 250),
        ("user_7557_x", 7557),
        ("in May 26, 2023", "2024-05-26"),
        ("zip 2139", "02139"),
        ("take 1", True),
        ("take one", "W-1"),
        ("pi is 3.14159", 3.15),
        ("abc123def", "123"),
    ],
)
def test_a_value_is_not_found_inside_another(said, value):
    """A part of a longer word or number, another year, or another type is no source."""
    sources = Sources()
    sources.add("user", said)

    assert Kind.NOWHERE is sources.find(value).kind


def test_a_binding_names_the_path_of_the_leaf():
    """What stands in a binding is found with the reference that would give it."""
    sources = Sources()
    sources.add("binding", ORDER, "v2")

    assert sources.find("w-100") == (Kind.BINDING, "$v2.order_id")
    assert sources.find(20.25) == (Kind.BINDING, "$v2.items[1].price")
    assert sources.find("deep") == (Kind.BINDING, '$v2["weird key"]')
    assert sources.find(10**18 + 1) == (Kind.BINDING, "$v2.big")
    assert sources.find("order_id") == (Kind.BINDING, "$v2")


def test_text_that_holds_json_is_read_as_json():
    """Escapes in a JSON text hide nothing, and its leaves have paths."""
    sources = Sources()
    sources.add("binding", '{"name": "Caf\\u00e9\\nBar", "rows": ["{\\"id\\": \\"x9\\"}"]}', "v1")

    assert sources.find("café\nbar") == (Kind.BINDING, "$v1.name")
    assert sources.find("x9") == (Kind.BINDING, "$v1.rows[0].id")
    assert sources.find('{"id": "x9"}').grounded


def test_numbers_follow_by_one_step_from_what_was_said():
    """Sum, difference, product, ratio, percentage, and sum, mean or count of a column are arithmetic."""
    sources = Sources()
    sources.add("binding", ORDER, "v2")
    sources.add("user", "a discount of 30 on 400")

    assert sources.find(30.75) == (Kind.ARITHMETIC, "sum of $v2.items[*].price")
    assert sources.find(15.375) == (Kind.ARITHMETIC, "mean of $v2.items[*].price")
    assert kinds(sources, 430, 370, 12000, 120, 13.33) == ["arithmetic"] * 5
    assert kinds(sources, 431, 12001) == ["nowhere"] * 2


def test_an_identifier_is_never_computed():
    """Exact search knows no rounding, no arithmetic and no words for numbers."""
    sources = Sources()
    sources.add("user", "30 and 400, pi is 3.14159, seven")

    assert [sources.find(v, exact=True).grounded for v in (400, 430, 3.14, 7)] == [True, False, False, False]


def test_what_was_dropped_makes_the_answer_unknown():
    """Beyond the bound the oldest results go, and a value not found is unknown, never nowhere."""
    sources = Sources(limit=8_000)
    sources.add("user", "the user's W-1")
    sources.add("tool", "first F-1")
    assert kinds(sources, "F-1", "Z-9") == ["tool", "nowhere"]

    for i in range(2_000):
        sources.add("tool", f"row number {i}")

    assert not sources.complete
    assert kinds(sources, "W-1", "F-1", "Z-9", 1_999) == ["user", "unknown", "unknown", "tool"]


def test_a_result_larger_than_the_bound_is_read_in_part():
    """A huge result costs bounded memory, and makes what is not found unknown."""
    sources = Sources(limit=8_000)
    sources.add("tool", [f"item-{i}" for i in range(5_000)])

    assert kinds(sources, "item-3", "item-4999") == ["tool", "unknown"]


def test_a_long_text_is_found_across_blocks():
    """A value that spans the blocks of the index is found whole, and names its line."""
    rows = [f"row {i} of many, with some words" for i in range(1_000)]
    sources = Sources()
    sources.add("binding", " ".join(rows), "v2")
    sources.add("binding", rows, "v1")

    assert sources.find(rows[777]) == (Kind.BINDING, "$v1[777]")
    assert sources.find(" ".join(rows[300:600])) == (Kind.BINDING, "$v2")


def test_a_value_equal_to_one_bound_leaf_has_one_reference():
    """Only a whole leaf of the same type is a reference; two places are two."""
    sources = Sources()
    sources.add("binding", {"a": "X-1", "b": 5, "c": "5", "d": "see X-1"}, "v1")
    assert [sources.references_to(value) for value in ("x-1", 5, "5", "see", True)] == [
        ("$v1.a",),
        ("$v1.b",),
        ("$v1.c",),
        (),
        (),
    ]

    sources.add("binding", ["X-1"], "v2")

    assert {"$v1.a", "$v2[0]"} == set(sources.references_to("X-1"))


def test_likely_references_are_near_or_bear_the_name():
    """A slip is likened to bound values; failing that, the parameter's name leads to a field."""
    sources = Sources()
    sources.add("binding", ORDER, "v2")

    assert sources.likely("W-101", "order_id") == (["$v2.order_id"], [])
    assert sources.likely("Q", "order_id") == ([], ["$v2.order_id"])
    assert sources.likely("Q", "city") == ([], [])


def test_a_binding_is_indexed_once():
    """A binding that comes twice is one source."""
    sources = Sources()
    for _ in range(2):
        sources.add("binding", {"a": "X-1"}, "v1")

    assert sources.references_to("X-1") == ("$v1.a",)


def test_the_same_prompt_is_indexed_once():
    """A host that repeats its system prompt on every turn does not fill the memory with it."""
    sources = Sources()
    for _ in range(100):
        sources.add("system", "the fee is 30")

    assert len(sources.snapshot()["said"]) == 1


def test_json_text_nested_beyond_reason_is_read_in_part():
    """Text of a thousand brackets neither fails nor is taken for complete."""
    sources = Sources()
    sources.add("tool", "[" * 900 + '"deep"' + "]" * 900)
    sources.add("tool", "W-1")

    assert kinds(sources, "W-1", "deep", 10**5_000) == ["tool", "unknown", "unknown"]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("delay it by one day", {"2024-05-17", "2024-05-19"}),
        ("the day after, please", {"2024-05-17", "2024-05-19"}),
        ("two days earlier", {"2024-05-16", "2024-05-20"}),
        ("a week later", {"2024-05-11", "2024-05-25"}),
        ("as soon as you can", set()),
        ("someday after work", set()),
    ],
)
def test_a_day_may_be_so_many_days_from_one_that_was_said(asked, meant):
    """A day that follows from another by words such as "a day later" is computed; without them it is not."""
    sources = Sources()
    sources.add("binding", {"date": "2024-05-18"}, "v1")
    sources.add("user", asked)

    days = [f"2024-05-{day:02}" for day in range(4, 32) if day != 18]
    assert meant == {day for day in days if sources.find(day).grounded}


def test_a_snapshot_restores_every_answer():
    """Sources that went through JSON answer as before."""
    sources = Sources()
    sources.add("system", "today is 2024-05-15")
    sources.add("user", "W-1 for 30 and 400", "m1")
    sources.add("binding", ORDER, "v2")
    again = Sources.restore(json.loads(json.dumps(sources.snapshot())))

    values = ["W-1", 430, "W-100", 20.25, "Z-9", "2024-05-15", 30.75]
    assert [sources.find(value) for value in values] == [again.find(value) for value in values]


def test_a_snapshot_is_bounded_and_says_so():
    """Results too large for a snapshot are unknown after a restart, never nowhere."""
    sources = Sources()
    sources.add("tool", ["old " + "x" * 300_000])
    sources.add("tool", "new N-1")
    snapshot = sources.snapshot()

    assert len(json.dumps(snapshot)) < 1_000
    assert kinds(Sources.restore(snapshot), "N-1", "Z-9") == ["tool", "unknown"]


def test_a_limit_too_small_is_refused():
    """A bound that could hold nothing is a mistake of the caller."""
    with pytest.raises(ValueError, match="limit=10 characters: use 8000 or more"):
        Sources(limit=10)


SCALARS = (
    st.text(max_size=40)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def scalars(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in scalars(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in scalars(item)]
    return [value]


@given(VALUES, VALUES)
def test_whatever_was_added_is_found(first, second):
    """Each leaf of a value is grounded once it was added, and looking changes nothing."""
    sources = Sources()
    sources.add("tool", first, "c1")
    sources.add("binding", second, "v1")
    before = copy.deepcopy(sources.snapshot())

    leaves = [leaf for value in (first, second) for leaf in scalars(value)]
    missing = [
        leaf
        for leaf in leaves
        if not (isinstance(leaf, str) and not leaf.strip()) and not sources.find(leaf).grounded
    ]

    assert missing == []
    assert before == sources.snapshot()


WORDS = st.lists(st.text(string.ascii_lowercase + "12", min_size=1, max_size=3), min_size=1, max_size=6)


@given(st.lists(WORDS, max_size=8), WORDS)
@settings(max_examples=300)
def test_the_index_answers_as_a_scan_would(texts, needle):
    """A phrase of words is found exactly if some text holds these words in a row."""
    sources = Sources()
    for text in texts:
        sources.add("tool", " ".join(text))
    phrase = "x" + " ".join(needle)

    scanned = any(f" {phrase} " in f" {' '.join(text)} " for text in texts)
    hit = sources.find(phrase).grounded
    sources.add("tool", f"before {phrase} after")

    assert scanned == hit
    assert sources.find(phrase).grounded
