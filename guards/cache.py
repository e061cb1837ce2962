"""Results that may be given again instead of calling.

A result is replayed only while nothing can have changed it (law 21): a tool that may be replayed, a
good result, not expired, and no write in its scope since the call that read it began. A tool that is
caught giving two answers to one question loses its licence for the rest of the session.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from guards.calls import CallRecord, Outcome, PendingCall, canonical_json, read_time
from guards.checks.results import said
from guards.epochs import Epochs
from guards.tools import ToolSpec
from guards.wording import Wording, quoted

__all__ = ["Cached", "ResultCache"]

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cached:
    """A result that may stand for a call.

    Attributes:
        call_id: The call that the tool answered with it.
        binding: Id of the binding that holds it, such as `v3`; `None` if it was not bound.
        age_s: Seconds since that call began.
        result: JSON value, a copy of the caller's own.
    """

    call_id: str
    binding: str | None
    age_s: float
    result: Any

    def message(self, wording: Wording) -> str:
        """For the model: which call's result this is, and how old."""
        call = self.binding.removeprefix("v") if self.binding else quoted(self.call_id)
        return wording.say("replayed", call=call, age=_age(self.age_s))


@dataclass(frozen=True, slots=True)
class _Entry:
    tool_name: str
    call_id: str
    binding: str | None
    scope: str | None
    epoch: int
    read_at: datetime
    text: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"read_at": self.read_at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _Entry:
        text, binding, scope = str(value["text"]), value["binding"], value["scope"]
        return cls(
            tool_name=str(value["tool_name"]),
            call_id=str(value["call_id"]),
            binding=None if binding is None else str(binding),
            scope=None if scope is None else str(scope),
            epoch=int(value["epoch"]),
            read_at=read_time(str(value["read_at"])),
            text=text,
            size=_size(text),
        )


