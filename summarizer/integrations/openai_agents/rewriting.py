"""Write-time compaction: a stored history is replaced by a shorter one, and no crash loses an item.

A session can only be cleared and appended to, so that the new history and what it replaces are first made
durable elsewhere, in the archive:

    1. archive.add_items([what is replaced..., the note of intent with the new history])
    2. read the session again; if it changed meanwhile, take back 1 and leave it at that
    3. session.clear_session()
    4. session.add_items(new history)
    5. archive.pop_item(): the note goes, what was replaced stays

Whoever uses the session next looks at the archive's newest item. A note there means that a step after 1 is
missing: if the session is untouched, 1 is taken back; else what is missing of the new history is appended,
and 5 is done. Two workers must not use one session at once meanwhile; the SDK asks the same for a run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, cast

from ...messages import jsonable
from ...telemetry import log
from .inner import InnerSession, SessionLike
from .items import Item, wire_of

__all__ = ["Rewriter"]

_NOTE: Final = "longsplice_replacement"
"""Type of the note of intent; only ever the newest item of an archive."""


class Rewriter:
    """Replaces a session's items; see the module for the order of steps."""

    def __init__(self, inner: InnerSession, archive: SessionLike) -> None:
        self._inner, self._archive = inner, InnerSession(archive)
        self._lock = asyncio.Lock()

    async def settle(self, wrapper: Any = None) -> None:
        """Finish, or take back, a replacement that was interrupted. One read of one item if there is none."""
        async with self._lock:
            await self._settle(wrapper)

    async def replace(self, old: Sequence[Item], new: Sequence[Item], wrapper: Any = None) -> bool:
        """Put `new` in the place of `old`.

        Args:
            old: All that the session holds, as just read.
            new: What is to stand there.
            wrapper: The run's context.

        Returns:
            `False` if somebody wrote to the session meanwhile; then it is as it was.
        """
        async with self._lock:
            gone = list(old[: len(old) - _common_end(old, new)])
            await self._archive.add([*gone, _note(old, new, len(gone))], wrapper)
            if _prints(await self._inner.all(wrapper)) != _prints(old):
                await self._take_back(len(gone), wrapper)
                return False
            await self._inner.clear(wrapper)
            await self._inner.add(list(new), wrapper)
            await self._archive.pop(wrapper)
            return True

    async def clear(self, wrapper: Any = None) -> None:
        """Remove everything, from the archive too."""
        async with self._lock:
            await self._archive.clear(wrapper)
            await self._inner.clear(wrapper)

    async def _settle(self, wrapper: Any) -> None:
        while (note := await self._newest_note(wrapper)) is not None:
            new = list(note["items"])
            current = await self._inner.all(wrapper)
            prints, wanted = _prints(current), _prints(new)
            count = note["count"]
            if len(current) >= count and _digest(prints[:count]) == note["of"]:
                await self._take_back(note["gone"], wrapper)
                continue
            if prints[: len(wanted)] == wanted:
                await self._archive.pop(wrapper)
            elif wanted[: len(prints)] == prints:
                await self._inner.add(new[len(current) :], wrapper)
                await self._archive.pop(wrapper)
            else:  # Cleared, and somebody has written since: their items come behind the new history.
                await self._archive.add([_note(current, [*new, *current], 0)], wrapper)
                await self._inner.clear(wrapper)
                await self._inner.add([*new, *current], wrapper)
                await self._archive.pop(wrapper)
            log.warning("session.replacement_finished", session_id=self._inner.session.session_id)

    async def _newest_note(self, wrapper: Any) -> dict[str, Any] | None:
        def look(items: list[Item], _: bool) -> list[Item]:
            return items[-1:]

        for item in await self._archive.newest(1, look, wrapper):
            if wire_of(item).get("type") == _NOTE:
                return cast("dict[str, Any]", item)
        return None

    async def _take_back(self, gone: int, wrapper: Any) -> None:
        for _ in range(gone + 1):
            await self._archive.pop(wrapper)


def _note(old: Sequence[Item], new: Sequence[Item], gone: int) -> dict[str, Any]:
    return {"type": _NOTE, "of": _digest(_prints(old)), "count": len(old), "gone": gone, "items": list(new)}


def _common_end(old: Sequence[Item], new: Sequence[Item]) -> int:
    pairs = zip(reversed(_prints(old)), reversed(_prints(new)), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))


def _prints(items: Sequence[Item]) -> list[str]:
    """Each item as text that survives a store which reorders keys."""
    return [json.dumps(jsonable(item), sort_keys=True, ensure_ascii=False) for item in items]


def _digest(prints: Sequence[str]) -> str:
    return sha256("\n".join(prints).encode("utf-8", "surrogatepass")).hexdigest()
