"""Streaks: how often a call, a question or an error came again with the same answer.

A streak lives while nothing progresses. Progress has a number that only grows; a streak that was last
extended under an older number begins anew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from guards.calls import CallRecord
from guards.checks.likeness import Wish, wish
from guards.checks.results import Change, Said, compare, echoes, said

__all__ = ["Families", "Family", "News", "Streak", "Streaks"]

_CALLS: Final = 9
"""Calls that a streak names as evidence: the newest of them."""

_TOOLS: Final = 64
_GROUPS: Final = 4
_GROUP_TEXT: Final = 4_000
_ERROR_TEXT: Final = 2_000
"""Tools whose answers are remembered, reworded questions of one tool, and characters kept of each."""

_SIZE_SLACK: Final = 200
"""Characters by which equal answers may differ in length, where they echo the question."""


class News(StrEnum):
    """What a finished call brought: the first answer to it, another one, or the same again."""

    FIRST = "first"
    OTHER = "other"
    SAME = "same"


@dataclass(slots=True)
class Streak:
    """Equal outcomes in a row, without progress.

    Attributes:
        said: The last answer.
        count: Calls in the streak.
        mark: Number of the progress under which it was last extended.
        calls: Index and id of its newest calls.
        total: Calls with this answer, whatever progressed between them.
        at: When the last call began.
        key: Digest of the first of the equal answers.
        noise_at: Row of the difference that was taken for noise; -1 for none.
        counted: A number goes up by one each time: a counter, or slow progress.
        varied: The calls differ in their arguments.
        names_item: The error names what it was asked for, and differs only in that.
        wish: What the first call asked, if the streak is one of reworded calls.
        echoes: What the answer may repeat of the first call's arguments.
    """

    said: Said
    mark: int
    at: datetime
    key: str
    count: int = 0
    total: int = 0
    calls: deque[tuple[int, str]] = field(default_factory=lambda: deque[tuple[int, str]](maxlen=_CALLS))
    noise_at: int = -1
    counted: bool = False
    varied: bool = False
    names_item: bool = False
    fingerprint: str = ""
    wish: Wish | None = None
    echoes: list[str] = field(default_factory=list[str])

    def equal_calls(self, progress: int) -> int:
        """Calls without progress since, so far."""
        return self.count if self.mark == progress else 0

    def again(self, index: int, record: CallRecord, progress: int) -> None:
        """One more call with the same answer."""
        self.count = self.equal_calls(progress) + 1
        self.total += 1
        self._met(index, record, progress)

    def begin(self, index: int, record: CallRecord, heard: Said, progress: int) -> None:
        """A call with another answer than before."""
        self.said, self.key = heard, heard.digest
        self.count = self.total = 1
        self.noise_at, self.counted, self.varied, self.names_item = -1, False, False, False
        self.calls.clear()
        self._met(index, record, progress)

    def _met(self, index: int, record: CallRecord, progress: int) -> None:
        self.mark, self.at = progress, record.at
        if self.fingerprint and self.fingerprint != record.fingerprint:
            self.varied = True
        self.fingerprint = record.fingerprint
        self.calls.append((index, record.call_id))

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value |= {
            "said": asdict(self.said),
            "at": self.at.isoformat(),
            "calls": [list(c) for c in self.calls],
        }
        value["echoes"] = list(self.echoes)
        if self.wish:
            words = {path: list(found) for path, found in self.wish.words.items()}
            value["wish"] = {"words": words, "facts": sorted(self.wish.facts)}
        return value

    @classmethod
    def restore(cls, value: Mapping[str, Any]) -> Streak:
        """The inverse of `snapshot`."""
        known = {name: value[name] for name in cls.__slots__}
        known["said"], known["at"] = Said(**value["said"]), datetime.fromisoformat(value["at"])
        known["echoes"] = [str(echo) for echo in value["echoes"]]
        known["calls"] = deque(((int(i), str(c)) for i, c in value["calls"]), maxlen=_CALLS)
        if value["wish"]:
            words = {path: tuple(found) for path, found in value["wish"]["words"].items()}
            known["wish"] = Wish(words, frozenset(value["wish"]["facts"]))
        return cls(**known)


def _streak(record: CallRecord, index: int, heard: Said, progress: int) -> Streak:
    """A streak of one."""
    made = Streak(heard, progress, record.at, heard.digest)
    made.begin(index, record, heard, progress)
    return made


class Streaks:
    """The streak of each call, by fingerprint; the calls met last are kept.

    Args:
        limit: Calls kept.
        text_limit: Characters of answers kept in all; beyond, old answers are compared by digest alone.
    """

    def __init__(self, limit: int, text_limit: int = 256_000) -> None:
        self._limit = limit
        self._text_limit = text_limit
        self._of: OrderedDict[str, Streak] = OrderedDict()
        self._texts: OrderedDict[str, int] = OrderedDict()
        self._held = 0

    def get(self, fingerprint: str) -> Streak | None:
        return self._of.get(fingerprint)

    def add(self, index: int, record: CallRecord, heard: Said, progress: int) -> tuple[Streak, News]:
        """A call ended with this answer."""
        found = self._of.get(record.fingerprint)
        if found is None:
            found = self._of[record.fingerprint] = _streak(record, index, heard, progress)
            news = News.FIRST
        elif _extends(found, record, heard):
            found.said = heard
            found.again(index, record, progress)
            news = News.SAME
        else:
            found.begin(index, record, heard, progress)
            news = News.OTHER
        self._keep(record.fingerprint, found)
        return found, news

    def _keep(self, fingerprint: str, kept: Streak) -> None:
        self._of.move_to_end(fingerprint)
        self._held += len(kept.said.text) - self._texts.pop(fingerprint, 0)
        self._texts[fingerprint] = len(kept.said.text)
        if len(self._of) > self._limit:
            old, _ = self._of.popitem(last=False)
            self._held -= self._texts.pop(old, 0)
        while self._held > self._text_limit and len(self._texts) > 1:
            old, size = self._texts.popitem(last=False)
            self._held -= size
            self._of[old].said = replace(self._of[old].said, text="")

    def snapshot(self) -> list[Any]:
        """JSON, whole."""
        return [[fingerprint, kept.snapshot()] for fingerprint, kept in self._of.items()]

    def restore(self, value: Iterable[Any]) -> None:
        """Take what `snapshot` gave, into an empty one."""
        for fingerprint, kept in value:
            self._of[str(fingerprint)] = Streak.restore(kept)
            self._keep(str(fingerprint), self._of[str(fingerprint)])


def _extends(found: Streak, record: CallRecord, heard: Said) -> bool:
    elapsed_s = abs((record.at - found.at).total_seconds())
    difference = compare(found.said, heard, elapsed_s, made=record.read_only is not True)
    if difference.change is Change.NOISE:
        same_place = found.noise_at in (-1, difference.at)
        found.noise_at = difference.at
        return same_place
    found.counted = found.counted or difference.change is Change.COUNTED
    return difference.change is not Change.CHANGED


@dataclass(slots=True)
class Family:
    """The answers of one tool: the error that it gave last, and questions that may come reworded."""

    error: Streak | None = None
    groups: deque[Streak] = field(default_factory=lambda: deque[Streak](maxlen=_GROUPS))

    def longest(self) -> int:
        """Calls in its longest streak, whatever progressed since."""
        longest = max((group.count for group in self.groups), default=0)
        return max(longest, self.error.total) if self.error else longest

    def group(self, asked: Wish) -> Streak | None:
        """The reworded calls that asked the same, the newest first."""
        for group in reversed(self.groups):
            wanted = group.wish
            if wanted is None or wanted.facts != asked.facts or wanted.another_item(asked):
                continue
            if wanted.like(asked, nested=not group.said.says_much):
                return group
        return None


class Families:
    """The family of each tool; the tools met last are kept."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Family] = OrderedDict()

    def get(self, tool: str) -> Family | None:
        return self._of.get(tool)

    def add(self, index: int, record: CallRecord, heard: Said, progress: int) -> Streak | None:
        """A call ended with this answer; returns the streak of like calls that it belongs to, if any."""
        family = self._of.setdefault(record.tool_name, Family())
        self._of.move_to_end(record.tool_name)
        if len(self._of) > _TOOLS:
            self._of.popitem(last=False)
        if heard.failed:
            return _add_error(family, index, record, heard, progress)
        family.error = None
        if record.read_only is not True:
            # What may write does something for each of its texts, however alike they are.
            return None
        return _add_group(family, index, record, heard, progress)

    def snapshot(self) -> list[Any]:
        """JSON, whole."""
        return [
            [tool, family.error.snapshot() if family.error else None, [g.snapshot() for g in family.groups]]
            for tool, family in self._of.items()
        ]

    def restore(self, value: Iterable[Any]) -> None:
        """Take what `snapshot` gave, into an empty one."""
        for tool, error, groups in value:
            family = self._of[str(tool)] = Family(Streak.restore(error) if error else None)
            family.groups.extend(Streak.restore(group) for group in groups)


