"""What a model may change in the ledger, and the code that decides whether it may. Pure.

A model adds, updates and retires; what the user asked and what binds stays: a model can
mark such an entry superseded by citing a later message of the user or the system, and then both
are shown. A refused operation is a value with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..events import Event, Origin
from .drafts import clip, event_trust, least_trusted, one_line
from .extraction import condensed, normalized
from .record import Entry, EntryKind, EntryStatus
from .redact import redact
from .speech import is_machine_made
from .verify import SourceIndex, verify_text

__all__ = ["Add", "Applied", "Operation", "Refused", "Retire", "Update", "apply_operations"]

_MAX_TEXT: Final = 500
_MAX_OPERATIONS: Final = 200
_TRUSTED: Final = (Origin.SYSTEM, Origin.USER)
_STATED: Final = (EntryKind.CONSTRAINT, EntryKind.OBJECTIVE)


@dataclass(frozen=True, slots=True)
class Add:
    """A new entry, from the events it cites."""

    kind: EntryKind
    text: str
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """New text for an entry, from the events it cites."""

    id: str
    text: str
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retire:
    """An entry that is settled; `reason` is for operators."""

    id: str
    reason: str
    sources: tuple[int, ...] = ()


Operation = Add | Update | Retire


@dataclass(frozen=True, slots=True)
class Refused:
    """An operation that was not done.

    Attributes:
        operation: As it came.
        reason_code: `entry.unknown`, `entry.protected`, `entry.duplicate`, `source.unknown`,
            `source.untrusted`, `constraint.not_verbatim`, `text.empty`, `values.unproved`,
            `operations.too_many`.
    """

    operation: Operation
    reason_code: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The ledger after the operations.

    Attributes:
        entries: In order; retired ones are present with their status, for `fit` to drop.
        next_entry: Number of the next entry id.
        refused: What was not done, in order.
    """

    entries: tuple[Entry, ...]
    next_entry: int
    refused: tuple[Refused, ...]


class _NotDone(Exception):
    """Carries the reason code of a refusal to `apply_operations`."""


def apply_operations(
    entries: Sequence[Entry],
    operations: Sequence[Operation],
    *,
    events_by_seq: Mapping[int, Event],
    sources: SourceIndex,
    next_entry: int,
) -> Applied:
    """Do what may be done, in order.

    Args:
        entries: The ledger, already merged with what rules found.
        operations: A model's; those beyond 200 are refused.
        events_by_seq: The events it was shown. It may also cite what an entry of the ledger cites,
            and then has that entry's origin.
        sources: Against which every value of a new text is proved.
        next_entry: Number of the next entry id.

    Returns:
        The ledger. An entry that no operation concerns is the same object.
    """
    desk = _Desk(entries, events_by_seq, sources, next_entry)
    refused: list[Refused] = []
    for i, operation in enumerate(operations):
        if i >= _MAX_OPERATIONS:
            refused.append(Refused(operation, "operations.too_many"))
            continue
        try:
            desk.do(operation)
        except _NotDone as reason:
            refused.append(Refused(operation, str(reason)))
    return Applied(tuple(desk.entries.values()), desk.next_entry, tuple(refused))


