"""What a summary is: entries, a narrative, and how far it reaches.

The ledger is a set of entries that rules fill and a model may amend; an entry that nobody
touches stays the same to the byte, so nothing drifts over generations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import SchemaTooNew
from ..events import Event, Origin

if TYPE_CHECKING:
    from ..meter import TokenCounter, Usage

__all__ = [
    "SUMMARY_SCHEMA",
    "Entry",
    "EntryKind",
    "EntryStatus",
    "LivePrefix",
    "ModelCall",
    "Rejection",
    "Summarizer",
    "Summary",
    "SummaryOutcome",
    "SummaryRequest",
]

SUMMARY_SCHEMA: Final = 1


class EntryKind(StrEnum):
    """What an entry says. The order is the order of headings in the seed."""

    OBJECTIVE = "objective"
    CONSTRAINT = "constraint"
    OPEN = "open"
    DECISION = "decision"
    FACT = "fact"
    FAILED = "failed"
    ARTIFACT = "artifact"
    TOOL_OUTCOME = "tool_outcome"


class EntryStatus(StrEnum):
    """`retired` entries leave the seed; `superseded` ones stay beside what superseded them."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes:
        id: Unique within the conversation's ledger, such as `e12`; never used again.
        kind: What it says.
        text: The line itself; for rules' entries verbatim from its sources.
        sources: Seqs of the events it stands for, ascending, at least one.
        origin: The least trusted origin among its sources; decides what it may be (a
            constraint comes from `system` or `user` only).
        status: See `EntryStatus`.
        key: What the entry is about, where a newer value replaces an older one (`order_id`, a path).
        superseded_by: Seq of the user or system event that superseded it.
        writer: `rules` or `model`.
    """

    id: str
    kind: EntryKind
    text: str
    sources: tuple[int, ...]
    origin: Origin
    status: EntryStatus = EntryStatus.ACTIVE
    key: str | None = None
    superseded_by: int | None = None
    writer: str = "rules"

    def to_dict(self) -> dict[str, Any]:
        """JSON, without what is at its default."""
        value: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind.value,
            "text": self.text,
            "sources": list(self.sources),
            "origin": self.origin.value,
        }
        if self.status is not EntryStatus.ACTIVE:
            value["status"] = self.status.value
        if self.key is not None:
            value["key"] = self.key
        if self.superseded_by is not None:
            value["superseded_by"] = self.superseded_by
        if self.writer != "rules":
            value["writer"] = self.writer
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Entry:
        """The inverse of `to_dict`."""
        return cls(
            id=value["id"],
            kind=EntryKind(value["kind"]),
            text=value["text"],
            sources=tuple(value["sources"]),
            origin=Origin(value["origin"]),
            status=EntryStatus(value.get("status", "active")),
            key=value.get("key"),
            superseded_by=value.get("superseded_by"),
            writer=value.get("writer", "rules"),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands for events `[1, through]`.

    Attributes:
        through: Last seq it stands for (the cut).
        model_through: Last seq that a *model* has read; the next model reads on from there.
        entries: The ledger, within its budget, oldest first.
        narrative: Short connected text by a model; empty if rules alone wrote.
        narrative_model: The model that wrote the narrative, `None` for none.
        writer: Who wrote this generation: `extractive`, a model's name, or `custom`.
        omitted: Entries that fell out of the budget so far; they are in the log.
        next_entry: Number of the next entry id.
    """

    through: int
    model_through: int = 0
    entries: tuple[Entry, ...] = ()
    narrative: str = ""
    narrative_model: str | None = None
    writer: str = "extractive"
    omitted: int = 0
    next_entry: int = 1

    def to_dict(self) -> dict[str, Any]:
        """JSON, with the schema version."""
        return {
            "v": SUMMARY_SCHEMA,
            "through": self.through,
            "model_through": self.model_through,
            "entries": [entry.to_dict() for entry in self.entries],
            "narrative": self.narrative,
            "narrative_model": self.narrative_model,
            "writer": self.writer,
            "omitted": self.omitted,
            "next_entry": self.next_entry,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Summary:
        """The inverse of `to_dict`.

        Raises:
            SchemaTooNew: Written by a newer longsplice.
        """
        if value["v"] > SUMMARY_SCHEMA:
            raise SchemaTooNew("summary", value["v"], SUMMARY_SCHEMA)
        return cls(
            through=value["through"],
            model_through=value["model_through"],
            entries=tuple(Entry.from_dict(entry) for entry in value["entries"]),
            narrative=value["narrative"],
            narrative_model=value["narrative_model"],
            writer=value["writer"],
            omitted=value["omitted"],
            next_entry=value["next_entry"],
        )


@dataclass(frozen=True, slots=True)
class LivePrefix:
    """The request that the host would send now, most of which its provider has cached.

    Attributes:
        messages: To the byte as the host sends them; they show all events of the session whole.
        tools: The tool schemas that go with them.
        model: Whom the host sends them to.
        tokens: What the model will count, estimated; see `Context.tokens`.
        tail: Events behind the cut: shown in the messages, and not to be summarized.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    model: str
    tokens: int
    tail: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """What a summarizer is given.

    Attributes:
        conversation_id: For log lines.
        session_id: The session that is being closed.
        cut: Last seq that the summary must stand for.
        events: Events of `(previous.through, cut]`, in order: new to the ledger's rules.
        unread: Events of `(previous.model_through, cut]`, in order: new to the model. Equal to
            `events` unless earlier generations were written without a model.
        previous: The summary that seeds the session being closed.
        system_prompt: The conversation's system prompt; its sentences are not repeated in the seed.
        running_user: If the cut falls inside a running turn: that turn's user message (its
            event), which crosses verbatim in the seed.
        live: Asks the host's model first, by a request that extends this one; `None`: the fenced
            transcript alone.
        seed_budget: Most raw tokens the rendered seed may take, overhead of its message not included.
        counter: The conversation's counter.
    """

    conversation_id: str
    session_id: str
    cut: int
    events: tuple[Event, ...]
    unread: tuple[Event, ...]
    seed_budget: int
    counter: TokenCounter
    previous: Summary | None = None
    system_prompt: str | None = None
    running_user: Event | None = None
    live: LivePrefix | None = None


class Summarizer(Protocol):
    """Writes summaries. May raise `SummaryError`; whatever it does, no message is lost."""

    async def summarize(self, request: SummaryRequest) -> Summary:
        """The summary of everything up to `request.cut`."""
        ...


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a summary model that was answered (and billed), whatever the answer was worth.

    Attributes:
        model: The model as it was requested.
        usage: What the provider reported; `None` if nothing.
        cost_usd: By the price table; `None` if unknown.
        duration_s: Seconds.
        live: Whether it extended the host's own request.
    """

    model: str
    usage: Usage | None
    cost_usd: Decimal | None
    duration_s: float
    live: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """One step of the ladder that failed.

    Attributes:
        step: The model's name, `live:` and the name where the host's request was extended, or `custom`.
        reason_code: Dotted, few fixed values: `model.unavailable`, `model.timeout`, `model.refused`,
            `summary.empty`, `summary.chat_reply`, `summary.echo`, `summary.too_long`, ...
        detail: For operators; no content of messages.
    """

    step: str
    reason_code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SummaryOutcome:
    """A summary that may stand, and how it came about.

    Attributes:
        summary: The checked summary.
        seed: Its rendering, the text of the user-role record at the child's head.
        seed_tokens: Raw tokens of `seed`, at most the request's `seed_budget`.
        calls: Every model call that was answered, in order; booked as our own spending.
        rejections: The steps that failed before this one held, in order.
        notes: Named outcomes worth recording: `ledger.over_budget`, `running_user.shortened`,
            `values.unproved` (with counts).
    """

    summary: Summary
    seed: str
    seed_tokens: int
    calls: tuple[ModelCall, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict[str, int])
