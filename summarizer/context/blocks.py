"""Events, arranged into blocks that a request may keep or leave out whole. Pure.

A log is in order of arrival, a request in order of units: results follow their call at
once, in call order, and what fell between comes after. A call that a newer user message
overtook gets a result that says so, and the real one stands later as a note.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..events import Event
from ..messages import Message
from ..units import Pairing, pair_calls

__all__ = ["MESSAGE_FRAME", "Block", "arrange", "sendable"]

MESSAGE_FRAME: Final = 4
"""Tokens that a message costs beside its content: 3 for the frame, 1 for the role.
Source: OpenAI Cookbook, "How to count tokens with tiktoken" (checked 2026-11)."""

INTERRUPTED: Final = "No result yet: the call was interrupted by a newer message."
PENDING: Final = "No result yet: the call has not come back."
_NOTE_TOKENS: Final = 20
"""Upper bound on what the frame of a late result's note adds to its text, the call's id left out."""
_STAND_IN_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class Block:
    """What stays together in a request.

    Attributes:
        messages: One message, or a calling message with all its results.
        tokens: Raw tokens, frames included.
        first_seq: Seq of its first event.
        last_seq: Seq of its last event.
        opens_turn: It is a user message.
        seqs: Of each message the seq of its event, 0 for a stand-in.
    """

    messages: tuple[dict[str, Any], ...]
    tokens: int
    first_seq: int
    last_seq: int
    opens_turn: bool
    seqs: tuple[int, ...]


def arrange(events: Sequence[Event]) -> list[Block]:
    """The blocks of a segment, in request order; records that are no message give none."""
    messages = [event.message for event in events]
    pairing = pair_calls(messages)
    users = [i for i, m in enumerate(messages) if m is not None and m.role == "user"]
    placed = _placed_results(pairing, users)
    blocks: list[Block] = []
    for i, message in enumerate(messages):
        if message is None or i in placed:
            continue
        if i in pairing.results:
            blocks.append(_round(events, i, message, pairing=pairing, users=users, placed=placed))
        elif message.role in ("tool", "function"):
            blocks.append(_note(events[i], message))
        else:
            opens = message.role == "user"
            event = events[i]
            blocks.append(
                Block(
                    (sendable(message),),
                    event.tokens + MESSAGE_FRAME,
                    event.seq,
                    event.seq,
                    opens,
                    (event.seq,),
                )
            )
    return blocks


def _placed_results(pairing: Pairing, users: Sequence[int]) -> dict[int, int]:
    """Index of each result that stands with its call, to the index of that call."""
    placed: dict[int, int] = {}
    for caller, found in pairing.results.items():
        overtaken = _first_after(users, caller)
        placed.update({j: caller for j in found.values() if overtaken is None or j < overtaken})
    return placed


def _first_after(users: Sequence[int], i: int) -> int | None:
    at = bisect_left(users, i)
    return users[at] if at < len(users) else None


def _round(
    events: Sequence[Event],
    i: int,
    message: Message,
    *,
    pairing: Pairing,
    users: Sequence[int],
    placed: dict[int, int],
) -> Block:
    found = pairing.results[i]
    stand_in = PENDING if _first_after(users, i) is None else INTERRUPTED
    messages, tokens, seqs = [sendable(message)], events[i].tokens + MESSAGE_FRAME, [events[i].seq]
    keys = [call.id for call in message.tool_calls] or [*found, *pairing.open.get(i, ())]
    for key in dict.fromkeys(keys):
        j = found.get(key)
        result = events[j].message if j is not None and placed.get(j) == i else None
        if result is not None and j is not None:
            messages.append(sendable(result))
            tokens += events[j].tokens + MESSAGE_FRAME
            seqs.append(events[j].seq)
        else:
            messages.append(_stand_in(key, stand_in))
            seqs.append(0)
            tokens += _STAND_IN_TOKENS + MESSAGE_FRAME + (0 if message.tool_calls else _most_tokens(key))
    return Block(tuple(messages), tokens, events[i].seq, max(seqs), opens_turn=False, seqs=tuple(seqs))


def sendable(message: Message) -> dict[str, Any]:
    """The message as providers accept it: where nothing else speaks, no content becomes the empty text."""
    wire = message.to_wire()
    if not wire["content"] and not ("tool_calls" in wire or "function_call" in wire):
        wire["content"] = ""
    return wire


def _most_tokens(text: str) -> int:
    """Upper bound on a short text's tokens: none is less than a byte."""
    return len(text.encode())


def _stand_in(key: str, text: str) -> dict[str, Any]:
    if key.startswith("function:"):
        return {"role": "function", "name": key.removeprefix("function:"), "content": text}
    return {"role": "tool", "content": text, "tool_call_id": key}


def _note(event: Event, message: Message) -> Block:
    """A result that cannot stand with its call, as a record in the user role."""
    call = message.tool_call_id or message.name
    text = f"[Recorded data: result of tool call {call!r}, which came late]\n{message.text}"
    parts = len(message.content) if isinstance(message.content, tuple) else 0
    tokens = event.tokens + MESSAGE_FRAME + _NOTE_TOKENS + _most_tokens(repr(call)) + parts
    return Block(
        ({"role": "user", "content": text},),
        tokens,
        event.seq,
        event.seq,
        opens_turn=False,
        seqs=(event.seq,),
    )
