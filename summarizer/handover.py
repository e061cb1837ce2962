"""What is written down when a child opens: why, at what cost, and what the child must know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from .economy import Decision, carried_record
from .events import Event, EventKind
from .policy import Plan, Trigger
from .recording import PICO
from .standing import gone_of, take_back
from .stores.protocol import Loaded
from .summary import Summary, SummaryOutcome
from .units import left_open, memory_seqs, open_calls

__all__ = ["MARK", "calls_record", "grafted", "opening_record"]

MARK: Final = "mirror"
"""Key of an event's data under which it says which message of a host's own list it is."""

_LEFT_OPEN_KEPT: Final = 64
"""Open calls behind the cut whose late results are still accepted; older ones are orphans."""


def opening_record(
    written: SummaryOutcome, planned: Plan, trigger: Trigger, loaded: Loaded, decision: Decision | None
) -> dict[str, Any]:
    """The data of a `segment.created` event."""
    record = {
        "trigger": trigger.value,
        "index": loaded.head.index + 1,
        "cut": planned.cut.seq,
        "writer": written.summary.writer,
        "before_tokens": planned.before_tokens,
        "tail_tokens": planned.tail_tokens,
        "seed_tokens": written.seed_tokens,
        "model_calls": calls_record(written),
        "rejections": [asdict(rejection) for rejection in written.rejections],
        "notes": dict(written.notes),
    }
    if decision is not None:
        record["expected"] = decision.handed_over(
            after_tokens=planned.tail_tokens + written.seed_tokens,
            asked=written.summary.writer != "extractive" or bool(written.calls or written.rejections),
        ).to_dict()
    return record | _carried(loaded.events, planned.cut.seq) | carried_record(loaded.events)


def _carried(events: Sequence[Event], cut: int) -> dict[str, Any]:
    """What the child must know of what lies before: open calls, guard's snapshot, memory, what is gone."""
    left = [*left_open(events), *open_calls([e for e in events if e.seq <= cut])][-_LEFT_OPEN_KEPT:]
    known = (e.data.get("guard_seq", 0) for e in events if e.kind is EventKind.SEGMENTED)
    newest = max((*known, *(e.seq for e in events if e.kind is EventKind.GUARD_SNAPSHOT)), default=0)
    told = {
        "left_open": left,
        "guard_seq": newest,
        "memory": memory_seqs(events),
        MARK: _newest_mark(events, cut),
    }
    return {name: value for name, value in told.items() if value} | take_back(gone_of(events))


def _newest_mark(events: Sequence[Event], cut: int) -> Any:
    """The newest mark before the cut: of a message, else as it was handed over to this session."""
    marked = [event for event in events if MARK in event.data]
    said = [event for event in marked if event.kind is EventKind.MESSAGE and event.seq <= cut]
    told = said or [event for event in marked if event.kind is EventKind.SEGMENTED]
    return told[-1].data[MARK] if told else None


def calls_record(written: SummaryOutcome) -> list[dict[str, Any]]:
    """The requests to summary models, as they are stored."""
    return [
        {
            "model": call.model,
            "usage": None if call.usage is None else call.usage.to_dict(),
            "cost_pico": None if call.cost_usd is None else int(call.cost_usd * PICO),
            "duration_s": round(call.duration_s, 3),
        }
        | ({"live": True} if call.live else {})
        for call in written.calls
    ]


def grafted(previous: Summary | None, events: tuple[Event, ...], cut: int) -> Summary | None:
    """The previous summary, with what a model that lost an earlier race has read and told."""
    for event in events:
        if event.kind is not EventKind.SUMMARY_OFFERED or previous is None:
            continue
        offered = Summary.from_dict(event.data["summary"])
        if previous.model_through < offered.model_through <= cut:
            previous = _with_offered(previous, offered)
    return previous


def _with_offered(previous: Summary, offered: Summary) -> Summary:
    """The summary that won, and what the other one's model wrote beside it, under fresh entry ids."""
    known = {entry.text for entry in previous.entries}
    told = [entry for entry in offered.entries if entry.writer == "model" and entry.text not in known]
    fresh = tuple(replace(entry, id=f"e{previous.next_entry + i}") for i, entry in enumerate(told))
    return replace(
        previous,
        entries=previous.entries + fresh,
        narrative=offered.narrative,
        narrative_model=offered.narrative_model,
        model_through=min(offered.model_through, previous.through),
        next_entry=previous.next_entry + len(fresh),
    )
