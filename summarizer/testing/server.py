"""A model provider on loopback: three wire protocols, a script, faults, and a record.

Also a command, for tests of several processes that share one provider:

    python -m summarizer.testing.server --port 0 --log calls.jsonl --answer package.module:function
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

from .dispatch import compose, parsed, read, refusal, route
from .faults import Fault
from .http1 import MAX_HEAD_BYTES, HttpError, HttpRequest, HttpResponse, encode, read_request
from .processes import end_with_parent
from .recording import RecordedRequest, RequestLog, record
from .replies import Answer, Outcome, Prompt, Reply, Step, settled
from .script import Script, ScriptMismatch

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LoopbackServer", "main"]

HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.005


class LoopbackServer:
    """Speaks OpenAI, Anthropic and Gemini on a free port of 127.0.0.1, by its script.

    `async with` serves in the running loop; `with` serves in a thread of its own, for code
    that blocks. Both check at the end that the requests were those of the script, unless
    the block is already failing. Requests may come in parallel; steps are taken in order
    of arrival.

    A step is a text, a `Reply`, a `Fault`, or a function of the `Prompt` (sync or async)
    that gives one of these. A request without a step is answered with status 400, which
    no client tries again, and fails the check at the end.

    Args:
        steps: Played once each.
        answer: Plays every request after the steps; a text, a `Reply`, a `Fault` or a function.
        port: The port; 0 for a free one.
        log: A file to which each request is appended before it is answered; see `read_log`.
        max_body_bytes: Larger requests are answered with status 413.

    Example:
        ```python
        async with LoopbackServer([Fault.status(429, retry_after=0), "hello"]) as server:
            await litellm.acompletion(model="openai/x", api_base=server.openai_url, api_key="k", ...)
        ```
    """

    def __init__(
        self,
        steps: Iterable[Step] = (),
        *,
        answer: Step | None = None,
        port: int = 0,
        log: str | Path | None = None,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._script: Script[Step] = Script(steps, type(self).__name__)
        self._answer = answer
        self._port = port
        self._log_path = Path(log) if log is not None else None
        self._max_body_bytes = max_body_bytes
        self._requests: list[RecordedRequest] = []
        self._connections: set[asyncio.Task[Any]] = set()
        self._log: RequestLog | None = None
        self._server: asyncio.Server | None = None
        self._thread: _LoopThread | None = None
        self._closing = False

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, also the `api_base` for `anthropic/...` in litellm.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._server is None:
            raise RuntimeError("the server is not running; use it inside `with` or `async with`")
        return f"http://{HOST}:{self._port}"

    @property
    def openai_url(self) -> str:
        """The `base_url` of an OpenAI client, and the `api_base` for `openai/...` in litellm."""
        return f"{self.url}/v1"

    @property
    def gemini_url(self) -> str:
        """The `api_base` for `gemini/...` in litellm, which appends `/models/<model>:<action>`."""
        return f"{self.url}/v1beta"

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """What came so far, in order of arrival, secrets masked. Safe from any thread."""
        return tuple(self._requests)

    async def wait_for_requests(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Return once `count` requests have come, answered or not.

        Raises:
            TimeoutError: Fewer came within `timeout_s` seconds.
        """
        try:
            async with asyncio.timeout(timeout_s):
                # Polled, since the requests may arrive in another loop's thread.
                while len(self._requests) < count:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise TimeoutError(
                f"{len(self._requests)} of {count} requests came within {timeout_s:g} s"
            ) from None

    def assert_done(self) -> None:
        """Check that the requests were those of the script.

        Raises:
            ScriptMismatch: Steps are unused, requests were unexpected or malformed, or a
                step's function raised; that error is the cause.
        """
        self._script.assert_done()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        if kind is None:
            self.assert_done()

    def __enter__(self) -> Self:
        self._thread = _LoopThread()
        try:
            self._thread.run(self._open())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self._thread.run(self._close())
        self._thread.stop()
        if kind is None:
            self.assert_done()

    async def _open(self) -> None:
        self._closing = False
        self._log = RequestLog(self._log_path) if self._log_path else None
        try:
            self._server = await asyncio.start_server(self._serve, HOST, self._port, limit=MAX_HEAD_BYTES)
        except OSError:
            self._close_log()
            raise
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._closing = True
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self._close_log()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A connection may be accepted just before the closing and begin just after it.
            while not self._closing and await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # A client that leaves is its own business.
        except asyncio.CancelledError:
            writer.transport.abort()  # The server closes; what a slow client has not read is dropped.
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether another may follow on the connection."""
        try:
            request = await read_request(reader, writer, self._max_body_bytes)
        except HttpError as error:
            self._script.unexpected(f"malformed HTTP: {error}")
            await _send(writer, refusal(error.status, str(error)), None)
            return False
        if request is None:
            return False
        response, fault = await self._respond(request)
        keep = response.keep_alive and request.keep_alive
        response = replace(response, keep_alive=keep)
        return await _send(writer, response, fault) and keep

    async def _respond(self, request: HttpRequest) -> tuple[HttpResponse, Fault | None]:
        wire, path = route(request)
        number = len(self._requests) + 1
        body = parsed(request.body)
        prompt, problem = read(wire, path, body, number)
        entry = record(number, request, body, prompt)
        self._requests.append(entry)
        if self._log:
            self._log.append(entry)
        if wire is None or prompt is None:
            self._script.unexpected(f"{entry.method} {entry.path}: {problem}")
            return refusal(404 if wire is None else 400, problem, wire), None
        step = self._script.take()
        if step is None:
            step = self._answer
        if step is None:
            error = self._script.unexpected(f"{entry.method} {entry.path}")
            return refusal(400, str(error), wire), None
        try:
            reply, fault = await self._play(step, prompt)
        except Exception as error:  # noqa: BLE001
            # The step's function is the user's: what it raised is the cause of the test's failure.
            self._script.failed(error)
            return refusal(400, f"the step's function raised {type(error).__name__}", wire), None
        return compose(wire, prompt, reply, fault), fault

    async def _play(self, step: Step, prompt: Prompt) -> tuple[Reply, Fault | None]:
        """The reply that a step stands for, and the fault that it is to meet."""
        outcome = await _outcome(step, prompt)
        if not isinstance(outcome, Fault):
            return settled(outcome, prompt), None
        said: Outcome | None = outcome.then
        if said is None and outcome.speaks and self._answer is not None and self._answer is not step:
            said = await _outcome(self._answer, prompt)
            said = said.then if isinstance(said, Fault) else said
        return settled("ok" if said is None else said, prompt), outcome


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-server", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _outcome(step: Step, prompt: Prompt) -> Outcome:
    if not callable(step):
        return step
    value = step(prompt)
    return await value if inspect.isawaitable(value) else value


async def _send(writer: asyncio.StreamWriter, response: HttpResponse, fault: Fault | None) -> bool:
    """Write an answer, with the fault's delays and cuts; whether it was written whole."""
    head, first, second = encode(response)
    if fault is not None and fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    if fault is not None and fault.cut_at == "before_head":
        return False
    writer.write(head + first)
    await writer.drain()
    if fault is not None and fault.pause_s:
        await asyncio.sleep(fault.pause_s)
    if fault is not None and fault.cut_at == "mid_body":
        return False
    writer.write(second)
    await writer.drain()
    return True


