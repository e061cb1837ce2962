"""A tool call, before and after it ran, and the JSON form in which calls are compared.

`plain` is the only way in: what a caller hands over is copied into JSON types at once, so that
nothing the caller changes later changes what the guard holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache
from json import detect_encoding
from typing import Any, Final, cast

from guards.errors import InvalidArgumentsError

__all__ = [
    "CallRecord",
    "Outcome",
    "PendingCall",
    "canonical_json",
    "fingerprint",
    "parse_arguments",
    "plain",
    "read_time",
]

_DEPTH: Final = 200
"""Deepest nesting of a value: a fifth of the interpreter's default recursion limit."""

_SHORT: Final = 4_000
"""Characters of a JSON text in which no integer can be too long."""


class Outcome(StrEnum):
    """How a call ended.

    `replayed`: an earlier result was given again, the tool did not run. `refused`: the guard
    did not let it run. `unknown`: it began and nothing is known of its end.
    """

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    REPLAYED = "replayed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that the guard looks at, or that runs.

    Attributes:
        call_id: Its id, the provider's where it gave one.
        name: The tool's name.
        arguments: JSON values with every reference resolved.
        raw_arguments: JSON values as the model wrote them.
        fingerprint: Of name and resolved arguments, see `fingerprint`.
        number: `N` of the `$vN` that its result will have; `None` before one is reserved.
        references: Ids of the bindings that were substituted, in the order of first use.
        sources: For the path of each leaf that came from a reference, the reference's text.
        turn: How many prompts the user had given when it was made; from 0.
        started_at: Wall-clock time, aware UTC.
        started_s: Seconds by the guard's timer, for durations.
        epoch: Write epoch of the call's scope when it began; see `guards.epochs`.
        scope: What the call reads or writes, `None` for anything; see `ToolSpec.scope`.
        read_only: As the tool's spec says; `None` is unknown, and counts as writing.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    raw_arguments: Mapping[str, Any]
    fingerprint: str
    started_at: datetime
    started_s: float = 0.0
    number: int | None = None
    references: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    turn: int = 0
    epoch: int = 0
    scope: str | None = None
    read_only: bool | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A finished call. Satisfies `procedural.CompletedCall` by its shape.

    Attributes:
        call_id: Its id.
        tool_name: The tool's name.
        arguments: JSON values with every reference resolved.
        outcome: How it ended.
        fingerprint: Of name and resolved arguments.
        at: When it began, aware UTC.
        result: JSON value; `None` also where there is none, see `outcome`.
        error: Error text, `None` if it did not fail.
        error_kind: Short class of the error (`TimeoutError`, `not_found`), if known.
        duration_s: Seconds that it ran; `None` if unknown.
        attempts: How often the tool was started, 1 or more unless refused or replayed.
        attempt_errors: Error kinds of the attempts before the last.
        result_tokens: Tokens of the result; `None` if nobody counted.
        cost_usd: What the call cost, if the host said so.
        binding: Id of the binding that holds the result, such as `v3`.
        epoch: Write epoch of its scope when it began.
        turn: How many prompts the user had given when it was made.
        replay_of: Call id whose result was replayed.
        read_only: As the tool's spec says; `None` is unknown.
        scope: What the call reads or writes, `None` for anything.
    """

    call_id: str
    tool_name: str
    arguments: Mapping[str, Any]
    outcome: Outcome
    fingerprint: str
    at: datetime
    result: Any = None
    error: str | None = None
    error_kind: str | None = None
    duration_s: float | None = None
    attempts: int = 1
    attempt_errors: tuple[str, ...] = ()
    result_tokens: int | None = None
    cost_usd: Decimal | None = None
    binding: str | None = None
    epoch: int = 0
    turn: int = 0
    replay_of: str | None = None
    read_only: bool | None = None
    scope: str | None = None

    @property
    def success(self) -> bool:
        """Whether there is a good result, run or replayed."""
        return self.outcome in (Outcome.OK, Outcome.REPLAYED)


def fingerprint(name: str, arguments: Mapping[str, Any]) -> str:
    """The identity of a call: the same text for the same tool with the same arguments.

    The order of keys does not matter. `1` and `1.0` are the same, as in JSON; `1`, `"1"` and `true`
    are three. Text is compared by code points, without Unicode normalization: two spellings of
    an accent may name two files.

    Args:
        name: The tool's name.
        arguments: JSON values, as `plain` gives them.

    Returns:
        32 hex digits (128 bits of SHA-256).
    """
    text = f"{len(name)}:{name}{canonical_json(arguments)}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, and whole floats written as integers."""
    text = _encode(value)
    # A float is spelled with a point or as `1e+16`; without either there is none to make whole.
    return _encode(_whole(value)) if "." in text or "e+" in text else text


