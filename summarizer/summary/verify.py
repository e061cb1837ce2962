"""Is every value in a text proved? Numbers, dates, identifiers, paths, URLs and quotations against sources.

A value that no source contains is replaced by `[unverified]`: its sentence stays, the invented
value never reaches the next model. Writing differs harmlessly (1,250 and $1250.00, May 26 and
2024-05-26, 5 pm and 17:00), so values are compared by what they mean. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["UNVERIFIED", "SourceIndex", "Verified", "verify_text"]

UNVERIFIED: Final = "[unverified]"

_MONTH_WORDS: Final = (
    "jan january januar janvier enero",
    "feb february februar février febrero",
    "mar march märz mars marzo",
    "apr april avril abril",
    "may mai mayo",
    "jun june juni juin junio",
    "jul july juli juillet julio",
    "aug august août agosto",
    "sep sept september septembre septiembre",
    "oct october oktober octobre octubre",
    "nov november novembre noviembre",
    "dec december dezember décembre diciembre",
)
_MONTHS: Final = {word: number for number, words in enumerate(_MONTH_WORDS, 1) for word in words.split()}
_SMALL_NUMBERS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty"
)
_NUMBER_WORDS: Final = {word: str(number) for number, word in enumerate(_SMALL_NUMBERS.split())} | {
    "once": "1", "first": "1", "twice": "2", "both": "2", "second": "2", "third": "3", "dozen": "12",
    "hundred": "100", "thousand": "1000",
}  # fmt: skip
_MONTH_NAMES: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE: Final = re.compile(
    r"(?P<y>\b\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)"
    rf"|\b(?P<mon>{_MONTH_NAMES})\.?\s{{1,3}}(?P<day>\d{{1,2}})(?:st|nd|rd"
    rf"|th)?\b(?:,?\s{{1,3}}(?P<year>\d{{4}})\b)?"
    rf"|\b(?P<day2>\d{{1,2}})(?:st|nd|rd|th"
    rf"|\.)?\s{{1,3}}(?:of\s)?(?P<mon2>{_MONTH_NAMES})\b\.?(?:,?\s{{1,3}}(?P<year2>\d{{4}})\b)?"
    r"|(?<![\d/.])(?P<a>\d{1,2})[/.](?P<b>\d{1,2})[/.](?P<year3>\d{4}|\d{2})(?![\d/])",
    re.IGNORECASE,
)
_TIME: Final = re.compile(
    r"(?<![\d:])(?P<h>\d{1,2})(?::(?P<min>\d\d)(?::\d\d)?)?\s?(?P<half>[ap](?:\.m\.|m\b))"
    r"|(?<![\d:])(?P<h2>\d{1,2}):(?P<min2>\d\d)(?::\d\d)?(?![\d:])",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[^\s,;()\[\]{}<>\"'`|*“”„«»‘’「」，。；：！？、…—]{1,400}")
_NUMBER: Final = re.compile(
    r"[+-]?[$€£¥₹#]?(?:\d{1,3}(?:[,'’.\u202f]\d{3})+(?:[.,]\d{1,2})?"
    r"|\d{1,40}(?:[.,]\d{1,20})?)(?:[%€$£¥円元원]|(?:st|nd|rd|th|kg|km|mb|gb|tb|ms|min|h|s|x|k|m|px|°c"
    r"|°f|usd|eur)\b)?",
    re.IGNORECASE,
)
_GROUPED: Final = re.compile(
    r"(?<![\w.,])[$€£¥₹]?\d{1,3}(?:[,’'\u202f ]\d{3})+(?:\.\d{1,4})?(?![\w,])"
    r"|(?<![\w.,])[$€£¥₹]?\d{1,3}(?:\.\d{3})+,\d{1,2}(?![\w,])"
)
_QUOTE: Final = re.compile(
    r'"([^"\n]{1,600})"|“([^”\n]{1,600})”|„([^“”\n]{1,600})[“”]|«([^»\n]{1,600})»|「([^」\n]{1,600})」'
    r"|(?<!\w)‘([^’\n]{2,600})’(?!\w)|(?<![\w`])`([^`\n]{1,300})`(?!`)"
)
_ORDINAL_MARK: Final = re.compile(r"(?:^|\n)[ \t]{0,8}(?:[-*][ \t])?\(?\d{1,2}[.)](?=[ \t])")
_EDGE: Final = ".:!?-_/\\=&+~^"
_IDENTIFIER: Final = re.compile(
    r"\w*[a-z]\w*_\w+|_\w+|[a-z]+[A-Z]\w*|[A-Z][a-z0-9]+[A-Z]\w*|[A-Z]{5,}[A-Z0-9]*"
    r"|\w+\.\w+(?:\.\w+)*|\w+::\w+",
    re.ASCII,
)
_ABBREVIATIONS: Final = frozenset({"e.g", "i.e", "a.m", "p.m", "u.s", "u.k", "z.b", "d.h", "u.a", "p.ej"})
_SEPARATORS: Final = re.compile(r"[/\\:=@#&?+~|]|-{1,2}|\.(?=\w)")


@dataclass(frozen=True, slots=True)
class Verified:
    """A text in which every unproved value is `[unverified]`, and those values as they were written."""

    text: str
    unproved: tuple[str, ...]


class SourceIndex:
    """What sources contain, for set lookups. Built once, linear in their text."""

    __slots__ = ("_dates", "_numbers", "_text", "_times", "_tokens")

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts`: the new events' text and arguments, the previous ledger, the previous narrative."""
        self._tokens: set[str] = set()
        self._numbers: set[str] = set()
        self._dates: set[tuple[int, ...]] = set()
        self._times: set[tuple[int, int]] = set()
        parts: list[str] = []
        for text in texts:
            parts.append(_flat(text))
            self._add(text)
        self._text = "\n".join(parts)

    def _add(self, text: str) -> None:
        for match in _DATE.finditer(text):
            for date in _dates_of(match):
                self._dates.update((date, date[-2:]))
        self._times.update(time for match in _TIME.finditer(text) if (time := _time_of(match)))
        self._numbers.update(_canonical(match[0]) for match in _GROUPED.finditer(text))
        for token in set(_TOKEN.findall(text)):
            self._tokens.update(_forms(token))
            for part in {token, *_SEPARATORS.split(token)} if len(token) <= 400 else ():
                if part[:1].isdigit() or part[-1:].isdigit() or part[1:2].isdigit():
                    self._numbers.update(_canonical(n) for n in _NUMBER.findall(part))
                elif (word := _NUMBER_WORDS.get(part.casefold())) is not None:
                    self._numbers.add(word)

    def has_quotation(self, text: str) -> bool:
        """Whether the words stand in one source in this order; case and white space do not count."""
        flat = _flat(text).strip(" .,;:!?…")
        return not flat or flat in self._text

    def has_date(self, match: re.Match[str]) -> bool:
        """Whether a source names the day, in any of the readings that its writing allows.

        What only looks like a date (the version 16.19.23) is a token as any.
        """
        dates = _dates_of(match)
        return any(date in self._dates for date in dates) if dates else self.has_token(match[0])

    def has_time(self, match: re.Match[str]) -> bool:
        """Whether a source names the time of day, to the minute."""
        time = _time_of(match)
        return time is None or time in self._times

    def has_token(self, token: str) -> bool:
        """Whether a source has the identifier, path or URL, or a path of which it is a whole part."""
        folded = token.casefold().strip(_EDGE)
        return folded in self._tokens or folded.strip("#$") in self._tokens

    def has_number(self, written: str) -> bool:
        """Whether a source has the number, however it groups or rounds off zeros."""
        return _canonical(written) in self._numbers


