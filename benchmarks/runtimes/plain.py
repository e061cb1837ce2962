"""A loop of one's own: a list of messages, or a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from summarizer import SessionManager, open_store

from ..logs import ANSWER
from .scripting import MODEL, SETTINGS, Script, Way, chunks, turns

__all__ = ["WAYS"]


def _answer(script: Script) -> dict[str, Any]:
    """The answer of Chat Completions, as JSON."""
    calls = [
        {"id": i, "type": "function", "function": {"name": "look", "arguments": json.dumps(given)}}
        for i, given in script.next_calls()
    ]
    said = {"role": "assistant", "content": None, "tool_calls": calls} if calls else _said(ANSWER)
    usage = {"prompt_tokens": 4000, "completion_tokens": 100, "total_tokens": 4100}
    return {"model": MODEL, "choices": [{"index": 0, "message": said}], "usage": usage}


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _history(length: int) -> list[dict[str, Any]]:
    wires: list[dict[str, Any]] = []
    for question, call_id, given, result, answer in turns(length):
        function = {"name": "look", "arguments": json.dumps(given)}
        wires += [
            {"role": "user", "content": question},
            {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": call_id, "content": result},
            _said(answer),
        ]
    return wires


class _Listed:
    """The whole list with each call."""

    def __init__(self, length: int) -> None:
        self.script = Script()
        self._messages = _history(length)

    async def turn(self, calls: int) -> None:
        self._messages.append({"role": "user", "content": self.script.ask(calls)})
        while True:
            message = _answer(self.script)["choices"][0]["message"]
            self._messages.append(message)
            if not message.get("tool_calls"):
                return
            for call in message["tool_calls"]:
                result = self.script.look(**json.loads(call["function"]["arguments"]))
                self._messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    async def close(self) -> None: ...


class _Session:
    """Messages from the session, answers and calls to it."""

    def __init__(self, sm: SessionManager) -> None:
        self.script = Script()
        self._sm = sm

    async def turn(self, calls: int) -> None:
        sm = self._sm
        await sm.user_says(self.script.ask(calls))
        while True:
            await sm.get_messages_for_llm()
            response = _answer(self.script)
            await sm.record(response)
            made = response["choices"][0]["message"].get("tool_calls")
            if not made:
                return
            for call in made:
                name, given = call["function"]["name"], call["function"]["arguments"]
                await sm.tools.run(self.script.look, name, given, call_id=call["id"])

    async def close(self) -> None:
        await self._sm.settle()
        await self._sm.store.close()


async def _listed(length: int, _: Path) -> _Listed:
    return _Listed(length)


async def _session(length: int, folder: Path) -> _Session:
    sm = SessionManager("talk", store=open_store(f"sqlite:///{folder / 'plain.db'}"), **SETTINGS)
    for wires in chunks(_history(length)):
        await sm.record_all(wires)
        await sm.settle()
    return _Session(sm)


WAYS = (Way("a list", "bare", _listed), Way("SessionManager", "ours", _session))
