"""One tool call of a graph, through the conversation's guard."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from guards import Action, CallInProgressError, InvalidArgumentsError, Outcome, UnknownCallError, Verdict
from guards.reading import READ_VALUE

from ...errors import MissingExtra, StoreError
from ...messages import content_text
from ...tool_calls import SessionTools
from .conversation import Conversation

try:
    from langchain_core.messages import BaseMessage, ToolMessage
    from langgraph.errors import GraphBubbleUp, ParentCommand
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.types import Command, interrupt
except ImportError as error:
    raise MissingExtra("the LangGraph integration", "langchain") from error

__all__ = ["ARTIFACT", "Handler", "ToolAnswer", "is_stopped", "run_guarded"]

ARTIFACT: Final = "longsplice"
"""Key of a tool message's artifact, which no model is sent, under which the guard's verdict stands."""

ToolAnswer = ToolMessage | Command[Any]
Handler = Callable[[ToolCallRequest], Awaitable[ToolAnswer]]


async def run_guarded(
    conversation: Conversation, request: ToolCallRequest, handler: Handler, *, interrupts: bool
) -> ToolAnswer:
    """Let the guard decide on a call, run it if it may, and record its end.

    Args:
        conversation: Whose message lists the call.
        request: The call; references in its arguments are replaced.
        handler: Runs it.
        interrupts: Whether a call that needs a person interrupts the graph; else it is answered.

    Raises:
        GraphInterrupt: A person is asked; the graph goes on with `Command(resume=...)`.
        StoreError: The store failed; the tool did not run, or its end is written with the next call.
    """
    tools, call = conversation.sm.tools, request.tool_call
    if call["name"] == READ_VALUE and request.tool is not None and ARTIFACT in (request.tool.metadata or {}):
        read = await tools.read_value(call["args"], call_id=call["id"])
        status = "success" if read.ok else "error"
        return ToolMessage(read.content, tool_call_id=call["id"] or "", name=READ_VALUE, status=status)
    try:
        verdict = await _verdict(tools, request)
    except InvalidArgumentsError as error:
        verdict = tools.guard.unreadable(call["name"], error, call["id"])
        await tools.open()
    if verdict.action is Action.CONFIRM and interrupts:
        verdict = await _asked(tools, verdict)
    if not verdict.should_run:
        return _answer(request, verdict, tools.guard.content_of(verdict))
    if verdict.arguments != call["args"]:
        request = request.override(tool_call={**call, "args": verdict.arguments})
    return await _ran(conversation, request, handler, verdict)


async def _verdict(tools: SessionTools, request: ToolCallRequest) -> Verdict:
    call = request.tool_call
    try:
        return await tools.before_call(call["name"], call["args"], call["id"])
    except CallInProgressError:
        # LangGraph runs a node again, in this process too, whose first run it has given up.
        await _taken_back(tools, call["id"] or "")
        return await tools.before_call(call["name"], call["args"], call["id"])


async def _asked(tools: SessionTools, verdict: Verdict) -> Verdict:
    """Interrupt the graph for a person's word on a call; with it, the verdict to go on with."""
    decision: object = interrupt(
        {
            "type": "tool_confirmation",
            "call_id": verdict.call_id,
            "name": verdict.name,
            "arguments": verdict.arguments,
            "reason_code": verdict.reason_code,
            "message": verdict.message,
        }
    )
    given = cast("dict[str, Any]", decision) if isinstance(decision, dict) else {"type": decision}
    if given.get("type") in (True, "approve"):
        return await tools.approve(verdict.call_id, verdict.arguments)
    return await tools.reject(verdict.call_id, str(given.get("message") or given.get("reason") or ""))


