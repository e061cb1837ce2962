"""One agent's place in a session: what of its messages is recorded, what it is shown, its state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast
from uuid import uuid4

from strands import Snapshot
from strands.agent.conversation_manager import ConversationManager

from ...errors import SessionNotFound, StoreConflict, TokenLimitExceeded
from ...events import Event
from ...messages import Message as ChatMessage
from ...messages import jsonable
from ...session import SessionManager
from ...telemetry import log
from ..native import native_data, native_of
from .blocks import (
    Message,
    Piece,
    blocks_of,
    call_ids,
    custom_of,
    decoded,
    mapping_of,
    mark_of,
    metadata_of,
    pieces_of,
    result_id,
    result_ids,
)
from .history import Agent, model_of
from .notes import newest_note, write_note
from .shrinking import is_pinned
from .views import Overlay, ids_of, rejoined, view_of

__all__ = ["Seat"]

_STATE: Final = "strands_state"
_FIELDS: Final = ("state", "interrupt_state", "model_state")
"""What a snapshot of an agent keeps beside its messages; the conversation manager's state goes apart."""
_UNBOUND: Final = 1 << 40
"""Tokens that no view exceeds."""
_TRIES: Final = 8
"""Times that a redaction is made anew because another agent of the session wrote in between."""


class Seat:
    """One agent of a session, awaited in the session's loop.

    Args:
        sm: The conversation of its messages.
    """

    def __init__(self, sm: SessionManager) -> None:
        self.sm = sm
        self._segment: str | None = None
        """The session whose view the agent's messages show; `None` until something was said."""
        self._recorded: dict[str, int] = {}
        """By tracking id, how many blocks of a message are in the log."""
        self._order: list[str] = []
        """Tracking ids that the session's view would show, the oldest first."""
        self._calls: set[str] = set()
        """Ids of the calls that were recorded from here and have no result yet."""
        self._overlay = Overlay()
        self._told: dict[str, Any] = {}
        """What the state says of the messages shown: see `_shown`."""
        self._state: str | None = None
        """The state that was written last, as JSON text."""
        self._prompted = False

    async def open(self, agent: Agent) -> None:
        """Give the agent the session's view and state; a new session takes the agent's messages instead."""
        state = await newest_note(self.sm, _STATE)
        interrupts = mapping_of(mapping_of((state or {}).get("agent")).get("interrupt_state"))
        try:
            view = await self._view(waits=bool(interrupts.get("activated")))
        except SessionNotFound:
            await self._import(agent)
            return
        head = self._restore(agent, state) if state is not None else []
        self._state = None if state is None else _text(state)
        self._told = {key: state[key] for key in ("pinned", "tail", "kept") if key in state} if state else {}
        if not agent.model.stateful:
            agent.messages[:] = rejoined(view, head, state or {})
        self._segment = self.sm.session_id

    def _restore(self, agent: Agent, state: Mapping[str, Any]) -> list[Any]:
        """Take up the agent's state; the messages that its conversation manager puts first."""
        data = decoded(state.get("agent") or {})
        agent.load_snapshot(Snapshot(scope="agent", schema_version="1.0", data=data, app_data={}))
        manager: ConversationManager = agent.conversation_manager
        try:
            return list(manager.restore_from_session(decoded(state.get("manager") or {})) or [])
        except ValueError:
            # Another manager than before: its state says nothing to this one, the messages are all there.
            log.warning(
                "session.manager_changed", session_id=self.sm.session_id, manager=type(manager).__name__
            )
            return []

    async def _view(self, *, waits: bool = False) -> list[Message]:
        """The session's view in Strands' shape; takes down what of it is recorded."""
        try:
            context = await self.sm.context(policies=[], cache_control=False)
        except TokenLimitExceeded:
            context = await self.sm.context(_UNBOUND, policies=[], cache_control=False)
        events = await self.sm.open_segment(seen=True)
        self._overlay.read(events)
        view = view_of(context, events, self._overlay, waits=waits)
        self._order, self._recorded = ids_of(view), {}
        self._calls |= {call for message in view[-1:] for call in call_ids(message)}
        for message in view:
            if name := message.get("tracking_id"):
                self._recorded[name] = len(blocks_of(message))
        return view

    async def refresh(self, agent: Agent) -> bool:
        """After a segmentation the agent's messages become the new segment's view; whether they did."""
        if self._segment is None or agent.model.stateful:
            return False
        await self.sm.open_segment()
        if self.sm.session_id == self._segment:
            return False
        before: list[Message] = list(agent.messages)
        known = {m["tracking_id"]: m for m in before if m.get("tracking_id") and mark_of(m) is None}
        view = await self._view()
        agent.messages[:] = [_newest_form(message, known) for message in view]
        self._segment = self.sm.session_id
        self._told = {}
        self._state = None  # The new segment is to know the state without a look at the older ones.
        return True

    async def _import(self, agent: Agent) -> None:
        """Record the messages that a new session's agent was made with, in one batch."""
        messages: list[Message] = [m for m in agent.messages if mark_of(m) is None]
        for message in messages:
            message["tracking_id"] = message.get("tracking_id") or str(uuid4())
        pieces = [(piece, message) for message in messages for piece in pieces_of(message)]
        if not pieces:
            return
        await self._learn_prompt(agent)
        data = [_data_of(piece, message) for piece, message in pieces]
        await self.sm.record_all([piece.wire for piece, _ in pieces], data=data)
        for message in messages:
            self._take_down(message)
        self._segment = self.sm.session_id

    async def append(self, message: Any, agent: Agent) -> None:
        """Record a message, and the agent's state if it changed; what we put in ourselves is no message."""
        if mark_of(message) is None:
            await self._learn_prompt(agent)
            await self._record(message, agent)
        await self.sync(agent, whole=False)

    async def _record(self, message: Message, agent: Agent) -> None:
        """Record the blocks of a message that are not in the log yet."""
        name = str(message.get("tracking_id") or "")
        start = self._recorded.get(name, 0) if name else 0
        count = len(blocks_of(message))
        if start >= count > 0:
            return
        pieces = await self._without_answered(message, pieces_of(message, start))
        usage = mapping_of(metadata_of(message).get("usage"))
        answers = message.get("role") == "assistant"
        # Strands says itself what ends a turn early: no model was asked, and no bill is owed.
        made_up = answers and "usage" not in metadata_of(message)
        await self.sm.record_all(
            [piece.wire for piece in pieces],
            data=[_data_of(piece, message) | ({"synthetic": True} if made_up else {}) for piece in pieces],
            usage=usage if answers and usage.get("totalTokens") else None,
            model=model_of(agent) if answers else None,
            idempotency_key=f"strands:{name}:{start}:{count}" if name else None,
        )
        self._take_down(message)
        self._segment = self._segment or self.sm.session_id

    def _take_down(self, message: Message) -> None:
        """Note that all blocks of a message are in the log."""
        self._calls = (self._calls | set(call_ids(message))) - set(result_ids(message))
        if name := message.get("tracking_id"):
            self._recorded[name] = len(blocks_of(message))
            if not result_ids(message):
                self._order.append(name)

    async def _answered(self, calls: set[str]) -> dict[str, Event | None]:
        """The results of these calls that are in the log: the guard recorded each as the call ended.

        A call that was recorded and is not in the open segment was answered before that began, since open
        calls go along; what it was answered with no longer matters, and is `None` here.
        """
        found: dict[str, Event | None] = {}
        unlisted = set(calls)
        for event in reversed(await self.sm.open_segment(seen=True)) if calls else ():
            said = event.message
            if said is None or not unlisted:
                continue
            if said.tool_call_id in unlisted:
                found.setdefault(str(said.tool_call_id), event)
            unlisted -= {call.id for call in said.tool_calls}
        return found | dict.fromkeys(unlisted & self._calls)

    async def _without_answered(self, message: Message, pieces: list[Piece]) -> list[Piece]:
        """The pieces without results that are in the log; what differs is kept beside it, verbatim."""
        answered = await self._answered(set(result_ids(message)))
        verbatim: dict[str, Any] = {}
        kept: list[Piece] = []
        for piece in pieces:
            call = str(piece.wire.get("tool_call_id"))
            if call not in answered:
                kept.append(piece)
            elif (event := answered[call]) is not None and _differs(piece, event):
                verbatim[str(event.seq)] = jsonable([b for b in blocks_of(message) if result_id(b) == call])
        if verbatim:
            await self._note({"results": verbatim})
        return kept

    async def _learn_prompt(self, agent: Agent) -> None:
        """Tell the conversation the agent's system prompt, once and if it is another one."""
        if self._prompted:
            return
        self._prompted = True
        prompt = agent.system_prompt
        known = None
        if self._segment is not None:
            shown = await self.sm.get_messages_for_llm(_UNBOUND, policies=[])
            known = next((m["content"] for m in shown if m["role"] == "system"), None)
        if isinstance(prompt, str) and prompt and prompt != known:
            await self.sm.update_system_prompt(prompt)

    # State

    async def sync(self, agent: Agent, *, whole: bool = True) -> None:
        """Write the agent's state, if it changed; `whole`: with what its messages show."""
        if self._segment is None:
            return  # Nothing was said yet: an agent that is only made leaves no trace.
        if whole:
            self._told = self._shown(agent)
        taken = agent.take_snapshot(include=list(_FIELDS)).data
        state = {
            "agent": jsonable(taken),
            "manager": jsonable(agent.conversation_manager.get_state()),
            **self._told,
        }
        text = _text({"agent_id": agent.agent_id, **state})
        if text != self._state:
            await write_note(self.sm, {_STATE: json.loads(text)})
            self._state = text

    def _shown(self, agent: Agent) -> dict[str, Any]:
        """Where the agent's messages begin in the session's view, and which of those before it stay."""
        ids = ids_of(agent.messages)
        pinned = [m["tracking_id"] for m in agent.messages if is_pinned(m) and m.get("tracking_id")]
        told: dict[str, Any] = {"pinned": pinned} if pinned else {}
        if ids == self._order:
            return told
        at = len(self._order)
        kept = list(ids)
        while kept and at and kept[-1] == self._order[at - 1]:
            kept.pop()
            at -= 1
        tail = self._order[at] if at < len(self._order) else None
        return {**told, "tail": tail, "kept": kept}

    async def redact(self, message: Message) -> None:
        """Put a message, as it is here, in the place of what was recorded of it.

        Raises:
            StoreError: The store failed; the original still stands.
        """
        for _ in range(_TRIES):
            events = await self.sm.open_segment()
            gone, later = _recorded_of(message, events), list[Event]()
            told: list[tuple[dict[str, Any], dict[str, Any]]] = []
            if gone:
                told = [(piece.wire, _data_of(piece, message)) for piece in pieces_of(message)]
                # What followed is said anew behind it; its usage stays booked where it was.
                later = [e for e in events if e.message is not None and e.seq > gone[0].seq and e not in gone]
                told += [_retold(event) for event in later]
            else:  # A closed segment has it, which no context shows.
                events = await self.sm.read(include_all_segments=True)
                gone = _recorded_of(message, events)
            if not gone:
                return  # It was never recorded, so there is nothing to hide.
            with suppress(StoreConflict):  # Another agent of the session wrote in between.
                await self.sm.take_back(
                    [event.seq for event in (*gone, *later)],
                    instead=[wire for wire, _ in told],
                    data=[data for _, data in told],
                    expect=events[-1].seq,
                )
                self._recorded[str(message.get("tracking_id"))] = len(blocks_of(message))
                return
        raise StoreConflict(f"session {self.sm.session_id!r} grew {_TRIES} times meanwhile; redact again")

    async def _note(self, told: Mapping[str, Any]) -> None:
        """Write what stands for recorded blocks from now on."""
        event = await write_note(self.sm, {"strands": told})
        self._overlay.read([event])


