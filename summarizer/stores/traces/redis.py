"""Traces on the servers of a `RedisStore`, one script per call.

Commands of Redis 6.2 only. All keys of one owner share a hash tag, the owner's digest, so that a log and the
owner's list of logs change together on a Cluster too; the shared log has a tag of its own:

    ...r                   SET     digests of the owner's logs
    ...<log>m              HASH    v: schema; id: log_id; n: last number; c, s: the checkpoint's number, sums
    ...<log>l              STREAM  N-0 -> t: the body of trace N; never trimmed, and no number comes back
    ...<log>i              SET     digests of the trace ids
    {shared}o<owner>       HASH    in the shared log alone: digest of the trace id -> N, of one owner
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

from procedural.store import PAGE, Appended, Checkpoint, Page
from procedural.traces import Scope, Trace

from ...errors import SchemaTooNew
from ..redis.scripts import Script
from .packing import SHARED, LogKey, owner_digest, pack, pack_sums, trace_errors, unpack

if TYPE_CHECKING:
    from ..redis.client import Client

__all__ = ["RedisTraces"]

SCHEMA: Final = 1
"""Version of the layout above; stored with every log."""

_LOGS_AT_ONCE: Final = 100
_TRACES_AT_ONCE: Final = 1000
"""What one script of an erase removes at most, so that others wait milliseconds for the server."""

_OPEN = f"""
local function too_new(meta)
  local version = tonumber(redis.call('HGET', meta, 'v') or 0)
  return version > {SCHEMA} and {{'V', version}}
