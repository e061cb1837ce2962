"""What is looked up: text becomes words, the same way for the index, the open segment and the query. Pure.

The words are made here and not by a tokenizer of FTS5, so that all three agree to the letter under any
version of SQLite, and so that the index can hold keyed digests in place of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from typing import Final, NamedTuple

__all__ = ["PASSAGE", "is_function_word", "passages", "query_words", "words"]

PASSAGE: Final = 1000
"""Most characters of a passage, which the index knows as one document: a fact in a long result then weighs
as much as one in a short message."""
_LONGEST: Final = 80
"""Most characters of a joined word that is looked up as a whole; paths and UUIDs fit."""
_KEPT: Final = 1 << 15
_KEPT_CHARS: Final = 40
"""Tokens whose words are kept at hand, and the longest such token: some 10 MB in all."""

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua980-\ua9df\uaa60-\uaadf\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Tai, Balinese, Kana, Han, Javanese, Hangul: no blanks between words, or
particles glued to them."""
_RUN: Final = re.compile(f"[{_UNSPACED}]+")
_OPTIONAL: Final = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u200d\ufe00-\ufe0f"
    "\U000e0100-\U000e01ef]|(?<![\u0600-\u06ff])\u200c"
)
"""What many leave out: accents, vowel points, stretching, and signs that say how to draw or break a word."""
_STACKS: Final = "\u1039\u17d2\u1a60\u1b44\ua9c0"
"""Signs that put the next letter under the one before: of Burmese, Khmer, Tai Tham, Balinese, Javanese."""
_JOINED: Final = "{part}(?:[-_.:/@#+$%&=\u200c]{{1,2}}{part})*"
"""A run of letters and digits, and what single signs join: `AB-1234`, `src/app.py`, `user_id`, `a@b.org`, and
Persian words, by a sign that many leave out."""
_ASCII_WORD: Final = re.compile(_JOINED.format(part="[A-Za-z0-9]+"))
_PIECE: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SIGNS: Final = re.compile("[-_.:/@#+$%&=\u200c]+")

_ENGLISH: Final = """
a about after again all also am an and another any are as at be because been before being but by can could d
did didn do does doesn doing don down during each either else even ever every few for from get gets getting
give go going got had has hasn have haven having he her here hers him his how i if in into is isn it its
just let like ll m many may me might mine more most much must my no nor not of off ok okay on once one only
or other our ours out over own please re s same shall she should since so some still such t tell than thank
thanks that the their theirs them then there these they this those though through to too under until up upon
us ve very was wasn way we well were what when where whether which while who whom whose why will with within
without won would yes yet you your yours"""
_OTHERS: Final = """
der die das den dem des ein eine und oder ist sind war wie wo wer wann nicht mit von zu im auf für
le la les un une et ou est sont que qui de du dans pour pas el los las y o es son en por con"""


def words(text: str) -> list[str]:
    """Every word of a text, in order, repeated as often as it stands there.

    Case, width, Latin accents, Hebrew and Arabic vowel points and the script of a number do not matter, nor
    does an English plural's `s`. A joined word gives itself, its parts, and their pieces (`getUserId`,
    `v12`). Scripts without blanks give single characters, with the marks on them, and pairs.
    """
    return list(chain.from_iterable(map(_forms_of.__getitem__, text.split())))


def query_words(text: str) -> list[str]:
    """The distinct words of a query: single characters of unspaced scripts only where they stand alone."""
    found: list[str] = []
    for word in _split(text):
        characters = _characters(word)
        found += _pairs(characters) if len(characters) > 1 else _forms(word)
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


class _Tokens(dict[str, tuple[str, ...]]):
    """The words of the tokens last met, of what stands between blanks: most are met again and again."""

    def __missing__(self, token: str) -> tuple[str, ...]:
        found = _split(token)
        forms = tuple(
            _forms(found[0]) if len(found) == 1 else chain.from_iterable(map(self.__getitem__, found))
        )
        if len(token) <= _KEPT_CHARS:
            if len(self) >= _KEPT:
                self.clear()
            self[token] = forms
        return forms


_forms_of: Final = _Tokens()


def _split(text: str) -> list[str]:
    """The words as they stand, joined ones whole."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    letters = _letters()
    plain = _OPTIONAL.sub("", unicodedata.normalize("NFKD", text))
    plain = unicodedata.normalize("NFC", plain).translate(letters.alike)
    return letters.word.findall(_RUN.sub(r" \g<0> ", plain))


class _Letters(NamedTuple):
    """What words of any script are made of.

    Attributes:
        word: A word, with the marks within it.
        character: A letter with its marks, and with the letters stacked under it.
        alike: ASCII's digits for those of other scripts, and Arabic's yeh and kaf for the Persian ones.
    """

    word: re.Pattern[str]
    character: re.Pattern[str]
    alike: dict[int, str]


@cache
def _letters() -> _Letters:
    """Made at the first text that is not ASCII.

    Python's word characters leave out vowel signs, without which a word of
    most Indian scripts is cut to pieces.
    """
    every = [chr(code) for code in (*range(0x483, 0xAC00), *range(0x10A00, 0x12000))]
    marks = "".join(sign for sign in every if unicodedata.category(sign) in ("Mn", "Mc"))
    return _Letters(
        re.compile(_JOINED.format(part=rf"[^\W_](?:[^\W_]|[{marks}])*")),
        re.compile(f".(?:[{marks}]|(?<=[{_STACKS}]).)*"),
        {ord(sign): str(unicodedata.digit(sign)) for sign in every if unicodedata.category(sign) == "Nd"}
        | {0x06CC: "\u064a", 0x06A9: "\u0643"},
    )


def _characters(word: str) -> list[str]:
    """The characters of a word of an unspaced script, each with its marks; empty for any other word."""
    return _letters().character.findall(word) if _RUN.match(word) else []


def _pairs(characters: list[str]) -> list[str]:
    return [first + second for first, second in pairwise(characters)]


def _forms(word: str) -> list[str]:
    """What a word is looked up as."""
    if characters := _characters(word):
        return characters + _pairs(characters)
    parts = _SIGNS.split(word)
    forms = [word.replace("\u200c", "").casefold()] if len(parts) > 1 and len(word) <= _LONGEST else []
    for part in parts:
        forms.append(_singular(part.casefold()))
        pieces = () if part.islower() or part.isdigit() or not part.isascii() else _PIECE.findall(part)
        if part.islower() and part.isalnum() and not part.isalpha():
            pieces = _PIECE.findall(part)
        if len(pieces) > 1:
            forms += [_singular(piece.lower()) for piece in pieces]
    return forms


def _singular(word: str) -> str:
    """The word without an English plural's ending.

    Source: D. Harman, "How effective is suffixing?" (1991), the S stemmer.
    """
    if len(word) < 4 or not word.endswith("s") or not word.isascii() or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]


_FUNCTION_WORDS: Final = frozenset(
    chain.from_iterable((word, _singular(word)) for word in f"{_ENGLISH} {_OTHERS}".split())
)
