"""What a result says, as far as a loop is concerned, and whether two results say the same.

Two readings of one page are the same page though a clock, a request id or one line of noise differs.
What may differ is not known by tool; it is recognized by evidence in the two texts: everything around it
stands still, and the part itself looks and moves like a clock, an opaque id, a measured duration or a
counter of calls. Where the evidence is thin, the results differ: a loop found late costs some calls, a
poll that is blocked costs the task.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any, Final, NamedTuple, cast

from guards.checks.volatile import PLENTY, Row

__all__ = ["Change", "Difference", "Said", "compare", "echoes", "said"]

_HASHED: Final = 65_536
"""Characters hashed at each end of a text; between them only the length counts."""

_HEAD: Final = 12_000
_TAIL: Final = 4_000
"""Characters kept of a long text, to compare it with the next one: 12,000 and 4,000."""

_ITEMS: Final = 400
"""Members of one list or object that are looked at: the first three quarters and the last quarter of them."""

_NOISY_ROWS: Final = 12
_NOISY_WORDS: Final = 3
"""Rows a text must have, and words a row, before another row in its place may be noise; else it is news."""

_PLAIN_WORDS: Final = 12
"""Words that must stand still beside a counter that has no name."""

_ECHOES: Final = 32
"""Arguments that an answer may repeat."""

_BITS: Final = 10_000
"""Size of an integer beyond which it is shown in hexadecimal: Python refuses decimals of 4,300 digits."""

_SHORT: Final = 2_000
_START: Final = 600
"""Characters of a text that may tell a state, and those of its start in which it does."""

_CLAUSES: Final = str.maketrans({",": "\n", ";": "\n", "{": "\n", "}": "\n", "<": "\n<"})

_STATE = re.compile(
    r"(?<!non-)\b(?:pending|running|queued|enqueued|in[ _-]?progress|processing|waiting|starting|started"
    r"|building|deploying|provisioning|scheduled|initiali[sz]ing|not (?:yet )?(?:ready|finished|done)|ongoing"
    r"|working|underway|still \w+ing|accepted)\b|\b(?:status|code|http|error)\W{0,4}202\b",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"\b(?:retry|try again|temporar(?:y|ily)|rate[ -]?limit\w*|too many requests|busy|throttl\w+"
    r"|service unavailable|not (?:yet )?ready)\b|^\W*(?:202|429|503)\b(?![.,]\d)"
    r"|\b(?:status|code|http|error)\W{0,4}(?:202|429|503)\b",
    re.IGNORECASE,
)
_NEWS = re.compile(
    r"\d\s?%|\b\d+\s?/\s?\d+\b|\b\d+ of \d+\b"
    r"|\b(?:progress|step|stage|phase|stat(?:e|us)|current|latest|next)\b",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\W{0,3}(?:traceback \(|fail(?:ed|ure) (?:to|while)\b"
    r"|(?:\w*error|\w*exception) (?:\d|in|at|while|when|during|executing|calling|occurred)"
    r"|(?:\w*error|\w*exception|failed|failure|fatal|forbidden|unauthorized|access denied"
    r"|invalid [^:\n]{1,40})"
    r"\"?\s*(?:[.!]|:(?!\s*(?:null|none|false|0|\"\"|\[\]|\{\})))"
    r"|(?:error|failed|failure)\W?$)",
    re.IGNORECASE,
)
"""A failure at the start of a text; `"error": null` and `failed: 0` are none."""

_WORD = re.compile(r"(?<![^\W_])[^\W\d_]{2,}(?![^\W_])")


class Change(StrEnum):
    """How a result differs from the one before it.

    `same`: in nothing, or in clocks, ids and the like. `noise`: in one part of a long text that may be
    noise; it is, if the next difference falls on the same place. `counted`: in a number that went up by
    one, which may be a counter of calls and may be progress. `changed`: it says something else.
    """

    SAME = "same"
    NOISE = "noise"
    COUNTED = "counted"
    CHANGED = "changed"


class Difference(NamedTuple):
    """A change, and the row at which it begins; -1 where there is none."""

    change: Change
    at: int = -1


@dataclass(frozen=True, slots=True)
class Said:
    """What a result said.

    Attributes:
        digest: Of the whole text; of both ends and the length beyond 128 kB. 16 hex digits.
        text: The text, at most 16,000 characters of it; empty once it was dropped.
        size: Characters of the whole text.
        failed: It is an error, or reads as one.
    """

    digest: str
    text: str
    size: int
    failed: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it says that work goes on, or that one should try later; long texts never do."""
        if self.size > _SHORT:
            return False
        words = _LATER if self.failed else _STATE
        return words.search(self.text, 0, _START) is not None or (
            not self.failed and _LATER.search(self.text, 0, _START) is not None
        )

    @property
    def says_much(self) -> bool:
        """Whether it is more than an `ok` or a number: two equal ones are then no coincidence."""
        return self.size >= 40 and (not self.text or _has_words(self.text, 6))


