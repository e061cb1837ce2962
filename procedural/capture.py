"""From a finished call to its trace: redacted, reduced to forms, linked to the calls before it.

The window of the last calls of each session lives here, in memory: a failure and its correction are told
from values that no trace keeps. After a restart the window is empty, so a correction
across a restart is not learned.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, Final

from procedural.errors import TraceError
from procedural.fixes import Attempt, changes_between, same_goal
from procedural.goals import goal_of
from procedural.quoting import error_class, error_skeleton
from procedural.redaction import redact, redact_name
from procedural.shapes import form_of, leaves_of, result_shape, without_places, word_value
from procedural.traces import Correction, Trace

__all__ = ["Capture", "FinishedCall"]

_WINDOW: Final = 8
"""Calls of a session that are looked back on. Of the corrections in recorded runs half come within three."""
_SESSIONS: Final = 256
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A finished call as the host gives it, not yet checked."""

    tool_name: str
    arguments: object
    result: object = None
    error: BaseException | str | None = None
    success: bool = True
    goal: str | None = None
    error_kind: str | None = None
    duration_s: float | None = None
    tokens: int | None = None
    cost_usd: Decimal | float | str | None = None
    at: datetime | None = None
    hinted: bool | None = None
    trace_id: str | None = None
    session_id: str | None = None


@dataclass(slots=True)
class Capture:
    """Makes traces, one session's calls after the other.

    Attributes:
        owner: Whose calls they are.
        clock: Gives the time, aware.
        new_id: Gives ids for calls that have none.
    """

    owner: str | None
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    _windows: OrderedDict[str | None, deque[Attempt]] = field(
        default_factory=OrderedDict[str | None, deque[Attempt]]
    )

    _goal: tuple[str | None, frozenset[str], tuple[str, ...]] | None = None

    def trace(self, call: FinishedCall) -> Trace:
        """The trace of a call; the call joins its session's window.

        Raises:
            TraceError: The name, time, duration, tokens or cost is none. The window is as it was.
        """
        figures = _figures(call)
        at = _aware(self.clock() if call.at is None else call.at)
        success = call.success and call.error is None
        leaves = leaves_of(call.arguments)
        tokens, words = self._goal_of(call.goal)
        kind, text, said = (None, None, "") if success else _failure(call)
        trace = Trace(
            trace_id=call.trace_id or self.new_id(),
            tool_name=_name(call.tool_name),
            at=at,
            success=success,
            owner=self.owner,
            session_id=call.session_id,
            goal_words=words,
            forms={_path(path): form_of(leaf) for path, leaf in leaves.items()},
            choices={_path(path): word for path, leaf in leaves.items() if (word := word_value(leaf))},
            error_class=kind,
            error=text,
            result_shape=result_shape(call.result) if success else None,
            hinted=call.hinted,
            **figures,
        )
        attempt = Attempt(
            trace_id=trace.trace_id,
            tool_name=trace.tool_name,
            leaves=leaves,
            goal=tokens,
            error_key=None if success else trace.error_key,
            error_text=said,
        )
        return self._linked(trace, attempt)

    def forget(self) -> None:
        """Begin anew, as after a restart."""
        self._windows.clear()
        self._goal = None

    def _goal_of(self, goal: str | None) -> tuple[frozenset[str], tuple[str, ...]]:
        """The views of a goal; the calls that serve one goal come one after the other."""
        if self._goal is None or self._goal[0] != goal:
            self._goal = (goal, *goal_of(goal))
        return self._goal[1:]

    def _linked(self, trace: Trace, attempt: Attempt) -> Trace:
        window = self._window(trace.session_id)
        _keep(window, lambda one: one.trace_id != attempt.trace_id)  # Recorded again, it follows not itself.
        correction = _correction(window, attempt)
        previous = _previous(window, attempt)
        repeated = any(_is_same(one, attempt) for one in window)
        if trace.success:
            _close(window, attempt, corrected=correction is not None)
        window.append(attempt)
        return replace(trace, repeated=repeated, previous=previous, correction=correction)

    def _window(self, session_id: str | None) -> deque[Attempt]:
        window = self._windows.setdefault(session_id, deque(maxlen=_WINDOW))
        self._windows.move_to_end(session_id)
        if len(self._windows) > _SESSIONS:
            self._windows.popitem(last=False)
        return window


