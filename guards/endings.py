"""How a call ended, as a record and as text. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from typing import Any

from guards.calls import CallRecord, Outcome, PendingCall, plain
from guards.errors import InvalidArgumentsError
from guards.facts import Finished
from guards.limits import money
from guards.paths import compact

__all__ = ["error_text", "finished", "outcome_of", "record_of", "text_of"]


def record_of(call: PendingCall, outcome: Outcome, *, attempts: int = 0, **ended: Any) -> CallRecord:
    """The record of a call that ended so; `ended` are the fields that the call itself does not tell."""
    return CallRecord(
        call.call_id,
        call.name,
        call.arguments,
        outcome,
        call.fingerprint,
        call.started_at,
        attempts=attempts,
        epoch=call.epoch,
        turn=call.turn,
        read_only=call.read_only,
        scope=call.scope,
        **ended,
    )


def finished(
    call: PendingCall,
    outcome: Outcome,
    *,
    result: Any,
    error: BaseException | str | None,
    duration_s: float | None,
    attempt_errors: Sequence[str] = (),
    result_tokens: int | None = None,
    cost_usd: Decimal | None = None,
    aliases: Sequence[str] = (),
) -> Finished:
    """The fact that a call which ran ended so.

    A good result is bound under the call's number, except an iterator (a generator, an open file): nothing
    can be copied from it without using it up.
    """
    outcome, cost_usd = Outcome(outcome), money(cost_usd)
    if result_tokens is not None and result_tokens < 0:
        raise ValueError(f"result_tokens={result_tokens!r}: use a whole number from 0, or None")
    good = outcome is Outcome.OK
    kept, exact = _kept(result) if good else (None, True)
    bound = good and not isinstance(result, Iterator | AsyncIterator)
    record = record_of(
        call,
        outcome,
        binding=f"v{call.number}" if bound else None,
        result=kept,
        error=None if good else error_text(error, outcome),
        error_kind=None if good else _error_kind(error, outcome),
        duration_s=duration_s,
        attempts=1 + len(attempt_errors),
        attempt_errors=tuple(attempt_errors),
        result_tokens=result_tokens,
        cost_usd=cost_usd,
    )
    return Finished(record, exact, tuple(aliases))


def outcome_of(error: BaseException | str | None) -> Outcome:
    """What an error, or none, says of the end: a time limit, an interruption, or that the tool failed.

    After the first two nothing tells how far the tool came.
    """
    if error is None:
        return Outcome.OK
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    interrupted = isinstance(error, BaseException) and not isinstance(error, Exception)
    return Outcome.CANCELLED if interrupted else Outcome.ERROR


def error_text(error: BaseException | str | None, outcome: Outcome) -> str:
    """The error as text; the outcome's name where there is none."""
    if isinstance(error, BaseException):
        kind = type(error).__name__
        text = _words_of(error)
        return f"{kind}: {text}" if text else kind
    return error or outcome.value


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  `__str__` of the host's own error.
        return ""


def text_of(result: Any) -> str:
    """A result as text: as it is, or its JSON."""
    value = plain(result, lenient=True)
    return value if isinstance(value, str) else compact(value)


def _error_kind(error: BaseException | str | None, outcome: Outcome) -> str:
    return type(error).__name__ if isinstance(error, BaseException) else outcome.value


def _kept(result: Any) -> tuple[Any, bool]:
    """The result's JSON form, and whether it is one and not a stand-in."""
    try:
        return plain(result), True
    except InvalidArgumentsError:
        return plain(result, lenient=True), False
