"""Anthropic Messages, from the server's side.

Source: the Messages API (version 2023-06-01) as the `anthropic` package 0.121 types it (August
2026), and "Errors" in the Claude docs for the types of 413 and 529 (read 2026-11). Its
`input_tokens` excludes what was read from and written to the cache; `thinking_tokens` are part of
`output_tokens`. What an overlong prompt is answered is no part of the reference: `too_long` has the
form that clients report, and that litellm 1.106 looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from re import Match
from typing import Any, Final

from ...meter.usage import Usage
from ..replies import Prompt, Reply
from . import InvalidRequest, event, known, objects, pieces, plain_text, section

__all__ = ["AnthropicWire"]

_STOP: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicWire:
    """Reads and writes Messages."""

    name = "anthropic"
    paths = re.compile(r"/v1/messages")
    too_long = "prompt is too long: 210000 tokens > 200000 maximum"

    def read(self, path: Match[str], body: Mapping[str, Any], number: int) -> Prompt:  # noqa: ARG002
        """What is asked; see `Wire`."""
        model, limit = body.get("model"), body.get("max_tokens")
        if not isinstance(model, str) or not model:
            raise InvalidRequest("model: expected a non-empty string")
        if not isinstance(limit, int):
            raise InvalidRequest("max_tokens: field required")
        system = plain_text(body.get("system"))
        messages = [
            {"role": message.get("role"), "content": plain_text(message.get("content"))}
            for message in objects(body, "messages")
        ]
        forced = _forced_tool(body)
        return Prompt(
            protocol=self.name,
            model=model,
            number=number,
            messages=(*([{"role": "system", "content": system}] if system else []), *messages),
            response_schema=_schema(body, forced),
            max_output_tokens=limit,
            forced_tool=forced,
            stream=bool(body.get("stream")),
            body=body,
        )

    def body(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """The answer as one JSON object."""
        content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments or {})}
            for call in reply.tool_calls
        ]
        answer = {**_head(prompt, reply), "content": content, "stop_reason": _STOP[reply.ending]}
        if isinstance(reply.usage, Usage):
            answer["usage"] = _read(reply.usage) | _written(reply.usage)
        return answer

    def events(self, prompt: Prompt, reply: Reply) -> Iterator[bytes]:
        """The answer as the protocol's named events; the count of the output comes last."""
        start: dict[str, Any] = {**_head(prompt, reply), "content": [], "stop_reason": None}
        ending: dict[str, Any] = {"delta": {"stop_reason": _STOP[reply.ending], "stop_sequence": None}}
        if isinstance(reply.usage, Usage):
            start["usage"] = {**_read(reply.usage), "output_tokens": 1}
            ending["usage"] = _written(reply.usage)
        yield _named("message_start", message=start)
        for index, (block, kind, field, text) in enumerate(_blocks(reply)):
            yield _named("content_block_start", index=index, content_block=block)
            for piece in pieces(text):
                yield _named("content_block_delta", index=index, delta={"type": kind, field: piece})
            yield _named("content_block_stop", index=index)
        yield _named("message_delta", **ending)
        yield _named("message_stop")

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error as a JSON object."""
        return {"type": "error", "error": {"type": _ERROR_TYPES.get(status, "api_error"), "message": message}}


def _named(name: str, **data: Any) -> bytes:
    return event({"type": name, **data}, name)


def _blocks(reply: Reply) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    """Each content block as it starts, the type of its deltas, their field, and the whole text."""
    if reply.text:
        yield {"type": "text", "text": ""}, "text_delta", "text", reply.text
    for call in reply.tool_calls:
        block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield block, "input_json_delta", "partial_json", call.arguments_json


def _head(prompt: Prompt, reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{prompt.number}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "stop_sequence": None,
    }


def _read(usage: Usage) -> dict[str, int]:
    read, created = usage.cache_read_tokens, usage.cache_creation_tokens
    fresh = None if usage.input_tokens is None else usage.input_tokens - (read or 0) - (created or 0)
    return known(input_tokens=fresh, cache_creation_input_tokens=created, cache_read_input_tokens=read)


def _written(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = known(output_tokens=usage.output_tokens)
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _forced_tool(body: Mapping[str, Any]) -> str | None:
    choice = section(body, "tool_choice")
    return choice.get("name") if choice.get("type") == "tool" else None


def _schema(body: Mapping[str, Any], forced: str | None) -> Mapping[str, Any] | None:
    """The schema of the answer: the output format's, or that of the one tool to be called."""
    wanted = section(body, "output_format") or section(section(body, "output_config"), "format")
    if wanted or forced is None:
        return wanted.get("schema")
    schemas = (tool.get("input_schema") for tool in objects(body, "tools") if tool.get("name") == forced)
    return next(schemas, None)
