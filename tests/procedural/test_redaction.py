"""Secrets and forms."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural.redaction import REDACTED, is_secret_name, redact
from procedural.shapes import SECRET, form_of, leaves_of, result_shape, word_value


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "userPassword",
        "API_KEY",
        "apiKey",
        "X-Auth-Token",
        "client_secret",
        "Authorization",
        "pin",
    ],
)
def test_a_field_that_says_secret_holds_one(name: str) -> None:
    """In any writing of the name, at any depth, whatever the value looks like."""
    assert is_secret_name(name)
    assert leaves_of({"a": [{name: {"deep": "x"}}]}) == {f"a[0].{name}": SECRET}


@pytest.mark.parametrize(
    "name", ["max_tokens", "token_count", "keyboard", "key", "author", "passenger", "spin"]
)
def test_a_field_that_only_sounds_like_it_does_not(name: str) -> None:
    """A number of tokens and an author are no secrets."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdEFGH1234567890",
        "Authorization: Bearer abcdef123456789",
        "postgres://me:pa55@host/db",
        "password is zebrafish",
        '{"api_key": "abc123xyz"}',
        "AWS wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY1",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
    ],
)
def test_the_well_known_shapes_of_secrets_are_blacked_out(text: str) -> None:
    """Nothing of the secret is left."""
    shown = redact(text)

    assert REDACTED in shown
    assert [part for part in ("abc", "pa55", "zebra", "MII", "EXAMPLE") if part in shown] == []


@pytest.mark.parametrize(
    "text", ["/testbed/tests/test_module_12/case_3.py", "order W123 not found", "2026-05-01"]
)
def test_ordinary_text_stays(text: str) -> None:
    """Paths, ids and dates are no secrets."""
    assert redact(text) == text


@given(st.text(max_size=300))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    """What is black stays black."""
    assert redact(redact(text)) == redact(text)


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=60),
        lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=9),
        max_leaves=9,
    )
)
def test_every_leaf_has_a_short_form(value: object) -> None:
    """Whatever the arguments are, traces hold forms of at most 40 characters."""
    leaves = leaves_of(value)

    assert len(leaves) <= 64
    assert all(len(form_of(leaf)) <= 40 for leaf in leaves.values())


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (0, "zero"), (-3, "negative int"), (2.5, "float"), (True, "bool"), (None, "null"), ("", "blank"),
        ("2026-05-01", "date YYYY-MM-DD"), ("5", "whole number as text"), ("1,250.50", "number as text"),
        ("a@b.org", "email"), ("https://x.y/z", "url"), ("/tmp/x", "absolute path"),
        ("src/x.py", "relative path"),
        ("#W123", "id with #"), ("HAT290", "upper-case code"), ("gift_card_12", "id"), ("Paris", "word"),
        ("two words", "text"),
    ],
)  # fmt: skip
def test_forms_say_how_a_value_is_written(value: object, form: str) -> None:
    """Not what it is."""
    assert form_of(leaves_of({"x": value})["x"]) == form


@pytest.mark.parametrize(
    ("value", "kept"), [("basic economy", True), (True, True), ("HXDUBJ", False), (5, False), ("a1", False)]
)
def test_only_short_plain_words_are_kept_as_choices(value: object, kept: bool) -> None:
    """Numbers, codes and ids are what a call was about."""
    assert (word_value(leaves_of({"x": value})["x"]) is not None) is kept


def test_the_outline_of_a_result_names_few_plain_keys() -> None:
    """Keys that are data are not named."""
    assert result_shape({"status": 200}) == "object(status)"
    assert result_shape({"not a name!": 1}) == "object"
    assert result_shape({str(n): n for n in range(10**5)}) == "object"
    assert [result_shape(one) for one in ([], [1], "", "x", None, 2, object())] == [
        "empty list", "list", "blank text", "text", "null", "number", "object",
    ]  # fmt: skip
