"""A guard as a fold of the log: events in, guard state out; a guard's facts in, events out. No I/O.

Every worker folds the same events in the same order. Numbers of `$vN` follow from that order: each call that
an assistant message lists takes the next one, and so does each number of a lease. What this worker decided
itself is in its guard already, so its own records are passed over when they come back from the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from guards import (
    CallRecord,
    GuardLimitError,
    Outcome,
    PendingCall,
    ToolGuard,
    ToolSpec,
    UnknownCallError,
    Verdict,
)
from guards.facts import (
    Announced,
    Asked,
    Began,
    Decided,
    Fact,
    Finished,
    Prompted,
    Refused,
    Said,
    Segmented,
    fact_from_dict,
    fact_to_dict,
)

from ..config import MAX_EVENT_BYTES
from ..events import Event, EventKind
from ..messages import Message, ToolCall
from ..standing import said
from .answers import ERROR_CHARS, compact, lighten_snapshot
from .session_guard import SessionGuard

__all__ = ["GuardLog"]

_VERSION: Final = 1
_CALLS_KEPT: Final = 1024
"""Announced calls whose tool and arguments are kept until their result comes, and beginnings by which the
first of two workers is told; older ones are forgotten."""
SNAPSHOT_EVERY: Final = 64
"""Events after which a snapshot goes with the next write, so that a cold worker folds few more than that."""
_BYTES_PER_EVENT: Final = 4096
"""A large snapshot is written the more seldom: after as many events as would weigh the same at this size."""
_SNAPSHOT_BYTES: Final = MAX_EVENT_BYTES // 2
"""A larger snapshot is not written: the log is folded from an older one, or from its first event."""
_PROMPT: Final = 2000
"""Characters of the newest prompt that a snapshot carries, for the goal of a call's trace."""


