from __future__ import annotations

import base64
import random
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting
from summarizer.meter import TokenCounter, counter_for_model, counter_named, set_counter, tokens

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
O200K = counter_named("o200k_base")


@pytest.mark.parametrize(
    ("model", "name", "exact"),
    [
        ("gpt-4o", "o200k_base", True),
        ("gpt-4o-2024-08-06", "o200k_base", True),
        ("gpt-5.1", "o200k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("openai/gpt-4o", "o200k_base", True),
        ("azure/gpt-4o", "o200k_base", True),
        ("azure/us/gpt-4o-2024-08-06", "o200k_base", True),
        ("openrouter/openai/gpt-4o", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "o200k_base", True),
        ("text-davinci-003", "p50k_base", True),
        ("gpt-oss-20b", "o200k_harmony", True),
        ("davinci", "o200k_base", False),  # Its ranks (r50k) are not shipped.
        ("azure/my-deployment", "o200k_base", False),
        ("openai/local-model", "o200k_base", False),
        ("groq/gpt-4o", "o200k_base", False),
        ("claude-opus-4-8", "o200k_base", False),
        ("", "o200k_base", False),
        (None, "o200k_base", False),
    ],
)
def test_a_model_is_counted_exactly_only_if_it_is_openais(model: str | None, name: str, exact: bool) -> None:
    """OpenAI's models get their own encoding, every other model the nearest and `exact` false."""
    counter = counter_for_model(model)

    assert (counter.name, counter.exact) == (name, exact)


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None)
def test_counting_never_raises(text: str) -> None:
    """Any text has a count, lone surrogates and null characters included."""
    for name in ("o200k_base", "cl100k_base", "p50k_base", "utf8/4"):
        count = counter_named(name).count(text)

        assert 0 <= count <= max(1, len(text.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("marker", ["<|endoftext|>", "<|endofprompt|>", "<|im_start|>", "<|fim_prefix|>"])
def test_control_strings_are_plain_text(marker: str) -> None:
    """A control string in a text costs what its characters cost."""
    assert O200K.count(marker) > 1
    assert counter_for_model("gpt-oss-20b").count(marker) == O200K.count(marker)


LONG = {
    "letter": "a" * 1_000_000,
    "blanks": " " * 1_000_000,
    "newlines": "\n" * 1_000_000,
    "base64": base64.b64encode(random.Random(1).randbytes(750_000)).decode(),
    "cjk": "的一是不了在人有我他这个们中来上大为" * 55_556,
    "surrogates": "\ud800" * 1_000_000,
    "emoji": "😀" * 250_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_a_megabyte_of_anything_is_counted_in_seconds(kind: str) -> None:
    """A run without end neither hangs, nor raises, nor panics; 20 s is forty times the usual time."""
    started = time.monotonic()
    count = O200K.count(LONG[kind])

    assert 0 < count <= len(LONG[kind]) * 3
    assert time.monotonic() - started < 20


WORDS = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
    | st.sampled_from(["word", "don't", "\n", "  ", "{'a': 1}", "2024-01-01", "/path/to", "\r\n\n", "\t"]),
    min_size=200,
    max_size=400,
)


@given(WORDS, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_cutting_long_texts_changes_no_count(words: list[str], rnd: random.Random) -> None:
    """A text with blanks in it counts in pieces as it counts whole, in both current encodings."""
    text = " ".join(words + rnd.choices(words, k=600))
    for name in ("o200k_base", "cl100k_base"):
        counter = counter_named(name)

        assert counter.count(text) == counter.load()(text)


@pytest.mark.parametrize(
    "unit", ["word;\n", "x;\n\n\n\n/b c", "a b.\n \n\tc", "{}\r\n\r\n1 2", "end\n/path "]
)
def test_no_cut_falls_where_the_encoding_makes_one_piece(unit: str) -> None:
    """Line ends that cling to what stands before or after them are never parted from it."""
    for name in ("o200k_base", "cl100k_base"):
        counter = counter_named(name)
        for shift in range(12):
            text = "s" * shift + unit * (12_000 // len(unit))

            assert counter.count(text) == counter.load()(text)


def test_a_text_without_blanks_is_off_by_one_a_piece_at_most() -> None:
    """Where a cut falls inside a run, it adds at most a token per 4,000 characters."""
    text = LONG["base64"][:200_000]

    assert abs(O200K.count(text) - O200K.load()(text)) <= 50


def test_the_estimator_is_a_quarter_of_the_bytes_rounded_up() -> None:
    """Without a table, four bytes of UTF-8 are a token."""
    estimator = counter_named("utf8/4")

    assert [estimator.count(t) for t in ("", "a", "abcd", "abcde", "你好", "\ud800")] == [0, 1, 1, 2, 2, 1]
    assert not estimator.exact


@pytest.mark.usefixtures("fresh")
def test_one_table_is_read_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that count for the first time together share one load, and agree."""
    from summarizer.meter import tables

    reads: list[str] = []
    read = tables._ranked_length
    monkeypatch.setattr(tables, "_ranked_length", lambda name: reads.append(name) or read(name))
    counter, counts = counter_named("cl100k_base"), list[int]()
    threads = [threading.Thread(target=lambda: counts.append(counter.count("hello world"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (reads, counts) == (["cl100k_base"], [2] * 8)


class Letters:
    def count(self, text: str) -> int:
        return len(text)


@pytest.mark.usefixtures("fresh")
def test_a_users_encoder_counts_under_its_own_name() -> None:
    """A registered encoder serves its model, whole texts at once, and is found again by name."""
    set_counter(Letters(), name="letters", model="mine")
    counter = counter_for_model("mine")

    assert (counter.name, counter.exact, counter.count("x" * 9001)) == ("letters", True, 9001)
    assert counter_named("letters").count("abc") == 3
    assert counter_for_model("gpt-4o").name == "o200k_base"


@pytest.mark.usefixtures("fresh")
def test_an_encoder_for_every_model_can_be_taken_back() -> None:
    """`model=None` covers all models that have none of their own; `None` ends it."""
    set_counter(Letters(), name="letters")

    assert counter_for_model("gpt-4o").name == "letters"

    set_counter(None)

    assert counter_for_model("gpt-4o").name == "o200k_base"
    with pytest.raises(InvalidSetting):
        counter_named("letters")


@pytest.mark.usefixtures("fresh")
def test_an_encoder_serves_on_while_a_model_needs_it() -> None:
    """Taking an encoder from one model leaves it to the other."""
    set_counter(Letters(), name="letters", model="a")
    set_counter(Letters(), name="letters", model="b")
    set_counter(None, model="a")
    set_counter(None, model="never")

    assert (counter_for_model("a").name, counter_for_model("b").name) == ("o200k_base", "letters")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("answer", [-1, 2.5, None, "7", True, ValueError("broken")])
def test_a_broken_users_encoder_costs_no_message(answer: object) -> None:
    """An encoder that raises, or answers no count, is replaced by the estimate for that text."""

    class Broken:
        def count(self, text: str) -> int:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

    set_counter(Broken(), name="broken")

    assert counter_named("broken").count("abcdefgh") == 2


@pytest.mark.parametrize("name", ["o200k_base", "utf8/4", ""])
def test_built_in_names_are_taken(name: str) -> None:
    """A user's encoder cannot stand under a built-in name: stored totals would change meaning."""
    with pytest.raises(InvalidSetting, match="choose another name"):
        set_counter(Letters(), name=name)


def test_an_unknown_counter_is_an_error_that_says_what_to_do() -> None:
    """A stored conversation whose counter nobody registered is not counted by another."""
    with pytest.raises(InvalidSetting, match=r"'mine-v1' is unknown .*set_counter"):
        counter_named("mine-v1")


def test_a_message_costs_little_more_than_its_encoding() -> None:
    """Around the encoder stands one comparison: 200 tokens cost within 1.3 times of encode_ordinary.

    An idle machine shows 1.02; a busy one gets room.
    """
    from tiktoken import Encoding

    text = (
        "Please compare the three regions of the quarterly report, and say which one grew fastest. " * 12
    )[:900]
    encoding = O200K.load().__closure__[0].cell_contents.__self__  # type: ignore[index]
    best: dict[str, float] = {"ours": 9.0, "theirs": 9.0}
    for _ in range(40):
        for who, call in (("ours", O200K.count), ("theirs", lambda t: len(encoding.encode_ordinary(t)))):
            started = time.perf_counter()
            for _ in range(20):
                call(text)
            best[who] = min(best[who], time.perf_counter() - started)

    assert isinstance(encoding, Encoding)
    assert best["ours"] / best["theirs"] < 1.3


def test_a_counter_shows_its_name_and_nothing_else() -> None:
    """The text form names the counter and its exactness."""
    assert repr(TokenCounter("x", lambda: len, exact=False)) == "TokenCounter(name='x', exact=False)"
    assert sys.getsizeof(O200K) < 200
    assert tokens.NEAREST == "o200k_base"
