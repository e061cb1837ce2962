"""The capability: history and guard of one session, in the hooks of an agent's run."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    WrapRunHandler,
    WrapToolExecuteHandler,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import RunContext, Tool, ToolDefinition
from pydantic_ai.toolsets import AgentToolset, FunctionToolset

from guards import READ_VALUE_SCHEMA
from guards.reading import READ_VALUE

from ...context.policies import Policies
from ...errors import StoreError
from ...session import SessionManager
from ...telemetry import log
from .guarding import resolved, run_guarded
from .history import RunHistory

__all__ = ["LongspliceCapability", "history_processor"]

SessionOf: TypeAlias = Callable[[RunContext[Any]], "SessionManager | Awaitable[SessionManager]"]
"""Gives the session of a run: by its `deps`, its `conversation_id`."""

_MOST_RUNS: Final = 256
"""Runs of which a history processor remembers what it has recorded."""


class LongspliceCapability(AbstractCapability[Any]):
    """Records an agent's runs in a session, sends what fits, and guards the tools.

    Each user prompt is durable before the model is asked, each answer with its usage before its tools run,
    each result when its tool is done. `agent.run(prompt)` goes on where the session stands, in any process.
    With `message_history` the history is the caller's: the log follows it, and forks where it was rewritten.
    The history itself is not changed, so `result.all_messages()` is whole.

    Kept: all parts of requests and responses, in Pydantic AI's own form where the session owns the history.
    Not kept: what other capabilities put into single requests, and realtime sessions.

    Args:
        session: The session, or a function of the run's context that gives it.
        max_tokens: Most tokens of a request; see `SessionManager.context`.
        policies: See `SessionManager.context`.
        guard: Whether tool calls go through `session.tools`.
        read_values: Whether the agent gets the tool `read_value`, by which the model reads on where a large
            result was shown as a preview. It goes with the guard.
        approvals: Whether a call that has to be confirmed by a person is deferred, as a tool with
            `requires_approval` is; the agent's output type must have `DeferredToolRequests`. Otherwise the
            model is told that it waits, and `session.tools.approve` lets it run.

    Raises:
        StoreError: The store failed; the run ends.

    Example:
        ```python
        def session_of(ctx):
            return SessionManager(ctx.deps.chat_id, owner=ctx.deps.user, token_threshold=8000)


        agent = Agent("anthropic:claude-sonnet-5", capabilities=[LongspliceCapability(session_of)])
        ```
    """

    def __init__(
        self,
        session: SessionManager | SessionOf,
        *,
        max_tokens: int | None = None,
        policies: Policies | None = None,
        guard: bool = True,
        read_values: bool = True,
        approvals: bool = False,
    ) -> None:
        self._session = session
        self._max_tokens = max_tokens
        self._policies = policies
        self._guard = guard
        self._read_values = guard and read_values
        self._approvals = approvals
        self._history: RunHistory | None = None
        self._messages: Sequence[ModelMessage] = ()

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """None: a session cannot be written into a spec."""
        return None

    def get_ordering(self) -> CapabilityOrdering:
        """Outermost: it sees answers as they go into the history, and others add to what it shows."""
        return CapabilityOrdering(position="outermost")

    def get_toolset(self) -> AgentToolset[Any] | None:
        """The tool that pages through large results; the guard answers its calls."""
        if not self._read_values:
            return None
        function = READ_VALUE_SCHEMA["function"]
        schema = {key: value for key, value in function["parameters"].items() if not key.startswith("x-")}
        tool = Tool[Any].from_schema(_unguarded, function["name"], function["description"], schema)
        return FunctionToolset[Any]([tool], id="longsplice")

    async def for_run(self, ctx: RunContext[Any]) -> LongspliceCapability:
        """An instance of its own for each run, so that runs may go side by side."""
        made = copy.copy(self)
        sm = await _session_of(self._session, ctx)
        made._history = RunHistory(sm, max_tokens=self._max_tokens, policies=self._policies)  # noqa: SLF001
        made._messages = ()  # noqa: SLF001
        return made

    @property
    def sm(self) -> SessionManager:
        """The manager of the conversation that holds the run: the given one, or a fork's.

        Raises:
            RuntimeError: There is no run; hooks get the run's own instance.
        """
        return self._run.sm

    @property
    def _run(self) -> RunHistory:
        if self._history is None:
            raise RuntimeError("no run is under way; use the session that you gave to the capability")
        return self._history

    async def wrap_run(self, ctx: RunContext[Any], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Record what a run leaves behind, also one that fails or is cancelled."""
        try:
            result = await handler()
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self._record_rest(ctx.run_id)))
            raise
        await self._run.sync(result.all_messages(), ctx.run_id)
        return result

    async def _record_rest(self, run_id: str | None) -> None:
        if not self._messages:
            return
        try:
            await self._run.sync(self._messages, run_id)
        except StoreError as error:
            # What ended the run goes before what was lost of its end.
            log.warning("run.rest_not_recorded", session_id=self.sm.session_id, error=type(error).__name__)

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Record what is new, and send what fits in place of the whole history."""
        self._messages = ctx.messages
        await self._run.sync(ctx.messages, ctx.run_id)
        told = request_context.model_request_parameters.instruction_parts or ()
        request_context.messages = await self._run.view(ctx.messages, told)
        return request_context

    async def after_model_request(
        self,
        ctx: RunContext[Any],
        *,
        request_context: ModelRequestContext,  # noqa: ARG002
        response: ModelResponse,
    ) -> ModelResponse:
        """Record the answer, so that its calls are numbered in their order."""
        await self._run.record(response, ctx.run_id)
        return response

    async def before_tool_validate(
        self,
        ctx: RunContext[Any],  # noqa: ARG002
        *,
        call: ToolCallPart[Any],
        tool_def: ToolDefinition,  # noqa: ARG002
        args: str | dict[str, Any],
    ) -> str | dict[str, Any]:
        """Put the values in for `$vN`, before arguments are validated."""
        if not self._guard or self._reads(call):
            return args
        return await resolved(self.sm.tools, args)

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart[Any],
        tool_def: ToolDefinition,  # noqa: ARG002
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Let the guard decide, run the tool, record its result."""
        if not self._guard:
            return await handler(args)
        if self._reads(call):
            read = await self.sm.tools.read_value(call.args_as_dict(), call_id=call.tool_call_id)
            return read.content
        return await run_guarded(
            self.sm.tools, call, args, handler, approved=ctx.tool_call_approved, ask=self._approvals
        )

    def _reads(self, call: ToolCallPart[Any]) -> bool:
        return self._read_values and call.tool_name == READ_VALUE


