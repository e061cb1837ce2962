"""The history of one agent run and the log: what is recorded of it, and what the model is sent instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final, cast

from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    ToolReturnPart,
)

from ...context import Context
from ...context.policies import Policies
from ...errors import SessionNotFound
from ...events import Event
from ...handover import MARK
from ...messages import dump_json
from ...session import SessionManager
from ..mirror import Mirror
from ..native import native_data, native_of, shown_whole
from .translation import (
    Item,
    chat_of,
    from_native,
    item_of,
    items_of,
    leading_prompts,
    native_of_item,
    usage_of,
)

__all__ = ["RunHistory"]

_RUNTIME: Final = "pydantic_ai"
_MARK: Final = "pydantic_ai_run"


class RunHistory:
    """Keeps one run and the log in step.

    A run that is given no history goes on where the session stands: the log is the history. One that is
    given a history of its own is mirrored: the log follows it, with a fork where it was rewritten. A history
    that begins with what an earlier run of this session recorded is the session's own.

    Args:
        sm: The session.
        max_tokens: As for `SessionManager.context`.
        policies: As for `SessionManager.context`.
        owns: Whether the session owns the history in any case. Then only what comes of the current run is
            recorded, and all of it where nothing was recorded yet.
    """

    def __init__(
        self,
        sm: SessionManager,
        *,
        max_tokens: int | None = None,
        policies: Policies | None = None,
        owns: bool = False,
    ) -> None:
        self._root = sm
        self._max_tokens = max_tokens
        self._policies = policies
        self._owns = owns
        self._mirror: Mirror | None = None
        self._is_open = owns
        self._kept: set[str] = set()
        self._answered: set[str] = set()
        self._read: dict[str, Item] = {}

    @property
    def sm(self) -> SessionManager:
        """The manager of the conversation that holds the run: the given one, or a fork's."""
        return self._root if self._mirror is None else self._mirror.sm

    async def sync(self, messages: Sequence[ModelMessage], run_id: str | None = None) -> None:
        """Record what the log lacks of the run's history.

        Args:
            messages: All of it, the current request at the end.
            run_id: The current run.

        Raises:
            InvalidMessage: One of the messages cannot be kept; nothing was written.
            StoreError: The store failed.
        """
        if not self._is_open:
            await self._open(messages)
        items, owners = items_of(messages)
        if self._mirror is not None:
            await self._mirror.sync(items, chat_of, data_of=_data)
            return
        keys = _keys(messages)
        events = await self._events()
        self._learn(events)
        given = self._owns and any(message.run_id != run_id for message in messages)
        if given and self._kept.isdisjoint(keys) and events and events[0].seq > 1:
            self._learn(await self.sm.read(include_all_segments=True))
        known = self._known(keys, items)
        foreign = self._owns and bool(events) and not any(known)
        # A log only grows: what stands in messages before the newest known one is in it, or in a summary.
        newest = max((owner for owner, is_known in zip(owners, known, strict=True) if is_known), default=0)
        new = [
            (keys[i], items[i])
            for i, owner in enumerate(owners)
            if owner >= newest and not known[i] and not (foreign and messages[owner].run_id != run_id)
        ]
        await self._append(new)

    def _known(self, keys: Sequence[str], items: Sequence[Item]) -> list[bool]:
        """Of each item whether the log has it; an id that a new answer gives again is open again."""
        answered = set(self._answered)
        known: list[bool] = []
        for key, item in zip(keys, items, strict=True):
            known.append(key in self._kept or _call_of(item) in answered)
            if isinstance(item, ModelResponse) and not known[-1]:
                answered.difference_update(call.tool_call_id for call in item.tool_calls)
        return known

    async def record(self, response: ModelResponse, run_id: str | None) -> None:
        """Record the answer to the history of the last `sync`, with its usage, before its tools run."""
        if self._mirror is None:
            await self._append([(_key(response, response.run_id or run_id), response)])
            return
        model = response.model_name
        used = usage_of(response)
        await self._mirror.record(chat_of(response), usage=used, model=model, data=_data(response))

    async def view(
        self, messages: Sequence[ModelMessage], instructions: Sequence[InstructionPart] = ()
    ) -> list[ModelMessage]:
        """What the model is sent in place of the run's history.

        Args:
            messages: The run's history, as it was synchronized.
            instructions: Those that go with the request; the fixed ones count as system prompt.
        """
        prompts = leading_prompts(messages[0]) if messages else []
        told = [part.content for part in prompts] + [p.content for p in instructions if not p.dynamic]
        context, parts = await self._look(messages)
        system = _system_of(context)
        if told and "\n\n".join(told) != system:
            await self.sm.update_system_prompt("\n\n".join(told))
            context, parts = await self._look(messages)
        elif system and not told:
            prompts = [SystemPromptPart(system)]
        if _system_of(context):
            del parts[0]
        items, owners = items_of(messages)
        names = _tool_names(context)
        shown: list[tuple[int | None, Item]] = []
        for part in parts:
            if isinstance(part, int):
                shown.append((owners[part], items[part]))
            else:
                shown.append((None, item_of(part, names) if isinstance(part, dict) else part))
        return _arranged(messages, prompts, shown)

    async def _look(
        self, messages: Sequence[ModelMessage]
    ) -> tuple[Context, list[int | dict[str, Any] | Item]]:
        """The context, and of each message: the number of the run's item, a stored item, or the message."""
        if self._mirror is not None:
            seen = await self._mirror.view(self._max_tokens, policies=self._policies)
            return seen.context, list(seen.parts)
        context = await self.sm.context(self._max_tokens, policies=self._policies, cache_control=False)
        events = {event.seq: event for event in await self.sm.open_segment(seen=True)}
        places = _places(messages, events)
        parts: list[int | dict[str, Any] | Item] = []
        for wire, seq in zip(context.messages, context.seqs, strict=True):
            event = events.get(seq)
            if event is None or not shown_whole(event, wire):
                parts.append(wire)
            else:
                parts.append(places[seq] if seq in places else self._stored(event) or wire)
        return context, parts

    def _stored(self, event: Event) -> Item | None:
        """An earlier run's item, as it was; `None` if its chat message says it all."""
        native = native_of(event, _RUNTIME)
        if native is None:
            return None
        if event.event_id not in self._read:
            self._read[event.event_id] = from_native(native)
        return self._read[event.event_id]

    async def _open(self, messages: Sequence[ModelMessage]) -> None:
        """Find out whose history this is."""
        self._is_open = True
        events = await self._events()
        self._learn(events)
        if len(messages) <= 1 and events:
            return
        if (
            not self._kept
            and events
            and events[0].seq > 1
            and not any(MARK in event.data for event in events)
        ):
            self._learn(await self.sm.read(include_all_segments=True))
        if not self._kept or self._kept.isdisjoint(_keys(messages[:-1])):
            self._mirror = Mirror(self._root)

    async def _events(self) -> Sequence[Event]:
        try:
            return await self.sm.open_segment()
        except SessionNotFound:
            return ()

    def _learn(self, events: Iterable[Event]) -> None:
        """Remember what the log holds of runs: a later segment shows it no more."""
        for event in events:
            if _MARK in event.data:
                self._kept.add(event.data[_MARK])
            if event.message is not None:
                self._answered.difference_update(call.id for call in event.message.tool_calls)
            if event.message is not None and event.message.tool_call_id is not None:
                self._answered.add(event.message.tool_call_id)

    async def _append(self, new: Sequence[tuple[str, Item]]) -> None:
        if not new:
            return
        last = next((item for _, item in reversed(new) if isinstance(item, ModelResponse)), None)
        await self.sm.record_all(
            [chat_of(item) for _, item in new],
            data=[{_MARK: key} | (_data(item) or {}) for key, item in new],
            usage=None if last is None else usage_of(last),
            model=None if last is None else last.model_name,
            idempotency_key=[key for key, _ in new],
        )
        self._learn(await self.sm.open_segment(seen=True))
        self._kept.update(key for key, _ in new)