async def _ran(
    conversation: Conversation, request: ToolCallRequest, handler: Handler, verdict: Verdict
) -> ToolAnswer:
    tools, call_id = conversation.sm.tools, verdict.call_id
    try:
        answer = await handler(request)
    except ParentCommand as command:  # A hand-off to another agent: the call is done.
        await _ended(tools, verdict, _text_of(call_id, cast("object", command.args)))
        raise
    except GraphBubbleUp:  # It waits for a person, and is run again from its start.
        await _taken_back(tools, call_id)
        raise
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.ensure_future(_ended(tools, verdict, None, Outcome.CANCELLED)))
        raise
    except Exception as error:
        await _ended(tools, verdict, error)
        raise
    if not isinstance(answer, ToolMessage):
        await _ended(tools, verdict, _text_of(call_id, answer))
        return answer
    if answer.status == "error":
        await _ended(tools, verdict, answer.text, Outcome.ERROR)
        return _warned(answer, verdict.message)
    if _is_media(answer.content):
        # The log keeps parts as parts; the guard learns of them from there.
        await conversation.record_result(answer)
        await _ended(tools, verdict, content_text(answer.content))
        return _warned(answer, verdict.message)
    text = answer.text
    content = await _ended(tools, verdict, text)
    return answer if content == text else answer.model_copy(update={"content": content})


async def _ended(
    tools: SessionTools, verdict: Verdict, result: str | Exception | None, outcome: Outcome | None = None
) -> str:
    """Record the end of a call; what the model reads of a good one."""
    failed = isinstance(result, Exception) or outcome is Outcome.ERROR
    binding = None
    with suppress(UnknownCallError):  # Closed already: by its deadline, or by its result in the log.
        if failed:
            await tools.after_call(verdict.call_id, error=result, outcome=outcome)
        else:
            binding = await tools.after_call(verdict.call_id, result=result, outcome=outcome)
    return "" if failed else tools.guard.content_of(verdict, result, binding=binding)


async def _taken_back(tools: SessionTools, call_id: str) -> None:
    """A call that was let through did not run to its end, and is no harm: it is made again under its id."""
    with suppress(UnknownCallError):
        tools.guard.after_call(call_id, outcome=Outcome.REFUSED)
    with suppress(StoreError):  # Then it goes with the next write.
        await tools.open()


def is_stopped(messages: Sequence[BaseMessage]) -> bool:
    """Whether the guard has said of one of the newest calls that the run ought to end."""
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            return False
        artifact: object = message.artifact
        told = cast("dict[str, Any]", artifact).get(ARTIFACT) if isinstance(artifact, dict) else None
        if isinstance(told, dict) and cast("dict[str, Any]", told).get("should_stop"):
            return True
    return False


def _answer(request: ToolCallRequest, verdict: Verdict, content: str) -> ToolMessage:
    """What stands for the result of a call that was not run."""
    return ToolMessage(
        content,
        tool_call_id=request.tool_call["id"] or "",
        name=request.tool_call["name"],
        status="success" if verdict.action is Action.REPLAY else "error",
        artifact={ARTIFACT: verdict.to_dict()},
    )


def _warned(answer: ToolMessage, message: str) -> ToolMessage:
    """The answer with a message of the guard before it."""
    if not message:
        return answer
    content = answer.content
    if isinstance(content, str):
        return answer.model_copy(update={"content": f"{message}\n\n{content}"})
    return answer.model_copy(update={"content": [{"type": "text", "text": message}, *content]})


def _is_media(content: str | list[str | dict[Any, Any]]) -> bool:
    blocks = [] if isinstance(content, str) else content
    return any(isinstance(block, dict) and block.get("type") != "text" for block in blocks)


def _text_of(call_id: str, answer: object) -> str:
    """The text of the call's own message in what a tool has returned: a command, or a list of such."""
    if isinstance(answer, ToolMessage):
        return answer.text if answer.tool_call_id == call_id else ""
    if isinstance(answer, Command):
        update: object = cast("Command[Any]", answer).update
        found = cast("dict[str, object]", update).get("messages") if isinstance(update, dict) else None
        return _text_of(call_id, found)
    if isinstance(answer, list | tuple):
        return next(
            (text for one in cast("Iterable[object]", answer) if (text := _text_of(call_id, one))), ""
        )
    return ""
