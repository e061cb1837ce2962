"""What is written to a conversation, and what follows from it: the guard, view changes, segmentation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from .access import Access
from .clearing import clear
from .conversation import Conversation
from .errors import InvalidSetting, OrphanToolResult, StoreError
from .events import Event, EventKind, Origin, keyed_ids
from .gauge import Gauge, counter_of
from .incoming import Answer, Entry
from .messages import Message
from .policy import Trigger
from .recalling import Recaller
from .recording import Recorder, Sent, is_long, report_of
from .retention import Retain, Retention
from .segmentation import Segmentation, SegmentationOutcome, flights, segment_first
from .standing import take_back
from .stores.protocol import Owner
from .summary import Summarizer
from .telemetry import log
from .units import answerable
from .viewing import Viewer

if TYPE_CHECKING:
    from .tool_calls import SessionTools

__all__ = ["Writer"]


class Writer:
    """Writes to the conversation that `access` leads to, and opens its child sessions.

    Args:
        access: The conversation.
        gauge: What the host said of its model.
        viewer: What the host was last shown.
        summarizer: Who writes the summaries.
        schemas: The host's tool schemas.
        inline: Whether a call waits for the segmentation that it makes due.
        retain: What is kept behind a segmentation; `None` for all.
        clock: Aware UTC now.
    """

    def __init__(
        self,
        access: Access,
        gauge: Gauge,
        viewer: Viewer,
        summarizer: Summarizer,
        *,
        schemas: Iterable[Mapping[str, Any]],
        inline: bool,
        retain: Retain | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._access = access
        self._gauge = gauge
        self._viewer = viewer
        self._summarizer = summarizer
        self._schemas = tuple(schemas)
        self._inline = inline
        self._retain = retain
        self._clock = clock
        self._tools: SessionTools | None = None

    @property
    def tools(self) -> SessionTools:
        """The guard of the conversation's tool calls; made at its first use."""
        if self._tools is None:
            from .tool_calls import SessionTools

            self._tools = SessionTools(self._access, self.write, self._schemas)
        return self._tools

    @property
    def configuration(self) -> dict[str, Any]:
        """How the guard was configured; empty if it was not used yet."""
        return {} if self._tools is None else self._tools.configuration

    async def write_messages(
        self,
        entries: Sequence[Entry],
        *,
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
        sent: int | None = None,
    ) -> str:
        """Write messages in one batch; `metadata` goes with the last answer. The tip's session id.

        `sent` are the raw tokens of the request that was answered, where the host knows them.
        """
        newest = next((i for i in range(len(entries) - 1, -1, -1) if _is_answer(entries[i])), -1)
        reports = newest >= 0 and cast("Answer", entries[newest].said).usage is not None

        def build(recorder: Recorder, conversation: Conversation) -> list[Event]:
            events: list[Event] = []
            for i, (said, tokens, data, event_id) in enumerate(entries):
                if isinstance(said, Message):
                    events.append(recorder.message(said, tokens=tokens, data=data, event_id=event_id))
                    continue
                last = i == newest
                asked = sum(event.tokens for event in events) if last else 0
                event = recorder.answer(
                    said,
                    provider=provider,
                    metadata=metadata if last else None,
                    tokens=tokens,
                    report=self._report(said, conversation, asked, sent) if last else None,
                    data=data,
                    event_id=event_id,
                )
                events.append(event)
            return events

        texts = [entry.message for entry in entries]
        tip = await self.write(build, idempotency_key, origin=origin, texts=texts)
        if reports and (seen := self._access.seen) is not None:
            self._viewer.watch_cache(seen)
        return tip

    async def take_back(self, seqs: Sequence[int], instead: Sequence[Entry], *, expect: int) -> str:
        """See `SessionManager.take_back`."""
        wrong = [seq for seq in seqs if type(seq) is not int or not 0 < seq <= expect]
        if wrong:
            raise InvalidSetting(
                f"seqs={wrong!r}: the log you have seen has events 1 to {expect}; use their seqs"
            )

        def build(recorder: Recorder, _: Conversation) -> list[Event]:
            note = recorder.record(EventKind.NOTE, take_back(seqs))
            return [note, *(recorder.message(e.message, tokens=e.tokens, data=e.data) for e in instead)]

        tip = await self.write(build, texts=[entry.message for entry in instead], expect=expect)
        await self._give_up_summary()
        return tip

    async def _give_up_summary(self) -> None:
        """Take the lease from a segmentation under way, which may have read what was taken back since."""
        conversation = self._access.seen
        if conversation is None or not conversation.head.lease_s:
            return
        job, head = self._job(conversation), conversation.head
        lease_s = job.policy.lease_s
        claim = await job.store.claim(
            job.owner, job.conversation_id, index=head.index, lease_s=lease_s, preempt=True
        )
        if claim.fence is not None:
            await job.release(claim.fence)

    async def write_usage(self, answer: Answer, *, provider: str | None, sent: int | None) -> str:
        """See `SessionManager.report_usage`."""

        def build(recorder: Recorder, conversation: Conversation) -> list[Event]:
            report = self._report(answer, conversation, 0, sent)
            return [recorder.usage(answer, provider=provider, report=report)]

        return await self.write(build)

    async def clear(self) -> str:
        """See `SessionManager.clear`."""
        await self.settle_tools()
        conversation = await self._access.open(write=False)
        await clear(self._job(conversation))
        await self._access.refresh(conversation)
        await Recaller(self._access).sealed(conversation)
        self._access.session_id = conversation.head.session_id
        return self._access.session_id

    def _report(
        self, answer: Answer, conversation: Conversation, asked: int, told: int | None
    ) -> Mapping[str, Any] | None:
        """What usage says of the context's size.

        Args:
            answer: The answer with its usage.
            conversation: The state before the answer.
            asked: Tokens that the batch puts before it.
            told: Tokens of the whole request, if the host told them.
        """
        if answer.usage is None:
            return None
        head = conversation.head
        sent = self._viewer.sent(head.last_seq)
        sent = None if sent is None else replace(sent, tokens=sent.tokens + asked)
        return report_of(
            answer,
            head,
            model=self._gauge.model_of(conversation),
            raw=self._gauge.fixed_tokens(conversation) + head.seed_tokens + head.segment_tokens + asked,
            sent=sent if told is None else Sent(told),
            tools=self._gauge.tools_tokens,
        )

    async def write(
        self,
        build: Callable[[Recorder, Conversation], list[Event]],
        idempotency_key: str | None = None,
        *,
        origin: Origin | None = None,
        texts: Sequence[Message] = (),
        expect: int | None = None,
    ) -> str:
        """Write what `build` makes; segment if that is due.

        Args:
            build: Makes the events, for the state in which they are written.
            idempotency_key: The same key writes once.
            origin: Whose text it is, if its role does not say.
            texts: What is to be counted: beside the loop where one is long.
            expect: The log's last seq; at another one nothing is written.

        Returns:
            The tip's session id; the events are durable.
        """
        access = self._access

        def make(conversation: Conversation) -> list[Event]:
            recorder = Recorder(
                counter_of(conversation),
                self._gauge.model_of(conversation),
                clock=self._clock,
                idempotency_key=idempotency_key,
                origin=origin,
            )
            return build(recorder, conversation)

        if any(is_long(message) for message in texts):
            opened = await access.open(write=True)
            made = await asyncio.to_thread(make, opened)
            conversation, events = await access.append(lambda _: made, expect=expect)
        else:
            conversation, events = await access.append(make, expect=expect)
        if self._tools is not None:
            self._tools.fold(conversation)
        await self._viewer.record_changes(conversation)
        await self._segment_if_due(conversation, events)
        access.session_id = conversation.head.session_id
        return access.session_id

    async def check_open(self, tool_call_id: str | None, idempotency_key: str | None) -> None:
        """Refuse a result that answers no open call, unless the key says that it was written before.

        Raises:
            OrphanToolResult: It does not.
        """
        conversation = await self._access.open(write=True)
        waiting = answerable(conversation.events)
        if tool_call_id not in waiting:
            conversation = await self._access.refresh(conversation)
            waiting = answerable(conversation.events)
        if tool_call_id in waiting:
            return
        repeated = None if idempotency_key is None else keyed_ids(idempotency_key)(0)
        if not any(event.event_id == repeated for event in reversed(conversation.events)):
            raise OrphanToolResult(tool_call_id, waiting)

    async def segment(self) -> SegmentationOutcome:
        """See `SessionManager.segment`."""
        conversation = await self._access.open(write=False)
        outcome = await self._job(conversation).run(Trigger.MANUAL, preempt=True)
        await self._access.refresh(conversation)
        await Recaller(self._access).sealed(conversation)
        self._access.session_id = conversation.head.session_id
        return outcome

    async def settle(self) -> None:
        """See `SessionManager.settle`."""
        await self.settle_tools()
        await flights.settle(self._key)
        if (seen := self._access.seen) is not None:
            self._access.session_id = seen.head.session_id

    async def settle_tools(self) -> None:
        """Write what the guard has not written yet."""
        if self._tools is not None:
            await self._tools.settle()

    @property
    def _key(self) -> tuple[int, Owner, str]:
        return (id(self._access.store), self._access.owner, self._access.root)

    async def _segment_if_due(self, conversation: Conversation, events: Sequence[Event]) -> None:
        trigger = self._gauge.trigger(conversation, turn_is_open=_turn_is_open(events))
        if trigger is None:
            return
        job = self._job(conversation)

        async def work() -> SegmentationOutcome:
            outcome = await job.run(trigger)
            await self._access.refresh(conversation)
            await Recaller(self._access).sealed(conversation)
            return outcome

        try:
            if trigger in (Trigger.HARD_LIMIT, Trigger.COLD):
                await segment_first(job, self._key, trigger)
                await self._access.refresh(conversation)
            elif self._inline:
                await asyncio.shield(flights.start(self._key, work))
            elif not conversation.head.lease_s:
                flights.start(self._key, work)
        except StoreError as error:
            # The message is durable and the segmentation stays due: the next call goes on with it.
            log.warning("segment.failed", session_id=conversation.head.session_id, error=type(error).__name__)

    @property
    def _retention(self) -> Retention | None:
        if self._retain is None:
            return None
        return Retention(
            store=self._access.store,
            owner=self._access.owner,
            conversation_id=self._access.root,
            keep=self._retain,
            clock=self._clock,
            carry_guard=lambda: self.tools.fresh_log().write_snapshot(),
        )

    def _job(self, conversation: Conversation) -> Segmentation:
        policy = self._gauge.policy_of(conversation)
        return Segmentation(
            store=self._access.store,
            owner=self._access.owner,
            conversation_id=self._access.root,
            policy=policy,
            limits=self._gauge.limits_of(policy, conversation),
            summarizer=self._summarizer,
            counter=counter_of(conversation),
            clock=self._clock,
            seen_index=conversation.head.index,
            decision=self._gauge.decision(conversation),
            live=self._viewer.live_prefix,
            retention=self._retention,
        )


def _is_answer(entry: Entry) -> bool:
    return isinstance(entry.said, Answer)


def _turn_is_open(events: Sequence[Event]) -> bool:
    """Whether the newest message leaves something to be answered or run."""
    newest = next((e.message for e in reversed(events) if e.message is not None), None)
    return newest is not None and (newest.role != "assistant" or bool(newest.tool_calls))