def _data(item: Item) -> dict[str, Any] | None:
    """What is kept with an item's event."""
    native = native_of_item(item)
    return None if native is None else native_data(_RUNTIME, native)


def _call_of(item: Item) -> str | None:
    """The call that an item answers."""
    return item.tool_call_id if isinstance(item, ToolReturnPart) else None


def _keys(messages: Sequence[ModelMessage]) -> list[str]:
    """What each item is known by again: its run, its time, and what does not change of it."""
    items, owners = items_of(messages)
    return [_key(item, messages[owner].run_id) for item, owner in zip(items, owners, strict=True)]


def _key(item: Item, run: str | None) -> str:
    at = getattr(item, "timestamp", None)
    if isinstance(item, ModelResponse):
        told = "response"
    elif isinstance(item, ToolReturnPart):
        told = item.tool_call_id
    else:
        told = blake2b(dump_json(chat_of(item)).encode(), digest_size=8).hexdigest()
    return f"pydantic_ai:{run or ''}:{told}:{at.isoformat() if isinstance(at, datetime) else ''}"


def _places(messages: Sequence[ModelMessage], events: Mapping[int, Event]) -> dict[int, int]:
    """Of events the number of the run's item; results that the guard recorded are known by their call."""
    items, _ = items_of(messages)
    index = {key: i for i, key in enumerate(_keys(messages))}
    calls = {item.tool_call_id: i for i, item in enumerate(items) if isinstance(item, ToolReturnPart)}
    places: dict[int, int] = {}
    for seq, event in events.items():
        message = event.message
        if _MARK in event.data:
            if (place := index.get(event.data[_MARK])) is not None:
                places[seq] = place
        elif places and message is not None and message.tool_call_id in calls:
            places[seq] = calls[message.tool_call_id]
    return places


