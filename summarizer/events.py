"""Events: the records of the log, and what each adds to the conversation's totals.

In come messages and decisions; out go frozen `Event` values and their stored JSON. A
store keeps bodies and adds up `Effects`; it never looks inside a body. Never here: I/O.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
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
        return Counters(*map(sum, zip(self, other, strict=True)))

    def minus(self, other: Counters) -> Counters:
        """The difference, field by field."""
        return Counters(*(a - b for a, b in zip(self, other, strict=True)))


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
        return replace(self, seq=seq, cumulative_tokens=cumulative_tokens)


@dataclass(frozen=True, slots=True)
class Effects:
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


def new_event_id() -> str:
    """16 characters, 96 random bits."""
    return secrets.token_urlsafe(12)


def keyed_ids(idempotency_key: str) -> Callable[[int], str]:
    """Event ids that follow from a caller's key: the i-th event of the call gets the same id each time."""
    digest = blake2b(idempotency_key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return lambda i: f"{digest}.{i}"


def batch_effects(events: Sequence[Event]) -> Effects:
    """Add up what a batch does to the head. A pure function, so totals can be recomputed from the log."""
    totals = [0] * len(Counters._fields)
    settings = report = None
    message_offset = skipped_offset = -1
    for i, event in enumerate(events):
        for name, amount in _tally(event):
            totals[_INDEX[name]] += amount
        if event.kind is EventKind.MESSAGE:
            message_offset = i
        elif event.kind is EventKind.SETTINGS:
            settings = event.data["settings"]
        elif event.kind is EventKind.SKIPPED:
            skipped_offset = i
        report = event.data.get("report", report)
    return Effects(
        Counters(*totals), tuple(e.tokens for e in events), settings, report, message_offset, skipped_offset
    )


_INDEX: Final = {name: i for i, name in enumerate(Counters._fields)}
_USAGE: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "reasoning_tokens",
)


def _tally(event: Event) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    message = event.message
    synthetic = event.data.get("synthetic", False)
    if message is not None:
        if message.role in ("user", "assistant") and not synthetic:
            found += [("messages", 1), (f"{message.role}_messages", 1)]
        elif message.role in ("tool", "function"):
            found.append(("tool_messages", 1))
        calls = len(message.tool_calls) + ("function_call" in message.extra)
        found.append(("tool_calls", calls))
    usage = event.data.get("usage")
    if (
        event.kind is EventKind.SEGMENTED
        or event.kind is EventKind.SUMMARY_REJECTED
        or event.kind is EventKind.SUMMARY_OFFERED
    ):
        return found + _tally_summary(event.data)
    if usage is not None:
        found += [("billed_calls", 1), *((k, usage.get(k) or 0) for k in _USAGE)]
        cost = event.data.get("cost_pico")
        if cost is not None:
            found += [("priced_calls", 1), ("cost_pico", cost)]
        if event.kind is EventKind.USAGE and event.data.get("completes"):
            found.append(("unbilled_calls", -1))
    elif message is not None and message.role == "assistant" and not synthetic:
        found.append(("unbilled_calls", 1))
    return found


def _tally_summary(data: Mapping[str, Any]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for call in cast("Sequence[Mapping[str, Any]]", data.get("model_calls", ())):
        usage = call.get("usage") or {}
        found += [
            ("summary_calls", 1),
            ("summary_input_tokens", usage.get("input_tokens") or 0),
            ("summary_output_tokens", usage.get("output_tokens") or 0),
        ]
        if call.get("cost_pico") is not None:
            found += [("summary_priced_calls", 1), ("summary_cost_pico", call["cost_pico"])]
    return found


def encode_event(event: Event) -> str:
    """The stored body: JSON without id, seq and cumulative tokens, which the store keeps beside it."""
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
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def decode_event(body: str | bytes, event_id: str, seq: int, cumulative_tokens: int) -> Event:
    """Read a stored body.

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
        message=None if message is None else Message.from_wire(message),
        data=value.get("data", {}),
        seq=seq,
        cumulative_tokens=cumulative_tokens,
    )
