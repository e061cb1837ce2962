"""HTTP/1.1 over streams: framing, limits, keep-alive."""

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.testing import LoopbackServer, ScriptMismatch
from summarizer.testing.http1 import HttpError, HttpRequest, HttpResponse, encode, read_request

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


class Sink:
    """The writer's half that reading a request needs."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def read(data: bytes, max_body_bytes: int = 1000, sink: Sink | None = None) -> HttpRequest | None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_request(reader, sink or Sink(), max_body_bytes)


def chunked(pieces: list[bytes]) -> bytes:
    frames = [b"%X;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"".join(frames) + b"0\r\nx-trailer: 1\r\n\r\n"


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_both_framings_give_the_same_body(pieces: list[bytes]) -> None:
    """A body arrives whole, by its length or in chunks."""
    body = b"".join(pieces)
    by_length = asyncio.run(read(HEAD + b"content-length: %d\r\n\r\n%b" % (len(body), body)))
    in_chunks = asyncio.run(read(chunked(pieces)))

    assert by_length is not None
    assert in_chunks is not None
    assert by_length.body == in_chunks.body == body


@given(st.lists(st.binary(max_size=50), max_size=8), st.booleans())
def test_what_is_encoded_reads_back(pieces: list[bytes], in_chunks: bool) -> None:
    """Head and halves together are one message, its body the pieces joined."""
    head, first, second = encode(HttpResponse(200, tuple(pieces), chunked=in_chunks))
    as_request = HEAD + head.split(b"\r\n", 1)[1] + first + second
    request = asyncio.run(read(as_request))

    assert request is not None
    assert request.body == b"".join(pieces)


async def test_a_client_that_leaves_between_requests_is_no_error() -> None:
    """The end of the stream before a request reads as `None`."""
    assert await read(b"") is None


@pytest.mark.parametrize("data", [HEAD[:-1], HEAD + b"content-length: 9\r\n\r\nabc"])
async def test_a_client_that_leaves_in_a_request_is_an_error(data: bytes) -> None:
    """Half a request is not a request."""
    with pytest.raises(asyncio.IncompleteReadError):
        await read(data)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HELLO\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (HEAD + b"a: 1\r\n folded\r\n\r\n", 400),
        (HEAD + b"no colon\r\n\r\n", 400),
        (HEAD + b"content-length: +3\r\n\r\nabc", 400),
        (HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
        (HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (HEAD + b"transfer-encoding: gzip\r\n\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nabc0\r\n\r\n", 400),
        (HEAD + b"content-length: 1001\r\n\r\n", 413),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3E9\r\n", 413),
        (HEAD + b"a: %b\r\n\r\n" % (b"x" * 70_000), 431),
    ],
)
async def test_what_is_malformed_or_too_large_is_refused(data: bytes, status: int) -> None:
    """Each refusal has its status."""
    with pytest.raises(HttpError) as caught:
        await read(data)

    assert caught.value.status == status


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        ("1", "", True),
        ("1", "close", False),
        ("1", "Keep-Alive, Close", False),
        ("0", "", False),
        ("0", "keep-alive", True),
    ],
)
async def test_the_client_says_whether_it_will_ask_again(
    version: str, connection: str, expected: bool
) -> None:
    """Version 1.1 stays open unless told, 1.0 only if told."""
    request = await read(f"GET / HTTP/1.{version}\r\nconnection: {connection}\r\n\r\n".encode())

    assert request is not None
    assert request.keep_alive is expected


async def test_a_client_that_asks_first_is_told_to_continue() -> None:
    """`expect: 100-continue` is answered before the body is awaited."""
    sink = Sink()
    await read(HEAD + b"expect: 100-continue\r\ncontent-length: 0\r\n\r\n", sink=sink)

    assert sink.written == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_one_connection_serves_many_requests() -> None:
    """Three requests sent at once on one connection get three answers, in order."""
    async with LoopbackServer(["a", "b", "c"]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write((HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY) * 2)
        writer.write(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
        answers = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b'"a"') < answers.index(b'"b"') < answers.index(b'"c"')


async def test_a_malformed_request_fails_the_test() -> None:
    """It is answered with its status, the connection ends, and the check at the end names it."""
    server = LoopbackServer()
    with suppress(ScriptMismatch):
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            writer.write(b"HELLO\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()

    with pytest.raises(ScriptMismatch, match="malformed HTTP"):
        server.assert_done()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
