"""The log of a conversation whose history somebody else owns, and hands over whole each time.

An agent runtime with a state of its own, a client that resends everything: both hold a list of messages
that grows, and may be rewritten. The mirror finds how much of the list the log has, records the rest, and
opens a fork where the two differ. The log stays append-only, and is summarized once, not with each request.

Each message that it records carries a mark: its number in the host's list, and a digest of the list up to
it. So the open segment alone tells how far the log goes, in any worker, cold or warm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from ..context import Context
from ..context.policies import Policies
from ..errors import CannotFork, PartialBatch, SessionErased, SessionExists, SessionNotFound, StoreConflict
from ..events import Event, EventKind
from ..handover import MARK
from ..incoming import Answer, read_said
from ..messages import Message, as_wire
from ..session import SessionManager
from ..standing import standing
from ..telemetry import log
from .host_list import HostList, hashed, message_digest
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
        if session_id != root and not session_id.startswith(f"{root[:_LONGEST_ROOT]}^"):
            return None
        here = next((sm for sm in (self._begin, self._sm) if sm.conversation_id == session_id), None)
        sm = here or self._root.sibling(session_id, create=False)
        try:
            events = await sm.open_segment(seen=here is not None)
            return (sm, n, bytes.fromhex(chain)) if events and n <= events[-1].seq else None
        except (SessionNotFound, SessionErased, ValueError):
            return None

    async def view(
        self, max_tokens: int | None = None, *, recall: bool = False, policies: Policies | None = None
    ) -> Shown:
        """What the model is to be sent for the list of the last `sync`. See `SessionManager.context`."""
        context = await self._sm.context(max_tokens, recall=recall, policies=policies, cache_control=False)
        events = {event.seq: event for event in await self._sm.open_segment(seen=True)}
        hidden = self._host.hidden
        first = 1 - hidden if hidden else 0
        places = {seq: at + first for seq, at in _places(events, self._host).items() if at >= hidden}
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
            match = await _matched(sm, host)
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


@dataclass(frozen=True, slots=True)
class _Match:
    """How far a log goes with the host's list.

    Attributes:
        matched: Host's messages that the log holds, from the first on.
        rest: Numbers of the host's messages that the log lacks.
        seqs: Seqs of events that can be forked behind, the last that matched at the end.
        diverged: Whether the log goes on otherwise than the list.
    """

    matched: int
    rest: tuple[int, ...]
    seqs: tuple[int, ...] = ()
    diverged: bool = False


async def _matched(sm: SessionManager, host: HostList) -> _Match:
    try:
        events = list(await sm.open_segment())
    except SessionNotFound:
        return _Match(0, tuple(range(len(host))))
    anchor = _anchor(events, host)
    if anchor < 0 and events and events[0].seq > 1:
        if host.digests[:1] == [await _seed_digest(sm)]:
            return _walked(events, -1, host, begin=1)
        if begin := _handed_over(events, host):
            match = _walked(events, -1, host, begin=begin)
            if match.seqs or not match.diverged:  # Else it is forked behind an event of before.
                return match
        events = standing(await sm.read(include_all_segments=True))
        anchor = _anchor(events, host)
        if anchor < 0 and (not events or events[0].seq > 1):
            return _Match(0, (), diverged=True)  # Whatever was removed, it was not the host's list.
    return _walked(events, anchor, host)


async def _seed_digest(sm: SessionManager) -> bytes | None:
    """What the open segment's seed is known by: a host may have put it in the place of all before."""
    context = await sm.context(policies=[], cache_control=False)
    seeded = (wire for wire, seq in zip(context.messages, context.seqs, strict=True) if not seq)
    return next((message_digest(wire) for wire in seeded if wire["role"] == "user"), None)


def _anchor(events: Sequence[Event], host: HostList) -> int:
    """Index of the newest event up to which the log is the host's list; -1 if there is none."""
    for i in range(len(events) - 1, -1, -1):
        n, chain = _mark_of(events[i])
        if 0 < n <= len(host) and host.chain[n - 1].hex() == chain:
            return i
    return -1


