"""What may stand: a narrative and operations of whoever wrote them, held to the laws. Pure.

In comes what rules found and what a model, or a user's summarizer, would have changed; out goes an outcome
in which the rules' protected entries stand, every value is proved, and budgets hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from ..errors import SummaryRejected
from ..events import Event
from .judgement import Given, check_narrative
from .ledger import fit, ledger_budget
from .operations import Add, Operation, Retire, Update, apply_operations
from .reading import narrative_budget
from .record import Entry, EntryKind, EntryStatus, Summary, SummaryOutcome, SummaryRequest
from .redact import redact
from .reply import parse_reply
from .seed import render_seed
from .transcript import records_of
from .verify import SourceIndex, verify_text

__all__ = ["Told", "adopted", "adopted_summary", "adopted_text", "sources_of", "texts_of"]

_KINDS: Final = {kind.value: kind for kind in EntryKind}


@dataclass(frozen=True, slots=True)
class Told:
    """What was told about some events.

    Attributes:
        operations: As they came: JSON objects, or operations already.
        shown: Seqs of the events that the teller was shown; it may cite these and what the ledger cites.
    """

    operations: Sequence[Mapping[str, Any] | Operation]
    shown: frozenset[int]


def adopted(
    request: SummaryRequest,
    base: SummaryOutcome,
    *,
    narrative: str,
    told: Iterable[Told],
    writer: str,
    model_through: int,
) -> SummaryOutcome:
    """The rules' outcome with a narrative and operations in it.

    Args:
        request: What was summarized.
        base: What the rules made of it.
        narrative: Judged before. A value in it that no source has becomes `[unverified]`.
        told: Operations, in the order of the events. Malformed and forbidden ones are left out.
        writer: A model's name, or `custom`.
        model_through: Last event that it has read.

    Returns:
        An outcome whose notes count `values.unproved` and `operations.refused`.
    """
    sources = sources_of(request, base.summary)
    checked = verify_text(redact(narrative), sources)
    entries, next_entry = base.summary.entries, base.summary.next_entry
    refused = 0
    unproved = len(checked.unproved)
    for part in told:
        understood = [_understood(operation) for operation in part.operations]
        operations = [operation for operation in understood if operation is not None]
        events = {event.seq: event for event in request.unread if event.seq in part.shown}
        done = apply_operations(
            entries, operations, events_by_seq=events, sources=sources, next_entry=next_entry
        )
        entries, next_entry = done.entries, done.next_entry
        refused += len(understood) - len(operations) + len(done.refused)
        unproved += sum(one.reason_code == "values.unproved" for one in done.refused)
    summary = replace(
        base.summary,
        model_through=model_through,
        entries=entries,
        narrative=checked.text,
        narrative_model=writer if checked.text else None,
        writer=writer,
        next_entry=next_entry,
    )
    notes = {"operations.refused": refused, "values.unproved": unproved}
    return _fitted(request, summary, {name: count for name, count in notes.items() if count})


def _fitted(request: SummaryRequest, summary: Summary, notes: Mapping[str, int]) -> SummaryOutcome:
    fitted = fit(summary.entries, ledger_budget(request.seed_budget), request.counter)
    summary = replace(summary, entries=fitted.entries, omitted=summary.omitted + fitted.omitted)
    seed, tokens, shown = render_seed(
        summary,
        budget=request.seed_budget,
        counter=request.counter,
        running_user=request.running_user,
        system_prompt=request.system_prompt,
    )
    return SummaryOutcome(summary, seed, tokens, notes={**shown, **notes})


def sources_of(request: SummaryRequest, summary: Summary) -> SourceIndex:
    """Everything a summary may speak of: unread events, ledger, the narrative so far, the system prompt."""
    texts = [request.system_prompt or "", *(entry.text for entry in summary.entries)]
    if request.previous is not None:
        texts += [request.previous.narrative, *(entry.text for entry in request.previous.entries)]
    for event in request.unread:
        texts += texts_of(event)
    return SourceIndex(texts)


def texts_of(event: Event) -> list[str]:
    """All that an event says: its text, and what it calls with which arguments."""
    message = event.message
    if message is None:
        return []
    calls = [text for call in message.tool_calls for text in (call.name, call.arguments_json)]
    return [message.text, *calls, *([message.name] if message.name else [])]


def _understood(operation: Mapping[str, Any] | Operation) -> Operation | None:
    """An operation as it came from a model; `None` if it is none."""
    if not isinstance(operation, Mapping):
        return operation
    name, text, entry_id = (operation.get(key) for key in ("op", "text", "id"))
    kind = _KINDS.get(str(operation.get("kind")))
    if name == "add" and kind is not None and isinstance(text, str):
        return Add(kind, text, _seqs(operation.get("sources")))
    if name == "update" and isinstance(entry_id, str) and isinstance(text, str):
        return Update(entry_id, text, _seqs(operation.get("sources")))
    if name == "retire" and isinstance(entry_id, str):
        return Retire(entry_id, str(operation.get("reason") or ""), _seqs(operation.get("sources")))
    return None


def _seqs(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(seq for seq in cast("Sequence[object]", value) if type(seq) is int)


def adopted_text(request: SummaryRequest, base: SummaryOutcome, text: str) -> SummaryOutcome:
    """The rules' outcome with a user's text as its narrative.

    Raises:
        SummaryRejected: The text is no summary.
    """
    narrative = parse_reply(text).narrative
    _judge(request, narrative)
    return adopted(request, base, narrative=narrative, told=(), writer="custom", model_through=request.cut)


def adopted_summary(request: SummaryRequest, base: SummaryOutcome, summary: object) -> SummaryOutcome:
    """The rules' outcome with what a user's summarizer changed.

    Entries that it adds, rewrites or retires become operations, under the same laws as a model's. What it
    leaves out stays.

    Raises:
        SummaryRejected: `summary.unparsable` (not a `Summary`), `summary.wrong_range` (not up to the
            cut), or its narrative is no summary.
    """
    if not isinstance(summary, Summary):
        raise SummaryRejected(
            "summary.unparsable", f"the summarizer gave {type(summary).__name__}, not a Summary"
        )
    if summary.through != request.cut:
        raise SummaryRejected(
            "summary.wrong_range", f"it reaches {summary.through}, the cut is {request.cut}"
        )
    previous = request.previous
    narrative = summary.narrative.strip()
    if narrative and (previous is None or narrative != previous.narrative):
        _judge(request, narrative)
    told = Told(_differences(request, base.summary.entries, summary.entries), frozenset(_seen(request)))
    return adopted(
        request, base, narrative=narrative, told=(told,), writer="custom", model_through=request.cut
    )


def _judge(request: SummaryRequest, narrative: str) -> None:
    count = request.counter.count
    records = records_of(request.unread)
    before = count(request.previous.narrative) if request.previous is not None else 0
    tokens = before + sum(count(record.line) for record in records)
    cap = 2 * narrative_budget(request.seed_budget)
    check_narrative(narrative, Given([record.text for record in records], "", tokens, cap, count))


def _seen(request: SummaryRequest) -> set[int]:
    return {event.seq for event in request.unread if event.message is not None}


def _differences(request: SummaryRequest, ours: Iterable[Entry], theirs: Iterable[Entry]) -> list[Operation]:
    known = {entry.id: entry for entry in ours}
    texts = {(entry.kind, entry.text) for entry in known.values()}
    seen = _seen(request)
    found: list[Operation] = []
    for entry in theirs:
        seqs = tuple(seq for seq in entry.sources if seq in seen)
        own = known.get(entry.id)
        # Ids of a summarizer that numbers for itself mean nothing here.
        same = own is not None and own.kind is entry.kind and not {*own.sources}.isdisjoint(entry.sources)
        if same and entry.status is EntryStatus.RETIRED:
            found.append(Retire(entry.id, "custom", seqs))
        elif entry.status is EntryStatus.RETIRED or (entry.kind, entry.text) in texts:
            continue
        elif same:
            found.append(Update(entry.id, entry.text, seqs))
        else:
            found.append(Add(entry.kind, entry.text, seqs))
    return found
