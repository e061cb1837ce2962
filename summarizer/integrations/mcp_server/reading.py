"""What the tools answer: one owner's conversations as JSON values, sizes capped. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, zip_longest
from typing import Any, Final, cast

from guards import Binding
from guards.paths import opened
from guards.previews import shape_of

from ...ancestry import inheritance_of, read_path
from ...config import parse_session_id
from ...errors import SessionNotFound, StoreNotWritable
from ...events import Event, EventKind
from ...recall import RecallHit
from ...session import SessionManager
from ...stores.protocol import HEAD_ONLY, ConversationRow, EventStore, Owner
from .arguments import BadArguments

__all__ = ["Reader"]

_BEGINNING: Final = 160
"""Characters of a session's first user message that a listing shows."""
_FIRST_EVENTS: Final = 16
"""Events among which that message is looked for."""
_EXCERPT: Final = 300
_PREVIEW: Final = 300
_SESSIONS_SEARCHED: Final = 20
_SEGMENTS_SHOWN: Final = 50
_PAGE: Final = 200
"""Events of one read for a span."""
_ROW: Final = 100
"""Characters for which a message of a span counts besides its text: short ones are many."""
_KINDS: Final = 8
_ID: Final = 200
"""Characters of an id or a name that models and hosts chose."""

Row = dict[str, Any]


class Reader:
    """Answers the tools for one owner.

    Args:
        store: The store; it is used for reading, whatever is asked.
        owner: Whose conversations; another owner's are missing ones.
    """

    def __init__(self, store: EventStore, owner: Owner) -> None:
        self._store = cast("EventStore", _ReadOnly(store))
        self._owner = owner

    async def list_sessions(self, *, limit: int, cursor: str | None) -> Row:
        """A page of the owner's sessions, newest first."""
        after = None if cursor is None else self._row_of(cursor)
        rows = await self._store.list(self._owner, limit=limit + 1, after=after)
        sessions: list[Row] = []
        for row in rows[:limit]:
            with suppress(SessionNotFound):  # Erased a moment ago.
                sessions.append(await self._session(row))
        more = len(rows) > limit
        return {"sessions": sessions, "next_cursor": _cursor_of(rows[limit - 1]) if more else None}

    async def search_history(self, *, query: str, session_id: str | None, limit: int) -> Row:
        """Excerpts of one session, or of the newest ones: the best of each, then the second best of each."""
        ids = [session_id] if session_id is not None else await self._newest(_SESSIONS_SEARCHED + 1)
        found: list[Sequence[RecallHit]] = []
        gaps: list[Row] = []
        for one in ids[:_SESSIONS_SEARCHED]:
            try:
                recalled = await self._manager(one).recall(query, limit)
            except SessionNotFound:
                if session_id is not None:
                    raise
                continue  # Erased a moment ago.
            found.append(recalled)
            gaps += [{"session_id": one, "after": gap.after, "through": gap.through} for gap in recalled.gaps]
        ranked = [hit for hit in chain.from_iterable(zip_longest(*found)) if hit is not None][:limit]
        answer: Row = {"hits": [_hit(hit) for hit in ranked], "sessions_searched": len(found)}
        if len(ids) > _SESSIONS_SEARCHED:
            answer["older_sessions"] = "not searched; name one by session_id, see list_sessions"
        return answer | {"events_not_searched": gaps} if gaps else answer

    async def read_span(
        self, *, session_id: str, first: int, last: int | None, offset: int, max_characters: int
    ) -> Row:
        """Messages from the event `first` on, as many characters of them as are wanted."""
        if last is not None and last < first:
            raise BadArguments(f"last={last} lies before first={first}; give a last from {first} on")
        root, _ = parse_session_id(session_id)
        loaded = await self._store.load(self._owner, session_id)
        ancestors = inheritance_of(loaded.settings or {}).ancestors
        end = loaded.head.last_seq if last is None else min(last, loaded.head.last_seq)
        rows: list[Row] = []
        room, at, go_on = max_characters, first, None
        while at <= end and go_on is None:
            until = min(end, at + _PAGE - 1)
            page = await read_path(
                self._store, self._owner, root, ancestors, after_seq=at - 1, until_seq=until
            )
            for event in page:
                row = _span_row(event, offset if event.seq == first else 0, room)
                if row is None:
                    continue
                if room <= 0:
                    go_on = {"first": event.seq}
                    break
                rows.append(row)
                room -= len(row["text"]) + _ROW
                if "next_offset" in row:
                    go_on = {"first": event.seq, "offset": row.pop("next_offset")}
                    break
            at = until + 1
        return {"session_id": session_id, "last_event": loaded.head.last_seq, "messages": rows, "next": go_on}

    async def list_bindings(self, *, session_id: str, limit: int, before: int | None) -> Row:
        """Results that the session's guard holds under names, newest first."""
        tools = self._manager(session_id).tools
        with suppress(StoreNotWritable):  # It has read all by then; what it would write down can wait.
            await tools.open()
        bindings = tools.guard.bindings
        top = bindings.next_number if before is None else min(before, bindings.next_number)
        found = (bindings.get(f"v{number}") for number in range(top - 1, 0, -1))
        rows: list[Row] = []
        for binding in found:
            if binding is None:
                continue
            if len(rows) == limit:
                return {"session_id": session_id, "bindings": rows, "next_before": binding.number + 1}
            rows.append(_binding(binding))
        return {"session_id": session_id, "bindings": rows, "next_before": None}

    async def get_statistics(self, *, session_id: str) -> Row:
        """Totals, and the newest segments."""
        manager = self._manager(session_id)
        stats = await manager.get_stats()
        chain_of = await manager.segments()
        segments = [
            {
                "session_id": segment.session_id,
                "first_event": segment.start_seq,
                "last_event": segment.end_seq,
                "opened_at": _time(segment.opened_at),
            }
            for segment in chain_of[-_SEGMENTS_SHOWN:]
        ]
        return {"statistics": stats.to_dict(), "segments": segments}

    async def _newest(self, limit: int) -> list[str]:
        return [row.conversation_id for row in await self._store.list(self._owner, limit=limit)]

    def _manager(self, session_id: str) -> SessionManager:
        return SessionManager(session_id, store=self._store, owner=self._owner, create=False)

    async def _session(self, row: ConversationRow) -> Row:
        head = (await self._store.load(self._owner, row.conversation_id, after_seq=HEAD_ONLY)).head
        events = await self._store.read(
            self._owner, row.conversation_id, after_seq=head.first_seq - 1, limit=_FIRST_EVENTS
        )
        said = (e.message.text for e in events if e.message is not None and e.message.role == "user")
        return {
            "session_id": row.conversation_id,
            "began_at": _time(row.created_at),
            "begins": _clipped(next(said, ""), _BEGINNING),
            "messages": head.counters.messages,
            "tool_calls": head.counters.tool_calls,
            "segments": head.index + 1,
            "content_tokens": head.total_tokens,
            "first_event": head.first_seq,
            "last_event": head.last_seq,
        }

    def _row_of(self, cursor: str) -> ConversationRow:
        at, _, session_id = cursor.partition(" ")
        try:
            created_at = datetime.fromisoformat(at)
            parse_session_id(session_id)
        except ValueError:  # An `InvalidSetting` is one.
            created_at = None
        if created_at is None or created_at.tzinfo is None:
            raise BadArguments(
                f"cursor={_clipped(cursor, 80)!r} is none; give next_cursor as the answer before had it"
            )
        return ConversationRow(session_id, self._owner, created_at)


