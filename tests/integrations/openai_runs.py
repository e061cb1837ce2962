"""A model by script for real runs of the OpenAI Agents SDK, and cold second workers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from agents import Model, ModelResponse, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage

from summarizer.integrations.openai_agents import LongspliceSession
from summarizer.stores import open_store

Said = Sequence[ResponseOutputItem]
Step = Said | BaseException | Callable[[], Said]


def said(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id="__fake_id__", type="message", role="assistant", status="completed", content=[part]
    )


def call(call_id: str, name: str, /, **arguments: Any) -> ResponseFunctionToolCall:
    text = json.dumps(arguments)
    return ResponseFunctionToolCall(
        type="function_call", id="__fake_id__", call_id=call_id, name=name, arguments=text
    )


def reasoning(name: str) -> ResponseReasoningItem:
    return ResponseReasoningItem(type="reasoning", id=f"rs_{name}", summary=[], encrypted_content="E" * 64)


class FakeModel(Model):
    """Answers by script, and keeps what it was sent."""

    def __init__(self, script: Sequence[Step], usage: Usage | None = None) -> None:
        self.script = list(script)
        self.usage = usage or Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)
        self.seen: list[list[dict[str, Any]]] = []
        self.instructions: list[str | None] = []
        self.model = "gpt-4o-mini"

    def _next(self, asked: dict[str, Any]) -> Said:
        given = asked["input"]
        self.seen.append([{"role": "user", "content": given}] if isinstance(given, str) else list(given))
        self.instructions.append(asked["system_instructions"])
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    async def get_response(self, *_: Any, **asked: Any) -> ModelResponse:
        return ModelResponse(output=list(self._next(asked)), usage=self.usage, response_id=None)

    async def stream_response(self, *given: Any, **asked: Any) -> AsyncIterator[TResponseStreamEvent]:
        names = ("system_instructions", "input")
        output = list(self._next(dict(zip(names, given, strict=False)) | asked))
        used = ResponseUsage(
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            total_tokens=self.usage.total_tokens,
            input_tokens_details=InputTokensDetails.model_construct(cached_tokens=0),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        )
        response = Response.model_construct(
            id="r",
            created_at=0,
            model=self.model,
            object="response",
            output=output,
            tool_choice="none",
            tools=[],
            parallel_tool_calls=False,
            usage=used,
        )
        yield ResponseCompletedEvent.model_construct(
            type="response.completed", response=response, sequence_number=0
        )


def cold(path: Path, session_id: str = "chat", **settings: Any) -> LongspliceSession:
    """A worker that knows nothing yet: a store of its own on the same file."""
    return LongspliceSession(session_id, store=open_store(f"sqlite:///{path}/log.db"), **settings)
