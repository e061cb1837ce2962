"""The one writing connection of this process to a file, its thread, and group commit.

In come jobs from any event loop; everything that waits when the thread looks is one
transaction, and each caller gets its own outcome after the commit. Reads go elsewhere.

SQLite before 3.51.3 can corrupt a WAL file if two connections of one process write and
checkpoint at one bad instant (sqlite.org/wal.html#walresetbug, read 2026-11). So all stores of
this process on one file share a `Writer`, and only its connection checkpoints while it is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from ...config import STORE_DEADLINE_S
from ...errors import StoreUnavailable, SummarizerError
from .rows import HEADS_KEPT, Row
from .schema import BUSY_SLEEP_S, NO_FILE, connect, file_identity, is_busy, locked_text, store_error
from .writes import Transaction

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Job", "Writer", "closed_before_fork"]

GROUP: Final = 256
"""Most jobs of one transaction, so that other processes wait milliseconds for the lock."""

Work = Callable[[Transaction], Any]


class Job:
    """One caller's write, and where its outcome goes."""

    __slots__ = ("deadline", "future", "loop", "outcome", "scrub", "work")

    def __init__(self, work: Work, deadline_s: float, *, scrub: bool) -> None:
        self.work = work
        self.scrub = scrub
        self.deadline = time.monotonic() + deadline_s
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.outcome: tuple[Any, BaseException | None] | None = None

    def settle(self) -> None:
        """Answer the caller; runs on its loop. A caller that was cancelled is not disturbed."""
        if self.future.done():
            return
        result, error = self.outcome or (None, StoreUnavailable("the writer's thread failed"))
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Writer:
    """Writes one file for all stores of this process.

    Args:
        path: An absolute path.
        power: See `connect`.
    """

    def __init__(self, path: Path, *, power: bool) -> None:
        self.path = path
        self.power = power
        self.users = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file = NO_FILE
        self._heads: dict[str, Row] = {}
        self._version = -1
        self._thread: threading.Thread | None = None
        closed_before_fork(self)

    def submit(
        self, work: Work, *, deadline_s: float = STORE_DEADLINE_S, scrub: bool = False
    ) -> asyncio.Future[Any]:
        """Queue a write; the future is of the running loop.

        Args:
            work: Called in the writer's thread inside a transaction; again if that was rolled back.
            deadline_s: Seconds to wait for the lock.
            scrub: Empty the WAL file after the commit, so that erased text is gone from it too.
        """
        job = Job(work, deadline_s, scrub=scrub)
        self._jobs.put(job)
        if self._thread is None:
            self._start()
        return job.future

    def stop(self) -> None:
        """Finish what is queued, then close the connection and end the thread."""
        self._jobs.put(None)
        thread = self._thread
        if thread is None:
            self._disconnect()
        else:
            thread.join()

    def before_fork(self) -> None:
        """Close the connection: SQLite's locks and its notes about them must not be inherited."""
        self._guard.acquire()
        self._disconnect()

    def after_fork(self, *, child: bool) -> None:
        """Go on in the parent; begin anew, with nobody's jobs, in the child."""
        if child:
            self._jobs = SimpleQueue()
            self._thread = None
        self._guard.release()

    def _start(self) -> None:
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="longsplice-sqlite", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            while self._serve_group():
                pass
        finally:
            with self._guard:
                self._disconnect()
                self._thread = None
            # Not empty only if a defect of ours ended the thread; then nobody is left to wait forever.
            if not self._jobs.empty():
                self._start()

    def _serve_group(self) -> bool:
        """Serve what waits; `False` once told to stop. Keeps no job, for a job keeps its store alive."""
        jobs: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == GROUP or self._jobs.empty():
                break
            job = self._jobs.get()
        try:
            self._bring_home(jobs, careful=False)
        finally:
            _settle(jobs)
        return job is not None

    def _bring_home(self, jobs: list[Job], *, careful: bool) -> None:
        """Give every job its outcome: together, then with ids looked up if one was known, then each alone."""
        import sqlite3

        try:
            self._commit(jobs, careful=careful)
        except (sqlite3.Error, SummarizerError, OSError, ValueError, ArithmeticError, TypeError) as error:
            if isinstance(error, sqlite3.IntegrityError) and not careful:
                self._bring_home(jobs, careful=True)
            elif len(jobs) > 1:
                for job in jobs:
                    self._bring_home([job], careful=True)
            else:
                _fail(jobs, store_error(error, self.path) if isinstance(error, sqlite3.Error) else error)

    def _commit(self, jobs: list[Job], *, careful: bool) -> None:
        """Run jobs in one transaction; what this raises has been rolled back."""
        while jobs:
            with self._guard:
                connection = self._connected(jobs)
                if _begin(connection):
                    self._transact(connection, jobs, careful=careful)
                    return
            time.sleep(random.random() * BUSY_SLEEP_S)  # noqa: S311 - spreads contenders, keeps no secret
            self._give_up(jobs)

    def _give_up(self, jobs: list[Job]) -> None:
        """Take the jobs whose deadline has passed off the list."""
        now = time.monotonic()
        late = [job for job in jobs if job.deadline <= now]
        if late:
            jobs[:] = [job for job in jobs if job.deadline > now]
            _fail(late, StoreUnavailable(locked_text(self.path)))
            _settle(late)

    def _transact(self, connection: sqlite3.Connection, jobs: list[Job], *, careful: bool) -> None:
        try:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._heads.clear()
                self._version = version
            transaction = Transaction(connection, self._heads, careful=careful)
            outcomes = [_outcome(job, transaction) for job in jobs]
            transaction.flush()
            connection.execute("COMMIT")
        except BaseException:
            self._heads.clear()
            self._roll_back(connection)
            raise
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.outcome = outcome
        while len(self._heads) > HEADS_KEPT:
            del self._heads[next(iter(self._heads))]
        if any(job.scrub for job in jobs):
            _scrub(connection)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        import sqlite3

        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()

    def _connected(self, jobs: Iterable[Job]) -> sqlite3.Connection:
        """The connection; opened anew if the file was replaced: writes to an unlinked one would vanish."""
        if self._connection is not None and self._file == file_identity(self.path):
            return self._connection
        self._disconnect()
        left = min(job.deadline for job in jobs) - time.monotonic()
        self._connection = connect(self.path, power=self.power, deadline_s=max(0.0, left))
        self._file = file_identity(self.path)
        return self._connection

    def _disconnect(self) -> None:
        self._heads.clear()
        self._version = -1
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _begin(connection: sqlite3.Connection) -> bool:
    """Take the write lock at once: a transaction that reads first can be refused for good (BUSY_SNAPSHOT)."""
    import sqlite3

    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return False
        raise
    return True


