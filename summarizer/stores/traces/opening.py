"""Trace stores by the URLs of event stores; nothing is touched before the first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ...errors import InvalidSetting
from ..opening import open_store
from ..protocol import EventStore

if TYPE_CHECKING:
    from procedural.store import TraceStore

__all__ = ["open_trace_store"]


@runtime_checkable
class _KeepsTraces(Protocol):
    @property
    def traces(self) -> TraceStore: ...


def open_trace_store(url_or_store: str | EventStore | None = None) -> TraceStore:
    """The traces of a store: in its file, on its servers, in its memory.

    | store | traces |
    |---|---|
    | `memory://` | `procedural.InMemoryTraceStore`, gone with the process |
    | `sqlite:///path` | tables of the same file, written in the same group commits |
    | `redis://` and its kin | keys under the same prefix, over the same connections |

    `EventStore.erase(owner)` erases them too. What a URL opens lets go of its files and connections when the
    trace store is no longer used; to close it by hand, open the event store, pass it, and close that.

    Args:
        url_or_store: An open event store, a URL as for `open_store`, or `None` for what the
            environment says.

    Raises:
        InvalidSetting: A wrong URL, or a store that keeps no traces.
    """
    given = url_or_store
    store = open_store(given) if given is None or isinstance(given, str) else given
    if not isinstance(store, _KeepsTraces):
        raise InvalidSetting(
            f"{type(store).__name__} keeps no traces; give it a property `traces`, or pass a URL such as "
            "sqlite:///sessions.db"
        )
    return store.traces
