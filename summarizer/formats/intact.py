"""Whether what a file says of a conversation is what a store would hold. Pure.

A store takes an import as it stands, and readers trust what a store holds; so a file that was damaged or
forged is found out here, before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from ..ancestry import Inheritance, inheritance_of
from ..config import make_session_id
from ..cost_policy import read_policy
from ..events import Event, batch_effects
from ..messages import Message
from ..meter import counter_named
from ..stores.protocol import HEAD_ONLY, Beginning, Head
from ..summary import Summary

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["check_beginning", "check_event", "check_settings", "check_summary", "read_as"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Settings:
    """What readers take from a conversation's settings."""

    counter: str
    system_prompt: str | None
    system_tokens: int
    metadata: dict[str, Any]
    policy: dict[str, Any]
    model: str | None
    infinite_context: bool | None
    fork: Inheritance | None = None


@dataclass(frozen=True, slots=True)
class _Report:
    tokens: int
    model: str
    ratio: float
    samples: int
    index: int


@dataclass(frozen=True, slots=True)
class _Seeding:
    seed: str
    summary: Summary


def read_as(kind: type[_T], value: object) -> _T:
    """A value of JSON as a dataclass, each type as it is declared and nothing converted.

    Raises:
        ValueError: It is none; the text names the field, never what stands in it.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place or kind.__name__}: {first['msg']}") from None


@lru_cache(maxsize=8)
def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def check_event(event: Event) -> None:
    """Raise `ValueError` unless the log would take the event."""
    named = isinstance(event.event_id, str) and event.event_id  # pyright: ignore[reportUnnecessaryIsInstance]
    if not named or event.at.utcoffset() is None or not isinstance(event.data, dict):
        raise ValueError("an event without id, time zone or data")
    _check_numbers("an event", event.seq, event.tokens, event.cumulative_tokens)
    if event.message is not None:
        Message.from_wire(event.message.to_wire())


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise `ValueError`, `LookupError` or `TypeError` unless a manager could open what has them."""
    told = read_as(_Settings, settings)
    inheritance_of(settings)
    counter_named(told.counter)
    read_policy(told.policy)


def check_summary(record: Mapping[str, Any] | None) -> None:
    """Raise `ValueError` unless it is a summary record, or none."""
    if record is None:
        return
    if not all(entry.sources for entry in read_as(_Seeding, record).summary.entries):
        raise ValueError("an entry of a summary names no event")
    Summary.from_dict(record["summary"])  # Refuses a newer version's.


def check_beginning(beginning: Beginning) -> None:
    """Raise `ValueError` unless head, chain and events tell one story."""
    head, chain, events = beginning.head, beginning.segments, beginning.events
    beginning.check(head.conversation_id)
    _check_head(head)
    _check_numbers("the fork", beginning.fork_seq)
    for i, one in enumerate(chain):
        end = chain[i + 1].start_seq - 1 if i < head.index else None
        if one.session_id != make_session_id(head.conversation_id, i) or one.end_seq != end:
            raise ValueError(f"session {i} does not end where the next begins")
        _check_numbers(f"session {i}", one.start_seq, one.start_tokens)
        if one.opened_at.utcoffset() is None:
            raise ValueError(f"session {i} was opened in no time zone")
    if not 1 <= chain[0].start_seq <= head.first_seq or chain[-1].start_tokens != head.start_tokens:
        raise ValueError("head and sessions disagree")
    grown = all(b.cumulative_tokens == a.cumulative_tokens + b.tokens for a, b in pairwise(events))
    if not grown or (events and events[-1].cumulative_tokens != head.total_tokens):
        raise ValueError("the events' running totals do not add up")
    batch_effects(events)


def _check_head(head: Head) -> None:
    numbers = [getattr(head, field.name) for field in fields(head) if field.type == "int"]
    _check_numbers("the head", *numbers, *head.counters)
    if head.report is not None:
        read_as(_Report, head.report)


def _check_numbers(what: str, *numbers: object) -> None:
    """Raise unless all are whole and within what stores keep exactly."""
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < HEAD_ONLY:
            raise ValueError(f"{what}: {number!r} is no whole number from 0 to 2**53")
