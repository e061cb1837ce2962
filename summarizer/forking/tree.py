"""Sessions as a tree: chains, and the forks that leave them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SessionNotFound
from ..stores.protocol import EventStore, Fork, Owner, Segment

__all__ = ["SessionNode", "tree_of"]


@dataclass(frozen=True, slots=True)
class SessionNode:
    """One session and its neighbours.

    Attributes:
        session_id: The session.
        parent: The session before it; for the first session of a fork the one it was forked from, be that
            there or not; `None` for the first session of a conversation that is no fork.
        children: The next session of the chain, then the first sessions of the forks that left this one, by
            seq, then by id.
        start_seq: First seq of its range; a fork's first session has the seqs of what it copied.
        end_seq: Last seq of its range, `None` while it is open.
        fork_seq: For the first session of a fork the last event that it shares with its parent, else `None`.
    """

    session_id: str
    parent: str | None
    children: tuple[str, ...]
    start_seq: int
    end_seq: int | None
    fork_seq: int | None = None


@dataclass(frozen=True, slots=True)
class _Branch:
    """A conversation of the tree, and what it hangs on."""

    chain: Sequence[Segment]
    parent: str | None
    fork_seq: int | None


async def tree_of(
    store: EventStore,
    owner: Owner,
    conversation_id: str,
    *,
    parent: str | None = None,
    fork_seq: int | None = None,
) -> tuple[SessionNode, ...]:
    """The sessions of a conversation and of all that was forked from it, each before its children.

    Args:
        store: Where they are.
        owner: Whose they are.
        conversation_id: The conversation at the root of the tree.
        parent: For a fork the session it was forked from.
        fork_seq: For a fork the last event it shares with that.

    Raises:
        SessionNotFound: The conversation is not there.

    Cost: two reads for each conversation of the tree.
    """
    nodes: list[SessionNode] = []
    waiting = [_Branch(await store.segments(owner, conversation_id), parent, fork_seq)]
    while waiting:
        branch = waiting.pop()
        forks = await _forks_of(store, owner, branch.chain)
        nodes += _nodes(branch, forks)
        waiting += [_Branch(chain, _left(branch.chain, chain), fork.seq) for fork, chain in reversed(forks)]
    return tuple(nodes)


async def _forks_of(
    store: EventStore, owner: Owner, chain: Sequence[Segment]
) -> list[tuple[Fork, tuple[Segment, ...]]]:
    """The forks of a conversation with their chains; without those that were erased a moment ago."""

    async def one(fork: Fork) -> tuple[Segment, ...]:
        try:
            return await store.segments(owner, fork.conversation_id)
        except SessionNotFound:
            return ()

    try:
        forks = await store.forks(owner, chain[0].session_id)
    except SessionNotFound:
        return []
    chains = await asyncio.gather(*map(one, forks))
    return [(fork, found) for fork, found in zip(forks, chains, strict=True) if found]


def _left(chain: Sequence[Segment], fork: Sequence[Segment]) -> str:
    """The session that a fork continues: both start at one seq; the last, if some of the chain are empty."""
    same = [one.session_id for one in chain if one.start_seq == fork[0].start_seq]
    return same[-1] if same else chain[-1].session_id


def _nodes(branch: _Branch, forks: Sequence[tuple[Fork, tuple[Segment, ...]]]) -> list[SessionNode]:
    chain = branch.chain
    leaving: dict[str, list[str]] = {}
    for fork, found in forks:
        leaving.setdefault(_left(chain, found), []).append(fork.conversation_id)
    return [
        SessionNode(
            one.session_id,
            one.parent_id if i else branch.parent,
            (*(after.session_id for after in chain[i + 1 : i + 2]), *leaving.get(one.session_id, ())),
            one.start_seq,
            one.end_seq,
            None if i else branch.fork_seq,
        )
        for i, one in enumerate(chain)
    ]
