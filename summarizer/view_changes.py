"""What policies change in the view, told to the log: each boundary once, behind the next write.

A reader never writes. What it saw of the view is kept here until its manager writes something, then goes
behind that as an event. Its id follows from policies, tools and boundary, so any number of readers leave
one. What is shown never depends on these events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from .access import Access
from .context import Boundary
from .context.policies import short_digest
from .conversation import Conversation
from .errors import SummarizerError
from .events import Event, EventKind, Origin
from .telemetry import log

__all__ = ["ViewChanges"]

_VERSION: Final = 1
_REMEMBERED: Final = 16
"""Compositions of policies whose newest view is remembered, so that a host that makes one for each call
costs no memory."""


class _View(NamedTuple):
    """A view that was built: by which policies, of which session, with which tools."""

    policies: str
    session: int
    tools: str
    boundary: Boundary

    @property
    def event_id(self) -> str:
        told = self.boundary
        parts = [self.policies, self.session, self.tools, told.first_seq, told.cleared_through, told.others]
        return f"view.{short_digest(parts)}"


class ViewChanges:
    """What the contexts of one manager showed, until it is recorded.

    Args:
        access: The conversation.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._newest: dict[str, _View] = {}
        self._waiting: dict[str, _View] = {}

    def built(self, policies: str, index: int, tools: str, boundary: Boundary) -> None:
        """Take note of a context by policies; nothing is written.

        Args:
            policies: The policies' digest.
            index: Number of the session that is shown.
            tools: The tool schemas' digest.
            boundary: Where the view begins.
        """
        view = _View(policies, index, tools, boundary)
        if self._newest.get(policies) == view:
            return
        self._newest.pop(policies, None)
        self._newest[policies] = self._waiting[policies] = view
        while len(self._newest) > _REMEMBERED:
            gone = next(iter(self._newest))
            self._newest.pop(gone)
            self._waiting.pop(gone, None)

    async def record(self, conversation: Conversation) -> None:
        """Write what changed; call it behind a write that succeeded. Nothing to do costs nothing.

        A failure is logged, and the change goes with the next write.
        """
        for view in list(self._waiting.values()):
            reason = _reason(view, conversation)
            if reason is not None:
                event = Event(
                    EventKind.VIEW_CHANGED,
                    view.event_id,
                    self._access.clock(),
                    Origin.SYSTEM,
                    data=_data(view, reason),
                )
                try:
                    await self._access.note(conversation, event)
                except SummarizerError as error:
                    log.warning(
                        "view.record_failed",
                        session_id=conversation.head.session_id,
                        error=type(error).__name__,
                    )
                    return
            if self._waiting.get(view.policies) is view:
                del self._waiting[view.policies]


def _reason(view: _View, conversation: Conversation) -> str | None:
    """Why the view differs from the last one that is recorded of these policies; `None` if it does not.

    What was seen of a session that was closed meanwhile is no longer sent: its end is an event of its own.
    Nor is what was seen of a log that has expired.
    """
    head, boundary = conversation.head, view.boundary
    if view.session != head.index or max(boundary.first_seq, boundary.cleared_through) > head.last_seq:
        return None
    if view.event_id in conversation.view_changes:
        return None
    before = next(_recorded(conversation, view.policies), None)
    if before is None:
        if boundary.is_whole:
            return None
        if any(True for _ in _recorded(conversation, None)):
            return "policy"
        before = _data(view._replace(boundary=Boundary()), "")
    if _same(before, _data(view, "")):  # In a fork, which gives the session another number.
        return None
    if before["tools"] != view.tools:
        return "tools"
    if before["first_seq"] != boundary.first_seq:
        return "window"
    return "selection" if before["cleared_through"] == boundary.cleared_through else "clearing"


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return all(before[name] == now[name] for name in ("tools", "first_seq", "cleared_through", "others"))


def _recorded(conversation: Conversation, policies: str | None) -> Iterator[Any]:
    """The recorded changes of the open session, newest first; of one composition if it is given.

    Those that crossed into it with the messages around them are of the session before.
    """
    for event in reversed(conversation.view_changes.values()):
        if event.seq > conversation.head.opened_seq and policies in (None, event.data["policies"]):
            yield event.data


def _data(view: _View, reason: str) -> dict[str, Any]:
    return {
        "v": _VERSION,
        "reason": reason,
        "policies": view.policies,
        "tools": view.tools,
        "first_seq": view.boundary.first_seq,
        "cleared_through": view.boundary.cleared_through,
        "others": view.boundary.others,
        "shown_tokens": view.boundary.tokens,
    }
