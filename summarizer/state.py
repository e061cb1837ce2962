"""A free record beside a conversation: what an agent's runtime wants to find again. Pure.

It is kept among the conversation's settings, so that it goes along into child sessions and forks, and each
version of it is an event of the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from .errors import InvalidSetting, StoreConflict

__all__ = ["State", "StateConflict", "changed_state", "state_of"]

_KEY: Final = "state"


class StateConflict(StoreConflict):
    """Somebody else saved the state since it was read; nothing was written.

    Attributes:
        version: The version that was read.
        stored: The version in the store.
    """

    def __init__(self, version: int, stored: int) -> None:
        super().__init__(
            f"the state was saved meanwhile: you have version {version}, the store has {stored}; "
            "read it again, apply your change, and save"
        )
        self.version = version
        self.stored = stored


@dataclass(frozen=True, slots=True)
class State:
    """A conversation's state as it was read.

    Attributes:
        values: JSON values; a copy, yours to change.
        version: How often it was saved; 0 if never.
        created_at: When it was saved first; `None` if never.
        saved_at: When this version was saved; `None` if never.
    """

    values: dict[str, Any]
    version: int = 0
    created_at: datetime | None = None
    saved_at: datetime | None = None


def state_of(settings: Mapping[str, Any]) -> State:
    """The state among a conversation's settings."""
    kept = settings.get(_KEY)
    if kept is None:
        return State({})
    created_at, saved_at = map(datetime.fromisoformat, (kept["created_at"], kept["saved_at"]))
    return State(json.loads(kept["values"]), kept["version"], created_at, saved_at)


def changed_state(
    settings: Mapping[str, Any], values: Mapping[str, Any], version: int | None, now: datetime
) -> dict[str, Any]:
    """The change of settings that saves `values` over `version`; `None` over whatever is there.

    Raises:
        StateConflict: Another version is there.
        InvalidSetting: Values that JSON does not give back as they are.
    """
    before = state_of(settings)
    if version is not None and version != before.version:
        raise StateConflict(version, before.version)
    record = {
        "values": _as_json(values),
        "version": before.version + 1,
        "created_at": (before.created_at or now).isoformat(),
        "saved_at": now.isoformat(),
    }
    return {_KEY: record}


def _as_json(values: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(values), ensure_ascii=False, allow_nan=False)
        text.encode()  # A lone surrogate is no text that a store can keep.
        same = json.loads(text) == values
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSetting(
            f"the state is no JSON: {error}; keep text, numbers, lists and mappings"
        ) from None
    if not same:
        raise InvalidSetting(
            "the state would not come back as it is: JSON knows no tuples, and only text as keys; "
            "keep text, numbers, lists and mappings"
        )
    return text
