"""Running a tool behind the guard: retries, time limit, cancellation. The only place where `guards` awaits.

A refused call and a failed tool are values here (`CallResult`), because an agent's loop hands both to the
model; a cancelled one is closed in the guard and goes on as the cancellation that it is.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from guards.calls import CallRecord, Outcome, fingerprint, parse_arguments, plain
from guards.endings import outcome_of
from guards.errors import GuardLimitError, InvalidArgumentsError, UnknownCallError, UnresolvedReferenceError
from guards.tools import ToolSpec
from guards.verdicts import Verdict

if TYPE_CHECKING:
    from guards.bindings import Binding
    from guards.guard import ToolGuard

__all__ = ["CallResult", "Memory", "execute", "finish", "guarded", "run", "turn_of"]

_LOG: Final = logging.getLogger("guards.running")
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_TRANSIENT: Final = (ConnectionError, TimeoutError)
"""Errors of the way, not of the call. A tool's own transient errors should derive from one of them."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """How a guarded call went.

    Attributes:
        verdict: What the guard said before it.
        result: What the tool returned, untouched; for a replay the JSON form of the earlier result; else
            `None`.
        content: For the model: the result as text (a preview where it is large), the error, or the
            guard's message.
        error: What the tool raised, or `None`.
        binding: The result's name, `None` if there is none: it failed, is an iterator, or came after the
            guard's deadline for the call.
    """

    verdict: Verdict
    content: str
    result: Any = None
    error: Exception | None = None
    binding: Binding | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a good result, run or replayed."""
        return self.error is None and not self.verdict.should_block


class Memory(Protocol):
    """What learns from finished calls; `procedural.ToolMemoryManager` is one."""

    async def remember(self, call: CallRecord, /) -> object:
        """Take a call that ran."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How the tool itself ended: its result or its error, and the kinds of the errors before that."""

    result: Any = None
    error: Exception | None = None
    outcome: Outcome = Outcome.OK
    attempt_errors: tuple[str, ...] = ()


async def run(
    guard: ToolGuard,
    tool: Callable[..., Any],
    name: str,
    arguments: Mapping[str, Any] | str | None,
    *,
    call_id: str | None,
    retries: int,
    timeout_s: float | None,
    idempotency_key: str | None,
) -> CallResult:
    """See `ToolGuard.run`."""
    _check(retries)
    try:
        arguments = parse_arguments(arguments)
    except InvalidArgumentsError as error:
        verdict = guard.unreadable(name, error, call_id)
        return CallResult(verdict, verdict.message)
    async with turn_of(guard, name, arguments):
        verdict = guard.before_call(name, arguments, call_id, idempotency_key=idempotency_key)
        return await finish(guard, tool, verdict, retries=retries, timeout_s=timeout_s)


async def finish(
    guard: ToolGuard,
    tool: Callable[..., Any],
    verdict: Verdict,
    *,
    retries: int = 0,
    timeout_s: float | None = None,
) -> CallResult:
    """Do what the verdict says: run the tool and report its end, or give the model its message."""
    _check(retries)
    if not verdict.should_run:
        return CallResult(verdict, guard.content_of(verdict), verdict.result)
    spec = guard.spec_of(verdict.name)
    try:
        ended = await execute(tool, verdict.arguments, spec, retries=retries, timeout_s=timeout_s)
    except BaseException:
        _report(guard, verdict.call_id, outcome=Outcome.CANCELLED)
        raise
    binding = _report(
        guard,
        verdict.call_id,
        result=ended.result,
        error=ended.error,
        outcome=ended.outcome,
        attempt_errors=ended.attempt_errors,
    )
    content = guard.content_of(verdict, ended.result, ended.error, binding)
    await _remember(guard, verdict.call_id)
    return CallResult(verdict, content, ended.result, ended.error, binding)


async def _remember(guard: ToolGuard, call_id: str) -> None:
    """Let the guard's memory learn from the call; a memory that fails costs the call nothing."""
    record = guard.last_finished
    if guard.memory is None or record is None or record.call_id != call_id:
        return
    try:
        await guard.memory.remember(record)
    except Exception:  # noqa: BLE001  The host's own memory.
        _LOG.exception("memory.failed", extra={"call_id": call_id, "tool_name": record.tool_name})


def _report(guard: ToolGuard, call_id: str, **ended: Any) -> Binding | None:
    try:
        return guard.after_call(call_id, **ended)
    except UnknownCallError:
        return None  # The deadline closed it while it ran.


