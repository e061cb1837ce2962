"""The error tree of `guards`."""

import pytest

import guards
from guards import errors


def test_every_error_of_the_package_descends_from_its_root() -> None:
    """One `except GuardError` catches whatever guards raises on purpose."""
    kinds = [getattr(errors, name) for name in errors.__all__]

    assert [kind for kind in kinds if not issubclass(kind, errors.GuardError)] == []


def test_an_unresolved_reference_lists_what_is_known_nearest_first() -> None:
    """The text and the attributes name the reference and at most five candidates, in the order given."""
    error = guards.UnresolvedReferenceError("$v9", [f"$v{number}" for number in (8, 7, 6, 5, 4, 3)])

    assert str(error) == (
        "reference '$v9' names nothing (known: '$v8', '$v7', '$v6', '$v5', '$v4'); "
        "use a known one or the value"
    )
    assert error.known == ("$v8", "$v7", "$v6", "$v5", "$v4", "$v3")


def test_a_reference_in_an_empty_guard_says_that_nothing_is_known() -> None:
    """An empty list of candidates reads as none, not as an empty bracket."""
    assert "(known: none)" in str(guards.UnresolvedReferenceError("$v1"))


def test_a_limit_names_what_its_size_and_the_limit() -> None:
    """The text holds the thing, its size, the limit and the next step."""
    error = guards.GuardLimitError("the result of 'search'", 12, 10, "tokens")

    assert str(error) == (
        "the result of 'search' has 12 tokens, the limit is 10; raise the limit or bind a part of it"
    )
    assert (error.size, error.limit) == (12, 10)


def test_an_unknown_call_is_a_lookup_that_failed() -> None:
    """`except LookupError` catches it, and the id is quoted."""
    with pytest.raises(LookupError, match="'call_7'"):
        raise guards.UnknownCallError("call_7")
