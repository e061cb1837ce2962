"""A session's view as an agent's messages: native blocks where they were kept, else translated ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ...context import Context
from ...events import Event
from ..native import native_of, shown_whole
from .blocks import Message, decoded, from_chat, mapping_of, mark_of, marked, result_ids
from .shrinking import joined, pinned

__all__ = ["Overlay", "ids_of", "rejoined", "view_of"]


@dataclass(slots=True)
class Overlay:
    """What stands for recorded blocks: results kept verbatim, by seq."""

    results: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    def read(self, events: Iterable[Event]) -> None:
        """Take in the notes among these events."""
        for event in events:
            told = mapping_of(event.data.get("strands"))
            kept = mapping_of(told.get("results"))
            self.results.update({seq: decoded(blocks) for seq, blocks in kept.items()})


def ids_of(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tracking ids, in order; without results, which go with the message that called."""
    return [str(m["tracking_id"]) for m in messages if m.get("tracking_id") and not result_ids(m)]


def view_of(
    context: Context, events: Sequence[Event], overlay: Overlay, *, waits: bool = False
) -> list[Message]:
    """The messages of a context as Strands has them; neighbours of one role are one message.

    The seed is marked, and pinned: what it stands for is not among the messages. Calls at the end that have
    no result yet stand last, as Strands leaves them: it resumes them, or says that they were interrupted.

    Args:
        context: The session's context.
        events: The events that it shows.
        overlay: What stands for some of them.
        waits: The agent waits in the middle of a round, and has itself the results there are.
    """
    known = {event.seq: event for event in events}
    missing: set[str] = set()
    view: list[Message] = []
    lasting = len(context.messages) - context.volatile
    for wire, seq in list(zip(context.messages, context.seqs, strict=True))[:lasting]:
        if wire["role"] in ("system", "developer"):
            continue
        if seq == 0 and not view and wire["role"] == "user":
            view.append(marked("user", str(wire["content"]), "seed"))
            continue
        if seq == 0 and wire["role"] == "tool":
            missing.add(str(wire["tool_call_id"]))
        message = _message_of(known.get(seq), wire, overlay)
        last = view[-1] if view else None
        if last is not None and last["role"] == message["role"] and mark_of(last) is None:
            last["content"].extend(message["content"])
            if "tracking_id" not in last and "tracking_id" in message:
                last["tracking_id"] = message["tracking_id"]
        else:
            view.append(message)
    last_results = set(result_ids(view[-1])) if view else set[str]()
    if last_results & missing and (waits or last_results <= missing):
        view.pop()
    return joined(view, ())


def _message_of(event: Event | None, wire: Mapping[str, Any], overlay: Overlay) -> Message:
    if event is None or not shown_whole(event, wire):
        return from_chat(wire)
    kept = mapping_of(native_of(event, "strands"))
    error = mapping_of(event.data.get("tool")).get("error")
    message = from_chat(wire, failed=error is not None)
    blocks = overlay.results.get(str(event.seq))
    if blocks is None and "blocks" in kept:
        blocks = decoded(kept["blocks"])
    if blocks is not None:
        message["content"] = list(blocks)
    if kept.get("id"):
        message["tracking_id"] = kept["id"]
    if kept.get("custom"):
        message["metadata"] = {"custom": dict(kept["custom"])}
    return message


def rejoined(view: list[Message], head: list[Message], state: Mapping[str, Any]) -> list[Message]:
    """The view without what a conversation manager had left out, behind what it puts first.

    Where the session has been segmented since, the whole view: its seed stands for what is gone.
    """
    view = [pinned(m) if m.get("tracking_id") in (state.get("pinned") or ()) else m for m in view]
    if "tail" not in state:
        return view
    tail, kept = state["tail"], set(cast("Sequence[str]", state.get("kept") or ()))
    ids = [str(message.get("tracking_id") or "") for message in view]
    if tail is None or tail not in ids:
        return view
    at = ids.index(tail)
    stays: list[Message] = []
    for i, message in enumerate(view[:at]):
        results_of_kept = stays and result_ids(message) and stays[-1] is view[i - 1]
        if mark_of(message) == "seed" or ids[i] in kept or results_of_kept:
            stays.append(message)
    own = [i for i, message in enumerate(stays) if mark_of(message) == "seed"]
    before = stays[: own[-1] + 1] if own else []
    return joined([*before, *head, *stays[len(before) :]], view[at:])