def said(result: Any, error: str | None = None, hide: Sequence[str] = ()) -> Said:
    """What a result, or an error, says.

    Args:
        result: JSON value, of any size; work and memory are bounded.
        error: Text of the error; it then stands for the result.
        hide: Texts that are blanked, so that an echo of the question does not make two answers differ; see
            `echoes`.
    """
    text = error if error is not None else _rendered(result)
    for echo in hide:
        text = text.replace(echo, "\N{SECTION SIGN}")
    failed = error is not None or _reads_failed(result)
    whole = len(text) <= 2 * _HASHED
    hashed = text if whole else f"{len(text)}:{text[:_HASHED]}{text[-_HASHED:]}"
    digest = hashlib.blake2b(hashed.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    kept = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    return Said(digest, kept, len(text), failed)


def compare(old: Said, new: Said, elapsed_s: float = 0.0, *, made: bool = False) -> Difference:
    """How the new result of a call differs from an older one.

    Args:
        old: The older result.
        new: The newer one.
        elapsed_s: Seconds between the two; what moved with them is a clock.
        made: The call may have made something, so that an opaque id without the name of a request or a
            session is that of another thing.
    """
    if old.failed != new.failed:
        return Difference(Change.CHANGED)
    if old.digest == new.digest:
        return Difference(Change.SAME)
    if old.text == new.text or not old.text or not new.text:
        return Difference(Change.CHANGED)
    before, after = _rows(old.text), _rows(new.text)
    # An id that is one of fewer than PLENTY words is part of what the text says.
    most = PLENTY - 1 if made else PLENTY
    head, tail = _common(before, after, elapsed_s, len(list(islice(_WORD.finditer(new.text), most))))
    gone, came = before[head : len(before) - tail], after[head : len(after) - tail]
    if not gone and not came:
        return Difference(Change.SAME)
    change = _judged(gone, came, new, len(after))
    if change is Change.NOISE and made and any(Row(row).has_id() for row in came):
        change = Change.CHANGED
    return Difference(change, head)


def _judged(gone: list[str], came: list[str], new: Said, total: int) -> Change:
    if new.goes_on or len(gone) != len(came) or len(came) > max(1, total // 50):
        return Change.CHANGED
    if any(_NEWS.search(row) or _STATE.search(row) for row in came):
        return Change.CHANGED
    steps = [Row(old).step(Row(row)) for old, row in zip(gone, came, strict=True)]
    if steps == [1] and _has_words(new.text, _PLAIN_WORDS):
        return Change.COUNTED
    worded = all(len(row.split()) >= _NOISY_WORDS for row in came)
    noise = worded and total >= _NOISY_ROWS and all(step is None for step in steps)
    return Change.NOISE if noise else Change.CHANGED


def _has_words(text: str, least: int) -> bool:
    return len(list(islice(_WORD.finditer(text), least))) == least


def _common(before: list[str], after: list[str], elapsed_s: float, words: int) -> tuple[int, int]:
    """How many rows at the head and at the tail say the same."""
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and _same(before[head], after[head], elapsed_s, words):
        head += 1
    tail = 0
    while tail < shorter - head and _same(before[-1 - tail], after[-1 - tail], elapsed_s, words):
        tail += 1
    return head, tail


def _same(old: str, new: str, elapsed_s: float, words: int) -> bool:
    if old == new or len(old) + len(new) > _SHORT:
        return old == new
    return Row(old).same_but_volatile(Row(new), elapsed_s, words)


def _rows(text: str) -> list[str]:
    clauses = text.translate(_CLAUSES).replace(". ", ".\n")
    return [row for row in clauses.splitlines() if row.strip()]


def _reads_failed(result: Any) -> bool:
    if isinstance(result, str):
        return _FAILED.match(result, 0, _START) is not None
    if isinstance(result, dict):
        told = cast("dict[str, Any]", result)
        return bool(told.get("error") or told.get("isError")) or told.get("success") is False
    return False


def echoes(arguments: Mapping[str, Any]) -> list[str]:
    """What an answer may repeat of its question: texts and numbers of the arguments, the longest first."""
    shown = [
        _shown(value) for value in islice(arguments.values(), _ECHOES) if isinstance(value, str | int | float)
    ]
    return sorted(
        (text for text in shown if 1 < len(text) <= _SHORT or text.isdigit()), key=len, reverse=True
    )


def _rendered(value: Any) -> str:
    """Text as it is; anything else a row a leaf, each behind its key."""
    if isinstance(value, str):
        return value
    rows: list[str] = []
    _render(value, "", rows, 2 * _HASHED)
    return "\n".join(rows)


def _render(value: Any, label: str, rows: list[str], left: int) -> int:
    """Append rows until `left` characters are used up; returns what is left."""
    if isinstance(value, dict):
        told = cast("dict[str, Any]", value)
        rows.append(f"{label}{{{len(told)}}}")
        keys = sorted(told) if len(told) <= _ITEMS else _ends(list(told))
        members = [(f"{key}: ", told[key]) for key in keys]
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        rows.append(f"{label}[{len(items)}]")
        members = [("", item) for item in (items if len(items) <= _ITEMS else _ends(items))]
    else:
        members = [(label, value)]
    for name, member in members:
        if left <= 0:
            break
        if isinstance(member, dict | list):
            left = _render(member, name, rows, left)
        else:
            text = _shown(member)
            text = text if len(text) <= left else text[: left // 2] + text[-(left // 2) :]
            rows.append(f"{name}{text}")
            left -= len(rows[-1])
    return left


def _shown(leaf: Any) -> str:
    if isinstance(leaf, int) and leaf.bit_length() > _BITS:
        return hex(leaf)
    return str(leaf)


def _ends(items: list[Any]) -> list[Any]:
    return list(chain(items[: _ITEMS * 3 // 4], items[-_ITEMS // 4 :]))
