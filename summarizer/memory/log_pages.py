"""Pages from the log: a turn a page, large tool results on pages of their own. Pure.

A page's id names its events, and its text follows from them alone: whoever reads the same range again, in
whichever process, gets the same page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..events import Event
from ..summary.drafts import event_trust, least_trusted
from . import wording
from .pages import DEFAULT_IMPORTANCE, Page, PageType
from .tools import PAGING_TOOLS

__all__ = ["call_names", "is_paged", "message_page", "pages_of", "transcript_page"]

_LARGE: Final = 2000
"""Characters from which a tool result is a page of its own, so that the turn can be read without it."""
_LONG: Final = 6000
"""Characters from which a turn goes on in another page, where no call is open."""
_LONGEST: Final = 4 * _LONG
"""Characters from which it does so behind a call that nothing answers, too."""
_LINE_END: Final = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
"""What `str.splitlines` takes for the end of a line."""
_RESULTS: Final = ("tool", "function")


def pages_of(events: Iterable[Event]) -> Iterator[Page]:
    """The pages of a range of the log, results before the turn that they belong to."""
    for run in _runs(events):
        names = call_names(run)
        yield from (message_page(event) for event in run if _stands_apart(event, names))
        yield transcript_page(run)


def transcript_page(events: Sequence[Event]) -> Page:
    """The page `e{first}-{last}` of these messages, one at least.

    A line of it begins with the seq and the role of its event; further lines of the same text are indented
    by two blanks, so that no text can pass for another's, and none is lost.
    """
    names = call_names(events)
    lines: list[str] = []
    told: list[Event] = []
    for event in events:
        message = event.message
        if message is None:
            continue
        name = (names.get(message.tool_call_id or "") or message.name or "") if message.role != "user" else ""
        who = f"{event.seq} {message.role} {name}".rstrip()
        if is_paged(event, names):
            lines.append(f"{who}: {wording.PAGED}")
            continue
        if _stands_apart(event, names):
            lines.append(f"{who}: {wording.ELSEWHERE.format(page=f'r{event.seq}')}")
            continue
        told.append(event)
        calls = [f"{call.name} {call.arguments_json}" for call in message.tool_calls]
        if message.text or not calls:
            lines.append(f"{who}: {_indented(message.text)}")
        lines += [f"{who} calls: {_indented(text)}" for text in calls]
    first, last = events[0].seq, events[-1].seq
    return Page(
        f"e{first}-{last}",
        "\n".join(lines),
        importance=DEFAULT_IMPORTANCE[PageType.TRANSCRIPT],
        origin=least_trusted(map(event_trust, told or events)),
        first_seq=first,
        last_seq=last,
    )


def message_page(event: Event) -> Page:
    """The page `r{seq}`: the text of one message, to the byte."""
    message = event.message
    assert message is not None
    kind = PageType.ARTIFACT if message.role in _RESULTS else PageType.TRANSCRIPT
    return Page(
        f"r{event.seq}",
        message.text,
        kind,
        importance=DEFAULT_IMPORTANCE[kind],
        origin=event_trust(event),
        first_seq=event.seq,
        last_seq=event.seq,
    )


def is_paged(event: Event, names: Mapping[str, str]) -> bool:
    """Whether the event is what a paging tool answered: pages, told again; `names` are those of the calls."""
    message = event.message
    if message is None or message.role not in _RESULTS:
        return False
    return names.get(message.tool_call_id or "") in PAGING_TOOLS


def call_names(events: Sequence[Event]) -> dict[str, str]:
    """The tool of each call that the events make, by the call's id."""
    calls = (call for event in events if event.message is not None for call in event.message.tool_calls)
    return {call.id: call.name for call in calls}


def _runs(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Turns, long ones in parts between finished tool rounds."""
    run: list[Event] = []
    waiting: set[str] = set()
    size = 0
    for event in events:
        message = event.message
        if message is None:
            continue
        is_result = message.role in _RESULTS
        long = size >= _LONG and not is_result and (not waiting or size >= _LONGEST)
        if run and (message.role == "user" or long):
            yield run
            run, size = [], 0
            waiting.clear()
        run.append(event)
        waiting.discard(message.tool_call_id or "")
        waiting.update(call.id for call in message.tool_calls)
        size += sum(len(call.arguments_json) for call in message.tool_calls)
        size += len(message.text) if not is_result else min(len(message.text), _LARGE)
    if run:
        yield run


def _stands_apart(event: Event, names: Mapping[str, str]) -> bool:
    """Whether the event is a large result; what the paging tools brought is on pages already."""
    message = event.message
    if message is None or message.role not in _RESULTS or len(message.text) < _LARGE:
        return False
    return not is_paged(event, names)


def _indented(text: str) -> str:
    return _LINE_END.sub(r"\g<0>  ", text)
