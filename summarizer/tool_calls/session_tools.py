"""`SessionTools`: the guard of one conversation, the same for every worker that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from decimal import Decimal
from types import EllipsisType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from guards import (
    Action,
    Binding,
    CallResult,
    InvalidArgumentsError,
    Outcome,
    ToolGuard,
    ToolSpec,
    UnknownCallError,
    Verdict,
    read_value,
    tool_state,
)
from guards.calls import canonical_json, parse_arguments
from guards.checks.permission import Confirmation
from guards.reading import READ_VALUE
from guards.running import execute, turn_of

from ..access import Access
from ..conversation import Conversation
from ..errors import InvalidSetting, StoreError
from ..messages import ToolCall, jsonable
from .answers import content_of, error_said
from .guard_log import GuardLog
from .outbox import Write
from .session_log import LEASE, SessionLog
from .traces import Traces, UsedCall

if TYPE_CHECKING:
    from procedural import ToolMemoryManager

__all__ = ["SessionTools"]


class SessionTools:
    """Guards the tool calls of one conversation; what it knows is in the conversation's log.

    Calls, results and verdicts are events, so the guard survives a restart, goes along into child sessions
    and is the same for another worker. A call costs two round trips: one before it, for what others did, and
    one after it. A destructive call, one with an idempotency key and one that may be replayed are written
    down before they run, which is a third. Of two workers that begin the same call, the first in the log
    runs it. Each call that ran becomes a trace of `memory`, written once its result is. Made by
    `SessionManager.tools`.
    """

    def __init__(self, access: Access, write: Write, schemas: Iterable[Mapping[str, Any]] = ()) -> None:
        self._access = access
        self._write = write
        self._specs = {spec.name: spec for spec in map(ToolSpec.from_schema, schemas)}
        self._settings: dict[str, Any] = {}
        self._memory: ToolMemoryManager | EllipsisType | None = ...
        self._verdicts: dict[str, Verdict] = {}
        self._traces = Traces(access)
        self._log = self.fresh_log()

    @property
    def guard(self) -> ToolGuard:
        """The guard inside: synchronous `resolve`, `bind_value` and checks, on what `open` has read.

        A value that is bound here takes a number that `open(bindings=True)` has leased, and is written with
        the next call that is awaited, `open` and the manager's `settle` included.
        """
        return self._log.guard

    @property
    def memory(self) -> ToolMemoryManager | None:
        """What the owner's tool calls taught, in all sessions; `None` if it is switched off."""
        return self._traces.memory

    def configure(
        self,
        tools: Iterable[ToolSpec] = (),
        *,
        memory: ToolMemoryManager | EllipsisType | None = ...,
        **settings: Any,
    ) -> None:
        """Set the tools' specs, the memory and the guard's policies, before the first call.

        Give every worker of a conversation the same: what one knows nothing of, it neither replays nor keeps.
        The managers of forks and siblings take it over.

        Args:
            tools: Specs; they go before those that the manager's tool schemas give.
            memory: Where finished calls are remembered; `None` remembers nothing. Without it, what is learned
                is of all sessions of the conversation's owner, in its store.
            settings: `limits`, `loop`, `grounding`, `permissions`, ... as `ToolGuard` takes them.

        Raises:
            InvalidSetting: The guard is in use already.
        """
        if self._log.is_open:
            raise InvalidSetting("the session's guard is in use; call configure before its first call")
        self._specs.update({spec.name: spec for spec in tools})
        self._settings |= settings
        if memory is not ...:
            self._memory, self._traces = memory, Traces(self._access, memory)
        self._log = self.fresh_log()

    @property
    def configuration(self) -> dict[str, Any]:
        """The arguments of `configure` that make another conversation's guard like this one."""
        return {"tools": tuple(self._specs.values()), "memory": self._memory, **self._settings}

    async def open(self, *, bindings: bool = False) -> ToolGuard:
        """Bring guard and log up to date with each other: one round trip.

        What was done with the guard since, such as a value bound by hand, is written; that is a second.

        Args:
            bindings: Also lease numbers for `guard.bind_value`, if none are left; a write too.
        """
        await self._log.catch_up()
        await self._log.append(None, lease=LEASE if bindings and not self.guard.bindings.leased else 0)
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
            StoreError: The store failed; the tool must not run. The call may be made again.
        """
        raw = parse_arguments(arguments)
        if call_id is not None:
            await self._log.catch_up()
        if call_id is None or not self._log.guard_log.announced(call_id):
            call_id = call_id or f"call_{uuid4().hex[:24]}"
            await self._log.announce(ToolCall(call_id, jsonable(name), jsonable(canonical_json(raw))))
        return await self._decide(name, raw, call_id, idempotency_key)

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

        The message that the model sees is a preview where the result is large; the log keeps the whole, if
        the store takes an event of its size (else `$vN` is unknown to other workers).

        Raises:
            UnknownCallError: No such call is open.
            StoreError: The store failed. The call is over here; it is written with the next one.
        """
        if self._log.open_call(call_id) is None:
            await self._log.catch_up()
        began = self._verdicts.get(call_id) or self._log.let_through(call_id)
        said = error_said(error, outcome)
        told = said if error is None else error
        try:
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
        except UnknownCallError:
            if self._verdicts.pop(call_id, None):  # The deadline closed it while it ran.
                await self._log.append((call_id, content_of(self.guard, began, result, said)), error=told)
            raise
        self._verdicts.pop(call_id, None)
        await self._log.append((call_id, content_of(self.guard, began, result, said, binding)), error=told)
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

        Raises:
            StoreError: The store failed: before the tool ran, or after it, then its end goes with the next
                write.
        """
        try:
            arguments = parse_arguments(arguments)
        except InvalidArgumentsError as error:
            return await self._unreadable(name, error, call_id)
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
            closing = asyncio.ensure_future(self._cancelled(verdict.call_id))
            await asyncio.shield(closing)
            raise
        binding: Binding | None = None
        with suppress(UnknownCallError):  # The deadline closed it while it ran.
            binding = await self.after_call(
                verdict.call_id,
                result=ended.result,
                error=ended.error,
                outcome=ended.outcome,
                attempt_errors=ended.attempt_errors,
            )
        said = error_said(ended.error, ended.outcome)
        content = content_of(self.guard, verdict, ended.result, said, binding)
        return CallResult(verdict, content, ended.result, ended.error, binding)

    async def read_value(
        self, arguments: Mapping[str, Any] | str | None = None, *, call_id: str | None = None
    ) -> CallResult:
        """Answer a call of the `read_value` tool (`guards.READ_VALUE_SCHEMA`): a part of a large result.

        Its content is given whole, and is recorded as the result of any other call is.
        """

        async def page(**asked: Any) -> str:
            return read_value(self.guard.bindings, asked, wording=self.guard.wording)

        return await self.run(page, READ_VALUE, arguments, call_id=call_id)

    # A person decides

    async def waiting_calls(self) -> tuple[Confirmation, ...]:
        """The calls that wait for a person, in whichever process they were asked for."""
        return (await self.open()).waiting_calls

    async def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Let a waiting call run, with exactly its arguments; hand the verdict to `finish`.

        The approval is durable when this returns, and good for one run. See `ToolGuard.approve`.

        Raises:
            UnknownCallError: No such call waits; it may have been decided elsewhere just before.
            StoreError: The store failed; the tool must not run. Make the call again, to be asked for anew.
        """
        await self._log.catch_up()
        verdict = self.guard.approve(call_id, arguments)
        if not verdict.should_run:
            return await self._closed(verdict)
        self._verdicts[call_id] = verdict
        with self._taken_back(call_id):
            await self._log.append(None)
            beaten = await self._log.is_beaten(call_id)
        if beaten:
            self._verdicts.pop(call_id, None)
            raise UnknownCallError(call_id)
        return verdict

    async def reject(self, call_id: str, reason: str = "") -> Verdict:
        """Refuse a waiting call; the model reads so as its result. See `ToolGuard.reject`.

        Raises:
            UnknownCallError: No such call waits; it may have been decided elsewhere just before.
        """
        await self._log.catch_up()
        verdict = self.guard.reject(call_id, reason)
        with suppress(StoreError):  # Then the answer goes with it.
            await self._log.append(None)
        if await self._log.is_beaten(call_id):
            raise UnknownCallError(call_id)
        with suppress(UnknownCallError):  # Unless a worker that died began it, no such call is open.
            self.guard.after_call(call_id, outcome=Outcome.UNKNOWN)
        return await self._closed(verdict)

    # What earlier calls taught

    async def hints(self, tool: str | None = None, goal: str | None = None, *, max_tokens: int = 500) -> str:
        """Hints for a prompt from what the owner's earlier calls taught; empty if there are none.

        Args:
            tool: The tool they are wanted for; `None`: any.
            goal: What the user wants.
            max_tokens: Most tokens of the text.

        Raises:
            TraceStoreError: The traces could not be read.
        """
        return await self._traces.hints(tool, goal, max_tokens)

    async def _decide(
        self, name: str, raw: Mapping[str, Any], call_id: str, idempotency_key: str | None
    ) -> Verdict:
        verdict = self._log.guard_log.before_call(name, raw, call_id, idempotency_key)
        if not verdict.should_run:
            return await self._closed(verdict)
        self._verdicts[call_id] = verdict
        spec = self.guard.spec_of(name)
        if not (spec.destructive or spec.may_replay or idempotency_key is not None):
            return verdict
        with self._taken_back(call_id):
            await self._log.append(None)
            if not await self._log.is_beaten(call_id):
                replayed = await self._log.result_of_rival(call_id) if spec.may_replay else None
                return verdict if replayed is None else await self._closed(replayed)
        if self._log.guard_log.begun(call_id) is None:  # Another call with its key was first.
            self.guard.after_call(call_id, outcome=Outcome.REFUSED)
        if spec.may_replay:
            await self._log.wait_for(lambda: self._log.open_call(call_id))
        return await self._decide(name, raw, call_id, idempotency_key)

    @contextmanager
    def _taken_back(self, call_id: str) -> Generator[None]:
        """If the block fails, the call that was let through did not run: it may be made again."""
        try:
            yield
        except BaseException:
            self._verdicts.pop(call_id, None)
            with suppress(UnknownCallError):
                self.guard.after_call(call_id, outcome=Outcome.REFUSED)
            raise

    async def _unreadable(self, name: str, error: InvalidArgumentsError, call_id: str | None) -> CallResult:
        """Refuse a call without arguments to run it with; it is answered if a message lists it."""
        await self._log.catch_up()
        verdict = await self._closed(self.guard.unreadable(name, error, call_id))
        return CallResult(verdict, verdict.message)

    async def _closed(self, verdict: Verdict) -> Verdict:
        """Record what a call that does not run is answered with.

        One that waits for a person, or runs in another worker, stays open.
        """
        call_id = verdict.call_id
        self._verdicts.pop(call_id, None)
        waits = verdict.action is Action.CONFIRM or self._log.open_call(call_id) is not None
        await self._log.append(None if waits else (call_id, self.guard.content_of(verdict)))
        return verdict

    async def _cancelled(self, call_id: str) -> None:
        with suppress(StoreError, UnknownCallError):  # Its end goes with the next write.
            await self.after_call(call_id, outcome=Outcome.CANCELLED)

    def fresh_log(self) -> SessionLog:
        """A guard of its own that has not read the log yet."""
        guard_log = GuardLog(uuid4().hex, self._specs.values(), self._settings)
        return SessionLog(self._access, self._write, guard_log, self._traces)

    # For the manager

    async def settle(self) -> None:
        """Write what was done with the guard and is not in the log yet."""
        await self._log.flush()

    def fold(self, conversation: Conversation) -> None:
        """Take in what the manager has written since, if the guard is in use. No I/O."""
        self._log.fold(conversation)

    def used(self, call: UsedCall) -> AbstractAsyncContextManager[None]:
        """Remember a call that ran outside the guard, once the block has recorded it."""
        return self._log.remembering(call)
