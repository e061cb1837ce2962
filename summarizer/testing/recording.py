"""What a loopback server was asked: in memory, and in a file that outlives processes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .http1 import HttpRequest
from .replies import Prompt

__all__ = ["RecordedRequest", "RequestLog", "read_log", "record"]

MASK: Final = "***"
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
_SECRET_QUERY: Final = re.compile(r"([?&](?:key|api_key|access_token)=)[^&]*")


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it came, without its secrets.

    Attributes:
        number: Arrival number at this server, from 1.
        method: In capitals.
        path: Path and query; a key in the query is masked.
        headers: Names in lower case; values that authorize are masked.
        body: The parsed JSON; the text itself if it is no JSON; `None` if there was none.
        prompt: What it asks, if it is a valid request of one of the protocols.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    prompt: Prompt | None

    @property
    def protocol(self) -> str | None:
        """`openai`, `anthropic`, `gemini`, or `None`."""
        return self.prompt.protocol if self.prompt else None


def record(number: int, request: HttpRequest, body: Any, prompt: Prompt | None) -> RecordedRequest:
    """The record of a request, its secrets masked."""
    headers = {name: MASK if name in _SECRET_HEADERS else value for name, value in request.headers.items()}
    path = _SECRET_QUERY.sub(rf"\g<1>{MASK}", request.target)
    return RecordedRequest(number, request.method, path, headers, body, prompt)


class RequestLog:
    """An append-only file of one JSON object a line; many processes may share it.

    A line is one write to a descriptor opened for appending, made before the request is
    answered: whatever is killed afterwards, the call is counted. It holds the requests'
    bodies; keep it in the test's temporary directory.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def append(self, entry: RecordedRequest) -> None:
        """Write one request."""
        line = {
            "pid": os.getpid(),
            "number": entry.number,
            "method": entry.method,
            "path": entry.path,
            "protocol": entry.protocol,
            "model": entry.prompt.model if entry.prompt else None,
            "body": entry.body,
        }
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The requests in a log file, in order of writing; none if there is no file yet.

    A line whose end is not written yet is left to the next reading.

    Returns:
        Mappings of `pid` (the server's), `number`, `method`, `path`, `protocol`, `model` and `body`.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
