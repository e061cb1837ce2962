"""A query, read: words that are sought, and quotes that must stand as they are. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .words import is_function_word, query_words

__all__ = ["Query", "asks", "read_query", "sentences", "squeezed"]

_QUOTE: Final = re.compile('"([^"]+)"|\u201c([^\u201d]+)\u201d|\u00ab([^\u00bb]+)\u00bb|`([^`]+)`')
_MOST_WORDS: Final = 24
"""Most words of a query that are looked up; a pasted page is no better question than its rarest words."""
_MOST_CHARS: Final = 8_000
_ENDS: Final = re.compile(r"(?<=[.!?\u061f])\s+|(?<=[\u3002\uff01\uff1f])|\n")
_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Query:
    """What is sought.

    Attributes:
        words: Distinct words, quotes' words included; empty if there is nothing to look for.
        quotes: What must stand word for word; blanks and case do not matter.
        question: The newest sentence that asks, as quotes are compared; empty if none does.
    """

    words: tuple[str, ...]
    quotes: tuple[str, ...] = ()
    question: str = ""


def read_query(text: str) -> Query:
    """Read a query; any text is one, and none of it is syntax save quotation marks and backticks."""
    text = text[:_MOST_CHARS]
    found = _QUOTE.findall(text)
    quotes = tuple(q for q in (squeezed("".join(groups)) for groups in found) if query_words(q))
    quoted = {word for quote in quotes for word in query_words(quote)}
    every = query_words(text)
    telling = [word for word in every if word in quoted or not is_function_word(word)] or every
    if len(telling) > _MOST_WORDS:
        # Ids and long words first: they are the rare ones.
        best = sorted(telling, key=lambda word: (word not in quoted, word.isalpha(), -len(word)))
        telling = best[:_MOST_WORDS]
    asked = [sentence for sentence in sentences(text) if asks(sentence)]
    return Query(tuple(telling), quotes, squeezed(asked[-1]) if asked else "")


def sentences(text: str) -> list[str]:
    """The text, cut where sentences and lines end."""
    return [sentence for sentence in _ENDS.split(text) if sentence]


def asks(sentence: str) -> bool:
    """Whether it ends with a question mark."""
    return sentence.rstrip().endswith(("?", "\uff1f", "\u061f"))


def squeezed(text: str) -> str:
    """The text as quotes are compared: case folded, each run of blanks one."""
    return _BLANKS.sub(" ", text.casefold()).strip()
