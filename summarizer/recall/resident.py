"""Indexes in memory, for stores that have no file: bounded in number and in bytes, gone with the process."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from ..stores.protocol import EventStore, Owner
from ..stores.removal import events_removed, on_removal
from ..stores.sqlite.postings import Mark, Passage, Place, insert, make_table, places, rows_of
from ..telemetry import log

if TYPE_CHECKING:
    import sqlite3

__all__ = ["ResidentPostings", "Shelf", "forget_index", "shelf_of"]

MOST_INDEXES: Final = 32
"""Conversations of one store that are indexed at a time; the least recently searched goes first."""
MOST_BYTES: Final = 128 * 1024 * 1024
"""Bytes of all indexes of one store, at 500 to 700 bytes a message of 80 words (measured 2026-11)."""
MOST_OF_ONE: Final = MOST_BYTES
"""Bytes of one index, in two halves. Where the newer is full, the older goes: recall then
reaches back over the newest 90,000 messages of 80 words at least, and a log line says so."""


class ResidentPostings:
    """The postings of one conversation in memory; calls as those of `SQLitePostings`."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._halves: list[sqlite3.Connection] = []
        self._second_from = 0
        self._after = 0
        """After which event the index begins, to within one batch."""
        self._mark: Mark | None = None
        self.weight = 0

    async def mark(self, words: int) -> Mark | None:
        """How far it is indexed by these rules; `None` if not at all."""
        return self._mark if self._mark is not None and self._mark.words == words else None

    async def begin(self, words: int, *, damaged: bool = False) -> Mark:  # noqa: ARG002 - nothing damages memory
        """Begin anew."""
        return await asyncio.to_thread(self._begin, words)

    async def add(
        self, after: Mark, through: int, through_id: str, passages: Sequence[Passage]
    ) -> Mark | None:
        """Index the passages of the events `(after.through, through]`; the mark as it is now."""
        now = after._replace(through=through, through_id=through_id, passages=after.passages + len(passages))
        return await asyncio.to_thread(self._add, after, now, passages)

    async def find(
        self, mark: Mark, queries: Sequence[Sequence[str]], most: int
    ) -> tuple[Sequence[Place], ...] | None:
        """See `stores.sqlite.postings.places`; `None` if it was begun anew meanwhile."""
        return await asyncio.to_thread(self._find, mark, queries, most)

    def _begin(self, words: int) -> Mark:
        with self._guard:
            self._close()
            self._halves = [_opened()]
            self._mark = Mark(secrets.token_bytes(16), words, 0, "", 0)
            return self._mark

    def _add(self, after: Mark, now: Mark, passages: Sequence[Passage]) -> Mark | None:
        with self._guard:
            if self._mark != after:
                return self._mark
            if _size(self._halves[-1]) > MOST_OF_ONE // 2:
                now = self._turn_over(after, now)
            if not after.through:
                self._after = passages[0].seq - 1 if passages else now.through
            newest = self._halves[-1]
            newest.execute("BEGIN")
            insert(newest, rows_of(after.secret, passages))
            newest.execute("COMMIT")
            self.weight = sum(map(_size, self._halves))
            self._mark = now
            return now

    def _turn_over(self, after: Mark, now: Mark) -> Mark:
        if len(self._halves) == 2:
            self._halves.pop(0).close()
            now = now._replace(since=self._second_from)
            self._after = self._second_from
            log.warning("recall.index_shortened", through=now.since)
        self._halves.append(_opened())
        self._second_from = after.through
        return now

    def _find(
        self, mark: Mark, queries: Sequence[Sequence[str]], most: int
    ) -> tuple[Sequence[Place], ...] | None:
        with self._guard:
            if self._mark is None or self._mark.secret != mark.secret:
                return None
            found = [places(half, mark.secret, queries, most) for half in reversed(self._halves)]
            return tuple(
                [[place for part in parts for place in part][:most] for parts in zip(*found, strict=True)]
            )

    def trim(self, first_seq: int) -> bool:
        """Events before `first_seq` were removed: let go of what says more of them than of the rest.

        Returns:
            Whether anything is indexed still.
        """
        with self._guard:
            mark = self._mark
            if mark is not None and first_seq - 1 - self._after > mark.through - first_seq + 1:
                self._close()
            return self._mark is not None

    def close(self) -> None:
        """Let go of the memory; it may be begun anew."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        for half in self._halves:
            half.close()
        self._halves, self._mark, self.weight = [], None, 0


class Shelf:
    """The indexes of one store."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Owner, str], ResidentPostings] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, owner: Owner, root: str) -> ResidentPostings:
        """The conversation's index, new and empty if there is none; now the most recently used."""
        key = (owner, root)
        index = self._kept.setdefault(key, ResidentPostings())
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and (len(self._kept) > MOST_INDEXES or self.weight > MOST_BYTES):
            self._kept.popitem(last=False)[1].close()
        return index

    def drop(self, owner: Owner, root: str, before: int | None = None) -> None:
        """Events before this seq were removed, or the conversation was."""
        index = self._kept.get((owner, root))
        if index is not None and (before is None or not index.trim(before)):
            del self._kept[owner, root]
            index.close()

    @property
    def weight(self) -> int:
        """Bytes of all indexes."""
        return sum(index.weight for index in self._kept.values())


_shelves: WeakKeyDictionary[EventStore, Shelf] = WeakKeyDictionary()


def shelf_of(store: EventStore) -> Shelf:
    """The store's indexes; another instance on the same data has its own."""
    shelf = _shelves.get(store)
    if shelf is None:
        shelf = _shelves[store] = Shelf()
        on_removal(store, shelf.drop)
    return shelf


def forget_index(store: EventStore, owner: Owner, root: str) -> None:
    """Let go of what recall keeps in this process of a conversation that is gone."""
    events_removed(store, owner, root)


def _opened() -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    make_table(connection)
    return connection


def _size(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return pages * size
