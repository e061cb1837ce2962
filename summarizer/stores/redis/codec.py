"""What travels: keys and batches to the server, heads and events back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ...config import make_session_id
from ...errors import InvalidSetting, ValueTooLarge
from ...events import Counters, Event, batch_effects, decode_event, encode_event
from ..protocol import Beginning, Head, Owner, Segment, conversation_digest
from .scripts import HEAD

__all__ = [
    "Batch",
    "Keys",
    "decode_events",
    "decode_head",
    "decode_segment",
    "encode_beginning",
    "encode_json",
    "keys_of",
    "micros",
    "moment",
]

_COUNTERS_AT: Final = len(HEAD)
_COUNTERS_END: Final = _COUNTERS_AT + len(Counters._fields)
_read_json: Final = json.JSONDecoder().raw_decode
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Keys(NamedTuple):
    """The keys of one conversation; they share a hash tag, so a Cluster keeps them together."""

    meta: bytes
    log: bytes
    ids: bytes
    old_ids: bytes
    segments: bytes
    forks: bytes


@lru_cache(maxsize=16_384)
def keys_of(prefix: str, owner: Owner, root: str) -> Keys:
    """The keys of (owner, root). Remembered, since every call of a conversation needs them."""
    tag = f"{prefix}:{{{conversation_digest(owner, root)}}}".encode()
    return Keys(tag + b"m", tag + b"l", tag + b"i", tag + b"j", tag + b"s", tag + b"f")


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Compact JSON; lone surrogates, which JSON text may hold, pass."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Batch(NamedTuple):
    """A batch on its way: arguments of the append and of the hand-over.

    Attributes:
        size: Number of events.
        offsets: Last message, last skipped segmentation, settings?, report?; as JSON.
        sums: Tokens of each event, counter and amount in turn; as JSON.
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
        marks = f"{effects.settings is not None:d},{effects.report is not None:d}"
        sums = [number for pair in enumerate(effects.counters, 1) if pair[1] for number in pair]
        return cls(
            len(events),
            f"{effects.message_offset},{effects.skipped_offset},{marks}",
            f"{list(effects.tokens)},{sums}",
            tuple(values),
            effects.report,
        )

    def packed(
        self, index: int, ttl_ms: int, *, wait: bool, expect: int | None = None, after: int | None = None
    ) -> str:
        """What leads the arguments: a JSON array without its brackets."""
        known = "false" if expect is None else expect
        since = "false" if after is None else max(0, after)
        return f"{index},{known},{since},{self.offsets},{ttl_ms},{wait:d},{self.sums}".replace(" ", "")


def encode_beginning(
    beginning: Beginning | None, root: str, created: int, max_event_bytes: int
) -> tuple[bytes, tuple[bytes, ...]]:
    """A new conversation's head, and what follows its settings among the arguments of `scripts.CREATE`.

    Raises `ValueTooLarge` for a body above `max_event_bytes`; `beginning` was checked.
    """
    if beginning is None:
        return _numbers_of(Head(root)), (b"", b"", b"[0,0,2]", b"0", b"1 0 %d" % created)
    head, events = beginning.head, beginning.events
    coded = Batch.of(events, max_event_bytes).values if events else ()
    log = [
        b"%d\t%s\t%s" % (event.cumulative_tokens, coded[2 * i], coded[2 * i + 1])
        for i, event in enumerate(events)
    ]
    ids = [value for i, event in enumerate(events) for value in (coded[2 * i], b"%d" % event.seq)]
    chain: list[bytes] = []
    for one in beginning.segments:
        row = f"{one.start_seq} {one.start_tokens} {micros(one.opened_at)}"
        chain += (b"%d" % one.index, row.encode())
        if one.summary is not None:
            chain += (b"%d:s" % one.index, encode_json(one.summary))
    ancestor = "" if beginning.ancestor is None else f"{beginning.ancestor}\t{beginning.fork_seq}"
    report = b"" if head.report is None else encode_json(head.report)
    sizes = f"[{len(log)},{len(ids)},{len(chain)}]".encode()
    return _numbers_of(head), (
        report,
        ancestor.encode("utf-8", "surrogatepass"),
        sizes,
        *log,
        *ids,
        *chain,
    )


def _numbers_of(head: Head) -> bytes:
    """The stored head, in the order of `scripts.HEAD`, then the counters."""
    numbers = (
        head.index,
        head.start_seq,
        head.last_seq,
        head.total_tokens,
        head.start_tokens,
        head.seed_tokens,
        head.opened_seq,
        head.opened_turns,
        head.settings_seq,
        head.message_seq,
        head.skipped_seq,
        head.report_total,
        head.fence,
        head.first_seq,
        *head.counters,
    )
    return f"[{','.join(map(str, numbers))}]".encode()


def decode_head(root: str, lease: bytes, stored: bytes, report: Mapping[str, Any] | None = None) -> Head:
    """Read the head and the report that a script answered behind its words.

    Args:
        root: Whose head.
        lease: Milliseconds that the lease still runs.
        stored: The head, and behind it the report.
        report: The report, where the script leaves it out since the caller has it.
    """
    numbers, _, reported = stored.partition(b"\t")
    # Half the time of `json.loads`, which looks for the encoding and for blanks.
    read: list[int] = _read_json(numbers.decode())[0]
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
        report_total,
        fence,
        first,
    ) = read[:_COUNTERS_AT]
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
        json.loads(reported) if reported else report,
        report_total,
        # A newer longsplice may count more than this one knows.
        Counters(*read[_COUNTERS_AT:_COUNTERS_END]),
        fence,
        int(lease) / 1000,
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
