"""What happened to a guard, as values: its state is the fold of these, and nothing else changes it.

A live guard turns each step into facts and applies them; a guard in another process, given the same facts
in the same order, is the same guard. So a host that writes them down (`ToolGuard(on_fact=...)`) needs
nothing else to go on after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

from guards.calls import CallRecord, Outcome, PendingCall
from guards.errors import SnapshotError

__all__ = [
    "Announced",
    "Asked",
    "Began",
    "Bound",
    "Decided",
    "Fact",
    "Finished",
    "Prompted",
    "Refused",
    "Said",
    "Segmented",
    "fact_from_dict",
    "fact_to_dict",
]


@dataclass(frozen=True, slots=True)
class Prompted:
    """The user gave a new prompt: turn budgets and grace begin anew, and it counts as progress."""

    text: str | None
    keep_bindings: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """Text or a value that arguments may come from; `origin` is `user`, `system`, `assistant` or `tool`."""

    origin: str
    text: str


@dataclass(frozen=True, slots=True)
class Segmented:
    """The conversation went on in a child session, or a request was too large for the model."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Announced:
    """The model listed calls; `first` is the number of the first one's `$vN`, the others follow."""

    call_ids: tuple[str, ...]
    first: int


@dataclass(frozen=True, slots=True)
class Began:
    """A call was let through."""

    call: PendingCall
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A call came back, or was replayed.

    `bindable` is false where no JSON value can stand for the result (a generator).
    """

    record: CallRecord
    bindable: bool = True
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A call was not let through."""

    record: CallRecord
    reason_code: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A call waits for a person."""

    call: PendingCall
    reason_code: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A person approved or rejected a waiting call."""

    call_id: str
    approved: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """The host bound a value by hand."""

    number: int
    tool_name: str
    arguments: Mapping[str, Any]
    value: Any
    at: datetime
    aliases: tuple[str, ...] = field(default=())


Fact = Prompted | Said | Segmented | Announced | Began | Finished | Refused | Asked | Decided | Bound

_KINDS: Final[dict[str, type[Fact]]] = {
    "prompted": Prompted,
    "said": Said,
    "segmented": Segmented,
    "announced": Announced,
    "began": Began,
    "finished": Finished,
    "refused": Refused,
    "asked": Asked,
    "decided": Decided,
    "bound": Bound,
}
_Value = TypeVar("_Value")
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def fact_to_dict(fact: Fact) -> dict[str, Any]:
    """JSON of a fact; what equals the default is left out."""
    return {"fact": _NAMES[type(fact)], **to_dict(fact)}


def fact_from_dict(value: Mapping[str, Any]) -> Fact:
    """The inverse of `fact_to_dict`; keys of a newer version are left out.

    Raises:
        SnapshotError: It is no fact of this version.
    """
    try:
        return from_dict(_KINDS[value["fact"]], value)
    except (KeyError, TypeError, ValueError) as error:
        name = value.get("fact")
        raise SnapshotError(
            f"fact {name!r} cannot be read ({error}); a newer longsplice may have written it"
        ) from None


def to_dict(value: PendingCall | CallRecord | Fact) -> dict[str, Any]:
    """JSON of a call, a record or a fact, fields that are `None` or empty left out."""
    found: dict[str, Any] = {}
    for f in fields(value):
        item = getattr(value, f.name)
        if item is None or item == () or (f.name in _DEFAULTED and item == _DEFAULTED[f.name]):
            continue
        found[f.name] = _to_json(item)
    return found


def from_dict(kind: type[_Value], value: Mapping[str, Any]) -> _Value:
    """The inverse of `to_dict`."""
    known = {f.name for f in fields(cast("Any", kind))}
    return kind(**{key: _from_json(key, item) for key, item in value.items() if key in known})


_DEFAULTED: Final[dict[str, Any]] = {
    "epoch": 0,
    "turn": 0,
    "attempts": 1,
    "started_s": 0.0,
    "keep_bindings": True,
    "bindable": True,
    "sources": {},
    "reason": "",
}
"""Fields whose default is not `None` or empty, in whichever value they stand."""


def _to_json(item: Any) -> Any:
    if isinstance(item, PendingCall | CallRecord):
        return to_dict(item)
    if isinstance(item, datetime):
        return item.isoformat()
    if isinstance(item, Decimal):
        return str(item)
    if isinstance(item, tuple):
        return list(cast("tuple[Any, ...]", item))
    return item


def _from_json(key: str, item: Any) -> Any:
    if key == "call":
        return from_dict(PendingCall, item)
    if key == "record":
        return from_dict(CallRecord, item)
    if key in ("at", "started_at"):
        return datetime.fromisoformat(item)
    if key == "outcome":
        return Outcome(item)
    if key == "cost_usd":
        return Decimal(item)
    if key in ("references", "aliases", "call_ids", "attempt_errors"):
        return tuple(item)
    return item
