"""Strands calls hooks from many event loops; a session lives in one, that of `summarizer.sync`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...sync import run

__all__ = ["run", "start", "wait"]

Result = TypeVar("Result")

_found: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The process that found it, and the session's loop: in a forked child it only looks as if it ran."""


async def _running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def start(work: Coroutine[Any, Any, Result]) -> asyncio.Future[Result]:
    """Begin it on the session's loop; awaited in the caller's own, of which no thread waits for it."""
    global _found
    if _found is None or _found[0] != os.getpid() or not _found[1].is_running():
        _found = (os.getpid(), run(_running()))
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _found[1]))


async def wait(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it there to its end, even if the caller is cancelled: what is recorded stays recorded."""
    return await asyncio.shield(start(work))
