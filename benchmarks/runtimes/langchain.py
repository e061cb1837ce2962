"""LangChain agents with a checkpointer in memory."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from summarizer import SessionManager, open_store
from summarizer.integrations.langchain import LongspliceMiddleware

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, TOKENS, WHOLE, Script, Way, chunks, turns

__all__ = ["WAYS"]

_THREAD = {"configurable": {"thread_id": "talk"}}


class _Instant(BaseChatModel):
    model_name: str = MODEL
    _script: Script = PrivateAttr()

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, *_: Any, **__: Any) -> _Instant:
        return self

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        made = self._script.next_calls()
        calls: list[Any] = [{"id": i, "name": "look", "args": given} for i, given in made]
        usage: Any = {"input_tokens": 4000, "output_tokens": 100, "total_tokens": 4100}
        message = AIMessage("" if calls else ANSWER, tool_calls=calls, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        return self._generate()


def _history(length: int) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for question, call_id, given, result, answer in turns(length):
        messages += [
            HumanMessage(question),
            AIMessage("", tool_calls=[{"id": call_id, "name": "look", "args": given}]),
            ToolMessage(result, tool_call_id=call_id),
            AIMessage(answer),
        ]
    return messages


class _Run:
    def __init__(self, *middleware: Any, session: SessionManager | None = None) -> None:
        self.script = Script()
        self._session = session
        script = self.script

        @tool
        async def look(number: int) -> str:
            """Look a parcel up."""
            return script.look(number)

        self._saver = InMemorySaver()
        self._agent: Any = create_agent(
            _Instant(script), [look], middleware=middleware, checkpointer=self._saver
        )

    async def begin(self, length: int) -> None:
        """Hand the history over: ours in pieces, each with a turn that records it."""
        history = _history(length)
        for messages in chunks(history, WHOLE) if self._session else [history]:
            await self._invoke([*messages, HumanMessage(self.script.ask(0))])
            if self._session is not None:
                await self._session.settle()

    async def turn(self, calls: int) -> None:
        await self._invoke([HumanMessage(self.script.ask(calls))])

    async def _invoke(self, messages: list[BaseMessage]) -> None:
        await self._agent.ainvoke({"messages": messages}, _THREAD)
        self._forget()

    def _forget(self) -> None:
        """Drop earlier checkpoints, which hold the whole list each."""
        channels = self._saver.blobs
        newest: dict[tuple[str, str, str], Any] = {}
        for thread, place, channel, version in channels:
            key = (thread, place, channel)
            newest[key] = max(newest.get(key, version), version)
        for key in [key for key in channels if key[3] != newest[key[:3]]]:
            del channels[key]
        for kept in self._saver.storage["talk"].values():
            for checkpoint_id in sorted(kept)[:-1]:
                del kept[checkpoint_id]
                self._saver.writes.pop(("talk", "", checkpoint_id), None)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.settle()
            await self._session.store.close()


async def _bare(length: int, _: Path) -> _Run:
    talk = _Run()
    await talk.begin(length)
    return talk


async def _theirs(length: int, _: Path) -> _Run:
    summaries = SummarizationMiddleware(
        _Instant(Script()), trigger=("tokens", TOKENS), keep=("tokens", TOKENS // 2)
    )
    talk = _Run(summaries)
    await talk.begin(length)
    return talk


async def _ours(trim: bool, length: int, folder: Path) -> _Run:
    store = open_store(f"sqlite:///{folder / f'ours-{trim}.db'}")
    session = SessionManager("talk", store=store, **SETTINGS)
    talk = _Run(LongspliceMiddleware(session, trim_state=trim), session=session)
    await talk.begin(length)
    return talk


WAYS = (
    Way("create_agent, InMemorySaver", "bare", _bare),
    Way("SummarizationMiddleware", "theirs", _theirs),
    Way("LongspliceMiddleware", "ours", partial(_ours, False)),
    Way("LongspliceMiddleware, trim_state", "ours", partial(_ours, True)),
)