class _Desk:
    def __init__(
        self, entries: Sequence[Entry], events: Mapping[int, Event], sources: SourceIndex, next_entry: int
    ) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.events, self.sources, self.next_entry = events, sources, next_entry
        self.texts = {(entry.kind, normalized(entry.text)) for entry in entries}
        self.carried: dict[int, Origin] = {}
        for entry in entries:
            for seq in entry.sources:
                self.carried[seq] = least_trusted(
                    (entry.origin, *([self.carried[seq]] if seq in self.carried else []))
                )

    def do(self, operation: Operation) -> None:
        match operation:
            case Add():
                self._add(operation)
            case Update():
                self._update(operation)
            case Retire():
                self._retire(operation)

    def _trust(self, seqs: Sequence[int]) -> Origin:
        """The least trusted origin among cited events.

        Raises:
            _NotDone: None is cited, or one that the model was not shown.
        """
        found: list[Origin] = []
        for seq in seqs:
            event = self.events.get(seq)
            if event is not None:
                found.append(_event_origin(event))
            elif seq in self.carried:
                found.append(self.carried[seq])
            else:
                raise _NotDone("source.unknown")
        if not found:
            raise _NotDone("source.unknown")
        return least_trusted(found)

    def _proved(self, text: str) -> str:
        line = clip(redact(one_line(text)), _MAX_TEXT)
        if not line:
            raise _NotDone("text.empty")
        if verify_text(line, self.sources).unproved:
            raise _NotDone("values.unproved")
        return line

    def _add(self, operation: Add) -> None:
        text, origin = self._proved(operation.text), self._trust(operation.sources)
        if operation.kind in _STATED and origin not in _TRUSTED:
            raise _NotDone("source.untrusted")
        if operation.kind is EntryKind.CONSTRAINT and not self._stands_in(text, operation.sources):
            raise _NotDone("constraint.not_verbatim")
        if (operation.kind, normalized(text)) in self.texts:
            self._endorse(operation.kind, normalized(text))
            raise _NotDone("entry.duplicate")
        self._put(operation.kind, text, operation.sources, origin, "model")

    def _endorse(self, kind: EntryKind, text: str) -> None:
        """Note that a model, too, wrote down what rules had found, so that it is kept before the rest."""
        for entry in list(self.entries.values()):
            if entry.key is None and (entry.kind, normalized(entry.text)) == (kind, text):
                self.entries[entry.id] = replace(entry, writer="model")

    def _stands_in(self, text: str, seqs: Sequence[int]) -> bool:
        """Whether one of the cited events says just that."""
        said = [self.events[seq].message for seq in seqs if seq in self.events]
        return any(message is not None and normalized(text) in normalized(message.text) for message in said)

    def _put(self, kind: EntryKind, text: str, seqs: Sequence[int], origin: Origin, writer: str) -> None:
        entry = Entry(f"e{self.next_entry}", kind, text, tuple(sorted(set(seqs))), origin, writer=writer)
        self.entries[entry.id] = entry
        self.texts.add((kind, normalized(text)))
        self.next_entry += 1

    def _update(self, operation: Update) -> None:
        entry = self._entry(operation.id)
        if _is_protected(entry):
            raise _NotDone("entry.protected")
        text, origin = self._proved(operation.text), self._trust(operation.sources)
        self.entries[entry.id] = replace(
            entry,
            text=text,
            sources=condensed((*entry.sources, *operation.sources)),
            origin=least_trusted((entry.origin, origin)),
            writer="model",
        )

    def _retire(self, operation: Retire) -> None:
        entry = self._entry(operation.id)
        if not _is_protected(entry):
            self.entries[entry.id] = replace(entry, status=EntryStatus.RETIRED)
            return
        later = [seq for seq in operation.sources if seq > entry.sources[-1] and self._speaks(seq)]
        if not later:
            raise _NotDone("entry.protected")
        self.entries[entry.id] = replace(entry, status=EntryStatus.SUPERSEDED, superseded_by=later[-1])
        self._show(later[-1])

    def _speaks(self, seq: int) -> bool:
        event = self.events.get(seq)
        return event is not None and event.message is not None and _event_origin(event) in _TRUSTED

    def _show(self, seq: int) -> None:
        """Make sure that what superseded an entry stands in the ledger too."""
        shown = any(
            seq in entry.sources and entry.kind in (*_STATED, EntryKind.OPEN)
            for entry in self.entries.values()
        )
        event = self.events[seq]
        if not shown and event.message is not None:
            text = clip(redact(one_line(event.message.text)), _MAX_TEXT)
            self._put(EntryKind.OBJECTIVE, text, (seq,), _event_origin(event), "rules")

    def _entry(self, entry_id: str) -> Entry:
        entry = self.entries.get(entry_id)
        if entry is None or entry.status is EntryStatus.RETIRED:
            raise _NotDone("entry.unknown")
        return entry


def _is_protected(entry: Entry) -> bool:
    """Constraints and requests always; what is open, if rules found it."""
    return entry.kind in _STATED or (entry.kind is EntryKind.OPEN and entry.writer == "rules")


def _event_origin(event: Event) -> Origin:
    """Whose word an event is; a program's output in a user message is nobody's."""
    trust = event_trust(event)
    if trust is Origin.USER and event.message is not None and is_machine_made(event.message.text):
        return Origin.IMPORTED
    return trust
