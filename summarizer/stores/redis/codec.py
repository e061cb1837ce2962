"""What travels: keys and batches to the server, heads and events back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ...config import make_session_id
from ...errors import InvalidSetting, ValueTooLarge
from ...events import Counters, Event, batch_effects, decode_event, encode_event
from ..protocol import Head, Owner, Segment, conversation_digest

__all__ = [
    "Batch",
    "Keys",
    "decode_events",
    "decode_head",
    "decode_segment",
    "encode_json",
    "keys_of",
    "micros",
    "moment",
]

FIRST_HEAD: Final = b"0 1 0 0 0 0 0 0 0 0 0 0 0 1" + b" 0" * len(Counters._fields)
"""The head of an empty conversation: index, start_seq, last_seq, total_tokens, start_tokens, seed_tokens,
opened_seq, opened_turns, settings_seq, message_seq, skipped_seq, report_total, fence, first_seq, counters."""

_COUNTERS_AT: Final = 14
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Keys(NamedTuple):
    """The keys of one conversation; they share a hash tag, so a Cluster keeps them together."""

    meta: bytes
    log: bytes
    ids: bytes
    old_ids: bytes
    segments: bytes


@lru_cache(maxsize=16_384)
def keys_of(prefix: str, owner: Owner, root: str) -> Keys:
    """The keys of (owner, root). Remembered, since every call of a conversation needs them."""
    tag = f"{prefix}:{{{conversation_digest(owner, root)}}}".encode()
    return Keys(tag + b"m", tag + b"l", tag + b"i", tag + b"j", tag + b"s")


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Compact JSON; lone surrogates, which JSON text may hold, pass."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch on its way: arguments of the append and of the hand-over.

    Attributes:
        size: Number of events.
        offsets: Last message, last skipped segmentation, settings?, report?; as text.
        sums: Tokens of each event, then counter and amount in pairs; as text.
        values: Id and body of each event, then settings and report where there are any.
        report: The report, as it will stand in the head.
    """

    size: int
    offsets: str
    sums: str
    values: tuple[bytes, ...]
    report: Mapping[str, Any] | None

    @classmethod
    def of(cls, events: Sequence[Event], max_event_bytes: int) -> Batch:
        """Encode events.

        Raises:
            InvalidSetting: No event, or two of one id.
            ValueTooLarge: A body exceeds `max_event_bytes`.
        """
        if not events:
            raise InvalidSetting("an empty batch cannot be appended; pass at least one event")
        if len({event.event_id for event in events}) < len(events):
            raise InvalidSetting(
                f"events of the batch of {events[0].event_id!r} share an id; use new_event_id() for each"
            )
        values: list[bytes] = []
        for event in events:
            body = encode_event(event).encode("utf-8", "surrogatepass")
            if len(body) > max_event_bytes:
                raise ValueTooLarge(len(body), max_event_bytes)
            values += (event.event_id.encode("utf-8", "surrogatepass"), body)
        effects = batch_effects(events)
        if effects.settings is not None:
            values.append(encode_json(effects.settings))
        if effects.report is not None:
            values.append(encode_json(effects.report))
        flags = f"{effects.settings is not None:d} {effects.report is not None:d}"
        sums = [str(tokens) for tokens in effects.tokens]
        sums += [f"{place} {amount}" for place, amount in enumerate(effects.counters, 1) if amount]
        return cls(
            len(events),
            f"{effects.message_offset} {effects.skipped_offset} {flags}",
            " ".join(sums),
            tuple(values),
            effects.report,
        )

    def packed(
        self, index: int, ttl_ms: int, *, wait: bool, expect: int | None = None, after: int | None = None
    ) -> str:
        """The numbers that lead the arguments."""
        known = "n" if expect is None else expect
        since = "n" if after is None else max(0, after)
        return f"{index} {self.size} {known} {since} {self.offsets} {ttl_ms} {wait:d} {self.sums}"


def decode_head(root: str, words: Sequence[bytes], report: bytes | Mapping[str, Any] | None) -> Head:
    """Read a head: the lease's milliseconds, then the numbers in the order of `FIRST_HEAD`."""
    lease, *rest = map(int, words)
    (
        index,
        start,
        last,
        total,
        start_tokens,
        seed,
        opened,
        turns,
        settings,
        message,
        skipped,
        reported,
        fence,
        first,
    ) = rest[:_COUNTERS_AT]
    return Head(
        root,
        index,
        start,
        last,
        total,
        start_tokens,
        seed,
        opened,
        turns,
        settings,
        message,
        skipped,
        (json.loads(report) if report else None) if isinstance(report, bytes) else report,
        reported,
        # A newer longsplice may count more than this one knows.
        Counters(*rest[_COUNTERS_AT : _COUNTERS_AT + len(Counters._fields)]),
        fence,
        lease / 1000,
        first,
    )


def decode_events(elements: Sequence[bytes], first_seq: int) -> list[Event]:
    """Read elements of the log that follow one another.

    Raises:
        SchemaTooNew: Written by a newer longsplice.
    """
    events: list[Event] = []
    for seq, element in enumerate(elements, first_seq):
        cumulative, _, rest = element.partition(b"\t")
        # JSON text holds no raw tab, so the last one ends the id, whatever the id holds.
        event_id, _, body = rest.rpartition(b"\t")
        events.append(decode_event(body, event_id.decode("utf-8", "surrogatepass"), seq, int(cumulative)))
    return events


def decode_segment(root: str, index: int, row: bytes, summary: bytes, end_seq: int | None) -> Segment:
    """Read one row of the chain."""
    start, tokens, opened = map(int, row.split())
    return Segment(
        make_session_id(root, index),
        make_session_id(root, index - 1) if index else None,
        index,
        start,
        end_seq,
        tokens,
        moment(opened),
        json.loads(summary) if summary else None,
    )


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware time, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def micros(at: datetime) -> int:
    """The inverse of `moment`."""
    return (at - _EPOCH) // _MICROSECOND
