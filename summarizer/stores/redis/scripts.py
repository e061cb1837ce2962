"""The Lua that runs inside the server: one script per operation, so one operation is one transaction.

Commands of Redis 6.2 only. All keys of a conversation share a hash tag and are passed as KEYS:

    meta      HASH   h: the numbers of `HEAD` and the counters; q: schema, lease's end, last write, start and
                     first seq of the younger ids, whether there are older ones; both JSON arrays, in ms;
                     r: report JSON; p: settings JSON; b: creation; c: token of the newest claim;
                     a: the conversation that this one was forked from, and the last seq both share.
                     A tombstone is the same key with the field x alone, so both never coexist.
    log       LIST   one element per event: cumulative tokens, tab, event id, tab, body
    ids       HASH   event id -> seq of the younger events;  old: the generation before
    segments  HASH   N: "start_seq start_tokens opened_at_us", N:s: summary JSON
    forks     SET    roots of the conversations forked from this one; some may not be there (see `forks.py`)

Two generations of ids bound their memory: when a segment opens, the older one is dropped if all of it
lies before the open segment and is older than 24 hours. Numbers are written by `int`, because Lua's own
conversion rounds above 14 digits; they are exact up to 2**53.

A reply begins with a letter: `A` done; `N` no such session; `X` erased; `V` newer schema; `C` conflict;
`P` partial batch; `F` stale fence; `L` lease held, or the tip moved on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

SCHEMA: Final = 1
"""Version of the layout above; stored with every conversation."""

HEAD: Final = (
    "INDEX",
    "START",
    "LAST",
    "TOTAL",
    "START_TOKENS",
    "SEED",
    "OPENED",
    "TURNS",
    "SETTINGS",
    "MESSAGE",
    "SKIPPED",
    "REPORTED",
    "FENCE",
    "FIRST",
)
"""What the numbers of a head are, in order; the counters follow them."""

_STATE: Final = ("SCHEMA", "LEASE", "WRITTEN", "IDS_AT", "IDS_FIRST", "HAS_OLD")


def _places(names: tuple[str, ...]) -> str:
    return f"local {', '.join(names)} = {', '.join(str(place) for place in range(1, len(names) + 1))}"


_OPEN = f"""
{_places(HEAD)}
{_places(_STATE)}
local meta, a = KEYS[1], cjson.decode(ARGV[1])
local got = redis.call('HMGET', meta, 'h', 'q', 'r')
if not got[1] then
  if redis.call('EXISTS', meta) == 1 then return 'X' end
  return 'N'