def _system_of(context: Context) -> str:
    first = context.messages[0] if context.messages else None
    if first is None or first["role"] != "system" or context.seqs[0]:
        return ""
    return str(first["content"])


def _tool_names(context: Context) -> dict[str, str]:
    calls = [call for message in context.messages for call in message.get("tool_calls") or ()]
    return {call["id"]: call[call["type"]]["name"] for call in calls}


def _arranged(
    messages: Sequence[ModelMessage],
    prompts: Sequence[SystemPromptPart],
    shown: Sequence[tuple[int | None, Item]],
) -> list[ModelMessage]:
    """The items as messages: the host's own where all of it is shown."""
    arranged: list[ModelMessage] = []
    for owner, group in groupby(shown, key=lambda entry: (entry[0], isinstance(entry[1], ModelResponse))):
        found = [item for _, item in group]
        responses = [item for item in found if isinstance(item, ModelResponse)]
        arranged += responses
        if not responses:
            parts = [item for item in found if not isinstance(item, ModelResponse)]
            arranged.append(_request(messages, owner[0], parts))
    first = arranged[0] if arranged else None
    if prompts and (first is None or leading_prompts(first) != list(prompts)):
        arranged.insert(0, ModelRequest(parts=list(prompts)))
    if messages and not items_of(messages[-1:])[0] and messages[-1] not in arranged:
        arranged.append(messages[-1])  # A request of instructions alone.
    return arranged


def _request(
    messages: Sequence[ModelMessage], owner: int | None, parts: list[ModelRequestPart]
) -> ModelRequest:
    if owner is None:
        return ModelRequest(parts=parts)
    own = cast("ModelRequest", messages[owner])
    whole = own.parts[len(leading_prompts(own)) if owner == 0 else 0 :]
    same = len(whole) == len(parts) and all(a is b for a, b in zip(whole, parts, strict=True))
    return own if same else replace(own, parts=parts)
