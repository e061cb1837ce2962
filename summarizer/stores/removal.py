"""Who keeps something made from a log in this process, and lets go of it when events are removed.

Only removals by the same store object are told; other processes' are seen by whoever reads next.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from .protocol import EventStore, Owner

__all__ = ["events_removed", "on_removal"]

Forget = Callable[[Owner, str, int | None], None]

_listening: WeakKeyDictionary[EventStore, list[Forget]] = WeakKeyDictionary()


def on_removal(store: EventStore, forget: Forget) -> None:
    """Call `forget(owner, conversation_id, before)` as `events_removed` is called for this store."""
    _listening.setdefault(store, []).append(forget)


def events_removed(
    store: EventStore, owner: Owner, conversation_id: str, *, before: int | None = None
) -> None:
    """Tell those who listen; called by stores whose derived data lie in this process.

    Args:
        store: The store.
        owner: The owner.
        conversation_id: The conversation.
        before: Seq of the first event that stays; `None` if the conversation is gone.
    """
    for forget in _listening.get(store, ()):
        forget(owner, conversation_id, before)
