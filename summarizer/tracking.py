"""The calls a chat endpoint makes: a few lines each over `SessionManager`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .config import INFINITE_THRESHOLD, TRACKED_SHARE
from .incoming import read_answer
from .session import SessionManager
from .stats import SessionStats
from .stores.protocol import EventStore, Owner
from .summary.choose import SummarizerSpec

__all__ = [
    "get_conversation_history",
    "get_session_stats",
    "track_conversation",
    "track_infinite_conversation",
    "track_llm_call",
    "track_tool_use",
]


async def track_conversation(
    user_message: object,
    ai_response: object,
    model: str | None = None,
    provider: str | None = None,
    session_id: str | None = None,
    *,
    usage: object = None,
    owner: Owner = None,
    metadata: Mapping[str, Any] | None = None,
    store: EventStore | str | None = None,
    infinite_context: bool | None = None,
    token_threshold: float | None = None,
    max_turns_per_segment: int | None = None,
    idempotency_key: str | None = None,
    summarizer: SummarizerSpec = None,
    create: bool = True,
) -> str:
    """Record one turn, and keep the conversation within bounds.

    Args:
        user_message: Text or content parts.
        ai_response: Text, a message mapping, or a Chat Completions response (its usage is taken).
        model: The answering model.
        provider: Who served it.
        session_id: Any id of the conversation; `None` starts a new one. An unknown id is created.
        usage: Reported usage, in any provider's shape.
        owner: User or tenant; another owner's id is a missing one.
        metadata: Kept with the answer.
        store: An `EventStore` or URL; see `SessionManager`.
        infinite_context: `False` never segments.
        token_threshold: As given, else as stored, else 0.75 of the model's window.
        max_turns_per_segment: Turns at which a child is opened.
        idempotency_key: The same key records once, and answers alike.
        summarizer: See `SessionManager`.
        create: `False` raises `SessionNotFound` for an unknown id.

    Returns:
        The tip's session id. The turn is durable.

    Raises:
        InvalidMessage: A message that cannot be kept; nothing was written.
        SessionNotFound: See `create`.
        StoreError: The store failed.
    """
    manager = SessionManager(
        session_id,
        store=store,
        owner=owner,
        model=model,
        infinite_context=infinite_context,
        token_threshold=token_threshold,
        max_turns_per_segment=max_turns_per_segment,
        default_threshold=TRACKED_SHARE,
        summarizer=summarizer,
        create=create,
    )
    turn: dict[str, Any] = {"usage": usage, "metadata": metadata, "idempotency_key": idempotency_key}
    return await manager.turn(user_message, ai_response, model=model, provider=provider, **turn)


async def track_infinite_conversation(
    user_message: object,
    ai_response: object,
    model: str | None = None,
    provider: str | None = None,
    session_id: str | None = None,
    *,
    usage: object = None,
    metadata: Mapping[str, Any] | None = None,
    token_threshold: float | None = None,
    idempotency_key: str | None = None,
    **options: Any,
) -> str:
    """`track_conversation` for chats without end: 4,000 tokens a segment, unless told or stored otherwise.

    `options` are those of `SessionManager`.
    """
    manager = SessionManager(
        session_id,
        model=model,
        infinite_context=True,
        token_threshold=token_threshold,
        default_threshold=INFINITE_THRESHOLD,
        **options,
    )
    turn: dict[str, Any] = {"usage": usage, "metadata": metadata, "idempotency_key": idempotency_key}
    return await manager.turn(user_message, ai_response, model=model, provider=provider, **turn)


async def track_llm_call(
    user_input: object,
    llm_function: Callable[[Any], Any | Awaitable[Any]],
    model: str | None = None,
    provider: str | None = None,
    session_id: str | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[str, str]:
    """Record the user's input, call the model, record its answer.

    Args:
        user_input: Handed to `llm_function` as it is.
        llm_function: Sync (run in a thread) or async; returns text, a message mapping, or a Chat
            Completions response, whose usage and model are taken.
        model: The answering model, if the response does not say.
        provider: Who serves it.
        session_id: As for `track_conversation`.
        metadata: Kept with the answer.
        options: Of `SessionManager`.

    Returns:
        The answer's text and the tip's session id.

    Raises:
        Exception: Whatever `llm_function` raises; the user's message is kept.
    """
    manager = SessionManager(session_id, model=model, default_threshold=TRACKED_SHARE, **options)
    await manager.user_says(user_input)
    if inspect.iscoroutinefunction(llm_function):
        response = await llm_function(user_input)
    else:
        response = await asyncio.to_thread(llm_function, user_input)
        if inspect.isawaitable(response):
            response = await response
    await manager.ai_responds(response, model=model, provider=provider, **(metadata or {}))
    return read_answer(response).message.text, manager.session_id


async def track_tool_use(
    tool_name: str,
    arguments: object,
    result: object = None,
    error: BaseException | str | None = None,
    session_id: str | None = None,
    *,
    tool_call_id: str | None = None,
    idempotency_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """Record a tool call with its outcome; the tip's session id. See `SessionManager.tool_used`."""
    manager = SessionManager(session_id, default_threshold=TRACKED_SHARE, **options)
    return await manager.tool_used(
        tool_name,
        arguments,
        result,
        error,
        tool_call_id=tool_call_id,
        idempotency_key=idempotency_key,
        **(metadata or {}),
    )


async def get_session_stats(
    session_id: str,
    include_all_segments: bool = True,
    *,
    owner: Owner = None,
    store: EventStore | str | None = None,
) -> SessionStats:
    """Totals of a conversation. Raises `SessionNotFound` for an unknown id."""
    return await SessionManager(session_id, store=store, owner=owner).get_stats(include_all_segments)


async def get_conversation_history(
    session_id: str,
    include_all_segments: bool = True,
    *,
    owner: Owner = None,
    store: EventStore | str | None = None,
) -> list[dict[str, Any]]:
    """The messages of a conversation. Raises `SessionNotFound` for an unknown id."""
    return await SessionManager(session_id, store=store, owner=owner).get_conversation(include_all_segments)