def _handed_over(events: Sequence[Event], host: HostList) -> int:
    """How many of the host's messages lie before the open segment, as told; 0 if they are another list's."""
    opened = next((e for e in reversed(events) if e.kind is EventKind.SEGMENTED), None)
    n, chain = _read_mark(opened) if opened else (0, "")
    if not 0 < n <= len(host) or host.chain[n - 1].hex() != chain:
        return 0
    while n < len(host) and host.calls[n] is not None:
        n += 1  # A cut parts no call from its results.
    return n


def _mark_of(event: Event) -> tuple[int, str]:
    return _read_mark(event) if event.kind is EventKind.MESSAGE else (0, "")


def _read_mark(event: Event) -> tuple[int, str]:
    mark = event.data.get(MARK)
    return (mark["n"], mark["chain"]) if mark else (0, "")


def _walked(events: Sequence[Event], anchor: int, host: HostList, begin: int = 0) -> _Match:
    """Compare what follows the anchor with the list, one by one; without one, from message `begin` on."""
    at = _mark_of(events[anchor])[0] if anchor >= 0 else begin
    since = _said(events[_round_start(events, anchor) :])
    logged = {e.message.tool_call_id for e in since if e.message and e.message.role == "tool"}
    seqs = [e.seq for e in events[: anchor + 1] if _mark_of(e)[0]]
    for event in _said(events[anchor + 1 :]):
        message = cast("Message", event.message)
        if message.role == "tool":
            continue
        at = _past_results(host, at, logged)
        if at >= len(host) or host.digests[at] != message_digest(message.to_wire()):
            return _Match(at, (), tuple(seqs), diverged=True)
        seqs.append(event.seq)
        at += 1
    rest = [i for i in range(at, len(host)) if host.calls[i] is None or host.calls[i] not in logged]
    # An id may come back in a later round: from the first new message on, results are new.
    first = next((i for i in rest if host.calls[i] is None), len(host))
    rest = [i for i in rest if i < first] + list(range(first, len(host)))
    return _Match(at, tuple(rest), tuple(seqs))


def _said(events: Sequence[Event]) -> Iterator[Event]:
    """The messages that a host knows of: calls that were recorded without it are left out."""
    return (event for event in events if event.message is not None and not event.data.get("synthetic"))


def _round_start(events: Sequence[Event], anchor: int) -> int:
    """Index of the message whose results the anchor is among."""
    for i in range(anchor, -1, -1):
        message = events[i].message
        if message is not None and message.role != "tool":
            return i
    return 0


def _past_results(host: HostList, at: int, logged: set[str | None]) -> int:
    while at < len(host) and host.calls[at] is not None and host.calls[at] in logged:
        at += 1
    return at


async def _branch(sm: SessionManager, host: HostList, match: _Match) -> tuple[SessionManager, bool]:
    """The fork for lists that leave the log here; the same id in every worker."""
    root = sm.conversation_id
    place = hashed(root.encode(), host.before(match.matched)).hex()
    session_id = f"{root.partition('^')[0][:_LONGEST_ROOT]}^{place[:16]}"
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


async def _forked(sm: SessionManager, match: _Match, session_id: str) -> SessionManager:
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


def _places(events: Mapping[int, Event], host: HostList) -> dict[int, int]:
    """Of the open segment's events the number of the host's message, where it is known."""
    places: dict[int, int] = {}
    at = 0
    for seq, event in events.items():
        n, chain = _mark_of(event)
        if 0 < n <= len(host) and host.chain[n - 1].hex() == chain:
            places[seq] = n - 1
            at = n - 1
        elif event.message is not None and event.message.role == "tool":
            found = _result_behind(host, at, event.message.tool_call_id)
            if found is not None:
                places[seq] = found
    return places


def _result_behind(host: HostList, at: int, call_id: str | None) -> int | None:
    """The result of a call in the round that opens at message `at`."""
    for i in range(at + 1, len(host)):
        if host.calls[i] is None:
            return None
        if host.calls[i] == call_id:
            return i
    return None
