"""Recorded text made fit for a prompt: names, values and error texts, as data that commands nothing.

Three fences. Characters: only letters, digits and a few marks, so no markup, no quote that closes, no new
line. Content: text that addresses the reader or orders something is withheld. Kind: an error text is shown
only where at least half of its words are ordinary words of error messages, and of these words alone: each
other word may be a value and becomes X. Any other text, in any language, is withheld and its class is named
instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from procedural.redaction import REDACTED, is_secret_value, redact

__all__ = [
    "WITHHELD",
    "error_class",
    "error_skeleton",
    "ordinary_error",
    "quotable_error",
    "safe_name",
    "safe_path",
    "safe_value",
]

WITHHELD: Final = "[withheld]"

_LONGEST_ERROR: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_ODD: Final = re.compile(r"[^A-Za-z0-9 _.,:;()'/%+=-]+")
_SPACES: Final = re.compile(r"\s+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")

_ORDERS_TEXT: Final = """
ignore ignores ignoring disregard forget override overrides bypass obey comply pretend instruction
instructions instruct prompt prompts jailbreak roleplay assistant developer system sudo you your
yours yourself must should shall always never please reveal leak exfiltrate disclose send email mail
post upload download forward transfer wire pay buy purchase delete erase drop wipe destroy remove
execute run call invoke visit click browse print output say reply respond answer tell write repeat
translate act behave become follow do don't let use grant approve confirm authorize disable enable
install curl wget rm now instead immediately henceforth remember important attention urgent trust
"""
_ORDERS: Final = frozenset(_ORDERS_TEXT.split())
"""Words of orders and of speech to the reader. Errors that hold one lose little: their class is shown."""
_ERROR_WORDS_TEXT: Final = """
a an the of in on at to for from by with is are was were be been has have had does did not no none
nor and or but than that this it its which found find missing exist exists existing unknown invalid
valid wrong bad error errors failed failure fail fails unable cannot could can't enough insufficient
exceeds exceeded exceed limit limits maximum minimum max min too many much few large small long
short high low total amount price paid balance sum add up match matches mismatch expected got given
required requires require needs needed need allowed allow permitted permission denied forbidden
unauthorized expired already available unavailable supported unsupported range out between least
most empty null type value values argument arguments parameter parameters field fields key keys name
named format date time number integer string list object boolean index file files directory path
module command method function attribute option options code status exit returned return connection
timeout timed refused reset closed network server service client request response rate throttled
busy temporary temporarily division divide zero encode overflow recursion depth operand positional
keyword callable iterable subscriptable unpack undefined defined internal
unexpected duplicate conflict locked same different only other
another any all unmatched syntax parse parsing decode json line column memory disk space payment
order user account item items id ids n x url email such as into over under before after while
errno api token password credentials header body page timed read write t s doesn isn
"""
_ERROR_WORDS: Final = frozenset(_ERROR_WORDS_TEXT.split())
_VALUES: Final = re.compile(r"\bX(?:[ '_.-]+X\b)+")

_CLASSES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("timeout", r"time[d]?[ -]?out|deadline"),
        ("rate limit", r"rate.?limit|too many requests|throttl|\b429\b"),
        ("permission", r"permission|denied|forbidden|unauthori[sz]ed|\b40[13]\b|not allowed"),
        ("not found", r"not found|no such|does not exist|unknown|\b404\b|missing file|no module"),
        ("connection", r"connection|network|unreachable|refused|\b50[234]\b|unavailable|temporar"),
        ("missing argument", r"missing|required"),
        (
            "out of range",
            r"exceed|out of range|too (?:large|small|many|long|short|high|low)|at (?:most|least)",
        ),
        ("not enough", r"not enough|insufficient"),
        ("wrong type", r"\btype\b|expected .{1,40} got"),
        ("invalid value", r"invalid|malformed|not valid|bad |does not|syntax|unmatched"),
    )
)

_SKELETON: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(re.escape(REDACTED)), " X "),
    (re.compile(r"[a-z][a-z0-9+.-]{1,10}://\S+", re.IGNORECASE), " URL "),
    (re.compile(r"[^\s@]+@[^\s@]+\.\w+"), " EMAIL "),
    (re.compile(r"\b\d{1,4}([-/.])\d\d?\1\d{1,4}\b"), " DATE "),
    (re.compile(r"\"[^\"]{0,200}\"|(?<!\w)'[^']{0,200}'(?!\w)|`[^`]{0,200}`|<[^>]{0,200}>"), " X "),
    (re.compile(r"(?<![\w.])(?:~|\.{1,2})?/[\w.@%+/-]+|\b[A-Za-z]:\\\S+"), " PATH "),
    (re.compile(r"\b[\w-]*\d[\w-]*[A-Za-z_-][\w-]*|\b[A-Za-z_-][\w-]*\d[\w-]*"), " ID "),
    (re.compile(r"[-+]?\d[\d,.]*"), " N "),
)
_RAISED: Final = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning|Exit)\b:?|[a-z]\w*\.error:")
_PREFIX: Final = re.compile(
    r"^(?:(?:error|exception|failed|failure|fatal|\w*Error|\w*Exception)\s*[:!-]\s*)+", re.IGNORECASE
)


def error_skeleton(error: str) -> str:
    """What two errors of one kind have in common: values gone, one line, at most 100 characters.

    `Error: total price is 375, but paid 299` and the same with other amounts are both
    `total price is N, but paid N`. Of a Python traceback the line of the error counts. A line with
    letters beyond ASCII becomes a digest: it is told apart from others, and never shown.
    """
    traced = "Traceback (most" in error[:4000]
    text = redact(_plain(error.strip()[-4000:] if traced else error.strip()[:4000]))
    lines = [line.strip() for line in text.splitlines() if any(ch.isalnum() for ch in line)] or [""]
    raised = [line for line in lines if _RAISED.match(line)]
    line = raised[-1] if raised else lines[-1] if traced else lines[0]
    line = _PREFIX.sub("", line[:1000]) or line[:1000]
    if any(ord(ch) > 127 and ch.isalpha() for ch in line):
        return "#" + sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    for pattern, name in _SKELETON:
        line = pattern.sub(name, line)
    line = _SPACES.sub(" ", _ODD.sub(" ", line)).strip()
    line = re.sub(r" ([.,:;)])", r"\1", line)
    return line if len(line) <= _LONGEST_ERROR else line[:_LONGEST_ERROR].rsplit(" ", 1)[0]


def error_class(error: str) -> str:
    """The class of an error by its words: `not found`, `timeout`, ...; `other` if none fits."""
    return next((name for name, pattern in _CLASSES if pattern.search(error[:1000])), "other")


def quotable_error(skeleton: str, known: Iterable[str] = ()) -> str | None:
    """The skeleton of an error where it may stand in a prompt between quotes, else `None`.

    Words that are not ordinary in error messages may be values: each is replaced by X.

    Args:
        skeleton: As `error_skeleton` gives it.
        known: Words of the tool's own names, which count as ordinary.
    """
    text = _SPACES.sub(" ", _ODD.sub(" ", _plain(redact(skeleton)))).strip()[:_LONGEST_ERROR]
    words = [word.lower() for word in _LETTERS.findall(text)]
    if not words or skeleton.startswith("#") or _orders(words):
        return None
    ordinary = _ERROR_WORDS | {word.lower() for word in known}
    share = sum(word in ordinary for word in words) / len(words)
    if share < 0.5 or is_secret_value(text):
        return None
    shown = _LETTERS.sub(lambda word: word[0] if word[0].lower() in ordinary else "X", text)
    return _VALUES.sub("X", shown).replace("'", "")


def ordinary_error(skeleton: str) -> str | None:
    """The skeleton where every word of it is an ordinary word of error messages, so that it names nobody."""
    words = [word.lower() for word in _LETTERS.findall(skeleton)]
    return skeleton if words and _ERROR_WORDS.issuperset(words) else None


def safe_name(name: str) -> str:
    """A tool's name as providers allow them (64 letters, digits, `_.:/-`), any other name withheld."""
    words = [word.lower() for word in _LETTERS.findall(name)]
    plain = _NAME.fullmatch(name) is not None and not is_secret_value(name)
    return name if plain and words and not _is_speech(words) else WITHHELD


