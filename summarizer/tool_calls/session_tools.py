"""`SessionTools`: the guard of one conversation, the same for every worker that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from guards import Binding, CallResult, Outcome, ToolGuard, ToolSpec, Verdict, tool_state
from guards.calls import canonical_json, parse_arguments
from guards.checks.permission import Confirmation
from guards.running import execute, turn_of

from ..access import Access
from ..conversation import Conversation
from ..errors import InvalidSetting, SessionNotFound, StoreError
from ..events import Event, EventKind
from ..messages import Message, ToolCall
from ..recording import Recorder
from .guard_log import GuardLog

__all__ = ["SessionTools"]

Build = Callable[[Recorder, Conversation], list[Event]]

_LEASE: Final = 16
"""Numbers taken at once for bindings that are made without a call."""
_FIRST_LOOK_S: Final = 0.02
_LONGEST_LOOK_S: Final = 0.5
_RIVAL_S: Final = 60.0
"""How long an equal call of another worker is waited for before this one runs after all."""


class SessionTools:
    """Guards the tool calls of one conversation; what it knows is in the conversation's log.

    Calls, results and verdicts are events, so the guard survives a restart, goes along into child sessions
    and is the same for another worker. A call costs two round trips: one before it, for what others did, and
    one after it. A destructive call, one with an idempotency key and one that may be replayed are written
    down before they run, which is a third.

    Made by `SessionManager.tools`.
    """

    def __init__(
        self,
        access: Access,
        write: Callable[[Build], Awaitable[str]],
        schemas: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._access = access
        self._write = write
        self._specs = {spec.name: spec for spec in map(ToolSpec.from_schema, schemas)}
        self._settings: dict[str, Any] = {}
        self._log = self._fresh()
        self._opened = False
        self._prompt: str | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._unsent: list[list[Event]] = []
        self._writing = asyncio.Lock()

    @property
    def guard(self) -> ToolGuard:
        """The guard inside: synchronous `resolve`, `bind_value` and checks, on what `open` has read.

        A value that is bound here takes a number that `open(bindings=True)` has leased, and is written with
        the next call that is awaited.
        """
        return self._log.guard

    def configure(self, tools: Iterable[ToolSpec] = (), **settings: Any) -> None:
        """Set the tools' specs and the guard's policies, before the first call.

        Args:
            tools: Specs; they go before those that the manager's tool schemas give.
            settings: `limits`, `loop`, `grounding`, `permissions`, ... as `ToolGuard` takes them.

        Raises:
            InvalidSetting: The guard is in use already.
        """
        if self._opened:
            raise InvalidSetting("the session's guard is in use; call configure before its first call")
        self._specs.update({spec.name: spec for spec in tools})
        self._settings |= settings
        self._log = self._fresh()

    async def open(self, *, bindings: bool = False) -> ToolGuard:
        """Bring the guard up to date with the log: one round trip.

        Args:
            bindings: Also lease numbers for `guard.bind_value`, if none are left; a write.
        """
        await self._catch_up()
        if bindings and not self.guard.bindings.leased:
            await self._append(None, lease=_LEASE)
        return self.guard

    @contextmanager
    def active(self) -> Generator[ToolGuard]:
        """Make this guard the one that `guards.get_tool_state()` gives within the block."""
        with tool_state(self.guard) as guard:
            yield guard

    # Around a call

    async def before_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | bytes | None = None,
        call_id: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Verdict:
        """Say what becomes of a call; see `ToolGuard.before_call`.

        A call that no recorded message lists gets a message of its own, so that its result has its place. A
        call that is refused or replayed is answered in the log at once.

        Raises:
            InvalidArgumentsError: Arguments that are no JSON object; nothing was written.
            CallInProgressError: A call with this id is open.
            StoreError: The store failed; the tool must not run.
        """
        raw = parse_arguments(arguments)
        if call_id is not None:
            await self._catch_up()
        if call_id is None or not self._log.announced(call_id):
            call_id = call_id or f"call_{uuid4().hex[:24]}"
            await self._announce(ToolCall(call_id, name, canonical_json(raw)))
        verdict = self.guard.before_call(name, raw, call_id, idempotency_key=idempotency_key)
        self._verdicts[call_id] = verdict
        if not verdict.should_run:
            return await self._closed(verdict)
        spec = self.guard.spec_of(name)
        if spec.destructive or spec.may_replay or idempotency_key is not None:
            await self._append(None)
        return await self._after_rivals(verdict) if spec.may_replay else verdict

    async def after_call(
        self,
        call_id: str,
        *,
        result: Any = None,
        error: BaseException | str | None = None,
        outcome: Outcome | None = None,
        attempt_errors: Sequence[str] = (),
        result_tokens: int | None = None,
        cost_usd: Decimal | None = None,
        aliases: Sequence[str] = (),
    ) -> Binding | None:
        """Take the end of a call, and record its result in the conversation; see `ToolGuard.after_call`.

        The message that the model sees is a preview where the result is large; the log keeps the whole.

        Raises:
            UnknownCallError: No such call is open.
            StoreError: The store failed. The call is over here; it is written with the next one.
        """
        binding = self.guard.after_call(
            call_id,
            result=result,
            error=error,
            outcome=outcome,
            attempt_errors=attempt_errors,
            result_tokens=result_tokens,
            cost_usd=cost_usd,
            aliases=aliases,
        )
        verdict = self._verdicts.pop(call_id, None) or self.guard.check_runaway()
        await self._append((call_id, self.guard.content_of(verdict, result, error, binding)), error=error)
        return binding

    async def run(
        self,
        tool: Callable[..., Any],
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        *,
        call_id: str | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> CallResult:
        """Resolve, replay, check, execute, bind, cache and record one call; see `ToolGuard.run`.

        Of equal calls that may be replayed one runs, in whichever process; the others get its result.
        """
        async with turn_of(self.guard, name, arguments):
            verdict = await self.before_call(name, arguments, call_id, idempotency_key=idempotency_key)
            return await self.finish(tool, verdict, retries=retries, timeout_s=timeout_s)

    async def finish(
        self,
        tool: Callable[..., Any],
        verdict: Verdict,
        *,
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> CallResult:
        """Do what a verdict says: the second half of `run`, as after `approve`."""
        if not verdict.should_run:
            return CallResult(verdict, self.guard.content_of(verdict), verdict.result)
        spec = self.guard.spec_of(verdict.name)
        try:
            ended = await execute(tool, verdict.arguments, spec, retries=retries, timeout_s=timeout_s)
        except BaseException:
            closing = self.after_call(verdict.call_id, outcome=Outcome.CANCELLED, error="cancelled")
            await asyncio.shield(closing)
            raise
        binding = await self.after_call(
            verdict.call_id,
            result=ended.result,
            error=ended.error,
            outcome=ended.outcome,
            attempt_errors=ended.attempt_errors,
        )
        content = self.guard.content_of(verdict, ended.result, ended.error, binding)
        return CallResult(verdict, content, ended.result, ended.error, binding)

    # A person decides

    async def waiting_calls(self) -> tuple[Confirmation, ...]:
        """The calls that wait for a person, in whichever process they were asked for."""
        return (await self.open()).waiting_calls

    async def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Let a waiting call run, with exactly its arguments; hand the verdict to `finish`.

        The approval is durable when this returns, and good for one run. See `ToolGuard.approve`.
        """
        await self._catch_up()
        verdict = self.guard.approve(call_id, arguments)
        self._verdicts[call_id] = verdict
        await self._append(None)
        return verdict

    async def reject(self, call_id: str, reason: str = "") -> Verdict:
        """Refuse a waiting call; the model reads so as its result. See `ToolGuard.reject`."""
        await self._catch_up()
        return await self._closed(self.guard.reject(call_id, reason))

    # The log

    def fold(self, conversation: Conversation) -> None:
        """Take in what the manager has written since, if the guard is in use. No I/O."""
        if self._opened and conversation.head.start_seq <= self._log.seq + 1:
            self._log.fold(conversation.events)

    def _fresh(self) -> GuardLog:
        return GuardLog(uuid4().hex, self._specs.values(), self._settings)

    async def _catch_up(self) -> None:
        if self._unsent:
            async with self._writing:
                await self._send_unsent()
        try:
            conversation = await self._access.current()
        except SessionNotFound:
            conversation = await self._access.open(write=True)
        await self._fold(conversation)

    async def _fold(self, conversation: Conversation) -> None:
        if not self._opened:
            await self._open_from(conversation)
            self._log.fold(conversation.events)
            self.guard.cut_off()
            self._opened = True
        elif self._log.seq < conversation.head.start_seq - 1:
            self._log.fold(await self._read(self._log.seq, conversation.head.start_seq - 1))
        self._log.fold(conversation.events)
        prompt = conversation.settings.get("system_prompt")
        if prompt and prompt != self._prompt:
            self._log.system_prompt(prompt)
            self._prompt = prompt

    async def _open_from(self, conversation: Conversation) -> None:
        """Begin with the newest snapshot, wherever in the log it is, or with the log's first event."""
        events: Sequence[Event] = conversation.events
        snapshot = _newest_snapshot(events)
        start = conversation.head.start_seq
        if snapshot is None and start > 1:
            at = next((e.data.get("guard_seq", 0) for e in events if e.kind is EventKind.SEGMENTED), 0)
            events = await self._read(max(0, at - 1), start - 1)
            snapshot = _newest_snapshot(events)
        if snapshot is None:
            self._log.fold(events)
            return
        after = self._log.begin_from(snapshot)
        if after + 1 < start:
            events = await self._read(after, start - 1)
        self._log.fold([event for event in events if event.seq > after])

    async def _read(self, after: int, until: int) -> list[Event]:
        store, owner, root = self._access.store, self._access.owner, self._access.root
        return list(await store.read(owner, root, after_seq=after, until_seq=until))

    async def _announce(self, call: ToolCall) -> None:
        """Record a call that no message lists, so that it has a number and its result a place."""
        message = Message("assistant", None, (call,))
        await self._record(lambda recorder: [recorder.message(message, data={"synthetic": True})])

    async def _closed(self, verdict: Verdict) -> Verdict:
        """Record what a call that does not run is answered with; one that waits for a person stays open."""
        self._verdicts.pop(verdict.call_id, None)
        waits = verdict.should_block and verdict.call_id in {c.call_id for c in self.guard.waiting_calls}
        await self._append(None if waits else (verdict.call_id, self.guard.content_of(verdict)))
        return verdict

    async def _after_rivals(self, verdict: Verdict) -> Verdict:
        """Let an equal call that began earlier, in whichever process, end first; then use its result."""
        waited, look = 0.0, _FIRST_LOOK_S
        while self._has_rival(verdict.call_id) and waited < _RIVAL_S:
            await asyncio.sleep(look)
            waited, look = waited + look, min(_LONGEST_LOOK_S, look * 2)
            await self._catch_up()
        replayed = self.guard.replay_open(verdict.call_id) if waited else None
        return verdict if replayed is None else await self._closed(replayed)

    def _has_rival(self, call_id: str) -> bool:
        begun, calls = self._log.begun, self.guard.open_calls
        mine = next(call for call in calls if call.call_id == call_id)
        first = min(
            (call for call in calls if call.fingerprint == mine.fingerprint and call.call_id in begun),
            key=lambda call: begun[call.call_id],
        )
        return first is not mine

    async def _append(
        self,
        content: tuple[str, str] | None,
        *,
        error: BaseException | str | None = None,
        lease: int = 0,
    ) -> None:
        """Write the guard's new facts, behind the tool message that answers a call if there is one."""
        if content is None and not lease and not self._log.has_facts:
            return

        def build(recorder: Recorder) -> list[Event]:
            events: list[Event] = []
            if content is not None:
                tool: dict[str, Any] = {"guarded": True}
                if error is not None:
                    tool |= {"error": str(error)[:500], "error_type": type(error).__name__}
                answer = Message("tool", content[1], tool_call_id=content[0])
                events.append(recorder.message(answer, data={"tool": tool}))
            data = self._log.take(content)
            if data is not None or lease:
                data = data or {"v": 1, "by": self._log.worker}
                events.append(recorder.record(EventKind.GUARD, data | ({"lease": lease} if lease else {})))
                self._log.wrote(events[-1].event_id)
            if events and self._log.snapshot_due:
                events.append(recorder.record(EventKind.GUARD_SNAPSHOT, self._log.snapshot(events)))
            return events

        await self._record(build)

    async def _record(self, build: Callable[[Recorder], list[Event]]) -> None:
        """Write events, one batch at a time so that facts keep their order, and fold what came since.

        A batch whose write failed goes before the next one: its ids make sure that it counts once.
        """
        async with self._writing:
            made: list[Event] = []

            def once(recorder: Recorder, _: Conversation) -> list[Event]:
                made.extend(build(recorder) if not made else ())
                return made

            try:
                await self._send_unsent()
                await self._write(once)
            except StoreError:
                if made:
                    self._unsent.append(made)
                raise
            conversation = self._access.seen
            assert conversation is not None
            await self._fold(conversation)

    async def _send_unsent(self) -> None:
        while self._unsent:
            await self._write(lambda _, __: self._unsent[0])
            self._unsent.pop(0)


def _newest_snapshot(events: Sequence[Event]) -> Event | None:
    return next((event for event in reversed(events) if event.kind is EventKind.GUARD_SNAPSHOT), None)
