"""The Lua that runs inside the server: one script per operation, so one operation is one transaction.

Commands of Redis 6.2 only. All keys of a conversation share a hash tag and are passed as KEYS:

    meta      HASH   h: the head as decimal numbers (see `codec`); q: schema, lease's end, last write, start
                     and first seq of the younger ids, whether there are older ones (milliseconds);
                     r: report JSON; p: settings JSON; b: creation; c: token of the newest claim.
                     A tombstone is the same key with the field x alone, so both never coexist.
    log       LIST   one element per event: cumulative tokens, tab, event id, tab, body
    ids       HASH   event id -> seq of the younger events;  old: the generation before
    segments  HASH   N: "start_seq start_tokens opened_at_us", N:s: summary JSON

Two generations of ids bound their memory: when a segment opens, the older one is dropped if all of it
lies before the open segment and is older than 24 hours. Numbers travel as decimal text, because Lua's
own conversion rounds above 14 digits; they are exact up to 2**53.

A reply begins with a letter: `A` done; `N` no such session; `X` erased; `V` newer schema; `C` conflict;
`P` partial batch; `F` stale fence; `L` lease held, or the tip moved on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

SCHEMA: Final = 1
"""Version of the layout above; stored with every conversation."""

_OPEN = """
local meta = KEYS[1]
local function split(text)
  local words, n = {}, 0
  for word in string.gmatch(text, '%S+') do n = n + 1; words[n] = word end
  return words
end
local function int(value) return string.format('%.0f', value) end
local a = split(ARGV[1])
local got = redis.call('HMGET', meta, 'h', 'q', 'r')
if not got[1] then
  if redis.call('EXISTS', meta) == 1 then return 'X' end
  return 'N'
end
local h, q = split(got[1]), split(got[2])
if tonumber(q[1]) > SCHEMA then return 'V ' .. q[1] end
local last, first = tonumber(h[3]), tonumber(h[14])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function reply(status, report)
  local lease = math.max(0, tonumber(q[2]) - now)
  return status .. ' ' .. int(lease) .. ' ' .. table.concat(h, ' ') .. '\\t' .. report
end
""".replace("SCHEMA", str(SCHEMA))
"""ARGV[1] holds small numbers as text; its first is the least index that the tip must have."""

_OF_CHAIN = """
if tonumber(a[1]) > tonumber(h[1]) then return 'N' end
"""

_WRITE = """
local n = tonumber(a[2])
local has_old = q[6] == '1'
local function each_thousand(work)
  for from = 1, n, 1000 do work(from, math.min(n, from + 999)) end
end
local function known()
  local seqs, some = {}, false
  each_thousand(function(from, to)
    local ids = {}
    for k = from, to do ids[k - from + 1] = ARGV[2 * k] end
    local young = redis.call('HMGET', KEYS[3], unpack(ids))
    local old = has_old and redis.call('HMGET', KEYS[4], unpack(ids))
    for k = from, to do
      local seq = young[k - from + 1] or (old and old[k - from + 1])
      if seq then seqs[k] = tonumber(seq); some = true end
    end
  end)
  if not some then return 0 end
  for k = 1, n do
    if not seqs[1] or seqs[k] ~= seqs[1] + k - 1 then return nil end
  end
  return seqs[1]
end
local function touch()
  -- WAIT looks at what its connection wrote last; a repeat must not be confirmed for lack of a write.
  if a[10] == '1' then redis.call('HSET', meta, 'h', got[1]) end
