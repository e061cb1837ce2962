"""The session that is wrapped: its newest items, read by a limit that doubles, and its optional arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from ...telemetry import log
from .items import Item

__all__ = ["InnerSession", "SessionLike"]

_ALL: Final = 2**31 - 1
"""A limit that no history reaches, for sessions whose own settings cut a read without one."""
_METHODS: Final = ("get_items", "add_items", "pop_item", "clear_session")

Result = TypeVar("Result")


class SessionLike(Protocol):
    """What the SDK calls a session; its methods may also take a keyword `wrapper`, the run's context."""

    session_id: str

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """The newest `limit` items in order, or all."""
        ...

    async def add_items(self, items: list[Any]) -> None:
        """Append items."""
        ...

    async def pop_item(self) -> Any | None:
        """Remove and return the newest item; `None` if there is none."""
        ...

    async def clear_session(self) -> None:
        """Remove all items."""
        ...


class InnerSession:
    """A session as it is read here: nothing is kept between two reads, for others may write to it too."""

    def __init__(self, session: SessionLike) -> None:
        self.session = session
        self._takes_wrapper = all(_takes_wrapper(getattr(session, name, None)) for name in _METHODS)
        self._ignores_limit = False

    @property
    def limit(self) -> int | None:
        """The limit of the session's own settings; `None` if it has none."""
        limit = getattr(getattr(self.session, "session_settings", None), "limit", None)
        return limit if isinstance(limit, int) else None

    async def all(self, wrapper: Any = None) -> list[Item]:
        """Every item, whatever the session's own settings say."""
        limit = {} if self.limit is None else {"limit": _ALL}
        return list(await self.session.get_items(**limit, **self._context(wrapper)))

    async def newest(
        self, first: int, look: Callable[[list[Item], bool], Result | None], wrapper: Any = None
    ) -> Result:
        """Read ever more of the newest items until `look` has seen enough.

        Args:
            first: How many to read at first; doubled as long as `look` gives `None`.
            look: Takes the newest items and whether they are all there are; must not give `None` then.
            wrapper: The run's context.
        """
        limit, before = max(1, first), -1
        while not self._ignores_limit:
            items = list(await self.session.get_items(limit=limit, **self._context(wrapper)))
            self._check(len(items), limit)
            whole = len(items) != limit
            # A session may skip what it cannot read, and then gives a little less than there is.
            sure = not limit // 2 < len(items) < limit or len(items) == before or limit == _ALL
            if sure and (found := look(items, whole)) is not None:
                return found
            limit, before = min(_ALL, 2 * limit), len(items)
        found = look(await self.all(wrapper), True)
        assert found is not None
        return found

    def _check(self, given: int, limit: int) -> None:
        if given > limit:
            self._ignores_limit = True
            log.warning(
                "session.limit_ignored",
                session_id=self.session.session_id,
                session_type=type(self.session).__name__,
                limit=limit,
                items=given,
            )

    async def add(self, items: list[Item], wrapper: Any = None) -> None:
        """Append items."""
        await self.session.add_items(items, **self._context(wrapper))

    async def pop(self, wrapper: Any = None) -> Item | None:
        """Remove and return the newest item."""
        return await self.session.pop_item(**self._context(wrapper))

    async def clear(self, wrapper: Any = None) -> None:
        """Remove all items."""
        await self.session.clear_session(**self._context(wrapper))

    def _context(self, wrapper: Any) -> dict[str, Any]:
        return {"wrapper": wrapper} if wrapper is not None and self._takes_wrapper else {}


def _takes_wrapper(method: Any) -> bool:
    """Whether a method can be given the run's context by keyword, which the SDK asks in the same way."""
    try:
        parameter = inspect.signature(method).parameters.get("wrapper")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )
