"""Sessions for people who build an agent runtime: found by id, with a free state, kept for as long as used.

    sessions = Sessions("sqlite:///agents.db", expires_after=timedelta(days=1))
    session = await sessions.get_or_create("s1", owner="ana")
    session.state["step"] = 3
    await sessions.save(session)

What was said stands in the log, and needs no saving: `session.manager` records it. The state is a record of
the runtime's own, saved as a whole, and never over somebody else's version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from .errors import InvalidSetting, SessionErased, SessionExists, SessionNotFound
from .session import SessionManager
from .state import State, StateConflict
from .stores import ANY_OWNER, AnyOwner, Erased, EventStore, default_store, open_store
from .stores.protocol import Owner

__all__ = ["Session", "Sessions"]

_TRIES: Final = 50
"""Times that `update` applies a change anew because another worker has saved meanwhile."""


@dataclass(slots=True)
class Session:
    """One agent's session, as this worker read it.

    Attributes:
        session_id: Its id; the conversation's root.
        owner: User or tenant.
        manager: Records, builds contexts, guards tools. Its writes are durable at once.
        state: Free JSON values; durable once `Sessions.save` returns.
        version: How often the state was saved.
        created_at: When the session was created; `None` for a conversation that was tracked without one.
        updated_at: When something was written to it last.
    """

    session_id: str
    owner: Owner
    manager: SessionManager = field(repr=False)
    state: dict[str, Any] = field(repr=False)
    version: int
    created_at: datetime | None
    updated_at: datetime | None


class Sessions:
    """Creates, finds, saves and expires the sessions of one store.

    Args:
        store: As for `SessionManager`, but `memory://` is one store for all sessions.
        expires_after: Idle time after which a session is gone: `get` does not find it, and it is removed
            with all else of its owner that was idle for as long. `None`: never.
        settings: Arguments of each `SessionManager`: `model`, `token_threshold`, `summarizer`, ...

    Raises:
        InvalidSetting: An argument out of range.
    """

    def __init__(
        self,
        store: EventStore | str | None = None,
        *,
        expires_after: timedelta | None = None,
        **settings: Any,
    ) -> None:
        if expires_after is not None and expires_after <= timedelta():
            raise InvalidSetting(
                f"expires_after={expires_after!r}: use a time above 0, or None to keep sessions"
            )
        self._store: EventStore | str | None = store
        if isinstance(store, str) and store == "memory://":
            self._store = open_store(store)
        self._expires_after = expires_after
        self._settings = settings

    @property
    def store(self) -> EventStore:
        """The store; one given by URL is opened once per process and loop."""
        return (
            default_store(self._store) if self._store is None or isinstance(self._store, str) else self._store
        )

    async def create(
        self, session_id: str | None = None, *, owner: Owner = None, state: Mapping[str, Any] | None = None
    ) -> Session:
        """Make a session; it is durable when this returns.

        Raises:
            SessionExists: The owner has a conversation of this id.
        """
        await self._expire(owner)
        manager = self._manager(session_id, owner)
        try:
            if session_id is not None:
                await manager.open_segment()
                raise SessionExists(session_id)
        except SessionNotFound:
            pass
        try:
            saved = await manager.save_state(state or {}, version=0)
        except StateConflict:  # Another worker was faster.
            raise SessionExists(manager.conversation_id) from None
        return await self._session(manager, saved)

    async def get(self, session_id: str, *, owner: Owner = None) -> Session | None:
        """The session as it is in the store; `None` if the owner has none of this id, or it has expired.

        Raises:
            StoreError: The store could not be read. That never looks like an absence.
        """
        await self._expire(owner)
        manager = self._manager(session_id, owner, create=False)
        try:
            return await self._session(manager, await manager.get_state())
        except (SessionNotFound, SessionErased):
            return None

    async def get_or_create(
        self, session_id: str, *, owner: Owner = None, state: Mapping[str, Any] | None = None
    ) -> Session:
        """The session, made with `state` if there is none; of workers at once one makes it."""
        for _ in range(_TRIES):
            if (found := await self.get(session_id, owner=owner)) is not None:
                return found
            try:
                return await self.create(session_id, owner=owner, state=state)
            except SessionExists:
                continue
        raise SessionExists(session_id)

    async def save(self, session: Session) -> Session:
        """Save the session's state as a whole; the session is the newest version then.

        Raises:
            StateConflict: Another worker saved it since; get it again, or use `update`.
            InvalidSetting: A state that is no JSON.
        """
        saved = await session.manager.save_state(session.state, version=session.version)
        session.version, session.updated_at = saved.version, saved.saved_at
        session.created_at = saved.created_at
        return session

    async def update(
        self, session_id: str, change: Callable[[dict[str, Any]], None], *, owner: Owner = None
    ) -> Session:
        """Apply a change to the stored state; done anew where another worker saved meanwhile.

        Args:
            session_id: The session.
            change: Changes the state in place. It may run more than once.
            owner: Its owner.

        Raises:
            SessionNotFound: There is none.
            StateConflict: Others saved in between too often.
        """
        for left in range(_TRIES, 0, -1):
            session = await self.get(session_id, owner=owner)
            if session is None:
                raise SessionNotFound(session_id)
            change(session.state)
            try:
                return await self.save(session)
            except StateConflict:
                if left == 1:
                    raise
        raise AssertionError("unreachable")

    async def delete(self, session_id: str, *, owner: Owner = None) -> bool:
        """Erase a session with all that was said in it; whether there was one. Its id is not used again."""
        return bool((await self.store.erase(owner, session_id)).conversations)

    async def expire(self, owner: Owner | AnyOwner = ANY_OWNER) -> Erased:
        """Remove what was idle for `expires_after`, of one owner or of all; what was removed, in figures."""
        if self._expires_after is None:
            return Erased()
        return await self.store.expire(owner, idle_s=self._expires_after.total_seconds())

    async def _expire(self, owner: Owner) -> None:
        if self._expires_after is not None:
            await self.expire(owner)

    def _manager(self, session_id: str | None, owner: Owner, *, create: bool = True) -> SessionManager:
        settings: dict[str, Any] = {"create": create, **self._settings}
        return SessionManager(session_id, store=self._store, owner=owner, **settings)

    async def _session(self, manager: SessionManager, state: State) -> Session:
        events = await manager.open_segment(seen=True)
        updated_at = max((at for at in (state.saved_at, *(e.at for e in events[-1:])) if at), default=None)
        return Session(
            manager.conversation_id,
            manager.owner,
            manager,
            state.values,
            state.version,
            state.created_at,
            updated_at,
        )
