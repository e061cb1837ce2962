"""What can go wrong, as a tree.

    SummarizerError
    ├── SessionManagerError
    │   ├── SessionNotFound          no such id for this owner
    │   ├── SessionExists            `create` met an id that is taken
    │   ├── SessionErased            the conversation was erased; it cannot be written
    │   ├── CannotFork               there is no such place, or it would part what belongs together
    │   └── TokenLimitExceeded       the newest turn alone is larger than the budget
    ├── InvalidMessage (ValueError)  not a message we can keep
    │   └── OrphanToolResult         a tool result that answers no open call
    ├── InvalidSetting (ValueError)  an argument, URL or environment variable out of range
    ├── StoreError
    │   ├── StoreUnavailable         could not look, or could not tell whether the write landed
    │   ├── StoreNotWritable         full or read-only; nothing was written
    │   ├── StoreConflict            somebody else wrote in between; nothing was written
    │   │   └── StaleFence           the lease went to another worker
    │   ├── PartialBatch             a repeated batch that matches what is stored only in part
    │   ├── ValueTooLarge            one event is larger than the store takes
    │   └── SchemaTooNew             written by a newer longsplice
    ├── SummaryError                 a summary attempt that failed; never leaves the manager
    │   ├── SummaryModelError        the model could not be asked, or answered with an error
    │   └── SummaryRejected          the model answered with something that is no summary
    └── MissingExtra (ImportError)   an optional dependency is not installed

Not found and could not look are different types: `SessionNotFound` says that the
store was asked and knows no such id, `StoreUnavailable` that it could not be asked.
"""

from __future__ import annotations

__all__ = [
    "CannotFork",
    "InvalidMessage",
    "InvalidSetting",
    "MissingExtra",
    "OrphanToolResult",
    "PartialBatch",
    "SchemaTooNew",
    "SessionErased",
    "SessionExists",
    "SessionManagerError",
    "SessionNotFound",
    "StaleFence",
    "StoreConflict",
    "StoreError",
    "StoreNotWritable",
    "StoreUnavailable",
    "SummarizerError",
    "SummaryError",
    "SummaryModelError",
    "SummaryRejected",
    "TokenLimitExceeded",
    "ValueTooLarge",
]


class SummarizerError(Exception):
    """Root of every error that `summarizer` raises on purpose."""


class SessionManagerError(SummarizerError):
    """A call on a session that cannot be served."""


class SessionNotFound(SessionManagerError):
    """The store knows no such session for this owner.

    Another owner's id gives the same error as one that was never made.
    """

    def __init__(
        self, session_id: str, hint: str = "check the id and the owner, or pass create=True"
    ) -> None:
        super().__init__(f"session {session_id!r} does not exist for this owner; {hint}")
        self.session_id = session_id


class SessionExists(SessionManagerError):
    """A conversation with this id is there already; nothing was changed."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} exists already; open it, or choose another id")
        self.session_id = session_id


class SessionErased(SessionManagerError):
    """The conversation was erased; for 24 hours its id takes no writes."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} was erased and takes no writes; start a new session")
        self.session_id = session_id


class CannotFork(SessionManagerError):
    """A conversation cannot be forked there; nothing was made.

    Attributes:
        nearest: Seqs of events close by, behind which it can be forked; may be empty.
    """

    def __init__(self, place: str, problem: str, nearest: tuple[int, ...] = ()) -> None:
        near = " or ".join(f"at={seq}" for seq in nearest if seq > 0)
        fix = f"fork {near}" if near else "choose another place, or fork at the end with fork()"
        super().__init__(f"cannot fork {place}: {problem}; {fix}")
        self.nearest = tuple(seq for seq in nearest if seq > 0)


class TokenLimitExceeded(SessionManagerError):
    """The newest turn alone needs more tokens than the budget allows."""

    def __init__(self, needed: int, limit: int, what: str) -> None:
        super().__init__(f"{what} needs {needed} tokens, the limit is {limit}; raise max_tokens or send less")
        self.needed = needed
        self.limit = limit


class InvalidMessage(SummarizerError, ValueError):
    """A message that cannot be kept as it is; the log is as it was."""


class OrphanToolResult(InvalidMessage):
    """A tool result that answers no open call; the log is as it was."""

    def __init__(self, tool_call_id: str | None, open_ids: tuple[str, ...]) -> None:
        known = ", ".join(repr(i) for i in open_ids[:5]) or "none"
        super().__init__(
            f"tool result for call {tool_call_id!r} answers no open call (open: {known}); "
            "record the assistant message that makes the call first, or use tool_used() without tool_call_id"
        )
        self.tool_call_id = tool_call_id
        self.open_ids = open_ids


class InvalidSetting(SummarizerError, ValueError):
    """An argument, URL or environment variable that cannot be used."""


class StoreError(SummarizerError):
    """The store refused or failed."""


class StoreUnavailable(StoreError):
    """The store could not be reached, or did not answer in time.

    A write may or may not have landed. Repeating it with the same event ids is safe.
    """


class StoreNotWritable(StoreError):
    """The store is full or read-only; nothing was written."""


class StoreConflict(StoreError):
    """The tip is not where the caller expected it; nothing was written."""


class StaleFence(StoreConflict):
    """The lease that this fence number belongs to was taken over; nothing was written."""


class PartialBatch(StoreError):
    """Some ids of a batch are in the log and the rest are not; nothing was written."""


class ValueTooLarge(StoreError):
    """One event is larger than the store takes; nothing was written."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"an event of {size} bytes exceeds the limit of {limit} bytes; "
            "keep the body elsewhere and record a reference to it, or raise the store's max_event_bytes"
        )
        self.size = size
        self.limit = limit


class SchemaTooNew(StoreError):
    """The data was written by a newer longsplice; nothing was touched."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} has schema version {found}, this longsplice knows {known}; upgrade longsplice"
        )
        self.found = found
        self.known = known


class SummaryError(SummarizerError):
    """One attempt at a summary failed; the ladder goes on with the next step."""


class SummaryModelError(SummaryError):
    """The summary model could not be asked, or answered with an error.

    Attributes:
        transient: Whether the same request may succeed later.
        context_window: Whether the input was larger than the model's window.
    """

    def __init__(self, message: str, *, transient: bool = False, context_window: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.context_window = context_window


class SummaryRejected(SummaryError):
    """The model answered, and the answer is not a summary of its input."""

    def __init__(self, reason_code: str, detail: str) -> None:
        super().__init__(f"{reason_code}: {detail}")
        self.reason_code = reason_code


class MissingExtra(SummarizerError, ImportError):
    """A feature needs a package that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'longsplice[{extra}]'")
        self.extra = extra
