"""A way to a Redis server that counts what passes, and can lose a reply, so that a write lands unheard."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Forwards every connection to a port on loopback.

    Attributes:
        port: Where it listens.
        sent: Bytes from clients, since `reset`.
        received: Bytes from the server, since `reset`.
        trips: Times the direction turned from client to server, so round trips, since `reset`.
        swallow: Replies still to be lost; each loses its connection too.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.swallow = 0
        self.reset()

    def reset(self) -> None:
        self.sent = self.received = self.trips = 0
        self._sending = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, far_writer))
                group.create_task(self._down(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                self.sent += len(data)
                self.trips += not self._sending
                self._sending = True
                writer.write(data)
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                self._sending = False
                if self.swallow:
                    self.swallow -= 1
                    break
                self.received += len(data)
                writer.write(data)
        writer.close()


@asynccontextmanager
async def proxied(target: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy before the server on a port; with `tls` it takes encrypted connections only."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()
