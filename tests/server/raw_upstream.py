"""An upstream that says exactly what a test writes down, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Write = Callable[[bytes], Awaitable[None]]


@dataclass
class RawUpstream:
    """Answers each request with `pieces`, and notes when its client leaves.

    Attributes:
        url: Its base URL.
        gone: Set once a client has left before the end.
        written: Bytes written to the newest client.
    """

    url: str = ""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    written: int = 0
    requests: int = 0


@asynccontextmanager
async def raw_upstream(
    pieces: Sequence[bytes | float],
    *,
    status: str = "200 OK",
    headers: Sequence[str] = ("content-type: text/event-stream",),
    repeat: int = 1,
    cut: bool = False,
) -> AsyncGenerator[RawUpstream]:
    """Serve until the block ends.

    Args:
        pieces: What to write, each by itself; a number is a pause in seconds, infinite for ever.
        status: Of the answer.
        headers: Of the answer.
        repeat: How often to write the pieces.
        cut: Close the connection in place of an orderly end.
    """
    state = RawUpstream()

    async def write_all(writer: asyncio.StreamWriter) -> None:
        for _ in range(repeat):
            for piece in pieces:
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                    continue
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                state.written += len(piece)
        if not cut:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            state.requests += 1
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if b"content-length" in line
                ),
                0,
            )
            await reader.readexactly(length)
            lines = [f"HTTP/1.1 {status}", *headers, "transfer-encoding: chunked", "connection: close"]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
            work = asyncio.ensure_future(write_all(writer))
            left = asyncio.ensure_future(reader.read())
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() or work.exception() is not None:
                state.gone.set()
            for task in (work, left):
                task.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await task
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield state
    finally:
        server.close()
        await server.wait_closed()
