"""Removing conversations: data first, then what names them, so that one that broke off is found again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ..protocol import AnyOwner, Erased, Owner
from . import scripts
from .answers import answer, parts
from .client import Client
from .codec import keys_of
from .forks import Forks
from .listing import Listing

__all__ = ["Removal"]

_SWEEP_PAGE: Final = 200


class Removal:
    """Removes conversations and counts what went.

    Args:
        client: The way to the servers.
        prefix: What all keys begin with.
        listing: Where conversations are listed.
        forks: Where forks are.
        removed: Told of each conversation that went.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        listing: Listing,
        forks: Forks,
        removed: Callable[[Owner, str], None],
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._listing = listing
        self._forks = forks
        self._removed = removed

    async def sweep(self, owner: Owner | AnyOwner, *, idle_s: float | None, tombstone_s: float) -> Erased:
        """Remove all conversations of an owner, or those that were idle for so long."""
        total = Erased()
        async for page in self._listing.pages(owner, size=_SWEEP_PAGE):
            for gone, _ in await asyncio.gather(
                *(self.one(row.owner, row.conversation_id, idle_s, tombstone_s) for row in page)
            ):
                total = _sum(total, gone)
        return total

    async def with_forks(self, owner: Owner, root: str, tombstone_s: float) -> Erased:
        """Remove a conversation and its forks, those first: until all are gone, it still names them."""
        found, total = [root], Erased()
        for one in found:
            found += await self._forks_of(owner, one, await self._forks.named(owner, one))
        for one in reversed(found):
            gone, named = await self.one(owner, one, None, tombstone_s)
            total = _sum(total, gone)
            for late in await self._forks_of(owner, one, named):  # Forked meanwhile.
                total = _sum(total, await self.with_forks(owner, late, tombstone_s))
        return total

    async def _forks_of(self, owner: Owner, root: str, named: Sequence[str]) -> list[str]:
        return [fork.conversation_id for fork in await self._forks.of(owner, root, named)]

    async def one(
        self, owner: Owner, root: str, idle_s: float | None, tombstone_s: float
    ) -> tuple[Erased, tuple[str, ...]]:
        """Remove one conversation, if it is there and idle for so long; with the forks that it names."""
        idle_ms = -1 if idle_s is None else int(idle_s * 1000)
        values = (f"[0,{idle_ms},{tombstone_s * 1000:.0f}]".encode(),)
        reply = await self._client.run(scripts.REMOVE, keys_of(self._prefix, owner, root), values)
        told, ancestor, members = parts(reply, b"", ())
        if told == b"L":
            return Erased(), ()
        if told in (b"N", b"X"):
            await self._listing.drop(owner, root, None)
            return Erased(), ()
        words, _ = answer(told, root)
        self._removed(owner, root)
        if ancestor:
            await self._forks.drop(owner, _text(ancestor.rpartition(b"\t")[0]), root)
        await self._listing.drop(owner, root, int(words[3]))
        return Erased(1, int(words[1]), int(words[2])), tuple(map(_text, members))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


def _sum(a: Erased, b: Erased) -> Erased:
    return Erased(a.conversations + b.conversations, a.sessions + b.sessions, a.events + b.events)
