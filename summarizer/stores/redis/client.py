"""Calls that insist: one script, one round trip, repeated while the server is away, up to a deadline.

Repeating is safe because every script answers a repeated call as it answered the first. Every failure
leaves here as one of the package's errors, with the URL masked.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from ...errors import StoreError, StoreNotWritable, StoreUnavailable
from .address import Address
from .links import Link, connect
from .outbox import Command, ReplicaLag
from .scripts import Script

__all__ = ["Client"]

_FLIGHT_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_OVERHEAD: Final = 400
"""Bytes of a call beyond its values, about."""
_ASKING: Final = Command((b"ASKING",), writes=False, size=16)

_LOGIN: Final = (
    "AuthenticationError",
    "AuthenticationWrongNumberOfArgsError",
    "AuthorizationError",
    "NOAUTH",
    "WRONGPASS",
)
_FORBIDDEN: Final = ("NoPermissionError", "NOPERM")
_FULL: Final = ("OutOfMemoryError", "OOM command not allowed", "MISCONF")
_READ_ONLY: Final = ("ReadOnlyError", "READONLY", "NOREPLICAS", "now a slave")
_PASSING: Final = ("LOADING", "BUSY ", "TryAgain", "ClusterDown", "MasterDown", "max number of clients")


class _Loop:
    """What belongs to one event loop in one process."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.guard = self._until_the_end()

    async def _until_the_end(self) -> AsyncGenerator[None]:
        """Close the link when the loop shuts its generators down, so a forgotten `close` leaks nothing."""
        try:
            yield
        finally:
            await self.link.close()


