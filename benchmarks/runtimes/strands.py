"""Strands agents that live as long as the conversation."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from strands import Agent, tool
from strands.agent.conversation_manager import (
    NullConversationManager,
    SlidingWindowConversationManager,
    SummarizingConversationManager,
)
from strands.models.model import Model
from strands.session.file_session_manager import FileSessionManager

from summarizer import open_store
from summarizer.integrations.strands import (
    LongspliceGuard,
    LongspliceSessionManager,
    SlidingWindowManager,
    SummarizingManager,
)

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, TOKENS, Script, Way, chunks, turns

__all__ = ["WAYS"]


class _Instant(Model):
    def __init__(self, script: Script) -> None:
        self._script = script
        self._config: dict[str, Any] = {"model_id": MODEL}

    def update_config(self, **model_config: Any) -> None:
        self._config.update(model_config)

    def get_config(self) -> Any:
        return self._config

    def structured_output(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        raise NotImplementedError

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        calls = self._script.next_calls()
        yield {"messageStart": {"role": "assistant"}}
        if not calls:
            yield {"contentBlockDelta": {"delta": {"text": ANSWER}}}
            yield {"contentBlockStop": {}}
        for call_id, given in calls:
            yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": call_id, "name": "look"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(given)}}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if calls else "end_turn"}}
        usage = {"inputTokens": 4000, "outputTokens": 100, "totalTokens": 4100}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


def _history(length: int) -> list[Any]:
    messages: list[Any] = []
    for question, call_id, given, result, answer in turns(length):
        use = {"toolUseId": call_id, "name": "look", "input": given}
        done = {"toolUseId": call_id, "status": "success", "content": [{"text": result}]}
        messages += [
            {"role": "user", "content": [{"text": question}]},
            {"role": "assistant", "content": [{"toolUse": use}]},
            {"role": "user", "content": [{"toolResult": done}]},
            {"role": "assistant", "content": [{"text": answer}]},
        ]
    return messages


class _Run:
    def __init__(self, messages: list[Any], **settings: Any) -> None:
        self.script = Script()
        script = self.script

        @tool
        def look(number: int) -> str:
            """Look a parcel up."""
            return script.look(number)

        self.agent = Agent(
            model=_Instant(script), tools=[look], messages=messages, callback_handler=None, **settings
        )

    async def turn(self, calls: int) -> None:
        await self.agent.invoke_async(self.script.ask(calls))

    async def close(self) -> None: ...


class _Ours(_Run):
    def __init__(self, session: LongspliceSessionManager) -> None:
        guard = LongspliceGuard(session)
        super().__init__(
            [], session_manager=session, conversation_manager=NullConversationManager(), hooks=[guard]
        )
        self._session = session

    async def close(self) -> None:
        self._session.run(lambda sm: sm.settle())
        self._session.run(lambda sm: sm.store.close())


async def _managed(make: Callable[[], Any], length: int, _: Path) -> _Run:
    return _Run(_history(length), conversation_manager=make())


async def _files(length: int, folder: Path) -> _Run:
    """With the window that Strands has by default."""
    return _Run(_history(length), session_manager=FileSessionManager("talk", storage_dir=str(folder)))


async def _ours(length: int, folder: Path) -> _Ours:
    store = open_store(f"sqlite:///{folder / 'ours.db'}")
    session = LongspliceSessionManager("talk", store=store, **SETTINGS)
    talk = _Ours(session)
    for messages in chunks(_history(length)):
        for message in messages:
            session.append_message(message, talk.agent)
            talk.agent.messages.append(message)
        session.run(lambda sm: sm.settle())
    return talk


_COUNTED = {"window_size": 80, "max_context_tokens": TOKENS}
WAYS = (
    Way("no manager", "bare", partial(_managed, NullConversationManager)),
    Way(
        "SlidingWindowConversationManager",
        "theirs",
        partial(_managed, partial(SlidingWindowConversationManager, 80)),
    ),
    Way(
        "SummarizingConversationManager, never full",
        "theirs",
        partial(_managed, SummarizingConversationManager),
    ),
    Way("FileSessionManager", "theirs", _files),
    Way("SlidingWindowManager", "ours", partial(_managed, partial(SlidingWindowManager, **_COUNTED))),
    Way(
        "SummarizingManager",
        "ours",
        partial(_managed, partial(SummarizingManager, "extractive", max_context_tokens=TOKENS)),
    ),
    Way("LongspliceSessionManager, LongspliceGuard", "ours", _ours),
)
