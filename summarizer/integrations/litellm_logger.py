"""litellm's calls, tracked and held within the window: SDK, Router and proxy, by one callback.

In come litellm's own events; out go records of a conversation's log and, before each asynchronous call,
the messages that fit. What fails here is logged, and the host's call goes on as it was. Needs litellm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakValueDictionary

from ..errors import InvalidSetting, MissingExtra
from ..messages import content_text
from ..meter import Usage
from ..session import SessionManager
from ..stores import MemoryStore
from ..stores.protocol import EventStore, Owner
from ..telemetry import log
from .litellm_request import (
    Request,
    Wires,
    call_id_of,
    cost_of,
    has_message,
    is_chat,
    is_hidden,
    of,
    request_of,
    session_named,
    usage_of,
    wire_of,
)
from .mirror import Mirror

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:
    raise MissingExtra("the litellm callback", "litellm") from error

__all__ = ["LongspliceLogger", "proxy_handler"]

_SYSTEM: Final = frozenset({"system", "developer"})
_ATTRIBUTE: Final = "_longsplice_calls"
_MOST_UNHELD: Final = 1024
"""Calls that are kept at hand where litellm gives no object that lives as long as they do (before 1.100)."""


@dataclass(eq=False)
class _Call:
    """A call that goes through one logger.

    Attributes:
        mirror: The conversation's mirror, which has the host's messages.
        sent: The messages as they went on; `None` if they went on as they were.
        answered: Whether its answer is recorded.
        lock: Of the conversation, in this loop: an answer is recorded before the next request is.
    """

    mirror: Mirror
    lock: asyncio.Lock
    sent: Wires | None = None
    answered: bool = False

    def __deepcopy__(self, _: object) -> _Call:
        return self  # litellm copies what hangs on its logging object.


class LongspliceLogger(CustomLogger):
    """Keeps each session's calls in a conversation, and sends the model what fits.

    Put it into `litellm.callbacks`. A session is what `metadata` (or `litellm_metadata`) calls `session_id`,
    or `litellm_session_id`, or the `trace_id` of `metadata`; calls without one are left alone. Hosts send
    their whole history with each call, as they would without: only what is new is recorded, and a history
    that was rewritten becomes a fork. Of `n` answers the first is recorded.

    Kept: messages, tool calls and results, usage and cost as litellm reports them. Not kept: calls other than
    chat completions, and answers of streams that the host does not read to their end.

    Asynchronous calls (`acompletion`, the Router's, the proxy's) are tracked and held within the window.
    `completion` is tracked only: litellm has no hook there that may change the messages.

    Example:
        `litellm.callbacks = [LongspliceLogger("sqlite:///chats.db", token_threshold=4000)]`

    Args:
        store: As for `SessionManager`; a URL is best, since litellm calls from several event loops.
        owner: Whose the sessions are; `None`: the proxy's authenticated user, else its key, else nobody.
        max_tokens: Most tokens of a request as the model counts them; `None`: the model's window less its
            reply.
        manage: Whether requests are changed at all; `False` only tracks.
        session_keys: Keys of `metadata` that name the session, the first found counts.
        timeout_s: Seconds that a request waits here at most, then it goes on as it is.
        settings: Further arguments of `SessionManager`, such as `token_threshold` and `summarizer`.

    Raises:
        InvalidSetting: A setting out of range.
    """

    def __init__(
        self,
        store: EventStore | str | None = None,
        *,
        owner: Owner = None,
        max_tokens: int | None = None,
        manage: bool = True,
        session_keys: Sequence[str] = ("session_id", "trace_id"),
        timeout_s: float = 30.0,
        **settings: Any,
    ) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        if not timeout_s > 0:
            raise InvalidSetting(f"timeout_s={timeout_s!r}: use seconds above 0")
        self._store = MemoryStore() if store == "memory://" else store
        self._owner = owner
        self._max_tokens = max_tokens
        self._manage = manage
        self._keys = tuple(session_keys)
        self._timeout_s = timeout_s
        self._settings: dict[str, Any] = {"infinite_context": True, **settings}
        self._calls: WeakValueDictionary[str, _Call] = WeakValueDictionary()
        self._unheld: dict[str, _Call] = {}
        self._locks: WeakValueDictionary[tuple[object, Owner, str], asyncio.Lock] = WeakValueDictionary()
        self._told: set[str] = set()
        self._manager(Request("checked", None, None, (), (), ()), None)

    # Before a call

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> Any:
        """Record what is new, and replace the messages by those that fit; `None` leaves the call as it is."""
        if not is_chat(call_type):
            return None
        changed: list[dict[str, Any] | None] = [None]

        async def manage() -> None:
            changed[0] = await self._prepared(kwargs)

        await self._guarded("prepare", manage)
        return changed[0]

    async def _prepared(self, kwargs: dict[str, Any]) -> dict[str, Any] | None:
        request = request_of(kwargs, kwargs, self._keys)
        if request is None:
            if kwargs.get("messages") is None and session_named(kwargs, self._keys) is not None:
                self._tell_once("litellm.not_managed", fix="pass messages by name")
            return None
        earlier = self._calls.get(call_id_of(kwargs))
        if earlier is not None and earlier.sent is not None and _same(kwargs["messages"], earlier.sent):
            return None  # litellm calls itself: a fallback, a retry with the request as it was sent.
        call = self._call(request)
        async with call.lock:
            await call.mirror.sync(request.messages, wire_of)
            sent = await self._managed(call.mirror, request) if self._manage else None
        call.sent = kwargs["messages"] if sent is None else sent
        self._hold(kwargs, call)
        return None if sent is None else {**kwargs, "messages": sent}

    def _hold(self, kwargs: Mapping[str, Any], call: _Call) -> None:
        """Keep what is known of a call as long as litellm keeps the call, whatever becomes of it."""
        call_id, logging_obj = call_id_of(kwargs), kwargs.get("litellm_logging_obj")
        self._calls[call_id] = call
        if logging_obj is not None:
            held = cast("dict[str, dict[int, _Call]]", vars(logging_obj))
            held.setdefault(_ATTRIBUTE, {})[id(self)] = call
            return
        self._unheld[call_id] = call
        while len(self._unheld) > _MOST_UNHELD:
            del self._unheld[next(iter(self._unheld))]

    async def _managed(self, mirror: Mirror, request: Request) -> list[Any] | None:
        """The messages to send; `None` where the host's own are all there is to send."""
        parts = (await mirror.view(self._max_tokens)).parts
        if parts and isinstance(parts[0], dict) and parts[0].get("role") in _SYSTEM:
            parts = parts[1:]
        if parts == tuple(range(len(request.messages))):
            return None
        shown = [request.messages[part] if isinstance(part, int) else part for part in parts]
        return [*request.system, *shown]

    # After a call

    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: Any
    ) -> None:
        """Record an answer before the host has it, and runs its tools; that of a stream comes at its end."""
        logging_obj = request_data.get("litellm_logging_obj")
        call = self._calls.get(call_id_of(request_data))
        if call is not None and is_chat(call_type) and has_message(response):
            model = request_data.get("model")
            await self._guarded(
                "record",
                lambda: _record(call, response, usage_of(response, cost_of(logging_obj, response)), model),
            )

    async def async_log_success_event(
        self,
        kwargs: Any,
        response_obj: Any,
        start_time: Any,  # noqa: ARG002 - litellm gives it by name
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """Record an answer with its usage and cost."""
        if is_chat(kwargs.get("call_type")) and not is_hidden(response_obj):
            await self._guarded("record", lambda: self._answered(kwargs, response_obj))

    async def async_log_failure_event(
        self,
        kwargs: Any,
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """Keep what the user said to a call that failed."""
        if is_chat(kwargs.get("call_type")):
            await self._guarded("record", lambda: self._failed(kwargs))

    def log_success_event(
        self,
        kwargs: Any,
        response_obj: Any,
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """The same for `completion`; litellm calls it in a thread of its own."""
        if is_chat(kwargs.get("call_type")) and not is_hidden(response_obj):
            self._in_background("record", lambda: self._answered(kwargs, response_obj))

    def log_failure_event(
        self,
        kwargs: Any,
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """The same for `completion`."""
        if is_chat(kwargs.get("call_type")):
            self._in_background("record", lambda: self._failed(kwargs))

    async def _answered(self, kwargs: Mapping[str, Any], response: object) -> None:
        call = await self._tracked(kwargs)
        if call is None:
            return
        if kwargs.get("cache_hit") is True and has_message(response):
            response = cast("Any", response).choices[0].message  # Its usage is that of the call before.
        usage = usage_of(response, kwargs.get("response_cost"))
        await _record(call, response, usage, kwargs.get("model"))

    async def _failed(self, kwargs: Mapping[str, Any]) -> None:
        await self._tracked(kwargs)

    async def _tracked(self, kwargs: Mapping[str, Any]) -> _Call | None:
        """The call as the hook has left it; else its messages are recorded now."""
        call = self._calls.get(call_id_of(kwargs))
        if call is not None:
            return call
        told = of(kwargs, "litellm_params")
        request = request_of(kwargs, told, self._keys)
        if request is None:
            return None
        if self._manage and told.get("acompletion") is not True:
            self._tell_once("litellm.not_managed", fix="use acompletion")
        call = self._call(request)
        async with call.lock:
            await call.mirror.sync(request.messages, wire_of)
        return call

    # What belongs to which conversation

    def _call(self, request: Request) -> _Call:
        owner = request.owner if self._owner is None else self._owner
        key = (asyncio.get_running_loop(), owner, request.session_id)
        lock = self._locks.setdefault(key, asyncio.Lock())
        return _Call(Mirror(self._manager(request, owner)), lock)

    def _manager(self, request: Request, owner: Owner) -> SessionManager:
        prompt = "\n\n".join(content_text(wire_of(one).get("content")) for one in request.system)
        given: dict[str, Any] = {
            "store": self._store,
            "owner": owner,
            "model": request.model,
            "system_prompt": prompt or None,
            "tools": request.tools or None,
        }
        return SessionManager(request.session_id, **(given | self._settings))

    # Faults of ours are not the host's

    async def _guarded(self, step: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await work()
        except Exception as error:  # noqa: BLE001 - fail open: the host's call goes on without us
            log.exception("litellm.failed_open", step=step, error=type(error).__name__)

    def _in_background(self, step: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run it on the event loop of synchronous callers; the process ends only after it."""
        from ..sync import run

        try:
            run(self._guarded(step, work))
        except RuntimeError as error:  # The process is ending.
            log.exception("litellm.failed_open", step=step, error=type(error).__name__)

    def _tell_once(self, event: str, **ids: Any) -> None:
        if event not in self._told:
            self._told.add(event)
            log.warning(event, **ids)


def _same(messages: Wires, sent: Wires) -> bool:
    return messages is sent or list(messages) == list(sent)


async def _record(call: _Call, response: object, usage: Usage | None, model: str | None) -> None:
    async with call.lock:
        if call.answered or is_hidden(response):  # litellm hides a stream's answer in place, at any moment.
            return
        done = await call.mirror.record(response, usage=usage, model=model)
        if not done.recorded and usage is not None:  # The host's next request has brought the answer.
            await done.sm.report_usage(usage, model=model)
        call.answered = True


proxy_handler: Final = LongspliceLogger()
"""For the proxy's configuration: `callbacks: summarizer.integrations.litellm_logger.proxy_handler`."""
