"""A provider's whole answer in the chat shape, whichever of the known shapes it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .anthropic_blocks import is_anthropic, read_anthropic
from .responses import is_responses, read_responses

__all__ = ["chat_response"]


def chat_response(wire: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Chat Completions response for an Anthropic `Message` or an OpenAI `Response`; others as they are."""
    if is_anthropic(wire):
        message = read_anthropic(wire)
    elif is_responses(wire):
        message = read_responses(wire)
    else:
        return wire
    return {"choices": [{"message": message}], "model": wire.get("model")}
