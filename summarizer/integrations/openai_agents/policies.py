"""Ready policies: the last turns, and the last turns with notes on what came before."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from weakref import WeakValueDictionary

from ...errors import InvalidMessage, InvalidSetting, SchemaTooNew
from ...events import Event, EventKind, Origin
from ...messages import Message, jsonable
from ...meter import counter_for_model, message_tokens
from ...summary import ExtractiveSummarizer, Summary, SummaryRequest, resolve_summarizer, summarize
from ...summary.choose import SummarizerSpec
from .items import NOTES, Item, is_instruction, is_summary, is_user, text_of, units, wire_of
from .translate import plain, rounds

__all__ = ["LastTurns", "SummaryPolicy"]

_KEPT: Final = 256
"""Summaries that a policy keeps at hand where it was given no mapping for them."""
_OPENING: Final = NOTES + ", items 1-{through}, a record made from it.]"
_ORIGINS: Final = {"user": Origin.USER, "assistant": Origin.ASSISTANT, "tool": Origin.TOOL}


def _turns(items: Sequence[Item]) -> list[int]:
    """Where turns begin: user messages that open a unit, notes of ours excepted."""
    borders = (unit.start for unit in units(items))
    return [i for i in borders if is_user(items[i]) and not is_summary(items[i])]


class LastTurns:
    """The newest turns, and from before them what has a pinned role or is the newest summary.

    Args:
        turns: How many turns, 1 or more.
        pinned_roles: Roles whose messages stay, wherever they stand.

    Raises:
        InvalidSetting: `turns` is less than 1.
    """

    def __init__(self, turns: int, pinned_roles: Collection[str] = ("system", "developer")) -> None:
        if turns < 1:
            raise InvalidSetting(f"turns={turns!r} must be 1 or more")
        self._turns, self._roles = turns, frozenset(pinned_roles)

    def compact(self, items: list[Item]) -> list[Item]:
        """The pinned messages, then the turns; everything if there are no more turns than that."""
        starts = _turns(items)
        if len(starts) <= self._turns:
            return items
        cut = starts[-self._turns]
        summary = max((i for i in range(cut) if is_summary(items[i])), default=-1)
        pinned = [i for i in range(cut) if i == summary or wire_of(items[i]).get("role") in self._roles]
        return [*(items[i] for i in pinned), *items[cut:]]


@dataclass(frozen=True, slots=True)
class _Written:
    """A summary and its text, as they are kept."""

    summary: Summary
    text: str

    def to_json(self) -> str:
        return json.dumps({"summary": self.summary.to_dict(), "text": self.text})

    @classmethod
    def from_json(cls, stored: str) -> _Written | None:
        """`None` for what is not ours, or newer than this longsplice: it is then written again."""
        try:
            value = json.loads(stored)
            return cls(Summary.from_dict(value["summary"]), value["text"])
        except (LookupError, SchemaTooNew, TypeError, ValueError):
            return None


class SummaryPolicy:
    """The newest turns, and before them notes on everything older, written by a model or by rules.

    No prefix of a history is summarized twice: summaries are kept by the digest of what they stand for, and a
    longer prefix is read on from the longest one that is known. Notes are a user's message and begin with
    `items.NOTES`; a `compaction` item and the instructions at the head stay in front of them. A model's
    answer that is no summary is refused, and rules write instead; this never raises for a failing model.

    Args:
        summarizer: A litellm model name, a list of them (fallbacks), `"extractive"`, an object with
            `async summarize(request)`, a function of the messages; `None` as `LONGSPLICE_SUMMARIZER` says.
        keep_turns: Turns that stay as they are, 1 or more.
        gather_turns: Further turns that may gather before the notes are written anew; `keep_turns` by
            default. More means fewer model calls and a prompt whose head changes less often.
        summary_tokens: Most tokens of the notes, 64 or more.
        model: Whose tokens.
        known: Where summaries are kept, text by digest: any mapping, such as a `shelve` that outlives the
            process. By default the newest 256, in this object.

    Raises:
        InvalidSetting: A number out of range, or no summarizer.
    """

    def __init__(
        self,
        summarizer: SummarizerSpec = None,
        *,
        keep_turns: int = 4,
        gather_turns: int | None = None,
        summary_tokens: int = 1000,
        model: str | None = None,
        known: MutableMapping[str, str] | None = None,
    ) -> None:
        gather = keep_turns if gather_turns is None else gather_turns
        for name, value, least in (
            ("keep_turns", keep_turns, 1), ("gather_turns", gather, 0), ("summary_tokens", summary_tokens, 64)
        ):  # fmt: skip
            if value < least:
                raise InvalidSetting(f"{name}={value!r} must be {least} or more")
        self._summarizer = resolve_summarizer(summarizer)
        self._keep, self._gather, self._budget, self._model = keep_turns, gather, summary_tokens, model
        self._known: MutableMapping[str, str] = _Newest() if known is None else known
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def compact(self, items: list[Item]) -> list[Item]:
        """Notes, then the newest turns; everything if there are no more turns than that."""
        pinned, head = _head(items)
        turns = [start for start in _turns(items) if start >= head]
        if len(turns) <= self._keep:
            return items
        prefixes = _Prefixes(items[head:])
        for start in reversed(turns[-self._keep - self._gather : -self._keep]):
            if (written := self._find(prefixes.digest(start - head))) is not None:
                return [*pinned, _notes(written.text), *items[start:]]
        cut = turns[-self._keep]
        digest = prefixes.digest(cut - head)
        lock = self._writing.setdefault(digest, asyncio.Lock())
        async with lock:  # Two reads of one history at once ask the model once.
            written = self._find(digest)
            if written is None:
                written = await self._write(prefixes, [start - head for start in turns if start <= cut])
        return [*pinned, _notes(written.text), *items[cut:]]

    def _find(self, digest: str) -> _Written | None:
        stored = self._known.get(digest)
        return None if stored is None else _Written.from_json(stored)

    async def _write(self, prefixes: _Prefixes, turns: Sequence[int]) -> _Written:
        """Summarize up to the last of these turns, from the longest beginning that was summarized before."""
        *before, cut = turns
        previous, done = None, 0
        for end in [*reversed(before), 1]:  # 1: the history was rewritten, and opens with notes.
            if (found := self._find(prefixes.digest(end))) is not None:
                previous, done = found.summary, end
                break
        request = self._request(prefixes.items[:cut], done, previous)
        outcome = await summarize(request, self._summarizer)
        _, _, rest = outcome.seed.partition("\n")
        text = f"{_OPENING.format(through=outcome.summary.through)}\n{rest}".rstrip()
        written = _Written(outcome.summary, text)
        stored = written.to_json()
        self._known[prefixes.digest(cut)] = stored
        # Where the stored history is rewritten, the notes stand for all that they were made from.
        self._known[_Prefixes([_notes(text)]).digest(1)] = stored
        return written

    def _request(self, items: Sequence[Item], done: int, previous: Summary | None) -> SummaryRequest:
        """What to summarize: the items behind the first `done`, and older ones that no model has read."""
        through = previous.through if previous is not None else 0
        read = previous.model_through if previous is not None else 0
        seq, first = through, done
        if read < through and not isinstance(self._summarizer, ExtractiveSummarizer):
            older = len(_told(items[:done]))
            if older == through:  # Else the history was rewritten, and only the notes are left of them.
                seq, first = 0, 0
        counter, total, events = counter_for_model(self._model), 0, list[Event]()
        for message in _told(items[first:]):
            tokens = message_tokens(message.to_wire(), counter, self._model)
            seq, total = seq + 1, total + tokens
            origin = _ORIGINS.get(message.role, Origin.SYSTEM)
            event = Event(EventKind.MESSAGE, f"item-{seq}", datetime.now(UTC), origin, tokens, message)
            events.append(event.placed(seq, total))
        new = tuple(event for event in events if event.seq > through)
        unread = tuple(event for event in events if event.seq > read)
        return SummaryRequest("", "", seq, new, unread, self._budget, counter, previous)


def _told(items: Sequence[Item]) -> list[Message]:
    """The messages that items make, for a summarizer; what is none is told as a user's text."""
    told: list[Message] = []
    for one in rounds([plain(item) for item in items]):
        try:
            told.append(Message.from_wire(one.message))
        except InvalidMessage:
            told.append(Message("user", text_of(one.message)))
    return told


def _head(items: Sequence[Item]) -> tuple[list[Item], int]:
    """What stays in front of the notes, and where that which they stand for begins.

    In front stay the instructions at the head and a provider's own summary, which stands for all before it.
    """
    head = 0
    while head < len(items) and is_instruction(items[head]):
        head += 1
    sealed = max((i for i, item in enumerate(items) if is_summary(item) and not is_user(item)), default=-1)
    if sealed < head:
        return list(items[:head]), head
    return [*items[:head], items[sealed]], sealed + 1


def _notes(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


class _Prefixes:
    """Digests of every beginning of a history, each made from the one before."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self._digests = [b""]

    def digest(self, end: int) -> str:
        """Of the first `end` items."""
        while len(self._digests) <= end:
            item = self.items[len(self._digests) - 1]
            text = json.dumps(jsonable(item), sort_keys=True, ensure_ascii=False)
            self._digests.append(sha256(self._digests[-1] + text.encode()).digest())
        return self._digests[end].hex()


class _Newest(OrderedDict[str, str]):
    """The newest entries of a mapping."""

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, value)
        while len(self) > _KEPT:
            self.popitem(last=False)
