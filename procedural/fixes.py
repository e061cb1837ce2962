"""Whether a second call corrects a first one that failed, or asks something else. Pure.

Two unrelated questions differ in *what they are about*: one name, number or identifier in place of
another. A correction differs in *how the question is put*, and each difference must show it: an argument
added or left out, a value in another form or spelling, a number moved the way the error asked, or the
value that the error itself stated or lets compute. One difference without such a sign, and it is no
correction. Where no goal is known the calls themselves have to show that they ask the same. Free text (a
shell command, a message) gives no sign: two of them are always different questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from procedural.shapes import SECRET, Leaf, form_of, without_places, word_value
from procedural.traces import Change

__all__ = ["Attempt", "changes_between", "same_goal"]

_MOST_ARGUMENTS: Final = 2
"""Arguments that may differ. With more, it is another call."""
_MOST_CHANGES: Final = 6

_LONGEST: Final = 80
"""Characters of a text that may name something; beyond it, or over lines, it is free text."""
_BY_NUMBER: Final = ("named", "adjusted", "raised", "lowered")
_WEAK: Final = ("added", "removed", "raised", "lowered")
"""Changes that could be another question just as well."""
_TELLING: Final = (
    "id",
    "id with #",
    "uuid",
    "email",
    "absolute path",
    "relative path",
    "url",
    "whole number as text",
)
"""Forms of values that single out one thing."""

_TOO_MUCH: Final = re.compile(
    r"too (?:large|big|high|many|long)|exceed|maximum|at most|not enough|insufficient", re.IGNORECASE
)
_TOO_LITTLE: Final = re.compile(
    r"too (?:small|low|few|short)|minimum|at least|must be positive", re.IGNORECASE
)
_NOT_LETTERS: Final = re.compile(r"[\W_]+")
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w])")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call as it is compared: lives in memory only, for a few calls, never stored.

    Attributes:
        trace_id: Of the call's trace.
        tool_name: Of the call.
        leaves: Its arguments, see `shapes.leaves_of`.
        goal: Words, numbers and ids of its goal; empty is unknown.
        error_key: Of the failure, `None` if it succeeded.
        error_text: What the error said, redacted, cut.
    """

    trace_id: str
    tool_name: str
    leaves: Mapping[str, Leaf] = field(default_factory=dict[str, Leaf])
    goal: frozenset[str] = frozenset()
    error_key: str | None = None
    error_text: str = ""


def same_goal(first: Attempt, second: Attempt) -> bool:
    """Whether two calls serve one goal: more than half of the words of either in common, or both unknown."""
    if not first.goal and not second.goal:
        return True
    return 2 * len(first.goal & second.goal) > max(len(first.goal), len(second.goal))


def _same_subject(first: Attempt, second: Attempt) -> bool:
    """Whether half of the arguments are equal, one that singles out a thing among them."""
    equal = [path for path in first.leaves if path in second.leaves and not _differs(path, first, second)]
    enough = 2 * len(equal) >= max(len(first.leaves), len(second.leaves))
    return enough and any(form_of(first.leaves[path]) in _TELLING for path in equal)


def changes_between(failed: Attempt, later: Attempt) -> tuple[Change, ...] | None:
    """What the later call does otherwise, if that can be a correction of the failed one.

    Returns:
        The changes, sorted, without duplicates; empty if the calls are equal; `None` if the later call is
        another question: another tool or goal, more than two arguments changed, or a change that nothing
        shows to be a correction.
    """
    if failed.tool_name != later.tool_name or not (same_goal(failed, later) or _same_subject(failed, later)):
        return None
    paths = [path for path in {**failed.leaves, **later.leaves} if _differs(path, failed, later)]
    if not paths:
        return ()
    if len({re.split(r"[.\[]", path, maxsplit=1)[0] for path in paths}) > _MOST_ARGUMENTS:
        return None
    found = {_change(path, failed, later) for path in paths}
    whole = _renamed({change for change in found if change is not None}, failed, later)
    if None in found or whole is None or len(whole) > _MOST_CHANGES:
        return None
    if not (failed.goal or _same_subject(failed, later) or _asks_the_same(whole, failed, later)):
        return None
    items = any("[" in change.path and change.kind in ("added", "removed") for change in whole)
    if items and all(change.kind not in _BY_NUMBER for change in whole):
        return None  # A list that became longer or shorter asks for more or less, unless its numbers say why.
    return tuple(sorted(whole))


def _asks_the_same(changes: set[Change], failed: Attempt, later: Attempt) -> bool:
    """Whether two calls without a goal agree in an argument, or the error names what changed.

    A text with more words (`New York` for `York`) names something else.
    """
    both = [path for path in failed.leaves if path in later.leaves]
    equal = any(not _differs(path, failed, later) for path in both)
    if not all(
        equal or change.kind not in _WEAK or _names(failed.error_text, change.path) for change in changes
    ):
        return False
    if all(change.kind != "extended" for change in changes):
        return True
    return all(_word_count(failed.leaves[path]) == _word_count(later.leaves[path]) for path in both)