def _check(retries: int) -> None:
    if retries < 0:
        raise ValueError(f"retries={retries!r}: use 0 or more")


async def execute(
    tool: Callable[..., Any],
    arguments: Mapping[str, Any],
    spec: ToolSpec,
    *,
    retries: int = 0,
    timeout_s: float | None = None,
) -> Ended:
    """Run a tool, sync or async, with the spec's time limit, again after a transient error if it may be.

    A synchronous tool runs in a thread. Past its time limit it is no longer waited for, but a thread
    cannot be stopped: it goes on to its end, unseen.

    Args:
        tool: The callable.
        arguments: Its keyword arguments.
        spec: What it is; only a tool that `may_retry` is started again.
        retries: Most further attempts, 0 or more.
        timeout_s: Seconds for each attempt; `None`: the spec's, else no limit.

    Raises:
        ValueError: `retries` below 0.
    """
    import asyncio  # Costs as much as all of `guards`, and is there when this runs.

    _check(retries)
    limit = timeout_s if timeout_s is not None else spec.timeout_s
    kinds: list[str] = []
    while True:
        try:
            async with asyncio.timeout(limit):
                result = await _call(tool, arguments)
        except Exception as error:  # noqa: BLE001  The host's own tool.
            transient = isinstance(error, _TRANSIENT)
            if not (transient and spec.may_retry and len(kinds) < retries):
                return Ended(None, error, outcome_of(error), tuple(kinds))
            kinds.append(type(error).__name__)
            await asyncio.sleep(_pause(len(kinds)))
        else:
            return Ended(result, attempt_errors=tuple(kinds))


def guarded(guard: ToolGuard, spec: ToolSpec, function: Callable[..., Any]) -> Callable[..., Any]:
    """See `ToolGuard.tool`."""
    signature = inspect.signature(function)

    def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = signature.bind_partial(*args, **kwargs)
        found: dict[str, Any] = {}
        for key, value in bound.arguments.items():
            kind = signature.parameters[key].kind
            if kind is inspect.Parameter.VAR_POSITIONAL or kind is inspect.Parameter.POSITIONAL_ONLY:
                raise InvalidArgumentsError(
                    f"argument {key!r} of tool {spec.name!r} has no name; make it a keyword"
                )
            found |= value if kind is inspect.Parameter.VAR_KEYWORD else {key: value}
        return found

    @functools.wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        given = named(args, kwargs)

        async def as_given(**resolved: Any) -> Any:
            return await function(**_unchanged(given, resolved))

        done = await guard.run(as_given, spec.name, given)
        if done.error is not None:
            raise done.error
        return done.result if done.ok else done.content

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        given = named(args, kwargs)
        verdict = guard.before_call(spec.name, given)
        if not verdict.should_run:
            return verdict.result if verdict.replayed else verdict.message
        try:
            result = function(**_unchanged(given, verdict.arguments))
        except BaseException as error:
            _report(guard, verdict.call_id, error=error)
            raise
        _report(guard, verdict.call_id, result=result)
        return result

    return asynchronous if _is_async(function) else synchronous


def _unchanged(given: Mapping[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """The arguments, those without a reference as the caller gave them: a `Path` stays a `Path`."""
    return {
        key: given[key] if key in given and plain(given[key]) == value else value
        for key, value in resolved.items()
    }


def _is_async(tool: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(tool) or inspect.iscoroutinefunction(type(tool).__call__)


async def _call(tool: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    import asyncio

    if _is_async(tool):
        return await tool(**arguments)
    result = await asyncio.to_thread(_threaded, tool, arguments)
    return await result if inspect.isawaitable(result) else result


def _threaded(tool: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return tool(**arguments)
    except StopIteration as error:
        # No future carries it: before Python 3.12 its awaiter waits for ever.
        raise RuntimeError("the tool raised StopIteration") from error


@asynccontextmanager
async def turn_of(
    guard: ToolGuard, name: str, arguments: Mapping[str, Any] | str | None
) -> AsyncGenerator[None]:
    """Hold the turn of a call that may be replayed: an equal one waits, and finds the first one's result."""
    if guard.shadow or not guard.spec_of(name).may_replay:
        yield
        return
    try:
        key = fingerprint(name, guard.resolve(arguments or {}).arguments)
    except (UnresolvedReferenceError, GuardLimitError):
        yield
        return
    async with guard.flights.join(key):
        yield


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: doubled each time, with full jitter."""
    import random

    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempt - 1))
    return random.uniform(0, longest)  # noqa: S311  Jitter, no secret.