def _load(spec: str) -> Answer:
    """The function named by `package.module:function`."""
    module, _, name = spec.partition(":")
    if not module or not name:
        raise argparse.ArgumentTypeError(f"{spec!r} is not of the form package.module:function")
    found: Callable[..., Any] | None = getattr(import_module(module), name, None)
    if not callable(found):
        raise argparse.ArgumentTypeError(f"{spec!r} names no function")
    return cast("Answer", found)


async def _run(server: LoopbackServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Windows has no signal handlers in its loop; there, SIGTERM ends the process by itself.
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    async with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve in the foreground until SIGTERM; the URL is the first line of the output."""
    parser = argparse.ArgumentParser(prog="python -m summarizer.testing.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument("--log", type=Path, help="file to which each request is appended as a line of JSON")
    parser.add_argument(
        "--answer", type=_load, metavar="MODULE:FUNCTION", help="function of the prompt that answers"
    )
    parser.add_argument("--text", default="ok", help="the answer, where no function is given")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer of --text")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args(arguments)
    if options.end_with_parent:
        end_with_parent()
    text: Step = Fault.slow(options.delay, options.text) if options.delay else options.text
    try:
        asyncio.run(_run(LoopbackServer(answer=options.answer or text, port=options.port, log=options.log)))
    except ScriptMismatch as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
