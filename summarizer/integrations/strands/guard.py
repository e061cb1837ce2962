"""The session's tool guard in a Strands agent: what its tools may do, and what they did."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from strands.hooks import (
    AfterToolsEvent,
    AgentInitializedEvent,
    BeforeInvocationEvent,
    HookProvider,
    HookRegistry,
)
from strands.middleware import ExecuteToolStage
from strands.types.events import ToolResultEvent

from guards import Action, CallResult, PermissionPolicy, ToolSpec, Verdict

from ...errors import InvalidSetting
from ...tool_calls import SessionTools
from .blocks import call_ids, mapping_of, result_text_of
from .flags import spec_of
from .session import LongspliceSessionManager
from .thread import start, wait

__all__ = ["LongspliceGuard"]

_APPROVALS: Final = frozenset({"approve", "approved", "allow", "yes", "y", "true"})
_INTERRUPT: Final = "longsplice:confirm"

Confirm = Callable[[Verdict], "bool | Awaitable[bool]"]
Policy = Callable[[Any, ToolSpec], Action | None]


class LongspliceGuard(HookProvider):
    """Guards an agent's tool calls: `Agent(session_manager=session, hooks=[LongspliceGuard(session)])`.

    It is the guard of the session's conversation (`SessionManager.tools`): it survives restarts, and is the
    same for every worker. References (`$v3`) in arguments are resolved; they are numbered by the order of the
    calls in the model's message, whichever tool ends first. An equal call of a tool that may be replayed is
    answered with the earlier result, as a success. A loop is refused; where the guard says that the run ought
    to end, the agent's turn ends after the round: `stop_reason` is `end_turn`, `result.state["longsplice"]`
    says `{"stopped": reason_code, "tool": name}`.

    A call that needs a person is asked for through `confirm`, else through Strands' interrupts: the agent
    stops with `stop_reason="interrupt"`, and goes on, in any process, with `{"interruptResponse":
    {"interruptId": ..., "response": "approve"}}`. Any other response refuses the call, and the model reads it
    as the reason.

    Calls that the host makes itself (`agent.tool.name(...)`) are not guarded, nor those that Strands runs in
    the background.

    Args:
        session: The agent's session manager; `None`: one in memory, for this agent's life, which also books
            usage and cost (`guard.session.run(lambda sm: sm.get_stats())`).
        tools: Specs that go before what `tool_flags` says.
        confirm: Asks a person, sync or async; gets the verdict with name and arguments.
        policy: `(call, spec) -> Action | None`: `allow`, `confirm`, `block`, or `None` for the rest of the
            policy; the same as `permissions=PermissionPolicy(hook=...)`.
        **settings: `limits`, `loop`, `grounding`, `permissions`, ... as `guards.ToolGuard` takes them.

    Raises:
        InvalidSetting: When the agent is made: its session manager is another one.
    """

    def __init__(
        self,
        session: LongspliceSessionManager | None = None,
        *,
        tools: Iterable[ToolSpec] = (),
        confirm: Confirm | None = None,
        policy: Policy | None = None,
        **settings: Any,
    ) -> None:
        self.session = session or LongspliceSessionManager("guarded", store="memory://")
        self._owns_session = session is None
        self._specs = {spec.name: spec for spec in tools}
        self._confirm = confirm
        if policy is not None:
            settings["permissions"] = replace(settings.get("permissions") or PermissionPolicy(), hook=policy)
        self._settings = settings
        self._stopped: dict[str, Verdict] = {}

    # Hooks

    def register_hooks(self, registry: HookRegistry, **_later: Any) -> None:
        """Attach to the agent."""
        if self._owns_session:
            self.session.register_hooks(registry)
        registry.add_callback(AgentInitializedEvent, self._attach)
        registry.add_callback(BeforeInvocationEvent, self._begin)
        registry.add_callback(AfterToolsEvent, self._end_round)

    def _attach(self, event: AgentInitializedEvent) -> None:
        agent: Any = event.agent
        if not self.session.serves(agent):
            raise InvalidSetting(
                f"the guard's session {self.session.session_id!r} is not that of agent {agent.agent_id!r}; "
                "pass it to the agent too: Agent(session_manager=session), or make the guard without one"
            )
        found = {tool.tool_name: spec_of(tool) for tool in agent.tool_registry.registry.values()}
        specs = {**found, **self._specs}
        self._tools(agent).configure(specs.values(), **self._settings)
        agent.add_middleware(ExecuteToolStage, self._execute)

    def _begin(self, event: BeforeInvocationEvent) -> None:
        self._stopped.pop(event.agent.agent_id, None)

    def _end_round(self, event: AfterToolsEvent) -> None:
        verdict = self._stopped.pop(event.agent.agent_id, None)
        if verdict is None:
            return
        event.end_turn = verdict.message
        told = event.invocation_state.setdefault("request_state", {})
        told["longsplice"] = {"stopped": verdict.reason_code, "tool": verdict.name}

    # A call

    async def _execute(self, context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        """Run one call behind the guard; the middleware of Strands' `ExecuteToolStage`."""
        use, agent = context.tool_use, context.agent
        if not agent.messages or use["toolUseId"] not in call_ids(agent.messages[-1]):
            async for event in next_fn(context):  # The host's own call: no message of the model lists it.
                yield event
            return
        tools = self._tools(agent)
        turn = _Turn()
        deciding = start(tools.run(turn.run, use["name"], _arguments(use), call_id=use["toolUseId"]))
        done: CallResult | None = None
        try:
            async for event in turn.through(deciding, context, next_fn):
                yield event
            if turn.is_void:
                return  # The tool ended without a result: Strands says so.
            done = await deciding
            if done.verdict.action is Action.CONFIRM:
                verdict = await self._ask(tools, done.verdict, context)
                turn = _Turn()
                deciding = start(tools.finish(turn.run, verdict))
                async for event in turn.through(deciding, context, next_fn):
                    yield event
                if turn.is_void:
                    return
                done = await deciding
        finally:
            deciding.cancel()  # Without effect on what has ended; else the guard closes the call.
        if done.verdict.should_stop:
            self._stopped[agent.agent_id] = done.verdict
        yield ToolResultEvent(turn.answer(done, use), exception=turn.exception)

    async def _ask(self, tools: SessionTools, verdict: Verdict, context: Any) -> Verdict:
        """What a person says; raises Strands' interrupt if nobody is there to be asked."""
        reason = ""
        if self._confirm is not None:
            said = self._confirm(verdict)
            approved = await said if inspect.isawaitable(said) else said
        else:
            asked = {"tool": verdict.name, "arguments": verdict.arguments, "reason_code": verdict.reason_code}
            response = context.interrupt(_INTERRUPT, reason=asked).response
            approved = _approves(response)
            reason = "" if approved or not isinstance(response, str) else response
        if approved:
            return await wait(tools.approve(verdict.call_id, verdict.arguments))
        return await wait(tools.reject(verdict.call_id, reason))

    def _tools(self, agent: Any) -> SessionTools:
        return self.session.manager_of(agent.agent_id).tools


