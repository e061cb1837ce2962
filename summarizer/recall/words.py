"""What is looked up: text becomes words, the same way for the index, the open segment and the query. Pure.

The words are made here and not by a tokenizer of FTS5, so that all three agree to the letter under any
version of SQLite, and so that the index can hold keyed digests in place of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

__all__ = ["PASSAGE", "is_function_word", "passages", "query_words", "words"]

PASSAGE: Final = 1000
"""Most characters of a passage, which the index knows as one document: a fact in a long result then weighs
as much as one in a short message."""
_LONGEST: Final = 80
"""Most characters of a joined word that is looked up as a whole; paths and UUIDs fit."""

_MARKS: Final = re.compile("[\u0300-\u036f]")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
"""Thai, Lao, Burmese, Khmer, Kana, Han, Hangul: no blanks between words, or particles glued to them."""
_WORD: Final = re.compile(r"[^\W_]+(?:[-_.:/@#+$%&=]{1,2}[^\W_]+)*")
"""A run of letters and digits, and what single signs join: `AB-1234`, `src/app.py`, `user_id`, `a@b.org`."""
_PART: Final = re.compile(r"[^\W_]+")
_PIECE: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ENGLISH: Final = """
a about again all also am an and any are as at be been but by can could did do does for from get got had has
have he her him his how i if in into is it its just let like may me might my no not of on or our please she
should so some than that the their them then there these they this those to too us was we were what when where
which who whom whose why will with would you your"""
_OTHERS: Final = """
der die das den dem des ein eine und oder ist sind war wie wo wer wann nicht mit von zu im auf für
le la les un une et ou est sont que qui de du dans pour pas el los las y o es son en por con"""
_FUNCTION_WORDS: Final = frozenset(f"{_ENGLISH} {_OTHERS}".split())


def words(text: str) -> list[str]:
    """Every word of a text, in order, repeated as often as it stands there.

    Case, width and Latin accents do not matter, nor does an English plural's `s`. A joined word
    gives itself, its parts, and their pieces (`getUserId`, `v12`). Scripts without blanks give single
    characters and pairs.
    """
    found: list[str] = []
    for word in _WORD.findall(_folded(text)):
        found += _forms(word)
    return found


def query_words(text: str) -> list[str]:
    """The distinct words of a query: single characters of unspaced scripts only where they stand alone."""
    found: list[str] = []
    for word in _WORD.findall(_folded(text)):
        forms = _forms(word)
        paired = len(word) > 1 and _UNSPACED.match(word)
        found += [form for form in forms if len(form) > 1] if paired else forms
    return list(dict.fromkeys(found))


def is_function_word(word: str) -> bool:
    """Whether a word says nothing of what is asked for, in English, German, French or Spanish."""
    return word in _FUNCTION_WORDS


def passages(text: str) -> Iterator[str]:
    """The text in pieces of at most `PASSAGE` characters, which end where a line or a word does."""
    start = 0
    while start < len(text):
        end = start + PASSAGE
        if end < len(text):
            middle = start + PASSAGE // 2
            end = max(text.rfind("\n", middle, end), text.rfind(" ", (middle + end) // 2, end)) + 1 or end
        yield text[start:end]
        start = end


def _folded(text: str) -> str:
    if text.isascii():
        return text
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFC", plain))


@lru_cache(maxsize=1 << 14)
def _forms(word: str) -> tuple[str, ...]:
    """What a word is looked up as."""
    if _UNSPACED.match(word):
        return (*word, *(word[i : i + 2] for i in range(len(word) - 1)))
    parts = _PART.findall(word)
    forms = [word.casefold()] if len(parts) > 1 and len(word) <= _LONGEST else []
    for part in parts:
        forms.append(_singular(part.casefold()))
        pieces = () if part.islower() or part.isdigit() or not part.isascii() else _PIECE.findall(part)
        if part.islower() and part.isalnum() and not part.isalpha():
            pieces = _PIECE.findall(part)
        if len(pieces) > 1:
            forms += [_singular(piece.lower()) for piece in pieces]
    return tuple(forms)


def _singular(word: str) -> str:
    """The word without an English plural's ending.

    Source: D. Harman, "How effective is suffixing?" (1991), the S stemmer.
    """
    if len(word) < 4 or not word.endswith("s") or not word.isascii() or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]