def _unguarded(**_: Any) -> str:
    raise RuntimeError("read_value is answered by LongspliceCapability; put the capability into the agent")


def history_processor(
    session: SessionManager | SessionOf,
    *,
    max_tokens: int | None = None,
    policies: Policies | None = None,
) -> Callable[[RunContext[Any], list[ModelMessage]], Awaitable[list[ModelMessage]]]:
    """A history processor that records a run and keeps its history small; for `ProcessHistory`.

    Pydantic AI makes what a processor returns the run's history. So the session owns the conversation, and
    `result.all_messages()` is what the model was shown. A `message_history` is recorded where the session is
    still empty, and passed over later. The newest answer is recorded with the next request that holds it:
    hand `result.all_messages()` to the next run, or the last answer of each run is not in the log.

    Args:
        session: The session, or a function of the run's context that gives it.
        max_tokens: Most tokens of a request; see `SessionManager.context`.
        policies: See `SessionManager.context`.

    Example:
        ```python
        agent = Agent(model, capabilities=[ProcessHistory(history_processor(sm))])
        result = await agent.run(text, message_history=result.all_messages())
        ```
    """
    runs: OrderedDict[str | None, RunHistory] = OrderedDict()

    async def process(ctx: RunContext[Any], messages: list[ModelMessage]) -> list[ModelMessage]:
        run = runs.get(ctx.run_id)
        if run is None:
            sm = await _session_of(session, ctx)
            run = runs[ctx.run_id] = RunHistory(sm, max_tokens=max_tokens, policies=policies, owns=True)
            if len(runs) > _MOST_RUNS:
                runs.popitem(last=False)
        await run.sync(messages, ctx.run_id)
        return await run.view(messages)

    return process


async def _session_of(session: SessionManager | SessionOf, ctx: RunContext[Any]) -> SessionManager:
    if isinstance(session, SessionManager):
        return session
    found = session(ctx)
    return await found if inspect.isawaitable(found) else found