def _add_error(family: Family, index: int, record: CallRecord, heard: Said, progress: int) -> Streak:
    heard = said(None, heard.text[:_ERROR_TEXT])
    run, asked = family.error, echoes(record.arguments)
    if run is not None:
        same = heard.digest == run.said.digest or compare(run.said, heard).change is Change.SAME
        if same or _echo_alike(run, heard, asked):
            run.names_item = run.names_item or not same
            run.again(index, record, progress)
            return run
    family.error = _streak(record, index, heard, progress)
    family.error.echoes, family.error.wish = asked, wish(record.arguments)
    return family.error


def _add_group(family: Family, index: int, record: CallRecord, heard: Said, progress: int) -> Streak | None:
    wanted = wish(record.arguments)
    if wanted is None or not any(wanted.words.values()):
        return None
    if heard.size > _GROUP_TEXT:
        heard = replace(heard, text="")
    group, asked = family.group(wanted), echoes(record.arguments)
    if group is not None and (heard.digest == group.said.digest or _echo_alike(group, heard, asked)):
        group.again(index, record, progress)
        return group
    made = _streak(record, index, heard, progress)
    made.wish, made.echoes = wanted, asked
    family.groups.append(made)
    return made


def _echo_alike(known: Streak, heard: Said, asked: list[str]) -> bool:
    """Whether two answers are the same but for what they repeat of their questions."""
    if not heard.text or not known.said.text or abs(known.said.size - heard.size) > _SIZE_SLACK:
        return False
    as_error = heard.failed
    before, after = (
        said(None, text, hide) if as_error else said(text, hide=hide)
        for text, hide in ((known.said.text, known.echoes), (heard.text, asked))
    )
    return compare(before, after).change is Change.SAME
