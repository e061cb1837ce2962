"""Records of ours between a conversation's messages: state, and what stands for recorded blocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...errors import SessionNotFound
from ...events import Event, EventKind, Origin, new_event_id
from ...session import SessionManager

__all__ = ["newest_note", "write_note"]


async def write_note(sm: SessionManager, data: Mapping[str, Any]) -> Event:
    """Append a record, which no context shows.

    Raises:
        SessionNotFound: Nothing was written to the conversation yet.
    """
    event = Event(EventKind.NOTE, new_event_id(), datetime.now(UTC), Origin.SYSTEM, data=data)
    await sm.store.append(sm.owner, sm.session_id, [event])
    return event


async def newest_note(sm: SessionManager, key: str, name: str | None = None) -> dict[str, Any] | None:
    """The newest record under a key, and of a name (its `id`); `None` if there is none.

    Cost: one round trip where the open segment has it, as it does once an agent went on in it; else the log.
    """
    try:
        for events in (await sm.open_segment(), await sm.read(include_all_segments=True)):
            for event in reversed(events):
                found = event.data.get(key) if event.kind is EventKind.NOTE else None
                if found is not None and (name is None or found.get("id") == name):
                    return dict(found)
    except SessionNotFound:
        return None
    return None
