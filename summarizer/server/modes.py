"""What a client sends of its history, and what of it is new: two modes, one turn.

`append`: the client sends what is new, and the log holds the rest. `full-history`: the client sends all of
it each time, and a mirror finds what the log lacks. Which of the two it is, is said, never guessed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..context import Context
from ..errors import SessionNotFound
from ..events import Event
from ..integrations.mirror import Mirror
from ..messages import Message
from ..session import SessionManager
from .asked import Asked
from .streams import completion

__all__ = ["Turn", "append", "full_history"]

_JUST_NOW: Final = timedelta(seconds=60)
"""How old the answer may be that a client's retry has missed; official clients wait up to 60 s."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request, its messages recorded.

    Attributes:
        sm: The conversation: the one that was asked for, or a fork of it.
        forked: Whether the client's history was rewritten, so that a fork was opened now.
        view: What the model is to be sent: the context, and its messages, the client's own where they are
            shown whole.
        record: Records the answer: a response in the shape of Chat Completions, and what is to be kept with
            it. An answer that was cut is kept with the reason under `cut`.
        answer: The answer, where this very request was answered before and the client sends it again.
    """

    sm: SessionManager
    forked: bool
    view: Callable[[], Awaitable[tuple[Context, list[Mapping[str, Any]]]]]
    record: Callable[[Mapping[str, Any], Mapping[str, Any]], Awaitable[None]]
    answer: Mapping[str, Any] | None = None


async def append(sm: SessionManager, asked: Asked) -> Turn:
    """Record what the client sends, but for what an earlier try of the same request has recorded."""
    logged = [] if asked.session_id is None else await _messages(sm)
    answered = _answered_before(logged, asked)
    if answered is None:
        await sm.record_all(asked.said[_already_waiting(logged, asked.said) :])
    key = {} if asked.request_key is None else {"request": asked.request_key}

    async def view() -> tuple[Context, list[Mapping[str, Any]]]:
        context = await sm.context()
        return context, _with_leading(context.messages, context, asked)

    async def record(answer: Mapping[str, Any], note: Mapping[str, Any]) -> None:
        await sm.ai_responds(answer, **key, **note)

    return Turn(sm, False, view, record, None if answered is None else _again(answered, asked))


async def full_history(sm: SessionManager, asked: Asked) -> Turn:
    """Record what the log lacks of the client's history; where it was rewritten, a fork goes on."""
    mirror, said = Mirror(sm), asked.said
    synced = await mirror.sync(said)

    async def view() -> tuple[Context, list[Mapping[str, Any]]]:
        shown = await mirror.view()
        own = [said[part] if isinstance(part, int) else part for part in shown.parts]
        return shown.context, _with_leading(own, shown.context, asked)

    async def record(answer: Mapping[str, Any], note: Mapping[str, Any]) -> None:
        # What a client keeps of an answer that was cut is its own affair: its next request shows it.
        if "cut" not in note:
            await mirror.record(answer, data={"metadata": dict(note)} if note else None)

    return Turn(synced.sm, synced.forked, view, record)


def _with_leading(
    messages: Sequence[Mapping[str, Any]], context: Context, asked: Asked
) -> list[Mapping[str, Any]]:
    """The client's own leading messages in place of the text that they were joined to."""
    leading = asked.leading
    shown = bool(context.messages) and context.messages[0].get("content") == asked.system_prompt
    if not leading or not shown or context.messages[0].get("role") != "system":
        return list(messages)
    return [*leading, *messages[1:]]


async def _messages(sm: SessionManager) -> list[Event]:
    try:
        return [event for event in await sm.open_segment() if event.message is not None]
    except SessionNotFound:
        return []  # The first write makes it, or says that it may not.


def _already_waiting(logged: Sequence[Event], given: Sequence[Mapping[str, Any]]) -> int:
    """How many of the messages are at the log's end already and wait for an answer: a client tries again."""
    messages = [event.message for event in logged if event.message is not None]
    if not messages or messages[-1].role == "assistant":
        return 0
    wanted = [Message.from_wire(message) for message in given]
    for count in range(min(len(messages), len(wanted)), 0, -1):
        if messages[-count:] == wanted[:count]:
            return count
    return 0


def _answered_before(logged: Sequence[Event], asked: Asked) -> Event | None:
    """The answer that this request had and its client has missed: known by its key, or as a fresh retry."""
    if (key := asked.request_key) is not None:
        named = [event for event in logged if _note(event).get("request") == key]
        return next((event for event in reversed(named) if "cut" not in _note(event)), None)
    if not asked.tried_again or not asked.said or not logged or datetime.now(UTC) - logged[-1].at > _JUST_NOW:
        return None
    *before, last = logged
    answers = last.message is not None and last.message.role == "assistant"
    same = _already_waiting(before, asked.said) == len(asked.said)
    return last if answers and same and "cut" not in _note(last) else None


def _note(event: Event) -> Mapping[str, Any]:
    return event.data.get("metadata") or {}


def _again(answer: Event, asked: Asked) -> Mapping[str, Any]:
    message = {} if answer.message is None else answer.message.to_wire()
    ended = "tool_calls" if message.get("tool_calls") else "stop"
    return completion(
        message, _note(answer).get("finish_reason", ended), answer.data.get("model") or asked.model
    )