def _is_same(before: Attempt, now: Attempt) -> bool:
    """Whether a call was made before with the same arguments and the same end."""
    same_end = before.error_key == now.error_key
    return same_end and before.tool_name == now.tool_name and before.leaves == now.leaves


def _correction(window: deque[Attempt], now: Attempt) -> Correction | None:
    """The newest open failure that this call tries to correct."""
    for before in reversed(window):
        if before.error_key is None or before.tool_name != now.tool_name:
            continue
        changes = changes_between(before, now)
        if changes == () and before is not window[-1]:
            return None  # Another call came between, an edit perhaps: it is that which helped, or did not.
        if changes is not None:
            return Correction(before.error_key, changes)
    return None


def _close(window: deque[Attempt], now: Attempt, *, corrected: bool) -> None:
    """What has been corrected, or works now as it is, is not corrected again by the next call."""

    def is_open(one: Attempt) -> bool:
        if one.error_key is None or one.tool_name != now.tool_name:
            return True
        return one.leaves != now.leaves and not (corrected and same_goal(one, now))

    _keep(window, is_open)


def _keep(window: deque[Attempt], wanted: Callable[[Attempt], bool]) -> None:
    left = [one for one in window if wanted(one)]
    window.clear()
    window.extend(left)


def _previous(window: deque[Attempt], now: Attempt) -> tuple[str, ...]:
    """The last two other tools that succeeded for this goal, oldest first."""
    names: list[str] = []
    for before in reversed(window):
        repeated = before.tool_name in (now.tool_name, *names[-1:])
        if before.error_key is None and not repeated and same_goal(before, now):
            names.append(before.tool_name)
    return tuple(reversed(names[:2]))


def _failure(call: FinishedCall) -> tuple[str, str | None, str]:
    """Class, skeleton and redacted text of a failure."""
    if isinstance(call.error, BaseException):
        kind, text = call.error_kind or type(call.error).__name__, _text_of(call.error)
    else:
        kind, text = call.error_kind or "", call.error or _said(call.result)
    kind = redact_name(kind)
    skeleton = error_skeleton(text) or error_skeleton(_words(kind)) or None
    return error_class(f"{_words(kind)} {skeleton or ''}"), skeleton, redact(text)[:1000]


def _text_of(error: BaseException) -> str:
    return " ".join(str(part)[:2000] for part in error.args if isinstance(part, str | int | float))


def _said(result: object) -> str:
    """What a failure says that came as a result: its text, or that of its `error` or `message`."""
    if isinstance(result, Mapping):
        for key in ("error", "message", "detail"):
            if isinstance(said := result.get(key), str):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                return said[:8000]
    return result[:8000] if isinstance(result, str) else ""


def _words(kind: str) -> str:
    """`TimeoutError` and `not_found` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind[:100]).replace("_", " ")


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise TraceError(f"tool name {name!r} is no text with letters; give the name as it was called")
    return _CONTROL.sub(" ", redact_name(name))[:200]


def _path(path: str) -> str:
    return _CONTROL.sub(" ", without_places(path))


def _aware(at: object) -> datetime:
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise TraceError(f"at {at!r} is no aware time; give datetime.now(UTC) or the like")
    return at.astimezone(UTC)


def _figures(call: FinishedCall) -> dict[str, Any]:
    """Duration, tokens and cost: each 0 or more, or unknown."""
    for name, value in (("duration_s", call.duration_s), ("tokens", call.tokens)):
        if value is not None and not (isfinite(value) and value >= 0):
            raise TraceError(
                f"{name} {value!r} of {call.tool_name!r} is not 0 or more; leave it out if unknown"
            )
    return {
        "duration_s": call.duration_s,
        "result_tokens": call.tokens,
        "cost_usd": None if call.cost_usd is None else _money(call.cost_usd),
    }


def _money(cost: Decimal | float | str) -> Decimal:
    try:
        amount = Decimal(str(cost))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount >= 0):
        raise TraceError(f"cost_usd {cost!r} is no amount of 0 or more; leave it out if unknown")
    return amount