def _scrub(connection: sqlite3.Connection) -> None:
    """Empty the WAL into the file; what hinders that now, a reader for one, only postpones it."""
    import sqlite3

    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _fail(jobs: list[Job], error: BaseException) -> None:
    for job in jobs:
        job.outcome = None, error


def _outcome(job: Job, transaction: Transaction) -> tuple[Any, BaseException | None]:
    try:
        return job.work(transaction), None
    except SummarizerError as error:
        return None, error


def _settle(jobs: list[Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_on_loop, own)
        except RuntimeError:  # The loop is closed, so nobody waits; the write itself stands.
            continue


def _settle_on_loop(jobs: list[Job]) -> None:
    for job in jobs:
        job.settle()


_forkable: WeakSet[Any] = WeakSet()
_held: list[Any] = []
_hooked = False


def closed_before_fork(holder: Any) -> None:
    """Have `before_fork()` and `after_fork(child=...)` of the holder called around each fork."""
    global _hooked
    _forkable.add(holder)
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=lambda: _after_fork(child=False),
            after_in_child=lambda: _after_fork(child=True),
        )


def _before_fork() -> None:
    for holder in list(_forkable):
        holder.before_fork()
        _held.append(holder)


def _after_fork(*, child: bool) -> None:
    while _held:
        _held.pop().after_fork(child=child)