def parse_arguments(arguments: Mapping[str, Any] | str | bytes | None) -> dict[str, Any]:
    """The arguments as a mapping of JSON values, copied.

    Args:
        arguments: A mapping, or the JSON text of an object as a model writes it; `None` and empty text
            are no arguments.

    Raises:
        InvalidArgumentsError: No JSON object; a cycle, NaN, or a key that is no string in it.
    """
    if arguments is None or (isinstance(arguments, str | bytes) and not arguments.strip()):
        return {}
    if isinstance(arguments, str | bytes):
        try:
            text = arguments if isinstance(arguments, str) else _as_text(arguments)
            parsed = _decode(text)
        except (ValueError, RecursionError) as error:
            shown = repr(arguments[:80])
            raise InvalidArgumentsError(
                f'arguments {shown} are no JSON ({error}); send an object such as {{"path": "a.txt"}}'
            ) from error
        if not isinstance(parsed, dict):
            raise InvalidArgumentsError(
                f"arguments are a JSON {type(parsed).__name__}, not an object; name each argument"
            )
        return cast("dict[str, Any]", parsed if _is_small(text) else plain(parsed))
    if not isinstance(cast("object", arguments), Mapping):
        raise InvalidArgumentsError(
            f"arguments are a {type(arguments).__name__}; pass a mapping or the JSON text of an object"
        )
    return cast("dict[str, Any]", plain(arguments))


def _as_text(arguments: bytes) -> str:
    return arguments.decode(detect_encoding(arguments), "surrogatepass")


def _is_small(text: str) -> bool:
    """Whether a JSON text is too short to hold a long integer, and too flat to be nested deeply."""
    return len(text) < _SHORT and text.count("[") + text.count("{") <= _DEPTH


def plain(value: Any, *, lenient: bool = False) -> Any:
    """A copy of `value` in JSON types: dict, list, str, int, float, bool, None.

    Pydantic models and dataclasses become objects; tuples and sets lists (sets sorted by their JSON);
    datetimes, dates and times ISO 8601; timedeltas seconds; Decimals, UUIDs and paths text; enums their
    value; bytes `{"$bytes": base64}`. Integers stay exact, up to 4,299 digits.

    Args:
        value: Anything.
        lenient: For results, which must never fail: NaN and infinities become their names, a cycle or
            an unknown object `{"$repr": text}` (at most 1,000 characters), a key that is no string its text
            (with ` (2)`, ` (3)` behind it if that is taken).

    Raises:
        InvalidArgumentsError: Not `lenient`, and the value has no JSON form, or is nested deeper than 200.
    """
    if type(value) in _SCALARS:
        return value
    try:
        return _copy(value, lenient, [], "$")
    except RecursionError:
        return _unfit(value, lenient, "$", "is nested too deeply for the stack", _repr("nested too deeply"))


_SCALARS: Final = (str, bool, type(None))

_INTEGER_BITS: Final = 14_280
"""Longest integer: 4,299 digits. Python refuses to write longer ones as text (4,300, since 3.11)."""


def _copy(value: Any, lenient: bool, above: list[int], path: str) -> Any:
    kind = cast("type[object]", type(value))
    if kind in _SCALARS:
        return value
    if kind is int or kind is float:
        return _number(value, lenient, path)
    if id(value) in above or len(above) >= _DEPTH:
        why = "contains itself" if id(value) in above else f"is nested deeper than {_DEPTH}"
        return _unfit(value, lenient, path, why, _repr("nested too deeply"))
    above.append(id(value))
    try:
        return (_container if _is_container(value) else _other)(value, lenient, above, path)
    finally:
        above.pop()