def _recorded_of(message: Message, events: Sequence[Event]) -> list[Event]:
    """The events that a message was recorded in, in order.

    Results that the guard recorded are known by their call; of an id that came again, the newest is meant.
    """
    name, calls = message.get("tracking_id"), set(result_ids(message))
    found: list[Event] = []
    for event in reversed(events):
        if event.message is None:
            continue
        call = event.message.tool_call_id
        of_name = name and mapping_of(native_of(event, "strands")).get("id") == name
        if of_name or call in calls:
            found.append(event)
            calls.discard(str(call))
    return found[::-1]


def _retold(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recorded message once more: no model is asked again, and no bill is owed."""
    said = cast("ChatMessage", event.message)
    data = {key: event.data[key] for key in ("native", "tool") if key in event.data}
    return said.to_wire(), data | ({"synthetic": True} if said.role == "assistant" else {})


def _data_of(piece: Piece, message: Message) -> dict[str, Any]:
    """What goes with the event of a piece: whose message it is of, and what the chat message cannot say."""
    kept: dict[str, Any] = {"id": str(message.get("tracking_id") or "")}
    if piece.native is not None:
        kept["blocks"] = piece.native
    if custom := {key: value for key, value in custom_of(message).items() if key != "pinned"}:
        kept["custom"] = jsonable(custom)
    failed = {} if piece.error is None else {"tool": {"error": piece.error}}
    return native_data("strands", kept) | failed


def _differs(piece: Piece, event: Event) -> bool:
    said = event.message
    return piece.native is not None or said is None or piece.wire["content"] != said.to_wire()["content"]


def _newest_form(message: Message, known: Mapping[str, Message]) -> Message:
    """The agent's own form of a message (with stand-ins, pins), unless the log has more blocks of it."""
    own = known.get(str(message.get("tracking_id")))
    return own if own is not None and len(blocks_of(own)) == len(blocks_of(message)) else message


def _text(state: Mapping[str, Any]) -> str:
    return json.dumps(state, sort_keys=True, ensure_ascii=False)
