"""What the host did with a conversation's pages: facts of its log, folded alike by every worker. No I/O.

A page that the host made is one event, and its id is that event's seq: no two can clash, and a page is found
by its id alone. What is said of pages afterwards is an event each. A snapshot goes along now and then, and a
new segment carries the seqs of what a cold reader needs, so that it never reads the log behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from ..events import Event, EventKind
from ..memory import Level, Page

__all__ = [
    "MOST_MARKS",
    "SNAPSHOT_EVERY",
    "Mark",
    "Marks",
    "made_page",
    "page_id_of",
    "page_made",
    "page_marked",
]

_VERSION: Final = 1
MOST_MARKS: Final = 1000
"""Pages of which something is known beside the log; beyond, the oldest that are neither pinned nor in the
working set stay readable by their ids, and are listed and searched no more."""
MOST_FORGOTTEN: Final = 5000
"""Pages of which it is known that they are to be served no more; beyond, the oldest can be read by their ids
again, and are listed no more."""
SNAPSHOT_EVERY: Final = 64
"""Facts after which a snapshot goes with the next one: the most that a cold reader fetches, a few apart."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the host said of a page.

    Attributes:
        pinned: Whether it may never leave the working set.
        importance: From 0 to 1; `None` for the page's own.
        used_seq: The event that put it into the working set last; 0 if it is not to be in.
        level: How much of it the host wants shown.
        forgotten: Whether it is to be served no more.
    """

    pinned: bool = False
    importance: float | None = None
    used_seq: int = 0
    level: int = Level.FULL
    forgotten: bool = False

    def to_json(self) -> dict[str, Any]:
        """What is not at its default."""
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in stored.items() if value != getattr(_PLAIN, name)}


_PLAIN: Final = Mark()


class Marks:
    """The marks of one conversation, and how far they were read from its log.

    Attributes:
        seq: Last seq that was folded.
        changed_seq: Last seq that changed a mark: equal figures, equal marks.
    """

    def __init__(self) -> None:
        self.seq = self.changed_seq = 0
        self._marks: dict[str, Mark] = {}
        self._since_snapshot = 0

    def get(self, page_id: str) -> Mark:
        """What is known of a page; the defaults if nothing is."""
        return self._marks.get(page_id, _PLAIN)

    def listed(self) -> dict[str, Mark]:
        """Pages of which something is known, and that are not forgotten, in the order of the log."""
        return {page_id: mark for page_id, mark in self._marks.items() if not mark.forgotten}

    @property
    def snapshot_due(self) -> bool:
        """Whether a snapshot should go with the next fact."""
        return self._since_snapshot >= SNAPSHOT_EVERY

    def snapshot(self) -> dict[str, Any]:
        """The data of a `memory.snapshot` event."""
        marks = {page_id: mark.to_json() for page_id, mark in self._marks.items()}
        return {"v": _VERSION, "through": self.seq, "changed": self.changed_seq, "marks": marks}

    def fold(self, events: Iterable[Event], through: int) -> None:
        """Take in events of the log up to `through`; those that were folded before are passed over.

        A snapshot that reaches further than what was folded stands for all before it.
        """
        events = sorted(events, key=lambda event: event.seq)
        for event in reversed(events):
            if event.kind is EventKind.MEMORY_SNAPSHOT and event.data["through"] > self.seq:
                self._begin_from(event.data)
                break
        for event in events:
            if event.seq > self.seq:
                self._fold(event)
        self.seq = max(self.seq, through)

    def _begin_from(self, data: Mapping[str, Any]) -> None:
        self._marks = {page_id: replace(_PLAIN, **_known(mark)) for page_id, mark in data["marks"].items()}
        self.seq, self.changed_seq = data["through"], data["changed"]

    def _fold(self, event: Event) -> None:
        if event.kind is EventKind.MEMORY_SNAPSHOT:
            self._since_snapshot = 0
        if event.kind is not EventKind.MEMORY:
            return
        self._since_snapshot += 1
        self.changed_seq = event.seq
        made = event.data.get("made")
        page_id = page_id_of(event.seq) if made is not None else event.data["page"]
        known = self._marks.pop(page_id, _PLAIN)
        said = dict(event.data.get("mark", ()))
        if "used" in said:
            said["used_seq"] = event.seq if said.pop("used") else 0
        elif said.get("pinned") and not known.used_seq:
            said["used_seq"] = event.seq
        mark = replace(known, **_known(said))
        if made is not None or mark != _PLAIN or page_id.startswith("p"):
            self._marks[page_id] = mark
        self._bound(self.listed(), MOST_MARKS)
        self._bound([one for one, mark in self._marks.items() if mark.forgotten], MOST_FORGOTTEN)

    def _bound(self, page_ids: Collection[str], most: int) -> None:
        if len(page_ids) > most:
            del self._marks[min(page_ids, key=self._worth)]

    def _worth(self, page_id: str) -> tuple[bool, bool]:
        mark = self._marks[page_id]
        return mark.pinned, mark.used_seq > 0


def _known(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a mark that this version knows."""
    return {field.name: stored[field.name] for field in fields(Mark) if field.name in stored}


def page_id_of(seq: int) -> str:
    """The id of the page that the event `seq` made."""
    return f"p{seq}"


def page_made(page: Page) -> dict[str, Any]:
    """The data of a `memory.fact` event that makes a page; its id is not stored."""
    made = {name: value for name, value in page.to_json().items() if name not in ("id", "pinned")}
    mark = {"mark": {"pinned": True}} if page.pinned else {}
    return {"v": _VERSION, "made": made, **mark}


def page_marked(page_id: str, **mark: Any) -> dict[str, Any]:
    """The data of a `memory.fact` event that says something of a page.

    `mark` are fields of its `Mark`, `used` in place of `used_seq`.
    """
    return {"v": _VERSION, "page": page_id, "mark": mark}


def made_page(event: Event) -> Page | None:
    """The page that an event made; `None` if it made none."""
    made = event.data.get("made") if event.kind is EventKind.MEMORY else None
    return None if made is None else Page.from_json({**made, "id": page_id_of(event.seq)})
