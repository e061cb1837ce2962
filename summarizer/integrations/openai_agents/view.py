"""A context as items: what the runtime's model is sent of the history. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...context import Context
from ...events import Event
from ..native import native_of, shown_whole
from .items import (
    call_key,
    is_model_output,
    is_summary,
    is_user,
    kind_of,
    output_key,
    pair,
    units,
    without_orphans,
)
from .ledger import RUNTIME, is_clearing, ledger_of
from .translate import Wire, items_of, with_text

__all__ = ["fitted", "told_apart", "view_of"]


_LEFT_OUT: Final = "[Notes on the earlier part of this conversation were left out to fit.]"
"""Opens a view whose seed was too large for a very small threshold."""


def view_of(context: Context, events: Sequence[Event]) -> list[Wire]:
    """The items that a context shows: the seed as a user's message, then what stands behind it.

    Items are given back as they were stored, unless the context shortened their message. The system prompt
    is left out: the agent's instructions go with each request.

    Args:
        context: Made without marks for caches.
        events: Those of the open segment.
    """
    first = min((seq for seq in context.seqs if seq), default=0)
    ledger = ledger_of([event for event in events if event.seq >= first])
    stored: dict[int, list[Wire]] = {}
    place_of: dict[int, int] = {}
    for at, one in enumerate(ledger.items):
        stored.setdefault(one.seq, []).append(one.item)
        place_of.setdefault(one.seq, at)
    known = {event.seq: event for event in events}
    functions = {key[1] for one in ledger.items if (key := call_key(one.item)) and _is_function(one.item)}
    parts: list[tuple[float, list[Wire]]] = []
    place = -1.0
    for wire, seq in zip(context.messages, context.seqs, strict=True):
        if seq == 0 and wire["role"] == "system" and not parts:
            continue
        if seq == 0 and wire["role"] == "tool" and wire["tool_call_id"] not in functions:
            continue  # A stand-in for a result of which only the runtime knows the shape; see below.
        if ledger.is_listed:
            place = place_of.get(seq, place)
        event = known.get(seq)
        if event is not None and shown_whole(event, wire):
            parts.append((place, stored.get(seq, [])))
        else:
            parts.append((place, _rewritten(wire, event)))
    parts.sort(key=lambda part: part[0])
    items = [item for _, part in parts for item in part]
    items = told_apart(_without_dangling(without_orphans(items, len(items))))
    if items and context.first_seq > 1 and _is_midst(items[0]) and not any(map(is_clearing, events)):
        return [{"role": "user", "content": _LEFT_OUT}, *items]
    return items


def _is_midst(item: Wire) -> bool:
    """Whether the item cannot open a request: several providers want a user's message there."""
    return output_key(item) is not None or (is_model_output(item) and not is_summary(item))


def _is_function(item: Wire) -> bool:
    return kind_of(item) == "function_call"


def _rewritten(wire: Wire, event: Event | None) -> list[Wire]:
    """The items of a message that is not shown as it was recorded."""
    native = None if event is None else native_of(event, RUNTIME)
    if not native:
        return items_of(wire)
    if wire["role"] != "tool":
        return native if wire["role"] == "assistant" else items_of(wire)
    content = wire["content"]
    shorter = with_text(native[0], content) if isinstance(content, str) else None
    return native if shorter is None else [shorter]


def _without_dangling(items: Sequence[Wire]) -> list[Wire]:
    """The items without reasoning of which the item it belongs to is not there: the API refuses it."""
    kept: list[Wire] = []
    for item in reversed(items):
        if kind_of(item) == "reasoning" and not (kept and is_model_output(kept[-1])):
            continue
        kept.append(item)
    return kept[::-1]


def told_apart(items: Sequence[Any]) -> list[Any]:
    """The items, in which of calls with the same id all but the newest have ids of their own.

    Models behind small servers number their calls anew each time. The SDK takes equal ids for one call, sends
    it once, and parts it from its answer.
    """
    calls = [(i, key) for i, item in enumerate(items) if (key := call_key(item)) and key[1]]
    if len({key for _, key in calls}) == len(calls):
        return list(items)
    newest = {key: i for i, key in calls}
    answers = {(earlier, output_key(items[later])): later for earlier, later in pair(items).links}
    found = list(items)
    for number, (i, key) in enumerate(calls):
        if newest[key] != i and "call_id" in items[i]:
            own = {"call_id": f"{key[1]}~{number}"}
            found[i] = {**items[i], **own}
            if (answer := answers.get((i, key))) is not None:
                found[answer] = {**items[answer], **own}
    return found


def fitted(items: Sequence[Any], room: int, weigh: Callable[[Any], int], head: int = 0) -> list[Any]:
    """The newest items that fit, with what they need before them.

    Whole turns are left out, the oldest first, then units of the newest, in steps of a quarter of the room,
    so that the prompt's prefix changes rarely. The first `head` items stay, and so does the newest user's
    message. The newest unit stays whatever it weighs.

    Args:
        items: A request's input.
        room: Most tokens.
        weigh: Tokens of an item.
        head: How many items at the beginning are records of what came before.
    """
    weights = [weigh(item) for item in items]
    total = sum(weights)
    if total <= room:
        return list(items)
    asked = next((i for i in range(len(items) - 1, -1, -1) if is_user(items[i])), 0)
    pinned = {asked, *range(head)}
    step = max(1, room // 4)
    left_out, start, target = 0, 0, math.ceil((total - room) / step) * step
    for run in units(items)[:-1]:
        if left_out >= target:
            break
        left_out += sum(weights[i] for i in range(run.start, run.stop) if i not in pinned)
        start = run.stop
    if start <= asked:  # What remains of a turn without its question says little, and cannot open a request.
        start = next((i for i in range(start, asked) if is_user(items[i])), asked)
    return [item for i, item in enumerate(items) if i >= start or i in pinned]
