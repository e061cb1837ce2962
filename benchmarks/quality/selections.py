"""Ways to choose what a model sees that know nothing of longsplice: a log in, lines of a context out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from summarizer.summary.speech import sentences

__all__ = ["FRAMING", "Bm25", "Said", "TextRank", "can_rank", "head_and_tail", "keep_last"]

FRAMING: Final = 4
"""Tokens that a provider adds to a message, as our own context counts it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the log.

    Attributes:
        text: What it says.
        tokens: Of its text.
    """

    text: str
    tokens: int


def keep_last(log: Sequence[Said], budget: int) -> list[str]:
    """The newest messages that fit."""
    kept: list[str] = []
    for said in reversed(log):
        budget -= said.tokens + FRAMING
        if budget < 0:
            break
        kept.append(said.text)
    return kept[::-1]


def head_and_tail(log: Sequence[Said], budget: int) -> list[str]:
    """The oldest messages on half of the budget, the newest on the other."""
    head = keep_last(log[::-1], budget // 2)[::-1]
    tail = keep_last(log[len(head) :], budget - budget // 2)
    return head + tail


class Bm25:
    """Messages found by SQLite's own BM25 (FTS5, Porter stemming), as many as fit, in their order."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE VIRTUAL TABLE said USING fts5(text, tokenize='porter unicode61')")
        self._known = 0

    def find(self, log: Sequence[Said], question: str, budget: int) -> list[str]:
        """The messages of a log that answer a question best; each call's log continues the one before."""
        new = [(i + 1, said.text) for i, said in enumerate(log)][self._known :]
        self._database.executemany("INSERT INTO said(rowid, text) VALUES (?, ?)", new)
        self._known = max(self._known, len(log))
        words = {word.casefold() for word in question.replace('"', " ").split()}
        query = " OR ".join(f'"{word}"' for word in sorted(words))
        rows = self._database.execute(
            "SELECT rowid FROM said WHERE said MATCH ? AND rowid <= ? ORDER BY bm25(said) LIMIT 400",
            (query or '""', len(log)),
        )
        chosen: list[int] = []
        for number in [int(row[0]) for row in rows]:
            cost = log[number - 1].tokens + FRAMING
            if cost <= budget:
                budget -= cost
                chosen.append(number - 1)
        return [log[i].text for i in sorted(chosen)]

    def close(self) -> None:
        """Let the index go."""
        self._database.close()


def can_rank() -> bool:
    """Whether `sumy` is installed."""
    return find_spec("sumy") is not None


class TextRank:
    """A rolling summary: what overflows a budget is ranked by sumy's TextRank, with the summary so far.

    A quarter of the budget is summary and a fifth stays verbatim, as with ours. Sentences are split by us:
    sumy's own splitter needs a download.
    """

    def __init__(self, budget: int, count: Callable[[str], int]) -> None:
        self._budget, self._count = budget, count
        self._summary: list[str] = []
        self._open: list[Said] = []
        self._tokens = 0
        self._rank: Any = import_module("sumy.summarizers.text_rank").TextRankSummarizer()
        self._rank.stop_words = _STOP_WORDS

    def add(self, said: Said) -> None:
        """Take the next message."""
        self._open.append(said)
        self._tokens += said.tokens
        if self._tokens + self._budget // 4 >= self._budget:
            tail = self._tail()
            closed = self._open[: len(self._open) - tail]
            self._summary = self._ranked(
                [*self._summary, *(s for each in closed for s in sentences(each.text))]
            )
            self._open = self._open[len(closed) :]
            self._tokens = sum(each.tokens for each in self._open)

    def _tail(self) -> int:
        return len(keep_last(self._open, self._budget // 5))

    def _ranked(self, texts: Sequence[str]) -> list[str]:
        """The best ranked sentences on a quarter of the budget, in their order."""
        dom = import_module("sumy.models.dom")
        tokenizer = _Tokenizer()
        told = list(dict.fromkeys(texts))
        rated = [dom.Sentence(text, tokenizer) for text in told]
        document = dom.ObjectDocumentModel([dom.Paragraph(rated)])
        ratings = self._rank.rate_sentences(document)
        room, kept = self._budget // 4, set[str]()
        for sentence in sorted(rated, key=lambda each: -ratings.get(each, 0.0)):
            cost = self._count(str(sentence)) + 1
            if cost <= room:
                room -= cost
                kept.add(str(sentence))
        return [text for text in told if text in kept]

    def lines(self, budget: int) -> list[str]:
        """The summary and what is open, within a budget."""
        used = sum(self._count(text) + 1 for text in self._summary)
        return [*self._summary, *keep_last(self._open, budget - used)]


class _Tokenizer:
    """What sumy asks of a tokenizer."""

    def to_sentences(self, text: str) -> list[str]:
        return list(sentences(text))

    def to_words(self, text: str) -> list[str]:
        return [word.strip(".,;:!?()\"'") for word in text.split()]


_COMMON: Final = """
a an and are as at be by for from has have i in is it its my of on or that the this to was we with you
"""
_STOP_WORDS: Final = frozenset(_COMMON.split())