class GuardLog:
    """One guard, and how far it has read the log.

    Args:
        worker: Who writes here; unique for each instance.
        tools: The guard's specs.
        settings: The guard's policies.

    Attributes:
        guard: The guard.
        worker: Who writes here; unique for each instance.
        seq: Last seq that was folded.
        number: The number of the next call that is announced.
        prompt: What the user said last, `None` if unknown.
        beaten: Calls begun or decided here that another worker had begun or decided before, as the log says.
            What was said of them here does not hold.
    """

    def __init__(self, worker: str, tools: Iterable[ToolSpec], settings: Mapping[str, Any]) -> None:
        self.guard = SessionGuard(tools, on_fact=self._made, **settings)
        self.worker = worker
        self.seq = 0
        self.number = 1
        self.prompt: str | None = None
        self.beaten: set[str] = set()
        self._begun: dict[str, int] = {}
        self._facts: list[tuple[Fact, int]] = []
        self._finished: list[CallRecord] = []
        self._own: dict[str, frozenset[str]] = {}
        self._held: set[str] = set()
        self._calls: dict[str, ToolCall] = {}
        self._content = ("", "")
        self._since_snapshot = 0
        self._snapshot_every = SNAPSHOT_EVERY
        self._folding = False

    # From the log

    def begin_from(self, snapshot: Event) -> int:
        """Take over the guard of a snapshot event.

        Returns:
            The seq behind which events are to be folded; what the snapshot holds of them is passed over.
        """
        data = snapshot.data
        self.guard.load(data["guard"])
        self.seq, self.number, self.prompt = int(data["through"]), int(data["number"]), data["prompt"]
        self._calls = {row["id"]: ToolCall(row["id"], row["name"], row["arguments"]) for row in data["calls"]}
        self._begun = {str(claim): int(seq) for claim, seq in data["begun"].items()}
        self._since_snapshot = 0
        self._held = set(data["with"])
        return self.seq

    def fold(self, events: Iterable[Event]) -> None:
        """Take in events of the log, in order; those that were folded before are passed over."""
        self._folding = True
        try:
            for event in events:
                if event.seq > self.seq:
                    self._fold(event)
                    self.seq = event.seq
                    self._since_snapshot += 1
        finally:
            self._folding = False

    def announced(self, call_id: str) -> bool:
        """Whether a message of the log lists this call and nothing has answered it."""
        return call_id in self._calls

    def begun(self, call_id: str) -> int | None:
        """The seq at which the call's beginning was written, `None` if it was not."""
        return self._begun.get(call_id)

    def system_prompt(self, text: str) -> None:
        """The system prompt is a source of arguments; it stands in the settings, not in a message."""
        self.guard.apply(Said("system", text))

    def _fold(self, event: Event) -> None:
        if (message := said(event)) is not None:
            self._message(event, message)
        elif event.kind is EventKind.GUARD:
            self._records(event)
        elif event.kind is EventKind.GUARD_SNAPSHOT:
            self._since_snapshot = 0
        elif event.kind is EventKind.SEGMENTED:
            self.guard.apply(Segmented(str(event.data.get("trigger", ""))))

    def _message(self, event: Event, message: Message) -> None:
        if message.role == "user":
            self.prompt = message.text
            self.guard.apply(Prompted(message.text))
        elif message.role == "assistant":
            self._answer(message)
        elif message.role in ("system", "developer"):
            self.guard.apply(Said("system", message.text))
        elif message.tool_call_id is not None:
            self._result(event, message, message.tool_call_id)

    def _answer(self, message: Message) -> None:
        if message.text:
            self.guard.apply(Said("assistant", message.text))
        if not message.tool_calls:
            return
        self.guard.apply(Announced(tuple(call.id for call in message.tool_calls), self.number))
        self.number += len(message.tool_calls)
        self._calls.update({call.id: call for call in message.tool_calls})
        _let_go(self._calls)

    def _result(self, event: Event, message: Message, call_id: str) -> None:
        call = self._calls.pop(call_id, None)
        tool = event.data.get("tool", {})
        if tool.get("guarded"):
            self._content = (call_id, message.text)
        elif call is not None:
            error = tool.get("error")
            result = json.loads(message.text) if tool.get("json") else message.text
            ToolGuard.record(  # The log has numbered it.
                self.guard,
                call.name,
                call.arguments_json,
                call_id=call_id,
                result=None if error else result,
                error=error,
                at=event.at,
            )

    def _records(self, event: Event) -> None:
        own = self._own.pop(event.event_id, None) is not None
        known = own or event.event_id in self._held
        self._held.discard(event.event_id)
        late = set[str]()
        for row in event.data.get("facts", ()):
            fact = fact_from_dict(self._whole(row))
            if isinstance(fact, Decided) and self._is_late(event, fact, row.get("seen", event.seq), own=own):
                late.add(fact.call_id)
            if _call_of(fact) in late:
                continue
            if isinstance(fact, Began):
                self._beginning(event, fact, int(row["seen"]), own=own, known=known)
            elif not known:
                self._take_back(fact)
                self._apply(fact)
        if lease := int(event.data.get("lease", 0)):
            first, self.number = self.number, self.number + lease
            if own:
                self.guard.bindings.reserve_block(first, lease)
            else:
                self.guard.bindings.pass_over(first + lease - 1)

    def _beginning(self, event: Event, fact: Began, seen: int, *, own: bool, known: bool) -> None:
        """A call began, unless the log holds another beginning of it that its worker had not seen.

        `known`: the guard holds it already, since it began here (`own`) or a snapshot held it.
        """
        call, key = fact.call, fact.idempotency_key
        claims = [call.call_id, *([] if key is None else [f"key:{key}"])]
        if any(self._begun.get(claim, 0) > seen for claim in claims):
            if own:
                self.beaten.add(call.call_id)
            return
        for claim in claims:
            self._begun.pop(claim, None)
            self._begun[claim] = event.seq
        _let_go(self._begun)
        if not known:
            self._apply(replace(fact, call=self._as_seen_here(call)))

    def _is_late(self, event: Event, fact: Decided, seen: int, *, own: bool) -> bool:
        """Whether the log holds another decision on the call that this one's worker had not seen."""
        approved, rejected = f"approved:{fact.call_id}", f"rejected:{fact.call_id}"
        if any(self._begun.get(claim, 0) > seen for claim in (approved, rejected)):
            if own:
                self.beaten.add(fact.call_id)
            return True
        for claim in (approved, rejected):
            self._begun.pop(claim, None)
        self._begun[approved if fact.approved else rejected] = event.seq
        _let_go(self._begun)
        return False

    def _take_back(self, fact: Fact) -> None:
        """A call that was approved here waits again, for the rejection that the log holds before that."""
        if isinstance(fact, Decided) and not fact.approved:
            for call in self.guard.open_calls:
                if call.call_id == fact.call_id:
                    self.guard.after_call(call.call_id, outcome=Outcome.REFUSED)
                    self._apply(Asked(call, "permission.confirm"))

    def _apply(self, fact: Fact) -> None:
        """Another worker's fact; one that came too late there (a call decided twice) changes nothing."""
        with suppress(UnknownCallError, GuardLimitError):
            self.guard.apply(fact)

    def _as_seen_here(self, call: PendingCall) -> PendingCall:
        """A call of another worker; no result of it is replayed if a write of ours may have fallen into it.

        What was done here counts already, though in the log it may come later. An equal call of ours is no
        other write: of the two one runs.
        """
        ahead = [_written(fact) for fact, _ in self._facts]
        disturbed = frozenset[str]().union(*self._own.values(), *ahead) - {call.fingerprint}
        return replace(call, epoch=-1) if disturbed or self._held else call

    def _whole(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fact with the result that the tool message before it holds."""
        form = row.get("result_in_message")
        if form is None:
            return row
        text = self._content[1]
        return {**row, "record": {**row["record"], "result": json.loads(text) if form == "json" else text}}

    # To the log

    def before_call(
        self, name: str, raw: Mapping[str, Any], call_id: str, idempotency_key: str | None
    ) -> Verdict:
        """What becomes of a call that the log has numbered, now or when it began before."""
        return ToolGuard.before_call(self.guard, name, raw, call_id, idempotency_key=idempotency_key)

    def take(self, content: tuple[str, str] | None = None, lease: int = 0) -> dict[str, Any]:
        """The facts since the last time, as the data of a `guard.facts` event; see `wrote`.

        Args:
            content: Call id and text of a tool message that is written just before; a result that it
                holds is not written twice.
            lease: How many numbers to take for this worker.
        """
        rows = [_row(fact, seen, content) for fact, seen in self._facts]
        data: dict[str, Any] = {"v": _VERSION, "by": self.worker, "facts": rows}
        return data | {"lease": lease} if lease else data

    @property
    def has_facts(self) -> bool:
        """Whether there are facts to be written."""
        return bool(self._facts)

    def wrote(self, event_id: str) -> None:
        """An event with what `take` gave, or with a lease, is on its way."""
        self._own[event_id] = frozenset[str]().union(*(_written(fact) for fact, _ in self._facts))
        self._facts.clear()

    @property
    def is_behind(self) -> bool:
        """Whether an event of this guard's own was not folded yet."""
        return bool(self._own)

    def take_finished(self) -> list[CallRecord]:
        """The calls that ran here and ended since the last time."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def snapshot_due(self) -> bool:
        """Whether a snapshot should go with the next write."""
        return self._since_snapshot >= self._snapshot_every

    def snapshot(self, *, lighten: bool = False) -> dict[str, Any] | None:
        """The data of a `guard.snapshot` event that is written behind what `wrote` was told of.

        `None` if it would be too large for one event. Leased numbers are left out: they are this worker's.
        `lighten` lets go of as many values and results for replay as make it too large.
        """
        guard = self.guard.snapshot()
        guard["bindings"] |= {"leases": []}
        if lighten:
            lighten_snapshot(guard, _SNAPSHOT_BYTES)
        size = len(compact(guard))
        self._since_snapshot = 0
        self._snapshot_every = max(SNAPSHOT_EVERY, size // _BYTES_PER_EVENT)
        if size > _SNAPSHOT_BYTES:
            return None
        calls = [(call.id, call.name, call.arguments_json) for call in self._calls.values()]
        return {
            "v": _VERSION,
            "guard": guard,
            "number": self.number,
            "through": self.seq,
            "with": [*self._own, *self._held],
            "begun": dict(self._begun),
            "prompt": self.prompt and self.prompt[:_PROMPT],
            "calls": [dict(zip(("id", "name", "arguments"), call, strict=True)) for call in calls],
        }

    def _made(self, fact: Fact) -> None:
        """A fact of the guard's own: to be written, unless it follows from the event that is being folded."""
        if self._folding:
            return
        self._facts.append((fact, self.seq))
        if isinstance(fact, Finished) and fact.record.outcome not in _DID_NOT_END:
            self._finished.append(fact.record)


_DID_NOT_END: Final = (Outcome.REPLAYED, Outcome.REFUSED, Outcome.CANCELLED)
"""Outcomes that say nothing about the tool."""


def _written(fact: Fact) -> frozenset[str]:
    """The fingerprint of a call that may write and began here."""
    if not isinstance(fact, Began) or fact.call.read_only:
        return frozenset()
    return frozenset({fact.call.fingerprint})


def _call_of(fact: Fact) -> str | None:
    """The call that a decision is about, or what follows from one."""
    match fact:
        case Decided():
            return fact.call_id
        case Began():
            return fact.call.call_id
        case Refused():
            return fact.record.call_id
        case _:
            return None


def _let_go(kept: dict[str, Any]) -> None:
    while len(kept) > _CALLS_KEPT:
        del kept[next(iter(kept))]


def _row(fact: Fact, seen: int, content: tuple[str, str] | None) -> dict[str, Any]:
    row = fact_to_dict(fact)
    if isinstance(fact, Finished) and fact.record.error is not None:
        row["record"]["error"] = fact.record.error[:ERROR_CHARS]
    if isinstance(fact, Began | Decided):
        row["seen"] = seen
    if content is None or not isinstance(fact, Finished) or fact.record.call_id != content[0]:
        return row
    result, text = fact.record.result, content[1]
    form = "text" if result == text and isinstance(result, str) else None
    if form is None and not isinstance(result, str) and compact(result) == text:
        form = "json"
    if form is not None:
        row["record"].pop("result", None)
        row["result_in_message"] = form
    return row
