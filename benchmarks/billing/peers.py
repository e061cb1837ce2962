"""The peers' own packages, driven as their runtimes drive them, and plain windows beside them.

Each keeps messages in its own shape; on the way out a message that it did not touch is the recorded one
again, so that equal messages are equal blocks. Packages that are not installed are left out, with a note.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, Final

from .contestants import Contestant, Entry, Ring

__all__ = ["missing", "present"]

Wire = Mapping[str, Any]
_TAIL: Final = 0.2
"""Share of the room that LangChain keeps verbatim at an equal budget: what ours keeps by default."""


@dataclass(slots=True)
class _Compacted:
    """openai-agents-context-compaction: the newest items that fit, chosen anew at each call."""

    ring: Ring
    limits: Mapping[str, Any]
    _items: list[Mapping[str, Any]] = field(default_factory=list)
    session_id: str = "bill"
    _session: Any = None

    def __post_init__(self) -> None:
        logging.getLogger("openai_agents_context_compaction").setLevel(logging.ERROR)
        package = import_module("openai_agents_context_compaction")
        self._session = package.LocalCompactionSession(self, **self.limits)

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """What the wrapped session holds; its part of the protocol."""
        return list(self._items) if limit is None else self._items[-limit:]

    async def add(self, message: Wire, usage: Any = None) -> None:  # noqa: ARG002
        """See `Contestant`."""
        if message["role"] == "tool":
            call_id, output = message["tool_call_id"], message["content"]
            self._items.append({"type": "function_call_output", "call_id": call_id, "output": output})
            return
        if message["content"]:
            self._items.append({"role": message["role"], "content": message["content"]})
        for call in message.get("tool_calls") or ():
            self._items.append({"type": "function_call", "call_id": call["id"], **call["function"]})

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        return [*self.ring.system, *map(_from_item, await self._session.get_items())]


def _from_item(item: Mapping[str, Any]) -> Wire:
    if item.get("type") == "function_call_output":
        return {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
    if item.get("type") == "function_call":
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return item


def _last_items(ring: Ring) -> Contestant:
    """50 items, as its documentation has it. A window of items holds no budget: no other round."""
    return _Compacted(ring, {"window_size": 50})


def _last_tokens(ring: Ring) -> Contestant:
    """8,000 tokens, as its documentation has it, or the budget, by our count."""
    if ring.budget is None:
        return _Compacted(ring, {"token_budget": 8000})
    return _Compacted(ring, {"token_budget": ring.room, "token_counter": ring.tokens.of_text})


class _LangChain:
    """Messages in LangChain's shape."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.core = import_module("langchain_core.messages")
        self.messages: list[Any] = []
        self._recorded: dict[str, Wire] = {}

    async def add(self, message: Wire, usage: Any = None) -> None:  # noqa: ARG002
        """See `Contestant`."""
        made = self._made(message, f"m{len(self._recorded)}")
        self._recorded[made.id] = message
        self.messages.append(made)

    def _made(self, message: Wire, name: str) -> Any:
        role, text = message["role"], message["content"] or ""
        if role == "user":
            return self.core.HumanMessage(text, id=name)
        if role == "tool":
            return self.core.ToolMessage(text, tool_call_id=message["tool_call_id"], id=name)
        calls = [_langchain_call(call) for call in message.get("tool_calls") or ()]
        return self.core.AIMessage(text, tool_calls=calls, id=name)

    def wires(self, messages: Sequence[Any]) -> list[Wire]:
        """Messages to send; the recorded ones where they are as recorded."""
        return [*self.ring.system, *map(self._wire, messages)]

    def _wire(self, message: Any) -> Wire:
        recorded = self._recorded.get(message.id)
        if recorded is None:
            return {"role": "user", "content": message.content}
        changed = message.content != (recorded["content"] or "")
        return {**recorded, "content": message.content} if changed else recorded

    def count(self, messages: Any) -> int:
        """Our count of messages in its shape."""
        return self.ring.tokens.sent([self._wire(message) for message in messages]).tokens


def _langchain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(call["function"]["arguments"])
    except ValueError:
        arguments = {}
    arguments = arguments if isinstance(arguments, dict) else {}
    return {"id": call["id"], "name": call["function"]["name"], "args": arguments}


