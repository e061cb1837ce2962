"""The reading connections of one store, and the threads that use them.

A read is one transaction on a connection of its own, hence a consistent snapshot that
no writer disturbs. Connections are lent to one thread at a time and never checkpoint.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .schema import NO_FILE, connect, file_identity, patiently, store_error
from .writer import closed_before_fork

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Reader"]

_T = TypeVar("_T")

THREADS: Final = 4
"""Most reads at a time in one store; a long export leaves room for the rest."""


class Reader:
    """Reads one file for one store.

    Args:
        path: An absolute path.
        deadline_s: Seconds to wait where SQLite must recover a file first.
    """

    def __init__(self, path: Path, deadline_s: float) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._free = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._file = NO_FILE
        self._closed = False
        self._threads: ThreadPoolExecutor | None = None
        closed_before_fork(self)

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a read in a thread, as one transaction."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="longsplice-sqlite-read")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def peek(self, statement: str, parameters: tuple[Any, ...]) -> Any:
        """One row by its key, on the caller's thread; `None` if there is none, or no connection is at hand.

        Costs microseconds for a row that this process has read or written before.
        """
        import sqlite3

        connection = self._lend()
        if connection is None:
            self._give_back(None)
            return None
        try:
            return connection.execute(statement, parameters).fetchone()
        except sqlite3.Error:
            return None  # The read in a thread, which follows, waits or says what is wrong.
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Wait for reads under way, then close all."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        with self._free:
            self._closed = True
            self._drop_idle()

    def before_fork(self) -> None:
        """Wait for reads under way and close: a child must inherit no connection."""
        self._free.acquire()
        self._free.wait_for(lambda: not self._lent)
        self._drop_idle()

    def after_fork(self, *, child: bool) -> None:
        """Go on in the parent; in the child there are no threads."""
        if child:
            self._threads = None
        self._free.release()

    def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        import sqlite3

        connection = self._lend()
        try:
            if connection is None:
                connection = connect(self._path, power=False, deadline_s=self._deadline_s, query_only=True)
            return patiently(_snapshot, connection, work, deadline_s=self._deadline_s)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error
        finally:
            self._give_back(connection)

    def _lend(self) -> sqlite3.Connection | None:
        with self._free:
            self._lent += 1
            now = file_identity(self._path)
            if now != self._file:
                self._drop_idle()
                self._file = now
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        with self._free:
            self._lent -= 1
            if connection is not None and not self._closed:
                self._idle.append(connection)
            elif connection is not None:
                connection.close()
            self._free.notify_all()

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _snapshot(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
