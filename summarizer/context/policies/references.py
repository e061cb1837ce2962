"""Which tool results are bound under a `$vN`, read from the guard's records in the log. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ...events import Event, EventKind

__all__ = ["references_in"]


def references_in(events: Sequence[Event]) -> dict[int, str]:
    """Of each tool result that `sm.tools` bound its name, such as `$v3`, by the seq of its event.

    Cost: O(events).
    """
    found: dict[int, str] = {}
    answered: dict[str, int] = {}
    for event in events:
        if event.kind is EventKind.GUARD:
            # Written behind the result, and in the same batch: the newest with its id is the one.
            found.update(
                (answered[call_id], f"${name}") for call_id, name in _bound(event.data) if call_id in answered
            )
        elif event.message is not None and event.message.tool_call_id is not None:
            answered[event.message.tool_call_id] = event.seq
    return found


def _bound(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Call id and name of each result that was bound. Read with care: a newer version may have written it."""
    for row in _items(data.get("facts")):
        record = _fields(_fields(row).get("record"))
        call_id, name = record.get("call_id"), record.get("binding")
        if record.get("outcome") == "ok" and isinstance(call_id, str) and isinstance(name, str):
            yield call_id, name


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _fields(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
