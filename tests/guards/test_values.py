from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.checks.values import (
    alike,
    amounts,
    code_spellings,
    date_of,
    date_spellings,
    decimals,
    normalize,
    number_of,
    numbers_in,
    range_of,
    spoken_numbers,
    unquoted,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1250, 1250),
        ("1250", 1250),
        ("1,250", 1250),
        ("1.250,00", 1250),
        ("1,250.50", 1250.5),
        ("12,50,000", 1250000),
        ("1 250", 1250),
        ("1'250", 1250),
        ("$1,250.00", 1250),
        ("-$1,250", -1250),
        ("1250 EUR", 1250),
        ("US$5", 5),
        ("50%", 50),
        (".5", 0.5),
        ("1e3", 1000),
        ("−7", -7),
        (True, None),
        (None, None),
        ("02139", None),
        ("3-4", None),
        ("1.2.3", None),
        ("$USD", None),
        ("W12", None),
        ("", None),
        (float("nan"), None),
    ],
)
def test_a_leaf_is_a_number_in_any_format_and_nothing_else_is(value, expected):
    """A leaf that spells one number is that number; codes, versions, ranges and bools are none."""
    assert expected == number_of(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use 3-4 items", {3, 4}),
        ("-7", {7, -7}),
        ("(-3.5)", {3.5, -3.5}),
        ("3-4.5", {3, 4.5}),
        ("1,250 dollars", {1250, 1.25}),
        ("1.250,00", {1250}),
        ("50%", {50, 0.5}),
        ("12.5 percent", {12.5, 0.125}),
        ("1,2,3", {1, 2, 3}),
        ("1.5,2.5", {1.5, 2.5}),
        ("version 1.2.3", set()),
        ("-$1,250.50", {1250.5, -1250.5}),
        ("from .5 on", {5, 0.5}),
    ],
)
def test_text_holds_the_numbers_that_a_reader_would_see(text, expected):
    """A dash between two numbers is no minus; every sensible reading of separators counts."""
    assert expected == set(numbers_in(text))


@given(st.integers(-(10**15), 10**15))
def test_whole_numbers_round_trip_through_formats(number):
    """A whole number is read back from plain, grouped, spaced and priced spellings."""
    shown = [str(number), f"{number:,}", f"{number:,}".replace(",", " "), f"{number:,}".replace(",", "'")]
    shown += [f"{number:,}.00", f"{number:,}".replace(",", ".") + ",00", f"{number} EUR"]

    assert [number] * len(shown) == [number_of(text) for text in shown]


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_amounts_round_trip_through_formats(amount):
    """An amount with two places is read back from the English and the German spelling."""
    english = f"{amount:,}"
    german = english.translate(str.maketrans(",.", ".,"))

    assert [float(amount)] * 3 == [number_of(text) for text in (str(amount), english, german)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-26", (date(2024, 5, 26),)),
        ("2024-05-26T10:30:00Z", (date(2024, 5, 26),)),
        ("2024/5/26", (date(2024, 5, 26),)),
        ("05/26/2024", (date(2024, 5, 26),)),
        ("05/06/2024", (date(2024, 5, 6), date(2024, 6, 5))),
        ("26.05.2024", (date(2024, 5, 26),)),
        ("May 26th, 2024", (date(2024, 5, 26),)),
        ("26 May 2024", (date(2024, 5, 26),)),
        ("Sunday, 26 of May 2024", (date(2024, 5, 26),)),
        ("May 26", ()),
        ("2024-13-45", ()),
        ("hello 26 2024", ()),
    ],
)
def test_a_text_is_a_day_in_any_usual_spelling(text, expected):
    """A whole text that names a day with its year is that day, or both that it may be."""
    assert expected == date_of(text)


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_every_spelling_with_a_year_means_its_day(day):
    """What a day is looked for as, is read back as that day, digits in one run aside."""
    spelled = [text for text, with_year in date_spellings(day) if with_year and not text.isdigit()]

    assert all(day in date_of(text) for text in spelled if len(text) >= 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3-4", (3, 4)),
        ("3 to 4", (3, 4)),
        ("3–4", (3, 4)),
        ("1,000-2,000", (1000, 2000)),
        ("3", None),
        ("a-b", None),
    ],
)
def test_a_range_has_two_ends(text, expected):
    """`3-4` is 3 and 4, whatever the dash; never minus four."""
    assert expected == range_of(text)


def test_numbers_are_spoken_in_words_thousands_and_shares():
    """A number is also looked for as a word, in short, and as a percentage."""
    assert {"seven"} == set(spoken_numbers(7))
    assert {"1.5k", "1.5 thousand", "1 500", "1'500"} == set(spoken_numbers(1500))
    assert {"12.5%", "12.5 %", "12.5 percent"} == set(spoken_numbers(0.125))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("W1588712", "#W1588712", True),
        ("W1588712", "w1588721", True),
        ("W1588712", "W9999999", False),
        ("credit_card_7334", "credit_card_7335", True),
        (1250, 1251, True),
        (1250, 1275, False),
        (True, 1, False),
        ("", "", False),
        ("a1", "b2", False),
    ],
)
def test_scalars_are_alike_if_they_differ_by_a_slip(left, right, expected):
    """Case, punctuation and two neighbouring characters may differ; of a number, one digit."""
    assert expected is alike(left, right)
    assert expected is alike(right, left)


def test_texts_are_compared_without_case_dashes_and_widths():
    """Case, typographic dashes and quotes, full-width digits and hard spaces make no difference."""
    assert normalize("A–B ‘C’ １２ 1\u00a0250") == "a-b 'c' 12 1 250"


def test_codes_are_found_with_other_separators():
    """A telephone number is the same in any of its usual groupings."""
    assert "(555) 123-2002" in set(code_spellings("555-123-2002"))
    assert "555-123-2002" in set(code_spellings("5551232002"))
    assert set() == set(code_spellings("free text"))


def test_amounts_stand_apart_from_identifiers_and_clocks():
    """What arithmetic starts from are amounts, not the digits of ids, days and times."""
    assert amounts("pay $1,250.50 and 30 for w-17 on 2024-05-26 at 10:30") == "$1,250.50 30"


def test_quotes_are_those_that_enclose_the_whole_text():
    """Only a text that begins and ends with a pair of quotes is quoted."""
    assert unquoted('"a b"') == "a b"
    assert unquoted('"a" b') is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimals_are_counted_for_any_float(number):
    """Counting the places never fails, and whole numbers have none."""
    assert decimals(number) >= 0
    assert decimals(float(int(number))) == 0


@given(st.text())
def test_reading_never_fails(text):
    """Any text can be read, for whatever it is."""
    normal = normalize(text)

    list(numbers_in(normal))
    number_of(text)
    date_of(text)
    range_of(text)
    list(code_spellings(normal))
