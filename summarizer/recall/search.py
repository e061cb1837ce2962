"""One search over a whole conversation: index and open end asked, passages scored, neighbours fetched."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from ..errors import InvalidSetting
from ..events import Event
from ..standing import standing
from ..stores.protocol import EventStore, Head, Owner, Segment
from ..stores.sqlite.postings import Place
from .hits import Gap, Recalled, RecallHit, fit, neighbour
from .index import Answer, Index, text_of
from .meaning import Meaning
from .query import Query, read_query
from .ranking import Scored, candidates, diverse, fused, quotes_in, rarities, score_passage
from .words import passages, query_words, words

__all__ = ["MOST_HITS", "Log", "check_request", "search"]

MOST_HITS: Final = 100
"""Most hits that one query may ask for."""
_CANDIDATES: Final = 40
"""Events that are read and scored, at least; those whose words weigh most by the index alone."""
_MOST_PLACES: Final = 4096
"""Newest places of one word that are looked at: a word in more tells little, and a query stays fast."""
_BESIDE: Final = 0.3
"""Least share of what the best passage answers that another must answer to be shown beside it."""
_UNASKED_EVENTS: Final = 16_384
"""Most events that are indexed, in some 1.5 s, before what is brought unasked; the next takes up the rest."""
_DIVERSE: Final = 20
"""Hits of which each is to say something new; further ones follow by their score."""
_REACH: Final = 3
"""Events before and after a hit among which its neighbours are looked for; some are no messages."""
_GAP: Final = 4
"""Events between two that are wanted, below which one read brings both."""

Weigh = Callable[[Sequence[RecallHit]], int]


@dataclass(frozen=True, slots=True)
class Log:
    """The conversation that is searched, as it was just read.

    Attributes:
        store: Where it is.
        owner: Whose it is.
        head: Its head.
        events: Events at hand, without a gap; the rest is read from the store.
        gone: Seqs of messages that were taken back, and are not found.
    """

    store: EventStore
    owner: Owner
    head: Head
    events: Sequence[Event]
    gone: Collection[int] = ()

    def at_hand(self, after: int, until: int) -> Sequence[Event]:
        """Those of the events `(after, until]` that are at hand."""
        first = self.events[0].seq if self.events else until + 1
        return self.events[max(0, after + 1 - first) : max(0, until + 1 - first)]


async def search(
    log: Log,
    text: str,
    limit: int,
    room: int | None,
    weigh: Weigh,
    *,
    hidden: Callable[[int], bool] = lambda _: False,
    bearing: float = 0.0,
    meaning: Meaning | None = None,
) -> Recalled:
    """The passages that answer a query best, best first; at most one of an event.

    Args:
        log: The conversation.
        text: The query; any text.
        limit: Most hits, in [1, `MOST_HITS`].
        room: Most that the hits may weigh together, `None` for no limit.
        weigh: What hits weigh.
        hidden: Says of an event's seq whether it is not to be found.
        bearing: Least share of the query's weight that a hit must answer, in [0, 1]; above 0, the hits are
            brought along unasked.
        meaning: Finds by meaning too, save where quotes are sought; the two rankings are then fused.

    Raises:
        InvalidSetting: SQLite was built without FTS5.
        SessionNotFound: The conversation was removed meanwhile.
        StoreError: The store failed.
    """
    query = read_query(text)
    if not query.words:
        return Recalled()
    asked = [(word,) for word in query.words]
    asked += [tuple(query_words(quote)) for quote in query.quotes]
    at_most = _UNASKED_EVENTS if bearing else None
    answer = await Index(log.store, log.owner, log.head).ask(asked, _MOST_PLACES, at_most=at_most)
    scored = await _scored(log, query, answer, max(_CANDIDATES, 2 * limit), hidden)
    least = max(bearing, _BESIDE * max((one.share for one in scored), default=0.0))
    best = _best([one for one in scored if one.share >= least])
    if not best or not best[0].quotes:
        best = diverse(best, min(limit, _DIVERSE))
    gaps = _gaps(log, answer)
    if meaning is not None and not query.quotes:
        near = await meaning.ask(log, text, hidden, unasked=bearing > 0)
        best = fused(best, await _scored_at(log, near.places))
        gaps += near.gaps
    hits = await _hits(log, best[: 2 * limit])
    return Recalled(fit(hits, limit, room, weigh, query.words), gaps)


def _gaps(log: Log, answer: Answer) -> list[Gap]:
    """What the index says nothing of, if the log still has it."""
    gaps: list[Gap] = []
    if answer.since >= log.head.first_seq:
        gaps.append(Gap("words", "index_failed" if answer.failed else "index_full", answer.since))
    if answer.open_from > answer.through:
        gaps.append(Gap("words", "out_of_time", answer.open_from, after=answer.through))
    return gaps


def check_request(text: object, limit: object, room: object) -> None:
    """Raise for what the caller got wrong, types included: hosts pass on what a model or a form gave.

    Raises:
        InvalidSetting: A query that is no text, a limit or room out of range or no whole number.
    """
    if not isinstance(text, str):
        raise InvalidSetting(f"query={text!r}: use text")
    if not _is_whole(limit, MOST_HITS):
        raise InvalidSetting(f"limit={limit!r}: use a whole number from 1 to {MOST_HITS}")
    if room is not None and not _is_whole(room):
        raise InvalidSetting(f"max_tokens={room!r}: use a whole number from 1, or None for no limit")


def _is_whole(value: object, most: float = inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


async def _scored(
    log: Log, query: Query, answer: Answer, most: int, hidden: Callable[[int], bool]
) -> list[Scored]:
    """The index's candidates and all of the open end, scored by the same weights; in threads."""
    tail = await _read(log, answer.open_from, log.head.last_seq)
    open_end = await asyncio.to_thread(_passages_of, tail)
    weights, places = await asyncio.to_thread(_weighed, query, answer, open_end, most, hidden)
    events = await _fetch(log, {seq for seq, _ in places})
    found = list(_passages_at(places, events))
    found += [
        (event, text) for event, text, held in open_end if held & weights.keys() and not hidden(event.seq)
    ]

    def score() -> list[Scored]:
        last = log.head.last_seq
        quotes = {seq: quotes_in(text_of(e), query) for seq, e in {e.seq: e for e, _ in found}.items()}
        every = [score_passage(e, text, query, weights, last, quotes=quotes[e.seq]) for e, text in found]
        return [one for one in every if one.score > 0]

    return await asyncio.to_thread(score)


