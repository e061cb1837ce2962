"""The laws of comparing results: what moves by itself is no difference, what is said is one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.checks.results import Change, compare, echoes, said

TOWNS = ("Ant", "Bee", "Cat", "Dog", "Eel", "Fox", "Gnu", "Hen", "Ibis", "Jay", "Kiwi", "Lynx", "Mole")
PAGE = "\n".join(f"{town} is a town on the river" for town in TOWNS)
SAME = {
    "a named clock": ({"rows": 3, "now": "2026-01-01T00:00:00Z"}, {"rows": 3, "now": "2026-02-01T09:30:00Z"}),
    "a clock that ticks": ("It is 10:41:07.", "It is 10:41:09."),
    "a clock in minutes": ("It is 10:41.", "It is 10:42."),
    "a clock over midnight": ("It is 23:59:59.", "It is 00:00:01."),
    "seconds since 1970": ({"rows": 3, "ts": 1767225600}, {"rows": 3, "ts": 1767225700}),
    "a request number": ({"data": "x", "request_id": 1041}, {"data": "x", "request_id": 1047}),
    "a camel-cased id": (
        {"data": "x", "requestId": "9f3b2c1d-0000-4000-8000-000000000000"},
        {"data": "x", "requestId": "11112c1d-0000-4000-8000-00000000abcd"},
    ),
    "an opaque token": ("Session a8f3c2d1e4b5 found 2 rows", "Session b91c22d1e4ff found 2 rows"),
    "an id without a name": (PAGE + " (a8f3c2d1e4b5)", PAGE + " (b91c22d1e4ff)"),
    "a duration": ("1 failed, 3 passed in 0.12s", "1 failed, 3 passed in 1.05s"),
    "an update that goes with the clock": ("Updated at 10:41:07.", "Updated at 10:41:08."),
    "milliseconds": ({"ok": True, "elapsed_ms": 12}, {"ok": True, "elapsed_ms": 17}),
    "a counter of visitors": ("Welcome. 1041 views", "Welcome. 1042 views"),
    "the order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "json as text": (
        '{"rows": 3, "ts": "2026-01-01T00:00:00Z"}',
        '{"rows": 3, "ts": "2026-01-01T05:00:00Z"}',
    ),
    "a server time": ("server time: 10:00", "server time: 15:00"),
}
CHANGED = {
    "a number": ({"rows": 3}, {"rows": 4}),
    "a share": ("10 % done", "20 % done"),
    "a count of failures": ("2 failed, 3 passed in 0.1s", "1 failed, 4 passed in 0.1s"),
    "a countdown": ("30 s left", "20 s left"),
    "a word": ({"state": "open"}, {"state": "closed"}),
    "an appointment": ({"next_slot": "2026-01-01T10:00:00Z"}, {"next_slot": "2026-01-01T14:00:00Z"}),
    "a flight that is late": ("HAT12 departs at 10:40.", "HAT12 departs at 10:55."),
    "a departure": ({"departure_time": "10:40"}, {"departure_time": "12:10"}),
    "a part of a whole": ("3 of 10 are done", "4 of 10 are done"),
    "views that jump": ({"video": "intro", "views": 100}, {"video": "intro", "views": 150}),
    "a time of modification": ({"modified": "2026-01-01 01:00:00"}, {"modified": "2026-01-01 02:00:00"}),
    "a level": ("The tank is now at 40", "The tank is now at 41"),
    "what requests did": ("Request processed: 17 rows", "Request processed: 18 rows"),
    "a date": ({"due": "2026-01-01"}, {"due": "2026-01-02"}),
    "an answer that is a clock": ("2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z"),
    "an answer that is an id": ("a8f3c2d1e4b5a8f3c2d1e4b5", "b8f3c2d1e4b6b8f3c2d1e4b6"),
    "the next of many ids": ({"job": "a8f3c2d1e4b5", "ok": True}, {"job": "b8f3c2d1e4b6", "ok": True}),
    "a picture": ({"img": "iVBORw0KGgoAAAANS00"}, {"img": "iVBORw0KGgoAAAANS07"}),
    "a checksum": ({"file": "x", "sha256": "a8f3c2d1e4b5"}, {"file": "x", "sha256": "b8f3c2d1e4b6"}),
    "a clock that goes back": ("It is 10:41:09.", "It is 10:40:02."),
    "an answer and an error": ({"text": "x"}, {"error": "x"}),
    "true and one": ({"ok": True}, {"ok": 1}),
    "a row more": (PAGE, PAGE + "\nOx is a town on the river"),
    "a row less": (PAGE, PAGE.split("\n", 1)[1]),
    "another state in a long page": (PAGE + "\nstatus: a b c", PAGE + "\nstatus: d e f"),
    "another number in a long page": (PAGE + "\ninhabitants: 17", PAGE + "\ninhabitants: 19"),
    "two rows of a page": (PAGE.replace("Ant", "Ape").replace("Fox", "Foal"), PAGE),
}


@pytest.mark.parametrize("name", SAME)
def test_what_moves_by_itself_is_no_difference(name: str) -> None:
    """Clocks, opaque ids, durations and counters of calls differ while nothing else does."""
    old, new = (said(value) for value in SAME[name])

    assert Change.SAME is compare(old, new, 1.0).change


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_said_is_a_difference(name: str) -> None:
    """A number, a word, a state, a row: whatever may be news is news."""
    old, new = (said(value) for value in CHANGED[name])

    assert Change.CHANGED is compare(old, new, 1.0).change


def test_one_other_line_of_a_long_page_may_be_noise() -> None:
    """The place of the difference is told, so that the next one can confirm it."""
    old, new = said(PAGE + "\nBuy a yellow hat"), said(PAGE + "\nTry the new soup")

    assert compare(old, new) == (Change.NOISE, 13)


def test_another_id_is_news_where_something_may_have_been_made() -> None:
    """A passing id is none; nor is an id noise because one other line of a long page might be."""
    one, other = "a8f3c2d1e4b5", "b91c22d1e4ff"
    for text in (PAGE + " ({})", PAGE + "\nThe new ticket is {}"):
        assert Change.CHANGED is compare(said(text.format(one)), said(text.format(other)), made=True).change
    passing = PAGE + "\nrequest id: {}"

    assert Change.SAME is compare(said(passing.format(one)), said(passing.format(other)), made=True).change


def test_a_number_that_goes_up_by_one_may_be_a_counter() -> None:
    """It is set apart, because it may as well be progress."""
    text = "Thank you for your interest in our town, you are guest {} of all who came to see it since spring"

    assert Change.COUNTED is compare(said(text.format(17)), said(text.format(18))).change
    assert Change.CHANGED is compare(said(text.format(17)), said(text.format(19))).change


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, JSON)
def test_a_result_says_the_same_as_itself_and_comparing_never_raises(one: Any, other: Any) -> None:
    """Comparing is reflexive, and takes any two results."""
    assert Change.SAME is compare(said(one), said(one)).change
    assert compare(said(one), said(other)).change in Change


@pytest.mark.parametrize(
    "huge",
    [
        "x" * 10_000_000,
        [{"id": i} for i in range(200_000)],
        {str(i): i for i in range(200_000)},
        [["y" * 10_000_000]],
        {"n": 10**5_000},
    ],
    ids=["text", "list", "object", "nested", "integer"],
)
def test_a_huge_result_is_read_at_its_ends(huge: Any) -> None:
    """What is kept of a result is bounded, and two huge equal ones are the same."""
    kept = said(huge)

    assert len(kept.text) <= 16_001
    assert Change.SAME is compare(kept, said(huge)).change


@pytest.mark.parametrize(
    ("result", "goes_on"),
    [
        ({"state": "pending"}, True),
        ("HTTP 202", True),
        ("The job is still running", True),
        ({"status": "in_progress"}, True),
        ("queued", True),
        ("done", False),
        ("The order is non-pending", False),
        ("running " * 1_000, False),
    ],
)
def test_an_answer_may_say_that_work_goes_on(result: Any, goes_on: bool) -> None:
    """Short answers that tell a state of work earn more patience."""
    assert goes_on is said(result).goes_on


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [("retry later", True), ("429 Too Many Requests", True), ("no pending order", False)],
)
def test_an_error_goes_on_only_if_it_asks_to_come_back(error: str, goes_on: bool) -> None:
    """In an error a state is what it complains of."""
    assert goes_on is said(None, error).goes_on


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ("Error: no such user", True),
        ("ValueError: no digits", True),
        ("Error executing tool get", True),
        ('{"error": "gone"}', True),
        ({"error": "gone"}, True),
        ({"success": False}, True),
        ("Traceback (most recent call last):", True),
        ("Failed to connect.", True),
        ('{"error": null, "rows": 3}', False),
        ({"error": None, "rows": 3}, False),
        ("failed: 0, passed: 12", False),
        ("Error handling in shells, a guide", False),
        ("no error", False),
    ],
)
def test_a_result_may_read_as_a_failure(result: Any, failed: bool) -> None:
    """Tools report failures as results; they are compared as failures."""
    assert failed is said(result).failed


def test_an_echo_can_be_blanked() -> None:
    """Two answers that differ only in what they repeat of the question say the same."""
    one, other = (
        said(f"No hits for {q!r} in this shop.", hide=echoes({"q": q})) for q in ("red wine", "wine, red")
    )

    assert Change.SAME is compare(one, other).change


@pytest.mark.parametrize(
    ("result", "goes_on"),
    [
        ({"name": "Action Camera", "price": 503.58}, False),
        ({"status": 202}, True),
        ({"error": "503 Service Unavailable"}, True),
        ("HTTP 429", True),
        ("429 slow down", True),
        ({"count": 202}, False),
    ],
    ids=str,
)
def test_a_price_is_no_status(result: Any, goes_on: bool) -> None:
    """A number says that work goes on only where it stands as a status."""
    assert said(result).goes_on is goes_on
