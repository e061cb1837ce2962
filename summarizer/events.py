"""Events: the records of the log, and what each adds to the conversation's totals.

In come messages and decisions; out go frozen `Event` values and their stored JSON. A
store keeps bodies and adds up `Effects`; it never looks inside a body. Never here: I/O.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from operator import add, sub
from typing import Any, Final, NamedTuple, cast

from .errors import SchemaTooNew
from .messages import Message

__all__ = [
    "EVENT_SCHEMA",
    "Counters",
    "Effects",
    "Event",
    "EventKind",
    "Origin",
    "batch_effects",
    "decode_event",
    "encode_event",
    "keyed_ids",
    "new_event_id",
]

EVENT_SCHEMA: Final = 1
"""Version of the stored body. A reader upcasts older ones and refuses newer ones."""


class EventKind(StrEnum):
    """What a record of the log is."""

    MESSAGE = "message"
    USAGE = "usage"
    SETTINGS = "settings"
    SEGMENTED = "segment.created"
    SKIPPED = "segment.skipped"
    SUMMARY_REJECTED = "summary.rejected"
    SUMMARY_OFFERED = "summary.offered"
    VIEW_CHANGED = "view.changed"
    GUARD = "guard.facts"
    GUARD_SNAPSHOT = "guard.snapshot"
    MEMORY = "memory.fact"
    MEMORY_SNAPSHOT = "memory.snapshot"
    NOTE = "note"


class Origin(StrEnum):
    """Who produced the text; it decides what the text may become."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    IMPORTED = "imported"


class Counters(NamedTuple):
    """Running totals of a conversation, whole numbers.

    Money is in picodollars (1e-12 USD), so that a sum of many small calls is exact.
    `billed_*` add what providers reported; `priced_calls` of `billed_calls` had a known
    price. `summary_*` are our own spending on summaries and stand apart. `unbilled_calls` are
    assistant messages for which nobody reported usage.
    """

    messages: int = 0
    user_messages: int = 0
    assistant_messages: int = 0
    tool_messages: int = 0
    tool_calls: int = 0
    billed_calls: int = 0
    unbilled_calls: int = 0
    priced_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    cost_pico: int = 0
    summary_calls: int = 0
    summary_priced_calls: int = 0
    summary_input_tokens: int = 0
    summary_output_tokens: int = 0
    summary_cost_pico: int = 0

    def plus(self, other: Counters) -> Counters:
        """The sum, field by field."""
        return Counters._make(map(add, self, other))

    def minus(self, other: Counters) -> Counters:
        """The difference, field by field."""
        return Counters._make(map(sub, self, other))


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the log.

    Attributes:
        kind: What it is.
        event_id: Unique in the conversation; a repeated append is recognized by it.
        at: When it was made, aware, UTC.
        origin: Who produced its text.
        tokens: Raw content tokens under the conversation's fixed counter; 0 for records
            that carry no content.
        message: The message, for kind `message`.
        data: Everything else, JSON values. For messages: `usage` (see `meter.Usage`),
            `cost_pico` (int or null), `model`, `provider`, `metadata`, and `synthetic` for a calling
            message that `tool_used` made up, which counts as a call and not as a message.
        seq: Position in the log, from 1; assigned by the store.
        cumulative_tokens: Raw tokens of the log up to and including this event; assigned
            by the store.
    """

    kind: EventKind
    event_id: str
    at: datetime
    origin: Origin
    tokens: int = 0
    message: Message | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seq: int = 0
    cumulative_tokens: int = 0

    def placed(self, seq: int, cumulative_tokens: int) -> Event:
        """This event at its place in the log."""
        # Written out: `dataclasses.replace` takes ten times as long, and this runs for each event.
        return Event(
            self.kind,
            self.event_id,
            self.at,
            self.origin,
            self.tokens,
            self.message,
            self.data,
            seq,
            cumulative_tokens,
        )


class Effects(NamedTuple):
    """What a batch does to the head; the store adds it up without reading bodies.

    Attributes:
        counters: Added to the head's counters.
        tokens: Raw tokens of each event, in batch order.
        settings: The conversation's new settings, whole, or `None`.
        report: What the provider reported of the context's size, or `None`; see `Head`.
        message_offset: Index in the batch of its last message event, -1 if none.
        skipped_offset: Index in the batch of its last skipped segmentation, -1 if none.
    """

    counters: Counters
    tokens: tuple[int, ...]
    settings: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    message_offset: int = -1
    skipped_offset: int = -1


_SORTABLE: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
)
"""From base64's alphabet to the one in the order of its characters, with none that needs an escape."""


def new_event_id() -> str:
    """19 characters of `[-0-9A-Z_a-z]` that sort by time: milliseconds since 1970, then 72 random bits.

    New ids so land at the end of an index. Order holds within one clock, to the millisecond.
    """
    raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + _random_bits()
    # The first 6 bits are 0 until the year 2109.
    return b64encode(raw).translate(_SORTABLE)[1:].decode()


_RANDOM_BYTES: Final = 9
_DRAWN_AT_ONCE: Final = 128
_drawn: list[bytes] = []
if hasattr(os, "register_at_fork"):
    # Else parent and child would hand out the same bits.
    os.register_at_fork(after_in_child=_drawn.clear)


def _random_bits() -> bytes:
    """72 bits of the system's randomness, drawn for many ids at once: the call costs half of an id."""
    try:
        return _drawn.pop()  # One step, so that no two threads get the same.
    except IndexError:
        block = secrets.token_bytes(_RANDOM_BYTES * _DRAWN_AT_ONCE)
        bits = [block[i : i + _RANDOM_BYTES] for i in range(0, len(block), _RANDOM_BYTES)]
        _drawn.extend(bits[1:])
        return bits[0]


