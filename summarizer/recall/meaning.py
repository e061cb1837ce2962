"""Passages near a query in meaning: vectors of the log's passages, kept in memory, newest first.

They are made when a query needs them, for a bounded time, and kept for a bounded number of passages. What is
not covered, and why, comes with each answer: a model that fails never fails recall.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from ..errors import InvalidSetting
from ..events import Event
from ..stores.protocol import EventStore, Owner
from ..stores.removal import on_removal
from ..stores.sqlite.postings import Place
from ..summary.redact import redact_pieces
from ..telemetry import log as telemetry
from .embedding import Embed, EmbeddingFailed, EmbeddingsSpec, LitellmEmbeddings, Vector, embedded
from .hits import Gap
from .index import text_of
from .words import passages

if TYPE_CHECKING:
    from .search import Log

__all__ = ["Meaning", "Near", "meaning_of"]

MOST_VECTORS: Final = 4096
"""Passages of a conversation that are kept, the newest; looking through them takes some 0.2 s at 1,536
numbers each."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all vectors of a store; the least recently searched conversation goes first."""
DEADLINE_S: Final = 8.0
"""Seconds for which one query embeds; what is left is for the next."""
_EVENTS_AT_ONCE: Final = 64
_TEXTS_AT_ONCE: Final = 96
_NEAREST: Final = 20
STANDS_OUT: Final = 1.0
STANDS_OUT_UNASKED: Final = 3.0
"""Standard deviations by which a passage is nearer than the mean of all. Similarities of one model are not
those of another, so that no fixed bound holds; what does not stand out is no hit."""
_QUERIES_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class Near:
    """What is near a query.

    Attributes:
        places: Nearest first, at most one of an event.
        gaps: What was not looked through.
    """

    places: Sequence[Place] = ()
    gaps: Sequence[Gap] = ()


@dataclass(slots=True)
class _Vectors:
    """The vectors of the events `(low, high]`."""

    low: int
    high: int
    high_id: str = ""
    of: dict[Place, Vector] = field(default_factory=dict[Place, Vector])

    @property
    def weight(self) -> int:
        return sum(len(vector) * 4 + 200 for vector in self.of.values())

    def bound(self) -> None:
        """Let the oldest go beyond `MOST_VECTORS`."""
        for place in sorted(self.of)[: max(0, len(self.of) - MOST_VECTORS)]:
            del self.of[place]
            self.low = max(self.low, place[0])

    def compare_with(self, query: Vector) -> bool:
        """Whether all have the query's length; if not, the model changed, and the next query embeds anew."""
        if all(len(vector) == len(query) for vector in self.of.values()):
            return True
        telemetry.error("recall.embedding_failed", error="length")
        self.of, self.low = {}, self.high
        return False

    def cut(self, first_seq: int) -> None:
        """Let go of the events before this one."""
        for place in [place for place in self.of if place[0] < first_seq]:
            del self.of[place]
        self.low = max(self.low, first_seq - 1)


_shelves: WeakKeyDictionary[EventStore, OrderedDict[tuple[object, Owner, str], _Vectors]] = (
    WeakKeyDictionary()
)


