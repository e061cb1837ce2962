"""Opening a child: claim, cut, summarize, hand over.

However many workers notice the need, the store's lease lets one of them ask the summary
model, and its compare-and-set lets one child open. Whatever fails on the way leaves the
conversation as it was and the segmentation due.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from weakref import WeakKeyDictionary

from .ancestry import inheritance_of, read_path
from .cost_policy import CostAwarePolicy
from .economy import Decision
from .errors import SessionManagerError, StaleFence, StoreConflict, StoreError
from .events import Event, EventKind, Origin, new_event_id
from .handover import calls_record, grafted, opening_record
from .meter import TokenCounter
from .policy import Limits, Plan, Policy, Skip, Trigger, plan
from .retention import Retention
from .standing import gone_of, standing, standing_in
from .stores.protocol import HEAD_ONLY, EventStore, Head, Loaded, Owner
from .summary import (
    ExtractiveSummarizer,
    LivePrefix,
    Summarizer,
    Summary,
    SummaryOutcome,
    SummaryRequest,
    extract,
    summarize,
)
from .telemetry import log
from .units import is_running

__all__ = ["Flights", "Segmentation", "SegmentationOutcome", "seed_of", "settle"]

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class SegmentationOutcome:
    """What became of a segmentation.

    Attributes:
        status: `segmented`; `skipped` (see `reason_code`); `elsewhere` (another worker is at it, or
            was faster); `failed` (a background attempt met a store error; still due).
        session_id: The tip now.
        reason_code: `nothing_to_cut` or `no_gain` for `skipped`, else `None`.
        detail: For operators.
        cut: Last seq of the closed session.
        before_tokens: Raw tokens of seed and segment before.
        after_tokens: The same after.
        writer: Who wrote the summary.
    """

    status: Literal["segmented", "skipped", "elsewhere", "failed"]
    session_id: str
    reason_code: str | None = None
    detail: str = ""
    cut: int | None = None
    before_tokens: int | None = None
    after_tokens: int | None = None
    writer: str | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """One conversation's way of opening a child.

    Attributes:
        store: Where its log lives.
        owner: Its owner.
        conversation_id: Its root.
        policy: What to keep.
        limits: The policy in tokens.
        summarizer: Who writes the summary; whatever it does, the extractive one stands behind it.
        counter: The conversation's counter.
        clock: Aware UTC now.
        seen_index: The tip's number when the need was seen.
        decision: What pays, of a policy that weighs costs.
        live: Gives the request that the host would send; `None`: no summary ever extends it.
        retention: What goes once a child is open; `None` keeps everything.
    """

    store: EventStore
    owner: Owner
    conversation_id: str
    policy: Policy
    limits: Limits
    summarizer: Summarizer
    counter: TokenCounter
    clock: Callable[[], datetime]
    seen_index: int
    decision: Decision | None = None
    live: Callable[[Loaded], Awaitable[LivePrefix | None]] | None = None
    retention: Retention | None = None

    @property
    def asks_a_model(self) -> bool:
        """Whether a summary may take longer than reading its input."""
        return not isinstance(self.summarizer, ExtractiveSummarizer)

    def still_due(self, head: Head, trigger: Trigger) -> bool:
        """Whether the need that was seen is still there: nobody opened a child since."""
        return trigger is Trigger.MANUAL or head.index == self.seen_index

    async def run(
        self, trigger: Trigger, *, preempt: bool = False, extractive: bool = False
    ) -> SegmentationOutcome:
        """Segment now.

        Args:
            trigger: Why.
            preempt: Take the lease over from whoever holds it.
            extractive: Ask no model.

        Raises:
            StoreError: The store failed; nothing was changed.
        """
        loaded = standing_in(await self.store.load(self.owner, self.conversation_id))
        if not self.still_due(loaded.head, trigger):
            return SegmentationOutcome("elsewhere", loaded.head.session_id)
        planned = plan(loaded.head, loaded.events, self.policy, self.limits, trigger, decision=self.decision)
        if isinstance(planned, Skip):
            return await self._skip(loaded.head, planned, trigger)
        index = loaded.head.index
        claim = await self.store.claim(
            self.owner, self.conversation_id, index=index, lease_s=self.policy.lease_s, preempt=preempt
        )
        if claim.fence is None:
            log.debug("segment.claimed_elsewhere", session_id=claim.head.session_id)
            return SegmentationOutcome("elsewhere", claim.head.session_id)
        try:
            outcome = await self._summarize_and_hand_over(loaded, planned, trigger, claim.fence, extractive)
        except BaseException:
            await asyncio.shield(self.release(claim.fence))
            raise
        if self.retention is not None and outcome.status == "segmented":
            await self.retention.carry_out()
        return outcome

    async def _summarize_and_hand_over(
        self, loaded: Loaded, planned: Plan, trigger: Trigger, fence: int, extractive: bool
    ) -> SegmentationOutcome:
        request = await self._request(loaded, planned)
        if not extractive:
            request = replace(request, live=await self._live(loaded, planned, request))
        async with self._renewing(fence):
            written = extract(request) if extractive else await summarize(request, self.summarizer)
        record = opening_record(written, planned, trigger, loaded, self.decision)
        event = self._event(EventKind.SEGMENTED, record)
        summary = {"v": 1, "seed": written.seed, "summary": written.summary.to_dict()}
        try:
            head = await self.store.segment(
                self.owner,
                self.conversation_id,
                index=loaded.head.index,
                cut=planned.cut.seq,
                summary=summary,
                seed_tokens=written.seed_tokens,
                fence=fence,
                events=[event],
            )
        except StoreConflict as conflict:
            return await self._offer(written, conflict, loaded)
        after = written.seed_tokens + planned.tail_tokens
        log.info(
            "segment.created",
            conversation_id=self.conversation_id,
            session_id=head.session_id,
            trigger=trigger.value,
            writer=written.summary.writer,
            before_tokens=planned.before_tokens,
            after_tokens=after,
        )
        return SegmentationOutcome(
            "segmented",
            head.session_id,
            cut=planned.cut.seq,
            before_tokens=planned.before_tokens,
            after_tokens=after,
            writer=written.summary.writer,
        )

    async def _skip(self, head: Head, skip: Skip, trigger: Trigger) -> SegmentationOutcome:
        if trigger is not Trigger.MANUAL:
            data = {"reason_code": skip.reason_code, "trigger": trigger.value}
            event = replace(
                self._event(EventKind.SKIPPED, data), event_id=f"skip.{head.index}.{head.message_seq}"
            )
            await self.store.append(self.owner, self.conversation_id, [event])
        log.info(
            "segment.skipped", session_id=head.session_id, reason_code=skip.reason_code, trigger=trigger.value
        )
        return SegmentationOutcome("skipped", head.session_id, skip.reason_code, skip.detail)

    async def _request(self, loaded: Loaded, planned: Plan) -> SummaryRequest:
        head, cut = loaded.head, planned.cut.seq
        previous = grafted(_summary_of(loaded.summary), loaded.events, cut)
        events = tuple(event for event in loaded.events if event.seq <= cut)
        unread = events
        if self.asks_a_model and previous is not None and previous.model_through != previous.through:
            before = inheritance_of(loaded.settings or {}).ancestors
            since, path = previous.model_through, (self.store, self.owner, self.conversation_id, before)
            read = await read_path(*path, after_seq=since, until_seq=cut)
            unread = tuple(standing(read, gone_of(loaded.events)))
        running = None if planned.cut.turn_border else is_running(loaded.events, cut)
        return SummaryRequest(
            conversation_id=self.conversation_id,
            session_id=head.session_id,
            cut=cut,
            events=events,
            unread=unread,
            seed_budget=planned.seed_budget,
            counter=self.counter,
            previous=previous,
            system_prompt=(loaded.settings or {}).get("system_prompt"),
            running_user=running,
        )

    async def _live(self, loaded: Loaded, planned: Plan, request: SummaryRequest) -> LivePrefix | None:
        """The host's own request, where the summary is to extend it and it shows all there is to read."""
        if planned.summary_mode != "live" or self.live is None:
            return None
        if request.unread is not request.events:
            found = {"conversation_id": self.conversation_id, "reason_code": "events_unread"}
            log.info("summary.live_not_open", **found)
            return None
        prefix = await self.live(loaded)
        tail = tuple(event for event in loaded.events if event.seq > request.cut)
        return None if prefix is None else replace(prefix, tail=tail)

    async def _offer(
        self, written: SummaryOutcome, conflict: StoreConflict, read: Loaded
    ) -> SegmentationOutcome:
        """Somebody else was faster: adopt their child; keep what a model brought, if all it read stands."""
        stale = isinstance(conflict, StaleFence)
        log.info("segment.conflict_lost", conversation_id=self.conversation_id, stale_fence=stale)
        now = await self.store.load(self.owner, self.conversation_id)
        if written.calls:
            stands = gone_of(now.events) <= gone_of(read.events)
            offered = written.summary if stands else Summary(0)
            data = {"summary": offered.to_dict(), "model_calls": calls_record(written)}
            await self.store.append(
                self.owner, self.conversation_id, [self._event(EventKind.SUMMARY_OFFERED, data)]
            )
        return SegmentationOutcome("elsewhere", now.head.session_id)

    def _event(self, kind: EventKind, data: Mapping[str, Any]) -> Event:
        return Event(kind, new_event_id(), self.clock(), Origin.SYSTEM, data=data)

    async def release(self, fence: int) -> None:
        """Give the lease back; one that cannot be given back runs out."""
        with contextlib.suppress(StoreError, SessionManagerError):
            await self.store.release(self.owner, self.conversation_id, fence=fence)

    @contextlib.asynccontextmanager
    async def _renewing(self, fence: int) -> AsyncGenerator[None]:
        """Keep the lease alive while the body runs."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self.policy.lease_s / 3)
                with contextlib.suppress(StoreError, SessionManagerError):
                    await self.store.renew(
                        self.owner, self.conversation_id, fence=fence, lease_s=self.policy.lease_s
                    )

        task = asyncio.ensure_future(renew())
        try:
            yield
        finally:
            task.cancel()


class Flights:
    """Segmentations under way in this process: one a conversation, held per event loop."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[object, asyncio.Task[SegmentationOutcome]]
        ] = WeakKeyDictionary()

    def start(
        self, key: object, work: Callable[[], Coroutine[Any, Any, SegmentationOutcome]]
    ) -> asyncio.Task[SegmentationOutcome]:
        """The task that segments `key`; a new one only if none is under way."""
        loop = asyncio.get_running_loop()
        flights = self._loops.setdefault(loop, {})
        task = flights.get(key)
        if task is None:
            task = flights[key] = loop.create_task(work(), name="longsplice-segmentation")
            task.add_done_callback(lambda done: _landed(flights, key, done))
        return task

    async def settle(self, key: object = None) -> None:
        """Wait for the flights of this loop, or for one."""
        while True:
            flights = self._loops.get(asyncio.get_running_loop(), {})
            waiting = [task for name, task in flights.items() if key in (None, name)]
            if not waiting:
                return
            await asyncio.wait(waiting)
            await asyncio.sleep(0)


