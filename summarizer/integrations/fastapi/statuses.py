"""Our errors as HTTP statuses."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...errors import (
    CannotFork,
    InvalidMessage,
    PartialBatch,
    SessionErased,
    SessionExists,
    SessionNotFound,
    StoreConflict,
    StoreNotWritable,
    StoreUnavailable,
    SummarizerError,
    TokenLimitExceeded,
    ValueTooLarge,
)
from ...telemetry import log

__all__ = ["NOT_FOUND", "error_response", "status_of"]

NOT_FOUND: Final = "no such session"
"""What a missing id is answered with, and a foreign one: no word of it depends on the id."""

_STATUS: Final[dict[type[SummarizerError], int]] = {
    SessionNotFound: 404,
    SessionErased: 410,
    SessionExists: 409,
    CannotFork: 409,
    StoreConflict: 409,
    PartialBatch: 409,
    TokenLimitExceeded: 413,
    ValueTooLarge: 413,
    InvalidMessage: 422,
    StoreUnavailable: 503,
    StoreNotWritable: 503,
}


def status_of(error: SummarizerError) -> int:
    """The HTTP status of an error; 500 for what the caller of the endpoint has no part in."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


async def error_response(request: Request, error: Exception) -> Response:
    """An exception handler for `SummarizerError`: `{"detail": ...}` and its status.

    A foreign id is answered to the byte as a missing one. Of an error of the server only the status is told,
    and it is logged.
    """
    assert isinstance(error, SummarizerError)
    status = status_of(error)
    if status == 404:
        return JSONResponse({"detail": NOT_FOUND}, 404)
    if status < 500:
        return JSONResponse({"detail": str(error)}, status)
    log.error(
        "http.request_failed", path=request.scope.get("path"), status=status, error=type(error).__name__
    )
    if status == 503:
        return JSONResponse({"detail": "the session store is unavailable"}, 503, {"Retry-After": "1"})
    return JSONResponse({"detail": "internal error"}, status)
