"""Which forks a conversation has: a set beside it, which names them before they are there.

An entry is written before its fork and dropped after it, so it may name one that is not there, or one that
was made anew under an old id; a fork itself says whose it is, and is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ...errors import SessionNotFound
from ..protocol import Fork, Owner
from .answers import answer, parts
from .client import Client
from .codec import keys_of
from .scripts import Script, chain_script

__all__ = ["Forks"]

_ENTER: Final = chain_script("""
redis.call('SADD', KEYS[2], ARGV[2])
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIREAT', KEYS[2], int(now + ARGV[3])) end
return 'A'
""")
"""ARGV: an index in an array, the fork's root, ttl in milliseconds."""
_MEMBERS: Final = chain_script("return {'A', redis.call('SMEMBERS', KEYS[2])}", writes=False)
_DROP: Final = Script(b"return redis.call('SREM', KEYS[1], ARGV[1])", writes=True)
_ANCESTOR: Final = Script(b"return redis.call('HGET', KEYS[1], 'a') or ''")


class Forks:
    """Keeps and reads the entries.

    Args:
        client: The way to the servers.
        prefix: What all keys begin with.
        ttl_ms: Milliseconds for which conversations are kept, 0 for ever.
    """

    def __init__(self, client: Client, prefix: str, ttl_ms: int) -> None:
        self._client = client
        self._prefix = prefix
        self._ttl_ms = ttl_ms

    async def enter(self, owner: Owner, ancestor: str, root: str) -> None:
        """Enter a fork about to be created; raises if the ancestor is not there."""
        keys = keys_of(self._prefix, owner, ancestor)
        values = (b"[0]", _member(root), b"%d" % self._ttl_ms)
        reply = await self._client.run(_ENTER, (keys.meta, keys.forks), values)
        answer(reply, ancestor, write=True)

    async def still_entered(self, owner: Owner, ancestor: str, root: str) -> bool:
        """Whether nobody removed the ancestor since `enter`: who did has not seen the fork, perhaps."""
        return root in await self.named(owner, ancestor)

    async def named(self, owner: Owner, ancestor: str) -> tuple[str, ...]:
        """The roots that are entered, there or not; none if the ancestor is gone."""
        try:
            return await self._members(owner, ancestor)
        except SessionNotFound:
            return ()

    async def drop(self, owner: Owner, ancestor: str, root: str) -> None:
        """Drop the entry of a fork that is gone, or was not made."""
        key = keys_of(self._prefix, owner, ancestor).forks
        await self._client.run(_DROP, (key,), (_member(root),))

    async def list(self, owner: Owner, ancestor: str) -> tuple[Fork, ...]:
        """The forks that are there, by seq, then by id."""
        return await self.of(owner, ancestor, await self._members(owner, ancestor))

    async def of(self, owner: Owner, ancestor: str, roots: Sequence[str]) -> tuple[Fork, ...]:
        """Those of the roots that are forks of this conversation and are there, by seq, then by id."""
        told = await asyncio.gather(
            *(self._client.run(_ANCESTOR, (keys_of(self._prefix, owner, root).meta,), ()) for root in roots)
        )
        found = [
            Fork(root, int(seq))
            for root, (whose, _, seq) in zip(roots, (one.rpartition(b"\t") for one in told), strict=True)
            if whose == _member(ancestor)
        ]
        return tuple(sorted(found, key=lambda fork: (fork.seq, fork.conversation_id)))

    async def _members(self, owner: Owner, ancestor: str) -> tuple[str, ...]:
        keys = keys_of(self._prefix, owner, ancestor)
        reply = await self._client.run(_MEMBERS, (keys.meta, keys.forks), (b"[0]",))
        told, members = parts(reply, ())
        answer(told, ancestor)
        return tuple(member.decode("utf-8", "surrogatepass") for member in members)


def _member(root: str) -> bytes:
    return root.encode("utf-8", "surrogatepass")
