"""ToolMemoryManager: takes finished calls in, keeps them, and answers with patterns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Literal
from uuid import uuid4

from procedural.aggregates import Aggregate
from procedural.capture import Capture, FinishedCall
from procedural.errors import TraceError
from procedural.patterns import HALF_LIFE_DAYS, Lift, Pattern, lift_of, pattern_of
from procedural.recall import recall
from procedural.store import PAGE, Checkpoint, InMemoryTraceStore, Page, TraceStore
from procedural.traces import CompletedCall, Scope, Trace

__all__ = ["ToolMemoryManager"]

_log: Final = logging.getLogger("procedural.memory")

_TOOLS: Final = 512
"""Tools of one scope that are summarized; beyond it the least called are forgotten."""


def _now() -> datetime:
    return datetime.now(UTC)


def _id() -> str:
    return uuid4().hex


class ToolMemoryManager:
    """Memory of what tool calls taught, for one scope.

    Recording awaits the store; patterns are computed from sums in memory, without I/O. Other processes'
    calls are seen after `load`, and whenever `record` notices them.

    Args:
        store: Where traces are kept; by default in this process's memory.
        owner: User or tenant whose calls these are; `None` is the namespace of the unowned.
        session_id: Session of calls that name none.
        scope: Which calls are learned from: those of the `session`, of all of the `owner`'s sessions, or of
            everyone who chose `shared`. Shared traces hold no values, goals or sessions.
        half_life_days: Age at which a call's evidence counts half.
        checkpoint_every: Traces after which the sums are saved, so that loading reads fewer than that many.
        clock: Gives the time, aware.
        new_id: Gives ids for calls that have none.

    Raises:
        ValueError: Scope `session` without a session id, or a number below 1 (half-life: not above 0).
    """

    def __init__(
        self,
        *,
        store: TraceStore | None = None,
        owner: str | None = None,
        session_id: str | None = None,
        scope: Literal["session", "owner", "shared"] = "owner",
        half_life_days: float = HALF_LIFE_DAYS,
        checkpoint_every: int = 500,
        clock: Callable[[], datetime] = _now,
        new_id: Callable[[], str] = _id,
    ) -> None:
        if not half_life_days > 0:
            raise ValueError(f"half_life_days {half_life_days!r} is not above 0; give days, such as 30")
        if checkpoint_every < 1:
            raise ValueError(f"checkpoint_every {checkpoint_every!r} is below 1; give a number of traces")
        self.owner = owner
        self.session_id = session_id
        self.scope: Final = _scope(scope, owner, session_id)
        self._store: Final[TraceStore] = InMemoryTraceStore() if store is None else store
        self._capture = Capture(owner, clock, new_id)
        self._clock = clock
        self._half_life = half_life_days
        self._checkpoint_every = checkpoint_every
        self._lock = asyncio.Lock()
        self._patterns: dict[str, tuple[int, Pattern]] = {}
        self._forget()

    async def record(
        self,
        tool_name: str,
        arguments: object = None,
        result: Any = None,
        error: BaseException | str | None = None,
        success: bool = True,
        *,
        goal: str | None = None,
        error_kind: str | None = None,
        duration_s: float | None = None,
        tokens: int | None = None,
        cost_usd: Decimal | float | str | None = None,
        at: datetime | None = None,
        hinted: bool | None = None,
        trace_id: str | None = None,
        session_id: str | None = None,
    ) -> Trace:
        """Remember a finished call.

        Args:
            tool_name: As it was called.
            arguments: Of the call: a mapping, the JSON text of one, or anything else; never kept as they are.
            result: Of the call; of any size, only its outline is kept.
            error: What went wrong. With an error the call has failed, whatever `success` says.
            success: `False` for a call that failed without an error text.
            goal: What the user wanted; calls for different goals are never taken for failure and correction.
            error_kind: The error's class, if the host knows one (`TimeoutError`, `not_found`).
            duration_s: Seconds it took.
            tokens: Of the result.
            cost_usd: What it cost.
            at: When it began, aware; now if not given.
            hinted: Whether a hint on this tool was shown before it; `None` keeps it out of the measured lift.
            trace_id: Recorded twice under one id, a call counts once; made up if not given.
            session_id: Session of this call, if another than the manager's.

        Returns:
            The trace, as it was kept.

        Raises:
            TraceError: No name, or a figure that is none; nothing was kept.
            TraceStoreError: The store failed. The trace may or may not be kept.
        """
        call = FinishedCall(
            tool_name=tool_name,
            arguments=arguments,
            result=result,
            error=error,
            success=success,
            goal=goal,
            error_kind=error_kind,
            duration_s=duration_s,
            tokens=tokens,
            cost_usd=cost_usd,
            at=at,
            hinted=hinted,
            trace_id=trace_id,
            session_id=self.session_id if session_id is None else session_id,
        )
        async with self._lock:
            trace = await self._traced(call)
            if self.scope.shared:
                trace = replace(trace.anonymous(), trace_id=_digest(self.owner, trace.trace_id))
            await self._append(trace)
        return trace

    async def remember(
        self,
        call: CompletedCall,
        *,
        goal: str | None = None,
        hinted: bool | None = None,
        session_id: str | None = None,
    ) -> Trace:
        """Remember a call as `guards` finished it; the same record given twice counts once.

        See `record` for the arguments and errors.
        """
        session = self.session_id if session_id is None else session_id
        call_id = getattr(call, "call_id", None)
        return await self.record(
            call.tool_name,
            call.arguments,
            call.result,
            call.error,
            call.success,
            goal=goal,
            error_kind=call.error_kind,
            duration_s=call.duration_s,
            tokens=call.result_tokens,
            cost_usd=call.cost_usd,
            at=call.at,
            hinted=hinted,
            trace_id=_digest(session, call_id, call.tool_name, call.at.isoformat()) if call_id else None,
            session_id=session,
        )

    async def load(self) -> None:
        """Read what the scope's log holds and this memory has not yet seen.

        Costs one read for each 1,000 traces after the newest checkpoint.

        Raises:
            TraceStoreError: The store failed; the memory is as it was, or further.
            TraceError: The log was written by a newer version.
        """
        async with self._lock:
            await self._catch_up()

    async def erase(self) -> int:
        """Remove the owner's traces from the store, in every session and in the shared log.

        Other processes forget at their next `record` or `load`.

        Returns:
            How many traces were removed.
        """
        async with self._lock:
            removed = await self._store.erase(self.owner)
            self._forget()
        return removed

    def get_patterns(self, tool_name: str | None = None) -> tuple[Pattern, ...]:
        """What is known of one tool, or of all: those called most first. Without I/O; empty if nothing is."""
        names = list(self._sums) if tool_name is None else [tool_name] if tool_name in self._sums else []
        found = [self._pattern(name) for name in names]
        return tuple(sorted(found, key=lambda pattern: (-pattern.calls, pattern.tool_name)))

    def recall(
        self, tool: str | None = None, goal: str | None = None, *, limit: int = 5
    ) -> tuple[Pattern, ...]:
        """The patterns that matter most for a tool and a goal; see `procedural.recall`."""
        return recall(self.get_patterns(), tool, goal, limit=limit)

    def lift(self) -> Lift | None:
        """Whether calls with a hint fare better, over all tools; `None` without calls of both kinds."""
        return lift_of(self._sums.values())

    def _pattern(self, name: str) -> Pattern:
        now = self._clock()
        known = self._patterns.get(name)
        if known is None or known[0] != now.toordinal():
            pattern = pattern_of(name, self._sums[name], now, half_life_days=self._half_life)
            known = self._patterns[name] = (now.toordinal(), pattern)
        return known[1]

    async def _traced(self, call: FinishedCall) -> Trace:
        """The call's trace; what it says of earlier calls holds only if nobody has erased them."""
        trace = self._capture.trace(call)
        if trace.correction is None and not trace.previous:
            return trace
        log_id = self._log_id
        await self._catch_up()
        return trace if not log_id or log_id == self._log_id else self._capture.trace(call)

    async def _append(self, trace: Trace) -> None:
        done = await self._store.append(self.scope, [trace])
        first = done.last_seq == len(done.added)
        if (done.log_id == self._log_id or first) and done.last_seq == self._through + len(done.added):
            self._log_id = done.log_id
            self._fold([trace] if done.added else [], done.last_seq)
        else:
            await self._catch_up()
        if self._through - self._saved >= self._checkpoint_every:
            await self._save()

    async def _catch_up(self) -> None:
        """Fold in what others wrote; start anew where the log is not the one that is remembered."""
        page = await self._store.read(self.scope, self._through if self._log_id else None)
        if page.log_id != self._log_id:
            if self._log_id:
                self._forget()
            page = await self._store.read(self.scope)
            self._open(page)
            page = page if page.checkpoint is None or self._through else await self._store.read(self.scope, 0)
        while page.log_id and page.log_id == self._log_id:
            self._fold(
                [trace for _, trace in page.traces], page.traces[-1][0] if page.traces else page.last_seq
            )
            if len(page.traces) < PAGE and self._through >= page.last_seq:
                return
            page = await self._store.read(self.scope, self._through)

    def _open(self, page: Page) -> None:
        """Begin with a log: from its checkpoint, if this version can read it."""
        self._log_id = page.log_id
        if page.checkpoint is None:
            return
        try:
            sums = {name: Aggregate.from_json(one) for name, one in page.checkpoint.sums.items()}
        except TraceError:
            _log.warning("checkpoint.unreadable through_seq=%d", page.checkpoint.through_seq)
            return
        self._sums, self._through, self._saved = (
            sums,
            page.checkpoint.through_seq,
            page.checkpoint.through_seq,
        )

    def _fold(self, traces: list[Trace], through: int) -> None:
        for trace in traces:
            self._sums.setdefault(trace.tool_name, Aggregate()).add(trace)
            self._patterns.pop(trace.tool_name, None)
        self._through = through
        if len(self._sums) > _TOOLS * 5 // 4:
            by_calls = sorted(self._sums.items(), key=lambda item: (-item[1].calls, item[0]))
            self._sums = dict(by_calls[:_TOOLS])

    async def _save(self) -> None:
        sums = {name: one.to_json() for name, one in self._sums.items()}
        await self._store.save(self.scope, Checkpoint(self._log_id, self._through, sums))
        self._saved = self._through

    def _forget(self) -> None:
        self._sums: dict[str, Aggregate] = {}
        self._log_id, self._through, self._saved = "", 0, 0
        self._patterns.clear()
        self._capture.forget()


def _scope(kind: str, owner: str | None, session_id: str | None) -> Scope:
    if kind == "shared":
        return Scope(shared=True)
    if kind == "owner":
        return Scope(owner)
    if kind == "session" and session_id is not None:
        return Scope(owner, session_id)
    raise ValueError(
        f"scope {kind!r} with session_id {session_id!r}; use 'owner', 'shared', or 'session' with an id"
    )


def _digest(*parts: object) -> str:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
