"""How text becomes words, and a query what is sought."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.recall import words as words_module
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
        ("हिन्दी में किताब", ["हिन्दी", "में", "किताब"]),
        ("বাংলা தமிழ் മലയാളം", ["বাংলা", "தமிழ்", "മലയാളം"]),
        ("กุญแจ", ["กุ", "ญ", "แ", "จ", "กุญ", "ญแ", "แจ"]),
        ("ខ្មែរ", ["ខ្មែ", "រ", "ខ្មែរ"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ", "ພາ", "າສ", "ສາ"]),
        ("كَتَبَ أحمد", ["كتب", "احمد"]),
        ("שָׁלוֹם", ["שלום"]),
        (
            "\u0645\u06cc\u200c\u0631\u0648\u0645",
            ["\u0645\u064a\u0631\u0648\u0645", "\u0645\u064a", "\u0631\u0648\u0645"],
        ),
        ("葛\U000e0100城", ["葛", "城", "葛城"]),
        ("कक्ष ४२, ٤٢", ["कक्ष", "42", "42"]),
        ("soft\u00adly 1\ufe0f\u20e3 ☎️", ["softly", "1"]),
    ],
)
def test_words_of_a_text(text: str, found: list[str]) -> None:
    """Ids whole and in parts, names in their pieces, unspaced scripts in pairs, case and accents aside."""
    assert found == words(text)


@pytest.mark.parametrize(
    ("said", "sought"),
    [("किताब", "कताब"), ("दिन", "दान"), ("কলম", "কালম"), ("กิน", "กัน"), ("ប៊ិច", "បាច"), ("மரம்", "மாரம்")],
)
def test_a_word_of_indic_scripts_is_not_found_by_another_of_its_letters(said: str, sought: str) -> None:
    """Vowel signs are part of a word: one that differs in them alone is another word."""
    assert set(words(said)).isdisjoint(query_words(sought))


def test_long_tokens_are_not_kept() -> None:
    """What is kept at hand is bounded in number and in length, whatever texts come."""
    words(" ".join(f"{n}" + "東" * 500 for n in range(50)))
    words(" ".join(f"w{n}" for n in range(words_module._KEPT + 100)))

    assert len(words_module._forms_of) <= words_module._KEPT
    assert max(map(len, words_module._forms_of)) <= words_module._KEPT_CHARS


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