def verify_text(text: str, sources: SourceIndex) -> Verified:
    """Check every value of a text against its sources.

    Numbers at the head of a list line are marks, not values. Plain words are not checked.

    Args:
        text: A model's narrative or entry.
        sources: Everything it may speak of.

    Cost: linear in the text, save for quotations, each of which is one search through the sources.
    """
    wrong = sorted(_unproved_spans(text, sources))
    kept: list[str] = []
    unproved: list[str] = []
    end = 0
    for start, stop in wrong:
        if start < end:
            continue
        kept += [text[end:start], UNVERIFIED]
        unproved.append(text[start:stop])
        end = stop
    kept.append(text[end:])
    return Verified("".join(kept), tuple(unproved))


def _unproved_spans(text: str, sources: SourceIndex) -> Iterator[tuple[int, int]]:
    done = [match.span() for match in _ORDINAL_MARK.finditer(text)]
    done += [match.span() for match in re.finditer(re.escape(UNVERIFIED), text)]
    for match in _QUOTE.finditer(text):
        if not sources.has_quotation(next(group for group in match.groups() if group is not None)):
            yield match.span()
            done.append(match.span())
    for pattern, proved in ((_DATE, sources.has_date), (_TIME, sources.has_time)):
        for match in pattern.finditer(text):
            done.append(match.span())
            if not proved(match):
                yield match.span()
    masked = _masked(text, done)
    for match in _GROUPED.finditer(masked):
        done.append(match.span())
        if not sources.has_number(match[0]):
            yield match.span()
    for match in _TOKEN.finditer(_masked(masked, done)):
        yield from _unproved_token(match[0], match.start(), sources)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with some spans blanked, so that positions stay."""
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if stop <= end:
            continue
        parts += [text[end : max(start, end)], " " * (stop - max(start, end))]
        end = stop
    return "".join((*parts, text[end:]))


def _unproved_token(token: str, start: int, sources: SourceIndex) -> Iterator[tuple[int, int]]:
    bare = token.strip(_EDGE)
    if not bare or sources.has_token(bare):
        return
    offset = start + token.find(bare)
    if (number := _NUMBER.fullmatch(bare)) is not None:
        if not sources.has_number(number[0]):
            yield offset, offset + len(bare)
        return
    if not _is_value(bare) or bare.casefold() in _ABBREVIATIONS:
        return
    parts = [part for part in _SEPARATORS.split(bare) if part]
    whole = "/" in bare or "@" in bare or "." in bare
    if not whole and len(parts) > 1 and all(_part_proved(part, sources) for part in parts):
        return
    yield offset, offset + len(bare)


def _part_proved(part: str, sources: SourceIndex) -> bool:
    if _NUMBER.fullmatch(part):
        return sources.has_number(part)
    return sources.has_token(part) or not _is_value(part)


def _is_value(token: str) -> bool:
    """Whether a token is exact by nature: with a digit, a path, a URL, an address, a program's name."""
    if any(c.isdigit() for c in token) or "@" in token or "://" in token:
        return True
    if "/" in token:
        return token.count("/") > 1 or token[0] in "/.~" or "." in token or "_" in token
    return _IDENTIFIER.fullmatch(token) is not None


