"""Calls and records as the guard makes them, and a clock that a test turns by hand."""

import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from guards.calls import CallRecord, Outcome, PendingCall, fingerprint

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Clock:
    """Aware UTC that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def pending(name: str = "read", arguments: dict[str, Any] | None = None, **fields: Any) -> PendingCall:
    """A call of `name`; its id is `c1` unless given."""
    given = arguments or {}
    return PendingCall(
        call_id=fields.pop("call_id", "c1"),
        name=name,
        arguments=given,
        raw_arguments=given,
        fingerprint=fingerprint(name, given),
        started_at=fields.pop("started_at", NOON),
        **fields,
    )


def finished(call: PendingCall, result: Any = None, **fields: Any) -> CallRecord:
    """The end of a call, good unless `outcome` says otherwise."""
    return CallRecord(
        call_id=call.call_id,
        tool_name=call.name,
        arguments=call.arguments,
        outcome=fields.pop("outcome", Outcome.OK),
        fingerprint=call.fingerprint,
        at=call.started_at,
        result=result,
        epoch=call.epoch,
        turn=call.turn,
        scope=call.scope,
        **fields,
    )


def wrapped(sentences: Iterable[str]) -> str:
    """What a model reads, one paragraph each, for a snapshot."""
    return "\n\n".join(textwrap.fill(sentence, 100) for sentence in sentences)
