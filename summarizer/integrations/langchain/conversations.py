"""Which conversation a run of a graph belongs to."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast
from weakref import WeakKeyDictionary, WeakSet

from guards import ToolSpec

from ...errors import InvalidSetting, MissingExtra
from ...session import SessionManager
from ..host_list import hashed
from .conversation import Conversation, first_of
from .requests import Request

try:
    from langchain_core.messages import BaseMessage
    from langgraph.runtime import Runtime
except ImportError as error:
    raise MissingExtra("the LangGraph integration", "langchain") from error

__all__ = ["Conversations", "SessionFactory", "TellsFromRun", "interrupts"]

_MOST_CONVERSATIONS: Final = 256
"""Conversations kept open for each event loop; the least recently used go first, and can be opened anew."""
_LONGEST_NAME: Final = 150
"""Characters of thread and place that the id of a sub-agent's conversation begins with."""

SessionFactory = Callable[[str, Runtime[Any]], SessionManager]
"""From a session id and the run's `Runtime` to the conversation's manager."""
TellsFromRun = Callable[[Runtime[Any]], str | None]


class Conversations:
    """Finds the conversation of a run, or opens it.

    Args:
        session: A manager for all runs, or what makes one; `None` makes them of `settings`.
        settings: Arguments of `SessionManager`.
        owner: Whose conversations they are, or what tells from a run; `None`: the `owner` of the run's
            context, if it has one.
        session_id: What tells the session id from a run; `None`: its thread's id.
        specs: Specs of the tools.
        guard: Policies of the guards.
        previews: Whether large results are shown as previews, if `guard` does not say.

    Raises:
        InvalidSetting: Settings beside a manager that is given.
    """

    def __init__(
        self,
        session: SessionManager | SessionFactory | None,
        settings: Mapping[str, Any],
        *,
        owner: str | TellsFromRun | None = None,
        session_id: TellsFromRun | None = None,
        specs: Iterable[ToolSpec] = (),
        guard: Mapping[str, Any] | None = None,
        previews: bool = False,
    ) -> None:
        if session is not None and settings:
            raise InvalidSetting(
                f"{', '.join(settings)} given beside session; give them to the manager that it is, or makes"
            )
        self._session = session
        self._settings: dict[str, Any] = {"infinite_context": True, **settings}
        self._owner, self._session_id = owner, session_id
        self._specs, self._guard = tuple(specs), dict(guard or {})
        if not previews and (session is None or self._specs or self._guard):
            self._guard.setdefault("offload_tokens", None)
        self._configured: WeakSet[SessionManager] = WeakSet()
        self._request = Request()
        self._opened: WeakKeyDictionary[asyncio.AbstractEventLoop, OrderedDict[Any, Conversation]] = (
            WeakKeyDictionary()
        )

    async def of(
        self, runtime: Runtime[Any], messages: Sequence[BaseMessage], request: Request | None = None
    ) -> Conversation:
        """The conversation of a run, on the running loop.

        Args:
            runtime: The run's.
            messages: The graph's; the first tells the sub-agents of a thread apart.
            request: What goes along with a model call; `None` where there is none: as it was last.
        """
        key = ("", None)
        if not isinstance(self._session, SessionManager):
            key = (self._id_of(runtime, messages), self._owner_of(runtime))
        kept = self._opened.setdefault(asyncio.get_running_loop(), OrderedDict())
        found = kept.get(key)
        if request is not None:
            self._request = request
            if self._session is None and found is not None and not found.request.is_like(request):
                await found.sm.tools.settle()
                found = None
        if found is None:
            sm = self._made(key, runtime)
            self._configure(sm)
            found = Conversation(sm, self._request)
        kept[key] = found
        kept.move_to_end(key)
        while len(kept) > _MOST_CONVERSATIONS:
            kept.popitem(last=False)
        return found

    def _made(self, key: tuple[str, str | None], runtime: Runtime[Any]) -> SessionManager:
        if isinstance(self._session, SessionManager):
            return self._session
        session_id, owner = key
        if self._session is not None:
            return self._session(session_id, runtime)
        request: dict[str, Any] = {"model": self._request.model, "tools": self._request.schemas()}
        return SessionManager(session_id, owner=owner, **{**request, **self._settings})

    def _configure(self, sm: SessionManager) -> None:
        # A manager that is given without a word on its guard was set up by whoever made it.
        if sm not in self._configured and (self._specs or self._guard):
            self._configured.add(sm)
            sm.tools.configure(self._specs, **self._guard)

    def _owner_of(self, runtime: Runtime[Any]) -> str | None:
        if callable(self._owner):
            return self._owner(runtime)
        if self._owner is not None:
            return self._owner
        context: object = runtime.context
        if isinstance(context, Mapping):
            found = cast("Mapping[str, object]", context).get("owner")
        else:
            found = getattr(context, "owner", None)
        return None if found is None else str(found)

    def _id_of(self, runtime: Runtime[Any], messages: Sequence[BaseMessage]) -> str:
        if self._session_id is not None:
            told = self._session_id(runtime)
            if told is not None:
                return told
        info = runtime.execution_info
        if info is None or info.thread_id is None:
            raise InvalidSetting(
                "the run has no thread_id, so its conversation has no id; invoke the graph with "
                "{'configurable': {'thread_id': ...}}, or pass session= or session_id="
            )
        return _id_within(str(info.thread_id), info.checkpoint_ns, messages)


def _id_within(thread_id: str, namespace: str, messages: Sequence[BaseMessage]) -> str:
    """The thread's id; of an agent inside another graph, with its place there and what it was asked first.

    A sub-agent begins anew with each task, while an agent that shares the graph's messages goes on with them.
    """
    places = [place.partition(":")[0] for place in namespace.split("|")[:-1]]
    if not places:
        return thread_id
    name = "/".join((thread_id, *places))
    digest = hashed(name.encode(), first_of(messages[0]).encode() if messages else b"").hex()
    return f"{name[:_LONGEST_NAME]}/{digest[:16]}"


def interrupts(confirm: str) -> bool:
    """Whether calls that need a person interrupt the graph.

    Raises:
        InvalidSetting: Neither `interrupt` nor `answer`.
    """
    if confirm not in ("interrupt", "answer"):
        raise InvalidSetting(f"confirm={confirm!r}: use 'interrupt' or 'answer'")
    return confirm == "interrupt"
