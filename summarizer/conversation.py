"""What a process knows of a conversation: head, settings and the open segment, kept at hand.

A cache, never a source: each write's answer and each load bring it up to date, by sequence
numbers, in whatever order the answers arrive. Without it everything works, only slower.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from .config import cached_bytes
from .context import Context
from .context.policies import Landmarks
from .cost_policy import read_policy
from .events import Event, EventKind
from .messages import dump_json
from .policy import Policy
from .standing import taken_back, without_message
from .stores.protocol import Appended, EventStore, Head, Loaded, Owner

__all__ = ["Conversation", "ConversationCache", "cache_of"]

_SHARE: Final = 0.75
"""Of `LONGSPLICE_CACHE_BYTES`; the rest is for the store's own pages, heads and keys."""
_OVERHEAD: Final = 4096
"""Bytes that a conversation weighs before its first event; measured, rounded up."""
_EVENT_OVERHEAD: Final = 1024
_BYTES_PER_TOKEN: Final = 6
_PAGES: Final = (EventKind.MEMORY, EventKind.MEMORY_SNAPSHOT)
"""Events that hold no message and yet may be large."""


@dataclass(slots=True)
class Conversation:
    """One conversation as this process last saw it.

    Attributes:
        head: The newest head seen.
        settings: The settings of `settings_seq`.
        summary: The summary record that seeds session `summary_index`.
        events: Events of the open segment up to `known_seq`, without a gap.
        views: Contexts built for the state `viewed`, by budget.
        viewed: Last seq, index and settings seq that `views` show.
        weight: About its size in bytes.
        policy: The stored policy, read, with the seq of the settings it was read from.
        view_changes: The view changes among `events`, by event id, in order.
        landmarks: What windows must know of `events` without reading them.
        gone: Seqs of all messages of the log that were taken back.
    """

    head: Head
    settings: Mapping[str, Any]
    settings_seq: int
    summary: Mapping[str, Any] | None
    summary_index: int
    known_seq: int
    events: list[Event] = field(default_factory=list[Event])
    views: dict[object, Context] = field(default_factory=dict[object, Context])
    viewed: tuple[int, int, int] | None = None
    weight: int = _OVERHEAD
    policy: tuple[int, Policy] | None = None
    view_changes: dict[str, Event] = field(default_factory=dict[str, Event])
    landmarks: Landmarks = field(default_factory=Landmarks)
    gone: frozenset[int] = frozenset()

    @classmethod
    def of(cls, loaded: Loaded) -> Conversation:
        """The state after a full load."""
        head = loaded.head
        new = cls(
            head, loaded.settings or {}, head.settings_seq, loaded.summary, head.index, head.start_seq - 1
        )
        new._extend(loaded.events)
        return new

    @property
    def stored_policy(self) -> Policy:
        """The policy in the settings; read once."""
        if self.policy is None or self.policy[0] != self.settings_seq:
            self.policy = (self.settings_seq, read_policy(self.settings["policy"]))
        return self.policy[1]

    @property
    def resume_seq(self) -> int | None:
        """The `after_seq` to load from; `None` if settings or seed must be read anew."""
        current = self.summary_index == self.head.index and self.settings_seq == self.head.settings_seq
        return self.known_seq if current else None

    @property
    def standing_head(self) -> Head:
        """The head, with the size of what of the open segment stands."""
        if not self.gone:
            return self.head
        gone = sum(event.tokens for event in self.events if event.seq in self.gone)
        return replace(self.head, start_tokens=self.head.start_tokens + gone)

    def view(self, key: object, build: Callable[[], Context]) -> Context:
        """The context for a budget; built anew only if something changed."""
        views = self.kept_views()
        built = views.get(key)
        if built is None:
            built = views[key] = build()
        return built

    def kept_views(self) -> dict[object, Context]:
        """The contexts that were built for the state as it is now; add to them while it is."""
        state = (self.head.last_seq, self.head.index, self.settings_seq)
        if self.viewed != state:
            self.views.clear()
            self.viewed = state
        return self.views

    def absorb_load(self, loaded: Loaded, after_seq: int | None) -> bool:
        """Take in a snapshot; `False` if it does not connect and a full load is needed."""
        head = loaded.head
        if after_seq is None:
            self._begin_again(Conversation.of(loaded))
            return True
        if head.last_seq < after_seq:  # A log only grows: this is another one, under an id that expired.
            return False
        if loaded.settings is not None:
            self.settings, self.settings_seq = loaded.settings, head.settings_seq
        if loaded.summary is not None:
            self.summary, self.summary_index = loaded.summary, head.index
        if self.summary_index != head.index or self.settings_seq != head.settings_seq:
            return False
        self._see(head)
        self._extend(loaded.events)
        return True

    def absorb_append(self, appended: Appended, batch: Sequence[Event]) -> None:
        """Take in the answer to a write."""
        head = appended.head
        if not appended.duplicate and self._knows_another(appended.first_seq, batch[0]):
            self._begin_again(Conversation(head, self.settings, -1, None, -1, head.start_seq - 1))
            return
        self._see(head)
        if appended.duplicate:
            return
        self._extend(appended.others)
        self._extend(appended.placed or _placed(batch, appended))

    def _begin_again(self, fresh: Conversation) -> None:
        self.head, self.settings, self.settings_seq = fresh.head, fresh.settings, fresh.settings_seq
        self.summary, self.summary_index = fresh.summary, fresh.summary_index
        self.events, self.known_seq, self.weight = fresh.events, fresh.known_seq, fresh.weight
        self.view_changes, self.landmarks, self.gone = fresh.view_changes, fresh.landmarks, fresh.gone
        self.viewed = None
        self.views.clear()

    def _knows_another(self, seq: int, event: Event) -> bool:
        """Whether another event stood at `seq` before: the log that was known has expired."""
        offset = seq - self.events[0].seq if self.events else -1
        return 0 <= offset < len(self.events) and self.events[offset].event_id != event.event_id

    def _see(self, head: Head) -> None:
        if head.last_seq >= self.head.last_seq:
            self.head = head
        if self.events and self.events[0].seq < head.start_seq:
            self.events = [event for event in self.events if event.seq >= head.start_seq]
            self.weight = _OVERHEAD + sum(map(_weight, self.events))
            kept = {key: event for key, event in self.view_changes.items() if event.seq >= head.start_seq}
            self.view_changes, self.landmarks = kept, Landmarks.of(self.events)
        self.known_seq = max(self.known_seq, head.start_seq - 1)

    def _extend(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.seq == self.known_seq + 1:
                self.events.append(event)
                self.known_seq = event.seq
                self.weight += _weight(event)
                self.landmarks.add(event)
                if event.kind is EventKind.VIEW_CHANGED:
                    self.view_changes[event.event_id] = event
                elif seqs := taken_back(event):
                    self._take_back(seqs)

    def _take_back(self, seqs: Sequence[int]) -> None:
        first, self.gone = self.events[0].seq, self.gone.union(seqs)
        for at in (seq - first for seq in seqs if first <= seq):
            if self.events[at].message is not None:
                self.events[at] = without_message(self.events[at])
        self.landmarks = Landmarks.of(self.events)


def _weight(event: Event) -> int:
    pages = len(dump_json(event.data)) if event.kind in _PAGES else 0
    return _EVENT_OVERHEAD + _BYTES_PER_TOKEN * event.tokens + pages


def _placed(batch: Sequence[Event], appended: Appended) -> list[Event]:
    """The batch at its places; the head after a write ends with the batch."""
    placed: list[Event] = []
    seq, total = appended.first_seq, appended.head.total_tokens - sum([event.tokens for event in batch])
    for event in batch:
        total += event.tokens
        placed.append(event.placed(seq, total))
        seq += 1
    return placed


class ConversationCache:
    """Conversations of one store, the least recently used let go first.

    Args:
        limit: About how many bytes to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[Owner, str], tuple[Conversation, int]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, owner: Owner, root: str) -> Conversation | None:
        """The conversation, if it is at hand."""
        found = self._kept.get((owner, root))
        return None if found is None else found[0]

    def keep(self, owner: Owner, root: str, conversation: Conversation) -> None:
        """Keep it as the most recently used."""
        key, weight = (owner, root), conversation.weight
        old = self._kept.get(key)
        self._kept[key] = (conversation, weight)
        self._kept.move_to_end(key)
        self._weight += weight if old is None else weight - old[1]
        while self._weight > self._limit and self._kept:
            _, (_, weight) = self._kept.popitem(last=False)
            self._weight -= weight

    def drop(self, owner: Owner, root: str) -> None:
        """Forget it."""
        old = self._kept.pop((owner, root), None)
        if old is not None:
            self._weight -= old[1]


_caches: WeakKeyDictionary[EventStore, ConversationCache] = WeakKeyDictionary()


def cache_of(store: EventStore) -> ConversationCache:
    """The store's cache; another instance on the same data has its own, cold one."""
    cache = _caches.get(store)
    if cache is None:
        cache = _caches[store] = ConversationCache(int(_SHARE * cached_bytes()))
    return cache
