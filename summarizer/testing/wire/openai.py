"""OpenAI Chat Completions, from the server's side.

Source: the API as the `openai` package 2.54 types it (November 2026). Errors are no part of its
types: their kinds, codes and `too_long` have the form that clients report, and that litellm 1.106 maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from re import Match
from typing import Any, Final

from ...meter.usage import Usage
from ..replies import Prompt, Reply
from . import InvalidRequest, event, known, objects, pieces, plain_text, section, total

__all__ = ["OpenAIWire"]

_FINISH: Final = {"refusal": "stop"}
_ERROR_TYPES: Final = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class OpenAIWire:
    """Reads and writes Chat Completions."""

    name = "openai"
    paths = re.compile(r"(?:/v1)?/chat/completions")
    too_long = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
        "Please reduce the length of the messages."
    )

    def read(self, path: Match[str], body: Mapping[str, Any], number: int) -> Prompt:  # noqa: ARG002
        """What is asked; see `Wire`."""
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise InvalidRequest("model: expected a non-empty string")
        section(body, "stream_options")  # Read when the events are written, refused here.
        messages = tuple(
            {"role": message.get("role"), "content": plain_text(message.get("content"))}
            for message in objects(body, "messages")
        )
        return Prompt(
            protocol=self.name,
            model=model,
            number=number,
            messages=messages,
            response_schema=section(section(body, "response_format"), "json_schema").get("schema"),
            max_output_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            forced_tool=_forced_tool(body),
            stream=bool(body.get("stream")),
            body=body,
        )

    def body(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """The answer as one JSON object."""
        refused = reply.ending == "refusal"
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if refused or (reply.tool_calls and not reply.text) else reply.text,
            "refusal": reply.text if refused else None,
        }
        if reply.tool_calls:
            message["tool_calls"] = [call.to_wire() for call in reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
        answer = {**_head(prompt, reply, "chat.completion"), "choices": [choice]}
        if isinstance(reply.usage, Usage):
            answer["usage"] = _usage(reply.usage)
        return answer

    def events(self, prompt: Prompt, reply: Reply) -> Iterator[bytes]:
        """The answer as chunks; usage comes last, if `stream_options.include_usage` asks for it."""
        head = _head(prompt, reply, "chat.completion.chunk")
        wanted = bool(section(prompt.body, "stream_options").get("include_usage"))
        unknown: dict[str, Any] = {"usage": None} if wanted else {}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return event({**head, "choices": [choice], **unknown})

        yield chunk({"role": "assistant", "content": ""})
        field = "refusal" if reply.ending == "refusal" else "content"
        for piece in pieces(reply.text):
            yield chunk({field: piece})
        for index, call in enumerate(reply.tool_calls):
            wire = call.to_wire()
            yield chunk(
                {"tool_calls": [{"index": index, **wire, "function": {"name": call.name, "arguments": ""}}]}
            )
            for piece in pieces(call.arguments_json):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, _finish(reply))
        if isinstance(reply.usage, Usage) and wanted:
            yield event({**head, "choices": [], "usage": _usage(reply.usage)})
        yield event("[DONE]")

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error as a JSON object."""
        kind, code = _ERROR_TYPES.get(status, ("server_error", None))
        if message == self.too_long:
            code = "context_length_exceeded"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(prompt: Prompt, reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{prompt.number}", "object": kind, "created": 0, "model": reply.model}


def _forced_tool(body: Mapping[str, Any]) -> str | None:
    if isinstance(body.get("tool_choice"), str):
        return None
    return section(section(body, "tool_choice"), "function").get("name")


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.ending, reply.ending)


def _usage(usage: Usage) -> dict[str, Any]:
    whole = total(usage)
    counts: dict[str, Any] = known(
        prompt_tokens=usage.input_tokens, completion_tokens=usage.output_tokens, total_tokens=whole
    )
    if usage.cache_read_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts
