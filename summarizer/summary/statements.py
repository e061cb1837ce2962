"""What a user told, in the order in which it is worth keeping. Pure; near linear in the sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from .record import Entry, EntryKind

__all__ = ["by_turns", "is_sentence", "statements_by_worth"]

Item = TypeVar("Item")

_WORD: Final = re.compile(r"[^\W\d_][\w-]{2,60}")
_MOST_ON_SUBJECT: Final = 3
"""Sentences that share a word, beyond which the word is no subject but a common word of this conversation."""


def is_sentence(entry: Entry) -> bool:
    """Whether a fact is a sentence, of the user or of a model, and no labelled value."""
    return entry.kind is EntryKind.FACT and entry.key is None


def statements_by_worth(newest_first: Sequence[Entry]) -> list[Entry]:
    """The newest and the oldest by turns, each behind the newer ones on its subject.

    Rules cannot tell which statement will matter: the newest alone would push out everything every few
    generations, the oldest alone let nothing in. Of two on one subject the newer may correct the older, so
    the older one never stands alone.

    Args:
        newest_first: The statements.
    """
    subjects = [_words(entry.text) for entry in newest_first]
    places = _places(subjects)
    kept: dict[int, None] = {}
    for i in by_turns(range(len(newest_first))):
        newer = {j for word in subjects[i] for j in places[word] if j < i and len(places[word]) > 1}
        kept.update(dict.fromkeys((*sorted(newer), i)))
    return [newest_first[i] for i in kept]


def _words(text: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _WORD.findall(text))


def _places(subjects: Sequence[frozenset[str]]) -> dict[str, list[int]]:
    """Where each word stands; nowhere if it stands in too many."""
    places: dict[str, list[int]] = {}
    for i, words in enumerate(subjects):
        for word in words:
            places.setdefault(word, []).append(i)
    return {word: found if len(found) <= _MOST_ON_SUBJECT else [] for word, found in places.items()}


def by_turns(several: Sequence[Item]) -> Iterator[Item]:
    """The first, the last, the second, the last but one, and so on."""
    last = len(several) - 1
    for i in range(last // 2 + 1):
        yield several[i]
        if i != last - i:
            yield several[last - i]
