"""One conversation on one event loop, in step with the messages of a graph."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, Final, NamedTuple, cast

from ...errors import MissingExtra, OrphanToolResult, StoreError
from ...session import SessionManager
from ...telemetry import log
from ..host_list import message_digest
from ..mirror import Mirror
from ..native import native_data
from .requests import Request, same_items
from .translate import from_chat, model_of, to_chat, usage_of

try:
    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
except ImportError as error:
    raise MissingExtra("the LangGraph integration", "langchain") from error

__all__ = ["Conversation", "Viewed", "first_of", "split_system", "state_messages"]

_RUNTIME: Final = "langchain"
_STAND_IN: Final = "longsplice"
"""`lc_source` of the message that stands for what was summarized; LangChain does not send the key."""


class Viewed(NamedTuple):
    """What the model is to be sent.

    Attributes:
        prompt: The system prompt, `None` if there is none.
        messages: The rest.
    """

    prompt: str | None
    messages: list[BaseMessage]


class _Answered(NamedTuple):
    """What a model has answered to which messages of a graph."""

    messages: Sequence[BaseMessage]
    answers: Sequence[BaseMessage]
    prompt: str | None


class Conversation:
    """One conversation on one event loop: its manager, and the mirror of the graph's messages.

    Args:
        sm: Its manager.
        request: What its manager was made for.
    """

    def __init__(self, sm: SessionManager, request: Request) -> None:
        self.request = request
        self._mirror = Mirror(sm)
        self._prompt: tuple[SessionManager, str | None] | None = None
        self._items: list[BaseMessage] = []
        self._owed: _Answered | None = None
        """What a model has answered while the store failed; it goes before all else."""
        self._one_at_a_time = asyncio.Lock()

    @property
    def sm(self) -> SessionManager:
        """The manager of the conversation of the graph's messages: a fork's, once they were rewritten."""
        return self._mirror.sm

    async def view(
        self,
        messages: Sequence[BaseMessage],
        prompt: str | None = None,
        *,
        max_tokens: int | None = None,
        recall: bool = False,
    ) -> Viewed:
        """Record what the log lacks of the graph's messages; what the model is to be sent for them.

        Args:
            messages: All of the graph's, without the system messages that they may begin with.
            prompt: The system prompt; `None` leaves the stored one.
            max_tokens: As for `SessionManager.context`.
            recall: The same.
        """
        if not messages:
            return Viewed(prompt, [])
        async with self._one_at_a_time:
            await self._sync(messages, prompt)
            shown = await self._mirror.view(max_tokens, recall=recall)
            answers = {m.tool_call_id: m for m in self._items if isinstance(m, ToolMessage)}
            prompt, parts = _split_prompt(shown.parts)
            return Viewed(prompt, [self._message(part, answers) for part in parts])

    async def shorter(
        self, messages: Sequence[BaseMessage], prompt: str | None = None
    ) -> list[BaseMessage] | None:
        """Record what the log lacks; the seed and the messages that are not in it, `None` if all stay.

        What a policy or a budget leaves out for one request stays in the list.
        """
        if not messages:
            return None
        async with self._one_at_a_time:
            await self._sync(messages, prompt)
            shown = await self._mirror.view(policies=[])
            _, parts = _split_prompt(shown.parts)
            k = next((part for part in parts if isinstance(part, int)), 0)
            first, seed = self._items[0], parts[0] if parts else 0
            if not k or isinstance(seed, int) or not shown.context.parts["seed"] or shown.context.omitted:
                return None
            if k == 1 and _wire_of(first) == seed:
                return None
            told = {**self._mirror.stand_in(k), "first": first_of(first)}
            mark = {"lc_source": _STAND_IN, "lc_data": told}
            return [HumanMessage(seed["content"], additional_kwargs=mark), *self._items[k:]]

    async def record(
        self, messages: Sequence[BaseMessage], answers: Sequence[BaseMessage] = (), prompt: str | None = None
    ) -> None:
        """Record what followed the graph's messages: an answer with its usage, before its tools run."""
        async with self._one_at_a_time:
            await self._record(_Answered(messages, answers, prompt))

    async def record_paid(
        self, messages: Sequence[BaseMessage], answers: Sequence[BaseMessage], prompt: str | None
    ) -> None:
        """As `record`; while the store fails the run keeps the answer, which was paid for.

        It is recorded with its usage before anything else is, or without by another process, as a message of
        the graph's.
        """
        try:
            await self.record(messages, answers, prompt)
        except StoreError as error:
            self._owed = _Answered(messages, answers, prompt)
            log.warning("answer.not_recorded", session_id=self.sm.session_id, error=type(error).__name__)

    async def find(self, messages: Sequence[BaseMessage]) -> None:
        """Find, in a process that has not seen them yet, which course of the conversation the messages are.

        A list that begins with an answer or a result is no graph's whole list, and tells nothing.
        """
        async with self._one_at_a_time:
            await self._record_owed()
            if not (self._items or not messages or isinstance(messages[0], AIMessage | ToolMessage)):
                await self._sync(messages)

    async def record_result(self, result: ToolMessage) -> None:
        """Record the result of an open call as it is, parts and all."""
        with suppress(OrphanToolResult):  # It was recorded before.
            await self.sm.record(_wire_of(result))

    async def _sync(self, messages: Sequence[BaseMessage], prompt: str | None = None) -> None:
        await self._record_owed()
        await self._tell_prompt(prompt)
        self._items = list(messages)
        await self._mirror.sync(
            self._items, _wire_of, data_of=_data_of, stands_for=_stood_for(self._items[:1])
        )
        await self._tell_prompt(prompt)

    async def _record(self, answered: _Answered) -> None:
        messages, answers, prompt = answered
        if not same_items(self._items, messages):  # Another run of the thread came between.
            await self._sync(messages, prompt)
        for answer in answers:
            if isinstance(answer, ToolMessage):
                await self.record_result(answer)
                continue
            usage, model = usage_of(answer), model_of(answer)
            await self._mirror.record(_wire_of(answer), usage=usage, model=model, data=_data_of(answer))

    async def _record_owed(self) -> None:
        owed, self._owed = self._owed, None
        if owed is None:
            return
        try:
            await self._record(owed)
        except StoreError:
            self._owed = owed
            raise

    def _message(self, part: int | dict[str, Any], answers: Mapping[str, ToolMessage]) -> BaseMessage:
        if isinstance(part, int):
            return self._items[part]
        own = answers.get(part.get("tool_call_id", ""))
        if own is None:
            return from_chat(part)
        return own.model_copy(update={"content": part["content"] or ""})

    async def _tell_prompt(self, prompt: str | None) -> None:
        if prompt is not None and self._prompt != (self.sm, prompt):
            await self.sm.update_system_prompt(prompt or None)
            self._prompt = (self.sm, prompt)