def _passages_of(events: Sequence[Event]) -> list[tuple[Event, str, set[str]]]:
    """The passages of events with their words."""
    return [(event, text, set(words(text))) for event in events for text in passages(text_of(event))]


def _weighed(
    query: Query,
    answer: Answer,
    open_end: Sequence[tuple[Event, str, set[str]]],
    most: int,
    hidden: Callable[[int], bool],
) -> tuple[dict[str, float], list[Place]]:
    """What each word weighs in this conversation, and the places of the index that weigh most."""
    lists, quoted = answer.places[: len(query.words)], answer.places[len(query.words) :]
    counts = [
        len(found) + sum(word in held for _, _, held in open_end)
        for word, found in zip(query.words, lists, strict=True)
    ]
    weights = rarities(query, answer.passages + len(open_end), counts)
    return weights, candidates([weights[word] for word in query.words], lists, quoted, most, hidden)


async def _scored_at(log: Log, places: Sequence[Place]) -> list[Scored]:
    """The passages at these places, in their order, as found by meaning."""
    events = await _fetch(log, {seq for seq, _ in places})
    found = {event.seq: Scored(event, text, 0.0, 0.0, 0) for event, text in _passages_at(places, events)}
    return [found[seq] for seq, _ in places if seq in found]


def _passages_at(places: Iterable[Place], events: Mapping[int, Event]) -> Iterator[tuple[Event, str]]:
    """The passages at these places, of events that are still there."""
    wanted: dict[int, set[int]] = {}
    for seq, number in places:
        wanted.setdefault(seq, set()).add(number)
    for seq, numbers in wanted.items():
        if seq in events:
            texts = enumerate(passages(text_of(events[seq])))
            yield from ((events[seq], text) for number, text in texts if number in numbers)


def _best(scored: Sequence[Scored]) -> list[Scored]:
    """Best first: one passage of an event and of all that say the same; only those with quotes if any has."""
    most_quotes = max((one.quotes for one in scored), default=0)
    seqs: set[int] = set()
    texts: set[str] = set()
    best: list[Scored] = []
    for one in sorted(scored, key=lambda one: (one.score, one.event.seq), reverse=True):
        if one.quotes < most_quotes or one.event.seq in seqs or one.text in texts:
            continue
        seqs.add(one.event.seq)
        texts.add(one.text)
        best.append(one)
    return best


async def _hits(log: Log, best: Sequence[Scored]) -> list[RecallHit]:
    near = range(-_REACH, _REACH + 1)
    seqs = {one.event.seq + step for one in best for step in near}
    events = await _fetch(log, {seq for seq in seqs if log.head.first_seq <= seq <= log.head.last_seq})
    chain = await log.store.segments(log.owner, log.head.conversation_id) if best and log.head.index else ()
    return [_hit(one, events, chain, log.head) for one in best]


def _hit(one: Scored, events: Mapping[int, Event], chain: Sequence[Segment], head: Head) -> RecallHit:
    event = one.event
    assert event.message is not None
    at = bisect_right(chain, event.seq, key=lambda segment: segment.start_seq) - 1
    whole = text_of(event)
    start = whole.find(one.text)
    before = whole[:start] or _said(events, range(event.seq - 1, event.seq - _REACH - 1, -1))
    after = whole[start + len(one.text) :] or _said(events, range(event.seq + 1, event.seq + _REACH + 1))
    return RecallHit(
        seq=event.seq,
        session_id=chain[at].session_id if chain else head.session_id,
        role=event.message.role,
        at=event.at,
        text=one.text,
        score=one.score,
        found_by=one.found_by,
        before=neighbour(before, ends=True),
        after=neighbour(after, ends=False),
    )


def _said(events: Mapping[int, Event], seqs: Iterable[int]) -> str:
    """The text of the first message among these that has any."""
    texts = (text_of(events[seq]) for seq in seqs if seq in events)
    return next((text for text in texts if text), "")


async def _fetch(log: Log, seqs: set[int]) -> dict[int, Event]:
    """Events by seq: those at hand, and the rest in as few reads as their gaps allow."""
    found = {event.seq: event for seq in seqs for event in log.at_hand(seq - 1, seq)}
    ranges: list[list[int]] = []
    for seq in sorted(seqs - found.keys()):
        if ranges and seq - ranges[-1][1] <= _GAP:
            ranges[-1][1] = seq
        else:
            ranges.append([seq, seq])
    read = log.store.read
    root = log.head.conversation_id
    pages = await asyncio.gather(
        *(read(log.owner, root, after_seq=first - 1, until_seq=last) for first, last in ranges)
    )
    found.update({event.seq: event for page in pages for event in standing(page, log.gone)})
    return found


async def _read(log: Log, after: int, until: int) -> Sequence[Event]:
    """Events of `(after, until]`, from those at hand if they are all there."""
    at_hand = log.at_hand(after, until)
    if len(at_hand) == until - after:
        return at_hand
    read = await log.store.read(log.owner, log.head.conversation_id, after_seq=after, until_seq=until)
    return standing(read, log.gone)
