"""What is done with a request before the upstream is asked: recorded, judged, fitted to its window."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..config import TRACKED_SHARE, parse_session_id
from ..context import Context
from ..errors import InvalidMessage, SessionErased, SessionNotFound, TokenLimitExceeded
from ..meter import context_window, counter_for_model, tool_tokens
from ..session import SessionManager
from ..stores.protocol import EventStore
from ..summary.choose import SummarizerSpec
from ..telemetry import log
from .asked import Asked
from .breaker import Breaker
from .errors import EndpointError
from .looping import Judgement, judged, nudged
from .modes import Turn, append, full_history
from .sessions import CREDENTIALS, Conversations, digest
from .settings import Settings
from .streams import completion
from .summaries import summarizer_of
from .upstream import Upstream

__all__ = ["PASSED", "Desk", "Ready"]

PASSED: Final = "X-Longsplice-Passed-Through"
SEGMENT: Final = "X-Longsplice-Segment"
_WITH_CREDENTIALS: Final = (*CREDENTIALS, "openai-organization", "openai-project")


@dataclass(frozen=True, slots=True)
class Ready:
    """What follows from a request.

    Attributes:
        body: What the upstream is to be asked.
        headers: What the client is told of it.
        turn: Where the answer is recorded; `None`: nowhere.
        strip_usage: Whether usage was asked for without the client's asking.
        answer: The answer itself, where the upstream is not to be asked.
    """

    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])
    turn: Turn | None = None
    strip_usage: bool = False
    answer: Mapping[str, Any] | None = None


class Desk:
    """Serves the conversations of one store.

    Args:
        settings: How.
        store: Where they are kept.
        upstream: Who is asked for summaries, if so set.
    """

    def __init__(self, settings: Settings, store: EventStore, upstream: Upstream) -> None:
        self._settings = settings
        self._store = store
        self._upstream = upstream
        self._conversations = Conversations()
        self._breaker = Breaker()

    async def ready(self, asked: Asked) -> Ready:
        """Make a request ready. A fault of ours is no fault of the request: it goes on as it came.

        Raises:
            EndpointError: The client must change something.
        """
        try:
            if (reason := _beyond_us(asked)) is not None:
                return Ready(asked.raw, {PASSED: reason})
            with self._breaker.watch():
                return await self._managed(asked)
        except EndpointError:
            raise
        except (SessionNotFound, SessionErased) as error:
            raise EndpointError(404, str(error), "session_not_found") from None
        except InvalidMessage:
            return Ready(asked.raw, {PASSED: "unreadable"})  # The upstream knows best what it takes.
        except Exception as error:  # noqa: BLE001 - fail open: whatever is wrong here, the model can answer
            log.exception("endpoint.failed_open", owner=asked.owner, error=type(error).__name__)
            return Ready(asked.raw, {PASSED: f"fault; {type(error).__name__}"})

    async def _managed(self, asked: Asked) -> Ready:
        settings = self._settings
        sm = self._manager(asked)
        turn = await (append if asked.mode == "append" else full_history)(sm, asked)
        told = {"X-Longsplice-Session-Id": turn.sm.conversation_id, "X-Longsplice-Mode": asked.mode}
        if turn.forked:
            told["X-Longsplice-Forked"] = "true"
        if turn.answer is not None:
            told |= {"X-Longsplice-Replayed": "true", SEGMENT: _segment(turn.sm.session_id)}
            return Ready(b"", told, answer=turn.answer)
        judgement = await self._judged(turn, asked)
        if judgement.reason_code is not None:
            told["X-Longsplice-Loop"] = judgement.reason_code + ("; stopped" if judgement.stops else "")
        if judgement.stops:
            return await _stopped(turn, asked, judgement, told)
        try:
            context, messages = await _view(turn, asked.system_prompt)
        except TokenLimitExceeded:
            told |= {SEGMENT: _segment(turn.sm.session_id), PASSED: "too_large"}
            return Ready(asked.raw, told, turn)
        told |= {
            SEGMENT: _segment(context.session_id),
            "X-Longsplice-Context-Tokens": str(context.tokens),
            "X-Longsplice-Compacted": "true" if context.parts.get("seed") or context.omitted else "false",
        }
        if asked.has_media:
            told[PASSED] = "media"
        ask_usage = settings.ask_usage and asked.stream and not asked.wants_usage
        body = asked.forwarded(nudged(messages, judgement.words), ask_usage=ask_usage)
        return Ready(body, told, turn, ask_usage)

    def _manager(self, asked: Asked) -> SessionManager:
        """The manager of the conversation that a request belongs to."""
        known = asked.history_id if asked.mode == "full-history" else None
        named = asked.session_id or known or secrets.token_urlsafe(16)
        credentials = {name: asked.headers[name] for name in _WITH_CREDENTIALS if name in asked.headers}
        made_with = digest(json.dumps(asked.tools), asked.system_prompt or "", *credentials.values())
        key = (asked.owner, named, asked.model or "", made_with)

        def make() -> SessionManager:
            return SessionManager(
                named,
                store=self._store,
                owner=asked.owner,
                system_prompt=asked.system_prompt,
                model=asked.model,
                tools=asked.tools or None,
                token_threshold=self._settings.threshold,
                default_threshold=TRACKED_SHARE,
                summarizer=self._summarizer(asked, credentials),
            )

        return self._conversations.held(key, make)

    def _summarizer(self, asked: Asked, credentials: Mapping[str, str]) -> SummarizerSpec:
        if self._settings.summarizer == "extractive" or asked.model is None:
            return "extractive"
        return summarizer_of(self._upstream, asked.model, credentials)

    async def _judged(self, turn: Turn, asked: Asked) -> Judgement:
        """What the guard says; nothing, if it cannot be asked."""
        if not self._settings.guard:
            return Judgement()
        try:
            return await judged(turn.sm, asked.messages)
        except Exception as error:  # noqa: BLE001 - fail open: an unguarded answer is better than none
            log.exception("endpoint.guard_failed", owner=asked.owner, error=type(error).__name__)
            return Judgement()


def _beyond_us(asked: Asked) -> str | None:
    """Why a request cannot be part of a conversation, `None` if it can."""
    choices = asked.body.get("n")
    if isinstance(choices, int) and choices > 1:
        return "n"  # Which of the answers goes on is not said.
    window = context_window(asked.model) if asked.model and asked.tools else None
    if window is None or len(asked.raw) < window:  # No token is shorter than a byte.
        return None
    return "tools" if tool_tokens(asked.tools, counter_for_model(asked.model or "")) >= window else None


async def _view(turn: Turn, system_prompt: str | None) -> tuple[Context, list[Mapping[str, Any]]]:
    """What to send, under the request's own system prompt: a fork begins with that of its parent."""
    context, messages = await turn.view()
    first = context.messages[0] if context.messages and not context.seqs[0] else {}
    shown = first.get("content") if first.get("role") == "system" else None
    if system_prompt is None or shown == system_prompt:
        return context, messages
    await turn.sm.update_system_prompt(system_prompt)
    return await turn.view()


async def _stopped(turn: Turn, asked: Asked, judgement: Judgement, told: dict[str, str]) -> Ready:
    answer = completion({"content": judgement.words}, "stop", asked.model)
    await turn.record({"choices": answer["choices"]}, {"stopped": judgement.reason_code})
    log.warning("endpoint.loop_stopped", owner=asked.owner, reason_code=judgement.reason_code)
    return Ready(b"", {**told, SEGMENT: _segment(turn.sm.session_id)}, answer=answer)


def _segment(session_id: str) -> str:
    """The number of a session in its conversation, from 0."""
    return str(parse_session_id(session_id)[1])
