"""One request and its answer, from the first byte to the last: also where either side breaks off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar, cast

from ..telemetry import log
from .asked import Asked
from .desk import Desk, Ready
from .errors import EndpointError, error_event
from .gate import Receive, Send, send_json
from .modes import Turn
from .settings import Settings
from .streams import KEEPALIVE, StreamReader, completion_events
from .upstream import Upstream, UpstreamAnswer, UpstreamFailed

__all__ = ["Exchange"]

_EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_NOT_RECORDED: Final = b": longsplice could not record this answer\n\n"
_FAULT: Final = b"x-longsplice-fault"

T = TypeVar("T")


class Exchange:
    """Answers one request.

    Args:
        asked: The request.
        desk: Makes it ready.
        upstream: Who answers.
        settings: Limits.
    """

    def __init__(self, asked: Asked, desk: Desk, upstream: Upstream, settings: Settings) -> None:
        self._asked = asked
        self._desk = desk
        self._upstream = upstream
        self._settings = settings

    async def run(self, receive: Receive, send: Send) -> None:
        """Answer, as long as the client is there to hear it."""
        wire = _Wire(send, self._settings)
        work = asyncio.ensure_future(self._answer(wire))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _answer(self, wire: _Wire) -> None:
        try:
            ready = await wire.alive(self._desk.ready(self._asked), may_begin=self._asked.stream)
            told = [(k.lower().encode(), v.encode("latin-1", "replace")) for k, v in ready.headers.items()]
            wire.told = told
            if ready.answer is not None:
                await self._give(wire, ready.answer, told)
                return
            async with self._upstream.ask(
                "POST", "chat/completions", self._asked.headers, ready.body, self._asked.query
            ) as answer:
                if answer.status == 200 and answer.content_type.startswith("text/event-stream"):
                    await self._stream(wire, answer, ready, told)
                else:
                    await self._whole(wire, answer, ready, told)
        except EndpointError as error:
            await wire.fail(error)
        except _ClientStuck:
            log.info("endpoint.client_stuck", owner=self._asked.owner)

    async def _give(
        self, wire: _Wire, completion: Mapping[str, Any], told: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Give an answer of ours."""
        if not self._asked.stream:
            raw = json.dumps(completion, ensure_ascii=False).encode()
            await wire.whole(200, [(b"content-type", b"application/json"), *told], raw)
            return
        await wire.begin(200, [_EVENTS, *told])
        await wire.write(completion_events(completion, usage=self._asked.wants_usage))
        await wire.end()

    async def _whole(
        self, wire: _Wire, answer: UpstreamAnswer, ready: Ready, told: list[tuple[bytes, bytes]]
    ) -> None:
        """Pass on an answer that does not come in events: a completion, or an error."""
        body = await wire.alive(answer.body())
        if answer.status == 200 and ready.turn is not None:
            said = _completion(body)
            if said is None or not await wire.alive(self._record(ready.turn, said)):
                told.append((_FAULT, b"not_recorded"))
        if wire.begun:  # A stream was promised while the summary was awaited.
            await wire.write(error_event(body))
            await wire.end()
        else:
            await wire.whole(answer.status, [*answer.headers, *told], body)

    async def _stream(
        self, wire: _Wire, answer: UpstreamAnswer, ready: Ready, told: list[tuple[bytes, bytes]]
    ) -> None:
        """Pass on events; the answer is recorded before the client hears its end."""
        if wire.begun:
            await wire.write(b"".join(b": %b: %b\n" % header for header in told) + b"\n")
        await wire.begin(answer.status, [*answer.headers, *told])
        reader = StreamReader(strip_usage=ready.strip_usage)
        record = _Once(lambda cut: self._record_stream(ready.turn, reader, cut))
        try:
            async with aclosing(answer.chunks()) as chunks:
                async for chunk in chunks:
                    passed = reader.feed(chunk)
                    await wire.write(passed.now)
                    if passed.held:
                        await self._recorded(wire, record)
                        await wire.write(passed.held)
            rest = reader.rest()
            if not reader.whole and not reader.answer.failed:
                raise UpstreamFailed(502, "the upstream ended its answer before it was whole", "upstream_cut")
            await self._recorded(wire, record)
            await wire.write(rest)
            await wire.end()
        except EndpointError:
            await record("upstream")
            raise
        except (_ClientStuck, asyncio.CancelledError):
            await record("client")
            raise

    async def _recorded(self, wire: _Wire, record: _Once) -> None:
        if not await wire.alive(record("upstream")):
            await wire.write(_NOT_RECORDED)

    async def _record_stream(self, turn: Turn | None, reader: StreamReader, cut: str) -> bool:
        """Keep what was said: as an answer, or where it is not whole as what it is, a part."""
        if not reader.whole:
            log.warning("endpoint.answer_cut", owner=self._asked.owner, reason_code=cut)
        said = reader.answer.response(whole=reader.whole)
        if turn is None or said is None:
            return True
        return await self._record(turn, said, **({} if reader.whole else {"cut": cut}))

    async def _record(self, turn: Turn, said: Mapping[str, Any], **note: str) -> bool:
        """Record an answer; `False` if that failed, which is no reason to keep it from the client."""
        finish = said["choices"][0].get("finish_reason")
        if finish not in (None, "stop", "tool_calls"):
            note["finish_reason"] = str(finish)
        try:
            await turn.record(said, note)
        except Exception as error:  # noqa: BLE001 - fail open: the client gets its answer all the same
            log.exception(
                "endpoint.record_failed",
                session_id=turn.sm.session_id,
                owner=self._asked.owner,
                error=type(error).__name__,
            )
            return False
        return True


