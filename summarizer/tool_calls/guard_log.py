"""A guard as a fold of the log: events in, guard state out; a guard's facts in, events out. No I/O.

Every worker folds the same events in the same order. Numbers of `$vN` follow from that order: each call that
an assistant message lists takes the next one, and so does each number of a lease. What this worker decided
itself is in its guard already, so its own records are passed over when they come back from the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from guards import CallRecord, ToolGuard, ToolSpec
from guards.facts import (
    Announced,
    Began,
    Fact,
    Finished,
    Prompted,
    Said,
    Segmented,
    fact_from_dict,
    fact_to_dict,
)

from ..events import Event, EventKind
from ..messages import Message, ToolCall

__all__ = ["GuardLog"]

_VERSION: Final = 1
_CALLS_KEPT: Final = 1024
"""Announced calls whose tool and arguments are kept until their result comes; older ones are forgotten."""
SNAPSHOT_EVERY: Final = 64
"""Records of guard facts after which a snapshot is written, so that a cold worker folds no more than that."""


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
        begun: For each call that runs, the seq at which its beginning was written.
    """

    def __init__(self, worker: str, tools: Iterable[ToolSpec], settings: Mapping[str, Any]) -> None:
        self.guard = ToolGuard(tools, on_fact=self._made, **settings)
        self.worker = worker
        self.seq = 0
        self.number = 1
        self.begun: dict[str, int] = {}
        self._facts: list[Fact] = []
        self._finished: list[CallRecord] = []
        self._own: set[str] = set()
        self._calls: dict[str, ToolCall] = {}
        self._contents: dict[str, str] = {}
        self._since_snapshot = 0
        self._folding = False

    # From the log

    def begin_from(self, snapshot: Event) -> int:
        """Take over the guard of a snapshot event.

        Returns:
            The seq behind which events are to be folded; what the snapshot holds of them is passed over.
        """
        data = snapshot.data
        self.guard.load(data["guard"])
        self.seq, self.number = int(data["through"]), int(data["number"])
        self._calls = {row["id"]: ToolCall(row["id"], row["name"], row["arguments"]) for row in data["calls"]}
        self._since_snapshot = 0
        self._own.update(data["with"])
        return self.seq

    def fold(self, events: Iterable[Event]) -> None:
        """Take in events of the log, in order; those that were folded before are passed over."""
        self._folding = True
        try:
            for event in events:
                if event.seq > self.seq:
                    self._fold(event)
                    self.seq = event.seq
        finally:
            self._folding = False

    def announced(self, call_id: str) -> bool:
        """Whether a message of the log lists this call and nothing has answered it."""
        return call_id in self._calls

    def system_prompt(self, text: str) -> None:
        """The system prompt is a source of arguments; it stands in the settings, not in a message."""
        self.guard.apply(Said("system", text))

    def _fold(self, event: Event) -> None:
        if event.message is not None:
            self._message(event, event.message)
        elif event.kind is EventKind.GUARD:
            self._records(event)
        elif event.kind is EventKind.SEGMENTED:
            self.guard.apply(Segmented(str(event.data.get("trigger", ""))))

    def _message(self, event: Event, message: Message) -> None:
        if message.role == "user":
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
        while len(self._calls) > _CALLS_KEPT:
            del self._calls[next(iter(self._calls))]

    def _result(self, event: Event, message: Message, call_id: str) -> None:
        call = self._calls.pop(call_id, None)
        tool = event.data.get("tool", {})
        if tool.get("guarded"):
            self._contents[call_id] = message.text
        elif call is not None:
            error = tool.get("error")
            result = json.loads(message.text) if tool.get("json") else message.text
            self.guard.record(
                call.name,
                call.arguments_json,
                call_id=call_id,
                result=None if error else result,
                error=error,
                at=event.at,
            )

    def _records(self, event: Event) -> None:
        own = event.event_id in self._own
        self._own.discard(event.event_id)
        self._since_snapshot += 1
        for row in event.data.get("facts", ()):
            fact = fact_from_dict(self._whole(row))
            if isinstance(fact, Began):
                self.begun[fact.call.call_id] = event.seq
            if isinstance(fact, Finished):
                self.begun.pop(fact.record.call_id, None)
            if not own:
                self.guard.apply(fact)
        if lease := int(event.data.get("lease", 0)):
            first, self.number = self.number, self.number + lease
            if event.data["by"] == self.worker:
                self.guard.bindings.reserve_block(first, lease)
            else:
                self.guard.bindings.pass_over(first + lease - 1)

    def _whole(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fact with the result that the tool message beside it holds."""
        form = row.get("result_in_message")
        if form is None:
            return row
        record = row["record"]
        text = self._contents.pop(record["call_id"], "")
        return {**row, "record": {**record, "result": json.loads(text) if form == "json" else text}}

    # To the log

    def take(self, content: tuple[str, str] | None = None) -> dict[str, Any] | None:
        """The facts since the last time, as the data of a `guard.facts` event; `None` if there are none.

        Args:
            content: Call id and text of a tool message that is written just before; a result that it
                holds is not written twice.
        """
        if not self._facts:
            return None
        rows = [_row(fact, content) for fact in self._facts]
        self._facts.clear()
        return {"v": _VERSION, "by": self.worker, "facts": rows}

    @property
    def has_facts(self) -> bool:
        """Whether there are facts to be written."""
        return bool(self._facts)

    def wrote(self, event_id: str) -> None:
        """An event with this guard's own facts is on its way."""
        self._own.add(event_id)

    def take_finished(self) -> list[CallRecord]:
        """The calls that ended here since the last time."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def snapshot_due(self) -> bool:
        """Whether a snapshot should go with the next write."""
        return self._since_snapshot >= SNAPSHOT_EVERY

    def snapshot(self, batch: Sequence[Event]) -> dict[str, Any]:
        """The data of a `guard.snapshot` event that is written behind `batch`."""
        self._since_snapshot = 0
        return {
            "v": _VERSION,
            "guard": self.guard.snapshot(),
            "number": self.number,
            "through": self.seq,
            "with": [event.event_id for event in batch],
            "calls": [
                {"id": call.id, "name": call.name, "arguments": call.arguments_json}
                for call in self._calls.values()
            ],
        }

    def _made(self, fact: Fact) -> None:
        """A fact of the guard's own: to be written, unless it follows from the event that is being folded."""
        if isinstance(fact, Finished):
            self._finished.append(fact.record)
        if not self._folding:
            self._facts.append(fact)


def _row(fact: Fact, content: tuple[str, str] | None) -> dict[str, Any]:
    row = fact_to_dict(fact)
    if content is None or not isinstance(fact, Finished) or fact.record.call_id != content[0]:
        return row
    result, text = fact.record.result, content[1]
    form = "text" if result == text and isinstance(result, str) else None
    if form is None and not isinstance(result, str) and _compact(result) == text:
        form = "json"
    if form is not None:
        row["record"].pop("result", None)
        row["result_in_message"] = form
    return row


_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
