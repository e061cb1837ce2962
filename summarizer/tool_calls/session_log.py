"""A conversation's log and its guard, kept at one: others' events are folded, the guard's facts written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from guards import Action, GuardError, ToolGuard, Verdict
from guards.calls import PendingCall

from ..access import Access
from ..conversation import Conversation
from ..errors import SessionNotFound
from ..events import Event, EventKind
from ..gauge import counter_of
from ..messages import Message, ToolCall
from ..recording import Recorder
from .answers import storable, tool_data
from .guard_log import GuardLog
from .outbox import Build, Outbox, Write
from .traces import Traces, UsedCall

__all__ = ["LEASE", "SessionLog"]

LEASE: Final = 16
"""Numbers taken at once for bindings that are made without a call."""
_FIRST_LOOK_S: Final = 0.02
_LONGEST_LOOK_S: Final = 0.5
_RIVAL_S: Final = 60.0
"""Seconds after its beginning for which another worker's call is waited for, where its tool has no time
limit; then its worker is taken for dead."""


class SessionLog:
    """Keeps a guard and a conversation's log at one.

    Args:
        access: The conversation.
        write: Appends what a function of recorder and conversation builds.
        guard_log: The guard, as a fold of the log.
        traces: Where calls that ended are remembered.

    Attributes:
        is_open: Whether the guard has read the log.
    """

    def __init__(self, access: Access, write: Write, guard_log: GuardLog, traces: Traces) -> None:
        self.guard_log = guard_log
        self.is_open = False
        self._access = access
        self._outbox = Outbox(write)
        self._traces = traces
        self._prompt: str | None = None
        self._folding = asyncio.Lock()

    @property
    def guard(self) -> ToolGuard:
        """The guard."""
        return self.guard_log.guard

    async def is_beaten(self, call_id: str) -> bool:
        """Whether the log, to which a call's beginning was just written, holds another worker's before it."""
        if self.guard_log.is_behind:  # The write's answer was lost, and with it what else came.
            await self.catch_up()
        beaten = call_id in self.guard_log.beaten
        self.guard_log.beaten.discard(call_id)
        return beaten

    async def wait_for(self, running: Callable[[], PendingCall | None]) -> None:
        """Follow the log until a call has ended, or its worker must be dead."""
        look = _FIRST_LOOK_S
        while (call := running()) is not None and self._may_run(call):
            await asyncio.sleep(look)
            look = min(_LONGEST_LOOK_S, look * 2)
            await self.catch_up()

    def _may_run(self, call: PendingCall) -> bool:
        limit = self.guard.spec_of(call.name).timeout_s or _RIVAL_S
        return (datetime.now(UTC) - call.started_at).total_seconds() < limit

    def rival(self, call_id: str) -> PendingCall | None:
        """An equal call that began earlier in the log, and may still run."""
        mine, begun = self.open_call(call_id), self.guard_log.begun
        if mine is None:
            return None
        first = begun(call_id)
        for call in self.guard.open_calls:
            seq = begun(call.call_id)
            earlier = seq is not None and (first is None or seq < first)
            if earlier and call.fingerprint == mine.fingerprint and self._may_run(call):
                return call
        return None

    async def result_of_rival(self, call_id: str) -> Verdict | None:
        """Let an equal call that began earlier, in whichever process, end first; then use its result.

        `None` without one, or if it brought nothing.
        """
        if self.rival(call_id) is None:
            return None
        await self.wait_for(lambda: self.rival(call_id))
        return self.guard.replay_open(call_id)

    def let_through(self, call_id: str) -> Verdict:
        """What was said of a call that ends here and began elsewhere: it was let through."""
        call = self.open_call(call_id)
        return Verdict(Action.ALLOW, call_id, "" if call is None else call.name, {})

    def open_call(self, call_id: str) -> PendingCall | None:
        """The call, if it is open, in whichever worker."""
        return next((call for call in self.guard.open_calls if call.call_id == call_id), None)

    async def announce(self, call: ToolCall) -> None:
        """Record a call that no message lists, so that it has a number and its result a place."""
        message = Message("assistant", None, (call,))

        def build(recorder: Recorder) -> list[Event]:
            return [recorder.message(message, data={"synthetic": True})]

        await self._record(build, keep=False)

    def fold(self, conversation: Conversation) -> None:
        """Take in what the manager has written since, if the guard is in use. No I/O."""
        if self.is_open and conversation.head.start_seq <= self.guard_log.seq + 1:
            self._fold_open_segment(conversation)

    async def flush(self) -> None:
        """Write what waits, and facts that no write has taken along."""
        await self._outbox.flush()
        await self.append(None)

    async def catch_up(self) -> None:
        """Write what waits and read what is new; creates the conversation if need be."""
        await self._outbox.flush()
        try:
            conversation = await self._access.current()
        except SessionNotFound:
            conversation = await self._access.open(write=True)
        await self._fold(conversation)

    async def _fold(self, conversation: Conversation) -> None:
        """Fold what is new; between two awaits the conversation may have moved on by a segment."""
        async with self._folding:
            if not self.is_open:
                await self._begin_from_snapshot(conversation)
            prompt = conversation.settings.get("system_prompt")
            if prompt and prompt != self._prompt:
                self.guard_log.system_prompt(prompt)
                self._prompt = prompt
            while (end := conversation.head.start_seq - 1) > self.guard_log.seq:
                self.guard_log.fold(await self._read(self.guard_log.seq, end))
                self.guard_log.seq = max(self.guard_log.seq, end)  # Retention may have removed the last.
            self._fold_open_segment(conversation)
            if not self.is_open:
                self.guard.cut_off()
                self.is_open = True

    def _fold_open_segment(self, conversation: Conversation) -> None:
        """Fold what is new of it, without a look at the rest: its events have no gap."""
        events = conversation.events
        if events:
            self.guard_log.fold(events[max(0, self.guard_log.seq + 1 - events[0].seq) :])

    async def _begin_from_snapshot(self, conversation: Conversation) -> None:
        """Begin with the newest snapshot, in the open segment or wherever its first event says."""
        events: Sequence[Event] = conversation.events
        if not any(event.kind is EventKind.GUARD_SNAPSHOT for event in events):
            known = [int(e.data.get("guard_seq", 0)) for e in events if e.kind is EventKind.SEGMENTED]
            at = max(known, default=0)
            events = await self._read(at - 1, at) if at else ()
        snapshots = [event for event in events if event.kind is EventKind.GUARD_SNAPSHOT]
        if snapshots:
            self.guard_log.begin_from(snapshots[-1])

    async def _read(self, after: int, until: int) -> Sequence[Event]:
        return await self._access.read(after, until)

    async def append(
        self,
        content: tuple[str, str] | None,
        *,
        error: BaseException | str | None = None,
        lease: int = 0,
    ) -> None:
        """Write the guard's new facts, behind the tool message that answers a call if there is one.

        A call that was answered already, by whomever, gets no second answer.
        """
        guard_log = self.guard_log
        if content is not None and not guard_log.announced(content[0]):
            content = None
        if content is None and not lease and not guard_log.has_facts:
            return

        def build(recorder: Recorder) -> list[Event]:
            events: list[Event] = []
            if content is not None:
                answer = Message("tool", content[1], tool_call_id=content[0])
                events.append(recorder.message(answer, data={"tool": tool_data(error)}))
            if guard_log.has_facts or lease or not events:  # Another batch may have taken the facts along.
                events.append(recorder.record(EventKind.GUARD, storable(guard_log.take(content, lease))))
                guard_log.wrote(events[-1].event_id)
            if guard_log.snapshot_due and (snapshot := guard_log.snapshot()) is not None:
                events.append(recorder.record(EventKind.GUARD_SNAPSHOT, storable(snapshot)))
            return events

        async with self._traces.remembering(guard_log.take_finished(), guard_log.prompt):
            await self._record(build)

    async def write_snapshot(self) -> bool:
        """Write down the guard as the log has it, so that the events that led to it may be removed.

        Values too large for one event are let go of, those not used for longest first.

        Returns:
            `False` if the guard cannot be read, or does not fit all the same; then nothing is written.
        """
        conversation = await self._access.current()
        try:
            await self._fold(conversation)
        except GuardError:
            return False
        snapshot = self.guard_log.snapshot(lighten=True)
        if snapshot is None:
            return False
        recorder = Recorder(counter_of(conversation), None, clock=self._access.clock)
        await self._access.note(conversation, recorder.record(EventKind.GUARD_SNAPSHOT, storable(snapshot)))
        return True

    def remembering(self, used: UsedCall) -> AbstractAsyncContextManager[None]:
        """Remember a call that ran outside the guard, which may not have read the log, behind the block.

        An id that a provider gives to many calls stands for the one that was listed last.
        """
        seen = self._access.seen
        events = () if seen is None else seen.events
        prompt = self.guard_log.prompt
        if not self.is_open:
            said = (e.message.text for e in reversed(events) if e.message and e.message.role == "user")
            prompt = next(said, None)
        for event in reversed(events):
            if event.message and any(call.id == used.key for call in event.message.tool_calls):
                used = replace(used, key=f"{used.key}:{event.seq}")
                break
        return self._traces.remembering([used], prompt)

    async def _record(self, build: Build, *, keep: bool = True) -> None:
        """Write events, and fold what came since."""
        await self._outbox.send(build, keep=keep)
        conversation = self._access.seen
        assert conversation is not None
        await self._fold(conversation)
