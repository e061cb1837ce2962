"""What of the open segment a view does not show, as pages. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ..context import Context
from ..events import Event
from ..memory import Page
from ..memory.log_pages import pages_of
from ..memory.tools import PAGE_FAULT

__all__ = ["Hidden", "hidden_pages", "question_of"]

_AT_HAND: Final = 1000
"""Events behind the newest hidden one whose pages are at hand, their turn begun; others are a search away."""
_MOST_FAULTS: Final = 16


@dataclass(frozen=True, slots=True)
class Hidden:
    """Pages of what is not shown.

    Attributes:
        pages: All of them, the oldest first.
        whole: Ids of those that may come in: nothing of them is shown but the question that opens a turn,
            and nothing of them was cleared by a policy, which wants it out.
        faults: Pages that the model read, and where the log says so: seq and page id.
        first_seq: The oldest event at hand; 0 if nothing is hidden.
        turns: Seqs of the user messages at hand.
        weights: Raw tokens of the log up to each page's beginning, by page id.
    """

    pages: Sequence[Page] = ()
    whole: frozenset[str] = frozenset()
    faults: Sequence[tuple[int, str]] = ()
    first_seq: int = 0
    turns: Sequence[int] = ()
    weights: dict[str, int] = field(default_factory=dict[str, int])

    def turn_of(self, seq: int) -> int:
        """The number of the turn at hand in which an event is, from 0."""
        return bisect_right(self.turns, seq)

    def newest(self, tokens: int) -> Iterator[Page]:
        """Pages of which nothing is shown, as far back as so many raw tokens reach, the oldest first."""
        whole = [page for page in self.pages if page.id in self.whole]
        least = self.weights[whole[-1].id] - tokens if whole else 0
        return (page for page in whole if self.weights[page.id] >= least)


def hidden_pages(events: Sequence[Event], shown: Context) -> Hidden:
    """The pages of the events that a view left out or rewrote.

    Args:
        events: The open segment.
        shown: The view.
    """
    gone = [omission for omission in shown.omitted if omission.first_seq]
    if not gone or not events:
        return Hidden()
    last, offset = max(omission.last_seq for omission in gone), events[0].seq
    start = max(0, min(last - _AT_HAND - offset, len(events) - 1))
    while start and not _opens_turn(events[start]):
        start -= 1
    run = events[start : last - offset + 1]
    cleared = [(one.first_seq, one.last_seq) for one in gone if one.reason_code == "cleared"]
    pages: list[Page] = []
    whole: set[str] = set()
    weights: dict[str, int] = {}
    for page in pages_of(run):
        assert page.first_seq is not None
        assert page.last_seq is not None
        part = run[page.first_seq - run[0].seq : page.last_seq + 1 - run[0].seq]
        unseen = [event for event in part if event.message is not None and not shown.shows(event.seq)]
        if not unseen:
            continue
        pages.append(page)
        weights[page.id] = part[0].cumulative_tokens
        seen = [event for event in part if event.message is not None and shown.shows(event.seq)]
        kept = any(a <= event.seq <= b for event in unseen for a, b in cleared)
        if not kept and all(map(_opens_turn, seen)):
            whole.add(page.id)
    faults = [found for event in run if not shown.shows(event.seq) for found in _faults(event)]
    turns = [event.seq for event in run if _opens_turn(event)]
    return Hidden(pages, frozenset(whole), faults[-_MOST_FAULTS:], run[0].seq, turns, weights)


def question_of(events: Sequence[Event], last_seq: int) -> tuple[int, str] | None:
    """Seq and text of the newest question up to `last_seq`; `None` if there is none."""
    for event in reversed(events):
        if event.seq <= last_seq and event.message is not None and _opens_turn(event):
            return event.seq, event.message.text
    return None


def _opens_turn(event: Event) -> bool:
    message = event.message
    return message is not None and message.role == "user" and not event.data.get("synthetic")


def _faults(event: Event) -> Iterator[tuple[int, str]]:
    for call in event.message.tool_calls if event.message is not None else ():
        if call.name == PAGE_FAULT and (page_id := _page_id(call.arguments_json)):
            yield event.seq, page_id


def _page_id(arguments: str) -> str | None:
    try:
        given: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    page_id: object = cast("dict[str, Any]", given).get("page_id") if isinstance(given, dict) else None
    return page_id.strip() if isinstance(page_id, str) else None
