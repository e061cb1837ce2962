"""A conversation and its forks as JSON lines, and back: every session, range, fork and event once.

The first line says what follows; then each conversation, ancestors before their forks: a line of its own, a
line for each session, a line for each event. What a fork copied from a conversation of the same file is not
written again. Seqs, ids, times, seeds, settings and totals are kept; who holds a lease is not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from ..ancestry import read_log
from ..config import parse_session_id
from ..errors import SchemaTooNew, SessionExists, SessionNotFound
from ..events import Event, decode_event, encode_event
from ..stores.protocol import HEAD_ONLY, Beginning, EventStore, Fork, Head, Owner, Segment
from .intact import check_beginning, check_event, check_settings, check_summary, read_as
from .openai import InvalidTranscript

__all__ = ["export_tree", "import_tree"]

VERSION: Final = 1
_NOT_EXPORTED: Final = frozenset({"conversation_id", "fence", "lease_s"})
_WRONG: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading JSON of another shape raises."""
_FIX: Final = "give a file that export_tree wrote, whole and unchanged"


async def export_tree(store: EventStore, owner: Owner, session_id: str) -> AsyncIterator[str]:
    """The lines of a conversation and of all its forks, without line ends.

    Each conversation is written as it stands when its turn comes.

    Raises:
        SessionNotFound: The conversation is not there.

    Cost: the whole of each conversation in memory, one at a time.
    """
    root, _ = parse_session_id(session_id)
    await store.load(owner, root, after_seq=HEAD_ONLY)
    yield _dump({"longsplice": "tree", "v": VERSION, "root": root})
    waiting: list[tuple[str, Fork | None, int]] = [(root, None, 0)]
    while waiting:
        ancestor, fork, first = waiting.pop()
        try:
            lines, first_seq = await _conversation(store, owner, ancestor, fork, first)
            forks = await store.forks(owner, ancestor if fork is None else fork.conversation_id)
        except SessionNotFound:  # Erased meanwhile.
            continue
        for line in lines:
            yield _dump(line)
        here = ancestor if fork is None else fork.conversation_id
        waiting += [(here, one, first_seq) for one in reversed(forks)]


async def _conversation(
    store: EventStore, owner: Owner, ancestor: str, fork: Fork | None, held_from: int
) -> tuple[list[dict[str, Any]], int]:
    """The lines of one conversation, and its first seq; `held_from` is its ancestor's."""
    root = ancestor if fork is None else fork.conversation_id
    loaded = await store.load(owner, root)
    head = loaded.head
    chain = (await store.segments(owner, root, summaries=True))[: head.index + 1]
    copied = fork is not None and held_from <= head.first_seq
    after = fork.seq if copied and fork is not None else head.first_seq - 1
    events = await read_log(store, owner, root, after, head.last_seq)
    told = {name: value for name, value in asdict(head).items() if name not in _NOT_EXPORTED}
    own: dict[str, Any] = {
        "conversation": root,
        "settings": loaded.settings,
        "head": {**told, "counters": list(head.counters)},
        "fork_of": None if fork is None else {"conversation": ancestor, "seq": fork.seq},
        "copied": copied,
    }
    return [own, *map(_session, chain), *map(_event, events)], head.first_seq


def _session(segment: Segment) -> dict[str, Any]:
    return {
        "session": segment.session_id,
        "start_seq": segment.start_seq,
        "end_seq": segment.end_seq,
        "start_tokens": segment.start_tokens,
        "opened_at": segment.opened_at.isoformat(),
        "summary": segment.summary,
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "event_id": event.event_id,
        "cumulative_tokens": event.cumulative_tokens,
        "event": json.loads(encode_event(event)),
    }


