"""What bears on a text: words in any order and script, exact identifiers, rare before common."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.memory.relevance import PageIndex, snippet
from tests.summarizer.memory.paged import texts


def index_of(*pages: str) -> PageIndex:
    index = PageIndex()
    for number, text in enumerate(pages):
        index.add(str(number), text)
    return index


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("database postgres", "0"),
        ("what does ORD-17 cost", "1"),
        ("src/app.py", "2"),
        ("cranes", "3"),
        ("数据库", "4"),
        ("DATENBANKEN", "5"),
    ],
)
def test_the_page_that_says_it_comes_first(query: str, found: str) -> None:
    """Order and case do not matter, nor a plural's s; identifiers and unspaced scripts are found."""
    index = index_of(
        "Postgres is our database.",
        "ORD-17 is 5 EUR. It is late.",
        "Edit src/app.py and src/cli.py.",
        "The crane lifts 40 t.",
        "我们的数据库是新的。",
        "Alle Datenbanken sind neu.",
    )

    assert index.search(query)[0].page_id == found


def test_a_word_that_stands_everywhere_tells_nothing() -> None:
    """Of ten pages that share a word, none is found by it."""
    assert index_of(*(f"order {n}" for n in range(10))).search("order") == []


@settings(max_examples=50, deadline=None)
@given(pages=st.lists(texts, max_size=8), query=texts)
def test_a_page_that_is_removed_leaves_no_trace(pages: list[str], query: str) -> None:
    """The index after adding and removing is the index before."""
    index, plain = index_of("alpha", *pages), index_of("alpha")
    for number, text in enumerate(pages, 1):
        index.remove(str(number), text)

    assert vars(index) == vars(plain)
    assert index.search(query) == plain.search(query)


def test_a_snippet_shows_where_the_words_stand() -> None:
    """The stretch with most of the words, marked where it is cut."""
    text = f"{'filler ' * 200}the crane lifts 40 t {'filler ' * 200}"

    assert "crane lifts 40" in snippet(text, "what lifts the crane")
    assert snippet(text, "crane")[:3] == snippet(text, "crane")[-3:] == "..."
    assert snippet("short", "none of it") == "short"
