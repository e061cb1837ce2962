"""A command of ours in a process of its own, until the test is done with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ProcessFailed", "UrlProcess", "end_with_parent"]

_STOP_S: Final = 5.0
_ERROR_TAIL: Final = 2000


class ProcessFailed(RuntimeError):
    """The command ended, or did not say its URL in time."""


class UrlProcess:
    """Runs `python -m <module>`, which prints its URL as the first line.

    The child sees the parent's import path. It is ended by its own process id when the
    block is left, and ends by itself when this process dies, however that happens: its
    standard input is a pipe from here.

    Args:
        module: The module; it must take `--end-with-parent` and call `end_with_parent`.
        arguments: Its further arguments.
        start_timeout_s: Seconds within which the URL must come.

    Raises:
        ProcessFailed: On entering: no URL came; the text has the end of what the command
            wrote to standard error.
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), *, start_timeout_s: float = 60.0) -> None:
        self._command = [sys.executable, "-m", module, *arguments, "--end-with-parent"]
        self._module = module
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """What the command printed first.

        Raises:
            RuntimeError: The process is not running.
        """
        if self._url is None:
            raise RuntimeError(f"{self._module} is not running; use it inside `with` or `async with`")
        return self._url

    @property
    def pid(self) -> int:
        """The child's process id.

        Raises:
            RuntimeError: The process is not running.
        """
        if self._child is None:
            raise RuntimeError(f"{self._module} is not running; use it inside `with` or `async with`")
        return self._child.pid

    def start(self) -> None:
        """Start the child and wait for its URL; blocks."""
        path = os.pathsep.join(entry or os.curdir for entry in sys.path)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._child = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._child.stdout is not None
        # Killing the child is what ends a read that waits for a line in vain.
        timer = threading.Timer(self._start_timeout_s, self._child.kill)
        timer.daemon = True
        timer.start()
        line = self._child.stdout.readline().decode().strip()
        timer.cancel()
        if not line.startswith("http"):
            raise ProcessFailed(f"{self._module} gave no URL ({self._end()})")
        self._url = line

    def stop(self) -> None:
        """End the child by its process id; blocks until it is gone."""
        self._end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _end(self) -> str:
        """End the child; say how it ended and what it complained of."""
        child, errors = self._child, self._errors
        if child is None or errors is None:
            return "it was not started"
        self._child = self._errors = self._url = None
        child.terminate()
        try:
            code = child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        with errors:
            errors.seek(0)
            tail = errors.read().decode("utf-8", "replace").strip()[-_ERROR_TAIL:]
        return f"exit code {code}; it wrote: {tail or 'nothing'}"


def end_with_parent() -> None:
    """End this process once its standard input is closed, as it is when the parent dies."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
