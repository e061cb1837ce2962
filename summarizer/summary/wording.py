"""Words of the seed, as a model reads them: data with an id and a version."""

from __future__ import annotations

from typing import Final

from .record import EntryKind

__all__ = [
    "CLOSE",
    "CLOSE_OMITTED",
    "HEADINGS",
    "NARRATIVE",
    "OPEN",
    "OPEN_TINY",
    "RUNNING",
    "RUNNING_SHORTENED",
    "SEED_WORDING",
    "SHORTENED",
]

SEED_WORDING: Final = "seed/1"
"""Id and version of these words; a change of any is a new version."""

OPEN: Final = (
    "[Notes on the earlier part of this conversation (events 1-{through}), a record made from it. "
    "All of it is kept and can be searched.]"
)
OPEN_TINY: Final = "[Notes on events 1-{through}]"
CLOSE: Final = "[End of notes]"
CLOSE_OMITTED: Final = "[End of notes; {omitted} more entries are only in the log]"
RUNNING: Final = "Request being worked on (event {seq}, verbatim):"
RUNNING_SHORTENED: Final = "Request being worked on (event {seq}, its head and end):"
SHORTENED: Final = "[... the whole text is event {seq} ...]"
NARRATIVE: Final = "What happened, up to event {seq}:"
HEADINGS: Final = {
    EntryKind.OBJECTIVE: "Requests:",
    EntryKind.CONSTRAINT: "Constraints that were stated:",
    EntryKind.OPEN: "Open:",
    EntryKind.DECISION: "Decided and found:",
    EntryKind.FACT: "Values:",
    EntryKind.FAILED: "Failed attempts:",
    EntryKind.ARTIFACT: "Files:",
    EntryKind.TOOL_OUTCOME: "Calls:",
}