class _Cleared(_LangChain):
    """ContextEditingMiddleware with ClearToolUsesEdit: old results cleared in a copy, at each call anew."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        editing = import_module("langchain.agents.middleware.context_editing")
        if ring.budget is None:
            edit, self._counter = editing.ClearToolUsesEdit(), editing.count_tokens_approximately
        else:
            edit, self._counter = editing.ClearToolUsesEdit(trigger=ring.room), self.count
        self._edits = [edit]

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        messages = list(self.messages)
        for edit in self._edits:
            edit.apply(messages, count_tokens=self._counter)
        return self.wires(messages)


class _LangChainSummaries(_LangChain):
    """SummarizationMiddleware: all but 20 messages at 4,000 tokens, as documented, or at the budget.

    There the tail is a fifth of the room, our own default, and all that goes is read (by default the package
    reads 4,000 tokens of it).
    """

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        middleware = import_module("langchain.agents.middleware").SummarizationMiddleware
        fake = import_module("langchain_core.language_models.fake_chat_models").GenericFakeChatModel
        limits: dict[str, Any] = {"trigger": ("tokens", 4000), "keep": ("messages", 20)}
        if ring.budget is not None:
            limits = {
                "trigger": ("tokens", ring.room),
                "keep": ("tokens", int(ring.room * _TAIL)),
                "token_counter": self.count,
                "trim_tokens_to_summarize": None,
            }
        model = fake(messages=iter(()))
        self._middleware = middleware(model, **limits)
        # In place of the chat model, so that the prompt that the package makes can be billed.
        self._middleware._summary_model = SimpleNamespace(invoke=self._summarize)  # noqa: SLF001

    def _summarize(self, prompt: str, **_: Any) -> Any:
        text = self.ring.summary_of([{"role": "user", "content": prompt}])
        return self.core.AIMessage(text)

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        update = self._middleware.before_model({"messages": self.messages}, None)
        if update is not None:
            self.messages = [m for m in update["messages"] if not isinstance(m, self.core.RemoveMessage)]
        return self.wires(self.messages)


class _Strands:
    """Messages in Strands' shape, under a manager of its own."""

    def __init__(self, ring: Ring, make: Callable[[Any], Any]) -> None:
        self.ring = ring
        logging.getLogger("strands").setLevel(logging.CRITICAL)
        self._manager = make(import_module("strands.agent.conversation_manager"))
        self._recorded: dict[int, tuple[Any, Sequence[Wire]]] = {}
        self.agent = SimpleNamespace(messages=[], model=self, aux_model=self)

    async def add(self, message: Wire, usage: Any = None) -> None:  # noqa: ARG002
        """See `Contestant`."""
        messages = self.agent.messages
        if message["role"] == "tool" and messages and "toolResult" in messages[-1]["content"][0]:
            merged = messages.pop()
            _, wires = self._recorded.pop(id(merged))
            made = {"role": "user", "content": [*merged["content"], *_strands_content(message)]}
            wires = [*wires, message]
        else:
            role = "assistant" if message["role"] == "assistant" else "user"
            made, wires = {"role": role, "content": _strands_content(message)}, [message]
        self._recorded[id(made)] = (made, wires)
        messages.append(made)

    def _wires(self, messages: Sequence[Any]) -> list[Wire]:
        wires: list[Wire] = []
        for message in messages:
            known = self._recorded.get(id(message))
            text = message["content"][0].get("text", "")
            wires += known[1] if known else [{"role": message["role"], "content": text}]
        return wires

    @property
    def tokens(self) -> int:
        """Our count of what would be sent."""
        return self.ring.tokens.sent([*self.ring.system, *self._wires(self.agent.messages)]).tokens

    async def stream(self, messages: Sequence[Any], *_: Any, **given: Any) -> AsyncIterator[Any]:
        """The model that its summaries are asked of; its part of the protocol."""
        system = {"role": "system", "content": given.get("system_prompt") or ""}
        text = self.ring.summary_of([system, *self._wires(messages)])
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": text}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        return [*self.ring.system, *self._wires(self.agent.messages)]


class _StrandsWindow(_Strands):
    """SlidingWindowConversationManager: 40 messages, applied when an answer ends the agent's invocation."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring, lambda managers: managers.SlidingWindowConversationManager())

    async def add(self, message: Wire, usage: Any = None) -> None:
        """See `Contestant`."""
        await super().add(message, usage)
        if message["role"] == "assistant" and not message.get("tool_calls"):
            self._manager.apply_management(self.agent)


class _StrandsSummaries(_Strands):
    """SummarizingConversationManager: 30 % of the messages, when the window (or the budget) is full."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring, lambda managers: managers.SummarizingConversationManager())
        self._most = ring.budget or ring.window

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        self._reduce()
        return await super().request()

    def _reduce(self) -> None:
        """As often as the provider would say that the request is too long; three times, as its loop."""
        full = import_module("strands.types.exceptions").ContextWindowOverflowException
        for _ in range(3):
            if self.tokens <= self._most:
                return
            try:
                self._manager.reduce_context(self.agent, e=full("too long"))
            except full:
                return


def _strands_content(message: Wire) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        result = {"toolUseId": message["tool_call_id"], "status": "success"}
        return [{"toolResult": {**result, "content": [{"text": message["content"]}]}}]
    content: list[dict[str, Any]] = [{"text": message["content"]}] if message["content"] else []
    for call in message.get("tool_calls") or ():
        made = _langchain_call(call)
        content.append({"toolUse": {"toolUseId": made["id"], "name": made["name"], "input": made["args"]}})
    return content


_PACKAGES: Final[Sequence[tuple[str, str, Entry]]] = (
    (
        "openai_agents_context_compaction",
        "openai-agents-context-compaction",
        Entry("openai-agents-context-compaction, items", _last_items, rounds="defaults"),
    ),
    (
        "openai_agents_context_compaction",
        "openai-agents-context-compaction",
        Entry("openai-agents-context-compaction, tokens", _last_tokens),
    ),
    ("strands", "strands-agents", Entry("Strands, window of messages", _StrandsWindow, rounds="defaults")),
    ("langchain", "langchain", Entry("LangChain, clearing tool results", _Cleared, clears=True)),
    ("langchain", "langchain", Entry("LangChain, summaries", _LangChainSummaries, swept=True)),
    ("strands", "strands-agents", Entry("Strands, summaries", _StrandsSummaries, swept=True)),
)


def present() -> list[Entry]:
    """The peers that are installed."""
    return [entry for module, _, entry in _PACKAGES if find_spec(module) is not None]


def missing() -> list[str]:
    """What to install for the others."""
    return sorted({package for module, package, _ in _PACKAGES if find_spec(module) is None})
