"""What can go wrong around a tool call, as a tree.

    GuardError
    ├── UnresolvedReferenceError (ValueError)   `$vN`, an alias or a path that names nothing
    ├── InvalidArgumentsError (ValueError)      arguments that have no JSON form
    ├── UnknownCallError (LookupError)          an outcome for a call that is not open
    ├── CallInProgressError (ValueError)        a call id that is open already
    ├── GuardLimitError (ValueError)            a value larger than the guard may hold
    └── SnapshotError (ValueError)              a snapshot that cannot be restored

A refused call is no error: it is a verdict. Each error leaves the guard as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = [
    "CallInProgressError",
    "GuardError",
    "GuardLimitError",
    "InvalidArgumentsError",
    "SnapshotError",
    "UnknownCallError",
    "UnresolvedReferenceError",
]

_KNOWN_SHOWN: Final = 5

_WHY: Final = {
    "unknown": "names nothing",
    "path": "leads nowhere",
    "malformed": "has no readable path",
    "evicted": "is no longer held",
    "oversize": "was too large to hold",
}


class GuardError(Exception):
    """Root of every error that `guards` raises on purpose."""


class UnresolvedReferenceError(GuardError, ValueError):
    """A reference, or its path, names nothing that is held; no argument was replaced.

    Attributes:
        reference: The text as it stands in the arguments, such as `$v3.items[9]`.
        known: What could have been meant, the likeliest first; may be empty.
        reason: `unknown`, `path` (the binding is held, the path leads nowhere), `malformed` (the path
            cannot be read), `evicted` (let go to make room), `oversize` (never held, too large).
        details: What the sentence for the model needs: where the path ended, or tool and size.
    """

    def __init__(
        self,
        reference: str,
        known: Sequence[str] = (),
        *,
        reason: str = "unknown",
        details: Mapping[str, str | int] | None = None,
    ) -> None:
        shown = ", ".join(repr(name) for name in known[:_KNOWN_SHOWN]) or "none"
        super().__init__(
            f"reference {reference!r} {_WHY[reason]} (known: {shown}); use a known one or the value"
        )
        self.reference = reference
        self.known = tuple(known)
        self.reason = reason
        self.details: Mapping[str, str | int] = details or {}


class InvalidArgumentsError(GuardError, ValueError):
    """The arguments of a call have no JSON form: a cycle, NaN, a key that is no string."""


class UnknownCallError(GuardError, LookupError):
    """An outcome arrived for a call that never began here, or that is finished."""

    def __init__(self, call_id: str) -> None:
        super().__init__(
            f"call {call_id!r} is not open; pass the call_id of the verdict, once, after the tool has run"
        )
        self.call_id = call_id


class CallInProgressError(GuardError, ValueError):
    """A call began under the id of one that is still open."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"call {call_id!r} is open already; finish it with after_call, or use another id")
        self.call_id = call_id


class GuardLimitError(GuardError, ValueError):
    """A value is larger than the guard may hold.

    Attributes:
        size: What was asked for, in the unit that the text names.
        limit: What is allowed, in the same unit.
    """

    def __init__(self, what: str, size: int, limit: int, unit: str = "bytes") -> None:
        super().__init__(
            f"{what} has {size} {unit}, the limit is {limit}; raise the limit or bind a part of it"
        )
        self.size = size
        self.limit = limit


class SnapshotError(GuardError, ValueError):
    """A snapshot is broken, or was written by a newer longsplice."""