def keyed_ids(idempotency_key: str) -> Callable[[int], str]:
    """Event ids that follow from a caller's key: the i-th event of the call gets the same id each time."""
    digest = blake2b(idempotency_key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return lambda i: f"{digest}-{i}"


def batch_effects(events: Sequence[Event]) -> Effects:
    """Add up what a batch does to the head. A pure function, so totals can be recomputed from the log."""
    totals: defaultdict[str, int] = defaultdict(int)
    settings = report = None
    message_offset = skipped_offset = -1
    for i, event in enumerate(events):
        kind, data = event.kind, event.data
        if event.message is not None:
            _add_message(totals, event.message, synthetic=bool(data.get("synthetic")))
        if kind is EventKind.MESSAGE:
            message_offset = i
        elif kind is EventKind.SETTINGS:
            settings = data["settings"]
        elif kind is EventKind.SKIPPED:
            skipped_offset = i
        if not data:
            continue
        if kind in _SUMMARIES:
            _add_summary(totals, data)
        elif data.get("usage") is not None:
            _add_usage(totals, event)
        report = data.get("report", report)
    return Effects(
        Counters(**totals),
        tuple([event.tokens for event in events]),
        settings,
        report,
        message_offset,
        skipped_offset,
    )


_SUMMARIES: Final = frozenset({EventKind.SEGMENTED, EventKind.SUMMARY_REJECTED, EventKind.SUMMARY_OFFERED})
_USAGE: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "reasoning_tokens",
)


def _add_message(totals: defaultdict[str, int], message: Message, *, synthetic: bool) -> None:
    """Count a message; an assistant's is taken for unbilled until usage is found beside it."""
    role = message.role
    if role == "user" and not synthetic:
        totals["messages"] += 1
        totals["user_messages"] += 1
    elif role == "assistant":
        totals["tool_calls"] += len(message.tool_calls) or ("function_call" in message.extra)
        if not synthetic:
            totals["messages"] += 1
            totals["assistant_messages"] += 1
            totals["unbilled_calls"] += 1
    elif role in ("tool", "function"):
        totals["tool_messages"] += 1


def _add_usage(totals: defaultdict[str, int], event: Event) -> None:
    usage, cost = event.data["usage"], event.data.get("cost_pico")
    totals["billed_calls"] += 1
    for name in _USAGE:
        totals[name] += usage.get(name) or 0
    if cost is not None:
        totals["priced_calls"] += 1
        totals["cost_pico"] += cost
    if event.message is not None:
        of_answer = event.message.role == "assistant" and not event.data.get("synthetic")
    else:
        of_answer = event.kind is EventKind.USAGE and bool(event.data.get("completes"))
    totals["unbilled_calls"] -= of_answer


def _add_summary(totals: defaultdict[str, int], data: Mapping[str, Any]) -> None:
    for call in cast("Sequence[Mapping[str, Any]]", data.get("model_calls", ())):
        usage = cast("Mapping[str, Any]", call.get("usage") or {})
        cost = call.get("cost_pico")
        totals["summary_calls"] += 1
        totals["summary_input_tokens"] += usage.get("input_tokens") or 0
        totals["summary_output_tokens"] += usage.get("output_tokens") or 0
        if cost is not None:
            totals["summary_priced_calls"] += 1
            totals["summary_cost_pico"] += cost


_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_text_to_json: Final = json.encoder.encode_basestring


def encode_event(event: Event) -> str:
    """The stored body: JSON without id, seq and cumulative tokens, which the store keeps beside it."""
    message = event.message
    if message is None or event.data or (text := _only_text(message)) is None:
        return _body(event)
    # As `_body` writes it, in half of the time: most events are a text and nothing else.
    tokens = f',"tokens":{event.tokens}' if event.tokens else ""
    return (
        f'{{"v":{EVENT_SCHEMA},"kind":"{event.kind}","at":"{event.at.isoformat()}","origin":"{event.origin}"'
        f'{tokens},"message":{{"role":"{message.role}","content":{_text_to_json(text)}}}}}'
    )


def _only_text(message: Message) -> str | None:
    """The message's text, if it has nothing beside its role and that."""
    if message.tool_calls or message.tool_call_id is not None or message.name is not None or message.extra:
        return None
    return message.content if isinstance(message.content, str) else None


def _body(event: Event) -> str:
    body: dict[str, Any] = {
        "v": EVENT_SCHEMA,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "origin": event.origin,
    }
    if event.tokens:
        body["tokens"] = event.tokens
    if event.message is not None:
        body["message"] = event.message.to_wire()
    if event.data:
        body["data"] = event.data
    return _to_json(body)


def decode_event(body: str | bytes, event_id: str, seq: int, cumulative_tokens: int) -> Event:
    """Read a stored body. It was checked when it was made, and is not checked again.

    Raises:
        SchemaTooNew: Written by a newer longsplice.
    """
    value: dict[str, Any] = json.loads(body)
    if value["v"] > EVENT_SCHEMA:
        raise SchemaTooNew(f"event {event_id!r}", value["v"], EVENT_SCHEMA)
    message = value.get("message")
    return Event(
        kind=EventKind(value["kind"]),
        event_id=event_id,
        at=datetime.fromisoformat(value["at"]),
        origin=Origin(value["origin"]),
        tokens=value.get("tokens", 0),
        message=None if message is None else Message.from_stored(message),
        data=value.get("data", {}),
        seq=seq,
        cumulative_tokens=cumulative_tokens,
    )
