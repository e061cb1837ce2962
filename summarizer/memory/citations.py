"""Which statements of an answer cite no page, cite one that does not exist, or say what it does not. Pure.

A check of form and of values, not of truth: a statement passes if it names a page whose text holds every
number and identifier that the statement gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ..summary.speech import asks, sentences
from .relevance import terms_of

__all__ = ["CitationReport", "Statement", "check_citations"]

_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
_CITATION: Final = re.compile(rf"\[({_ID}(?:\s?[,;]\s?{_ID}){{0,19}})\](?!\()")
_VALUE: Final = re.compile(r"(?:[^\W_]{1,40}[-_./:#]){0,4}[^\W_]*\d(?:[\w.,:/@#-]*\w)?")
_LEAST_WORDS: Final = 4
_WORD: Final = re.compile(r"\w+")
_NO_CLAIM: Final = re.compile(
    r"(?:i (?:will|can|could|cannot|can['’]t|do not|don['’]t|did not|found no|have no|am going"
    r"|need)|i['’](?:ll|d|m)"
    r"|let me|let['’]s|shall|would you|do you|please|thank|thanks|sorry|sure|of course|here (?:is|are)"
    r"|no page|none of the pages|ich (?:werde|kann|finde)|je (?:vais|peux)|voy a|puedo)\b",
    re.IGNORECASE,
)
"""Openings of sentences that state nothing about what happened."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence that has to cite.

    Attributes:
        text: As it was written.
        cited: The page ids it names, those that do not exist included.
        unknown: Those that do not exist.
        unsupported: Numbers and identifiers in it that no page it cites holds.
    """

    text: str
    cited: tuple[str, ...]
    unknown: tuple[str, ...]
    unsupported: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CitationReport:
    """What `check_citations` found.

    Attributes:
        statements: Every sentence that has to cite, in order.
    """

    statements: tuple[Statement, ...]

    @property
    def uncited(self) -> tuple[str, ...]:
        """Statements that name no page."""
        return tuple(one.text for one in self.statements if not one.cited)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Ids that no page has, each once."""
        return tuple(dict.fromkeys(page_id for one in self.statements for page_id in one.unknown))

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Statements that give a value which no page they cite holds."""
        return tuple(one.text for one in self.statements if one.unsupported)

    @property
    def cited(self) -> tuple[str, ...]:
        """Ids of existing pages that were cited, each once."""
        found = (page_id for one in self.statements for page_id in one.cited if page_id not in one.unknown)
        return tuple(dict.fromkeys(found))

    @property
    def ok(self) -> bool:
        """Whether every statement cites pages that exist and hold its values."""
        return not (self.uncited or self.unknown or self.unsupported)


def check_citations(answer: str, text_of: Callable[[str], str | None]) -> CitationReport:
    """Read an answer's citations.

    Questions, offers, thanks and sentences of fewer than four words need none. One citation in a sentence
    serves the whole sentence, and no other.

    Args:
        answer: The assistant's text; code blocks and quoted lines are not read.
        text_of: The whole text of a page by its id; `None` if no page has it.
    """
    return CitationReport(tuple(_statement(sentence, text_of) for sentence in _claims(answer)))


def _claims(answer: str) -> Iterator[str]:
    """Sentences that state something; a citation after the full stop belongs to the sentence before it."""
    pending = ""
    for sentence in sentences(answer):
        rest = sentence.strip()
        trailing = _CITATION.match(rest)
        if pending and trailing:
            pending += f" {trailing.group()}"
            rest = rest[trailing.end() :].lstrip(" .,;")
        if not rest:
            continue
        if pending and _states(pending):
            yield pending
        pending = rest
    if pending and _states(pending):
        yield pending


def _states(sentence: str) -> bool:
    if _CITATION.search(sentence):
        return True
    bare = sentence.strip(" *_>#-•\"'")
    if asks(sentence) or bare.endswith(("?", "？", ":")) or _NO_CLAIM.match(bare):
        return False
    return len(_WORD.findall(bare)) >= _LEAST_WORDS or bool(_VALUE.search(bare)) or not bare.isascii()


def _statement(sentence: str, text_of: Callable[[str], str | None]) -> Statement:
    ids = [one.strip() for found in _CITATION.finditer(sentence) for one in re.split("[,;]", found.group(1))]
    cited = tuple(dict.fromkeys(ids))
    texts = {page_id: text_of(page_id) for page_id in cited}
    known = [text for text in texts.values() if text is not None]
    unsupported = _missing(_CITATION.sub(" ", sentence), known) if known else ()
    unknown = tuple(page_id for page_id, text in texts.items() if text is None)
    return Statement(sentence, cited, unknown, unsupported)


def _missing(sentence: str, texts: list[str]) -> tuple[str, ...]:
    there = {term for text in texts for term in terms_of(_plain(text))}
    values = dict.fromkeys(found.group() for found in _VALUE.finditer(sentence))
    return tuple(value for value in values if not set(terms_of(_plain(value))) <= there)


def _plain(text: str) -> str:
    """Numbers without the commas between their thousands."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", text)