def split_system(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[BaseMessage]]:
    """The system messages that a list begins with, and the rest."""
    head = list(takewhile(lambda message: isinstance(message, SystemMessage), messages))
    return head, list(messages[len(head) :])


def state_messages(state: object, key: str = "messages") -> list[BaseMessage]:
    """The messages of a graph's state, whichever form it has."""
    if isinstance(state, list):
        return cast("list[BaseMessage]", state)
    found = (
        cast("Mapping[str, Any]", state).get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    )
    return list(found or ())


def first_of(message: BaseMessage) -> str:
    """By what a list is known that begins with this message, or with what stands for its beginning."""
    told = _stood_for([message])
    return str(told.get("first")) if told else message_digest(_wire_of(message)).hex()


def _stood_for(first: Sequence[BaseMessage]) -> Mapping[str, Any] | None:
    """What the first message of a trimmed state stands for."""
    kwargs = first[0].additional_kwargs if first else {}
    told: object = kwargs.get("lc_data")
    if kwargs.get("lc_source") != _STAND_IN or not isinstance(told, dict):
        return None
    return cast("dict[str, Any]", told)


def _wire_of(message: BaseMessage) -> dict[str, Any]:
    return to_chat(message).wire


def _data_of(message: BaseMessage) -> dict[str, Any] | None:
    native = to_chat(message).native
    return None if native is None else native_data(_RUNTIME, native)


def _split_prompt(
    parts: Sequence[int | dict[str, Any]],
) -> tuple[str | None, Sequence[int | dict[str, Any]]]:
    """A view's system prompt, which a graph sends by itself, and the rest."""
    head = parts[0] if parts else 0
    if isinstance(head, int) or head["role"] != "system":
        return None, parts
    return head["content"], parts[1:]