def _dump(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class _Read:
    """One conversation of a file."""

    line: int
    told: Mapping[str, Any]
    sessions: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    events: list[Event] = field(default_factory=list[Event])


async def import_tree(
    store: EventStore, owner: Owner, lines: Iterable[str], *, source: str = "tree"
) -> tuple[str, ...]:
    """Put back what `export_tree` wrote, under the same ids; the conversations' ids, ancestors first.

    Args:
        store: Where to put it.
        owner: Who shall own it.
        lines: The lines; empty ones are passed over.
        source: Their name in errors.

    Raises:
        SessionExists: One of the ids is taken; nothing was written.
        SessionErased: One of the ids was erased within the last 24 hours; those before it were written.
        ValueTooLarge: An event exceeds the store's `max_event_bytes`; so too.
        InvalidTranscript: The lines are no such file, or were changed in a way that no reader could go on
            from; the text names the line. Nothing was written.
        SchemaTooNew: A newer longsplice wrote it.

    Cost: the whole file in memory; each conversation is one write, so a server must take it at once.
    """
    read = _read_lines(lines, source)
    made: dict[str, Beginning] = {}
    for one in read:
        beginning = _beginning(one, made, source)
        root = beginning.head.conversation_id
        if root in made:
            raise InvalidTranscript(source, one.line, f"{root!r} stands in the file twice", _FIX)
        made[root] = beginning
    for root in made:
        try:
            await store.load(owner, root, after_seq=HEAD_ONLY)
        except SessionNotFound:
            continue
        raise SessionExists(root)
    for one, (root, beginning) in zip(read, made.items(), strict=True):
        await store.create(owner, root, one.told["settings"], beginning=beginning)
    return tuple(made)


def _read_lines(lines: Iterable[str], source: str) -> list[_Read]:
    read: list[_Read] = []
    header: Mapping[str, Any] | None = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = cast("Mapping[str, Any]", json.loads(text, parse_constant=_refused))
            _ = (_dump(line) if "\\u" in text else text).encode()  # Not every store takes half a character.
            if header is None:
                header = _checked(line, source)
            elif "conversation" in line:
                read.append(_Read(number, line))
            elif "session" in line:
                read[-1].sessions.append(line)
            else:
                read[-1].events.append(_event_of(line))
        except _WRONG as error:
            problem = f"is no line of an exported tree ({type(error).__name__})"
            raise InvalidTranscript(source, number, problem, _FIX) from None
    if not read:
        raise InvalidTranscript(source, None, "holds no conversation", _FIX)
    return read


def _checked(line: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    if line["longsplice"] != "tree":
        raise ValueError
    if line["v"] > VERSION:
        raise SchemaTooNew(f"the tree in {source!r}", line["v"], VERSION)
    return line


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _event_of(line: Mapping[str, Any]) -> Event:
    body = json.dumps(line["event"])
    event = decode_event(body, line["event_id"], line["seq"], line["cumulative_tokens"])
    check_event(event)
    return event


def _beginning(one: _Read, made: Mapping[str, Beginning], source: str) -> Beginning:
    """What the conversation is put back with; what it copied comes from its ancestor."""
    told = one.told
    try:
        fork = _fork_of(told, made)
        head = read_as(Head, {**told["head"], "conversation_id": told["conversation"]})
        check_settings(told["settings"])
        chain = tuple(_segment_of(line, i) for i, line in enumerate(one.sessions))
        copied: tuple[Event, ...] = ()
        if fork is None:
            beginning = Beginning(head, chain, tuple(one.events))
        else:
            shared, last = made[fork["conversation"]].events, fork["seq"]
            if told["copied"]:
                copied = tuple(e for e in shared if head.first_seq <= e.seq <= last)
            beginning = Beginning(head, chain, (*copied, *one.events), fork["conversation"], last)
        check_beginning(beginning)
    except _WRONG as error:
        problem = f"the conversation that begins here is not whole ({error})"
        raise InvalidTranscript(source, one.line, problem, _FIX) from None
    return beginning


def _fork_of(told: Mapping[str, Any], made: Mapping[str, Beginning]) -> Mapping[str, Any] | None:
    """Whose fork it is: a conversation of the same file, since another is not its to hang on."""
    fork = told["fork_of"]
    if (fork is None) != (not made) or (fork is not None and fork["conversation"] not in made):
        raise ValueError("all but the first are forks of conversations before them")
    return fork


def _segment_of(line: Mapping[str, Any], index: int) -> Segment:
    root, number = parse_session_id(line["session"])
    if number != index:
        raise ValueError(f"session {line['session']!r} is out of order")
    check_summary(line["summary"])
    return Segment(
        line["session"],
        None if not index else f"{root}~{index - 1}" if index > 1 else root,
        index,
        line["start_seq"],
        line["end_seq"],
        line["start_tokens"],
        datetime.fromisoformat(line["opened_at"]),
        line["summary"],
    )
