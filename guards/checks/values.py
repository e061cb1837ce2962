"""How a value may be spelled: numbers, dates and text, read leniently and compared strictly.

A source and an argument rarely agree to the byte: a user types `1,250`, a tool wants `1250`. Each
function here gives every sensible reading, so that a caller who finds none of them may say that the value
was not there. Nothing is guessed about the locale: `1.250` is both 1.25 and 1250.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

__all__ = [
    "Number",
    "alike",
    "amounts",
    "bare",
    "code_spellings",
    "date_of",
    "date_spellings",
    "decimals",
    "normalize",
    "number_of",
    "numbers_in",
    "range_of",
    "spellings",
    "spoken_numbers",
    "unquoted",
]

Number = int | float

_LONGEST = 400
"""Digits of the longest number that is read: more than a float can hold, far below what is slow to parse."""

_PLAIN: Final = str.maketrans({
    "−": "-", "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'",
})  # fmt: skip

_CURRENCY: Final = r"(?:[$€£¥₹₽₩]|(?:us|ca|au|nz)\$|usd|eur|gbp|jpy|chf|cad|aud|inr|cny|sek|nok|dkk|pln|brl)"
_DIGITS: Final = r"(?:\d[\d.,'_ ]*\d|\d|\.\d+)(?:e[+-]?\d+)?"
_WHOLE: Final = re.compile(rf"{_CURRENCY}?\s*([-+]?)\s*{_CURRENCY}?\s*({_DIGITS})\s*(%|percent|{_CURRENCY})?")

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?").finditer
_GROUPED: Final = re.compile(r"\d{1,40}+(?:(?:[.,]\d+)+(?:e[+-]?\d+)?|e[+-]?\d+)").finditer
"""The numbers with a separator or an exponent; the bound keeps long runs of digits linear."""
_LEADING_POINT: Final = re.compile(r"(?<![\w.])\.\d+").findall
_MINUS: Final = re.compile(r"(?<!\w)-[$€£¥]?$").search
_SHARE: Final = re.compile(r"\s?(?:%|percent)").match
_SHARE_BEGINS: Final = frozenset({"%", " ", "p"})
_MINUS_ENDS: Final = frozenset({"-", "$", "€", "£", "¥"})
_DECIMAL: Final = re.compile(r"\d{1,15}\.(?:\d{1,2}|\d{4,15})").fullmatch
"""A number that can be read in one way only."""

_UNMARKED: Final = str.maketrans("", "", " '_")

_WORDS: Final = {
    0: "zero", 1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight",
    9: "nine", 10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen", 15: "fifteen",
    16: "sixteen", 17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty", 30: "thirty", 40: "forty",
    50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety", 100: "hundred", 1000: "thousand",
}  # fmt: skip
_SCALES: Final = (
    (1_000, ("k", " thousand")),
    (1_000_000, ("m", " million")),
    (10**9, ("b", "bn", " billion")),
)


def normalize(text: str) -> str:
    """The form in which texts are compared: case folded, dashes, quotes, spaces and digits of one kind."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).translate(_PLAIN).casefold()