class ResultCache:
    """The results of one session that may be replayed. Synchronous, in memory, bounded.

    `find` changes nothing that a later call could see; `put` is the only way in, so the state follows
    from the records of the calls.
    """

    def __init__(
        self,
        *,
        limit_bytes: int = 32 * _MIB,
        limit_entries: int = 10_000,
        ttl_s: float | None = 3600.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open an empty cache.

        Args:
            limit_bytes: Largest sum of the results' JSON in bytes; the least recently used go first.
            limit_entries: Largest number of results.
            ttl_s: Seconds for which a result of a tool without its own `ttl_s` is replayed; `None`: for
                as long as no write moves its scope.
            clock: Aware UTC. When it jumps back, everything read before counts as expired.

        Raises:
            ValueError: A limit below 0.
        """
        for name, value in (("limit_bytes", limit_bytes), ("limit_entries", limit_entries), ("ttl_s", ttl_s)):
            if value is not None and value < 0:
                raise ValueError(f"{name}={value!r} is below 0; 0 keeps nothing")
        self.ttl_s = ttl_s
        self._limit_bytes, self._limit_entries = limit_bytes, limit_entries
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._withdrawn: set[str] = set()
        self._bytes = 0
        self._hits = self._misses = 0
        self._latest: datetime | None = None
        self._ageless: set[str] = set()

    @property
    def withdrawn(self) -> frozenset[str]:
        """Tools that gave two results for one question; they are not replayed any more."""
        return frozenset(self._withdrawn)

    @property
    def hits(self) -> int:
        """Calls that were replayed."""
        return self._hits

    @property
    def misses(self) -> int:
        """Calls that could have been replayed, had their result been here, and ran."""
        return self._misses

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, call: PendingCall, spec: ToolSpec, epochs: Epochs) -> Cached | None:
        """The earlier result that may stand for this call, or `None`: run it.

        Args:
            call: The call; its fingerprint and scope count.
            spec: Its tool. One of unknown nature is not replayed, unless `spec.replay` says so.
            epochs: The session's writes.
        """
        now = self._now()
        entry = self._entries.get(call.fingerprint)
        if entry is None or not spec.may_replay or entry.tool_name in self._withdrawn:
            return None
        if call.fingerprint in self._ageless:
            return None
        if entry.scope != call.scope or entry.epoch != epochs.current(call.scope):
            return None
        age_s = (now - entry.read_at).total_seconds()
        ttl_s = self.ttl_s if spec.ttl_s is None else spec.ttl_s
        if age_s < 0 or (ttl_s is not None and age_s >= ttl_s):
            return None
        return Cached(entry.call_id, entry.binding, age_s, json.loads(entry.text))

    def put(self, record: CallRecord, epoch: int, ttl_s: float | None = None) -> None:
        """Take a finished call into account: to be called for tools that may be replayed.

        A good result is kept; a replay counts as a hit and as a use; any other outcome changes nothing.
        One that says that it failed, or that work goes on, is asked for anew, and drops the one before it.
        If the same question was answered differently at the same epoch and before the first answer expired,
        the tool's licence is withdrawn and its results are dropped.

        Args:
            record: The call. Its result is copied.
            epoch: Of its scope when the call began, so that a write which overlapped it disqualifies the
                result. For a tool that itself writes (an idempotent one): the epoch after its own write,
                if no other fell between.
            ttl_s: The tool's own; `None`: the cache's.
        """
        if record.outcome is Outcome.REPLAYED:
            self._hits += 1
            if record.fingerprint in self._entries:
                self._entries.move_to_end(record.fingerprint)
            return
        if record.outcome is not Outcome.OK:
            return
        self._misses += 1
        if record.tool_name in self._withdrawn:
            return
        text = _json(record.result) if _is_final(record.result) else None
        earlier = self._entries.get(record.fingerprint)
        if text is None:
            self._drop(record.fingerprint)
        elif earlier is not None and self._contradicts(record, epoch, ttl_s, earlier, text):
            self._withdraw(record.tool_name)
        else:
            self._keep(record.fingerprint, _entry(record, epoch, text))

    def snapshot(self) -> dict[str, Any]:
        """JSON, with every result."""
        return {
            "entries": [[key, entry.to_json()] for key, entry in self._entries.items()],
            "withdrawn": sorted(self._withdrawn),
            "hits": self._hits,
            "misses": self._misses,
        }

    @classmethod
    def restore(cls, value: Mapping[str, Any], **settings: Any) -> Self:
        """The inverse of `snapshot`; `settings` are those of the constructor."""
        cache = cls(**settings)
        for key, entry in value["entries"]:
            cache._keep(str(key), _Entry.from_json(entry))
        cache._withdrawn = {str(name) for name in value["withdrawn"]}
        cache._hits, cache._misses = int(value["hits"]), int(value["misses"])
        return cache

    def _now(self) -> datetime:
        """The time. After a jump back the age of what is here cannot be told, and counts as expired."""
        now = self._clock()
        if self._latest is not None and now < self._latest:
            self._ageless = set(self._entries)
        self._latest = now
        return now

    def _contradicts(
        self, record: CallRecord, epoch: int, ttl_s: float | None, earlier: _Entry, text: str
    ) -> bool:
        """Whether the answer differs from one that should still have held."""
        ttl_s = self.ttl_s if ttl_s is None else ttl_s
        expired = ttl_s is not None and (record.at - earlier.read_at).total_seconds() >= ttl_s
        return earlier.epoch == epoch and not expired and not _same(earlier.text, text)

    def _keep(self, fingerprint: str, entry: _Entry) -> None:
        self._drop(fingerprint)
        if entry.size > self._limit_bytes:
            return
        self._entries[fingerprint] = entry
        self._bytes += entry.size
        while len(self._entries) > self._limit_entries or self._bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.size

    def _drop(self, fingerprint: str) -> None:
        self._ageless.discard(fingerprint)
        entry = self._entries.pop(fingerprint, None)
        if entry is not None:
            self._bytes -= entry.size

    def _withdraw(self, tool_name: str) -> None:
        self._withdrawn.add(tool_name)
        for key in [key for key, entry in self._entries.items() if entry.tool_name == tool_name]:
            self._drop(key)


def _entry(record: CallRecord, epoch: int, text: str) -> _Entry:
    return _Entry(
        tool_name=record.tool_name,
        call_id=record.call_id,
        binding=record.binding,
        scope=record.scope,
        epoch=epoch,
        read_at=record.at,
        text=text,
        size=_size(text),
    )


def _is_final(result: Any) -> bool:
    """Whether the result does not say that it failed, or that work goes on."""
    answer = said(result)
    return not (answer.failed or answer.goes_on)


def _json(value: Any) -> str | None:
    try:
        return _encode(value)
    except ValueError:  # An integer beyond the interpreter's limit on digits has no text.
        return None


def _same(one: str, other: str) -> bool:
    """Equal as values: `1` and `1.0` are, and objects in any order of keys."""
    return one == other or canonical_json(json.loads(one)) == canonical_json(json.loads(other))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
