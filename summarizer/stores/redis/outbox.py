"""One connection that carries what waits: calls that arrive while one is under way go together next.

In an idle process a call leaves at once; under load the cost of a round trip is shared by up to
128 calls. The caller never touches the connection, so a cancelled caller cannot leave
a reply behind for somebody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

__all__ = ["Command", "Outbox", "ReplicaLag"]

_FLIGHT_CALLS: Final = 128
_FLIGHT_BYTES: Final = 4 * 1024 * 1024
_BYTES_PER_SECOND: Final = 1024 * 1024
"""A call may take so much longer as its size needs at this speed."""


class ReplicaLag(Exception):
    """The write is on the primary, and no replica confirmed it in time."""


class Command(NamedTuple):
    """One call: the words of the command, whether it writes, and about how many bytes it has."""

    words: tuple[bytes, ...]
    writes: bool
    size: int


class Outbox:
    """Sends commands over one connection, in order, many at a time.

    Args:
        connect: Gives a connection that is this outbox's own; called at first use.
        timeout_s: Seconds one flight may take, besides the time its bytes need.
        replica_ms: Milliseconds to wait for one replica after writes; `None` not to wait.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AbstractConnection]],
        *,
        timeout_s: float,
        replica_ms: int | None,
    ) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._replica_ms = replica_ms
        self._waiting: deque[tuple[Command, asyncio.Future[Any]]] = deque()
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        """Calls that wait, and one for the flight under way."""
        return len(self._waiting) + (self._task is not None)

    def send(self, *commands: Command) -> asyncio.Future[Any]:
        """The reply to the last of `commands`, which stay together; errors come as values, not raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        for command in commands[:-1]:
            self._waiting.append((command, loop.create_future()))
        self._waiting.append((commands[-1], future))
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return future

    async def close(self) -> None:
        """Wait for what is under way, then disconnect."""
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)

    async def _drain(self) -> None:
        flight: list[tuple[Command, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                flight = self._take()
                if not flight:
                    continue
                for (_, future), reply in zip(flight, await self._fly(flight), strict=True):
                    if not future.done():
                        future.set_result(reply)
        finally:
            # Only a cancelled flight, as at the loop's end, leaves calls behind.
            for _, future in (*flight, *self._waiting):
                future.cancel()
            self._waiting.clear()
            self._task = None

    def _take(self) -> list[tuple[Command, asyncio.Future[Any]]]:
        flight: list[tuple[Command, asyncio.Future[Any]]] = []
        size = 0
        while self._waiting and len(flight) < _FLIGHT_CALLS and size < _FLIGHT_BYTES:
            item = self._waiting.popleft()
            if not item[1].cancelled():
                flight.append(item)
                size += item[0].size
        return flight

    async def _fly(self, flight: list[tuple[Command, asyncio.Future[Any]]]) -> list[Any]:
        commands = [command for command, _ in flight]
        words = [command.words for command in commands]
        confirm = self._replica_ms is not None and any(command.writes for command in commands)
        if confirm:
            words.append((b"WAIT", b"1", b"%d" % (self._replica_ms or 0)))
        replies = await self._exchange(words, sum(command.size for command in commands))
        if isinstance(replies, Exception):
            return self._failed(len(commands), replies)
        if confirm and not (isinstance(confirmed := replies.pop(), int) and confirmed > 0):
            lag = ReplicaLag()
            return [
                lag if command.writes and not isinstance(reply, Exception) else reply
                for command, reply in zip(commands, replies, strict=True)
            ]
        return replies

    def _failed(self, count: int, error: Exception) -> list[Any]:
        """Whoever waits behind a broken flight hears of it too, and decides for itself whether to go on."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(error)
        return [error] * count

    async def _exchange(self, words: Sequence[tuple[bytes, ...]], size: int) -> list[Any] | Exception:
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(self._timeout_s + size / _BYTES_PER_SECOND):
                if self._connection is None:
                    self._connection = await self._connect()
                return await _round_trip(self._connection, words)
        except (RedisError, OSError) as error:
            return error


async def _round_trip(connection: AbstractConnection, words: Sequence[tuple[bytes, ...]]) -> list[Any]:
    from redis.exceptions import ResponseError

    replies: list[Any] = []
    done = False
    try:
        if not connection.is_connected:
            # Sending would reconnect too, but to the old address; only this asks Sentinel again.
            await connection.connect()
        await connection.send_packed_command(_packed(connection, words), check_health=False)
        for _ in words:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
        done = True
    finally:
        # A connection with replies outstanding would answer the next call with them.
        if not done:
            await connection.disconnect(nowait=True)
    return replies


def _packed(connection: AbstractConnection, words: Sequence[tuple[bytes, ...]]) -> Any:
    """The commands on the wire; redis-py's asyncio side packs in Python even where hiredis is installed."""
    try:
        import hiredis
    except ImportError:
        return connection.pack_commands(words)
    pack = cast("Any", hiredis).pack_command  # Its stub takes one word only.
    return b"".join([pack(command) for command in words])