def safe_path(path: str) -> str:
    """The path of an argument, each part a short plain name; any other part is `_`."""
    parts = [part if _is_plain_key(part) else "_" for part in path[:200].split(".")]
    return ".".join(parts[:6]) if path != "$" else "the arguments"


def safe_value(value: str) -> str | None:
    """A short choice such as `economy`, or `None` where it holds an order, a secret or markup."""
    text = _plain(value)
    words = [word.lower() for word in _LETTERS.findall(text)]
    if text != value or len(text) > 30 or len(words) > 3 or _ODD.search(text) or _orders(words):
        return None
    return None if is_secret_value(text) else text


def _is_plain_key(part: str) -> bool:
    name = part.replace("[]", "")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,31}", name) or is_secret_value(name):
        return False
    words = [word.lower() for word in _LETTERS.findall(name)]
    return len(words) <= 5 and not _is_speech(words)


def _orders(words: list[str]) -> bool:
    return not _ORDERS.isdisjoint(words) or "".join(words) in _ORDERS or _is_speech(words)


_SPEECH_TEXT: Final = """
ignore disregard forget override bypass obey pretend instructions instruction jailbreak exfiltrate
reveal you your yourself must should always never immediately
"""
_SPEECH: Final = frozenset(_SPEECH_TEXT.split())
"""Words that no name of a tool or argument needs."""
_RUN_ON: Final = re.compile(
    r"ignore(?:all|any|the|previous|prior|above)|disregard|previousinstr|systemprompt|youmust|youare"
)


def _is_speech(words: list[str]) -> bool:
    return not _SPEECH.isdisjoint(words) or _RUN_ON.search("".join(words)) is not None


def _plain(text: str) -> str:
    """Compatibility forms folded, invisible and control characters gone, lines kept."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(ch for ch in folded if ch in "\n " or unicodedata.category(ch)[0] != "C")
