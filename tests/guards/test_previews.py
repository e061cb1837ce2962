"""What the model sees of a large result, and how it reads on."""
# ruff: noqa: E501 - lines as the model reads them

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from guards.bindings import Binding, BindingManager
from guards.previews import preview, shape_of
from guards.reading import READ_VALUE, READ_VALUE_SCHEMA, clipped, estimate_tokens, read_value
from guards.tools import ToolSpec

ORDERS = {
    "orders": [{"id": n, "total": n * 1.5, "customer": {"name": f"customer {n}"}} for n in range(300)],
    "page": 1,
}
LINES = "\n".join(f"line {n} of the file" for n in range(2000))
JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=60,
)


def bound(value: Any, tool: str = "search") -> tuple[BindingManager, Binding]:
    bindings = BindingManager()
    return bindings, bindings.bind(3, tool, {}, value)


def read(value: Any, cap: int = 150, **arguments: Any) -> str:
    return read_value(bound(value)[0], {"reference": "v3", **arguments}, cap_tokens=cap)


def test_a_small_result_is_shown_as_it_is() -> None:
    """Up to the limit there is no preview."""
    _, binding = bound("x" * 400)

    assert preview(binding, above_tokens=100) is None
    assert preview(binding, above_tokens=99) is not None


def test_what_was_read_is_never_put_away_again() -> None:
    """A page that the model asked for is given whole."""
    _, binding = bound("x" * 9000, READ_VALUE)

    assert preview(binding, above_tokens=10) is None


def test_a_preview_says_what_and_how_large_and_how_to_go_on() -> None:
    """It names tool, reference, size and shape, shows the start, and ends with what to do."""
    _, binding = bound(ORDERS)

    assert preview(binding, above_tokens=100, cap_tokens=250) == snapshot("""\
The result of "search" is large and is kept as $v3: 17,727 bytes, about 4,432 tokens. Here are its shape and its start, not all of it.
Shape: {orders: list of 300 x {id: number, total: number, customer: object of 1}, page: number}
.orders: [{"id":0,"total":0.0,"customer":{"name":"customer 0"}},{"id":1,"total":1.5,"customer":{"name":"customer 1"}},{"id":2,"total":3.0,"customer":{"name":"customer 2"}},{"id":3,"total":4.5,"customer":{"name":"customer 3"}},{"id":4,"total...
.page: 1
To pass it on, write $v3 or a part such as $v3.orders[0].id as an argument: the value itself is put in. To see more, call read_value with {"reference": "v3"} and path, offset, limit or search.\
""")


def test_a_preview_of_text_counts_its_lines() -> None:
    """Text is shown by its first lines, and has no path to offer."""
    _, binding = bound(LINES, "cat")

    assert preview(binding, above_tokens=100, cap_tokens=150) == snapshot("""\
The result of "cat" is large and is kept as $v3: 44,890 bytes, about 10,723 tokens. Here are its shape and its start, not all of it.
Shape: text, 2,000 lines, 42,889 characters
line 0 of the file
line 1 of the file
line 2 of the file
line 3 of the file
line 4 of the file
line 5 of the file
line 6 of the file
line 7 of the file
line 8 of the file
line 9 of the file
line 10 of the file
To pass it on, write $v3 as an argument: the value itself is put in. To see more, call read_value with {"reference": "v3"} and offset, limit or search.\
""")


def test_text_that_holds_json_is_shown_by_its_shape() -> None:
    """Most tools answer in JSON text; the preview says what is in it."""
    _, binding = bound(json.dumps(ORDERS))
    shown = preview(binding, above_tokens=100) or ""

    assert "Shape: text that holds JSON: {orders: list of 300 x {id: number" in shown
    assert "$v3.orders[0].id" in shown


@given(JSON, st.integers(150, 400))
def test_a_preview_keeps_within_its_cap(value: Any, cap: int) -> None:
    """Whatever the result holds, the preview is no longer than allowed."""
    _, binding = bound(value)
    shown = preview(binding, above_tokens=0, cap_tokens=cap) or ""

    assert estimate_tokens(shown) <= cap + 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "empty list"),
        ([1, "a", None], "list of 3 x null or number or text"),
        ([{"a b": True}], 'list of 1 x {["a b"]: boolean}'),
        ({"a": {"b": {"c": {"d": 1}}}}, "{a: {b: {c: object of 1}}}"),
        ("one", "text, 1 line, 3 characters"),
        (None, "null"),
    ],
)
def test_a_shape_is_told_in_words(value: Any, expected: str) -> None:
    """Types are named as JSON has them, three levels deep."""
    assert expected == shape_of(value)


def test_a_wide_object_is_told_in_part() -> None:
    """Of many keys the first are named and the others counted."""
    assert shape_of({f"k{n}": n for n in range(100)}).endswith("k23: number, and 76 more}")