def number_of(value: Any) -> Number | None:
    """The number that a leaf is, or spells as a whole; `None` if it is no number.

    `1250`, `"1,250"`, `"$1,250.00"` and `"1250 EUR"` are 1250, `"50%"` is 50. A bool is no number, nor is
    text with anything else in it, nor a code such as `02139`. Of two readings it gives the likelier one:
    `1,250` is 1250 and `1.250` is 1.25.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value if isinstance(value, int) or math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    match = _WHOLE.fullmatch(normalize(value).strip())
    if match is None:
        return None
    digits = match[2].translate(_UNMARKED)
    if digits[0] == "0" and digits[1:2].isdigit():
        return None
    read = _readings(digits)
    return None if not read else -read[0] if match[1] == "-" else read[0]


def numbers_in(text: str, *, grouped: bool = False) -> Iterator[Number]:
    """Every number that a normalized text may be read to hold; some twice.

    A minus counts only where no word or number stands before it: `3-4` holds 3 and 4. A negative number
    is given with and without its sign. `50%` is 50 and 0.5.

    Args:
        text: Normalized text.
        grouped: Only those with a separator or an exponent; the others are their own digits.
    """
    for match in (_GROUPED if grouped else _NUMBER)(text):
        token = match[0]
        start, end = match.span()
        share = text[end : end + 1] in _SHARE_BEGINS and _SHARE(text, end) is not None
        negative = (
            text[start - 1 : start] in _MINUS_ENDS and _MINUS(text, max(0, start - 3), start) is not None
        )
        for number in (float(token),) if _DECIMAL(token) else _readings(token):
            yield number
            if negative:
                yield -number
            if share:
                yield number / 100
    if "." in text:
        yield from map(float, _LEADING_POINT(text))


def amounts(text: str) -> str:
    """A normalized text without dates, clock times and words, so without the digits of identifiers."""
    return " ".join([word for word in text.split() if not _NO_AMOUNT(word)])


_NO_AMOUNT: Final = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}(?::\d{2})?|[a-z_]").search


def _readings(digits: str) -> tuple[Number, ...]:
    """What an unsigned token may mean; empty for versions, addresses and dotted dates."""
    if len(digits) > _LONGEST:
        return ()
    if digits.isdigit():
        return (int(digits),)
    if "e" in digits:
        return _float(digits.replace(",", "."))
    dots, commas = digits.count("."), digits.count(",")
    if dots and commas:
        return _mixed(digits)
    mark = "." if dots else ","
    grouped = _ungroup(digits, mark)
    if dots + commas > 1:
        return grouped or (tuple(map(int, digits.split(","))) if commas else ())
    decimal = _float(digits.replace(",", "."))
    return decimal + grouped if mark == "." else grouped + decimal


def _mixed(digits: str) -> tuple[Number, ...]:
    """`1,250.50` and `1.250,50`; else a list such as `1.5,2.5`."""
    mark = max(".", ",", key=digits.rfind)
    head, _, tail = digits.rpartition(mark)
    if mark not in head:
        whole = _ungroup(head, "," if mark == "." else ".")
        if whole:
            return _float(f"{whole[0]}.{tail}")
    parts = digits.split(",")
    return tuple(number for part in parts for number in _readings(part)) if len(parts) > 1 else ()


def _ungroup(digits: str, mark: str) -> tuple[Number, ...]:
    """`1,250,000` and the Indian `12,50,000`; empty if the groups have other lengths."""
    first, *rest = digits.split(mark)
    if not rest or not 1 <= len(first) <= 3 or len(rest[-1]) != 3:
        return ()
    if all(len(group) == 3 for group in rest) or all(len(group) == 2 for group in rest[:-1]):
        return (int(first + "".join(rest)),)
    return ()


def _float(digits: str) -> tuple[Number, ...]:
    try:
        number = float(digits)
    except ValueError:
        return ()
    if not math.isfinite(number):
        return ()
    return (int(number) if number.is_integer() and number < 2**53 else number,)


def decimals(number: Number) -> int:
    """Places behind the point that the number shows; 0 for a whole one."""
    if isinstance(number, int) or number.is_integer():
        return 0
    exponent = Decimal(repr(number)).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def code_spellings(text: str) -> Iterator[str]:
    """A code with other separators: `555-123-2002` is `(555) 123-2002`, `ABC123` stays as it is."""
    groups = re.findall(r"[^\W_]+", text)
    if len(groups) == 1 and text.isdigit() and len(text) == 10:
        groups = [text[:3], text[3:6], text[6:]]
    if not 1 < len(groups) <= 6 or not any(map(str.isdigit, text)):
        return
    for mark in ("", " ", "-", "."):
        yield mark.join(groups)
    if len(groups) == 3:
        yield "({}) {}-{}".format(*groups)
        yield "({}) {} {}".format(*groups)


def spellings(number: Number) -> tuple[str, ...]:
    """Normalized texts in which a number stands as it is, the plainest first.

    Those with separators and a point are left to `numbers_in(grouped=True)`.
    """
    if isinstance(number, float) and number.is_integer() and abs(number) < 10**18:
        number = int(number)
    text = repr(number)
    if number >= 0:
        return (text,)
    return (text, f"-${text[1:]}", f"-€{text[1:]}", f"-£{text[1:]}")


def spoken_numbers(number: Number) -> Iterator[str]:
    """Further spellings: words, spaces between thousands, `1.5k`, and a share as a percentage."""
    if number in _WORDS:
        yield _WORDS[int(number)]
    if number >= 1000 and number == int(number):
        grouped = f"{int(number):,}"
        yield grouped.replace(",", " ")
        yield grouped.replace(",", "'")
        for scale, names in _SCALES:
            short = f"{number / scale:.6g}"
            if number >= scale and float(short) * scale == number:
                yield from (short + name for name in names)
    if 0 < number <= 10 and number != int(number):
        percent = f"{number * 100:.6g}"
        yield from (f"{percent}%", f"{percent} %", f"{percent} percent")


_RANGE: Final = re.compile(r"(\d[\d.,]*)\s*(?:-|to|until|\.\.)\s*(\d[\d.,]*)")


def range_of(text: str) -> tuple[Number, Number] | None:
    """The ends of a text such as `3-4` or `3 to 4`; `None` if it is no range."""
    match = _RANGE.fullmatch(normalize(text).strip())
    if match is None:
        return None
    low, high = _readings(match[1]), _readings(match[2])
    return (low[0], high[0]) if low and high else None


_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTH: Final = {name: i for i, month in enumerate(_MONTHS, 1) for name in (month, month[:3], month[:4])}
_ISO: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[t ]\d{1,2}:\d{2}.*)?")
_NUMERIC: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_NAMED: Final = re.compile(
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+)?"
    r"(?:(?P<m1>[a-z]{3,9})\.?\s+(?P<d1>\d{1,2})(?:st|nd|rd|th)?|"
    r"(?P<d2>\d{1,2})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?(?P<m2>[a-z]{3,9})\.?)(?:,?\s+(?P<y>\d{4}))?"
)


def date_of(text: str) -> tuple[date, ...]:
    """The dates that a whole text may mean; empty if it is none, or has no year.

    `2024-05-26`, `2024-05-26T10:30:00Z`, `26 May 2024`, `May 26th, 2024`; `05/06/2024` is two dates.
    """
    if not 8 <= len(text) <= 40:
        return ()
    text = normalize(text).strip()
    if match := _ISO.fullmatch(text):
        return _dates((int(match[1]), int(match[2]), int(match[3])))
    if match := _NUMERIC.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        return _dates((year, first, second), (year, second, first))
    match = _NAMED.fullmatch(text)
    if match is None or match["y"] is None:
        return ()
    month = _MONTH.get(match["m1"] or match["m2"])
    return _dates((int(match["y"]), month, int(match["d1"] or match["d2"]))) if month else ()


def _dates(*triples: tuple[int, int, int]) -> tuple[date, ...]:
    found: dict[date, None] = {}
    for year, month, day in triples:
        try:
            found[date(year, month, day)] = None
        except ValueError:
            continue
    return tuple(found)


@lru_cache(maxsize=256)
def date_spellings(day: date) -> tuple[tuple[str, bool], ...]:
    """Normalized texts that may stand for a day, and whether each names the year."""
    y, m, d = day.year, day.month, day.day
    full = [f"{y}-{m:02}-{d:02}", f"{y}/{m:02}/{d:02}", f"{y}.{m:02}.{d:02}", f"{y}{m:02}{d:02}"]
    for mark in "/.-":
        full += [f"{a}{mark}{b}{mark}{y}" for a, b in ((f"{m:02}", f"{d:02}"), (f"{d:02}", f"{m:02}"))]
        full += [f"{a}{mark}{b}{mark}{y}" for a, b in ((m, d), (d, m))]
    suffix = "th" if 10 <= d <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    short: list[str] = []
    for month in (_MONTHS[m - 1], _MONTHS[m - 1][:3], _MONTHS[m - 1][:3] + "."):
        for number in (str(d), f"{d:02}", f"{d}{suffix}"):
            short += [f"{month} {number}", f"{number} {month}", f"{number} of {month}", f"{number}. {month}"]
    for a, b in ((m, d), (d, m)):
        short += [f"{a}/{b}", f"{a:02}/{b:02}"]
    return tuple((text, True) for text in dict.fromkeys(full)) + tuple(
        (text, False) for text in dict.fromkeys(short)
    )


def alike(left: Any, right: Any) -> bool:
    """Whether two scalars differ by a slip: in case, punctuation, or two neighbouring characters.

    Of short texts (fewer than five letters or digits) at most one character differs, and at most one of two
    numbers' digits. Equal scalars are alike; a bool is like nothing.
    """
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return False
    a, b = (bare(normalize(str(value)[:80]).replace("\n", "")) for value in (left, right))
    if a == b:
        return bool(a)
    size, shorter = max(len(a), len(b)), min(len(a), len(b))
    allowed = 1 if size < 5 or not (isinstance(left, str) and isinstance(right, str)) else 2
    if size < 3 or size - shorter > allowed:
        return False
    head = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    tail = size - head - allowed
    return tail <= 0 or a[-tail:] == b[-tail:]


def bare(text: str) -> str:
    """The letters and digits of each line of a normalized text."""
    return text.translate(_BARE) if text.isascii() else _PUNCTUATION.sub("", text)


_BARE: Final = {code: None for code in range(128) if not chr(code).isalnum() and chr(code) != "\n"}
_PUNCTUATION: Final = re.compile(r"(?:[^\w\n]|_)+")
_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "«": "»"}


def unquoted(text: str) -> str | None:
    """What stands between the quotes that enclose a whole text; `None` if none do."""
    if len(text) < 3 or _QUOTES.get(text[0]) != text[-1]:
        return None
    return text[1:-1]
