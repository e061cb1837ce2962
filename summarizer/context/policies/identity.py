"""What tells two compositions of policies apart: a digest of their kinds and parameters. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any, Final, cast

from .composing import Compose
from .pins import Pin
from .results import ClearToolResults, Offload
from .selection import DropRoles
from .windows import Age, Hybrid, KeepLast, TokenBudget

__all__ = ["Identity", "identity_of", "short_digest"]

_REPEATABLE: Final = frozenset(
    {Age, ClearToolResults, DropRoles, Hybrid, KeepLast, Offload, Pin, TokenBudget}
)
"""Policies that give the same view for the same log, unless a callable was given to them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a composition of policies is known by.

    Attributes:
        digest: 16 hex characters, the same in every process. Callables and classes count by their qualified
            names, so two lambdas in one function count as one; what an `Age` takes for now does not count.
        is_repeatable: The policies ask nothing but the log, so a context by them may be kept.
    """

    digest: str
    is_repeatable: bool


def identity_of(policies: Compose) -> Identity:
    """The identity of a composition."""
    asks = any(type(policy) not in _REPEATABLE for policy in policies)
    asks = asks or any(isinstance(policy, Pin) and policy.when is not None for policy in policies)
    moving = any(isinstance(policy, Age) and policy.now is not None for policy in policies)
    return Identity(short_digest([_told(policy) for policy in policies]), not (asks or moving))


def short_digest(value: object) -> str:
    """16 hex characters that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _told(value: object) -> Any:
    """A parameter as JSON that is the same in every process."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): _told(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in cast("list[object]", value)]
    if isinstance(value, Collection) and not isinstance(value, bytes | bytearray):
        return sorted((_told(item) for item in cast("Collection[object]", value)), key=str)
    return [_name_of(value), _parts_of(value)]


def _parts_of(value: object) -> Any:
    if isinstance(value, partial):
        held = cast("partial[Any]", value)
        return _told([held.func, held.args, held.keywords])
    if not is_dataclass(value) or isinstance(value, type):
        return None
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _told(part) for name, part in parts.items() if not isinstance(part, datetime)}


def _name_of(value: Any) -> str:
    named: Any = value if hasattr(value, "__qualname__") else cast("object", type(value))
    return f"{named.__module__}.{named.__qualname__}"
