"""Tools of the OpenAI Agents SDK behind a guard. Needs the SDK."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, cast

from guards import Action, CallResult, ToolGuard, ToolSpec, Verdict

from ...errors import InvalidSetting, MissingExtra
from ...session import SessionManager
from ...tool_calls import SessionTools
from .session import LongspliceSession

try:
    from agents import FunctionTool, Tool
    from agents.agent import ToolsToFinalOutputFunction, ToolsToFinalOutputResult
    from agents.tool import (
        FunctionToolResult,
        ToolOriginType,
        ToolOutputFileContent,
        ToolOutputImage,
        ToolOutputText,
        default_tool_error_function,
        get_function_tool_origin,
        resolve_function_tool_failure_error_function,
        set_function_tool_failure_error_function,
    )
    from agents.tool_context import ToolContext
except ImportError as error:
    raise MissingExtra("guarded tools of the OpenAI Agents SDK", "openai-agents") from error

__all__ = ["LoopStopped", "guard_tools", "stop_on_loop"]

_STRUCTURED: Final = (ToolOutputText, ToolOutputImage, ToolOutputFileContent)
_STRUCTURED_TYPES: Final = ("text", "image", "file")


class ToolFailure(Exception):
    """What a tool's own failure function says of an error."""


class LoopStopped(str):
    """What a tool answers when the guard wants the run to end; for the model it is text like any other."""

    __slots__ = ()


def guard_tools(
    tools: Iterable[Tool],
    guard: LongspliceSession | SessionManager | ToolGuard,
    *,
    read_only: Collection[str] = (),
    destructive: Collection[str] = (),
    specs: Iterable[ToolSpec] = (),
    approve_destructive: bool = False,
) -> list[Tool]:
    """Tools whose calls go through a guard: loops stop, duplicates are replayed, `$vN` is resolved.

    Function tools are copied; hosted and other tools, and agents that are tools, are given back as they are.
    Approval goes on as the SDK has it; a call that the guard itself wants confirmed runs if the SDK's
    `RunState.approve` has approved it.

    Args:
        tools: An agent's tools.
        guard: A session, whose log then holds the guard's state, for every worker; a manager; a bare guard.
        read_only: Names of tools that change nothing: equal calls are answered from memory.
        destructive: Names of tools that may destroy.
        specs: All that can be said of tools; these go before the names above.
        approve_destructive: Whether destructive tools need the SDK's approval, each call.

    Raises:
        InvalidSetting: A name that no tool has, or a session's guard that is in use with other specs.
        MissingExtra: The SDK is not installed.
    """
    given = list(tools)
    ours = [tool for tool in given if isinstance(tool, FunctionTool) and not _is_agent(tool)]
    known = _specs(ours, read_only, destructive, specs)
    runner = _runner(guard, known.values())
    asks = {name for name, spec in known.items() if spec.destructive} if approve_destructive else set[str]()
    guarded = {id(tool): _guarded(tool, runner, asks=tool.name in asks) for tool in ours}
    return [guarded.get(id(tool), tool) for tool in given]


def stop_on_loop(otherwise: ToolsToFinalOutputFunction[Any] | None = None) -> ToolsToFinalOutputFunction[Any]:
    """An agent's `tool_use_behavior` that ends the run when the guard stops a loop.

    The run's final output is then the guard's message, and all that happened is in the session.

    Args:
        otherwise: Decides where no loop was stopped; `None`: the model is asked again.
    """

    def decide(context: Any, results: list[FunctionToolResult]) -> Any:
        for result in results:
            if isinstance(result.output, LoopStopped):
                return ToolsToFinalOutputResult(is_final_output=True, final_output=str(result.output))
        if otherwise is not None:
            return otherwise(context, results)
        return ToolsToFinalOutputResult(is_final_output=False)

    return decide


def _is_agent(tool: FunctionTool) -> bool:
    """Whether the tool is an agent: a pause inside it is no end of the call, as a guard must take it."""
    origin = get_function_tool_origin(tool)
    return origin is not None and origin.type is ToolOriginType.AGENT_AS_TOOL