def _flat(text: str) -> str:
    text = unicodedata.normalize("NFKC", text) if not text.isascii() else text
    for curly, plain in (("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"')):
        text = text.replace(curly, plain)
    return " ".join(text.split()).casefold()


def _forms(token: str) -> set[str]:
    """The token, its parts, and, for a path, every whole-step beginning and end of it."""
    folded = token.casefold().strip(_EDGE)
    forms = {folded, folded.strip("#$")}
    if "/" in folded:
        steps = (
            re.split(r"[:?#=]", folded, maxsplit=1)[0].split("/")
            if "://" not in folded
            else folded.split("/")
        )
        for i in range(1, min(len(steps), 16)):
            forms.add("/".join(steps[:i]).strip(_EDGE))
            forms.add("/".join(steps[i:]).strip(_EDGE))
        forms.add("/".join(steps).strip(_EDGE))
    if len(folded) <= 400:
        parts = [part for part in _SEPARATORS.split(folded) if part]
        forms.update(parts)
        if "." in folded and "/" not in folded:
            names = folded.split(".")
            forms.update(
                ".".join(names[i:j])
                for i in range(min(len(names), 6))
                for j in range(i + 1, min(len(names), 6) + 1)
            )
        forms.update(re.split(r"[:=@]", folded))
    return forms


def _canonical(written: str) -> str:
    """A number as plain digits: without currency, unit, sign, grouping and closing zeros."""
    digits = re.sub(r"[^\d.,]", "", written)
    groups = re.split(r"[.,]", digits)
    if len(groups) > 1:
        decimal = digits[digits.rfind(groups[-1]) - 1] if groups[-1] else ""
        grouped = len(groups[-1]) == 3 and (len(groups) > 2 or decimal == ",") and groups[0] != "0"
        whole, fraction = ("".join(groups), "") if grouped else ("".join(groups[:-1]), groups[-1])
    else:
        whole, fraction = digits, ""
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _dates_of(match: re.Match[str]) -> list[tuple[int, ...]]:
    """(year, month, day) or (month, day); both readings of 05/06/2024."""
    found = match.groupdict()
    if found["y"]:
        return [(int(found["y"]), int(found["m"]), int(found["d"]))]
    if found["a"]:
        a, b, year = int(found["a"]), int(found["b"]), int(found["year3"])
        year += 2000 * (year < 100)
        return [(year, m, d) for m, d in ((a, b), (b, a)) if 1 <= m <= 12]
    month = _MONTHS[(found["mon"] or found["mon2"]).casefold()]
    day, year_text = int(found["day"] or found["day2"]), found["year"] or found["year2"]
    return [(int(year_text), month, day)] if year_text else [(month, day)]


def _time_of(match: re.Match[str]) -> tuple[int, int] | None:
    hour, minute = int(match["h"] or match["h2"]), int(match["min"] or match["min2"] or 0)
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"][0] in "pP")
    return (hour, minute) if hour < 25 and minute < 60 else None
