"""Agents of the OpenAI Agents SDK over sessions in SQLite files."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    RunHooks,
    Runner,
    SQLiteSession,
    Tool,
    Usage,
    function_tool,
)
from agents.items import TResponseStreamEvent
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from summarizer import open_store
from summarizer.integrations.openai_agents import LocalCompactionSession, LongspliceSession
from summarizer.integrations.openai_agents.tools import guard_tools, stop_on_loop

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, TOKENS, Script, Way, chunks, turns

__all__ = ["WAYS"]

_PEER = "openai_agents_context_compaction"
_WINDOW = 80
_QUIET = RunConfig(tracing_disabled=True)


class _Instant(Model):
    def __init__(self, script: Script) -> None:
        self.model = MODEL
        self._script = script

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        calls = self._script.next_calls()
        usage = Usage(requests=1, input_tokens=4000, output_tokens=100, total_tokens=4100)
        return ModelResponse([_call(*one) for one in calls] or [_said(ANSWER)], usage, None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError


def _call(call_id: str, given: dict[str, int]) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        type="function_call", call_id=call_id, name="look", arguments=json.dumps(given)
    )


def _said(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id="msg", type="message", role="assistant", status="completed", content=[part]
    )


def _history(length: int) -> list[Any]:
    items: list[Any] = []
    for question, call_id, given, result, answer in turns(length):
        items += [
            {"role": "user", "content": question},
            _call(call_id, given).model_dump(exclude_none=True),
            {"type": "function_call_output", "call_id": call_id, "output": result},
            {"role": "assistant", "content": answer},
        ]
    return items


class _Run:
    def __init__(self, session: Any, inner: SQLiteSession | None = None) -> None:
        self.script = Script()
        self._session = session
        self._inner = inner
        script = self.script

        @function_tool
        def look(number: int) -> str:
            """Look a parcel up."""
            return script.look(number)

        self._agent = self._agent_with([look])

    def _agent_with(self, tools: Sequence[Tool]) -> Agent[Any]:
        return Agent(name="desk", model=_Instant(self.script), tools=list(tools))

    async def turn(self, calls: int) -> None:
        await self._run(calls, _QUIET, None)

    async def _run(self, calls: int, config: RunConfig, hooks: RunHooks[Any] | None) -> None:
        await Runner.run(
            self._agent, self.script.ask(calls), session=self._session, run_config=config, hooks=hooks
        )

    async def close(self) -> None:
        if self._inner is not None:
            self._inner.close()


class _Ours(_Run):
    """All that the guide puts around a run: budget, guard, usage."""

    _session: LongspliceSession

    def _agent_with(self, tools: Sequence[Tool]) -> Agent[Any]:
        guarded = guard_tools(tools, self._session)
        return Agent(
            name="desk", model=_Instant(self.script), tools=guarded, tool_use_behavior=stop_on_loop()
        )

    async def turn(self, calls: int) -> None:
        config = self._session.run_config(tracing_disabled=True)
        await self._run(calls, config, self._session.hooks())

    async def close(self) -> None:
        await self._session.settle()
        await self._session.manager.store.close()


async def _stored(length: int, path: Path) -> SQLiteSession:
    session = SQLiteSession("talk", path)
    await session.add_items(_history(length))
    return session


async def _bare(length: int, folder: Path) -> _Run:
    session = await _stored(length, folder / "bare.db")
    return _Run(session, session)


async def _theirs(length: int, folder: Path) -> _Run:
    inner = await _stored(length, folder / "theirs.db")
    session = import_module(_PEER).LocalCompactionSession(inner, window_size=_WINDOW, token_budget=TOKENS)
    return _Run(session, inner)


async def _windowed(length: int, folder: Path) -> _Run:
    inner = await _stored(length, folder / "windowed.db")
    return _Run(LocalCompactionSession(inner, window_size=_WINDOW, token_budget=TOKENS), inner)


async def _ours(length: int, folder: Path) -> _Ours:
    session = LongspliceSession("talk", store=open_store(f"sqlite:///{folder / 'ours.db'}"), **SETTINGS)
    for items in chunks(_history(length)):
        await session.add_items(items)
        await session.settle()
    return _Ours(session)


_THEIRS = (Way("openai-agents-context-compaction", "theirs", _theirs),)
WAYS = (
    Way("SQLiteSession", "bare", _bare),
    *(_THEIRS if find_spec(_PEER) else ()),
    Way("LocalCompactionSession", "ours", _windowed),
    Way("LongspliceSession, run_config, guard_tools, hooks", "ours", _ours),
)
