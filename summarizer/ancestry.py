"""What a fork shares with the conversations it comes from: named in its settings, read where it lies.

A fork holds a copy of the session it was forked in, up to the fork. What lies before is read from its
ancestors, each up to its fork and no further. An ancestor that was erased or has expired is passed over, and
so is another conversation that took its id since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .errors import SessionNotFound
from .events import Counters, Event
from .stores.protocol import HEAD_ONLY, EventStore, Head, Owner

__all__ = [
    "PAGE",
    "Ancestor",
    "Inheritance",
    "head_of",
    "inheritance_of",
    "read_ancestors",
    "read_log",
    "read_path",
]

PAGE: Final = 1000
"""Most events of one read."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A conversation that a fork comes from.

    Attributes:
        conversation_id: Its root.
        session_id: Its session whose seed and events the fork copied.
        seq: The last event that both share; 0 if none.
        event_id: That event's id, by which another log under the same root is told; `None` without one.
    """

    conversation_id: str
    session_id: str
    seq: int
    event_id: str | None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the settings."""
        return {
            "conversation_id": self.conversation_id,
            "session_id": self.session_id,
            "seq": self.seq,
            "event_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a fork began with.

    Attributes:
        ancestors: The conversations it comes from, oldest first; the last is the one it was forked from.
        total_tokens: Raw tokens of the path up to the fork.
        counters: Totals of the path up to the fork.
    """

    ancestors: tuple[Ancestor, ...] = ()
    total_tokens: int = 0
    counters: Counters = field(default_factory=Counters)

    @property
    def parent(self) -> Ancestor | None:
        """What it was forked from; `None` for a conversation that is no fork."""
        return self.ancestors[-1] if self.ancestors else None

    @property
    def seq(self) -> int:
        """The last event that is inherited."""
        return self.ancestors[-1].seq if self.ancestors else 0

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the settings, under `fork`."""
        return {
            "ancestors": [ancestor.to_dict() for ancestor in self.ancestors],
            "total_tokens": self.total_tokens,
            "counters": list(self.counters),
        }


def inheritance_of(settings: Mapping[str, Any]) -> Inheritance:
    """What the settings of a conversation say of its ancestors; nothing for one that is no fork."""
    told = settings.get("fork")
    if told is None:
        return Inheritance()
    return Inheritance(
        tuple(Ancestor(**one) for one in told["ancestors"]), told["total_tokens"], Counters(*told["counters"])
    )


async def read_log(
    store: EventStore, owner: Owner, conversation_id: str, after_seq: int = 0, until_seq: int | None = None
) -> list[Event]:
    """Events `(after_seq, until_seq]` of one conversation's own log, in pages."""
    found: list[Event] = []
    while True:
        after = found[-1].seq if found else after_seq
        page = await store.read(owner, conversation_id, after_seq=after, until_seq=until_seq, limit=PAGE)
        found += page
        if len(page) < PAGE:
            return found


async def head_of(store: EventStore, owner: Owner, ancestor: Ancestor) -> Head | None:
    """The ancestor's head as it is now; `None` if the conversation, or its part of the path, is gone."""
    try:
        loaded = await store.load(owner, ancestor.conversation_id, after_seq=HEAD_ONLY)
        if ancestor.seq < loaded.head.first_seq:
            return None
        shared = await store.read(
            owner, ancestor.conversation_id, after_seq=ancestor.seq - 1, until_seq=ancestor.seq
        )
    except SessionNotFound:
        return None
    return loaded.head if [event.event_id for event in shared] == [ancestor.event_id] else None


async def read_ancestors(
    store: EventStore,
    owner: Owner,
    ancestors: Sequence[Ancestor],
    *,
    after_seq: int = 0,
    before_seq: int,
) -> list[Event]:
    """Events `(after_seq, before_seq)` of the path, from the ancestors that still hold them, oldest first."""
    parts: list[list[Event]] = []
    for ancestor in reversed(ancestors):
        until = min(ancestor.seq, before_seq - 1)
        if until <= after_seq:
            continue
        if await head_of(store, owner, ancestor) is None:
            continue
        try:
            part = await read_log(store, owner, ancestor.conversation_id, after_seq, until)
        except SessionNotFound:  # Erased a moment ago.
            continue
        if part:
            parts.append(part)
            before_seq = part[0].seq
    return [event for part in reversed(parts) for event in part]


async def read_path(
    store: EventStore,
    owner: Owner,
    conversation_id: str,
    ancestors: Sequence[Ancestor],
    *,
    after_seq: int = 0,
    until_seq: int | None = None,
) -> list[Event]:
    """Events `(after_seq, until_seq]` of a conversation and, where it does not hold them, its ancestors."""
    own = await read_log(store, owner, conversation_id, after_seq, until_seq)
    last = own[0].seq - 1 if own else until_seq
    if last is None:
        last = (await store.load(owner, conversation_id, after_seq=HEAD_ONLY)).head.first_seq - 1
    return [
        *await read_ancestors(store, owner, ancestors, after_seq=after_seq, before_seq=last + 1),
        *own,
    ]
