"""What a value that was found nowhere may have been meant to be.

A bound value that differs from it by a slip, or one whose field has the parameter's name. Bounded: of the
newest results a few hundred leaves are looked at, and few of them compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from guards.checks.index import Document, step
from guards.checks.values import alike, bare, normalize

__all__ = ["likely"]

_SHOWN: Final = 3
_LEAVES: Final = 256
_COMPARED: Final = 24
_LONGEST: Final = 80
"""References of each kind that are given, leaves that are looked at, leaves that are compared, and characters
of the longest value that is."""

_LAST_INDEX: Final = re.compile(r"(?:\[\d+\])+$")


def likely(value: Any, name: str, documents: Iterable[Document]) -> tuple[list[str], list[str]]:
    """References that may be meant, in the order of the documents.

    Args:
        value: The value.
        name: The parameter's name.
        documents: Bound results, the newest first.

    Returns:
        Those with nearly the same value, and those whose field has the parameter's name; three each.

    Cost: about 20 us, and once 10 us a kilobyte of a result.
    """
    looked = list(_newest(documents))
    candidates = islice(_candidates(value, looked), _COMPARED)
    near = [place for place, leaf in candidates if alike(value, leaf)]
    named = (place for place in _fields(name, looked) if place not in near)
    return near[:_SHOWN], list(islice(named, _SHOWN))


def _newest(documents: Iterable[Document]) -> Iterator[tuple[Document, int]]:
    """The documents, and how many leaves of each are looked at."""
    left = _LEAVES
    for document in documents:
        yield document, min(left, len(document.leaves))
        left -= len(document.leaves)
        if left <= 0:
            return


def _candidates(value: Any, looked: list[tuple[Document, int]]) -> Iterator[tuple[str, Any]]:
    """Leaves that may be like the value, with their references.

    Two texts that differ in two neighbouring characters at most agree in their first half or in their last.
    """
    text = str(value)
    wanted = bare(normalize(text)) if len(text) <= _LONGEST else ""
    least, most, half = len(wanted) - 2, len(wanted) + 2, max(0, len(wanted) - 2) // 2
    if not wanted:
        return
    head, tail = wanted[:half], wanted[len(wanted) - half :]
    for document, leaves in looked:
        for line, spelled in enumerate(document.bare_leaves()[:leaves]):
            if least <= len(spelled) <= most and (spelled.startswith(head) or spelled.endswith(tail)):
                yield document.where(line) or "", document.leaves[line]


def _fields(name: str, looked: list[tuple[Document, int]]) -> Iterator[str]:
    """References to the fields of a name, and to the members of lists of it."""
    endings = (step(name), step(name + "s"))
    for document, leaves in looked:
        for line, path in enumerate(document.paths[:leaves]):
            if path.endswith(endings) or (path[-1:] == "]" and _LAST_INDEX.sub("", path).endswith(endings)):
                yield document.where(line) or ""
