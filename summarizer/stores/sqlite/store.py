"""`SQLiteStore`: the calls of `EventStore`, handed to the writer or to a reader.

Encoding happens in the caller's task, SQL in threads; only the look whether anything is new
(`load` with `after_seq`) stays on the event loop, for it costs less than a thread switch.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl

from ...config import MAX_EVENT_BYTES, STORE_DEADLINE_S
from ...errors import InvalidSetting, SessionNotFound
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
from ..traces.sqlite import SQLiteTraces
from . import reads
from .postings import SQLitePostings
from .reader import Reader
from .rows import HEADS_KEPT, SELECT_HEAD, Key, dump, make_batch, make_held, make_key, read_events, read_head
from .writer import Work, Writer, closed_before_fork
from .writes import HandOver

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SQLiteStore"]

_T = TypeVar("_T")

_SCHEME: Final = "sqlite:///"
_EXPIRE_AT_ONCE: Final = 20
"""Conversations that `expire` removes in one transaction, so that writers do not wait for a sweep."""


class SQLiteStore:
    """An `EventStore` in one file, shared by any number of processes of one machine.

    Not for network file systems: SQLite's WAL needs memory that all its users share.
    May be used from several event loops and threads at once, and after a fork.

    Args:
        path: The file; made with its folder at first use. Relative to the folder that is current now.
        durability: `process`: an acknowledged write survives the death of this process (WAL with
            `synchronous=NORMAL`), `power`: also that of the machine (`FULL`: a flush per commit).
        clock: Seconds since 1970; processes that share the file must agree.
        max_event_bytes: Largest encoded event.
        deadline_s: Seconds to wait for a locked file before `StoreUnavailable`.

    Raises:
        InvalidSetting: A durability that this store cannot give, or a path that names no file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "process",
        clock: Callable[[], float] = time.time,
        max_event_bytes: int = MAX_EVENT_BYTES,
        deadline_s: float = STORE_DEADLINE_S,
    ) -> None:
        if durability not in ("process", "power"):
            raise InvalidSetting(f"SQLite cannot give durability {durability!r}; use 'process' or 'power'")
        self._path = _absolute(os.fspath(path))
        self._power = durability == "power"
        self._clock = clock
        self._max_event_bytes = max_event_bytes
        self._deadline_s = deadline_s
        self._open: _Opened | None = None
        self._seen: dict[str, tuple[Any, Head]] = {}

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        """Open `sqlite:///relative/path`, `sqlite:////absolute/path`, with `?durability=power` if wanted.

        The path is taken as it stands, without percent-decoding; a leading `~` is the home folder.

        Raises:
            InvalidSetting: No path, or an unknown option.
        """
        path, _, query = url.removeprefix(_SCHEME).partition("?")
        if not url.startswith(_SCHEME) or not path or path == ":memory:":
            raise InvalidSetting(
                f"{url!r} names no file; write sqlite:///relative.db or sqlite:////absolute.db, "
                "or memory:// for a store in memory"
            )
        options = dict(parse_qsl(query, keep_blank_values=True))
        durability: Any = options.pop("durability", "process")
        if options:
            option = next(iter(options))
            raise InvalidSetting(f"unknown option {option!r} in {url!r}; use durability=process or power")
        return cls(path, durability=durability)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{_SCHEME}{self._path}{'?durability=power' if self._power else ''}"

    @property
    def traces(self) -> SQLiteTraces:
        """The traces of tool calls in the same file; see `open_trace_store`."""
        return SQLiteTraces(self._write, self._read)

    def postings(self, owner: Owner, conversation_id: str) -> SQLitePostings:
        """Where the words of a conversation stand, in the same file; see `summarizer.recall`."""
        return SQLitePostings(self._write, self._read, make_key(owner, conversation_id))

    async def create(
        self,
        owner: Owner,
        conversation_id: str,
        settings: Mapping[str, Any],
        *,
        beginning: Beginning | None = None,
    ) -> Head:
        key = make_key(owner, conversation_id)
        if key.index:
            raise SessionNotFound(conversation_id, "children are opened by segmentation only")
        _check_unicode(owner, conversation_id)
        text = dump(settings)
        held = None if beginning is None else make_held(owner, beginning, key.root, self._max_event_bytes)
        return await self._write(lambda t: t.create(key, text, held, self._clock()))

    async def append(
        self,
        owner: Owner,
        session_id: str,
        events: Sequence[Event],
        *,
        expect: int | None = None,
        after_seq: int | None = None,
    ) -> Appended:
        key, batch = make_key(owner, session_id), make_batch(events, self._max_event_bytes)
        written = await self._write(lambda t: t.append(key, batch, expect, after_seq, self._clock()))
        others = read_events(written.others) if written.others else ()
        return Appended(written.head, written.first_seq, written.last_seq, written.duplicate, others)

    async def load(self, owner: Owner, session_id: str, *, after_seq: int | None = None) -> Loaded:
        key = make_key(owner, session_id)
        if after_seq is not None:
            head = self._peek(key)
            if head is not None and head.last_seq <= after_seq and head.index >= key.index:
                return Loaded(head, None, None, ())
        return await self._reader().run(lambda c: reads.load(c, key, after_seq, self._clock()))

    async def read(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        after_seq: int = 0,
        until_seq: int | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        key = make_key(owner, conversation_id)
        return await self._reader().run(lambda c: reads.log(c, key, after_seq, until_seq, limit))

    async def segments(
        self, owner: Owner, conversation_id: str, *, summaries: bool = False
    ) -> tuple[Segment, ...]:
        key = make_key(owner, conversation_id)
        return await self._reader().run(lambda c: reads.segments(c, key, summaries=summaries))

    async def forks(self, owner: Owner, conversation_id: str) -> tuple[Fork, ...]:
        key = make_key(owner, conversation_id)
        return await self._reader().run(lambda c: reads.forks(c, key))

    async def claim(
        self, owner: Owner, session_id: str, *, index: int, lease_s: float, preempt: bool = False
    ) -> Claim:
        key = make_key(owner, session_id)
        return await self._write(lambda t: t.claim(key, index, lease_s, self._clock(), preempt=preempt))

    async def renew(self, owner: Owner, session_id: str, *, fence: int, lease_s: float) -> bool:
        key = make_key(owner, session_id)
        return await self._write(lambda t: t.renew(key, fence, lease_s, self._clock()))

    async def release(self, owner: Owner, session_id: str, *, fence: int) -> None:
        key = make_key(owner, session_id)
        await self._write(lambda t: t.release(key, fence, self._clock()))

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
        key, batch = make_key(owner, conversation_id), make_batch(events, self._max_event_bytes)
        plan = HandOver(index, cut, dump(summary), seed_tokens, fence)
        return await self._write(lambda t: t.segment(key, plan, batch, self._clock()))

    async def list(
        self, owner: Owner | AnyOwner, *, limit: int = 50, after: ConversationRow | None = None
    ) -> tuple[ConversationRow, ...]:
        if isinstance(owner, str):
            _check_unicode(owner)
        return await self._reader().run(lambda c: reads.listing(c, owner, limit, after))

    async def retain(self, owner: Owner, conversation_id: str, *, before_index: int) -> int:
        key = make_key(owner, conversation_id)
        return await self._write(lambda t: t.retain(key, before_index, self._clock()), scrub=True)

    async def expire(self, owner: Owner | AnyOwner, *, idle_s: float) -> Erased:
        old = self._clock() - idle_s
        digests = await self._reader().run(lambda c: reads.idle(c, owner, old))
        total = Erased()
        for start in range(0, len(digests), _EXPIRE_AT_ONCE):
            some = digests[start : start + _EXPIRE_AT_ONCE]
            gone: Erased = await self._write(lambda t, some=some: t.remove(some, old), scrub=True)
            total = Erased(
                total.conversations + gone.conversations,
                total.sessions + gone.sessions,
                total.events + gone.events,
            )
        return total

    async def erase(
        self, owner: Owner, conversation_id: str | None = None, *, keep_forks: bool = False
    ) -> Erased:
        key = None if conversation_id is None else make_key(owner, conversation_id)
        now = self._clock
        return await self._write(lambda t: t.erase(owner, key, now(), keep_forks=keep_forks), scrub=True)

    async def close(self) -> None:
        import asyncio

        opened, self._open = self._open, None
        self._seen.clear()
        if opened is not None:
            await asyncio.to_thread(opened.close)

    def _peek(self, key: Key) -> Head | None:
        """The head as it is now, if a connection is at hand; a head seen before is not decoded again."""
        row = self._reader().peek(SELECT_HEAD, (key.digest,))
        if row is None:
            return None
        seen = self._seen.get(key.digest)
        if seen is not None and seen[0] == row:
            return seen[1]
        now = self._clock()
        head = read_head(key.root, row, now)
        if row[17] <= now:
            if len(self._seen) >= HEADS_KEPT:
                self._seen.clear()
            self._seen[key.digest] = row, head
        return head

    async def _write(self, work: Work, *, scrub: bool = False) -> Any:
        return await self._opened().writer.submit(work, deadline_s=self._deadline_s, scrub=scrub)

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        return await self._reader().run(work)

    def _reader(self) -> Reader:
        return self._opened().reader

    def _opened(self) -> _Opened:
        opened = self._open
        if opened is not None:
            return opened
        with _sharing:
            if self._open is None:
                self._open = _Opened(self._path, power=self._power, deadline_s=self._deadline_s)
                # Closing takes locks, which a finalizer must not: it may run in the middle of anything.
                closing = weakref.finalize(self, _thread.start_new_thread, self._open.close, ())
                closing.atexit = False
            return self._open


class _Opened:
    """What an open store holds: its own reader and a share in the process's writer of that file."""

    def __init__(self, path: Path, *, power: bool, deadline_s: float) -> None:
        self.reader = Reader(path, deadline_s)
        self.writer = _share(path, power=power)
        self._closed = False

    def close(self) -> None:
        """Wait for what is under way; the reader goes first, so that the last checkpoint is the writer's."""
        if not self._closed:
            self._closed = True
            self.reader.close()
            _give_up(self.writer)


_writers: dict[tuple[str, bool], Writer] = {}
_sharing = threading.RLock()


class _Sharing:
    """Keeps the table of writers whole in a forked child."""

    def before_fork(self) -> None:
        _sharing.acquire()

    def after_fork(self, *, child: bool) -> None:  # noqa: ARG002 - the same on both sides
        _sharing.release()


_kept_whole = _Sharing()
closed_before_fork(_kept_whole)


def _share(path: Path, *, power: bool) -> Writer:
    key = (os.path.realpath(path), power)
    with _sharing:
        writer = _writers.get(key)
        if writer is None:
            writer = _writers[key] = Writer(path, power=power)
        writer.users += 1
        return writer


def _give_up(writer: Writer) -> None:
    with _sharing:
        writer.users -= 1
        last = not writer.users
        if last:
            del _writers[os.path.realpath(writer.path), writer.power]
    if last:
        writer.stop()


def _absolute(path: str) -> Path:
    if not path or "\x00" in path:
        raise InvalidSetting(
            f"{path!r} is no path of a file; write sqlite:///relative.db or sqlite:////absolute.db"
        )
    return Path(path).expanduser().absolute()


def _check_unicode(*texts: Owner) -> None:
    for text in texts:
        try:
            _ = text is None or text.encode()
        except UnicodeEncodeError:
            raise InvalidSetting(
                f"{text!r} holds a lone surrogate; use a name that is valid Unicode"
            ) from None
