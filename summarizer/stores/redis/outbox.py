"""One connection that carries what waits, so that under load many calls share the cost of a round trip.

In an idle process a call leaves at once. Calls that arrive while others are under way go together, shortly
before the last of those are answered, so that server and callers work at the same time. The caller never
touches the connection, so a cancelled caller cannot leave a reply behind for somebody else.
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
_BYTES_UNDER_WAY: Final = 4 * 1024 * 1024
"""Beyond so many nothing more leaves; the call that crosses the line still does."""
_ALMOST_DONE: Final = 64
"""Calls under way at which the next flight leaves; they keep the server busy until it arrives."""
_BYTES_PER_SECOND: Final = 1024 * 1024
"""A call may take so much longer as its size needs at this speed."""


class ReplicaLag(Exception):
    """The write is on the primary, and no replica confirmed it in time."""


class Command(NamedTuple):
    """One call: the words of the command, whether it writes, and about how many bytes it has."""

    words: tuple[bytes, ...]
    writes: bool
    size: int


_Call = tuple[Command, asyncio.Future[Any]]


class Outbox:
    """Sends commands over one connection, in order, many at a time.

    Args:
        connect: Gives a connection that is this outbox's own; called at first use.
        timeout_s: Seconds in which all that is under way must be answered, besides the time its bytes need.
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
        self._confirm = (
            None if replica_ms is None else Command((b"WAIT", b"1", b"%d" % replica_ms), False, 32)
        )
        self._waiting: deque[_Call] = deque()
        self._flying: deque[_Call] = deque()
        self._flying_bytes = 0
        # Writes that are answered, but not confirmed by a replica yet.
        self._held: list[tuple[_Call, Any]] = []
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        """Calls that wait or are under way."""
        return len(self._waiting) + len(self._flying)

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
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(None) as limit:
                await self._exchange(limit)
        except (RedisError, OSError) as error:
            # Whoever waits behind a broken flight hears of it too, and decides for itself whether to go on.
            for _, future in self._left_behind():
                _answer(future, error)
        finally:
            # Only a cancelled flight, as at the loop's end, leaves calls behind here.
            for _, future in self._left_behind():
                future.cancel()
            self._task = None

    async def _exchange(self, limit: asyncio.Timeout) -> None:
        """Send and receive until nothing waits and nothing is under way."""
        from redis.exceptions import ResponseError

        done = False
        try:
            connection = await self._connected(limit)
            while self._waiting or self._flying:
                if self._waiting and self._has_room():
                    if words := self._take():
                        limit.reschedule(self._deadline())
                        await connection.send_packed_command(_packed(connection, words), check_health=False)
                    continue
                try:
                    reply = cast("Any", await connection.read_response())
                except ResponseError as error:
                    reply = error
                self._settle(reply)
            done = True
        finally:
            # A connection with replies outstanding would answer the next call with them.
            if not done and self._connection is not None:
                await self._connection.disconnect(nowait=True)

    async def _connected(self, limit: asyncio.Timeout) -> AbstractConnection:
        if self._connection is None or not self._connection.is_connected:
            limit.reschedule(self._deadline())
        if self._connection is None:
            self._connection = await self._connect()
        if not self._connection.is_connected:
            # Sending would reconnect too, but to the old address; only this asks Sentinel again.
            await self._connection.connect()
        return self._connection

    def _deadline(self) -> float:
        now = asyncio.get_running_loop().time()
        return now + self._timeout_s + self._flying_bytes / _BYTES_PER_SECOND

    def _has_room(self) -> bool:
        return len(self._flying) <= _ALMOST_DONE and self._flying_bytes < _BYTES_UNDER_WAY

    def _take(self) -> list[tuple[bytes, ...]]:
        """Put what waits under way, as far as one flight carries it; the words to send."""
        words: list[tuple[bytes, ...]] = []
        writes = False
        while self._waiting and len(words) < _FLIGHT_CALLS and self._flying_bytes < _BYTES_UNDER_WAY:
            call = self._waiting.popleft()
            command, future = call
            if not future.cancelled():
                self._flying.append(call)
                self._flying_bytes += command.size
                words.append(command.words)
                writes = writes or command.writes
        if writes and self._confirm is not None:
            self._flying.append((self._confirm, asyncio.get_running_loop().create_future()))
            self._flying_bytes += self._confirm.size
            words.append(self._confirm.words)
        return words

    def _settle(self, reply: Any) -> None:
        """Hand a reply to the oldest call under way; to a write once a replica has confirmed it."""
        call = self._flying.popleft()
        command, future = call
        self._flying_bytes -= command.size
        if command is self._confirm:
            lag = None if isinstance(reply, int) and reply > 0 else ReplicaLag()
            for (_, waiting), held in self._held:
                _answer(waiting, lag or held)
            self._held.clear()
        elif command.writes and self._confirm is not None and not isinstance(reply, Exception):
            self._held.append((call, reply))
        else:
            _answer(future, reply)

    def _left_behind(self) -> list[_Call]:
        calls = [*(call for call, _ in self._held), *self._flying, *self._waiting]
        self._held.clear()
        self._flying.clear()
        self._flying_bytes = 0
        self._waiting.clear()
        return calls


def _answer(future: asyncio.Future[Any], reply: Any) -> None:
    # A caller that was cancelled waits no more.
    if not future.done():
        future.set_result(reply)


def _packed(connection: AbstractConnection, words: Sequence[tuple[bytes, ...]]) -> Any:
    """The commands on the wire; redis-py's asyncio side packs in Python even where hiredis is installed."""
    try:
        import hiredis
    except ImportError:
        return connection.pack_commands(words)
    pack = cast("Any", hiredis).pack_command  # Its stub takes one word only.
    return [pack(command) for command in words]
