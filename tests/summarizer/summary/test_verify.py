"""Is every value proved?"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.summary.verify import UNVERIFIED, SourceIndex, verify_text

SOURCES = SourceIndex(
    [
        "Order #W1588712 costs $1,250.00 and ships 2024-05-26 at 17:00:00 to '943 Maple Drive'. Two bags.",
        'See /src/app/main.py:12 and https://x.io/a?b=1; user lucas_santos_6600 said "please  hurry".',
        '{"price": 213.86, "zip": "60621", "flight": "HAT271", "mail": "a.b@c.io"}',
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        "Order #W1588712 for 1250 USD, $1,250, 1.250,00 EUR or 1250.0.",
        "Order W1588712 ships May 26, 2024, 26 May, 05/26/2024 at 5 pm (17:00).",
        "The file main.py in app, at src/app/main.py, line 12; 2 bags.",
        "lucas_santos_6600 flies HAT271, mail a.b@c.io, https://x.io/a?b=1.",
        'The user said "Please hurry".',
        "1. First of all\n2. and/or so, e.g. a self-check.",
        "Nothing exact in here at all.",
        "",
    ],
)
def test_what_the_sources_say_stays(text: str) -> None:
    """A proved value stays as it is written, whatever its format; plain words are not checked."""
    assert verify_text(text, SOURCES).text == text


@pytest.mark.parametrize(
    ("text", "unproved"),
    [
        ("It cost $1,250.50.", ("$1,250.50",)),
        ("It ships May 27.", ("May 27",)),
        ("It ships at 6 pm.", ("6 pm",)),
        ("Order #W1588713 and #W1588712.", ("#W1588713",)),
        ("In src/app/other.py it is.", ("src/app/other.py",)),
        ("Look at https://x.io/zz there.", ("https://x.io/zz",)),
        ('He said "never mind".', ('"never mind"',)),
        ("All 3 bags.", ("3",)),
        ("Mail x.b@c.io.", ("x.b@c.io",)),
        ("Calls get_order_details now.", ("get_order_details",)),
    ],
)
def test_what_no_source_says_goes(text: str, unproved: tuple[str, ...]) -> None:
    """A value that no source has is replaced by the mark, its sentence stays."""
    found = verify_text(text, SOURCES)

    assert found.unproved == unproved
    assert found.text == text.replace(unproved[0], UNVERIFIED)


@given(st.text(max_size=300))
def test_a_text_proves_itself(text: str) -> None:
    """Whatever a source says verbatim is proved by it, and checking again changes nothing."""
    words = " ".join(text.split())
    once = verify_text(words, SOURCES)

    assert verify_text(once.text, SOURCES).text == once.text


@given(
    st.lists(
        st.from_regex(r"[A-Za-z]{1,5}[-_]?[0-9]{1,6}|[0-9]{1,7}(\.[0-9]{2})?", fullmatch=True), max_size=20
    )
)
def test_ids_and_numbers_prove_themselves(values: list[str]) -> None:
    """Identifiers and numbers of a source are proved by it."""
    text = " ".join(f"{value}," for value in values)

    assert verify_text(text, SourceIndex([text])).unproved == ()


@pytest.mark.parametrize("stretch", ["a", "a.b.", "1,1", "a/", '"', "may 1 ", "1 ", "x_1 ", "1:1"])
def test_indexing_is_linear(stretch: str) -> None:
    """A megabyte of one pattern is indexed in less than five seconds, and a text checked against it."""
    text = stretch * (1_000_000 // len(stretch))
    begun = time.perf_counter()
    verify_text(text[:20_000], SourceIndex([text]))

    assert time.perf_counter() - begun < 5


def test_a_version_is_no_date() -> None:
    """Numbers in the shape of a date that name no day are proved by standing there, and only so."""
    sources = SourceIndex(["Onboarding is up to 16.19.23. The party is on 16.12.23."])

    assert verify_text("Onboarding is at 16.19.23 now, after 16.12.23.", sources).unproved == ()
    assert verify_text("Onboarding is at 16.19.24 now.", sources).unproved == ("16.19.24",)
