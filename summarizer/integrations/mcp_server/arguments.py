"""Arguments of a call, held against the schema of its tool; errors say how a model can mend them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["BadArguments", "checked"]

_SHOWN: Final = 80


class BadArguments(ValueError):
    """A call that cannot be answered as it is; its text is for the model."""


def checked(schema: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments with the schema's defaults; `None` stands for one that was not given.

    Raises:
        BadArguments: One is unknown, missing, of another type or out of range.
    """
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    given = {name: value for name, value in (given or {}).items() if value is not None}
    for name in given:
        if name not in properties:
            raise BadArguments(f"{_short(name)} is no argument of this tool; use {', '.join(properties)}")
    for name in schema["required"]:
        if name not in given:
            raise BadArguments(f"{name} is missing; {_allowed(name, properties[name])}")
    return {name: _value(name, wanted, given.get(name)) for name, wanted in properties.items()}


def _value(name: str, wanted: Mapping[str, Any], value: object) -> object:
    if value is None:
        return wanted.get("default")
    if wanted["type"] == "integer":
        # JSON knows one kind of number: 5.0 is a whole one.
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        whole = isinstance(number, int) and not isinstance(number, bool)
        if whole and wanted["minimum"] <= number <= wanted.get("maximum", number):
            return number
    elif isinstance(value, str) and wanted["minLength"] <= len(value.strip()) <= wanted["maxLength"]:
        return value
    raise BadArguments(f"{name}={_short(value)} cannot be used; {_allowed(name, wanted)}")


def _allowed(name: str, wanted: Mapping[str, Any]) -> str:
    if wanted["type"] == "string":
        return f"give {name} as text of {wanted['minLength']} to {wanted['maxLength']} characters"
    most = f" to {wanted['maximum']}" if "maximum" in wanted else " on"
    return f"give {name} as a whole number from {wanted['minimum']}{most}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
