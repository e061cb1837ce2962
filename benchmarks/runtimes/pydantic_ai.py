"""Pydantic AI agents: the history in the host's hand, or in the session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage

from summarizer import SessionManager, open_store
from summarizer.integrations.pydantic_ai import LongspliceCapability

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, WHOLE, Script, Way, chunks, turns

__all__ = ["WAYS"]

_KEPT = 80


class _Instant(Model):
    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    @property
    def model_name(self) -> str:
        return MODEL

    @property
    def system(self) -> str:
        return "instant"

    @property
    def base_url(self) -> str | None:
        return None

    async def request(self, *_: Any, **__: Any) -> ModelResponse:
        calls = [ToolCallPart("look", given, i) for i, given in self._script.next_calls()]
        return _answered(*(calls or [TextPart(ANSWER)]))


def _answered(*parts: Any) -> ModelResponse:
    usage = RequestUsage(input_tokens=4000, output_tokens=100)
    return ModelResponse(parts=parts, usage=usage, model_name=MODEL)


def _history(length: int) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for question, call_id, given, result, answer in turns(length):
        messages += [
            ModelRequest(parts=[UserPromptPart(question)]),
            _answered(ToolCallPart("look", given, call_id)),
            ModelRequest(parts=[ToolReturnPart("look", result, call_id)]),
            _answered(TextPart(answer)),
        ]
    return messages


class _Run:
    """The host's own history, handed over with each run."""

    def __init__(self, *capabilities: Any) -> None:
        self.script = Script()
        self.history: Sequence[ModelMessage] | None = []
        self._agent: Agent[Any, Any] = Agent(_Instant(self.script), capabilities=list(capabilities))
        script = self.script

        @self._agent.tool_plain
        async def look(number: int) -> str:  # pyright: ignore[reportUnusedFunction]
            """Look a parcel up."""
            return script.look(number)

    async def turn(self, calls: int) -> None:
        result = await self._agent.run(self.script.ask(calls), message_history=self.history)
        if self.history is not None:
            self.history = result.all_messages()

    async def close(self) -> None: ...


class _Ours(_Run):
    def __init__(self, session: SessionManager) -> None:
        super().__init__(LongspliceCapability(session))
        self._session = session

    async def close(self) -> None:
        await self._session.settle()
        await self._session.store.close()


async def _bare(length: int, _: Path) -> _Run:
    talk = _Run()
    talk.history = _history(length)
    return talk


def _newest(messages: list[ModelMessage]) -> list[ModelMessage]:
    """The newest, from a user's prompt on."""
    start = max(0, len(messages) - _KEPT)
    while start and not any(isinstance(part, UserPromptPart) for part in messages[start].parts):
        start -= 1
    return messages[start:]


async def _theirs(length: int, _: Path) -> _Run:
    talk = _Run(ProcessHistory(_newest))
    talk.history = _history(length)
    return talk


async def _session(length: int, folder: Path) -> _Ours:
    """The session owns the history: a run goes on where it stands."""
    talk = await _mirrored(length, folder, "session.db")
    talk.history = None
    return talk


async def _mirrored(length: int, folder: Path, name: str = "mirrored.db") -> _Ours:
    """The host hands its whole history over with each run, ours in pieces at the beginning."""
    session = SessionManager("talk", store=open_store(f"sqlite:///{folder / name}"), **SETTINGS)
    talk = _Ours(session)
    for messages in chunks(_history(length), WHOLE):
        talk.history = [*(talk.history or ()), *messages]
        await talk.turn(0)
        await session.settle()
    return talk


WAYS = (
    Way("message_history", "bare", _bare),
    Way("ProcessHistory, the newest 80", "theirs", _theirs),
    Way("LongspliceCapability", "ours", _session),
    Way("LongspliceCapability, message_history", "ours", _mirrored),
)