class Meaning:
    """Finds passages by meaning.

    Args:
        call: Makes the vectors.
        key: By what it is told from others, whose vectors do not compare with its own.
    """

    def __init__(self, call: Embed, key: object) -> None:
        self._call = call
        self._key = key
        self._queries: OrderedDict[str, Vector] = OrderedDict()

    async def ask(self, log: Log, text: str, hidden: Callable[[int], bool], *, unasked: bool) -> Near:
        """The passages nearest to a text, of those that stand out.

        Args:
            log: The conversation.
            text: The query.
            hidden: Says of an event's seq whether it is not to be found.
            unasked: Whether a hit is brought along unasked, and must stand out the more.

        Raises:
            SessionNotFound: The conversation was removed meanwhile.
            StoreError: The store failed.
        """
        kept = await self._kept(log)
        reason = "index_full"
        try:
            if isinstance(self._call, LitellmEmbeddings):
                await self._call.ready()
            async with asyncio.timeout(DEADLINE_S):
                query = await self._query(text)
                await self._extend(kept, log)
        except EmbeddingFailed:
            reason = "model_failed"
        except TimeoutError:
            reason = "out_of_time"
        query = self._queries.get(text)
        if query is not None and not kept.compare_with(query):
            reason, query = "model_failed", None
            self._queries.clear()
        if query is None:
            return Near((), (Gap("meaning", reason, log.head.last_seq),))
        found = await asyncio.to_thread(_nearest, query, dict(kept.of), hidden, unasked=unasked)
        through = kept.low if kept.high >= log.head.last_seq else log.head.last_seq
        return Near(found, (Gap("meaning", reason, through),) if through >= log.head.first_seq else ())

    async def _query(self, text: str) -> Vector:
        if text not in self._queries:
            (self._queries[text],) = await embedded(self._call, [text])
        self._queries.move_to_end(text)
        while len(self._queries) > _QUERIES_KEPT:
            self._queries.popitem(last=False)
        return self._queries[text]

    async def _kept(self, log: Log) -> _Vectors:
        """The conversation's vectors, new ones if the log is another by now or far ahead."""
        shelf, head = _shelf_of(log.store), log.head
        key = (self._key, log.owner, head.conversation_id)
        kept = shelf.get(key)
        if kept is None or head.last_seq - kept.high > MOST_VECTORS or not await _is_of(kept, log):
            kept = shelf[key] = _Vectors(head.last_seq, head.last_seq)
        shelf.move_to_end(key)
        while len(shelf) > 1 and sum(each.weight for each in shelf.values()) > MOST_BYTES:
            shelf.popitem(last=False)
        return kept

    async def _extend(self, kept: _Vectors, log: Log) -> None:
        """Embed what is newer, then what is older, as far as the bound allows."""
        head, root = log.head, log.head.conversation_id
        while kept.high < head.last_seq:
            events = await log.store.read(
                log.owner, root, after_seq=kept.high, until_seq=head.last_seq, limit=_EVENTS_AT_ONCE
            )
            if not events:
                return
            left_out = await self._embed(kept, events)
            kept.low, kept.high, kept.high_id = max(kept.low, left_out), events[-1].seq, events[-1].event_id
            kept.bound()
        while kept.low >= head.first_seq and len(kept.of) < MOST_VECTORS:
            first = max(head.first_seq, kept.low - _EVENTS_AT_ONCE + 1)
            events = await log.store.read(log.owner, root, after_seq=first - 1, until_seq=kept.low)
            if not kept.high_id and events:
                kept.high_id = events[-1].event_id
            kept.low = max(first - 1, await self._embed(kept, events))
            kept.bound()

    async def _embed(self, kept: _Vectors, events: Sequence[Event]) -> int:
        """Embed the passages of events; seq up to which some were left out for the bound, 0 if none was."""
        every = await asyncio.to_thread(_texts_of, events)
        missing = [(place, text) for place, text in every if place not in kept.of]
        left_out, missing = missing[:-MOST_VECTORS], missing[-MOST_VECTORS:]
        for start in range(0, len(missing), _TEXTS_AT_ONCE):
            some = missing[start : start + _TEXTS_AT_ONCE]
            vectors = await embedded(self._call, [text for _, text in some])
            kept.of.update(zip((place for place, _ in some), vectors, strict=True))
        return left_out[-1][0][0] if left_out else 0


def _texts_of(events: Sequence[Event]) -> list[tuple[Place, str]]:
    """The passages as they may leave: secrets are looked for before a passage's end can cut one in two."""
    return [
        ((event.seq, number), text)
        for event in events
        for number, text in enumerate(redact_pieces(list(passages(text_of(event)))))
        if text.strip()
    ]


def meaning_of(spec: EmbeddingsSpec | None) -> Meaning | None:
    """What finds by meaning, as the host wants it; `None` for by words alone.

    Raises:
        InvalidSetting: No name of a model and no callable.
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        spec = LitellmEmbeddings(spec)
    if isinstance(spec, LitellmEmbeddings):
        return Meaning(spec, spec.key)
    if not callable(spec):
        raise InvalidSetting(
            f"recall_embeddings={spec!r}: use a litellm name, a callable from texts to their vectors, or None"
        )
    return Meaning(spec, spec)


def _shelf_of(store: EventStore) -> OrderedDict[tuple[object, Owner, str], _Vectors]:
    shelf = _shelves.get(store)
    if shelf is None:
        made = shelf = _shelves[store] = OrderedDict()

        def forget(owner: Owner, root: str, before: int | None) -> None:
            for key in [key for key in made if key[1:] == (owner, root)]:
                if before is None:
                    del made[key]
                else:
                    made[key].cut(before)

        on_removal(store, forget)
    return shelf


async def _is_of(kept: _Vectors, log: Log) -> bool:
    """Whether the log is still the one that was embedded: its id may have been erased and used anew."""
    if not kept.high_id:
        return not kept.of
    found = await log.store.read(log.owner, log.head.conversation_id, after_seq=kept.high - 1, limit=1)
    return bool(found) and found[0].event_id == kept.high_id


def _nearest(
    query: Vector, vectors: dict[Place, Vector], hidden: Callable[[int], bool], *, unasked: bool
) -> list[Place]:
    """The places that stand out, nearest first, one of an event."""
    near = {place: _dot(query, vector) for place, vector in vectors.items()}
    if not near:
        return []
    mean = sum(near.values()) / len(near)
    spread = math.sqrt(sum((value - mean) ** 2 for value in near.values()) / len(near))
    least = mean + (STANDS_OUT_UNASKED if unasked else STANDS_OUT) * spread
    best: dict[int, Place] = {}
    for place, value in near.items():
        if value > max(least, 0.0) and not hidden(place[0]):
            other = best.get(place[0])
            best[place[0]] = place if other is None or value > near[other] else other
    return heapq.nlargest(_NEAREST, best.values(), key=lambda place: (near[place], place))


def _dot(some: Vector, others: Vector) -> float:
    return sum(map(mul, some, others))
