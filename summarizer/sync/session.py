"""`SessionManager` for synchronous callers: one line a method, derived from the asynchronous one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self

from ..context.breakpoints import CacheControl
from ..context.policies import Policies
from ..policy import Policy
from ..recall.embedding import EmbeddingsSpec
from ..retention import Retain
from ..session import SessionManager as AsyncSessionManager
from ..stores.protocol import EventStore, Owner
from ..summary.choose import SummarizerSpec
from .background import run
from .blocking import blocking_method

if TYPE_CHECKING:
    from ..memory import VMMode
    from .tools import SessionMemory, SessionTools

__all__ = ["SessionManager"]

_P = ParamSpec("_P")


def _enclosed(
    method: Callable[_P, Coroutine[Any, Any, AsyncSessionManager]],
) -> Callable[_P, Coroutine[Any, Any, SessionManager]]:
    """A method that gives a manager as one that gives its blocking face."""

    @functools.wraps(method)
    async def enclosed(*args: _P.args, **kwargs: _P.kwargs) -> SessionManager:
        return SessionManager.of(await method(*args, **kwargs))

    return enclosed


class _Entered(threading.local):
    """What `with` has made current in one thread."""

    def __init__(self) -> None:
        self.stack = ExitStack()


class SessionManager:
    """Keeps one conversation going for ever, from Flask, Django or a script.

    Arguments, methods and errors are those of `summarizer.SessionManager`, and so is all that is
    recorded; each call waits for its end. May be used by any number of threads at once. Make it in the
    process that uses it: after a fork, not before.

    Attributes:
        asynchronous: The manager inside. It belongs to the background loop: await it in `run` only.
    """

    def __init__(
        self,
        session_id: str | None = None,
        *,
        store: EventStore | str | None = None,
        owner: Owner = None,
        system_prompt: str | None = None,
        model: str | None = None,
        infinite_context: bool | None = None,
        token_threshold: float | None = None,
        max_turns_per_segment: int | None = None,
        policy: Policy | None = None,
        default_threshold: float | None = None,
        summarizer: SummarizerSpec = None,
        segmentation: Literal["background", "inline"] = "background",
        tools: Sequence[Mapping[str, Any]] | None = None,
        context_policies: Policies | None = None,
        retain: Retain | None = None,
        cache_control: CacheControl = False,
        enable_vm: bool = False,
        vm_mode: VMMode | str | None = None,
        recall_embeddings: EmbeddingsSpec | None = None,
        metadata: Mapping[str, Any] | None = None,
        create: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        # By `locals`, so that none is forgotten; a test holds the list against the original's.
        given = {name: value for name, value in locals().items() if name != "self"}
        self._enclose(AsyncSessionManager(**given))

    def _enclose(self, asynchronous: AsyncSessionManager) -> None:
        self.asynchronous = asynchronous
        self._tools: SessionTools | None = None
        self._vm: SessionMemory | None = None
        self._entered = _Entered()

    @classmethod
    def of(cls, asynchronous: AsyncSessionManager) -> Self:
        """The blocking face of a manager that is there; from then on it is awaited in `run` only."""
        face = cls.__new__(cls)
        cls._enclose(face, asynchronous)
        return face

    def __repr__(self) -> str:
        return f"summarizer.sync.{self.asynchronous!r}"

    def __enter__(self) -> Self:
        from ..tool_calls.current import session_state

        self._entered.stack.enter_context(session_state(lambda: self.tools.asynchronous))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.stack.close()
        self.settle()

    @property
    def session_id(self) -> str:
        """The session held: as given, and after a write the tip."""
        return self.asynchronous.session_id

    @property
    def conversation_id(self) -> str:
        """The root of the chain."""
        return self.asynchronous.conversation_id

    @property
    def owner(self) -> Owner:
        """The owner of the conversation."""
        return self.asynchronous.owner

    @property
    def store(self) -> EventStore:
        """The store, which is asynchronous: `run(sm.store.erase(owner, chat))`."""

        async def opened() -> EventStore:
            return self.asynchronous.store

        return run(opened())

    @property
    def tools(self) -> SessionTools:
        """The guard of this conversation's tool calls, durable in its log."""
        if self._tools is None:
            from .tools import SessionTools

            async def made() -> SessionTools:
                return SessionTools(self.asynchronous.tools)

            self._tools = run(made())
        return self._tools

    @property
    def vm(self) -> SessionMemory:
        """The virtual memory of this conversation; see `summarizer.SessionManager.vm`.

        Raises:
            InvalidSetting: It is switched off.
        """
        if self._vm is None:
            from .tools import SessionMemory

            self._vm = SessionMemory(self.asynchronous.vm)
        return self._vm

    def sibling(self, session_id: str | None = None, *, create: bool | None = None) -> SessionManager:
        """See `summarizer.SessionManager.sibling`."""

        async def made() -> AsyncSessionManager:
            return self.asynchronous.sibling(session_id, create=create)

        return SessionManager.of(run(made()))

    user_says = blocking_method(AsyncSessionManager.user_says)
    ai_responds = blocking_method(AsyncSessionManager.ai_responds)
    turn = blocking_method(AsyncSessionManager.turn)
    tool_used = blocking_method(AsyncSessionManager.tool_used)
    record = blocking_method(AsyncSessionManager.record)
    record_all = blocking_method(AsyncSessionManager.record_all)
    note = blocking_method(AsyncSessionManager.note)
    report_usage = blocking_method(AsyncSessionManager.report_usage)
    take_back = blocking_method(AsyncSessionManager.take_back)
    get_state = blocking_method(AsyncSessionManager.get_state)
    save_state = blocking_method(AsyncSessionManager.save_state)
    clear = blocking_method(AsyncSessionManager.clear)
    update_system_prompt = blocking_method(AsyncSessionManager.update_system_prompt)
    get_messages_for_llm = blocking_method(AsyncSessionManager.get_messages_for_llm)
    context = blocking_method(AsyncSessionManager.context)
    recall = blocking_method(AsyncSessionManager.recall)
    handle_recall = blocking_method(AsyncSessionManager.handle_recall)
    get_conversation = blocking_method(AsyncSessionManager.get_conversation)
    read = blocking_method(AsyncSessionManager.read)
    open_segment = blocking_method(AsyncSessionManager.open_segment)
    get_stats = blocking_method(AsyncSessionManager.get_stats)
    cache_health = blocking_method(AsyncSessionManager.cache_health)
    tree = blocking_method(AsyncSessionManager.tree)
    get_session_chain = blocking_method(AsyncSessionManager.get_session_chain)
    segments = blocking_method(AsyncSessionManager.segments)
    fork = blocking_method(_enclosed(AsyncSessionManager.fork))
    segment = blocking_method(AsyncSessionManager.segment)
    decision = blocking_method(AsyncSessionManager.decision)
    savings = blocking_method(AsyncSessionManager.savings)
    settle = blocking_method(AsyncSessionManager.settle)
