"""Where a value comes from: everything that was said, indexed, and the readings under which it is found.

Lookups take microseconds, whatever was said. Memory is bounded: what users and the system say, and what
tools answer, have a bound each, the oldest is forgotten first. Once anything was forgotten, a value that
is not found is `unknown`, never `nowhere`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from enum import StrEnum
from itertools import chain, islice
from typing import Any, Final, Literal, NamedTuple, Self, cast

from guards.checks.arithmetic import Operand, columns, derive, slack
from guards.checks.index import BITS, Document, Hit, Shelf
from guards.checks.meant import likely
from guards.checks.values import (
    Number,
    amounts,
    code_spellings,
    date_of,
    date_spellings,
    normalize,
    number_of,
    numbers_in,
    range_of,
    spellings,
    spoken_numbers,
)
from guards.paths import opened

__all__ = ["Held", "Kind", "Origin", "Provenance", "Sources"]

Origin = Literal["user", "system", "tool", "binding", "schema"]
"""Who said it."""

Held = Callable[[str], bool]
"""Whether the value of a binding is held, by its id: no other is named. Without it, all are."""


class Kind(StrEnum):
    """Where a value comes from.

    `reference`: it was written as `$vN`. `arithmetic`: it follows from numbers or dates that were said.
    `nowhere`: everything that was said is indexed, and it is not there. `unknown`: it was not found, but not
    everything could be looked at.
    """

    REFERENCE = "reference"
    USER = "user"
    SYSTEM = "system"
    BINDING = "binding"
    TOOL = "tool"
    SCHEMA = "schema"
    ARITHMETIC = "arithmetic"
    NOWHERE = "nowhere"
    UNKNOWN = "unknown"


class Provenance(NamedTuple):
    """Where a value comes from.

    Attributes:
        kind: The sort of source.
        where: A reference (`$v2.items[0].id`), a call id, a message's reference, or how it was computed;
            `None` if the source has no name.
    """

    kind: Kind
    where: str | None = None

    @property
    def grounded(self) -> bool:
        """Whether it is not known to come from nowhere."""
        return self.kind is not Kind.NOWHERE


_NOWHERE: Final = Provenance(Kind.NOWHERE)
_UNKNOWN: Final = Provenance(Kind.UNKNOWN)

_TOLERANCE: Final = 1e-6
_BINDINGS: Final = 10_000
"""Ids of bindings that are remembered, so that none is indexed twice."""
_LEAVES: Final = 256
"""Leaves of recent documents that are looked through for operands."""
_DOCUMENTS: Final = 6
_TEXT: Final = 4_000
"""Documents, and characters of each, that arithmetic takes its operands from."""
_LARGEST: Final = 1e15
"""Beyond, a float no longer tells whole numbers apart: numbers are compared exactly."""
_VARIANT_LOOKS: Final = 8
_CODE: Final = 40
"""Characters of the longest code that is also looked for with other separators."""
_PARTS: Final = 64
"""Leaves of an argument that is itself JSON text."""
_OPERANDS: Final = {"binding": 12, "tool": 12, "user": 12, "system": 8, "schema": 0}
"""Numbers of each origin that arithmetic starts from, the newest."""
_KEPT: Final = 256_000
"""Characters of tool results that a snapshot carries at most."""
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RELATIVE: Final = (("today", 0), ("tonight", 0), ("tomorrow", 1), ("yesterday", -1))
_APART: Final = (
    (1, ("one day", "a day", "1 day", "day after", "day before", "day later", "next day", "previous day")),
    (2, ("two days", "2 days")),
    (3, ("three days", "3 days")),
    (7, ("one week", "a week", "1 week", "week later", "next week", "7 days")),
    (14, ("two weeks", "2 weeks", "14 days")),
)
"""Days between a day that was said and one that is meant, and the words that ask for it."""


class Sources:
    """Everything that was said in a conversation, by origin.

    Args:
        limit: Characters of tool results and bindings kept, at least 8,000; the index takes about
            nine bytes for each. The oldest eighth is dropped at a time.
        said_limit: The same for what users and the system say.
    """

    def __init__(self, limit: int = 16_000_000, said_limit: int = 4_000_000) -> None:
        for name, value in (("limit", limit), ("said_limit", said_limit)):
            if value < 8_000:
                raise ValueError(f"{name}={value!r} characters: use 8000 or more")
        self._said = Shelf(said_limit)
        self._results = Shelf(limit)
        self._bound: dict[str, None] = {}
        self._operands: list[Operand] | None = None
        self._columns: list[Operand] = []

    @property
    def complete(self) -> bool:
        """Whether nothing that was said has been forgotten."""
        return not (self._said.dropped or self._results.dropped)

    def add(self, origin: Origin, value: Any, ref: str | None = None) -> None:
        """Index what was said.

        Args:
            origin: Who said it.
            value: Text or another JSON value, as `guards.calls.plain` gives it. Held, not copied. Text that
                holds a JSON object or list is read as that.
            ref: How to name it: the id of a binding (`v2`), a call or a message. A binding that is there, or
                a system prompt that was said just now, is not indexed again.

        Cost: about 20 us for a small result, 0.15 s a megabyte.
        """
        if origin == "binding" and ref is not None:
            if ref in self._bound:
                return
            self._bound[ref] = None
            if len(self._bound) > _BINDINGS:
                del self._bound[next(iter(self._bound))]
        if origin in ("tool", "binding"):
            self._results.add(origin, value, ref)
        elif not any(said.source == value and said.origin == origin for said in self._said.recent):
            self._said.add(origin, value, ref)
        self._operands = None

    def find(self, value: Any, *, tolerance: float = _TOLERANCE, exact: bool = False) -> Provenance:
        """Where a scalar comes from.

        Args:
            value: A scalar; text is also looked for inside larger text, whatever its case.
            tolerance: Relative error allowed between a number and its source. A number that shows three
                digits or more may also be rounded in its last decimal place.
            exact: For identifiers: no rounding, no arithmetic, no ranges, no words for numbers.

        Cost: 4 to 15 us for what is found in 10 MB of results, up to 200 us for a number or day that is not.
        """
        if isinstance(value, str):
            return self._find_text(value, tolerance, exact)
        if isinstance(value, bool) or value is None:
            return self._phrase(_JSON[value]) or self._missing()
        number = number_of(value)
        if isinstance(number, int) and number.bit_length() > BITS:
            return _UNKNOWN
        return _NOWHERE if number is None else self._find_number(number, tolerance, exact)

    def _find_text(self, value: str, tolerance: float, exact: bool) -> Provenance:
        text = normalize(value).strip()
        if not text:
            return _NOWHERE
        found = self._phrase(text)
        if found is None or found is _UNKNOWN:
            return self._find_reading(value, tolerance, exact) or found or self._missing()
        return found

    def _find_reading(self, value: str, tolerance: float, exact: bool) -> Provenance | None:
        """A text that stands nowhere as it is: as a number, a day, a known host, a range, a code or JSON."""
        number = number_of(value)
        if number is not None:
            found = self._find_number(number, tolerance, exact)
            if found.grounded:
                return found
        for day in date_of(value):
            found = self._find_day(day)
            if found is not None:
                return found
        host = _HOST(value)
        if host is not None:
            return self._variant([normalize(host[1])])
        ends = None if exact else range_of(value)
        if ends is not None:
            return self._all([self._find_number(end, tolerance, exact=True) for end in ends])
        inner = opened(value)
        if inner is value:
            return self._variant(code_spellings(normalize(value).strip())) if len(value) <= _CODE else None
        leaves = Document.of("tool", inner, None, len(value) + 1)[0].leaves
        return self._all([self.find(leaf, tolerance=tolerance, exact=exact) for leaf in leaves[:_PARTS]])

    def _all(self, found: list[Provenance]) -> Provenance | None:
        """The provenance of a value that is grounded if each of its parts is."""
        return found[0] if found and all(part.grounded for part in found) else None

    def _find_number(self, number: Number, tolerance: float, exact: bool) -> Provenance:
        exact = exact or abs(number) > _LARGEST
        found = self._indexed(number, 0.0)
        unsure = None
        for text in spellings(number) if found is None and number == int(number) else ():
            found = self._phrase(text)
            if found is _UNKNOWN:
                found, unsure = None, found
            elif found is not None:
                break
        if found is None and not exact:
            found = (
                self._variant(spoken_numbers(number))
                or self._indexed(number, slack(number, tolerance))
                or self._computed(number, tolerance)
            )
        return found or unsure or self._missing()

    def _indexed(self, number: Number, width: float) -> Provenance | None:
        for shelf in (self._said, self._results):
            hit = shelf.number(number, width)
            if hit is not None:
                return _provenance(hit)
        return None

    def _computed(self, number: Number, tolerance: float) -> Provenance | None:
        if self._operands is None:
            self._operands, self._columns = sorted(self._gather()), self._aggregate()
        width = slack(number, tolerance)
        way = next((way for known, way in self._columns if abs(known - number) <= width), None)
        way = way or derive(number, self._operands, tolerance)
        return Provenance(Kind.ARITHMETIC, way) if way else None

    def _aggregate(self) -> list[Operand]:
        """Sums, means and counts of the lists of numbers in the newest results."""
        newest = islice(reversed(self._results.recent), _DOCUMENTS)
        return [operand for document in newest for operand in columns(list(_numbers(document)))]

    def _gather(self) -> Iterator[Operand]:
        """The newest numbers of each origin."""
        left = dict(_OPERANDS)
        newest = [reversed(shelf.recent) for shelf in (self._results, self._said)]
        for document in chain.from_iterable(islice(documents, _DOCUMENTS) for documents in newest):
            numeric = list(_numbers(document))
            for number, where in {number: where for where, number in reversed(numeric)}.items():
                if left[document.origin] > 0:
                    left[document.origin] -= 1
                    yield number, where

    def _find_day(self, day: date) -> Provenance | None:
        for shelf in (self._said, self._results):
            for text, with_year in date_spellings(day):
                for hit in shelf.hits(text, _VARIANT_LOOKS):
                    if hit.document is not None and (with_year or not _other_year(hit, day.year)):
                        return _provenance(hit)
        for word, days in (*_RELATIVE, (_DAYS[day.weekday()], None)):
            if next(self._said.hits(word), None) is None:
                continue
            if days is None or self._variant([(day - timedelta(days)).isoformat()]):
                return Provenance(Kind.ARITHMETIC, word)
        for days, words in _APART:
            beside = [(day + step).isoformat() for step in (timedelta(-days), timedelta(days))]
            if self._variant(beside) and any(next(self._said.hits(said), None) for said in words):
                return Provenance(Kind.ARITHMETIC, f"{days} days from a day that was said")
        return None

    def _phrase(self, text: str) -> Provenance | None:
        """Where a normalized text stands; `_UNKNOWN` if the search gave up."""
        unsure = None
        for shelf in (self._said, self._results):
            for hit in shelf.hits(text):
                if hit.document is not None:
                    return _provenance(hit)
                unsure = _UNKNOWN
        return unsure

    def _variant(self, texts: Iterable[str]) -> Provenance | None:
        """Where one of several unlikely spellings stands; a search for one is short and may miss it."""
        for text in texts:
            for shelf in (self._said, self._results):
                hit = next(shelf.hits(text, _VARIANT_LOOKS), None)
                if hit is not None and hit.document is not None:
                    return _provenance(hit)
        return None

    def _missing(self) -> Provenance:
        return _NOWHERE if self.complete else _UNKNOWN

    def references_to(self, value: Any, held: Held | None = None) -> tuple[str, ...]:
        """The references whose whole bound value equals a scalar, at most two; text whatever its case."""
        number = None if isinstance(value, str) else number_of(value)
        if number is None and not isinstance(value, str):
            return ()
        found: dict[str, None] = {}
        for text in spellings(number)[:1] if number is not None else (normalize(cast("str", value)).strip(),):
            for hit in self._results.hits(text) if text else ():
                reference = _reference(hit, is_text=number is None)
                if reference and _may_name(hit.document, held):
                    found[reference] = None
                if len(found) > 1:
                    break
        return tuple(found)

    def likely(self, value: Any, name: str, held: Held | None = None) -> tuple[list[str], list[str]]:
        """References that a value found nowhere may mean, as `meant.likely`; the newest binding first."""
        newest = reversed(self._results.recent)
        return likely(value, name, (document for document in newest if _may_name(document, held)))

    def snapshot(self) -> dict[str, Any]:
        """JSON: what users and the system said, and the newest results within 256,000 characters."""
        left, results = _KEPT, list[list[Any]]()
        held = self._results.documents()
        for document in reversed(held):
            left -= len(document.text)
            if left < 0:
                break
            results.append(_row(document))
        return {
            "said": [_row(document) for document in self._said.documents()],
            "results": results[::-1],
            "said_dropped": self._said.dropped,
            "dropped": self._results.dropped or len(results) < len(held),
        }

    @classmethod
    def restore(cls, value: Mapping[str, Any], **settings: Any) -> Self:
        """The inverse of `snapshot`; what it left out makes answers `unknown` rather than `nowhere`."""
        sources = cls(**settings)
        for origin, ref, content in (*value["said"], *value["results"]):
            sources.add(origin, content, ref)
        sources._results.dropped |= bool(value["dropped"])
        sources._said.dropped |= bool(value["said_dropped"])
        return sources


_JSON: Final = {True: "true", False: "false", None: "null"}
_HOST: Final = re.compile(r"https?://(?:www\.)?([^/?#\s:]+)", re.IGNORECASE).match
_YEAR: Final = re.compile(r"(?:st|nd|rd|th)?,?\s+(\d{4})\b").match


def _row(document: Document) -> list[Any]:
    return [document.origin, document.ref, document.source]


def _provenance(hit: Hit) -> Provenance:
    if hit.document is None:
        return _UNKNOWN
    return Provenance(Kind(hit.document.origin), hit.document.where(hit.line))


def _may_name(document: Document | None, held: Held | None) -> bool:
    """Whether the document is a binding that may be named to the model."""
    if document is None or document.origin != "binding":
        return False
    return held is None or held(document.ref or "")


def _other_year(hit: Hit, year: int) -> bool:
    """Whether the day stands with another year, as in `May 26, 2023`."""
    said = None if hit.document is None else _YEAR(hit.document.text, hit.end)
    return said is not None and int(said[1]) != year


def _numbers(document: Document) -> Iterator[tuple[str, Number]]:
    """Numbers of a document with their place: numeric leaves, or what stands in plain text but clocks."""
    for line, leaf in enumerate(document.leaves[:_LEAVES]):
        where = document.where(line) or document.origin
        if isinstance(leaf, str) and not document.paths[line]:
            for number in numbers_in(amounts(normalize(leaf[:_TEXT]))):
                yield where, number
            continue
        number = number_of(leaf)
        if number is not None:
            yield where, number


def _reference(hit: Hit, *, is_text: bool) -> str | None:
    """The reference to a whole bound leaf of the same type; `None` if the hit is none."""
    document = hit.document
    if document is None or not hit.whole or document.origin != "binding" or hit.line >= len(document.leaves):
        return None
    return document.where(hit.line) if isinstance(document.leaves[hit.line], str) is is_text else None
