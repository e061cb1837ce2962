"""Equal calls at once: one runs, the others wait for what it brings. Within one process.

`SessionTools` does the same across processes, by the conversation's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Flights"]


class Flights:
    """Single flight: of equal calls, one is on its way at a time.

    The first in leads. Whoever waited looks into the cache again when it is let in, and runs the tool
    only if the leader brought nothing: an error or a cancellation is never shared, the next in line
    goes instead.
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def join(self, fingerprint: str) -> AsyncGenerator[bool]:
        """Wait for one's turn with this call, and hold it inside the block.

        Yields:
            Whether this is the leader. If not, look into the cache before running the tool.
        """
        lock, waiting = self._locks.get(fingerprint) or (asyncio.Lock(), 0)
        self._locks[fingerprint] = (lock, waiting + 1)
        try:
            async with lock:
                yield waiting == 0
        finally:
            lock, waiting = self._locks.pop(fingerprint)
            if waiting > 1:
                self._locks[fingerprint] = (lock, waiting - 1)
