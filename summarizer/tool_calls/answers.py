"""How a call is answered in the log: text and data that any store takes. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from guards import Binding, Outcome, ToolGuard, Verdict
from guards.endings import error_text

from ..messages import jsonable, result_text

__all__ = [
    "ERROR_CHARS",
    "compact",
    "content_of",
    "error_said",
    "lighten_snapshot",
    "storable",
    "tool_data",
]

ERROR_CHARS: Final = 2_000
"""Most characters of an error's text; longer ones are cut."""
_GOOD: Final = (None, Outcome.OK, Outcome.REPLAYED)
_SAID: Final = {
    Outcome.CANCELLED: "cancelled; it may have taken effect",
    Outcome.UNKNOWN: "no end was seen; it may have taken effect",
    Outcome.TIMEOUT: "timeout; it may have taken effect",
}


compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON text without blanks."""


def error_said(error: BaseException | str | None, outcome: Outcome | None) -> str | None:
    """What the model reads of a bad end, at most `ERROR_CHARS`; `None` for a good one."""
    if error is not None:
        return result_text(error_text(error, Outcome.ERROR)[:ERROR_CHARS])
    return None if outcome in _GOOD else _SAID.get(outcome, str(outcome))


def content_of(
    guard: ToolGuard, verdict: Verdict, result: Any, said: str | None, binding: Binding | None = None
) -> str:
    """The text of the call's tool message; a lone surrogate is U+FFFD."""
    return result_text(guard.content_of(verdict, result, said, binding))


def tool_data(error: BaseException | str | None) -> dict[str, Any]:
    """What the event of a guarded call's tool message says beside its text."""
    told: dict[str, Any] = {"guarded": True}
    if error is not None:
        kind = type(error).__name__
        text = error_text(error, Outcome.ERROR).removeprefix(f"{kind}: ")
        told["error"] = result_text(text[:500])
        if isinstance(error, BaseException):
            told["error_type"] = kind
    return told


def storable(data: dict[str, Any]) -> dict[str, Any]:
    """The data as it is, or with U+FFFD for each lone surrogate."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return jsonable(data)
    return data


def lighten_snapshot(guard: dict[str, Any], limit: int) -> None:
    """Let go of what makes a guard's snapshot too large: replays, then values, the longest unused first.

    Args:
        guard: The snapshot; changed in place.
        limit: Characters that it may have.
    """
    over = len(compact(guard)) - limit
    if over > 0:
        over -= len(compact(guard["cache"]["entries"]))
        guard["cache"] |= {"entries": []}
    for row in guard["bindings"]["bindings"]:
        if over > 0 and row["gone"] is None:
            over -= len(compact(row["json"]))
            row |= {"gone": "evicted", "json": None}
