"""The log in one SQLite file, the durable default for one machine.

In come the calls of `EventStore`; out go rows of a WAL database that many processes share.
Each process writes through one thread and one connection. Never here: what a body means.
"""

from .store import SQLiteStore

__all__ = ["SQLiteStore"]
