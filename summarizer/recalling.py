"""Recall for one conversation: asked by the host, called by the model, or brought along with a context."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from .access import Access
from .ancestry import Ancestor, inheritance_of
from .context import Context, room_of, with_record
from .conversation import Conversation
from .errors import InvalidSetting, SessionNotFound, StoreError, TokenLimitExceeded
from .gauge import counter_of
from .recall import MOST_HITS, Index, Log, Recalled, RecallHit, forget_index, render, search_path
from .recall.query import read_query
from .recall.wording import (
    BAD_ARGUMENTS,
    HEADING,
    NOTHING,
    NOTHING_BY_WORDS,
    NOTHING_OF_PART,
    OF_PART,
    SUFFIX_HEADING,
)
from .telemetry import log

__all__ = ["Recaller"]

_TOOL_HITS: Final = 5
_TOOL_MOST: Final = 20
"""Most hits that one call of the tool brings; `RECALL_SCHEMA` says so to the model."""
_TOOL_LEAST: Final = 300
"""Least tokens of an answer: the frame and one record of the shortest excerpt."""
_SUFFIX_HITS: Final = 5
_SUFFIX_TOKENS: Final = 1000
_SUFFIX_SHARE: Final = 0.25
"""What a context keeps free for recalled events: this many tokens, and at most this share of its budget."""
_BEARING: Final = 0.3
"""Least share of the question's weight that an event must answer to be brought along unasked."""

View = Callable[[Conversation, int | None], Awaitable[Context]]


class Recaller:
    """Searches the conversation that `access` leads to."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def search(self, query: str, limit: int, max_tokens: int | None) -> Recalled:
        """See `SessionManager.recall`."""
        conversation = await self._current()
        count = counter_of(conversation).count

        def weigh(hits: Sequence[RecallHit]) -> int:
            return sum(count(text) for hit in hits for text in (hit.text, hit.before, hit.after))

        return await search_path(
            self._log(conversation),
            _ancestors(conversation),
            query,
            limit,
            max_tokens,
            weigh,
            meaning=self._access.meaning,
        )

    async def handle(self, arguments: Mapping[str, Any] | str, max_tokens: int) -> str:
        """See `SessionManager.handle_recall`."""
        _check_room(max_tokens)
        problem, query, limit = _read_arguments(arguments)
        if problem:
            return BAD_ARGUMENTS.format(problem=problem, most=_TOOL_MOST)
        conversation = await self._current()
        asked = _question(conversation)
        since = asked[0] if asked else conversation.head.last_seq + 1
        hits = await search_path(
            self._log(conversation),
            _ancestors(conversation),
            query,
            limit,
            max_tokens,
            _weigh(conversation, HEADING, note=OF_PART),
            hidden=lambda seq: seq >= since,
            meaning=self._access.meaning,
        )
        unsearched = max((gap.through for gap in hits.gaps if gap.way == "words"), default=0)
        if not hits and unsearched:
            return NOTHING_OF_PART.format(through=unsearched)
        if not hits:
            return NOTHING_BY_WORDS if hits.gaps else NOTHING
        return render(hits, note=OF_PART.format(through=unsearched) if unsearched else "")

    async def context(self, conversation: Conversation, budget: int | None, view: View) -> Context:
        """The context, and behind it a record of the old events that bear on the newest question.

        What is kept free for the record depends on the budget alone, so that the window before it moves as
        steadily as without. Where the newest turn needs that room, there is no record.
        """
        kept = 0 if budget is None else max(0, min(_SUFFIX_TOKENS, int(budget * _SUFFIX_SHARE)))
        try:
            shown = await view(conversation, None if budget is None else budget - kept)
        except TokenLimitExceeded:
            shown = None
        if shown is None:
            return await view(conversation, budget)
        shown = replace(shown, budget=budget)
        asked, room = _question(conversation), room_of(shown, _SUFFIX_TOKENS)
        if asked is None or room < 1:
            return shown
        weigh = _weigh(conversation, SUFFIX_HEADING)
        hits = await search_path(
            self._log(conversation),
            _ancestors(conversation),
            asked[1],
            _SUFFIX_HITS,
            room,
            weigh,
            hidden=shown.shows,
            bearing=_BEARING,
            meaning=self._access.meaning,
        )
        if not hits:
            return shown
        return with_record(
            shown, render(hits, SUFFIX_HEADING), weigh(hits), tuple(sorted(hit.seq for hit in hits))
        )

    async def sealed(self, conversation: Conversation) -> None:
        """Index what a segmentation sealed, where the index lies in a file; a failure is left to the next."""
        access = self._access
        try:
            await Index(access.store, access.owner, conversation.head).seal()
        except (StoreError, SessionNotFound, InvalidSetting) as error:
            log.warning("recall.index_failed", conversation_id=access.root, error=type(error).__name__)

    async def _current(self) -> Conversation:
        access = self._access
        try:
            return await access.current()
        except SessionNotFound:
            forget_index(access.store, access.owner, access.root)
            raise

    def _log(self, conversation: Conversation) -> Log:
        access = self._access
        known = tuple(conversation.events)
        return Log(access.store, access.owner, conversation.head, known, conversation.gone)


def _ancestors(conversation: Conversation) -> tuple[Ancestor, ...]:
    return inheritance_of(conversation.settings).ancestors


def _check_room(max_tokens: object) -> None:
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < _TOOL_LEAST:
        raise InvalidSetting(
            f"max_tokens={max_tokens!r}: use a whole number from {_TOOL_LEAST}, or no record fits"
        )


def _weigh(
    conversation: Conversation, heading: str, *, note: str = ""
) -> Callable[[Sequence[RecallHit]], int]:
    count = counter_of(conversation).count
    return lambda hits: count(render(hits, heading, note=note))


def _question(conversation: Conversation) -> tuple[int, str] | None:
    """Seq and text of the newest user message of the open segment; `None` if it has none."""
    for event in reversed(conversation.events):
        message = event.message
        if message is not None and message.role == "user" and not event.data.get("synthetic"):
            return event.seq, message.text
    return None


def _read_arguments(arguments: Mapping[str, Any] | str) -> tuple[str, str, int]:
    """What is wrong, the query, the limit."""
    given: object = arguments
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return "its arguments are no JSON", "", 0
    if not isinstance(given, Mapping):
        return "its arguments are no JSON object", "", 0
    fields = cast("Mapping[str, Any]", given)
    query, limit = fields.get("query"), fields.get("limit", _TOOL_HITS)
    if not isinstance(query, str) or not query.strip():
        return "it has no query", "", 0
    if not read_query(query).words:
        return "its query holds no word, and signs are not looked up", "", 0
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= min(_TOOL_MOST, MOST_HITS):
        return "its limit is out of range", "", 0
    return "", query, limit
