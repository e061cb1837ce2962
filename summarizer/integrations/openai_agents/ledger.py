"""Which items a session holds, and in which order: a fold of the log. Pure.

Most items are those of the log's messages, in the log's order. Where a message was recorded before the
runtime handed its items over (a call that the guard announced, a result that it recorded), a list beside a
later event says in which order the runtime stored them, and as what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ...events import Event, EventKind
from ..native import native_of
from .items import call_key, kind_of, output_key
from .translate import Wire, items_of

__all__ = ["EARLY", "ORDER", "RUNTIME", "Ledger", "Stored", "is_clearing", "known", "ledger_of", "said"]

RUNTIME: Final = "openai"
"""Under which an event keeps its items, where its message does not give them back."""
ORDER: Final = "openai_order"
"""Key of the list beside an event: `[event, place]` or `[event, place, item]` of each item of a batch. An
event is its seq or, from 0 down, its distance to the event that holds the list."""
EARLY: Final = "openai_early"
"""Key of a message that was recorded before the runtime handed its items over."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One item.

    Attributes:
        item: As the runtime stored it.
        seq: The event that it is of.
        place: Which of that event's items it is.
    """

    item: Wire
    seq: int
    place: int


@dataclass(slots=True)
class Ledger:
    """The items of a stretch of the log.

    Attributes:
        items: In stored order.
        early: Those of messages that no list mentions yet, and that the runtime will hand over.
        is_listed: Whether an order other than the log's stands in it.
        is_cut: Whether a list names an event from before the stretch.
        is_begun: Whether the stretch holds the place where the conversation was cleared.
    """

    items: list[Stored] = field(default_factory=list[Stored])
    early: list[Stored] = field(default_factory=list[Stored])
    is_listed: bool = False
    is_cut: bool = False
    is_begun: bool = False


def ledger_of(events: Sequence[Event]) -> Ledger:
    """The items of consecutive events, in which what was taken back has no message."""
    cleared = [int(event.data["cut"]) for event in events if is_clearing(event)]
    begin = max(cleared, default=0)
    events = [event for event in events if event.seq > begin]
    own = {event.seq: _items_in(event) for event in events if event.message is not None}
    lists = {event.seq: _listed(event) for event in events if ORDER in event.data}
    listed = {seq for entries in lists.values() for seq, _, _ in entries}
    first = events[0].seq if events else 1
    found = Ledger(is_listed=bool(lists), is_begun=bool(cleared))
    found.is_cut = any(begin < seq < first for seq in listed)
    for event in events:
        for seq, place, item in lists.get(event.seq, ()):
            if seq in own:
                found.items.append(Stored(own[seq][place] if item is None else item, seq, place))
        if event.seq in own and event.seq not in listed:
            plain = [Stored(item, event.seq, place) for place, item in enumerate(own[event.seq])]
            found.items += plain
            if _is_early(event):
                found.early += plain
    return found


def is_clearing(event: Event) -> bool:
    """Whether the conversation begins anew with this event."""
    return event.kind is EventKind.SEGMENTED and bool(event.data.get("cleared"))


def _items_in(event: Event) -> list[Wire]:
    kept = native_of(event, RUNTIME)
    if isinstance(kept, list):
        return cast("list[Wire]", kept)
    return [] if event.message is None else items_of(event.message.to_wire())


def _listed(event: Event) -> list[tuple[int, int, Wire | None]]:
    rows = cast("Iterable[Sequence[Any]]", event.data[ORDER])
    return [
        (
            int(row[0]) if row[0] > 0 else event.seq + int(row[0]),
            int(row[1]),
            row[2] if len(row) > 2 else None,
        )
        for row in rows
    ]


def _is_early(event: Event) -> bool:
    """Whether the message was recorded before the runtime handed it over: by a hook, or by the guard."""
    tool = cast("Mapping[str, Any]", event.data.get("tool", {}))
    return bool(event.data.get(EARLY) or event.data.get("synthetic") or tool.get("guarded"))


def known(items: Sequence[Wire], early: Sequence[Stored]) -> dict[int, Stored]:
    """Which of a batch's items are in the log already.

    Calls and answers are known by their ids; equal ones go first, then the newest, since models use ids
    again. What else a known message holds (reasoning, text) is known by its kind, in order.
    """
    by_seq: dict[int, list[Stored]] = {}
    for one in early:
        by_seq.setdefault(one.seq, []).append(one)
    found: dict[int, Stored] = {}
    for seq in sorted(by_seq, key=lambda seq: (_has_equal(by_seq[seq], items), seq), reverse=True):
        matches = _matched(items, by_seq[seq], found)
        if any(_id_of(items[i]) for i in matches):
            found |= matches
    return found


def _has_equal(event: Sequence[Stored], items: Sequence[Wire]) -> bool:
    return any(said(one.item) == said(item) for one in event for item in items if _id_of(item))


def said(item: Wire) -> list[object]:
    """What a call or an answer says, without the ids and the remarks that the runtime adds."""
    return [item.get(key) for key in ("call_id", "name", "arguments", "output")]


def _matched(
    items: Sequence[Wire], event: Sequence[Stored], taken: Mapping[int, Stored]
) -> dict[int, Stored]:
    matches: dict[int, Stored] = {}
    start = 0
    for one in event:
        for i in range(start, len(items)):
            if i not in taken and _same(items[i], one.item):
                matches[i] = one
                start = i + 1
                break
    return matches


def _same(item: Wire, stored: Wire) -> bool:
    mine, theirs = _id_of(item), _id_of(stored)
    if mine or theirs:
        return mine == theirs
    return kind_of(item) == kind_of(stored) and item.get("role") == stored.get("role")


def _id_of(item: Wire) -> tuple[str, str] | None:
    """What a call or an answer is known by, whatever its kind: the guard knows functions only."""
    for side, key in (("call", call_key(item)), ("answer", output_key(item))):
        if key is not None and key[1]:
            return side, key[1]
    return None
