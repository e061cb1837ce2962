"""Pages from the log: a turn a page, large tool results on pages of their own. Pure.

The same events give the same pages, under ids made of their seqs, so a range that is read twice is one page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..events import Event
from ..messages import Message
from ..summary.drafts import event_trust, least_trusted
from . import wording
from .pages import DEFAULT_IMPORTANCE, Page, PageType

__all__ = ["pages_of"]

_LARGE: Final = 2000
"""Characters from which a tool result is a page of its own, so that the turn can be read without it."""


def pages_of(events: Iterable[Event]) -> Iterator[Page]:
    """The pages of a range of the log, results before the turn that they belong to.

    A line of a page begins with the seq and the role of its event; further lines of the same text are
    indented, so that no text can pass for another's.
    """
    names: dict[str, str] = {}
    turn: list[Event] = []
    for event in events:
        if event.message is None:
            continue
        if event.message.role == "user" and turn:
            yield from _turn(turn, names)
            turn = []
        turn.append(event)
        names.update((call.id, call.name) for call in event.message.tool_calls)
    if turn:
        yield from _turn(turn, names)


def _turn(events: Sequence[Event], names: dict[str, str]) -> Iterator[Page]:
    lines: list[str] = []
    small: list[Event] = []
    for event in events:
        message = event.message
        assert message is not None
        who = " ".join(filter(None, (message.role, _tool(message, names))))
        if message.role in ("tool", "function") and len(message.text) >= _LARGE:
            page = _page([event], message.text, PageType.ARTIFACT, [event])
            yield page
            lines.append(f"{event.seq} {who}: {wording.ELSEWHERE.format(page=page.id)}")
            continue
        small.append(event)
        calls = [f"{call.name} {call.arguments_json}" for call in message.tool_calls]
        said = [message.text] if message.text or not calls else []
        lines += [f"{event.seq} {who}: {_indented(text)}" for text in said]
        lines += [f"{event.seq} {who} calls: {_indented(text)}" for text in calls]
    yield _page(events, "\n".join(lines), PageType.TRANSCRIPT, small)


def _page(events: Sequence[Event], text: str, kind: PageType, trust: Sequence[Event]) -> Page:
    first, last = events[0].seq, events[-1].seq
    return Page(
        f"r{first}" if kind is PageType.ARTIFACT else f"e{first}-{last}",
        text,
        kind,
        importance=DEFAULT_IMPORTANCE[kind],
        origin=least_trusted(map(event_trust, trust)),
        first_seq=first,
        last_seq=last,
    )


def _tool(message: Message, names: dict[str, str]) -> str:
    return (names.get(message.tool_call_id or "") or message.name or "") if message.role != "user" else ""


def _indented(text: str) -> str:
    return "\n  ".join(text.splitlines())
