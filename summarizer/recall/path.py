"""Recall along the path of a fork: its own log, then its ancestors', each up to its fork and no further.

Each log is searched by its own index, which all forks of it share. Hits are merged by score; merging by rank
would lift the best of a log that holds nothing on the subject. With embeddings the score is a rank already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import log1p
from typing import Any

from ..ancestry import Ancestor, head_of
from ..errors import SessionNotFound
from .hits import Gap, Recalled, RecallHit, fit
from .meaning import Meaning
from .query import read_query
from .search import Log, check_request, search

__all__ = ["search_path"]

Weigh = Callable[[Sequence[RecallHit]], int]


async def search_path(  # noqa: PLR0917 - those of `search`, and the ancestors
    log: Log,
    ancestors: Sequence[Ancestor],
    text: str,
    limit: int,
    room: int | None,
    weigh: Weigh,
    *,
    hidden: Callable[[int], bool] = lambda _: False,
    meaning: Meaning | None = None,
    **options: Any,
) -> Recalled:
    """`search` over a conversation and those it was forked from, with the same arguments.

    Raises:
        InvalidSetting: A query that is no text, a limit or room out of range or no whole number, or an SQLite
            without FTS5.
        SessionNotFound: The conversation was removed meanwhile.
        StoreError: The store failed.
    """
    check_request(text, limit, room)
    if not ancestors:
        return await search(log, text, limit, room, weigh, hidden=hidden, meaning=meaning, **options)
    found = list[RecallHit]()
    gaps = list[Gap]()
    for one in (log, *await _logs_of(log, ancestors)):
        last = one.head.last_seq
        try:
            out = partial(_is_out, hidden, last)
            part = await search(one, text, limit, None, weigh, hidden=out, meaning=meaning, **options)
        except SessionNotFound:
            if one is log:
                raise
            continue  # An ancestor that was erased a moment ago.
        usual = 1.0 if meaning is not None else _usual_weight(one)
        found += [replace(hit, score=hit.score / usual) for hit in part]
        gaps += part.gaps
    found.sort(key=lambda hit: (hit.score, hit.seq), reverse=True)
    said = {hit.text: hit for hit in reversed(found)}
    best = [hit for hit in found if said[hit.text] is hit]
    return Recalled(fit(best, limit, room, weigh, read_query(text).words), gaps)


def _usual_weight(log: Log) -> float:
    """What a rare word weighs in a log of this length, by which scores of a long and a short log compare."""
    return log1p(max(1, log.head.last_seq - log.head.first_seq + 1))


def _is_out(hidden: Callable[[int], bool], last_seq: int, seq: int) -> bool:
    """What an ancestor said after the fork is not found, whatever else is hidden."""
    return seq > last_seq or hidden(seq)


async def _logs_of(log: Log, ancestors: Sequence[Ancestor]) -> list[Log]:
    """The ancestors' logs as they stood when they were forked, each without what a newer one holds."""
    first, logs = log.head.first_seq, list[Log]()
    for ancestor in reversed(ancestors):
        head = await head_of(log.store, log.owner, ancestor)
        last = min(ancestor.seq, first - 1)
        if head is not None and head.first_seq <= last:
            logs.append(replace(log, head=replace(head, last_seq=last), events=()))
            first = head.first_seq
    return logs
