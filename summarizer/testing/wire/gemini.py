"""Gemini generateContent, from the server's side.

Source: the API for v1beta as the `google-genai` package 2.19 types it (August 2026), and the table of
error codes in "Troubleshooting" of the Gemini API docs (read 2026-11). The model stands in the path,
field names are accepted in both of the protocol's spellings (camel and snake case), and
`candidatesTokenCount` excludes thoughts, as the total is the sum of prompt, candidates and thoughts.
What an overlong prompt is answered is no part of the reference: `too_long` has the form that clients
report, and that litellm 1.106 looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from re import Match
from typing import Any, Final

from ...meter.usage import Usage
from ..replies import Prompt, Reply
from . import event, known, objects, pieces, plain_text, section, total

__all__ = ["GeminiWire"]

_FINISH: Final = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
}
_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_ROLES: Final = {"model": "assistant"}


class GeminiWire:
    """Reads and writes generateContent."""

    name = "gemini"
    paths = re.compile(
        r"(?:/v1|/v1beta)?/models/(?P<model>[^/:]+):(?P<action>generateContent|streamGenerateContent)"
    )
    too_long = "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576)."

    def read(self, path: Match[str], body: Mapping[str, Any], number: int) -> Prompt:
        """What is asked; see `Wire`."""
        system = plain_text(section(body, _spelled(body, "systemInstruction")).get("parts"))
        messages = [
            {"role": _ROLES.get(turn.get("role", "user"), "user"), "content": plain_text(turn.get("parts"))}
            for turn in objects(body, "contents")
        ]
        wanted = section(body, _spelled(body, "generationConfig"))
        return Prompt(
            protocol=self.name,
            model=path["model"],
            number=number,
            messages=(*([{"role": "system", "content": system}] if system else []), *messages),
            response_schema=_field(wanted, "responseJsonSchema") or _field(wanted, "responseSchema"),
            max_output_tokens=_field(wanted, "maxOutputTokens"),
            forced_tool=_forced_tool(body),
            stream=path["action"] == "streamGenerateContent",
            body=body,
        )

    def body(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """The answer as one JSON object."""
        parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
        parts += [
            {"functionCall": {"name": call.name, "args": dict(call.arguments or {})}}
            for call in reply.tool_calls
        ]
        return _answer(prompt, reply, parts, last=True)

    def events(self, prompt: Prompt, reply: Reply) -> Iterator[bytes]:
        """The answer in parts; finish reason and usage come with the last."""
        for piece in pieces(reply.text):
            yield event(_answer(prompt, reply, [{"text": piece}], last=False))
        rest = self.body(prompt, reply)
        content = rest["candidates"][0]["content"]
        content["parts"] = [part for part in content["parts"] if "text" not in part] or [{"text": ""}]
        yield event(rest)

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error as a JSON object."""
        return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "INTERNAL")}}


def _answer(prompt: Prompt, reply: Reply, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    answer: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": reply.model,
        "responseId": f"response-{prompt.number}",
    }
    if last:
        candidate["finishReason"] = _FINISH[reply.ending]
        if isinstance(reply.usage, Usage):
            answer["usageMetadata"] = _usage(reply.usage)
    return answer


def _usage(usage: Usage) -> dict[str, int]:
    thoughts = usage.reasoning_tokens
    spoken = None if usage.output_tokens is None else usage.output_tokens - (thoughts or 0)
    return known(
        promptTokenCount=usage.input_tokens,
        cachedContentTokenCount=usage.cache_read_tokens,
        candidatesTokenCount=spoken,
        thoughtsTokenCount=thoughts,
        totalTokenCount=total(usage),
    )


def _spelled(body: Mapping[str, Any], camel: str) -> str:
    """The spelling in which the field is there."""
    return camel if camel in body else re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", camel)


def _field(body: Mapping[str, Any], camel: str) -> Any:
    return body.get(_spelled(body, camel))


def _forced_tool(body: Mapping[str, Any]) -> str | None:
    tools = section(body, _spelled(body, "toolConfig"))
    config = section(tools, _spelled(tools, "functionCallingConfig"))
    allowed: list[str] = _field(config, "allowedFunctionNames") or []
    return allowed[0] if config.get("mode") == "ANY" and len(allowed) == 1 else None
