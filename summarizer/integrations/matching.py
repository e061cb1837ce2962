"""How far a log goes with a host's list of messages, and which event is which of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..errors import SessionNotFound
from ..events import Event, EventKind
from ..handover import MARK
from ..messages import Message
from ..session import SessionManager
from ..standing import standing
from .host_list import HostList, message_digest

__all__ = ["Match", "matched", "places_of"]


@dataclass(frozen=True, slots=True)
class Match:
    """How far a log goes with the host's list.

    Attributes:
        matched: Host's messages that the log holds, from the first on.
        rest: Numbers of the host's messages that the log lacks.
        seqs: Seqs of events that can be forked behind, the last that matched at the end.
        diverged: Whether the log goes on otherwise than the list.
    """

    matched: int
    rest: tuple[int, ...]
    seqs: tuple[int, ...] = ()
    diverged: bool = False


async def matched(sm: SessionManager, host: HostList) -> Match:
    """Compare the log with the list; of closed segments only what must be read is read."""
    try:
        events = list(await sm.open_segment())
    except SessionNotFound:
        return Match(0, tuple(range(len(host))))
    anchor = _anchor(events, host)
    if anchor < 0 and events and events[0].seq > 1:
        if host.digests[:1] == [await _seed_digest(sm)]:
            return _walked(events, -1, host, begin=1)
        if begin := _handed_over(events, host):
            match = _walked(events, -1, host, begin=begin)
            if match.seqs or not match.diverged:  # Else it is forked behind an event of before.
                return match
        events = standing(await sm.read(include_all_segments=True))
        anchor = _anchor(events, host)
        if anchor < 0 and (not events or events[0].seq > 1):
            return Match(0, (), diverged=True)  # Whatever was removed, it was not the host's list.
    return _walked(events, anchor, host)


async def _seed_digest(sm: SessionManager) -> bytes | None:
    """What the open segment's seed is known by: a host may have put it in the place of all before."""
    context = await sm.context(policies=[], cache_control=False)
    seeded = (wire for wire, seq in zip(context.messages, context.seqs, strict=True) if not seq)
    return next((message_digest(wire) for wire in seeded if wire["role"] == "user"), None)


def _anchor(events: Sequence[Event], host: HostList) -> int:
    """Index of the newest event up to which the log is the host's list; -1 if there is none."""
    for i in range(len(events) - 1, -1, -1):
        n, chain = _mark_of(events[i])
        if 0 < n <= len(host) and host.chain[n - 1].hex() == chain:
            return i
    return -1


def _handed_over(events: Sequence[Event], host: HostList) -> int:
    """How many of the host's messages lie before the open segment, as told; 0 if they are another list's."""
    opened = next((e for e in reversed(events) if e.kind is EventKind.SEGMENTED), None)
    n, chain = _read_mark(opened) if opened else (0, "")
    if not 0 < n <= len(host) or host.chain[n - 1].hex() != chain:
        return 0
    while n < len(host) and host.calls[n] is not None:
        n += 1  # A cut parts no call from its results.
    return n


def _mark_of(event: Event) -> tuple[int, str]:
    return _read_mark(event) if event.kind is EventKind.MESSAGE else (0, "")


def _read_mark(event: Event) -> tuple[int, str]:
    mark = event.data.get(MARK)
    return (mark["n"], mark["chain"]) if mark else (0, "")


def _walked(events: Sequence[Event], anchor: int, host: HostList, begin: int = 0) -> Match:
    """Compare what follows the anchor with the list, one by one; without one, from message `begin` on."""
    at = _mark_of(events[anchor])[0] if anchor >= 0 else begin
    since = _said(events[_round_start(events, anchor) :])
    logged = {e.message.tool_call_id for e in since if e.message and e.message.role == "tool"}
    seqs = [e.seq for e in events[: anchor + 1] if _mark_of(e)[0]]
    for event in _said(events[anchor + 1 :]):
        message = cast("Message", event.message)
        if message.role == "tool":
            continue
        at = _past_results(host, at, logged)
        if at >= len(host) or host.digests[at] != message_digest(message.to_wire()):
            return Match(at, (), tuple(seqs), diverged=True)
        seqs.append(event.seq)
        at += 1
    rest = [i for i in range(at, len(host)) if host.calls[i] is None or host.calls[i] not in logged]
    # An id may come back in a later round: from the first new message on, results are new.
    first = next((i for i in rest if host.calls[i] is None), len(host))
    rest = [i for i in rest if i < first] + list(range(first, len(host)))
    return Match(at, tuple(rest), tuple(seqs))


def _said(events: Sequence[Event]) -> Iterator[Event]:
    """The messages that a host knows of: calls that were recorded without it are left out."""
    return (event for event in events if event.message is not None and not event.data.get("synthetic"))


def _round_start(events: Sequence[Event], anchor: int) -> int:
    """Index of the message whose results the anchor is among."""
    for i in range(anchor, -1, -1):
        message = events[i].message
        if message is not None and message.role != "tool":
            return i
    return 0


def _past_results(host: HostList, at: int, logged: set[str | None]) -> int:
    while at < len(host) and host.calls[at] is not None and host.calls[at] in logged:
        at += 1
    return at


def places_of(events: Mapping[int, Event], host: HostList) -> dict[int, int]:
    """Of the open segment's events the number of the host's message, where it is known."""
    places: dict[int, int] = {}
    at = 0
    for seq, event in events.items():
        n, chain = _mark_of(event)
        if 0 < n <= len(host) and host.chain[n - 1].hex() == chain:
            places[seq] = n - 1
            at = n - 1
        elif event.message is not None and event.message.role == "tool":
            found = _result_behind(host, at, event.message.tool_call_id)
            if found is not None:
                places[seq] = found
    return places


def _result_behind(host: HostList, at: int, call_id: str | None) -> int | None:
    """The result of a call in the round that opens at message `at`."""
    for i in range(at + 1, len(host)):
        if host.calls[i] is None:
            return None
        if host.calls[i] == call_id:
            return i
    return None
