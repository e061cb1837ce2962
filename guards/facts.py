"""What happened to a guard, as values: its state is the fold of these, and nothing else changes it.

A live guard turns each step into facts and applies them; a guard in another process, given the same facts
in the same order, is the same guard. So a host that writes them down (`ToolGuard(on_fact=...)`) needs
nothing else to go on after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeVar, cast

from guards.calls import CallRecord, Outcome, PendingCall, read_time
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

    text: str | None = None
    keep_bindings: bool = True
    new_run: bool = False


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

    `exact` is false where the record's result is a stand-in for what has no JSON form: such a result is bound
    if the record names a binding, and never replayed.
    """

    record: CallRecord
    exact: bool = True
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
    at: datetime
    value: Any = None
    aliases: tuple[str, ...] = ()


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
    """JSON of a fact; what equals the default is left out. It shares containers with the fact."""
    return {"fact": _NAMES[type(fact)], **to_dict(fact)}


def fact_from_dict(value: Mapping[str, Any]) -> Fact:
    """The inverse of `fact_to_dict`; keys of a newer version are left out.

    Raises:
        SnapshotError: It is no fact of this version.
    """
    try:
        return from_dict(_KINDS[value["fact"]], value)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SnapshotError(
            f"fact cannot be read ({type(error).__name__}: {error}); a newer longsplice may have written it"
        ) from error


def to_dict(value: PendingCall | CallRecord | Fact) -> dict[str, Any]:
    """JSON of a call, a record or a fact; what equals the default is left out."""
    found: dict[str, Any] = {}
    for name, default in _defaults(type(value)).items():
        item = getattr(value, name)
        if default is MISSING or item != default:
            found[name] = _to_json(item)
    return found


def from_dict(kind: type[_Value], value: Mapping[str, Any]) -> _Value:
    """The inverse of `to_dict`.

    Raises:
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError: It is none.
    """
    known = _defaults(kind)
    return kind(**{key: _from_json(key, item) for key, item in value.items() if key in known})


@cache
def _defaults(kind: type) -> dict[str, Any]:
    """The fields' defaults; `MISSING` where a value has to be given."""
    found = {f.name: f.default for f in fields(kind)}
    return found | {f.name: f.default_factory() for f in fields(kind) if f.default_factory is not MISSING}


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
    if item is None:
        return None
    reader = _READERS.get(key)
    return item if reader is None else reader(item)


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "call": lambda row: from_dict(PendingCall, row),
    "record": lambda row: from_dict(CallRecord, row),
    "at": read_time,
    "started_at": read_time,
    "outcome": Outcome,
    "cost_usd": Decimal,
    **dict.fromkeys(("references", "aliases", "call_ids", "attempt_errors"), tuple),
}