class _Turn:
    """One run of a tool, asked for in the session's loop and done in the agent's."""

    def __init__(self) -> None:
        self._here = asyncio.get_running_loop()
        self._granted: asyncio.Future[dict[str, Any]] = self._here.create_future()
        self._ended: asyncio.Future[Mapping[str, Any]] | None = None
        self._result: Mapping[str, Any] | None = None
        self.exception: Exception | None = None

    @property
    def is_void(self) -> bool:
        """Whether the tool was let run, and gave no result."""
        return self._granted.done() and self._result is None

    async def run(self, /, **arguments: Any) -> Any:
        """The tool as the guard sees it; runs in the session's loop."""
        there = asyncio.get_running_loop()
        self._ended = there.create_future()
        self._here.call_soon_threadsafe(_resolve, self._granted, arguments)
        result = await self._ended
        if result.get("status") == "error":
            raise self.exception or ToolFailed(result_text_of(result))
        return _value_of(result)

    async def through(
        self, deciding: asyncio.Future[CallResult], context: Any, next_fn: Any
    ) -> AsyncGenerator[Any, None]:
        """Run the tool if the guard lets it run; its events, all but the result."""
        await asyncio.wait((deciding, self._granted), return_when=asyncio.FIRST_COMPLETED)
        if not self._granted.done():
            return
        use = {**context.tool_use, "input": self._granted.result()}
        async for event in next_fn(context.replace(tool_use=use)):
            if isinstance(event, ToolResultEvent):
                self._result, self.exception = event.tool_result, event.exception
            else:
                yield event
        ended, result = self._ended, self._result
        if ended is not None and result is not None:
            ended.get_loop().call_soon_threadsafe(_resolve, ended, result)

    def answer(self, done: CallResult, use: Mapping[str, Any]) -> Any:
        """The result as the model reads it: what the log says of it, and media beside it."""
        ok = done.verdict.replayed is not None or (done.verdict.should_run and done.error is None)
        content: list[Any] = [{"text": done.content}]
        if self._result is not None:
            given = list(self._result.get("content") or ())
            if done.content == result_text_of(self._result):
                content = given
            else:
                content += [block for block in given if not {"text", "json"} & block.keys()]
        return {"toolUseId": use["toolUseId"], "status": "success" if ok else "error", "content": content}


class ToolFailed(Exception):
    """A tool said that it failed, without an exception."""


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _arguments(use: Mapping[str, Any]) -> Any:
    given = use.get("input")
    return {} if given is None else given


def _approves(response: Any) -> bool:
    response = mapping_of(response).get("approved", response)
    return response is True or (isinstance(response, str) and response.strip().lower() in _APPROVALS)


def _value_of(result: Mapping[str, Any]) -> Any:
    """The value that `$vN` stands for: JSON where the tool gave JSON, else its text; of media their kinds."""
    content: list[Mapping[str, Any]] = list(result.get("content") or ())
    if len(content) == 1 and "json" in content[0]:
        return content[0]["json"]
    text = result_text_of(result)
    media = [kind for block in content for kind in block if kind not in ("text", "json")]
    if media and not text:
        return {"media": media}
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
