"""The log of a conversation whose history somebody else owns, and hands over whole each time.

An agent runtime with a state of its own, a client that resends everything: both hold a list of messages
that grows, and may be rewritten. The mirror finds how much of the list the log has, records the rest, and
opens a fork where the two differ. The log stays append-only, and is summarized once, not with each request.

Each message that it records carries a mark: its number in the host's list, and a digest of the list up to
it. So the open segment alone tells how far the log goes, in any worker, cold or warm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..context import Context
from ..context.policies import Policies
from ..errors import (
    CannotFork,
    InvalidSetting,
    PartialBatch,
    SessionErased,
    SessionExists,
    SessionNotFound,
    StoreConflict,
)
from ..incoming import Answer, read_said
from ..messages import as_wire
from ..session import SessionManager
from ..telemetry import log
from .host_list import HostList, hashed
from .matching import Match, matched, places_of
from .native import shown_whole

__all__ = ["Mirror", "Shown", "Synced"]

_MOST_BRANCHES: Final = 100
"""Forks that one request follows: each is another answer or another wording at one place."""
_TRIES: Final = 8
"""Times that a batch is made anew because another worker has written a part of it."""
_LONGEST_ROOT: Final = 150
"""Characters of the first conversation's id that the ids of its forks begin with."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Synced:
    """What a call has done to the log.

    Attributes:
        sm: The conversation that holds the host's list: the mirror's own, or a fork.
        recorded: How many messages were recorded.
        forked: Whether a fork was opened, since the host's list was rewritten.
    """

    sm: SessionManager
    recorded: int = 0
    forked: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What to send.

    Attributes:
        context: The request, with its report.
        parts: Its messages: the number of the host's own message, from 0, where that is shown whole; else
            the chat-shaped mapping, of a seed, a shortened result, or something in between.
    """

    context: Context
    parts: tuple[int | dict[str, Any], ...]


class Mirror:
    """Keeps a conversation's log in step with a list of messages that the host owns.

    One mirror serves one conversation, any number of calls; it may be thrown away after each.

    Args:
        sm: The conversation's manager.
    """

    def __init__(self, sm: SessionManager) -> None:
        self._root = sm
        self._begin = sm
        self._sm = sm
        self._host: HostList = HostList()

    @property
    def sm(self) -> SessionManager:
        """The manager of the conversation that holds the host's list: the given one, or a fork's."""
        return self._sm

    async def sync(
        self,
        messages: Sequence[_T],
        wire_of: Callable[[_T], Mapping[str, Any]] | None = None,
        *,
        data_of: Callable[[_T], Mapping[str, Any] | None] | None = None,
        stands_for: Mapping[str, Any] | None = None,
    ) -> Synced:
        """Record what the log lacks of the host's list.

        Messages count as the same if role, text, tool calls and their arguments are; of a tool's result the
        call's id is enough, since hosts shorten old results. A system prompt does not belong into the list.

        Args:
            messages: All of the host's messages, oldest first.
            wire_of: Makes a host's message the chat-shaped mapping. With it, messages that were handed over
                before are known by identity and not read again: such objects must not be changed in place.
            data_of: What is kept with a message's event, such as `native_data` gives.
            stands_for: What the first message stands for, as `stand_in` told when the host put it there. What
                neither this conversation nor a fork of it knows of is passed over.

        Returns:
            What was done; `sm` is from now on the conversation that holds the list.

        Raises:
            InvalidMessage: One of the new messages cannot be kept; nothing was written.
            StoreError: The store failed.
        """
        known, read = self._host if wire_of is not None else HostList(), wire_of or as_wire
        hidden = await self._hidden(stands_for) if stands_for and messages else None
        if hidden is not None:
            self._begin, n, chain = hidden
            if self._begin.conversation_id != self._sm.conversation_id:
                self._sm = self._begin
            self._host = known.behind(n, chain, messages[1:], read)
            self._host.data_of = data_of
            with suppress(_UnknownStandIn):
                return await self._sync(self._host)
        if self._begin is not self._root:
            self._begin = self._sm = self._root
        self._host = (known if not known.hidden else HostList()).continued(messages, read)
        self._host.data_of = data_of
        return await self._sync(self._host)

    def stand_in(self, k: int) -> dict[str, Any]:
        """What a message stands for that the host puts in the place of the first `k` of the last `sync`.

        JSON values, to be kept with that message, and handed to `sync` with each list that begins with it.
        """
        n = max(0, k - 1) + self._host.hidden if self._host.hidden else k
        return {"session_id": self._sm.conversation_id, "n": n, "chain": self._host.before(n).hex()}

    async def _hidden(self, stands_for: Mapping[str, Any]) -> tuple[SessionManager, int, bytes] | None:
        """Where a stand-in was put, how many messages it hides, and their digest; `None` if it cannot be.

        A client may have made it up: it can name no conversation but this one and its forks.
        """
        session_id, n, chain = (stands_for.get(key) for key in ("session_id", "n", "chain"))
        root = self._root.conversation_id
        if not (isinstance(session_id, str) and type(n) is int and n > 0 and isinstance(chain, str)):
            return None
        if session_id != root and not session_id.startswith(_fork_ids(root)):
            return None
        here = next((sm for sm in (self._begin, self._sm) if sm.conversation_id == session_id), None)
        try:
            sm = here or self._root.sibling(session_id, create=False)
            events = await sm.open_segment(seen=here is not None)
            return (sm, n, bytes.fromhex(chain)) if events and n <= events[-1].seq else None
        except (SessionNotFound, SessionErased, InvalidSetting, ValueError):
            return None

    async def view(
        self, max_tokens: int | None = None, *, recall: bool = False, policies: Policies | None = None
    ) -> Shown:
        """What the model is to be sent for the list of the last `sync`. See `SessionManager.context`."""
        context = await self._sm.context(max_tokens, recall=recall, policies=policies, cache_control=False)
        events = {event.seq: event for event in await self._sm.open_segment(seen=True)}
        hidden = self._host.hidden
        first = 1 - hidden if hidden else 0
        places = {seq: at + first for seq, at in places_of(events, self._host).items() if at >= hidden}
        parts: list[int | dict[str, Any]] = []
        for wire, seq in zip(context.messages, context.seqs, strict=True):
            known = seq in places and shown_whole(events[seq], wire)
            parts.append(places[seq] if known else wire)
        return Shown(context, tuple(parts))

    async def record(
        self,
        answer: object,
        *,
        usage: object = None,
        model: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Synced:
        """Record the model's answer to the list of the last `sync`; before its tools run.

        Args:
            answer: As `SessionManager.record` takes it; the host's list will end with it next time.
            usage: What the provider reported, if it is not in the answer.
            model: The model that answered, if it is not in the answer.
            data: What is kept with its event.
        """
        said = read_said(answer, usage=usage, model=model)
        message = said.message if isinstance(said, Answer) else said
        reported = (said.usage, said.model) if isinstance(said, Answer) else (None, None)
        return await self._sync(self._host.plus(message.to_wire(), data), *reported, late=True)

    async def _sync(
        self, host: HostList, usage: object = None, model: str | None = None, *, late: bool = False
    ) -> Synced:
        forked = False
        sm, tries = self._sm, 0
        for _ in range(_MOST_BRANCHES):
            match = await matched(sm, host)
            if match.matched < host.hidden:
                raise _UnknownStandIn
            if late and match.diverged and match.matched == len(host):
                return Synced(sm)  # The host went on with the answer before it was handed over here.
            if match.diverged:
                if sm is self._sm and sm is not self._begin:
                    sm = self._begin  # Every worker follows the same forks from here.
                    continue
                sm, opened = await _branch(sm, host, match)
                forked = forked or opened
                continue
            try:
                await _record(sm, host, match.rest, usage, model)
            except (PartialBatch, StoreConflict):
                tries += 1
                if tries >= _TRIES:
                    raise
                continue
            self._sm = sm
            return Synced(sm, len(match.rest), forked)
        raise CannotFork(
            f"of {self._root.conversation_id!r}",
            f"the host's list was rewritten at one place more than {_MOST_BRANCHES} times",
        )


class _UnknownStandIn(Exception):
    """No log has what the host's first message is said to stand for."""


