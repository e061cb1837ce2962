"""The little of HTTP/1.1 that a JSON service needs, over asyncio streams.

RFC 9112 (June 2022): bodies by content-length or chunked, keep-alive, no pipelining of
answers. What is ambiguous on the wire (both framings at once, folded headers) is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

__all__ = ["MAX_HEAD_BYTES", "HttpError", "HttpRequest", "HttpResponse", "encode", "read_request"]

MAX_HEAD_BYTES: Final = 64 * 1024
"""Limit of request line and headers together; give it to the stream reader as well."""

_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.([01])")
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_STATUS_529: Final = "Site is overloaded"


class HttpError(Exception):
    """The bytes are no request that can be answered otherwise; the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body whole.

    Attributes:
        method: In capitals.
        target: Path and query.
        headers: Names in lower case; of repeated ones the values joined by commas.
        body: Decoded from its framing.
        keep_alive: Whether the client will send another on this connection.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer.

    Attributes:
        status: Status code.
        pieces: The body; with `chunked`, each piece is a chunk.
        content_type: The content type's value.
        headers: Further headers.
        chunked: Whether the body is sent without a length, as a stream is.
        keep_alive: Whether the connection stays open afterwards.
    """

    status: int
    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    chunked: bool = False
    keep_alive: bool = True


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_body_bytes: int
) -> HttpRequest | None:
    """Read one request; `None` when the client has closed the connection.

    Raises:
        HttpError: Malformed, or larger than a limit.
        asyncio.IncompleteReadError: The client left in the middle of a request.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise HttpError(431, f"headers exceed {MAX_HEAD_BYTES} bytes") from error
    except asyncio.IncompleteReadError as error:
        if not error.partial.strip():
            return None
        raise
    first, *lines = head[:-4].lstrip(b"\r\n").split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise HttpError(400, "the first line is no HTTP/1.x request line")
    headers = _headers(lines)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, headers, max_body_bytes)
    connection = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    keep_alive = "close" not in connection and (match[3] == b"1" or "keep-alive" in connection)
    return HttpRequest(match[1].decode(), match[2].decode(), headers, body, keep_alive)


def encode(response: HttpResponse) -> tuple[bytes, bytes, bytes]:
    """The bytes of an answer: head, first and second half of the body.

    The halves exist so that a fault can happen between them. A body of one byte or none
    is all in the second.
    """
    headers = [("content-type", response.content_type), *response.headers]
    if response.chunked:
        headers.append(("transfer-encoding", "chunked"))
        frames = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in response.pieces if piece]
        middle = len(frames) // 2
        halves = b"".join(frames[:middle]), b"".join(frames[middle:]) + b"0\r\n\r\n"
    else:
        body = b"".join(response.pieces)
        headers.append(("content-length", str(len(body))))
        middle = len(body) // 2
        halves = body[:middle], body[middle:]
    if not response.keep_alive:
        headers.append(("connection", "close"))
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}", *(f"{k}: {v}" for k, v in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", *halves


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise HttpError(400, "a header line is malformed or folded")
        name, value = match[1].decode().lower(), match[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str], max_bytes: int) -> bytes:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise HttpError(400, "the body's framing is ambiguous; send content-length or chunked")
        return await _chunked_body(reader, max_bytes)
    if length is None:
        return b""
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise HttpError(400, f"content-length {length!r} is no number")
    _check_size(int(length), max_bytes)
    return await reader.readexactly(int(length))


async def _chunked_body(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        match = _CHUNK_SIZE.fullmatch(await _line(reader))
        if match is None:
            raise HttpError(400, "a chunk's size is malformed")
        size = int(match[1], 16)
        if size == 0:
            break
        _check_size(len(body) + size, max_bytes)
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise HttpError(400, "a chunk is longer than its size")
    trailers = 0
    while line := await _line(reader):
        trailers += len(line)
        if trailers > MAX_HEAD_BYTES:
            raise HttpError(431, f"trailers exceed {MAX_HEAD_BYTES} bytes")
    return bytes(body)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.LimitOverrunError as error:
        raise HttpError(431, f"a line exceeds {MAX_HEAD_BYTES} bytes") from error


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise HttpError(413, f"a body of {size} bytes exceeds the limit of {limit}; raise max_body_bytes")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _STATUS_529 if status == 529 else "Unknown"