end
local function write()
  local before, total = last, tonumber(h[4])
  each_thousand(function(from, to)
    local push, ids = {}, {}
    for k = from, to do
      total, last = total + tonumber(a[10 + k]), last + 1
      push[k - from + 1] = int(total) .. '\\t' .. ARGV[2 * k] .. '\\t' .. ARGV[2 * k + 1]
      ids[2 * (k - from) + 1], ids[2 * (k - from) + 2] = ARGV[2 * k], int(last)
    end
    redis.call('RPUSH', KEYS[2], unpack(push))
    redis.call('HSET', KEYS[3], unpack(ids))
  end)
  h[3], h[4] = int(last), int(total)
  local extra, put = 2 * n + 2, {}
  if a[7] == '1' then h[9] = h[3]; put[1] = 'p'; put[2] = ARGV[extra]; extra = extra + 1 end
  if tonumber(a[5]) >= 0 then h[10] = int(before + 1 + a[5]) end
  if tonumber(a[6]) >= 0 then h[11] = int(before + 1 + a[6]) end
  if a[8] == '1' then h[12] = h[4]; put[#put + 1] = 'r'; put[#put + 1] = ARGV[extra] end
  for k = 11 + n, #a, 2 do
    local slot = 14 + tonumber(a[k])
    for gap = #h + 1, slot do h[gap] = '0' end
    h[slot] = int(h[slot] + a[k + 1])
  end
  q[3] = int(now)
  return before, put
end
local function save(before, put)
  redis.call('HSET', meta, 'h', table.concat(h, ' '), 'q', table.concat(q, ' '), unpack(put))
  local ttl = tonumber(a[9])
  if ttl > 0 and (before == 0 or math.floor(before / 16) ~= math.floor(last / 16)) then
    for k = 1, #KEYS do redis.call('PEXPIREAT', KEYS[k], int(now + ttl)) end
  end
end
"""
"""A batch. ARGV[1]: index, n, expect, after, message offset, skipped offset, settings?, report?, ttl in
milliseconds, wait?, tokens of each event, then counter and amount in pairs. ARGV[2...]: id and body of
each event, settings, report. `redis.call` refuses a full server at the first write, the RPUSH, so
nothing is half written."""

_APPEND = """
local start = known()
if not start then return 'P' end
local after, before = tonumber(a[4]), last
if start > 0 then
  touch()
  local done = reply('A ' .. int(start) .. ' 1', got[3] or '')
  if not after then return done end
  return {done, redis.call('LRANGE', KEYS[2], math.max(0, after + 1 - first), -1)}
end
if a[3] ~= 'n' and tonumber(a[3]) ~= last then return 'C ' .. h[3] end
local others = {}
if after and after < before then
  others = redis.call('LRANGE', KEYS[2], math.max(0, after + 1 - first), before - first)
end
local _, put = write()
save(before, put)
local done = reply('A ' .. int(before + 1) .. ' 0', a[8] == '1' and '' or got[3] or '')
if not after then return done end
return {done, others}
"""

_SEGMENT = """
local index, cut, fence, seed = a[#a - 3], tonumber(a[#a - 2]), a[#a - 1], a[#a]
for k = 1, 4 do a[#a] = nil end
local start = known()
if start and start > 0 and tonumber(h[1]) > tonumber(index) then
  touch()
  return reply('A', got[3] or '')
end
if h[13] ~= fence then return 'F ' .. h[13] end
if h[1] ~= index or cut < h[2] - 1 or cut > last then
  return 'C ' .. h[1] .. ' ' .. h[2] .. ' ' .. h[3]
end
if start ~= 0 then return 'P' end
local start_tokens = h[5]
if cut >= tonumber(h[2]) then
  start_tokens = string.match(redis.call('LINDEX', KEYS[2], cut - first), '^%d+')
end
local opened_seq, opened_turns = int(last + 1), h[16]
local before, put = write()
if now - q[4] >= IDS_KEPT_MS and tonumber(q[5]) <= cut + 1 then
  -- The batch's own ids move along with the generation that closes; they are kept a full turn longer.
  redis.call('RENAME', KEYS[3], KEYS[4])
  q[4], q[5], q[6] = int(now), int(last + 1), '1'
end
h[1], h[2], h[5], h[6] = int(index + 1), int(cut + 1), start_tokens, seed
h[7], h[8], q[2] = opened_seq, opened_turns, '0'
redis.call('HSET', KEYS[5], h[1], h[2] .. ' ' .. start_tokens .. ' ' .. int(clock[1] * 1000000 + clock[2]),
  h[1] .. ':s', ARGV[#ARGV])
save(0, put)
return reply('A', a[8] == '1' and ARGV[#ARGV - 1] or got[3] or '')
"""
"""ARGV[1] ends with index, cut, fence and seed tokens; the last ARGV is the summary."""

_LOAD = """
local after = tonumber(a[2])
local settings, summary = false, false
if not after or tonumber(h[9]) > after then settings = redis.call('HGET', meta, 'p') end
if not after or tonumber(h[7]) > after then summary = redis.call('HGET', KEYS[3], h[1] .. ':s') end
local from = math.max(tonumber(h[2]), (after or -1) + 1, first)
local events = {}
if from <= last then events = redis.call('LRANGE', KEYS[2], from - first, -1) end
return {reply('A ' .. int(from), got[3] or ''), settings or '', summary or '', events}
"""
"""ARGV[1]: index, after."""

_READ = """
local from, to = math.max(tonumber(a[2]), first), math.min(tonumber(a[3]), last)
local events = {}
if from <= to then events = redis.call('LRANGE', KEYS[2], from - first, to - first) end
return {'A ' .. int(from) .. ' ' .. h[3], events}
"""
"""ARGV[1]: index, first seq, last seq."""

_SEGMENTS = """
local to = math.min(tonumber(a[3]), tonumber(h[1]))
local rows = {}
for k = tonumber(a[2]), to do
  rows[#rows + 1] = redis.call('HGET', KEYS[2], int(k)) or ''
  rows[#rows + 1] = a[4] == '1' and redis.call('HGET', KEYS[2], int(k) .. ':s') or ''
end
return {'A ' .. h[1], rows}
"""
"""ARGV[1]: index, first index, last index, summaries?"""

_CLAIM = """
local repeated = redis.call('HGET', meta, 'c') == ARGV[2]
if not repeated then
  local held = tonumber(q[2]) > now and a[4] ~= '1'
  if held or h[1] ~= a[2] then return reply('L', got[3] or '') end
  h[13] = int(h[13] + 1)
end
q[2] = int(now + a[3])
redis.call('HSET', meta, 'h', table.concat(h, ' '), 'q', table.concat(q, ' '), 'c', ARGV[2])
return reply('A', got[3] or '')
"""
"""ARGV[1]: index, tip, lease in milliseconds, preempt?; ARGV[2]: a token of this claim, so that a
claim whose reply was lost gets its own fence when it is repeated."""

_LEASE = """
if h[13] ~= a[2] then return 'F ' .. h[13] end
local lease = tonumber(a[3])
q[2] = int(lease > 0 and now + lease or 0)
redis.call('HSET', meta, 'q', table.concat(q, ' '))
return 'A'
"""
"""Renew, or release with a lease of 0. ARGV[1]: index, fence, lease in milliseconds."""

_CREATE = """
local meta = KEYS[1]
local got = redis.call('HMGET', meta, 'b', 'x')
if got[2] then return 'X' end
if got[1] then
  if got[1] == ARGV[1] then return 'A' end
  return 'E'
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stamp = string.format('%.0f', now)
redis.call('HSET', meta, 'h', ARGV[3], 'q', 'SCHEMA 0 ' .. stamp .. ' ' .. stamp .. ' 1 0',
  'p', ARGV[4], 'b', ARGV[1])
for k = 2, 4 do redis.call('DEL', KEYS[k]) end
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], '0', '1 0 ' .. string.match(ARGV[1], '^%d+'))
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  for k = 1, #KEYS do redis.call('PEXPIREAT', KEYS[k], string.format('%.0f', now + ttl)) end
end
return 'A'
""".replace("SCHEMA", str(SCHEMA))
"""ARGV: creation (microseconds, blank, token), ttl in milliseconds, the first head, settings."""

_RETAIN = """
local index = int(math.max(0, math.min(tonumber(a[2]), tonumber(h[1]))))
local start = tonumber(string.match(redis.call('HGET', KEYS[3], index), '^%d+'))
local removed = math.max(0, start - first)
if removed > 0 then
  redis.call('LTRIM', KEYS[2], removed, -1)
  h[14] = int(first + removed)
  redis.call('HSET', meta, 'h', table.concat(h, ' '))
end
return 'A ' .. int(removed)
"""
"""ARGV[1]: index, the first index whose events stay."""

_REMOVE = """
local meta = KEYS[1]
local got = redis.call('HMGET', meta, 'h', 'q', 'b')
if not got[1] then return 'N' end
local h, q = {}, {}
for word in string.gmatch(got[1], '%S+') do h[#h + 1] = tonumber(word) end
for word in string.gmatch(got[2], '%S+') do q[#q + 1] = tonumber(word) end
if q[1] > SCHEMA then return 'V ' .. q[1] end
local idle, tombstone = tonumber(ARGV[1]), tonumber(ARGV[2])
if idle then
  local clock = redis.call('TIME')
  if clock[1] * 1000 + math.floor(clock[2] / 1000) - q[3] < idle then return 'L' end
end
for k = 1, #KEYS do redis.call('UNLINK', KEYS[k]) end
if tombstone > 0 then
  redis.call('HSET', meta, 'x', '1')
  redis.call('PEXPIRE', meta, tombstone)
end
return string.format('A %.0f %.0f %s', h[1] + 1, h[3] - h[14] + 1, string.match(got[3], '^%d+'))
""".replace("SCHEMA", str(SCHEMA))
"""ARGV: least idle milliseconds or `n`, the tombstone's milliseconds or 0."""

_INDEX_ADD = """
local clock = redis.call('TIME')
local created = string.format('%.0f', clock[1] * 1000000 + clock[2])
return {created, redis.call('ZADD', KEYS[1], 'NX', '-' .. created, ARGV[1])}
"""
"""Enter a conversation unless it is there; the server's microseconds, and whether it was new."""

_INDEX_SET = """
return redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
"""

_INDEX_DROP = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
local clock = redis.call('TIME')
local age = clock[1] * 1000000 + clock[2] + tonumber(score)
if (ARGV[2] ~= 'n' and tonumber(score) == -tonumber(ARGV[2])) or age > tonumber(ARGV[3]) then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
"""
"""Drop an entry whose conversation is gone: the creation that was removed, or one older than ARGV[3]
microseconds. A conversation created anew in between has another score, and stays listed."""

_INDEX_PAGE = """
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
"""
"""In a script so that the reply has one shape under both protocol versions."""

_EXISTS = """
return redis.call('HEXISTS', KEYS[1], 'h')
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server knows it.

    Attributes:
        text: The Lua.
        writes: Whether it may write; such calls are confirmed by a replica if that was asked for.
        sha: What EVALSHA calls it by.
    """

    text: bytes
    writes: bool = False
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        # The digest is the protocol's name for a script, not a protection.
        object.__setattr__(self, "sha", sha1(self.text, usedforsecurity=False).hexdigest().encode())


def _script(*parts: str, writes: bool = True) -> Script:
    return Script("".join(parts).strip().encode(), writes)


def segment_script(ids_kept_s: float) -> Script:
    """The hand-over; it alone turns the generations of ids, so it alone knows how long they are kept."""
    return _script(_OPEN, _OF_CHAIN, _WRITE, _SEGMENT.replace("IDS_KEPT_MS", f"{ids_kept_s * 1000:.0f}"))


APPEND: Final = _script(_OPEN, _OF_CHAIN, _WRITE, _APPEND)
LOAD: Final = _script(_OPEN, _OF_CHAIN, _LOAD, writes=False)
READ: Final = _script(_OPEN, _OF_CHAIN, _READ, writes=False)
SEGMENTS: Final = _script(_OPEN, _OF_CHAIN, _SEGMENTS, writes=False)
CLAIM: Final = _script(_OPEN, _OF_CHAIN, _CLAIM)
LEASE: Final = _script(_OPEN, _OF_CHAIN, _LEASE)
CREATE: Final = _script(_CREATE)
RETAIN: Final = _script(_OPEN, _OF_CHAIN, _RETAIN)
REMOVE: Final = _script(_REMOVE)
INDEX_ADD: Final = _script(_INDEX_ADD)
INDEX_SET: Final = _script(_INDEX_SET)
INDEX_DROP: Final = _script(_INDEX_DROP)
INDEX_PAGE: Final = _script(_INDEX_PAGE, writes=False)
EXISTS: Final = _script(_EXISTS, writes=False)