class _Once:
    """Some work that is done once, and goes on to its end though whoever awaits it is cancelled."""

    def __init__(self, work: Callable[[str], Coroutine[Any, Any, bool]]) -> None:
        self._work = work
        self._task: asyncio.Task[bool] | None = None

    def __call__(self, cut: str) -> asyncio.Future[bool]:
        """The work, begun now or before; `cut` is who broke off, should the answer not be whole."""
        self._task = self._task or asyncio.ensure_future(self._work(cut))
        return asyncio.shield(self._task)


class _ClientStuck(Exception):
    """The client does not read what it is sent, or has left."""


class _Wire:
    """What goes to the client: one write at a time, each within its time; nothing is queued."""

    def __init__(self, send: Send, settings: Settings) -> None:
        self._send = send
        self._settings = settings
        self.begun = False
        self.told: Sequence[tuple[bytes, bytes]] = ()
        """What an error is told with: the session that the request belongs to all the same."""

    async def alive(self, work: Awaitable[T], *, may_begin: bool = False) -> T:
        """Wait for some work; a stream says meanwhile that it lives.

        Args:
            work: Cancelled if the wait is.
            may_begin: Whether a stream may be begun for it, before the upstream's status is known.
        """
        task = asyncio.ensure_future(work)
        try:
            while True:
                await asyncio.wait({task}, timeout=self._settings.keepalive_s)
                if task.done():
                    return task.result()
                if may_begin and not self.begun:
                    await self.begin(200, [_EVENTS])
                if self.begun:
                    await self.write(KEEPALIVE)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head, unless it has gone."""
        if not self.begun:
            self.begun = True
            await self._put({"type": "http.response.start", "status": status, "headers": _lower(headers)})

    async def write(self, data: bytes) -> None:
        """Send some of the body."""
        if data:
            await self._put({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Send the end of the body."""
        await self._put({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer at once."""
        length = (b"content-length", str(len(body)).encode())
        await self.begin(status, [*headers, length])
        await self._put({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: EndpointError) -> None:
        """Say what went wrong, in the status or, once that has gone, in an event."""
        with suppress(_ClientStuck):
            if self.begun:
                await self.write(error_event(error.body))
                await self.end()
            else:
                self.begun = True
                await send_json(self._send, error.status, error.body, self.told)

    async def _put(self, event: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._settings.client_timeout_s):
                await self._send(event)
        except (TimeoutError, OSError):
            raise _ClientStuck from None


def _lower(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]


def _completion(body: bytes) -> Mapping[str, Any] | None:
    """A completion with an answer in it; `None` for whatever else a status 200 may carry."""
    try:
        said: object = json.loads(body)
        choices = cast("Any", said)["choices"]
        return cast("Mapping[str, Any]", said) if isinstance(choices[0]["message"], dict) else None
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
