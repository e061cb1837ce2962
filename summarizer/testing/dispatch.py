"""To which protocol a request belongs, and how an answer or a fault goes out on it."""

from __future__ import annotations

import json
from dataclasses import replace
from re import Match
from typing import Any, Final, cast

from .faults import Fault
from .http1 import HttpRequest, HttpResponse
from .replies import Prompt, Reply
from .wire import InvalidRequest, Wire
from .wire.anthropic import AnthropicWire
from .wire.gemini import GeminiWire
from .wire.openai import OpenAIWire

__all__ = ["compose", "parsed", "read", "refusal", "route"]

WIRES: Final[tuple[Wire, ...]] = (OpenAIWire(), AnthropicWire(), GeminiWire())


def route(request: HttpRequest) -> tuple[Wire | None, Match[str] | None]:
    """The protocol whose path this is, and the path as it matched; two `None` if there is none."""
    path = request.target.partition("?")[0]
    for wire in WIRES:
        match = wire.paths.fullmatch(path)
        if match is not None and request.method == "POST":
            return wire, match
    return None, None


def parsed(body: bytes) -> Any:
    """A body as JSON; as text if it is no JSON; `None` if it is empty."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def read(wire: Wire | None, path: Match[str] | None, body: Any, number: int) -> tuple[Prompt | None, str]:
    """The prompt, or why there is none."""
    if wire is None or path is None:
        return None, "no such method and path; POST to a path of OpenAI, Anthropic or Gemini"
    if not isinstance(body, dict):
        return None, "the body is no JSON object"
    try:
        return wire.read(path, cast("dict[str, Any]", body), number), ""
    except InvalidRequest as error:
        return None, str(error)


def refusal(status: int, message: str, wire: Wire | None = None) -> HttpResponse:
    """An answer for a request that has none, after which the connection ends."""
    body = wire.error(status, message) if wire else {"error": {"message": message}}
    return HttpResponse(status, (json.dumps(body).encode(),), keep_alive=False)


def compose(wire: Wire, prompt: Prompt, reply: Reply, fault: Fault | None) -> HttpResponse:
    """The answer as the protocol writes it, or what the fault puts in its place."""
    if fault is not None and fault.body is not None:
        pieces: tuple[bytes, ...] = (fault.body,)
        response = HttpResponse(fault.code or 200, pieces)
    elif fault is not None and fault.code is not None:
        message = wire.too_long if fault.too_long else fault.message
        response = HttpResponse(fault.code, (json.dumps(wire.error(fault.code, message)).encode(),))
    elif prompt.stream:
        response = HttpResponse(200, tuple(wire.events(prompt, reply)), "text/event-stream", chunked=True)
    else:
        response = HttpResponse(200, (json.dumps(wire.body(prompt, reply)).encode(),))
    if fault is None:
        return response
    return replace(response, content_type=fault.content_type or response.content_type, headers=fault.headers)
