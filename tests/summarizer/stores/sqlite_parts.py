"""A look inside a SQLite store, for tests of what it does below the contract."""

import sqlite3

from summarizer.stores import SQLiteStore


def connection_of(store: SQLiteStore) -> sqlite3.Connection:
    """The writing connection of a store that has written."""
    assert store._open is not None
    connection = store._open.writer._connection
    assert connection is not None
    return connection
