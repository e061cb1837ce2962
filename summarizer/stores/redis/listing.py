"""The index of conversations: which an owner has, newest first.

An entry is written before its conversation and dropped after it, so it may point at
nothing for a while, and a listing looks whether each conversation is there. The index lives in other
slots than the conversations: one sorted set per owner, and for administration one of all owners in 16 parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Final, NamedTuple

from ..protocol import AnyOwner, ConversationRow, Owner
from . import scripts
from .client import Client
from .codec import keys_of, micros, moment

__all__ = ["Listing"]

_PARTS: Final = 16
_ORPHAN_US: Final = 3_600_000_000
"""Microseconds after which an entry without a conversation belongs to no `create` under way."""


class _Entry(NamedTuple):
    """One entry in the order of a listing: newest first, ties by id, then by owner."""

    newest: int
    conversation_id: str
    owner: Owner

    def row(self) -> ConversationRow:
        return ConversationRow(self.conversation_id, self.owner, moment(-self.newest))


class Listing:
    """Keeps and reads the index.

    Args:
        client: The way to the servers.
        prefix: What all keys begin with.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def enter(self, owner: Owner, root: str) -> tuple[int, bool]:
        """Enter a conversation about to be created; the time in microseconds, and whether it is new here."""
        mine, _ = self._places(owner, root)
        created, added = await self._client.run(scripts.INDEX_ADD, (mine,), (_member(owner, root),))
        if added:
            await self.confirm(owner, root, int(created), only_all=True)
        return int(created), bool(added)

    async def confirm(self, owner: Owner, root: str, created: int, *, only_all: bool = False) -> None:
        """Set the entry's time to the conversation's, whatever it was."""
        places = self._places(owner, root)[only_all:]
        values = (_member(owner, root), b"-%d" % created)
        await asyncio.gather(*(self._client.run(scripts.INDEX_SET, (place,), values) for place in places))

    async def drop(self, owner: Owner, root: str, created: int | None) -> None:
        """Drop the entry of the conversation created then, or an orphan's."""
        told = b"n" if created is None else b"%d" % created
        values = (_member(owner, root), told, b"%d" % _ORPHAN_US)
        await asyncio.gather(
            *(self._client.run(scripts.INDEX_DROP, (place,), values) for place in self._places(owner, root))
        )

    async def pages(
        self, owner: Owner | AnyOwner, *, size: int, after: ConversationRow | None = None
    ) -> AsyncIterator[list[ConversationRow]]:
        """All entries in order, `size` at a time."""
        if isinstance(owner, AnyOwner):
            places = [self._part(part) for part in range(_PARTS)]
        else:
            places = [self._of_owner(owner)]
        last = (
            None if after is None else _Entry(-micros(after.created_at), after.conversation_id, after.owner)
        )
        while True:
            found = await asyncio.gather(*(self._page(place, size, last) for place in places))
            entries = sorted((entry for page in found for entry in page), key=_order)[:size]
            if not entries:
                return
            yield [entry.row() for entry in entries]
            last = entries[-1]

    async def existing(self, rows: list[ConversationRow]) -> list[ConversationRow]:
        """Those whose conversation is there."""
        there = await asyncio.gather(
            *(
                self._client.run(
                    scripts.EXISTS, (keys_of(self._prefix, row.owner, row.conversation_id).meta,), ()
                )
                for row in rows
            )
        )
        return [row for row, exists in zip(rows, there, strict=True) if exists]

    async def _page(self, place: bytes, size: int, last: _Entry | None) -> list[_Entry]:
        """The next entries of one sorted set; those of the same microsecond are told apart here."""
        start, offset = (b"-inf" if last is None else b"%d" % last.newest), 0
        page: list[_Entry] = []
        while len(page) < size:
            flat = await self._client.run(scripts.INDEX_PAGE, (place,), (start, b"%d" % offset, b"%d" % size))
            offset += size
            entries = [_entry(member, score) for member, score in zip(flat[::2], flat[1::2], strict=True)]
            page += [entry for entry in entries if last is None or _order(entry) > _order(last)]
            if len(entries) < size:
                break
        return page

    def _places(self, owner: Owner, root: str) -> tuple[bytes, bytes]:
        part = int(_digest(_member(owner, root)), 16) % _PARTS
        return self._of_owner(owner), self._part(part)

    def _of_owner(self, owner: Owner) -> bytes:
        return f"{self._prefix}:o:{_digest(_owner(owner))}".encode()

    def _part(self, part: int) -> bytes:
        return f"{self._prefix}:all:{part}".encode()


def _order(entry: _Entry) -> tuple[int, str, bool, str]:
    return entry.newest, entry.conversation_id, entry.owner is not None, entry.owner or ""


def _owner(owner: Owner) -> bytes:
    return b"-" if owner is None else b"=" + owner.encode("utf-8", "surrogatepass")


def _digest(name: bytes) -> str:
    return blake2b(name, digest_size=12).hexdigest()


def _member(owner: Owner, root: str) -> bytes:
    # No id holds a null byte, so it ends the id and sorts before every longer one.
    return root.encode("utf-8", "surrogatepass") + b"\x00" + _owner(owner)


def _entry(member: bytes, score: bytes) -> _Entry:
    root, _, owner = member.partition(b"\x00")
    who = None if owner == b"-" else owner[1:].decode("utf-8", "surrogatepass")
    return _Entry(int(float(score)), root.decode("utf-8", "surrogatepass"), who)
