"""The event loop of synchronous callers: a thread per process, made at the first call and anew after a fork.

In: a coroutine, from any thread. Out: its result, in that thread, or its error with its traceback. The
calling thread waits, and meanwhile runs what is its own: the caller's synchronous functions.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from ..segmentation import settle
from ..stores.opening import close_default_stores

__all__ = ["Caller", "close", "run"]

_T = TypeVar("_T")

EXIT_WAIT_S: Final = 10.0
"""Seconds for which a process that ends waits for calls and summaries under way."""
_CANCEL_S: Final = 5.0
"""Seconds for which an interrupted call may tidy up, and close the guarded call that it ran."""

_lock = threading.Lock()
_background: _Background | None = None
_inherited: list[_Background] = []
"""Of a process that this one was forked from; never touched, since the kernel shares what they wait on."""
_hooked = False


class Caller:
    """The thread that waits for one coroutine, and runs what the coroutine hands it meanwhile.

    Its functions run here, not in a worker thread, so that what belongs to a thread works in them: database
    connections, thread locals, signal handlers.
    """

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[concurrent.futures.Future[Any], Callable[[], Any]] | None] = (
            SimpleQueue()
        )
        self._task: asyncio.Task[Any] | None = None
        self._gone = False

    def runs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as a coroutine function that runs it in the calling thread; an async one as it is."""
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            return function

        async def handed_over(*args: Any, **kwargs: Any) -> Any:
            context = contextvars.copy_context()
            result = await self._ask(functools.partial(context.run, function, *args, **kwargs))
            return await result if inspect.isawaitable(result) else result

        return handed_over

    def start(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], calls: set[Any]
    ) -> None:
        """Begin the coroutine; runs on the loop."""
        task = self._task = loop.create_task(coroutine, context=contextvars.copy_context())
        calls.add(task)
        task.add_done_callback(calls.discard)
        task.add_done_callback(self._ended)

    def wait(self) -> None:
        """Work for the coroutine until it has ended."""
        while (item := self._inbox.get()) is not None:
            _work(*item)

    def result(self) -> Any:
        """The ended coroutine's result, or its error."""
        assert self._task is not None
        try:
            return self._task.result()
        except asyncio.CancelledError as error:
            # Not asyncio's own, which no `except Exception` of a synchronous program expects.
            raise concurrent.futures.CancelledError("the call was cancelled while it ran") from error

    @property
    def has_begun(self) -> bool:
        """Whether there is a task for the coroutine."""
        return self._task is not None

    def cancel(self) -> None:
        """Cancel the coroutine; runs on the loop, behind `start` if that was asked for."""
        if self._task is None:
            self._inbox.put(None)
        else:
            self._task.cancel()

    def wait_for_end(self, seconds: float) -> None:
        """Wait for a cancelled coroutine without running anything more for it."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(Empty):
            while (item := self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
                item[0].cancel()

    async def _ask(self, work: Callable[[], Any]) -> Any:
        if self._gone:
            raise RuntimeError("the synchronous call that this function belongs to has ended")
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._inbox.put((future, work))
        return await asyncio.wrap_future(future)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._gone = True
        if not task.cancelled():
            task.exception()  # Seen, also where nobody waits any more: no noise when the task goes.
        self._inbox.put(None)


def _work(future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except StopIteration as error:
        # No future of asyncio carries it: before Python 3.12 its awaiter waits for ever.
        problem = RuntimeError("the function raised StopIteration")
        problem.__cause__ = error
        future.set_exception(problem)
    except Exception as error:  # noqa: BLE001  The caller's own function.
        future.set_exception(error)
    else:
        future.set_result(result)


class _Background:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._calls: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="longsplice-sync", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the running thread is its own."""
        return threading.current_thread() is self._thread

    def start(self, caller: Caller, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begin a call, with the context variables of the calling thread."""
        if self.is_here:
            raise RuntimeError(
                "summarizer.sync was called from a coroutine that it runs itself and would wait for ever; "
                "await the asynchronous call there"
            )
        self.loop.call_soon_threadsafe(caller.start, self.loop, coroutine, self._calls)

    def abandon(self, caller: Caller) -> None:
        """Cancel a call whose thread was interrupted, and wait a little while it tidies up."""
        if not self.is_here:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nothing is left to cancel.
                self.loop.call_soon_threadsafe(caller.cancel)
                caller.wait_for_end(_CANCEL_S)

    def rest(self, wait_s: float) -> None:
        """Wait for calls and summaries under way, at most so long, and close the shared stores."""
        resting = asyncio.run_coroutine_threadsafe(self._rest(wait_s), self.loop)
        with contextlib.suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            resting.result(wait_s + _CANCEL_S)

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        ending = asyncio.run_coroutine_threadsafe(self._cancel_all(), self.loop)
        with contextlib.suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            ending.result(_CANCEL_S)
        self._closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CANCEL_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            # A coroutine that raises them ends the loop; its caller has them, and others wait.
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self.loop.run_forever()
        self.loop.close()

    async def _rest(self, wait_s: float) -> None:
        settling = asyncio.ensure_future(settle())
        await asyncio.wait({settling, *self._calls}, timeout=wait_s)
        settling.cancel()
        await close_default_stores()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


def run(coroutine: Coroutine[Any, Any, _T], *, caller: Caller | None = None) -> _T:
    """Wait for a coroutine that runs on the background loop; its result.

    For adapters, and for calls of asynchronous objects such as a store: `run(sm.store.erase("ana"))`. Only
    this thread waits. Context variables are carried in; what the coroutine sets stays with it.

    Args:
        coroutine: Not started yet, and of no other loop.
        caller: Whose functions it runs in this thread; see `Caller.runs`.

    Raises:
        RuntimeError: Called from a coroutine that `run` itself runs: it would wait for itself. Await there.
            Or gevent or eventlet has replaced threads.
        concurrent.futures.CancelledError: It was cancelled, as by `close`.
        BaseException: Whatever it raises. What is raised in this thread while it waits, such as
            `KeyboardInterrupt`, cancels it.
    """
    caller, background = caller or Caller(), None
    try:
        with _lock:
            background = _current()
            background.start(caller, coroutine)
        caller.wait()
    except BaseException:
        if background is not None:
            background.abandon(caller)
        if not caller.has_begun:
            coroutine.close()
        raise
    return caller.result()


def close(wait_s: float = EXIT_WAIT_S) -> None:
    """End the background thread: wait for what is under way, close the stores opened by URL.

    Called when the interpreter exits; a later call of anything here begins anew. A server that forks
    workers after it has used `summarizer.sync` may call it first, though it need not.

    Args:
        wait_s: Seconds to wait for calls and summaries under way; the rest is cancelled. A summary that was
            due stays due: the next process goes on with it.

    Raises:
        RuntimeError: Called from a coroutine that `run` runs.
    """
    global _background
    with _lock:
        background = _background
        if background is not None and background.is_here:
            raise RuntimeError("close() was called from a coroutine that summarizer.sync runs")
        _background = None
    if background is not None:
        background.rest(wait_s)
        background.close()


def _current() -> _Background:
    global _background, _hooked
    if _background is None:
        _check_threads()
        _background = _Background()
    if not _hooked:
        _hooked = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
        # Stores and summaries need worker threads, which concurrent.futures ends before `atexit` has its
        # turn. Only this hook is earlier: what is registered last is called first.
        atexit.register(_at_exit)
        import_module("concurrent.futures.thread")
        getattr(threading, "_register_atexit", atexit.register)(_before_exit)
    return _background


def _check_threads() -> None:
    """Refuse threads that are none: loop and caller would share one, and wait for each other."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    ):
        raise RuntimeError(
            "summarizer.sync needs real threads, and gevent or eventlet has replaced them; "
            "use threaded workers, such as gunicorn --worker-class gthread"
        )


def _before_exit() -> None:
    if _background is not None:
        # Whoever is impatient need not see a traceback, nor who has a Python where this comes too late.
        with contextlib.suppress(KeyboardInterrupt, RuntimeError):
            _background.rest(EXIT_WAIT_S)


def _at_exit() -> None:
    if (
        _background is not None
    ):  # The stores are closed, and there are no worker threads to close others with.
        with contextlib.suppress(KeyboardInterrupt):
            _background.close()


def _after_fork() -> None:
    global _background, _lock
    if _background is not None:
        _inherited.append(_background)
    _background, _lock = None, threading.Lock()