flights = Flights()


async def settle() -> None:
    """Wait until no background segmentation of this event loop is under way.

    Scripts call it before they end. A process that ends without it loses nothing: what was
    due stays due.
    """
    await flights.settle()


async def segment_first(job: Segmentation, key: object, trigger: Trigger) -> SegmentationOutcome:
    """Segment before the turn goes on: at the hard limit, or at a moment at which the cache is cold.

    Waits for the summary until the policy's deadline where a model is to write it, joining whoever is
    at it already, then goes on with the extractive one.
    """
    before = job.conversation_id
    if _waits(job, trigger):
        task = flights.start(key, lambda: job.run(trigger))
        deadline = asyncio.get_running_loop().time() + job.policy.hard_wait_s
        await asyncio.wait({task}, timeout=job.policy.hard_wait_s)
        if task.done() and not task.cancelled() and task.exception() is None:
            outcome = task.result()
            if outcome.status != "elsewhere" or await _moved_on(job, outcome.session_id, deadline):
                return outcome
        log.warning("summary.deadline_missed", conversation_id=before, wait_s=job.policy.hard_wait_s)
    return await job.run(trigger, preempt=trigger is Trigger.HARD_LIMIT, extractive=True)


def _waits(job: Segmentation, trigger: Trigger) -> bool:
    """Whether the turn waits for a model: at the hard limit by default, at a cold moment by choice alone."""
    if trigger is Trigger.COLD:
        return job.asks_a_model and isinstance(job.policy, CostAwarePolicy) and job.policy.at_cold == "model"
    return (job.policy.on_hard_limit or ("wait" if job.asks_a_model else "extract")) == "wait"


async def _moved_on(job: Segmentation, session_id: str, deadline: float) -> bool:
    """Wait for another process's hand-over; `False` at the deadline."""
    loop = asyncio.get_running_loop()
    while True:
        head = (await job.store.load(job.owner, job.conversation_id, after_seq=HEAD_ONLY)).head
        if head.session_id != session_id or not job.still_due(head, Trigger.HARD_LIMIT):
            return True
        if not head.lease_s:
            return False
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_POLL_S * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def seed_of(summary: Mapping[str, Any] | None) -> str | None:
    """The seed in a stored summary record."""
    return None if summary is None else summary["seed"]


def _summary_of(record: Mapping[str, Any] | None) -> Summary | None:
    return None if record is None else Summary.from_dict(record["summary"])


def _landed(flights: dict[object, Any], key: object, task: asyncio.Task[SegmentationOutcome]) -> None:
    flights.pop(key, None)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("segment.failed", error=type(error).__name__)
