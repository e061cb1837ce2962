"""How text becomes words, and a query what is sought."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.recall.query import read_query
from summarizer.recall.words import PASSAGE, passages, query_words, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Parcels, parcel!", ["parcel", "parcel"]),
        ("AB-7731", ["ab-7731", "ab", "7731"]),
        ("getUserById", ["getuserbyid", "get", "user", "by", "id"]),
        ("HTTPServer2", ["httpserver2", "http", "server", "2"]),
        ("src/app.py", ["src/app.py", "src", "app", "py"]),
        ("v12", ["v12", "v", "12"]),
        ("Žluťoučký Ａ", ["zlutoucky", "a"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("id東京", ["id", "東", "京", "東京"]),
        ("companies glass status", ["company", "glass", "status"]),
    ],
)
def test_words_of_a_text(text: str, found: list[str]) -> None:
    """Ids whole and in parts, names in their pieces, unspaced scripts in pairs, case and accents aside."""
    assert found == words(text)


@given(st.text())
def test_what_is_sought_is_among_what_is_indexed(text: str) -> None:
    """Each word of a query is a word of the same text as it is indexed."""
    assert set(query_words(text)) <= set(words(text))


@given(st.text(max_size=40), st.integers(0, 200))
def test_passages_are_the_text(text: str, times: int) -> None:
    """Put together, passages are the text again, and none is longer than it may be."""
    whole = text * times
    found = list(passages(whole))

    assert whole == "".join(found)
    assert all(0 < len(passage) <= PASSAGE for passage in found)


@pytest.mark.parametrize(
    ("text", "sought", "quotes"),
    [
        ("What is the door code?", ("door", "code"), ()),
        ("who are you", ("who", "are", "you"), ()),
        ('say "To  Be" now', ("say", "to", "be", "now"), ("to be",)),
        ("“naïve” `x_y` ''", ("naive", "x_y", "x", "y"), ("naïve", "x_y")),
        ('an open "quote', ("open", "quote"), ()),
        ("猫", ("猫",), ()),
        ("猫は", ("猫は",), ()),
        ('"" ??', (), ()),
    ],
)
def test_a_query_is_words_and_quotes(text: str, sought: tuple[str, ...], quotes: tuple[str, ...]) -> None:
    """Function words are left out unless nothing else is asked; quotes are kept as they are."""
    query = read_query(text)

    assert sought == query.words
    assert quotes == query.quotes


def test_a_pasted_page_is_a_bounded_query() -> None:
    """Ids and long words are kept, for they are the rare ones."""
    query = read_query(
        " ".join(["word"] * 500 + [f"w{n}x" for n in range(9)] + [f"filler{'a' * n}" for n in range(90)])
    )

    assert len(query.words) <= 24
    assert "w0x" in query.words
