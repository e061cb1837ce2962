"""Where traces are kept: an append-only log for each scope, and a summary that spares rescanning it.

A log numbers its traces 1, 2, 3 ... without gaps while it lives; numbers are never given again. It has a
`log_id`, new with each new log, so that a worker that remembers an erased log notices, and cannot bring what
was erased back through a summary.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import uuid4

from procedural.traces import Scope, Trace

__all__ = ["PAGE", "Appended", "Checkpoint", "InMemoryTraceStore", "Page", "TraceStore"]

PAGE: Final = 1000
"""Traces that one `read` gives at most, unless it is asked for fewer."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did.

    Attributes:
        log_id: Of the log, which the first append makes.
        last_seq: Number of the newest trace of the log after it.
        added: Ids that were new. A trace whose id the log knew was not written again.
    """

    log_id: str
    last_seq: int
    added: frozenset[str]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The sums of the traces up to a number.

    Attributes:
        log_id: Of the log they are of.
        through_seq: They hold exactly the traces up to this number.
        sums: For each tool its `Aggregate` as JSON. A store keeps it as it is.
    """

    log_id: str
    through_seq: int
    sums: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a log.

    Attributes:
        log_id: Of the log; empty if there is none.
        last_seq: Number of the log's newest trace, 0 if there is none.
        checkpoint: Only when reading from the start, and if one was saved.
        traces: With their numbers, ascending, those after the checkpoint or after `after`.
    """

    log_id: str
    last_seq: int
    checkpoint: Checkpoint | None
    traces: tuple[tuple[int, Trace], ...]


class TraceStore(Protocol):
    """The log of each scope, under the key `Scope.parts`.

    Each call is one transaction; any may raise `TraceStoreError`, after which the same call can be
    made again. An implementation for another engine stores `Trace.to_json` and reads `Trace.from_json`.
    """

    async def append(self, scope: Scope, traces: Sequence[Trace]) -> Appended:
        """Write traces at the end, all or none, and number them.

        Traces whose `trace_id` the log already holds, or that stand twice in the batch, are left out. Once
        it returns, they are there after the death of this process. The first append makes the log with a
        new `log_id`.
        """
        ...

    async def read(self, scope: Scope, after: int | None = None, limit: int = PAGE) -> Page:
        """Part of the log as one consistent snapshot, at most `limit` traces.

        With `after=None` the newest checkpoint and the traces after it; otherwise the traces with a
        greater number.
        """
        ...

    async def save(self, scope: Scope, checkpoint: Checkpoint) -> bool:
        """Keep the checkpoint, if it is of this log and reaches further than the one that is kept.

        Compare and set: `False`, and nothing changed, if the log has another `log_id` or the kept one
        reaches as far.
        """
        ...

    async def erase(self, owner: str | None) -> int:
        """Remove the owner's logs of every session, and the owner's traces from the shared log.

        A shared log from which traces were taken loses its checkpoint and gets a new `log_id`; the other
        traces keep their numbers. All in one transaction where the engine allows it, else the logs first.

        Returns:
            How many traces were removed.
        """
        ...


@dataclass(slots=True)
class _Log:
    log_id: str = field(default_factory=lambda: uuid4().hex)
    last_seq: int = 0
    ids: set[str] = field(default_factory=set[str])
    rows: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    checkpoint: tuple[int, str] | None = None


class InMemoryTraceStore:
    """A `TraceStore` in this process: gone with it, for tests and for one process.

    It keeps JSON text, as a durable store would, so nothing in it changes with a caller's object. Its calls
    never wait, so tasks of one event loop cannot interleave in them; it is not for several threads.
    """

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str, str], _Log] = {}

    async def append(self, scope: Scope, traces: Sequence[Trace]) -> Appended:
        texts = [(trace.trace_id, json.dumps(trace.to_json())) for trace in traces]
        log = self._logs.setdefault(scope.parts, _Log())
        added: set[str] = set()
        for trace_id, text in texts:
            if trace_id not in log.ids:
                log.last_seq += 1
                log.rows.append((log.last_seq, text))
                log.ids.add(trace_id)
                added.add(trace_id)
        return Appended(log.log_id, log.last_seq, frozenset(added))

    async def read(self, scope: Scope, after: int | None = None, limit: int = PAGE) -> Page:
        log = self._logs.get(scope.parts)
        if log is None:
            return Page("", 0, None, ())
        checkpoint = None
        if after is None and log.checkpoint is not None:
            checkpoint = Checkpoint(log.log_id, log.checkpoint[0], json.loads(log.checkpoint[1]))
        start = checkpoint.through_seq if checkpoint else after or 0
        first = bisect_right(log.rows, start, key=lambda row: row[0])
        rows = log.rows[first : first + limit]
        found = [(seq, Trace.from_json(json.loads(text))) for seq, text in rows]
        return Page(log.log_id, log.last_seq, checkpoint, tuple(found))

    async def save(self, scope: Scope, checkpoint: Checkpoint) -> bool:
        log = self._logs.get(scope.parts)
        if log is None or log.log_id != checkpoint.log_id:
            return False
        if log.checkpoint is not None and log.checkpoint[0] >= checkpoint.through_seq:
            return False
        log.checkpoint = (checkpoint.through_seq, json.dumps(dict(checkpoint.sums)))
        return True

    async def erase(self, owner: str | None) -> int:
        mine = Scope(owner).parts[1]
        gone = [key for key in self._logs if key[0] != "shared" and key[1] == mine]
        removed = sum(len(self._logs.pop(key).rows) for key in gone)
        shared = self._logs.get(Scope(shared=True).parts)
        if shared is None:
            return removed
        kept = [row for row in shared.rows if json.loads(row[1]).get("owner") != owner]
        lost = len(shared.rows) - len(kept)
        if lost:
            ids = {json.loads(text)["id"] for _, text in kept}
            shared.log_id, shared.rows, shared.ids, shared.checkpoint = uuid4().hex, kept, ids, None
        return removed + lost
