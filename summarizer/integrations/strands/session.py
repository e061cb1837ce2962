"""A Strands session manager on our log: messages durable as they come, restarts where it stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strands.hooks import (
    AfterInvocationEvent,
    AfterMultiAgentInvocationEvent,
    AfterNodeCallEvent,
    AgentInitializedEvent,
    BeforeModelCallEvent,
    HookRegistry,
    MessageAddedEvent,
    MultiAgentInitializedEvent,
)
from strands.session import SessionManager as StrandsSessionManager
from strands.types.exceptions import SessionException

from ...errors import SessionNotFound
from ...messages import jsonable
from ...session import SessionManager
from .blocks import decoded
from .estimate import Estimator
from .history import Agent, model_of, tell
from .notes import newest_note, write_note
from .reducing import Reduced
from .seat import Seat
from .thread import run, wait

if TYPE_CHECKING:
    from strands.multiagent.base import MultiAgentBase

__all__ = ["LongspliceSessionManager"]

_T = TypeVar("_T")

_MULTI: Final = "strands_multi_agent"
_DEFAULT_AGENT: Final = "default"


class LongspliceSessionManager(StrandsSessionManager[Any]):
    """Keeps an agent's conversation in a log: `Agent(session_manager=LongspliceSessionManager("desk"))`.

    Each message is durable before the agent goes on; blocks that a chat message cannot carry are kept
    verbatim. A restarted agent gets the session's view: the seed first, if the conversation was segmented,
    then the open segment, without what its conversation manager had left out. With a `token_threshold` the
    log is segmented as it grows, in a running turn too, and the agent's messages become the new view before
    its next model call. Usage, and its price where the model's name is known, is booked with each answer.

    Several requests may serve one session at once: each agent goes on in its own view, and every message is
    in the log. Each further agent id has a conversation of its own, `SESSION_ID.AGENT_ID`.

    Not kept: messages that are changed after they were added, other than by Strands' own redaction. The
    original of a redacted message is in no context, recall or summary to come; the log has it until erased.

    Args:
        session_id: The conversation's id.
        store: As for `summarizer.SessionManager`; `memory://` is private to this object.
        owner: User or tenant.
        on_reduced: Called with a `Reduced` (reason `segmented`) when the view became a new segment's.
        **settings: `token_threshold`, `summarizer`, `model`, ... as for `summarizer.SessionManager`.

    Raises:
        InvalidSetting: A setting out of range.
    """

    def __init__(
        self,
        session_id: str,
        *,
        store: Any = None,
        owner: str | None = None,
        on_reduced: Callable[[Reduced], object] | None = None,
        **settings: Any,
    ) -> None:
        self.session_id = session_id
        self._settings: dict[str, Any] = {"store": store, "owner": owner, **settings}
        self._on_reduced = on_reduced
        self._main = SessionManager(session_id, **self._settings)
        self._seats: dict[str, Seat] = {}

    def __repr__(self) -> str:
        return f"LongspliceSessionManager({self.session_id!r})"

    # For the host

    def run(self, work: Callable[[SessionManager], Awaitable[_T]], *, agent_id: str = _DEFAULT_AGENT) -> _T:
        """Ask the conversation something, from synchronous code: `session.run(lambda sm: sm.get_stats())`.

        The session's own store is used, in its own event loop; do not keep what is bound to a loop.
        """

        async def asked() -> _T:
            return await work(self.manager_of(agent_id))

        return run(asked())

    def serves(self, agent: Agent) -> bool:
        """Whether the agent was made with this session manager."""
        return agent.agent_id in self._seats

    def manager_of(self, agent_id: str = _DEFAULT_AGENT) -> SessionManager:
        """The conversation of an agent; to be awaited in the session's loop only, see `run`."""
        if agent_id == _DEFAULT_AGENT:
            return self._main
        seat = self._seats.get(agent_id)
        return seat.sm if seat else SessionManager(f"{self.session_id}.{agent_id}", **self._settings)

    # Hooks

    def register_hooks(self, registry: HookRegistry, **_later: Any) -> None:
        """Record what is added, and show the agent the session's view."""
        registry.add_callback(AgentInitializedEvent, self._on_initialized)
        registry.add_callback(MessageAddedEvent, self._on_message)
        registry.add_callback(BeforeModelCallEvent, self._on_model_call)
        registry.add_callback(AfterInvocationEvent, self._on_invoked)
        registry.add_callback(
            MultiAgentInitializedEvent, lambda event: self.initialize_multi_agent(event.source)
        )
        registry.add_callback(AfterNodeCallEvent, self._on_node)
        registry.add_callback(AfterMultiAgentInvocationEvent, self._on_node)

    def _on_initialized(self, event: AgentInitializedEvent) -> None:
        self.initialize(event.agent)

    async def _on_message(self, event: MessageAddedEvent) -> None:
        await wait(self._seat(event.agent).append(event.message, event.agent))

    async def _on_model_call(self, event: BeforeModelCallEvent) -> None:
        before: list[Any] = list(event.agent.messages)
        if await wait(self._seat(event.agent).refresh(event.agent)):
            self._tell(before, event.agent)

    async def _on_invoked(self, event: AfterInvocationEvent) -> None:
        await wait(self._seat(event.agent).sync(event.agent))

    async def _on_node(self, event: AfterNodeCallEvent | AfterMultiAgentInvocationEvent) -> None:
        await wait(self._sync_multi(event.source))

    # What Strands calls

    def initialize(self, agent: Agent, **_later: Any) -> None:
        """Give the agent the messages and the state of the session.

        Raises:
            SessionException: An agent of this id is in the session already.
        """
        if agent.agent_id in self._seats:
            raise SessionException(
                f"agent_id={agent.agent_id!r} is in session {self.session_id!r} already; give each its own"
            )
        seat = self._seats[agent.agent_id] = Seat(self.manager_of(agent.agent_id))
        run(seat.open(agent))

    def append_message(self, message: Any, agent: Agent, **_later: Any) -> None:
        """Record one message; durable when this returns."""
        run(self._seat(agent).append(message, agent))

    def sync_agent(self, agent: Agent, **_later: Any) -> None:
        """Write the agent's state, if it changed."""
        run(self._seat(agent).sync(agent))

    def redact_latest_message(self, redact_message: Any, agent: Agent, **_later: Any) -> None:
        """Put the message, as it is now, in the place of its original, which the log keeps until erased."""
        run(self._seat(agent).redact(redact_message))

    def initialize_multi_agent(self, source: MultiAgentBase, **_later: Any) -> None:
        """Give a graph or swarm the state that the session has of it."""
        run(self._open_multi(source))

    def sync_multi_agent(self, source: MultiAgentBase, **_later: Any) -> None:
        """Write the state of a graph or swarm."""
        run(self._sync_multi(source))

    # Inside

    def _seat(self, agent: Agent) -> Seat:
        seat = self._seats.get(agent.agent_id)
        if seat is None:
            raise SessionException(
                f"agent_id={agent.agent_id!r} is not in session {self.session_id!r}; pass the session "
                "manager to the agent, or call initialize(agent) first"
            )
        return seat

    def _tell(self, before: list[Any], agent: Agent) -> None:
        after: list[Any] = agent.messages
        weigh = Estimator(model=model_of(agent))
        done = Reduced(
            "segmented", len(before), len(after), weigh.messages(before), weigh.messages(after),
            max(0, len(before) - len(after)),
        )  # fmt: skip
        tell(done, self._on_reduced, session_id=self.session_id)

    async def _open_multi(self, source: MultiAgentBase) -> None:
        stored = await newest_note(self._main, _MULTI, source.id)
        if stored is not None:
            source.deserialize_state(decoded(stored["state"]))

    async def _sync_multi(self, source: MultiAgentBase) -> None:
        state = {"id": source.id, "state": jsonable(source.serialize_state())}
        try:
            await write_note(self._main, {_MULTI: state})
        except SessionNotFound:
            await self._main.update_system_prompt(None)  # Creates the conversation, which no message did.
            await write_note(self._main, {_MULTI: state})