class Client:
    """Runs scripts. Bound to the process and the running loop; usable again after `close` and after a fork.

    Args:
        address: Where.
        connections: Connections per server and event loop, 1 or more.
        deadline_s: Seconds for which a call is repeated.
        replica_ms: Milliseconds a write waits for a replica's confirmation; `None` not to wait.
    """

    def __init__(
        self, address: Address, *, connections: int, deadline_s: float, replica_ms: int | None
    ) -> None:
        self.url = address.masked
        self._address = address
        self._connections = connections
        self._deadline_s = deadline_s
        self._replica_ms = replica_ms
        self._pid = 0
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()
        self._inherited = self._loops

    async def run(self, script: Script, keys: Sequence[bytes], values: Sequence[bytes]) -> Any:
        """One script on one hash tag; its reply.

        Raises:
            StoreUnavailable: No server answered within the deadline, or it refused the login.
            StoreNotWritable: The server is full or a replica; nothing was written.
        """
        words = (b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *values)
        command = Command(words, script.writes, _OVERHEAD + sum(map(len, values)))
        link = self._at_hand()
        outbox = None if link is None else link.at_hand(keys[0], writes=script.writes)
        # The way of nearly all calls, with nothing to find out first.
        reply = await (self._attempt(command, keys[0]) if outbox is None else outbox.send(command))
        if isinstance(reply, Exception):
            return await self._insist(script, command, keys[0], reply)
        return reply

    async def close(self) -> None:
        """Wait for calls under way on the running loop, then disconnect it."""
        if self._pid == os.getpid():
            bound = self._loops.pop(asyncio.get_running_loop(), None)
            if bound is not None:
                await bound.guard.aclose()

    def _at_hand(self) -> Link | None:
        """The link of the running loop, if this process has used it before."""
        bound = self._loops.get(asyncio.get_running_loop()) if self._pid == os.getpid() else None
        return None if bound is None else bound.link

    async def _link(self) -> Link:
        if self._pid != os.getpid():
            # A forked child shares the parent's sockets; it must neither use them nor say goodbye on them.
            self._inherited = self._loops
            self._loops, self._pid = WeakKeyDictionary(), os.getpid()
        loop = asyncio.get_running_loop()
        bound = self._loops.get(loop)
        if bound is None:
            timeout_s = min(_FLIGHT_S, self._deadline_s) + (self._replica_ms or 0) / 1000
            link = connect(
                self._address, connections=self._connections, timeout_s=timeout_s, replica_ms=self._replica_ms
            )
            bound = self._loops[loop] = _Loop(link)
            await anext(bound.guard)
        return bound.link

    async def _attempt(self, command: Command, key: bytes) -> Any:
        from redis.exceptions import RedisError

        try:
            link = await self._link()
            return await (await link.outbox(key, writes=command.writes)).send(command)
        except (RedisError, OSError) as error:
            return error

    async def _insist(self, script: Script, command: Command, key: bytes, error: Exception) -> Any:
        deadline = time.monotonic() + self._deadline_s
        pause = 0.0
        while True:
            if not self._passing(error):
                raise self._told(error, tried=False) from error
            if time.monotonic() + pause > deadline:
                raise self._told(error, tried=True) from error
            reply = await self._again(script, command, key, error, pause)
            if not isinstance(reply, Exception):
                return reply
            # Not knowing the script says nothing about the server's health.
            if not _named(reply, "NoScriptError"):
                pause = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, pause * 2))
            error = reply

    async def _again(
        self, script: Script, command: Command, key: bytes, error: Exception, pause: float
    ) -> Any:
        from redis.exceptions import AskError, MovedError, RedisError

        moved: Any = error
        in_full = Command(
            (b"EVAL", script.text, *command.words[2:]), command.writes, command.size + len(script.text)
        )
        try:
            link = await self._link()
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                return await link.redirected(moved.host, moved.port).send(_ASKING, in_full)
            if not _named(error, "NoScriptError"):
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                await link.refresh()
        except (RedisError, OSError) as failure:
            return failure
        return await self._attempt(in_full if _named(error, "NoScriptError") else command, key)

    def _passing(self, error: Exception) -> bool:
        """Whether the same call may succeed shortly."""
        from redis import exceptions

        if isinstance(error, exceptions.AskError) and self._address.kind != "cluster":
            return False
        if isinstance(error, ReplicaLag) or _named(error, *_LOGIN, *_FORBIDDEN, *_FULL):
            return False
        kinds = (
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            OSError,
            exceptions.NoScriptError,
            exceptions.AskError,
            exceptions.RedisClusterException,
        )
        return isinstance(error, kinds) or _named(error, *_READ_ONLY, *_PASSING)

    def _told(self, error: Exception, *, tried: bool) -> StoreError:
        """The error as the caller hears it."""
        if isinstance(error, ReplicaLag):
            return StoreUnavailable(
                f"no replica of {self.url} confirmed the write within {self._replica_ms} ms; it is on the "
                "primary; repeat it with the same event ids, or look after the replicas"
            )
        if _named(error, *_FULL):
            return StoreNotWritable(
                f"the store at {self.url} takes no writes ({error}); nothing was written; free memory or "
                "disk, raise maxmemory, and keep maxmemory-policy at noeviction"
            )
        if _named(error, *_READ_ONLY):
            return StoreNotWritable(
                f"the store at {self.url} is read-only ({error}); nothing was written; use the URL of the "
                "primary, or redis+sentinel:// or redis+cluster:// to follow it"
            )
        if _named(error, *_LOGIN):
            return StoreUnavailable(
                f"authentication at {self.url} failed ({error}); check user and password in the URL"
            )
        if _named(error, *_FORBIDDEN):
            return StoreUnavailable(
                f"the user of {self.url} lacks a permission ({error}); grant it, or use another user"
            )
        if self._address.kind != "cluster" and _named(error, "MovedError", "AskError"):
            return StoreUnavailable(
                f"the server at {self.url} belongs to a Cluster, and another node has this conversation; "
                f"use redis+cluster:// in place of {self._address.scheme}://"
            )
        text = str(error) or type(error).__name__
        if tried:
            return StoreUnavailable(
                f"the store at {self.url} did not answer within {self._deadline_s:g} s ({text}); a write may "
                "or may not have landed; check that the server runs and that the URL is right, then repeat"
            )
        return StoreUnavailable(
            f"the store at {self.url} refused the call ({text}); check its version and its keys"
        )


def _named(error: Exception, *marks: str) -> bool:
    """Whether an error's class or text has one of these marks; old servers wrap a script's errors in text."""
    text = f"{type(error).__name__}: {error}"
    return any(mark in text for mark in marks)
