"""A runtime's own shape of a message, kept beside the chat shape and given back as it came.

A store of ours that serves a runtime keeps, in the event's data, what the chat shape cannot say:
`{"native": {"<runtime>": <JSON>}}`. Contexts are made of chat messages, and name the event of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..context.blocks import sendable
from ..events import Event

__all__ = ["native_data", "native_of", "shown_whole"]


def native_data(runtime: str, value: object) -> dict[str, Any]:
    """The `data` under which `record_all` keeps a runtime's own shape of a message."""
    return {"native": {runtime: value}}


def native_of(event: Event, runtime: str) -> Any | None:
    """The runtime's own shape of an event's message; `None` if none was kept."""
    kept = event.data.get("native")
    return cast("Mapping[str, Any]", kept).get(runtime) if isinstance(kept, Mapping) else None


def shown_whole(event: Event, wire: Mapping[str, Any]) -> bool:
    """Whether a context's message is the event's as recorded: not cleared, shortened or made a note of.

    Contexts with `cache_control` marks change messages too; build them without (`cache_control=False`).
    """
    return event.message is not None and sendable(event.message) == wire
