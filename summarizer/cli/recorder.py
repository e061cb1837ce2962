"""Runs a transcript through `SessionManager`, and reads back what a store then holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..context import Context
from ..events import Event
from ..formats import Step
from ..session import SessionManager
from ..stores.protocol import EventStore, Segment

__all__ = ["Reading", "read_back", "record_steps"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A conversation as a store holds it.

    Attributes:
        settings: Its settings.
        events: The whole log, in order.
        segments: Its sessions with their summary records, oldest first.
        context: What a model would be sent now.
    """

    settings: Mapping[str, Any]
    events: tuple[Event, ...]
    segments: tuple[Segment, ...]
    context: Context


async def record_steps(
    manager: SessionManager, steps: Iterable[Step], on_step: Callable[[], None] = lambda: None
) -> str:
    """Record every step; what was made up is marked so in its metadata.

    Args:
        manager: Of a conversation that does not exist yet.
        steps: In order.
        on_step: Called after each.

    Returns:
        The tip's session id.

    Raises:
        StoreError: The store failed; the steps before are durable.
    """
    for step in steps:
        message = step.message
        if step.made_up == "call":
            await manager.ai_responds(None, tool_calls=message["tool_calls"], made_up="call")
        elif step.made_up == "result":
            call_id, text = message["tool_call_id"], message["content"]
            await manager.tool_used(step.tool_name, None, text, tool_call_id=call_id, made_up="result")
        else:
            await manager.record(message)
        on_step()
    await manager.settle()
    return manager.session_id


async def read_back(store: EventStore, conversation_id: str, *, model: str | None) -> Reading:
    """Read a conversation by a manager of its own.

    Raises:
        SessionNotFound: The store does not hold it.
        StoreError: It could not be read.
    """
    manager = SessionManager(conversation_id, store=store, model=model, create=False)
    loaded = await store.load(None, conversation_id)
    return Reading(
        settings=loaded.settings or {},
        events=tuple(await manager.read(include_all_segments=True)),
        segments=await manager.segments(),
        context=await manager.context(),
    )