def _fork_ids(root: str) -> str:
    """What the ids of a conversation's forks begin with, and of their forks."""
    return f"{root.partition('^')[0][:_LONGEST_ROOT]}^"


async def _branch(sm: SessionManager, host: HostList, match: Match) -> tuple[SessionManager, bool]:
    """The fork for lists that leave the log here; the same id in every worker."""
    root = sm.conversation_id
    place = hashed(root.encode(), host.before(match.matched)).hex()
    session_id = f"{_fork_ids(root)}{place[:16]}"
    known = sm.sibling(session_id)
    try:
        await known.open_segment()
    except SessionNotFound:
        try:
            made = await _forked(sm, match, session_id)
        except SessionExists:  # Another worker was faster.
            return known, False
        log.info("mirror.forked", session_id=session_id, conversation_id=root, matched=match.matched)
        return made, True
    return known, False


async def _forked(sm: SessionManager, match: Match, session_id: str) -> SessionManager:
    """Fork behind the last event that matches, or the nearest before it that may be parted from the rest."""
    for seq in reversed(match.seqs):
        try:
            return await sm.fork(seq, session_id=session_id)
        except CannotFork:
            continue
    try:
        return await sm.fork(before=1, session_id=session_id)
    except CannotFork:  # Its beginning was removed: nothing is shared.
        return sm.sibling(session_id)


async def _record(
    sm: SessionManager, host: HostList, rest: Sequence[int], usage: object, model: str | None
) -> None:
    answered = bool(rest) and rest[-1] == len(host) - 1
    await sm.record_all(
        [host.wire(i) for i in rest],
        data=[host.mark(i) for i in rest],
        usage=usage if answered else None,
        model=model if answered else None,
        idempotency_key=[f"mirror:{host.chain[i].hex()}{host.digests[i].hex()}" for i in rest],
    )
