"""Conversations as lists of events: made step by step, or drawn by hypothesis; what hosts really record."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.meter import counter_for_model, message_tokens

MODEL = "gpt-4o-mini"
AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FRAME = 4
"""What `Recorder` leaves out of a message's own tokens."""

STEPS = (
    "user",
    "user",
    "picture",
    "answer",
    "answer",
    "greeting",
    "thinking",
    "call",
    "calls",
    "result",
    "result",
    "result",
    "long result",
    "old call",
    "old result",
    "system",
    "usage",
    "settings",
)
"""Names of steps; those that happen more often stand here more than once."""

Step = tuple[str, int]


def count(text: str) -> int:
    """Tokens of a text under the histories' counter."""
    return counter_for_model(MODEL).count(text)


def weigh(message: Message) -> int:
    """Raw tokens of a message, as the recorder counts them."""
    return max(0, message_tokens(message.to_wire(), counter_for_model(MODEL), MODEL) - FRAME)


def event(seq: int, message: Message | None, kind: EventKind = EventKind.MESSAGE, before: int = 0) -> Event:
    """One event at its place in the log."""
    tokens = 0 if message is None else weigh(message)
    data: dict[str, Any] = {"usage": {"input_tokens": 9}} if kind is EventKind.USAGE else {}
    if kind is EventKind.SETTINGS:
        data = {"settings": {"v": 1}}
    origin = Origin(message.role) if message and message.role in set(Origin) else Origin.SYSTEM
    at = AT + timedelta(seconds=seq)
    return Event(kind, f"e{seq}", at, origin, tokens, message, data, seq, before + tokens)


def events_of(messages: Sequence[Message | dict[str, Any] | None]) -> list[Event]:
    """A log of these messages; `None` stands for a record that is no message."""
    log: list[Event] = []
    for seq, given in enumerate(messages, 1):
        message = Message.from_wire(given) if isinstance(given, dict) else given
        kind = EventKind.USAGE if message is None else EventKind.MESSAGE
        log.append(event(seq, message, kind, log[-1].cumulative_tokens if log else 0))
    return log


def calling(*ids: str, text: str | None = None) -> dict[str, Any]:
    """An assistant message that makes a call for each id."""
    function = {"name": "look_up", "arguments": '{"city":"Oslo"}'}
    calls = [{"id": key, "type": "function", "function": function} for key in ids]
    return {"role": "assistant", "content": text, "tool_calls": calls}


def answering(key: str, text: str = "12 degrees") -> dict[str, Any]:
    """The result of a call."""
    return {"role": "tool", "tool_call_id": key, "content": text}


def user(text: str = "And then?") -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str = "So it is.") -> dict[str, Any]:
    """An answer without calls."""
    return {"role": "assistant", "content": text}


def history(steps: Sequence[Step]) -> list[Event]:
    """The log that the steps make; a result answers one of the calls open at that point, or is left out."""
    log: list[Event] = []
    for message, kind in _messages(steps):
        log.append(event(len(log) + 1, message, kind, log[-1].cumulative_tokens if log else 0))
    return log


def _messages(steps: Sequence[Step]) -> Iterator[tuple[Message | None, EventKind]]:
    waiting: list[str] = []
    old: list[str] = []
    for i, (step, number) in enumerate(steps):
        if step in ("usage", "settings"):
            yield None, EventKind(step)
            continue
        if step in ("result", "long result"):
            if not waiting:
                continue
            key = waiting.pop(number % len(waiting))
            wire = answering(key, f"{number} degrees in Oslo. " * (60 if step == "long result" else 1))
        elif step == "old result":
            if not old:
                continue
            wire = {"role": "function", "name": old.pop(), "content": str(number)}
        elif step in ("call", "calls"):
            # Some models number their calls anew in each message.
            reuse = number % 2 == 0
            keys = [
                f"call_{j}" if reuse else f"call_{i}_{j}"
                for j in range(1 if step == "call" else 2 + number % 2)
            ]
            keys = [key for key in keys if key not in waiting] or [f"call_{i}_new"]
            waiting += keys
            wire = calling(*keys, text=None if number % 3 else "Let me see.")
        else:
            wire = _plain(step, number)
            if step == "old call":
                old.append(wire["function_call"]["name"])
        yield Message.from_wire(wire), EventKind.MESSAGE


def _plain(step: str, number: int) -> dict[str, Any]:
    if step == "user":
        return user(f"Question {number}: " + "what is the weather in Oslo? " * (number % 4))
    if step == "picture":
        url = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
        return {"role": "user", "content": [{"type": "text", "text": f"Look at {number}"}, url]}
    if step == "thinking":
        return {"role": "assistant", "content": None, "reasoning_content": f"I think {number}."}
    if step == "old call":
        return {
            "role": "assistant",
            "content": None,
            "function_call": {"name": f"f{number}", "arguments": "{}"},
        }
    if step == "system":
        return {"role": "system", "content": f"Be brief, {number}."}
    return assistant(f"Answer {number}. " + "It rains. " * (number * 3))


steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 7))


def histories(most: int = 24) -> st.SearchStrategy[list[Event]]:
    """Logs of up to `most` events, from 1; any order of steps that a host could record."""
    return st.lists(steps, max_size=most).map(history)
