"""Google ADK apps on the session service in memory, with a plugin and without."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai.types import (
    Content,
    FunctionCall,
    FunctionResponse,
    GenerateContentResponseUsageMetadata,
    Part,
)
from pydantic import PrivateAttr

from summarizer import SessionManager, open_store
from summarizer.integrations.google_adk import LongsplicePlugin

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, WHOLE, Script, Way, chunks, turns

__all__ = ["WAYS"]

_KEY: dict[str, Any] = {"app_name": "desk", "user_id": "ana", "session_id": "talk"}


class _Instant(BaseLlm):
    model: str = MODEL
    _script: Script = PrivateAttr()

    def __init__(self, script: Script) -> None:
        super().__init__(model=MODEL)
        self._script = script

    async def generate_content_async(
        self,
        llm_request: LlmRequest,  # noqa: ARG002
        stream: bool = False,  # noqa: ARG002
    ) -> AsyncGenerator[LlmResponse, None]:
        calls = [_call(*one) for one in self._script.next_calls()]
        used = GenerateContentResponseUsageMetadata(prompt_token_count=4000, candidates_token_count=100)
        content = Content(role="model", parts=calls or [Part(text=ANSWER)])
        yield LlmResponse(content=content, model_version=MODEL, usage_metadata=used)


def _call(call_id: str, given: dict[str, int]) -> Part:
    return Part(function_call=FunctionCall(id=call_id, name="look", args=dict(given)))


def _history(length: int) -> list[Event]:
    events: list[Event] = []
    for question, call_id, given, result, answer in turns(length):
        done = FunctionResponse(id=call_id, name="look", response={"result": result})
        said = (
            ("user", "user", Part(text=question)),
            ("desk", "model", _call(call_id, given)),
            ("desk", "user", Part(function_response=done)),
            ("desk", "model", Part(text=answer)),
        )
        events += [
            Event(author=author, invocation_id=f"i{call_id}", content=Content(role=role, parts=[part]))
            for author, role, part in said
        ]
    return events


class _Run:
    def __init__(self, session: SessionManager | None = None) -> None:
        self.script = Script()
        self._session = session
        self._service = InMemorySessionService()
        script = self.script

        async def look(number: int) -> str:
            """Look a parcel up."""
            return script.look(number)

        agent = LlmAgent(name="desk", model=_Instant(script), tools=[look])
        plugins = [LongsplicePlugin(lambda _: session)] if session is not None else []
        app = App(name="desk", root_agent=agent, plugins=list(plugins))
        self._runner = Runner(app=app, session_service=self._service)

    async def begin(self, length: int) -> None:
        """Hand the history over: ours in pieces, each with a turn that records it."""
        await self._service.create_session(**_KEY)
        stored = self._service.sessions["desk"]["ana"]["talk"].events
        for events in chunks(_history(length), WHOLE):
            stored += events  # `append_event` compares each event with all before it.
            if self._session is not None:
                await self.turn(0)
                await self._session.settle()

    async def turn(self, calls: int) -> None:
        asked = Content(role="user", parts=[Part(text=self.script.ask(calls))])
        async for _ in self._runner.run_async(user_id="ana", session_id="talk", new_message=asked):
            pass

    async def close(self) -> None:
        await self._runner.close()
        if self._session is not None:
            await self._session.store.close()


async def _bare(length: int, _: Path) -> _Run:
    talk = _Run()
    await talk.begin(length)
    return talk


async def _ours(length: int, folder: Path) -> _Run:
    talk = _Run(SessionManager("talk", store=open_store(f"sqlite:///{folder / 'ours.db'}"), **SETTINGS))
    await talk.begin(length)
    return talk


WAYS = (Way("InMemorySessionService", "bare", _bare), Way("LongsplicePlugin", "ours", _ours))