def _specs(
    tools: Sequence[FunctionTool],
    read_only: Collection[str],
    destructive: Collection[str],
    specs: Iterable[ToolSpec],
) -> dict[str, ToolSpec]:
    schemas = {tool.name: tool.params_json_schema for tool in tools}
    stated = {spec.name: spec for spec in specs}
    for name in (*read_only, *destructive, *stated):
        if name not in schemas:
            raise InvalidSetting(
                f"no function tool {name!r}; there are {', '.join(sorted(schemas)) or 'none'}"
            )
    found: dict[str, ToolSpec] = {}
    for name, schema in schemas.items():
        reads, destroys = name in read_only or None, name in destructive or None
        plain = ToolSpec(name, read_only=reads, destructive=destroys, parameters=schema)
        found[name] = stated.get(name, plain)
    return found


class _Runner:
    """One face for a session's guard and a bare one."""

    def __init__(self, tools: SessionTools | ToolGuard, session: LongspliceSession | None) -> None:
        self._tools = tools
        self._session = session

    async def run(self, tool: Callable[..., Any], context: ToolContext[Any], arguments: str) -> CallResult:
        if self._session is not None and context.tool_call is not None:
            await self._session.announce(context.tool_call)
        name, call_id = context.tool_name, context.tool_call_id
        done = await self._tools.run(tool, name, arguments, call_id=call_id)
        if done.verdict.action is Action.CONFIRM and context.is_tool_approved(name, call_id):
            verdict = await self._approve(call_id)
            done = await self._tools.finish(tool, verdict)
        return done

    async def _approve(self, call_id: str) -> Verdict:
        if isinstance(self._tools, SessionTools):
            return await self._tools.approve(call_id)
        return self._tools.approve(call_id)


def _runner(guard: LongspliceSession | SessionManager | ToolGuard, specs: Iterable[ToolSpec]) -> _Runner:
    if isinstance(guard, ToolGuard):
        for spec in specs:
            guard.add_tool(spec)
        return _Runner(guard, None)
    session = guard if isinstance(guard, LongspliceSession) else None
    tools = guard.manager.tools if isinstance(guard, LongspliceSession) else guard.tools
    new = [spec for spec in specs if tools.guard.spec_of(spec.name) != spec]
    if new:
        tools.configure(new)
    return _Runner(tools, session)


def _guarded(tool: FunctionTool, runner: _Runner, *, asks: bool) -> FunctionTool:
    inner, failed = _heard(tool)
    as_it_is = tool.output_json_schema is not None

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        async def call(**given: Any) -> Any:
            token = failed.set(None)
            try:
                result = await inner.on_invoke_tool(context, json.dumps(given, ensure_ascii=False))
                if (raised := failed.get()) is not None:
                    raise raised
                return result
            finally:
                failed.reset(token)

        done = await runner.run(call, context, arguments)
        if done.error is not None and resolve_function_tool_failure_error_function(tool, context) is None:
            raise done.error
        if done.verdict.should_stop:
            return LoopStopped(done.content)
        untouched = done.ok and (as_it_is or _is_structured(done.result))
        return done.result if untouched else done.content

    approval = True if asks and tool.needs_approval is False else tool.needs_approval
    return replace(tool, on_invoke_tool=invoke, needs_approval=approval)


def _heard(tool: FunctionTool) -> tuple[FunctionTool, ContextVar[Exception | None]]:
    """A copy of the tool whose errors can be heard: the SDK makes texts of them, like any result.

    The tool's own failure function still says what the error was, if it is not the SDK's.
    """
    failed: ContextVar[Exception | None] = ContextVar("failed", default=None)
    inner = replace(tool)

    says = resolve_function_tool_failure_error_function(inner)

    async def hear(context: Any, error: Exception) -> str:
        if says is not default_tool_error_function and says is not None:
            text: Any = says(context, error)
            error = ToolFailure(await text if inspect.isawaitable(text) else text)
        failed.set(error)
        return ""

    if says is not None:
        set_function_tool_failure_error_function(inner, hear)
    return inner, failed


def _is_structured(value: object) -> bool:
    """Whether the SDK knows the value as output of its own shape: text parts, images, files."""
    if isinstance(value, list):
        parts = cast("list[object]", value)
        return bool(parts) and all(_is_structured(part) for part in parts)
    return isinstance(value, _STRUCTURED) or _is_part(value)


def _is_part(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    part = cast("Mapping[str, Any]", value)
    return part.get("type") in _STRUCTURED_TYPES and bool(
        part.keys() & {"text", "image_url", "file_id", "file_data", "file_url"}
    )
