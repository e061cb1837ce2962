"""Small tools, and agents on a scripted Strands model: the real event loop, without a provider."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from strands import Agent, tool

from summarizer.integrations.strands.testing import ScriptedModel, Step


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@tool
def page(number: int) -> str:
    """Read a page of 400 characters."""
    return f"Page {number}: " + "words " * 65


def agent_of(script: Sequence[Step], *, limit: int | None = None, **settings: Any) -> Agent:
    """An agent that says nothing on stdout and does not wait between retries."""
    model = ScriptedModel(script, context_window_limit=limit)
    settings.setdefault("tools", [add])
    return Agent(model=model, callback_handler=None, retry_strategy=None, **settings)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": text}]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": text}]}


def used(call_id: str, name: str = "add", given: Any = None) -> dict[str, Any]:
    use = {"toolUseId": call_id, "name": name, "input": {} if given is None else given}
    return {"role": "assistant", "content": [{"toolUse": use}]}


def result(call_id: str, text: str = "ok", *more: dict[str, Any]) -> dict[str, Any]:
    content = [{"text": text}, *more]
    return {
        "role": "user",
        "content": [{"toolResult": {"toolUseId": call_id, "status": "success", "content": content}}],
    }


def kinds(messages: Sequence[Any]) -> list[str]:
    """Each message as `role:kind+kind`."""
    return [m["role"] + ":" + "+".join(next(iter(b)) for b in m["content"]) for m in messages]


def assert_valid(messages: Sequence[Any]) -> None:
    """What Bedrock asks of a request: begins with a user, roles alternate, each use answered by the next."""
    roles = [m["role"] for m in messages]
    assert roles[0] == "user"
    assert all(a != b for a, b in pairwise(roles)), roles
    open_calls: list[str] = []
    for message in messages:
        results = [b["toolResult"]["toolUseId"] for b in message["content"] if "toolResult" in b]
        assert sorted(results) == sorted(open_calls)
        open_calls = [b["toolUse"]["toolUseId"] for b in message["content"] if "toolUse" in b]
    assert not open_calls
