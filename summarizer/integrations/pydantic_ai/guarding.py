"""One tool call of a run under the session's guard."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from pydantic_ai.capabilities import WrapToolExecuteHandler
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, SkipToolValidation
from pydantic_ai.messages import ToolCallPart, ToolReturn, ToolReturnPart
from pydantic_core import to_jsonable_python

from guards import Action, GuardError, InvalidArgumentsError, Outcome, UnknownCallError, Verdict
from guards.running import turn_of

from ...messages import dump_json, result_text
from ...tool_calls import SessionTools
from ...tool_calls.answers import content_of, error_said

__all__ = ["resolved", "run_guarded"]


async def resolved(tools: SessionTools, args: str | dict[str, Any]) -> str | dict[str, Any]:
    """The model's arguments with each `$vN` replaced, so that they can be validated.

    Raises:
        SkipToolValidation: A reference names nothing; the guard will tell the model so.
    """
    if "$v" not in (args if isinstance(args, str) else dump_json(args)):
        return args
    guard = await tools.open()
    try:
        return guard.resolve(args).arguments
    except InvalidArgumentsError:
        return args  # No JSON: Pydantic AI asks for it again.
    except GuardError:
        if guard.shadow:
            return args
        raise SkipToolValidation({}) from None


async def run_guarded(
    tools: SessionTools,
    call: ToolCallPart[Any],
    args: dict[str, Any],
    handler: WrapToolExecuteHandler,
    *,
    approved: bool = False,
    ask: bool = False,
) -> Any:
    """Check, run and record one call; what the runtime takes for the tool's result.

    Args:
        tools: The session's guard.
        call: The call as the model made it.
        args: Its arguments, resolved and validated.
        handler: Runs the tool.
        approved: A person has approved it.
        ask: Whether a call that waits for a person is deferred; else the model is told that it waits.
    """
    async with turn_of(tools.guard, call.tool_name, call.args_as_dict()):
        verdict = await _verdict(tools, call, approved=approved)
        if not verdict.should_run:
            if ask and verdict.action is Action.CONFIRM:
                raise ApprovalRequired(metadata={"message": verdict.message})
            return tools.guard.content_of(verdict)
        return await _run(tools, verdict, args, handler)


async def _verdict(tools: SessionTools, call: ToolCallPart[Any], *, approved: bool) -> Verdict:
    if approved:
        with suppress(UnknownCallError):  # The tool itself had asked, not the guard.
            return await tools.approve(call.tool_call_id)
    return await tools.before_call(call.tool_name, call.args_as_dict(), call.tool_call_id)


async def _run(
    tools: SessionTools, verdict: Verdict, args: dict[str, Any], handler: WrapToolExecuteHandler
) -> Any:
    call_id = verdict.call_id
    try:
        result = await handler(args)
    except (CallDeferred, ApprovalRequired):
        with suppress(UnknownCallError):  # It did not run: it is made again, under the same id.
            tools.guard.after_call(call_id, outcome=Outcome.REFUSED)
        raise
    except Exception as error:
        await _ended(tools, call_id, error=error)
        raise
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(_ended(tools, call_id, outcome=Outcome.CANCELLED)))
        raise
    # What a tool returns has no type; `ToolReturn` is Pydantic AI's wrapper around it.
    returned: Any = result
    wrapper = cast("ToolReturn[Any]", returned) if isinstance(returned, ToolReturn) else None
    part = ToolReturnPart[Any](
        verdict.name, cast("Any", returned) if wrapper is None else wrapper.return_value
    )
    told = to_jsonable_python(part.content, by_alias=True, fallback=repr)
    if part.files:
        told = part.model_response_str()
    binding = await _ended(tools, call_id, result=told)
    content = content_of(tools.guard, verdict, told, error_said(None, None), binding)
    if content == result_text(told):
        return cast("Any", returned)
    shown: Any = [content, *part.files] if part.files else content
    return shown if wrapper is None else replace(wrapper, return_value=shown)


async def _ended(tools: SessionTools, call_id: str, **end: Any) -> Any:
    with suppress(UnknownCallError):  # The deadline closed it while it ran.
        return await tools.after_call(call_id, **end)
