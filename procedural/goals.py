"""What a call was for, as words: compared to tell goals apart, counted to find them again, never shown."""

from __future__ import annotations

import re
from typing import Final

from procedural.redaction import REDACTED, redact

__all__ = ["goal_of"]

_READ: Final = 2000
_TOKENS: Final = 60
_WORDS: Final = 12
_TOKEN: Final = re.compile(r"\w+", re.UNICODE)
_EMPTY_TEXT: Final = """
a about all am an and any are as at be been but by can could did do does for from get give had has
have hello help her hi him his how i if in into is it its just like me my need no not of on or our
please so some than thank thanks that the their them then there they this to up us want was we were
what when where which who will with would you your
"""
_EMPTY: Final = frozenset(_EMPTY_TEXT.split())


def goal_of(text: str | None) -> tuple[frozenset[str], tuple[str, ...]]:
    """Two views of a goal, both folded and without secrets.

    Returns:
        Its words, numbers and ids, at most 60, which tell two goals apart; and its first 12 different words,
        cut to a rough stem, by which it is found again.
    """
    plain = redact(str(text)[:_READ]).replace(REDACTED, " ") if text else ""
    tokens = [token for token in _TOKEN.findall(plain.casefold()) if token not in _EMPTY][:_TOKENS]
    words = dict.fromkeys(_stem(token) for token in tokens if token.isalpha() and len(token) > 2)
    return frozenset(tokens), tuple(words)[:_WORDS]


def _stem(word: str) -> str:
    """Singular and plural, `book` and `booking` meet; exact grammar does not matter here."""
    for ending in ("ings", "ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word[:24]