def _names(error: str, path: str) -> bool:
    name = path.rsplit(".", 1)[-1].replace("[]", "")
    return _is_named(name.replace("_", " "), error.replace("_", " "))


def _word_count(leaf: Leaf) -> int:
    return len(leaf.split()) if isinstance(leaf, str) else 1


def _renamed(found: set[Change], failed: Attempt, later: Attempt) -> set[Change] | None:
    """One argument gone and one come: a rename if the value is the same, else another question (`None`)."""
    gone = [change for change in found if change.kind == "removed"]
    come = [change for change in found if change.kind == "added"]
    if not gone or not come:
        return found
    if len(gone) != 1 or len(come) != 1 or failed.leaves.get(gone[0].path) != later.leaves.get(come[0].path):
        return None
    return found - {gone[0], come[0]} | {Change(come[0].path, "renamed", gone[0].path, come[0].path)}


def _differs(path: str, failed: Attempt, later: Attempt) -> bool:
    if (path in failed.leaves) != (path in later.leaves):
        return True
    before, after = failed.leaves[path], later.leaves[path]
    return type(before) is not type(after) or before != after


def _change(path: str, failed: Attempt, later: Attempt) -> Change | None:
    shown = without_places(path)
    if path not in failed.leaves:
        added = later.leaves[path]
        by_error = (
            _is_number(added) and added != 0 and _kind_of_number(0.0, float(added or 0), failed.error_text)
        )
        return Change(shown, by_error or "added", after=_shown(added))
    if path not in later.leaves:
        return Change(shown, "removed", before=_shown(failed.leaves[path]))
    before, after = failed.leaves[path], later.leaves[path]
    kind = _kind(before, after, failed.error_text)
    if kind is None:
        return None
    return Change(shown, kind, _shown(before), _shown(after))


def _kind(before: Leaf, after: Leaf, error: str) -> str | None:
    """The sign that `after` corrects `before`, `None` if there is none."""
    if SECRET in (before, after) or _is_free_text(before) or _is_free_text(after):
        return None
    if isinstance(before, str) and isinstance(after, str):
        return _kind_of_text(before, after, error)
    if _is_number(before) and _is_number(after):
        return _kind_of_number(float(before or 0), float(after or 0), error)
    return "retyped" if type(before) is not type(after) and _same_matter(before, after) else None


def _kind_of_text(before: str, after: str, error: str) -> str | None:
    one, other = _folded(before), _folded(after)
    if one == other:
        return "retyped" if form_of(before) != form_of(after) else "respelled"
    if _is_named(after, error) and not _is_named(before, after):
        return "named"
    if min(len(one), len(other)) >= 3 and (one in other or other in one) and _at_edge(before, after):
        return "extended"
    dates = form_of(before), form_of(after)
    if dates[0] != dates[1] and all(form.startswith(("date", "time")) for form in dates):
        return "retyped" if sorted(_digits(before)) == sorted(_digits(after)) else None
    return None


def _kind_of_number(before: float, after: float, error: str) -> str | None:
    stated = [number for text in _NUMBER.findall(error)[:8] if (number := _number(text)) is not None]
    if after in stated:
        return "named"
    gaps = {round(abs(one - other), 6) for one in stated for other in stated if one != other}
    if round(abs(after - before), 6) in gaps:
        return "adjusted"
    if after < before and _TOO_MUCH.search(error) and not _TOO_LITTLE.search(error):
        return "lowered"
    if after > before and _TOO_LITTLE.search(error) and not _TOO_MUCH.search(error):
        return "raised"
    return None


def _is_free_text(leaf: Leaf) -> bool:
    return isinstance(leaf, str) and (len(leaf) > _LONGEST or "\n" in leaf or leaf.count(" ") > 5)


def _is_named(value: str, error: str) -> bool:
    """Whether a text stands in another as a whole word."""
    if len(value) < 2:
        return False
    return re.search(rf"(?<!\w){re.escape(value.lower())}(?!\w)", error.lower()) is not None


def _at_edge(before: str, after: str) -> bool:
    """Whether the part that came or went is a marked part (`a.txt` for `a`), not the end of a longer word."""
    short, long = sorted((before.strip().lower(), after.strip().lower()), key=len)
    place = long.find(short)
    if place < 0 or not short:
        return False
    edges = (long[place - 1 : place], long[place + len(short) : place + len(short) + 1])
    return all(not edge or not edge.isalnum() for edge in edges)


def _same_matter(before: Leaf, after: Leaf) -> bool:
    """Whether the same thing stands there in another type: `5` and `"5"`, or one is null."""
    if before is None or after is None:
        return True
    return (
        _folded(str(before)) == _folded(str(after)) or _number(str(before)) == _number(str(after)) is not None
    )


def _is_number(leaf: Leaf) -> bool:
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _folded(text: str) -> str:
    return _NOT_LETTERS.sub("", text).casefold()


def _digits(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _shown(leaf: Leaf) -> str:
    """A plain word as it is, anything else as its form in angle brackets."""
    return word_value(leaf) or f"<{form_of(leaf)}>"