def test_pages_follow_one_another() -> None:
    """Following the next offsets reads every item once, in order, each page within the cap."""
    seen: list[int] = []
    offset: int | None = 0
    while offset is not None:
        page = read(ORDERS, path=".orders", offset=offset)
        rows = [line for line in page.splitlines() if line.startswith("[")]
        seen += [json.loads(row.split(": ", 1)[1])["id"] for row in rows]
        assert estimate_tokens(page) <= 150
        more = page.rsplit("offset ", 1)
        offset = int(more[1].rstrip(".")) if page.splitlines()[-1].startswith("More") else None

    assert list(range(300)) == seen


def test_characters_follow_one_another() -> None:
    """A text of one line is read by characters, without a gap."""
    text = "".join(chr(33 + n % 90) for n in range(3000))
    pieces: list[str] = []
    while len("".join(pieces)) < len(text):
        pieces.append(read(text, offset=len("".join(pieces))).split("\n")[1])

    assert text == "".join(pieces)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"path": "orders[7].customer"}, '"$v3.orders[7].customer", items 0 to 0 of 1:\n.name: "customer 7"'),
        ({"path": "$.page"}, '"$v3.page", characters 0 to 0 of 1:\n1'),
        ({"reference": "$v3.page"}, '"$v3.page", characters 0 to 0 of 1:\n1'),
        ({"reference": "${v3}", "path": ".page"}, '"$v3.page", characters 0 to 0 of 1:\n1'),
        ({"path": ".orders", "offset": "2", "limit": 1.0}, '"$v3.orders", items 2 to 2 of 300:'),
        ({"search": "CUSTOMER 29", "limit": 1}, 'Matches 0 to 0 of 11 for "CUSTOMER 29" in "$v3":'),
        ({"search": "customer 299"}, ".orders[299].customer.name: customer 299"),
        ({"search": "page"}, '.page: "1"'),
        ({"search": "none such"}, '"none such" does not occur in "$v3". Search for other words'),
        ({"offset": 9}, '"$v3" has 2 items; offset 9 is beyond them.'),
        ({"offset": -1}, "offset is -1. Send a whole number, 0 or more."),
        ({"limit": 0}, "limit is 0. Send a whole number, 1 or more."),
        ({"offset": True}, "offset is true. Send a whole number"),
        ({"unit": "pages"}, 'unit is "pages". Send items or lines or characters.'),
        ({"search": 5}, "search is 5. Send text."),
        ({"reference": {"id": 1}}, 'reference is {"id": 1}. Send the name of a result'),
        ({"reference": "the orders"}, "Send the name of a result, such as v3."),
        ({"reference": "v9"}, '"$v9" names no result'),
        ({"path": ".ordrs"}, '"$v3.ordrs" leads nowhere'),
        ({"path": ".orders[x]"}, '"$v3.orders[x]" has no readable path'),
    ],
)
def test_the_tool_answers_every_request(arguments: dict[str, Any], expected: str) -> None:
    """A range, a search or a mistake: the answer is text that says what it is, or what to send."""
    assert expected in read(ORDERS, **arguments)


def test_lines_are_searched_with_their_numbers() -> None:
    """A match in text names its line, counted as offsets are."""
    assert read(LINES, search="line 77", offset=2, limit=1) == snapshot("""\
Matches 2 to 2 of 11 for "line 77" in "$v3":
line 771: line 771 of the file
More follows: read on with offset 3.\
""")
    assert "line 772 of the file" in read(LINES, offset=772, limit=1)


def test_a_row_too_long_for_a_page_says_how_to_read_it() -> None:
    """It is cut, and the call that reads it whole is spelled out and works."""
    page = read({"log": "x" * 2000 + "END"})
    how = json.loads(page.split("with ", 1)[1].split("\n")[0].rstrip("."))

    assert how == {"reference": "v3.log"}
    assert "END" in read_value(bound({"log": "x" * 2000 + "END"})[0], {**how, "offset": 1900})


@pytest.mark.parametrize("value", ["", [], {}])
def test_an_empty_value_says_so(value: Any) -> None:
    """Nothing to read is told, not shown as an empty page."""
    assert read(value).startswith('"$v3" is empty')


@given(JSON, st.text(max_size=3) | st.none(), st.integers(0, 5), st.integers(100, 300))
def test_an_answer_keeps_within_its_cap(value: Any, search: str | None, offset: int, cap: int) -> None:
    """Whatever the value holds and the model asks, the answer is no longer than allowed."""
    assert estimate_tokens(read(value, cap, search=search, offset=offset)) <= cap + 2


@given(st.text(), st.integers(0, 20))
def test_a_head_is_cut_to_its_tokens(text: str, tokens: int) -> None:
    """The cut text is a head of the text and within the count, for a counter that weighs bytes too."""
    for count in (estimate_tokens, lambda head: len(head.encode())):
        head = clipped(text, tokens, count)

        assert text.startswith(head)
        assert count(head) <= tokens


def test_the_tool_is_read_only_to_the_guard() -> None:
    """The definition carries its flags and names every argument that is understood."""
    spec = ToolSpec.from_schema(READ_VALUE_SCHEMA)

    assert (spec.name, spec.read_only, spec.idempotent) == (READ_VALUE, True, True)
    assert READ_VALUE_SCHEMA["function"]["parameters"]["required"] == ["reference"]
