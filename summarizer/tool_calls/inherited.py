"""What a fork's guard must know of the calls before it, so that it needs no other log. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from guards import ToolSpec

from ..events import Event, EventKind
from .answers import storable
from .guard_log import GuardLog

__all__ = ["inherited_snapshot", "newest_snapshot"]


def inherited_snapshot(
    snapshot: Event | None, events: Sequence[Event], spec_of: Callable[[str], ToolSpec]
) -> dict[str, Any] | None:
    """The data of a `guard.snapshot` event that stands behind `events`.

    Args:
        snapshot: The newest snapshot before them; `None` if they are all of the log.
        events: Those behind the snapshot, in order.
        spec_of: The tools' specs, as the session's guard has them.

    Returns:
        `None` if it would be too large for one event.
    """
    names = {call.name for event in events if event.message for call in event.message.tool_calls}
    log = GuardLog(uuid4().hex, [spec_of(name) for name in sorted(names)], {})
    if snapshot is not None:
        log.begin_from(snapshot)
    log.fold(events)
    taken = log.snapshot()
    return None if taken is None else storable(taken)


def newest_snapshot(events: Sequence[Event]) -> Event | None:
    """The newest snapshot among events."""
    return next((event for event in reversed(events) if event.kind is EventKind.GUARD_SNAPSHOT), None)
