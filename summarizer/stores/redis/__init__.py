"""The log on Redis or Valkey: one server, Sentinel or Cluster, through redis-py.

Calls come in, scripts go out, one round trip each. A conversation's keys share one hash slot, so its
operations are transactions on a Cluster too. Never here: a client of the wire protocol.
"""

from __future__ import annotations

from .store import RedisStore

__all__ = ["RedisStore"]
