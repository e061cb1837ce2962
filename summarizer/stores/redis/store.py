"""`RedisStore`: the `EventStore` whose transactions are scripts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from ...config import IDS_KEPT_S, MAX_EVENT_BYTES, STORE_DEADLINE_S, TOMBSTONE_S, parse_session_id
from ...errors import (
    InvalidSetting,
    SessionNotFound,
    StaleFence,
    StoreConflict,
)
from ...events import Event
from ..protocol import (
    AnyOwner,
    Appended,
    Beginning,
    Claim,
    ConversationRow,
    Durability,
    Erased,
    Fork,
    Head,
    Loaded,
    Owner,
    Segment,
)
from ..removal import events_removed
from . import scripts
from .address import Address, check_prefix
from .answers import answer, optional_json, parts
from .client import Client
from .codec import (
    Batch,
    decode_events,
    decode_head,
    decode_segment,
    encode_json,
    keys_of,
)
from .creating import Creation
from .forks import Forks
from .listing import Listing
from .removing import Removal

if TYPE_CHECKING:
    from ..traces.redis import RedisTraces

__all__ = ["RedisStore"]

_REPLICA_MS: Final = 5000
_READ_PAGE: Final = 1000
_SEGMENT_PAGE: Final = 500
_UNTIL_TIP: Final = 2**53


class RedisStore:
    """An `EventStore` on Redis 6.2 or later, or Valkey; for many machines.

    An acknowledged write survives this process always. A crash of the server it survives as the server's
    persistence promises: with `appendfsync always`; with `everysec` but for the last second; without
    `appendonly yes` not at all. Replication is asynchronous, so the loss of a primary may lose the last
    writes, unless `durability="replica"` waits until one replica has confirmed each (set
    `min-replicas-to-write` on the server besides). The server must run with `maxmemory-policy noeviction`:
    eviction loses conversations.

    Sums are exact up to 2**53, so up to 9,000 USD for one conversation.
    An erase, a retain or an expiry whose reply was lost is repeated and then counts what is left: nothing.

    Args:
        address: Where; see `from_url`.
        durability: `"process"`, or `"replica"`.
        ttl_s: Seconds after its last writes at which a conversation vanishes whole, 1 or more; refreshed
            at every 16th event, so up to 15 appends early. `None` keeps it until it is erased.
        key_prefix: What all keys begin with; 1 to 32 letters, digits or `_.:-`.
        max_event_bytes: Largest encoded event.
        max_connections: Connections per server and event loop; the first carries writes, the others reads.
        deadline_s: Seconds for which a call is repeated while the server is away.
        ids_kept_s: Least seconds for which a repeated event id is recognized outside the open segment.

    Raises:
        InvalidSetting: A value out of range.
    """

    def __init__(
        self,
        address: Address,
        *,
        durability: Durability = "process",
        ttl_s: float | None = None,
        key_prefix: str = "ls",
        max_event_bytes: int = MAX_EVENT_BYTES,
        max_connections: int = 4,
        deadline_s: float = STORE_DEADLINE_S,
        ids_kept_s: float = IDS_KEPT_S,
    ) -> None:
        if durability not in ("process", "replica"):
            raise InvalidSetting(
                f"durability={durability!r} is not Redis's to give; use 'process' or 'replica', and set "
                "appendfsync on the server for power failures"
            )
        if max_connections < 1:
            raise InvalidSetting(f"max_connections={max_connections!r} is too small; use 1 or more")
        if ttl_s is not None and not 1 <= ttl_s < 1e10:
            raise InvalidSetting(f"ttl_s={ttl_s!r} is out of range; use seconds, 1 or more, or None")
        self._prefix = check_prefix(key_prefix)
        self._wait = durability == "replica"
        self._ttl_ms = 0 if ttl_s is None else int(ttl_s * 1000)
        self._max_event_bytes = max_event_bytes
        self._segment = scripts.segment_script(ids_kept_s)
        self._client = Client(
            address,
            connections=max_connections,
            deadline_s=deadline_s,
            replica_ms=_REPLICA_MS if self._wait else None,
        )
        self._listing = Listing(self._client, self._prefix)
        self._forks = Forks(self._client, self._prefix, self._ttl_ms)
        self._removal = Removal(
            self._client, self._prefix, self._listing, self._forks, partial(events_removed, self)
        )
        self._creation = Creation(
            self._client,
            self._prefix,
            self._listing,
            self._forks,
            self._removal,
            ttl_ms=self._ttl_ms,
            max_event_bytes=max_event_bytes,
        )

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        durability: Durability = "process",
        ttl_s: float | None = None,
        key_prefix: str = "ls",
        max_event_bytes: int = MAX_EVENT_BYTES,
        max_connections: int = 4,
        deadline_s: float = STORE_DEADLINE_S,
    ) -> Self:
        """A store by URL; nothing is sent before the first call.

        | URL | what |
        |---|---|
        | `redis://user:password@host:6379/0` | one server |
        | `rediss://host:6380/0` | the same, encrypted; certificate and host name are checked |
        | `redis+sentinel://user:password@host1:26379,host2/service/0` | the primary these Sentinels name |
        | `redis+cluster://host1:6379,host2:6379` | the Cluster these nodes belong to |

        Options in the query win over arguments: `ttl` (seconds), `durability`, `prefix`, `tls` (for Sentinel
        and Cluster), and redis-py's `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs`,
        `ssl_check_hostname`.

        Raises:
            InvalidSetting: A wrong URL or value. The text never holds the password.
        """
        address = Address.parse(url)
        return cls(
            address,
            durability=address.durability or durability,
            ttl_s=address.ttl_s or ttl_s,
            key_prefix=address.prefix or key_prefix,
            max_event_bytes=max_event_bytes,
            max_connections=max_connections,
            deadline_s=deadline_s,
        )

    @property
    def url(self) -> str:
        """Where it is, password masked."""
        return self._client.url

    @property
    def traces(self) -> RedisTraces:
        """The traces of tool calls on the same servers; see `open_trace_store`."""
        from ..traces.redis import RedisTraces

        return RedisTraces(self._client, self._prefix, ttl_ms=self._ttl_ms)

    async def create(
        self,
        owner: Owner,
        conversation_id: str,
        settings: Mapping[str, Any],
        *,
        beginning: Beginning | None = None,
    ) -> Head:
        root, index = parse_session_id(conversation_id)
        if index:
            raise SessionNotFound(conversation_id, "children are opened by segmentation only")
        return await self._creation.create(owner, root, settings, beginning)

    async def append(
        self,
        owner: Owner,
        session_id: str,
        events: Sequence[Event],
        *,
        expect: int | None = None,
        after_seq: int | None = None,
    ) -> Appended:
        root, index = parse_session_id(session_id)
        batch = Batch.of(events, self._max_event_bytes)
        packed = f"[{batch.packed(index, self._ttl_ms, wait=self._wait, expect=expect, after=after_seq)}]"
        keys = keys_of(self._prefix, owner, root)
        reply = await self._client.run(
            scripts.APPEND, keys if self._ttl_ms else keys[:4], (packed.encode(), *batch.values)
        )
        told, elements = parts(reply, ())
        words, stored = answer(told, session_id, write=True, expect=expect)
        head = decode_head(root, words[3], stored, batch.report)
        first = int(words[1])
        last = first + batch.size - 1
        others = decode_events(elements, max((after_seq or 0) + 1, head.first_seq)) if elements else ()
        repeated = words[2] == b"1"
        return Appended(head, first, last, repeated, tuple(e for e in others if not first <= e.seq <= last))

    async def load(self, owner: Owner, session_id: str, *, after_seq: int | None = None) -> Loaded:
        root, index = parse_session_id(session_id)
        keys = keys_of(self._prefix, owner, root)
        since = "false" if after_seq is None else after_seq
        reply = await self._client.run(
            scripts.LOAD, (keys.meta, keys.log, keys.segments), (f"[{index},{since}]".encode(),)
        )
        told, settings, summary, elements = parts(reply, b"", b"", ())
        words, stored = answer(told, session_id)
        head = decode_head(root, words[2], stored)
        return Loaded(
            head,
            optional_json(settings),
            optional_json(summary),
            tuple(decode_events(elements, int(words[1]))),
        )

    async def read(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        after_seq: int = 0,
        until_seq: int | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        root, index = parse_session_id(conversation_id)
        keys = keys_of(self._prefix, owner, root)
        end = _UNTIL_TIP if until_seq is None else until_seq
        left = _UNTIL_TIP if limit is None else limit
        found: list[Event] = []
        first = after_seq + 1
        while True:
            last = min(end, first + min(left, _READ_PAGE) - 1)
            values = (f"[{index},{first},{last}]".encode(),)
            reply = await self._client.run(scripts.READ, (keys.meta, keys.log), values)
            told, elements = parts(reply, ())
            words, _ = answer(told, conversation_id)
            start, tip = int(words[1]), int(words[2])
            found += decode_events(elements, start)
            # What `retain` removed is skipped: `start` is then beyond `first`.
            end, left, first = min(end, tip), left - len(elements), max(last + 1, start)
            if left <= 0 or first > end:
                return tuple(found)

    async def segments(
        self, owner: Owner, conversation_id: str, *, summaries: bool = False
    ) -> tuple[Segment, ...]:
        root, index = parse_session_id(conversation_id)
        keys = keys_of(self._prefix, owner, root)
        rows: list[bytes] = []
        tip, first = 0, 0
        while first <= tip:
            packed = f"[{index},{first},{first + _SEGMENT_PAGE - 1},{summaries:d}]"
            reply = await self._client.run(scripts.SEGMENTS, (keys.meta, keys.segments), (packed.encode(),))
            told, page = parts(reply, ())
            words, _ = answer(told, conversation_id)
            tip = int(words[1]) if first == 0 else tip
            rows += page
            first += _SEGMENT_PAGE
        chain: list[Segment] = []
        end: int | None = None
        for number in range(tip, -1, -1):
            segment = decode_segment(root, number, rows[2 * number], rows[2 * number + 1], end)
            chain.append(segment)
            end = segment.start_seq - 1
        return tuple(reversed(chain))

    async def forks(self, owner: Owner, conversation_id: str) -> tuple[Fork, ...]:
        return await self._forks.list(owner, parse_session_id(conversation_id)[0])

    async def claim(
        self, owner: Owner, session_id: str, *, index: int, lease_s: float, preempt: bool = False
    ) -> Claim:
        root, least = parse_session_id(session_id)
        packed = f"[{least},{index},{lease_s * 1000:.0f},{preempt:d}]"
        values = (packed.encode(), secrets.token_hex(8).encode())
        reply = await self._client.run(scripts.CLAIM, (keys_of(self._prefix, owner, root).meta,), values)
        words, stored = answer(reply, session_id, write=True, passing=b"L")
        head = decode_head(root, words[1], stored)
        return Claim(head.fence if words[0] == b"A" else None, head)

    async def renew(self, owner: Owner, session_id: str, *, fence: int, lease_s: float) -> bool:
        words, _ = answer(
            await self._lease(owner, session_id, fence, lease_s), session_id, write=True, passing=b"F"
        )
        return words[0] == b"A"

    async def release(self, owner: Owner, session_id: str, *, fence: int) -> None:
        reply = await self._lease(owner, session_id, fence, 0.0)
        if not reply.startswith((b"N", b"X")):
            answer(reply, session_id, write=True, passing=b"F")

    async def segment(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        index: int,
        cut: int,
        summary: Mapping[str, Any],
        seed_tokens: int,
        fence: int,
        events: Sequence[Event],
    ) -> Head:
        root, least = parse_session_id(conversation_id)
        batch = Batch.of(events, self._max_event_bytes)
        packed = batch.packed(least, self._ttl_ms, wait=self._wait)
        values = (
            f"[{packed},{index},{cut},{fence},{seed_tokens}]".encode(),
            *batch.values,
            encode_json(summary),
        )
        reply = await self._client.run(self._segment, keys_of(self._prefix, owner, root), values)
        if reply.startswith(b"C"):
            tip, start, last = reply.decode().split()[1:]
            raise StoreConflict(
                f"cannot close session {index} at seq {cut}: the tip is {tip}, open from {start} to {last}"
            )
        if reply.startswith(b"F"):
            newest = reply.decode().split()[1]
            raise StaleFence(f"fence {fence} is stale, the newest is {newest}; adopt the newer session")
        words, stored = answer(reply, conversation_id, write=True)
        return decode_head(root, words[1], stored, batch.report)

    async def list(
        self, owner: Owner | AnyOwner, *, limit: int = 50, after: ConversationRow | None = None
    ) -> tuple[ConversationRow, ...]:
        rows: list[ConversationRow] = []
        if limit <= 0:
            return ()
        async for page in self._listing.pages(owner, size=limit, after=after):
            rows += await self._listing.existing(page)
            if len(rows) >= limit or len(page) < limit:
                break
        return tuple(rows[:limit])

    async def retain(self, owner: Owner, conversation_id: str, *, before_index: int) -> int:
        root, index = parse_session_id(conversation_id)
        keys = keys_of(self._prefix, owner, root)
        values = (f"[{index},{before_index}]".encode(),)
        reply = await self._client.run(scripts.RETAIN, (keys.meta, keys.log, keys.segments), values)
        words, _ = answer(reply, conversation_id, write=True)
        events_removed(self, owner, root, before=int(words[2]))
        return int(words[1])

    async def expire(self, owner: Owner | AnyOwner, *, idle_s: float) -> Erased:
        return await self._removal.sweep(owner, idle_s=idle_s, tombstone_s=0)

    async def erase(
        self, owner: Owner, conversation_id: str | None = None, *, keep_forks: bool = False
    ) -> Erased:
        if conversation_id is None:
            gone = await self._removal.sweep(owner, idle_s=None, tombstone_s=TOMBSTONE_S)
            return replace(gone, traces=await self.traces.remove(owner))
        root, _ = parse_session_id(conversation_id)
        if keep_forks:
            return (await self._removal.one(owner, root, None, TOMBSTONE_S))[0]
        return await self._removal.with_forks(owner, root, TOMBSTONE_S)

    async def close(self) -> None:
        """Wait for calls under way on the running loop and disconnect; the next call connects anew."""
        await self._client.close()

    async def _lease(self, owner: Owner, session_id: str, fence: int, lease_s: float) -> bytes:
        root, least = parse_session_id(session_id)
        values = (f"[{least},{fence},{lease_s * 1000:.0f}]".encode(),)
        return await self._client.run(scripts.LEASE, (keys_of(self._prefix, owner, root).meta,), values)