end
local q = cjson.decode(got[2])
if q[SCHEMA] > {SCHEMA} then return 'V ' .. q[SCHEMA] end
local h = cjson.decode(got[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(value) return string.format('%.0f', value) end
local function packed(numbers)
  return string.format('[' .. string.rep('%.0f,', #numbers - 1) .. '%.0f]', unpack(numbers))
end
local function reply(words, head, report)
  return words .. ' ' .. int(math.max(0, q[LEASE] - now)) .. '\\t' .. head .. '\\t' .. (report or '')
end
"""
"""ARGV[1] is a JSON array of numbers; its first is the least index that the tip must have."""

_OF_CHAIN = """
if a[1] > h[INDEX] then return 'N' end
"""

_WRITE = """
local _, expect, after, message, skipped, settings, report, ttl, wait, tokens, sums = unpack(a)
local n, before = #tokens, h[LAST]
local function known()
  local first = 0
  for from = 1, n, 1000 do
    local ids = {}
    for k = from, math.min(n, from + 999) do ids[k - from + 1] = ARGV[2 * k] end
    local young = redis.call('HMGET', KEYS[3], unpack(ids))
    local old = q[HAS_OLD] == 1 and redis.call('HMGET', KEYS[4], unpack(ids)) or {}
    for k = 1, #ids do
      local seq = tonumber(young[k] or old[k] or 0)
      if from + k == 2 then first = seq end
      if seq ~= (first > 0 and first + from + k - 2 or 0) then return nil end
    end
  end
  return first
end
local function touch()
  -- WAIT looks at what its connection wrote last; a repeat must not be confirmed for lack of a write.
  if wait == 1 then redis.call('HSET', meta, 'h', got[1]) end
end
local function write()
  local last, total = before, h[TOTAL]
  for from = 1, n, 1000 do
    local push, ids = {}, {}
    for k = from, math.min(n, from + 999) do
      local id = ARGV[2 * k]
      total, last = total + tokens[k], last + 1
      push[#push + 1] = int(total) .. '\\t' .. id .. '\\t' .. ARGV[2 * k + 1]
      ids[#ids + 1] = id
      ids[#ids + 1] = last
    end
    redis.call('RPUSH', KEYS[2], unpack(push))
    redis.call('HSET', KEYS[3], unpack(ids))
  end
  h[LAST], h[TOTAL], q[WRITTEN] = last, total, now
  local extra, put = 2 * n + 2, {}
  if settings == 1 then h[SETTINGS] = last; put[1] = 'p'; put[2] = ARGV[extra]; extra = extra + 1 end
  if message >= 0 then h[MESSAGE] = before + 1 + message end
  if skipped >= 0 then h[SKIPPED] = before + 1 + skipped end
  if report == 1 then h[REPORTED] = total; put[#put + 1] = 'r'; put[#put + 1] = ARGV[extra] end
  for k = 1, #sums, 2 do
    local place = FIRST + sums[k]
    for gap = #h + 1, place do h[gap] = 0 end
    h[place] = h[place] + sums[k + 1]
  end
  return put
end
local function save(put, opens)
  local head = packed(h)
  redis.call('HSET', meta, 'h', head, 'q', packed(q), unpack(put))
  if ttl > 0 and (opens or before == 0 or math.floor(before / 16) ~= math.floor(h[LAST] / 16)) then
    for k = 1, #KEYS do redis.call('PEXPIREAT', KEYS[k], int(now + ttl)) end
  end
  return head
end
"""
"""A batch. ARGV[1]: index, expect, after, message offset, skipped offset, settings?, report?, ttl in
milliseconds, wait?, tokens of each event, counter and amount in turn; expect and after may be false, an
offset -1. ARGV[2...]: id and body of each event, settings, report. `redis.call` refuses a full server at the
first write, the RPUSH, so nothing is half written."""

_APPEND = """
local start = known()
if not start then return 'P' end
if start > 0 then
  touch()
  local done = reply('A ' .. int(start) .. ' 1', got[1], got[3])
  if not after then return done end
  return {done, redis.call('LRANGE', KEYS[2], math.max(0, after + 1 - h[FIRST]), -1)}
end
if expect and expect ~= before then return 'C ' .. int(before) end
local others = {}
if after and after < before then
  others = redis.call('LRANGE', KEYS[2], math.max(0, after + 1 - h[FIRST]), before - h[FIRST])
end
local done = reply('A ' .. int(before + 1) .. ' 0', save(write()), report == 0 and got[3])
if not after then return done end
return {done, others}
"""

_SEGMENT = """
local index, cut, fence, seed = unpack(a, 12)
local start = known()
if not start then return 'P' end
if start > 0 and h[INDEX] > index then
  touch()
  return reply('A', got[1], got[3])
end
if h[FENCE] ~= fence then return 'F ' .. int(h[FENCE]) end
if h[INDEX] ~= index or cut < h[START] - 1 or cut > before then
  return 'C ' .. int(h[INDEX]) .. ' ' .. int(h[START]) .. ' ' .. int(before)
end
if start > 0 then return 'P' end
if cut >= h[START] then
  h[START_TOKENS] = tonumber(string.match(redis.call('LINDEX', KEYS[2], cut - h[FIRST]), '^%d+'))
end
h[OPENED], h[TURNS] = before + 1, h[FIRST + 2]
local put = write()
if now - q[IDS_AT] >= IDS_KEPT_MS and q[IDS_FIRST] <= cut + 1 then
  -- The batch's own ids move along with the generation that closes; they are kept a full turn longer.
  redis.call('RENAME', KEYS[3], KEYS[4])
  q[IDS_AT], q[IDS_FIRST], q[HAS_OLD] = now, h[LAST] + 1, 1
end
h[INDEX], h[START], h[SEED], q[LEASE] = index + 1, cut + 1, seed, 0
local name, opened_at = int(index + 1), clock[1] * 1000000 + clock[2]
redis.call('HSET', KEYS[5], name, int(cut + 1) .. ' ' .. int(h[START_TOKENS]) .. ' ' .. int(opened_at),
  name .. ':s', ARGV[#ARGV])
return reply('A', save(put, true), report == 1 and ARGV[#ARGV - 1] or got[3])
"""
"""ARGV[1] ends with index, cut, fence and seed tokens; the last ARGV is the summary."""

_LOAD = """
local after = a[2] or -1
local settings, summary = '', ''
if h[SETTINGS] > after then settings = redis.call('HGET', meta, 'p') end
if h[OPENED] > after then summary = redis.call('HGET', KEYS[3], int(h[INDEX]) .. ':s') end
local from = math.max(h[START], after + 1, h[FIRST])
local events = {}
if from <= h[LAST] then events = redis.call('LRANGE', KEYS[2], from - h[FIRST], -1) end
return {reply('A ' .. int(from), got[1], got[3]), settings or '', summary or '', events}
"""
"""ARGV[1]: index, after or false."""

_READ = """
local from, to = math.max(a[2], h[FIRST]), math.min(a[3], h[LAST])
local events = {}
if from <= to then events = redis.call('LRANGE', KEYS[2], from - h[FIRST], to - h[FIRST]) end
return {'A ' .. int(from) .. ' ' .. int(h[LAST]), events}
"""
"""ARGV[1]: index, first seq, last seq."""

_SEGMENTS = """
local rows = {}
for k = a[2], math.min(a[3], h[INDEX]) do
  rows[#rows + 1] = redis.call('HGET', KEYS[2], int(k)) or ''
  rows[#rows + 1] = a[4] == 1 and redis.call('HGET', KEYS[2], int(k) .. ':s') or ''
end
return {'A ' .. int(h[INDEX]), rows}
"""
"""ARGV[1]: index, first index, last index, summaries?"""

_CLAIM = """
local repeated = redis.call('HGET', meta, 'c') == ARGV[2]
if not repeated then
  local held = q[LEASE] > now and a[4] == 0
  if held or h[INDEX] ~= a[2] then return reply('L', got[1], got[3]) end
  h[FENCE] = h[FENCE] + 1
end
q[LEASE] = now + a[3]
local head = packed(h)
redis.call('HSET', meta, 'h', head, 'q', packed(q), 'c', ARGV[2])
return reply('A', head, got[3])
"""
"""ARGV[1]: index, tip, lease in milliseconds, preempt?; ARGV[2]: a token of this claim, so that a
claim whose reply was lost gets its own fence when it is repeated."""

_LEASE = """
if h[FENCE] ~= a[2] then return 'F ' .. int(h[FENCE]) end
q[LEASE] = a[3] > 0 and now + a[3] or 0
redis.call('HSET', meta, 'q', packed(q))
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
local state = string.format('[SCHEMA,0,%.0f,%.0f,1,0]', now, now)
redis.call('HSET', meta, 'h', ARGV[3], 'q', state, 'p', ARGV[4], 'b', ARGV[1])
if ARGV[5] ~= '' then redis.call('HSET', meta, 'r', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', meta, 'a', ARGV[6]) end
for k = 2, #KEYS do redis.call('DEL', KEYS[k]) end
local place = 8
for k, command in ipairs({'RPUSH', 'HSET', 'HSET'}) do
  local last = place + cjson.decode(ARGV[7])[k] - 1
  for from = place, last, 1000 do
    redis.call(command, KEYS[({2, 3, 5})[k]], unpack(ARGV, from, math.min(last, from + 999)))
  end
  place = last + 1
end
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  for k = 1, #KEYS do redis.call('PEXPIREAT', KEYS[k], string.format('%.0f', now + ttl)) end
end
return 'A'
""".replace("SCHEMA", str(SCHEMA))
"""ARGV: creation (microseconds, blank, token), ttl in milliseconds, the first head, settings, report and
ancestor (may be empty), how many of the values that follow go to the log, to the ids and to the segments, and
these values."""

_RETAIN = """
local index = int(math.max(0, math.min(a[2], h[INDEX])))
local start = tonumber(string.match(redis.call('HGET', KEYS[3], index), '^%d+'))
local removed = math.max(0, start - h[FIRST])
if removed > 0 then
  redis.call('LTRIM', KEYS[2], removed, -1)
  h[FIRST] = start
  redis.call('HSET', meta, 'h', packed(h))
end
return 'A ' .. int(removed) .. ' ' .. int(h[FIRST])
"""
"""ARGV[1]: index, the first index whose events stay."""

_REMOVE = """
local idle, tombstone = a[2], a[3]
if idle >= 0 and now - q[WRITTEN] < idle then return 'L' end
local created = string.match(redis.call('HGET', meta, 'b'), '^%d+')
local ancestor, forks = redis.call('HGET', meta, 'a') or '', redis.call('SMEMBERS', KEYS[6])
for k = 1, #KEYS do redis.call('UNLINK', KEYS[k]) end
if tombstone > 0 then
  redis.call('HSET', meta, 'x', '1')
  redis.call('PEXPIRE', meta, tombstone)
end
return {'A ' .. int(h[INDEX] + 1) .. ' ' .. int(h[LAST] - h[FIRST] + 1) .. ' ' .. created, ancestor, forks}
"""
"""ARGV[1]: index, least idle milliseconds or -1, the tombstone's milliseconds or 0."""

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


def chain_script(text: str, *, writes: bool = True) -> Script:
    """A script of a conversation: ARGV[1] is its array, `h` its head."""
    return _script(_OPEN, _OF_CHAIN, text, writes=writes)


APPEND: Final = _script(_OPEN, _OF_CHAIN, _WRITE, _APPEND)
LOAD: Final = _script(_OPEN, _OF_CHAIN, _LOAD, writes=False)
READ: Final = _script(_OPEN, _OF_CHAIN, _READ, writes=False)
SEGMENTS: Final = _script(_OPEN, _OF_CHAIN, _SEGMENTS, writes=False)
CLAIM: Final = _script(_OPEN, _OF_CHAIN, _CLAIM)
LEASE: Final = _script(_OPEN, _OF_CHAIN, _LEASE)
CREATE: Final = _script(_CREATE)
RETAIN: Final = _script(_OPEN, _OF_CHAIN, _RETAIN)
REMOVE: Final = _script(_OPEN, _REMOVE)
INDEX_ADD: Final = _script(_INDEX_ADD)
INDEX_SET: Final = _script(_INDEX_SET)
INDEX_DROP: Final = _script(_INDEX_DROP)
INDEX_PAGE: Final = _script(_INDEX_PAGE, writes=False)
EXISTS: Final = _script(_EXISTS, writes=False)