def _number(value: float, lenient: bool, path: str) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return _unfit(value, lenient, path, "is no JSON number", str(value))
    if value.bit_length() <= _INTEGER_BITS:
        return value
    size = f"an integer of {value.bit_length()} bits"
    return _unfit(value, lenient, path, f"is {size}, more than {_INTEGER_BITS}", _repr(size))


def _container(value: Any, lenient: bool, above: list[int], path: str) -> Any:
    if isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value), lenient, above, path)
    items = [
        _copy(item, lenient, above, f"{path}[{i}]") for i, item in enumerate(cast("Sequence[Any]", value))
    ]
    return sorted(items, key=canonical_json) if isinstance(value, AbstractSet) else items


def _object(value: Mapping[Any, Any], lenient: bool, above: list[int], path: str) -> dict[str, Any]:
    copied: dict[str, Any] = {}
    for key, item in value.items():
        name = key
        if type(key) is not str:
            if not lenient and not isinstance(key, str):
                raise InvalidArgumentsError(
                    f"the object at {path} has the key {key!r}, a {type(key).__name__}; use text keys"
                )
            name = _free(str(key), value, copied)
        copied[name] = _copy(item, lenient, above, f"{path}.{name}")
    return copied


def _free(name: str, original: Mapping[Any, Any], copied: Mapping[str, Any]) -> str:
    """`name`, numbered where a text key or an earlier one already has it."""
    free, number = name, 2
    while free in copied or free in original:
        free, number = f"{name} ({number})", number + 1
    return free


def _other(value: Any, lenient: bool, above: list[int], path: str) -> Any:
    if isinstance(value, Enum):
        return _copy(value.value, lenient, above, path)
    if isinstance(value, int | float):
        return _number(int(value) if isinstance(value, int) else float(value), lenient, path)
    for kinds, convert in _textual():
        if isinstance(value, kinds):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        return _copy(fields, lenient, above, path)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return _dumped(dump, value, lenient, above, path)
    return _unfit(value, lenient, path, "has no JSON form", _repr(value))


def _dumped(dump: Callable[..., Any], value: Any, lenient: bool, above: list[int], path: str) -> Any:
    try:
        dumped = dump(mode="json")
    except Exception:  # noqa: BLE001 - `model_dump` of the caller's own class
        return _unfit(value, lenient, path, "fails in its own model_dump", _repr(value))
    return _copy(dumped, lenient, above, path)


def _as_bytes(value: Any) -> dict[str, str]:
    return {"$bytes": b64encode(bytes(value)).decode()}


@cache
def _textual() -> tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...]:
    from pathlib import PurePath  # These two cost a tenth of importing `guards`, and few calls need them.
    from uuid import UUID

    return (
        ((str,), str),
        ((bytes, bytearray, memoryview), _as_bytes),
        ((date, time), lambda value: value.isoformat()),
        ((timedelta,), timedelta.total_seconds),
        ((Decimal, UUID, PurePath), str),
    )


def _unfit(value: Any, lenient: bool, path: str, why: str, instead: Any) -> Any:
    if lenient:
        return instead
    raise InvalidArgumentsError(
        f"the value at {path}, a {type(value).__name__}, {why}; pass JSON values, or convert it first"
    )


def _repr(value: Any) -> dict[str, str]:
    text = value if isinstance(value, str) else f"<{type(value).__qualname__}>"
    return {"$repr": text[:1000]}


def _is_container(value: object) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return False
    return isinstance(value, Mapping | AbstractSet | Sequence)


def _no_constant(name: str) -> Any:
    raise InvalidArgumentsError(f"arguments hold {name}, which is no JSON number; use null or text")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise InvalidArgumentsError(f"arguments hold {digits[:40]}, more than a float can; use text")
    return number


def _whole(value: Any) -> Any:
    """The value with whole floats as integers; the value itself where it holds none."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[Any]", value)]
    return value


def read_time(text: str) -> datetime:
    """A time as snapshots and facts write it; `ValueError` for any other text."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"time {text!r} has no offset; times are aware UTC")
    return at


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_decode: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode
