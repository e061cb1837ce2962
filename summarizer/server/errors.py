"""What goes wrong at the endpoint, in the words and shapes of the protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["EndpointError", "error_body", "error_event"]


class EndpointError(Exception):
    """A request that is answered with an error of ours.

    Attributes:
        status: HTTP status.
        kind: The protocol's `type`, such as `invalid_request_error`.
        code: The protocol's `code`, for programs.
    """

    def __init__(self, status: int, message: str, code: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """The error as the protocol writes it."""
        return error_body(str(self), self.kind, self.code)


def error_body(message: str, kind: str, code: str) -> dict[str, Any]:
    """An error object.

    Source: OpenAI API reference, "Error codes", and the bodies it answers with (2026-11).
    """
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event(body: Mapping[str, Any] | bytes) -> bytes:
    """An error inside a stream whose status line is gone; the official clients raise it."""
    if isinstance(body, bytes):
        text = " ".join(body.decode("utf-8", "replace").split())
    else:
        text = json.dumps(body, ensure_ascii=False)
    return f"data: {text}\n\n".encode()
