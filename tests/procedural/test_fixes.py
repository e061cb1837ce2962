"""What is a correction, and what is another question."""

from typing import Any

import pytest

from procedural import Change
from procedural.fixes import Attempt, changes_between
from procedural.goals import goal_of
from procedural.shapes import leaves_of


def attempt(arguments: dict[str, Any], error: str = "", goal: str | None = None) -> Attempt:
    """A call of one tool; with an error text, a failed one."""
    return Attempt("t1", "tool", leaves_of(arguments), goal_of(goal)[0], error or None, error)


def kinds(found: tuple[Change, ...] | None) -> list[str] | None:
    """What kinds of changes were found."""
    return None if found is None else [change.kind for change in found]


@pytest.mark.parametrize(
    ("failed", "error", "later"),
    [
        ({"city": "Atlantis"}, "unknown city", {"city": "Paris"}),
        ({"city": "Atlantis"}, "not found: Atlantis", {"city": "Paris", "units": "metric"}),
        ({"id": 5}, "id 5 not found", {"id": 7}),
        ({"flight": "HAT290"}, "not enough seats on flight HAT290", {"flight": "HAT229"}),
        ({"order": "#W1234567"}, "order not found", {"order": "#W1234568"}),
        ({"city": "Atlantis"}, "unknown city", {"zip": "75001"}),
        ({"path": "a.txt"}, "no such file", {"path": "b.txt"}),
        ({"date": "2026-01-05"}, "no data for this date", {"date": "2026/01/06"}),
        ({"a": 1, "b": 2, "c": 3}, "bad request", {"a": "1", "b": "2", "c": "3"}),
        ({"items": [{"id": "x"}]}, "not found", {"items": [{"id": "x"}, {"id": "y"}]}),
        ({"command": "ls a b c d e f g"}, "failed", {"command": "ls  a b c d e f g"}),
        ({"x": "user"}, "bad word", {"x": "superuser"}),
    ],
)
def test_another_question_is_no_correction(failed: dict[str, Any], error: str, later: dict[str, Any]) -> None:
    """Where only the subject changed, the first call stays uncorrected, however near the second is."""
    assert changes_between(attempt(failed, error), attempt(later)) is None


@pytest.mark.parametrize(
    ("failed", "error", "later", "kind"),
    [
        ({"date": "2026/01/02"}, "bad date", {"date": "2026-01-02"}, "retyped"),
        ({"n": "5"}, "n must be a number", {"n": 5}, "retyped"),
        ({"order": "W123"}, "order not found", {"order": "#W123"}, "retyped"),
        ({"city": "new york"}, "unknown city", {"city": "New York"}, "respelled"),
        ({"path": "report"}, "no such file", {"path": "report.txt"}, "extended"),
        ({"q": "x"}, "country is required", {"q": "x", "country": "FR"}, "added"),
        ({"q": "x", "beta": True}, "unexpected argument", {"q": "x"}, "removed"),
        ({"location": "Paris"}, "missing city", {"city": "Paris"}, "renamed"),
        ({"unit": "kelvin"}, "use one of celsius, fahrenheit", {"unit": "celsius"}, "named"),
        ({"limit": 5000}, "limit too large", {"limit": 500}, "lowered"),
        ({"days": 0}, "days must be at least a week", {"days": 9}, "raised"),
        ({"amount": 299}, "total price is 375, but paid 299", {"amount": 375}, "named"),
        ({"amount": 171}, "total price is 375, but paid 299", {"amount": 247}, "adjusted"),
    ],
)
def test_a_correction_shows_what_it_corrects(
    failed: dict[str, Any], error: str, later: dict[str, Any], kind: str
) -> None:
    """Another form, spelling or name, a part more or less, or the number that the error asked for."""
    assert [kind] == kinds(changes_between(attempt(failed, error), attempt(later)))


@pytest.mark.parametrize(
    ("failed", "error", "later"),
    [
        ({"city": "York"}, "unknown city", {"city": "New York"}),
        ({"amount": 900}, "too large", {"amount": 3}),
        ({"n": 1}, "too small", {"n": 70}),
        ({"city": "Atlantis"}, "no data", {}),
        ({}, "no data", {"city": "Paris"}),
    ],
)
def test_without_a_goal_two_unrelated_questions_are_no_fix(
    failed: dict[str, Any], error: str, later: dict[str, Any]
) -> None:
    """Nothing shows that they ask the same; one known goal makes a correction of them."""
    goal = "what the user wants"

    assert changes_between(attempt(failed, error), attempt(later)) is None
    assert changes_between(attempt(failed, error, goal), attempt(later, goal=goal))


def test_the_same_call_again_is_a_retry() -> None:
    """No change at all is told apart from no correction."""
    assert changes_between(attempt({"q": 1}, "timeout"), attempt({"q": 1})) == ()


def test_another_goal_is_another_question() -> None:
    """What would be a correction for one goal is none between two."""
    failed = attempt({"date": "2026/01/02"}, "bad date", "the weather in Rome")
    same = attempt({"date": "2026-01-02"}, goal="weather for Rome, please")
    other = attempt({"date": "2026-01-02"}, goal="the next train to Oslo")

    assert kinds(changes_between(failed, same)) == ["retyped"]
    assert changes_between(failed, other) is None


def test_the_same_subject_makes_up_for_other_words() -> None:
    """A user's "yes, do so" between two calls on one order does not part them."""
    failed = attempt({"order": "#W123", "date": "2026/01/02"}, "bad date", "move my order")
    later = attempt({"order": "#W123", "date": "2026-01-02"}, goal="yes, go ahead")

    assert kinds(changes_between(failed, later)) == ["retyped"]


def test_a_secret_is_never_compared() -> None:
    """A changed password is no lesson."""
    failed = attempt({"password": "a", "user": "sk-abcdefghijklmnop"}, "denied")
    later = attempt({"password": "b", "user": "sk-qrstuvwxyzabcdef"})

    assert changes_between(failed, later) == ()