class _ReadOnly:
    """A store through which nothing can be written; search keeps its index in memory, not in the file."""

    _READS: Final = frozenset({"url", "load", "read", "segments", "forks", "list", "close"})

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in self._READS:
            return getattr(self._store, name)
        if name in _WRITES:
            return _refused
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_WRITES: Final = frozenset(
    {"create", "append", "claim", "renew", "release", "segment", "retain", "expire", "erase"}
)


async def _refused(*_: object, **__: object) -> None:
    raise StoreNotWritable("this server reads only; record and erase with the library")


def _hit(hit: RecallHit) -> Row:
    return {
        "session_id": hit.session_id,
        "event": hit.seq,
        "at": _time(hit.at),
        "role": hit.role,
        "excerpt": _clipped(hit.text, _EXCERPT),
    }


def _span_row(event: Event, offset: int, room: int) -> Row | None:
    """One message of a span, its text within `room` characters; `None` for a record that says nothing."""
    message = event.message
    if event.kind is EventKind.SEGMENTED:
        return {
            "event": event.seq,
            "at": _time(event.at),
            "role": "record",
            "text": "a new segment begins here",
        }
    if message is None:
        return None
    calls = [f"[calls {call.name} as {call.id}] {call.arguments_json}" for call in message.tool_calls]
    whole = _encodable("\n".join([message.text, *calls] if message.text else calls))
    text = whole[offset : offset + max(0, room)]
    row: Row = {"event": event.seq, "at": _time(event.at), "role": message.role, "text": text}
    if message.tool_call_id is not None:
        row["answers"] = _clipped(message.tool_call_id, _ID)
    if other := _other_parts(message.content):
        row["parts_left_out"] = other
    if offset + len(text) < len(whole):
        row |= {"characters": len(whole), "next_offset": offset + len(text)}
    return row


def _other_parts(content: object) -> list[str]:
    """Kinds of the content's parts that are no text, each once: images, audio, files."""
    if not isinstance(content, Sequence) or isinstance(content, str):
        return []
    kinds = dict.fromkeys(str(part.get("type")) for part in cast("Sequence[Mapping[str, Any]]", content))
    named = [_clipped(kind, _ID) for kind in kinds if kind not in ("text", "input_text", "output_text")]
    return named[:_KINDS]


def _binding(binding: Binding) -> Row:
    row: Row = {
        "name": f"${binding.id}",
        "aliases": [f"${alias}" for alias in binding.aliases],
        "tool": _clipped(binding.tool_name, _ID),
        "call_id": binding.call_id and _clipped(binding.call_id, _ID),
        "at": _time(binding.created_at),
        "bytes": binding.size,
        "used_by_calls": binding.used,
    }
    if binding.gone is not None:
        return row | {"gone": binding.gone}
    return row | {
        "shape": _clipped(shape_of(opened(binding.value)), _PREVIEW),
        "preview": _clipped(binding.json_text, _PREVIEW),
    }


def _cursor_of(row: ConversationRow) -> str:
    return f"{row.created_at.isoformat()} {row.conversation_id}"


def _clipped(text: str, size: int) -> str:
    return _encodable(text if len(text) <= size else f"{text[: size - 3]}...")


def _encodable(text: str) -> str:
    """Tool results may hold halves of a surrogate pair, which no wire takes."""
    return text.encode("utf-8", "replace").decode()


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
