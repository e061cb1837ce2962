"""Results of tool calls, each under its `$vN`: snapshots, bounded in bytes.

A value is kept as its JSON text: what a caller changes later cannot reach it, every copy out is fresh, its
size is known. Copying by JSON is faster than by recursion from about 5 KB on.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, cast

from guards.errors import GuardLimitError, UnresolvedReferenceError

__all__ = ["Binding", "BindingManager"]

_LIMIT_BYTES: Final = 64 * 1024 * 1024
_VALUE_LIMIT_BYTES: Final = 16 * 1024 * 1024
_ARGUMENTS: Final = 16 * 1024
"""Characters; longer arguments are not kept: they say where a value came from, not what it is."""

_OVERHEAD_BYTES: Final = 512
"""What a binding weighs beside its texts, so that many small ones are bounded too."""

_TOMBSTONES: Final = 100_000
_ALIAS: Final = re.compile(r"(?!v[0-9]+\Z)[A-Za-z_][A-Za-z0-9_]{0,63}")
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

_FIELDS: Final = ("number", "tool_name", "call_id", "size", "used", "gone")
Gone = Literal["evicted", "oversize"]


@dataclass(frozen=True, slots=True)
class Binding:
    """One result under its name.

    Attributes:
        id: `v3`; written `$v3` in arguments.
        number: Its number, 1 or more.
        tool_name: The tool that gave it.
        call_id: The call that gave it; `None` for a value bound by hand.
        aliases: Further names.
        created_at: When it was bound, aware UTC.
        size: Bytes of the value as JSON in UTF-8.
        used: How many calls it was put into.
        gone: Why the value is not held: `evicted` (let go to make room), `oversize` (never held, too
            large); `None` while it is held.
        arguments_json: The arguments of the call; `None` if they were too long to keep, or are gone.
    """

    id: str
    number: int
    tool_name: str
    call_id: str | None
    aliases: tuple[str, ...]
    created_at: datetime
    size: int
    used: int = 0
    gone: Gone | None = None
    arguments_json: str | None = field(default=None, repr=False)
    _value: bytes = field(default=b"", repr=False)

    @property
    def value(self) -> Any:
        """A fresh copy of the value, each type as it was bound.

        Raises:
            UnresolvedReferenceError: The value is not held, see `gone`.
        """
        return json.loads(self.json_text)

    @property
    def json_text(self) -> str:
        """The value as JSON text.

        Raises:
            UnresolvedReferenceError: The value is not held, see `gone`.
        """
        if self.gone is not None:
            details = {"tool": self.tool_name, "size": self.size}
            raise UnresolvedReferenceError(f"${self.id}", reason=self.gone, details=details)
        return self._value.decode("utf-8", "surrogatepass")

    @property
    def arguments(self) -> Any:
        """A fresh copy of the arguments, if they were kept."""
        return None if self.arguments_json is None else json.loads(self.arguments_json)

    @property
    def evicted(self) -> bool:
        """Whether the value is not held."""
        return self.gone is not None

    @property
    def weight(self) -> int:
        """Bytes that it takes of the limit; 0 if it is gone."""
        return 0 if self.gone else _OVERHEAD_BYTES + len(self._value) + len(self.arguments_json or "")

    def tombstone(self) -> Binding:
        """The same without value and arguments: only says that it was."""
        return replace(self, gone="evicted", arguments_json=None, _value=b"")


class BindingManager:
    """The results that `$vN` names, within a limit of bytes.

    Where room is needed, the value that was least recently bound or put into a call is let go. Its number
    keeps answering so until 100,000 later ones are gone too; then it is unknown.

    Args:
        limit_bytes: Of all values, their arguments and 512 bytes for each, together.
        value_limit_bytes: Of one value, as JSON in UTF-8.
        clock: Aware UTC now.
    """

    def __init__(
        self,
        limit_bytes: int = _LIMIT_BYTES,
        value_limit_bytes: int = _VALUE_LIMIT_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        least = value_limit_bytes + _OVERHEAD_BYTES + _ARGUMENTS
        if value_limit_bytes < 1 or limit_bytes < least:
            raise ValueError(
                f"{limit_bytes=}, {value_limit_bytes=}: allow 1 or more for one, {least} for all"
            )
        self.limit_bytes = limit_bytes
        self.value_limit_bytes = value_limit_bytes
        self._clock = clock
        self._held: OrderedDict[int, Binding] = OrderedDict()
        self._gone: OrderedDict[int, Binding] = OrderedDict()
        self._aliases: dict[str, int] = {}
        self._leases: list[tuple[int, int]] = []
        self._next = 1
        self._weight = 0

    @property
    def next_number(self) -> int:
        """The number that `reserve` gives next."""
        return self._leases[0][0] if self._leases else self._next

    @property
    def leased(self) -> int:
        """How many leased numbers are left."""
        return sum(end - first for first, end in self._leases)

    def reserve(self) -> int:
        """A number that nobody else gets: the next of a leased block, or the next of all."""
        number = self.next_number
        self.pass_over(number)
        return number

    def reserve_block(self, first: int, count: int) -> None:
        """Take the numbers `[first, first + count)`, which an outside store assigned, for `reserve`.

        While leased numbers last, `reserve` gives no others; numbers of its own begin behind them.

        Raises:
            ValueError: `first` or `count` below 1, or numbers that were given out here before.
        """
        if first < self._next or count < 1:
            raise ValueError(
                f"block first={first!r}, count={count!r}: take 1 or more numbers from {self._next} on"
            )
        self._leases.append((first, first + count))
        self._next = first + count

    def pass_over(self, number: int) -> None:
        """This number is given out, here or elsewhere: `reserve` gives it no more; other leased ones stay."""
        self._next = max(self._next, number + 1)
        if self._leases:
            halves = [
                ((first, min(end, number)), (max(first, number + 1), end)) for first, end in self._leases
            ]
            self._leases = [(first, end) for pair in halves for first, end in pair if first < end]

    def bind(
        self,
        number: int,
        tool_name: str,
        arguments: Mapping[str, Any],
        value: Any,
        call_id: str | None = None,
        *,
        aliases: Iterable[str] = (),
        oversize: Literal["raise", "tombstone"] = "raise",
        at: datetime | None = None,
    ) -> Binding:
        """Keep a snapshot of a value under a number.

        Args:
            number: Reserved here, or assigned by an outside store; 1 or more.
            tool_name: The tool that gave it.
            arguments: Of the call, JSON values.
            value: JSON values, as `plain` gives them.
            call_id: The call that gave it.
            aliases: Further names; one that another binding has moves to this one.
            oversize: What becomes of a value above `value_limit_bytes`: an error, or a binding without
                the value, which says its size.
            at: When it was bound, aware UTC; `None`: now.

        Raises:
            GuardLimitError: The value is too large.
            ValueError: The number is bound already or below 1, or an alias is no name.
        """
        names = tuple(dict.fromkeys(aliases))
        self._check(number, names)
        encoded = _encode(value).encode("utf-8", "surrogatepass")
        size, gone = len(encoded), None
        if size > self.value_limit_bytes:
            if oversize == "raise":
                raise GuardLimitError(f"the result of {tool_name!r}", size, self.value_limit_bytes)
            encoded, gone = b"", cast("Gone", "oversize")
        given = _encode(arguments)
        binding = Binding(
            f"v{number}",
            *(number, tool_name, call_id, (), at or self._clock(), size),
            gone=gone,
            arguments_json=given if len(given) <= _ARGUMENTS and gone is None else None,
            _value=encoded,
        )
        self.pass_over(number)
        self._add(binding)
        for name in names:
            binding = self._name(name, number)
        self._make_room()
        return binding

    def get(self, binding_id: str) -> Binding | None:
        """The binding of an id such as `v3`, held or gone; `None` if unknown."""
        digits = binding_id[1:]
        if binding_id[:1] != "v" or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            return None
        number = int(digits)
        found = self._held.get(number) or self._gone.get(number)
        return found if found is not None and found.id == binding_id else None

    def lookup(self, name: str) -> Binding | None:
        """The binding of an id or an alias, held or gone; `None` if unknown."""
        number = self._aliases.get(name)
        return self.get(name) if number is None else self._held.get(number) or self._gone.get(number)

    def known(self) -> Iterator[str]:
        """The names whose values are held: ids from the most recently used on, each with its aliases."""
        for binding in reversed(self._held.values()):
            yield binding.id
            yield from binding.aliases

    def alias(self, name: str, binding_id: str) -> Binding:
        """Give a binding one more name; one that another binding has moves to this one.

        Raises:
            UnresolvedReferenceError: No such binding.
            ValueError: `name` is no name.
        """
        binding = self.get(binding_id)
        if binding is None:
            raise UnresolvedReferenceError(f"${binding_id}", [f"${known}" for known in self.known()])
        self._check_alias(name)
        return self._name(name, binding.number)

    def mark_used(self, ids: Iterable[str]) -> None:
        """Count one call into which these bindings were put; ids that are not held are passed over."""
        for binding_id in dict.fromkeys(ids):
            binding = self.get(binding_id)
            if binding is not None and binding.gone is None:
                self._update(replace(binding, used=binding.used + 1))
                self._held.move_to_end(binding.number)

    @property
    def used(self) -> tuple[Binding, ...]:
        """The held bindings that were put into a call, by number."""
        return tuple(binding for binding in self if binding.used)

    @property
    def unused(self) -> tuple[Binding, ...]:
        """The held bindings that no call was given, by number."""
        return tuple(binding for binding in self if not binding.used)

    @property
    def total_bytes(self) -> int:
        """Bytes taken of the limit."""
        return self._weight

    def clear(self) -> None:
        """Forget every value and alias, not the numbers: none is given out again."""
        self._held.clear()
        self._gone.clear()
        self._aliases.clear()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Binding]:
        """The bindings whose values are held, by number."""
        return iter([self._held[number] for number in sorted(self._held)])

    def _check(self, number: int, names: tuple[str, ...]) -> None:
        if number < 1 or number in self._held or number in self._gone:
            raise ValueError(f"number={number!r} is below 1 or bound already; take one from reserve()")
        for name in names:
            self._check_alias(name)

    def _check_alias(self, name: str) -> None:
        if not _ALIAS.fullmatch(name):
            raise ValueError(
                f"alias {name!r} is no name; use 1 to 64 letters, digits and _, not a digit first, and no v3"
            )

    def _name(self, name: str, number: int) -> Binding:
        before = self.lookup(name)
        if before is not None:
            self._update(replace(before, aliases=tuple(alias for alias in before.aliases if alias != name)))
        self._aliases[name] = number
        binding = self._held.get(number) or self._gone[number]
        return self._update(replace(binding, aliases=(*binding.aliases, name)))

    def _add(self, binding: Binding) -> None:
        self._update(binding)
        self._weight += binding.weight

    def _update(self, binding: Binding) -> Binding:
        where = self._held if binding.gone is None else self._gone
        where[binding.number] = binding
        return binding

    def _make_room(self) -> None:
        while self._weight > self.limit_bytes:
            number, binding = self._held.popitem(last=False)
            self._weight -= binding.weight
            self._gone[number] = binding.tombstone()
        while len(self._gone) > _TOMBSTONES:
            for name in self._gone.popitem(last=False)[1].aliases:
                del self._aliases[name]

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole: values as JSON text, from the least recently used on."""
        rows = [*self._gone.values(), *self._held.values()]
        return {
            "next": self._next,
            "leases": [list(lease) for lease in self._leases],
            "bindings": [_row(binding) for binding in rows],
        }

    @classmethod
    def restore(
        cls,
        value: Mapping[str, Any],
        limit_bytes: int = _LIMIT_BYTES,
        value_limit_bytes: int = _VALUE_LIMIT_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """The inverse of `snapshot`. Under a smaller limit, values are let go as always."""
        manager = cls(limit_bytes, value_limit_bytes, clock)
        for row in value["bindings"]:
            binding = _binding(row)
            manager._check(binding.number, binding.aliases)
            manager._add(binding)
            manager._aliases.update(dict.fromkeys(binding.aliases, binding.number))
        manager._leases = [(int(first), int(end)) for first, end in value["leases"]]
        manager._next = max([int(value["next"]), *(number + 1 for number in manager._held)])
        manager._make_room()
        return manager


def _row(binding: Binding) -> dict[str, Any]:
    return {name: getattr(binding, name) for name in _FIELDS} | {
        "aliases": list(binding.aliases),
        "created_at": binding.created_at.isoformat(),
        "json": None if binding.gone else binding.json_text,
        "arguments_json": binding.arguments_json,
    }


def _binding(row: Mapping[str, Any]) -> Binding:
    number, gone, arguments = int(row["number"]), row["gone"], row["arguments_json"]
    text = "" if gone else str(row["json"])
    at = datetime.fromisoformat(row["created_at"])
    if gone not in (None, "evicted", "oversize") or at.tzinfo is None:
        raise ValueError(f"binding v{number} has gone={gone!r}, created_at={row['created_at']!r}")
    for part in ("null" if gone else text, arguments or "null"):
        json.loads(part)
    return Binding(
        f"v{number}",
        number,
        str(row["tool_name"]),
        row["call_id"],
        tuple(map(str, row["aliases"])),
        at,
        int(row["size"]),
        int(row["used"]),
        gone,
        arguments,
        text.encode("utf-8", "surrogatepass"),
    )
