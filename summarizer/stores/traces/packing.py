"""Scopes and traces as an engine keeps them: digests for names, JSON for bodies. Pure.

Names of owners, sessions and traces may be any text, of any length; their digests are short, valid
everywhere, and tell nothing.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from procedural.errors import TraceStoreError
from procedural.traces import Scope, Trace

from ...errors import StoreError

__all__ = [
    "SHARED",
    "LogKey",
    "Packed",
    "owner_digest",
    "pack",
    "pack_sums",
    "trace_errors",
    "unpack",
]


class LogKey(NamedTuple):
    """What a scope's log is filed under.

    Attributes:
        digest: Of the scope, 24 hex characters.
        owner: Digest of the owner who has the log to itself; `None` for the shared log.
    """

    digest: str
    owner: str | None

    @classmethod
    def of(cls, scope: Scope) -> LogKey:
        """The key of a scope."""
        kind, owner, session = scope.parts
        # The length keeps apart what the names alone would not: both may hold any character.
        name = f"{kind} {len(owner)} {owner}{session}"
        return cls(_digest(name).hex(), None if scope.shared else owner_digest(scope.owner))


class Packed(NamedTuple):
    """A trace on its way.

    Attributes:
        trace_id: As it was given.
        digest: Of the id, 12 bytes.
        owner: Digest of the owner, by which a trace is found in the shared log.
        body: Its JSON, in ASCII.
    """

    trace_id: str
    digest: bytes
    owner: str
    body: str


def pack(traces: Sequence[Trace]) -> list[Packed]:
    """Encode traces."""
    return [
        Packed(
            trace.trace_id, _digest(trace.trace_id), owner_digest(trace.owner), json.dumps(trace.to_json())
        )
        for trace in traces
    ]


def unpack(body: str | bytes) -> Trace:
    """Decode a body; raises `TraceError` if a newer version wrote it."""
    return Trace.from_json(json.loads(body))


def pack_sums(sums: Mapping[str, Any]) -> str:
    """Encode a checkpoint's sums."""
    return json.dumps(dict(sums))


def owner_digest(owner: str | None) -> str:
    """24 hex characters for an owner; `None` has its own."""
    return _digest(Scope(owner).parts[1]).hex()


@contextmanager
def trace_errors() -> Generator[None]:
    """Raise a store's failure as the `TraceStoreError` that `TraceStore` promises."""
    try:
        yield
    except StoreError as error:
        raise TraceStoreError(str(error)) from error


def _digest(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()


SHARED: Final = LogKey.of(Scope(shared=True))
