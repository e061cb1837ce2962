"""A scripted chat model, and what tests of LangChain and LangGraph share; needs them installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

Step = AIMessage | BaseException | Callable[[Sequence[BaseMessage]], AIMessage]


class Scripted(BaseChatModel):
    """Answers step by step, and remembers what it was sent; fails on a call that is not scripted."""

    model_name: str = "gpt-4o"
    _steps: list[Step] = PrivateAttr(default_factory=list)
    _requests: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _tools: list[Any] = PrivateAttr(default_factory=list)

    def __init__(self, steps: Iterable[Step]) -> None:
        super().__init__()
        self._steps = list(steps)

    @property
    def requests(self) -> list[list[BaseMessage]]:
        return self._requests

    @property
    def left(self) -> int:
        return len(self._steps)

    def skip_to_last(self) -> None:
        """Leave out what is scripted before the last step."""
        self._steps = self._steps[-1:]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Scripted:
        self._tools = list(tools)
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self._requests.append(list(messages))
        assert self._steps, "the script has no step for this call"
        step = self._steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        answer = step if isinstance(step, AIMessage) else step(messages)
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy(deep=True))])


def calling(*calls: tuple[str, str, dict[str, Any]], text: str = "") -> AIMessage:
    """An answer that makes calls: id, name, arguments."""
    return AIMessage(text, tool_calls=[{"id": i, "name": name, "args": args} for i, name, args in calls])


def turns(count: int, tool: str = "look") -> list[Step]:
    """The answers of so many turns, each with a tool call of its own."""
    steps: list[Step] = []
    for n in range(count):
        steps += [
            calling((f"call_{n}", tool, {"n": n})),
            AIMessage(f"Answer {n}: stop {n} is {n * 3} km away."),
        ]
    return steps


def thread(name: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}
