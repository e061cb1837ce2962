"""Keys, batches and heads between Python values and rows; pure.

A `Key` is what a session id means; a `Batch` is what an append writes, made in the
caller's thread so that the writer only binds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from ...config import parse_session_id
from ...errors import InvalidMessage, InvalidSetting, ValueTooLarge
from ...events import Counters, Effects, Event, batch_effects, decode_event, encode_event
from ..protocol import Beginning, Head, Owner, conversation_digest

__all__ = [
    "HEADS_KEPT",
    "MAX_SEQ",
    "SELECT_HEAD",
    "Batch",
    "EventRow",
    "Held",
    "Key",
    "Row",
    "dump",
    "from_micros",
    "make_batch",
    "make_held",
    "make_key",
    "read_events",
    "read_head",
    "to_micros",
]

HEADS_KEPT: Final = 1024
"""Conversations whose key and head, about 2 KB, a process keeps at hand."""
MAX_SEQ: Final = 2**32 - 1
"""Most events of one conversation: the lower half of `place`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

SELECT_HEAD: Final = """
    SELECT conversation, tip, start_seq, last_seq, total_tokens, start_tokens, seed_tokens, opened_seq,
        opened_turns, settings_seq, message_seq, skipped_seq, report, report_total, counters, fence,
        first_seq, lease_until, touched
    FROM heads WHERE conversation = (SELECT id FROM conversations WHERE digest = ?)"""

_Numbers = tuple[int, int, int, int, int, int, int, int, int, int, int]

EventRow = tuple[int, int, str, str]
"""place, cumulative tokens, event id, body."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a session id of an owner stands for."""

    owner: Owner
    session_id: str
    root: str
    index: int
    digest: str


class Batch(NamedTuple):
    """Encoded events and what they do to the head."""

    ids: list[str]
    bodies: list[str]
    effects: Effects


class Held(NamedTuple):
    """What a conversation begins with, encoded: rows without the conversation's number.

    `segments` are index, start and end seq, start tokens, time and summary; `events` are seq, cumulative
    tokens, id and body.
    """

    head: Head
    segments: list[tuple[int, int, int | None, int, int, str | None]]
    events: list[tuple[int, int, str, str]]
    ancestor: Key | None
    fork_seq: int


class Row:
    """A conversation's head as the writer holds it; `head.lease_s` is 0 here."""

    __slots__ = ("head", "id", "lease_until", "touched")

    def __init__(self, number: int, head: Head, lease_until: float, touched: float) -> None:
        self.id = number
        self.head = head
        self.lease_until = lease_until
        self.touched = touched


@lru_cache(maxsize=HEADS_KEPT)
def make_key(owner: Owner, session_id: str) -> Key:
    """Raises `InvalidSetting` for an id that cannot be one."""
    root, index = parse_session_id(session_id)
    return Key(owner, session_id, root, index, conversation_digest(owner, root))


def make_batch(events: Sequence[Event], max_event_bytes: int) -> Batch:
    """Encode and weigh a batch.

    Raises:
        InvalidSetting: Empty, or two events share an id.
        InvalidMessage: Text that is not valid Unicode.
        ValueTooLarge: An encoded event is above the limit.
    """
    if not events:
        raise InvalidSetting("an empty batch cannot be appended; pass at least one event")
    ids = [event.event_id for event in events]
    if len(ids) > 1 and len(set(ids)) < len(ids):
        raise InvalidSetting(f"events of the batch of {ids[0]!r} share an id; use new_event_id() for each")
    bodies = [encode_event(event) for event in events]
    for event_id, body in zip(ids, bodies, strict=True):
        _size(event_id, event_id)
        size = _size(body, event_id)
        if size > max_event_bytes:
            raise ValueTooLarge(size, max_event_bytes)
    return Batch(ids, bodies, batch_effects(events))


def make_held(owner: Owner, beginning: Beginning, root: str, max_event_bytes: int) -> Held:
    """Encode what a conversation begins with; raises as `make_batch`, and for parts that disagree."""
    beginning.check(root)
    events = beginning.events
    bodies = make_batch(events, max_event_bytes).bodies if events else []
    segments = [
        (
            one.index,
            one.start_seq,
            one.end_seq,
            one.start_tokens,
            to_micros(one.opened_at),
            None if one.summary is None else dump(one.summary),
        )
        for one in beginning.segments
    ]
    rows = [(e.seq, e.cumulative_tokens, e.event_id, body) for e, body in zip(events, bodies, strict=True)]
    ancestor = None if beginning.ancestor is None else make_key(owner, beginning.ancestor)
    return Held(beginning.head, segments, rows, ancestor, beginning.fork_seq)


def _size(text: str, event_id: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidMessage(
            f"event {event_id!r} is not valid Unicode: a lone surrogate at character {error.start}; "
            "decode the bytes with errors='replace' first"
        ) from None


def read_head(root: str, row: Sequence[Any], now: float) -> Head:
    """The head of a row of `SELECT_HEAD`, its lease as it stands `now`."""
    report = row[12]
    return Head(
        root,
        *cast("_Numbers", tuple(row[1:12])),
        None if report is None else json.loads(report),
        row[13],
        Counters._make(json.loads(row[14])),
        row[15],
        max(0.0, row[17] - now),
        row[16],
    )


def read_events(rows: Sequence[EventRow]) -> tuple[Event, ...]:
    """Decode rows of the log."""
    return tuple(
        decode_event(body, event_id, place & MAX_SEQ, total) for place, total, event_id, body in rows
    )


_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(value: Mapping[str, Any] | Sequence[int]) -> str:
    """Compact JSON of what callers hand us as JSON values."""
    return _to_json(value)


def to_micros(at: datetime) -> int:
    """Whole microseconds since 1970, so that a page's last row compares exactly."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time again."""
    return _EPOCH + timedelta(microseconds=micros)