end
local function int(value) return string.format('%.0f', value) end
"""

_APPEND = f"""
if too_new(KEYS[1]) then return too_new(KEYS[1]) end
local meta, log, ids, ttl = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2])
local got = redis.call('HMGET', meta, 'id', 'n')
local log_id, last, added = got[1] or ARGV[1], tonumber(got[2] or 0), {{}}
if not got[1] then redis.call('UNLINK', log, ids) end
if ARGV[3] ~= '' then redis.call('SADD', KEYS[4], ARGV[3]) end
for k = 4, #ARGV, 3 do
  if redis.call('SADD', ids, ARGV[k]) == 1 then
    last = last + 1
    redis.call('XADD', log, int(last) .. '-0', 't', ARGV[k + 1])
    local owner = KEYS[tonumber(ARGV[k + 2])]
    if owner then redis.call('HSET', owner, ARGV[k], int(last)) end
    added[#added + 1] = (k - 4) / 3
  end
end
redis.call('HSET', meta, 'v', {SCHEMA}, 'id', log_id, 'n', int(last))
if ttl > 0 then
  for k = 1, #KEYS do redis.call('PEXPIRE', KEYS[k], ttl) end
end
return {{'A', log_id, last, added}}
"""
"""KEYS: meta, log, ids, then the owner's list of logs, or in the shared log the hash of each owner of the
batch. ARGV: a log_id should the log be new, the time to live in milliseconds or 0, the log's name in that
list or nothing; of each trace digest, body, and the place of its owner's hash in KEYS or 0."""

_READ = """
if too_new(KEYS[1]) then return too_new(KEYS[1]) end
local got = redis.call('HMGET', KEYS[1], 'id', 'n', 'c')
local from, through, sums, rows = ARGV[1], 0, '', {}
if from == '' then
  if got[3] then through, sums = tonumber(got[3]), redis.call('HGET', KEYS[1], 's') end
  from = int(through + 1)
end
if tonumber(ARGV[2]) > 0 then
  rows = redis.call('XRANGE', KEYS[2], from .. '-0', '+', 'COUNT', ARGV[2])
end
return {'A', got[1] or '', tonumber(got[2] or 0), through, sums, rows}
"""
"""KEYS: meta, log. ARGV: the first number, or nothing to begin after the checkpoint; most traces."""

_SAVE = """
if too_new(KEYS[1]) then return too_new(KEYS[1]) end
local got = redis.call('HMGET', KEYS[1], 'id', 'c')
if got[1] ~= ARGV[1] or (got[2] and tonumber(got[2]) >= tonumber(ARGV[2])) then return {'A', 0} end
redis.call('HSET', KEYS[1], 'c', ARGV[2], 's', ARGV[3])
return {'A', 1}
"""
"""KEYS: meta. ARGV: log_id, number, sums."""

_NAMES = """
return redis.call('SRANDMEMBER', KEYS[1], ARGV[1])
"""
"""KEYS: an owner's list of logs. ARGV: how many at most."""

_REMOVE = """
local removed = 0
for k = 2, #KEYS, 3 do
  if too_new(KEYS[k]) then return too_new(KEYS[k]) end
end
for k = 1, #ARGV do
  local meta, log, ids = KEYS[3 * k - 1], KEYS[3 * k], KEYS[3 * k + 1]
  removed = removed + redis.call('XLEN', log)
  redis.call('UNLINK', meta, log, ids)
  redis.call('SREM', KEYS[1], ARGV[k])
end
return {'A', removed}
"""
"""KEYS: an owner's list of logs; meta, log, ids of each. ARGV: their names in the list."""

_PURGE = """
if too_new(KEYS[1]) then return too_new(KEYS[1]) end
local meta, log, ids, mine = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found, digests, places = redis.call('HRANDFIELD', mine, ARGV[2], 'WITHVALUES'), {}, {}
for k = 1, #found, 2 do
  digests[#digests + 1] = found[k]
  places[#places + 1] = found[k + 1] .. '-0'
end
if #digests == 0 then return {'A', 0, 0} end
local removed = redis.call('XDEL', log, unpack(places))
redis.call('SREM', ids, unpack(digests))
redis.call('HDEL', mine, unpack(digests))
redis.call('HSET', meta, 'id', ARGV[1])
redis.call('HDEL', meta, 'c', 's')
return {'A', removed, redis.call('HLEN', mine)}
"""
"""Take some of an owner's traces from the shared log. KEYS: meta, log, ids, the owner's hash. ARGV: the new
log_id, how many at most."""


def _script(text: str, *, writes: bool = True) -> Script:
    return Script((_OPEN + text).strip().encode(), writes)


APPEND: Final = _script(_APPEND)
READ: Final = _script(_READ, writes=False)
SAVE: Final = _script(_SAVE)
NAMES: Final = _script(_NAMES, writes=False)
REMOVE: Final = _script(_REMOVE)
PURGE: Final = _script(_PURGE)


class _Keys(NamedTuple):
    meta: bytes
    log: bytes
    ids: bytes


class RedisTraces:
    """A `TraceStore` on Redis; `RedisStore.traces` makes it.

    `append`, `read` and `save` are one script, so one transaction. `erase` removes up to 100 logs, then up to
    1,000 traces of the shared log, in each; interrupted, it may be repeated and counts what was left. What a
    call returned for is as durable as the store's other writes (see `RedisStore`). A call that raises
    `TraceStoreError` may or may not have written. A call whose reply was lost is repeated: the
    traces of an append are then in the log and not in `added`, and a `save` that succeeded says `False`.

    Logs of an owner or a session vanish whole, so much later than their last append as the store's `ttl_s`
    says; the shared log stays.

    Args:
        client: The store's way to the servers.
        prefix: What all keys begin with.
        ttl_ms: Milliseconds after the last append until a log vanishes; 0 keeps it.
    """

    def __init__(self, client: Client, prefix: str, *, ttl_ms: int = 0) -> None:
        self._client = client
        self._prefix = f"{prefix}:t:"
        self._ttl_ms = ttl_ms

    async def append(self, scope: Scope, traces: Sequence[Trace]) -> Appended:
        key, packed = LogKey.of(scope), pack(traces)
        keys: list[bytes] = [*self._keys(key)]
        places: dict[str, int] = {}
        if key.owner is not None:
            keys.append(self._names(key.owner))
            values = [uuid4().hex, str(self._ttl_ms), key.digest]
        else:
            values = [uuid4().hex, "0", ""]
            for owner in dict.fromkeys(trace.owner for trace in packed):
                keys.append(self._of_owner(owner))
                places[owner] = len(keys)
        told = [value.encode() for value in values]
        for trace in packed:
            told += trace.digest, trace.body.encode(), b"%d" % places.get(trace.owner, 0)
        with trace_errors():
            log_id, last, added = await self._run(APPEND, keys, told)
        new: list[int] = added
        return Appended(log_id.decode(), last, frozenset([packed[place].trace_id for place in new]))

    async def read(self, scope: Scope, after: int | None = None, limit: int = PAGE) -> Page:
        keys = self._keys(LogKey.of(scope))
        first = b"" if after is None else b"%d" % (max(0, after) + 1)
        with trace_errors():
            found = await self._run(READ, (keys.meta, keys.log), (first, b"%d" % limit))
        log_id, last, through, sums, rows = found
        name = log_id.decode()
        checkpoint = Checkpoint(name, through, json.loads(sums)) if sums else None
        traces = [(int(place.partition(b"-")[0]), unpack(fields[1])) for place, fields in rows]
        return Page(name, last, checkpoint, tuple(traces))

    async def save(self, scope: Scope, checkpoint: Checkpoint) -> bool:
        values = (
            checkpoint.log_id.encode(),
            b"%d" % checkpoint.through_seq,
            pack_sums(checkpoint.sums).encode(),
        )
        with trace_errors():
            (saved,) = await self._run(SAVE, (self._keys(LogKey.of(scope)).meta,), values)
        return bool(saved)

    async def erase(self, owner: str | None) -> int:
        with trace_errors():
            return await self.remove(owner)

    async def remove(self, owner: str | None) -> int:
        """`erase` with the errors of an event store."""
        mine, removed = owner_digest(owner), 0
        names = self._names(mine)
        while found := await self._client.run(NAMES, (names,), (b"%d" % _LOGS_AT_ONCE,)):
            logs = [self._keys(LogKey(name.decode(), mine)) for name in found]
            keys = [names, *(key for log in logs for key in log)]
            (gone,) = await self._run(REMOVE, keys, found)
            removed += gone
        keys, left = [*self._keys(SHARED), self._of_owner(mine)], 1
        while left:
            values = (uuid4().hex.encode(), b"%d" % _TRACES_AT_ONCE)
            gone, left = await self._run(PURGE, keys, values)
            removed += gone
        return removed

    async def _run(self, script: Script, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Any]:
        letter, *told = await self._client.run(script, keys, values)
        if letter == b"V":
            raise SchemaTooNew("trace log", told[0], SCHEMA)
        return told

    def _keys(self, key: LogKey) -> _Keys:
        log = f"{self._tag(key.owner)}{key.digest}".encode()
        return _Keys(log + b"m", log + b"l", log + b"i")

    def _names(self, owner: str) -> bytes:
        return f"{self._tag(owner)}r".encode()

    def _of_owner(self, owner: str) -> bytes:
        return f"{self._tag(None)}o{owner}".encode()

    def _tag(self, owner: str | None) -> str:
        return f"{self._prefix}{{{owner or 'shared'}}}"
