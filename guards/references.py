r"""`$vN`: how the arguments of a call name earlier results. Pure: it reads values and looks names up.

What counts as a reference, in values at any depth and never in keys:

- `$v3`, or a bound alias `$order`, with a path: `.key`, `[0]`, `[-1]`, `["a b"]`, `['a b']`. As the whole
  value it gives what is bound, its type kept; inside a longer text, its text.
- `${v3.key}`: the same, where other text follows at once, as in `${v3.name}.txt`.
- A path reaches as far as it can be read. In `$v3.name.` the last dot ends the sentence; in `$v3.name.txt`
  it does not, and a result without `name.txt` is an error. A `[` right after a reference has to open a
  step; `${v3}[see below]` keeps it text.
- A path walks into text that holds a JSON object or list, since most tools answer in text.
- Dollars before a reference come in pairs: `$$v3` is the text `$v3`, `$$$v3` is a dollar and the value.
- Left alone: `US$v1` (a letter or digit stands before), `$5`, `$$5`, `$USD`, `v1`, `$v1x`, `${v1:-x}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, Protocol, cast

from guards.errors import GuardLimitError, UnresolvedReferenceError
from guards.paths import (
    STEP,
    PathError,
    Step,
    compact,
    kind_of,
    member_path,
    opened,
    parse_path,
    path_text,
    walk,
)
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = [
    "LIMIT_BYTES",
    "Bound",
    "Lookup",
    "Resolution",
    "Source",
    "explain",
    "lost",
    "nearest_names",
    "resolve",
    "to_finding",
]

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Most that the references of one call may put in: a short text can name a large result many times."""

_NEAREST: Final = 5
_CANDIDATES: Final = 500
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(
    rf"(?P<dollars>\$+)(?:\{{ *(?P<braced>{_NAME})(?P<inner>(?:{STEP})*)(?P<close> *\}})?"
    rf"|(?P<bare>{_NAME})(?P<path>(?:{STEP})*)(?P<open>\[)?)",
    re.DOTALL,
)
_TORN: Final = re.compile(r"[^\]}\n]{0,40}[\]}]?")
_NUMBERED: Final = re.compile(r"v[0-9]+")


class Bound(Protocol):
    """A result that a name stands for."""

    @property
    def id(self) -> str:
        """Its `vN`."""
        ...

    @property
    def tool_name(self) -> str: ...
    @property
    def size(self) -> int:
        """Bytes of its JSON."""
        ...

    @property
    def gone(self) -> str | None:
        """Why the value is not held, `evicted` or `oversize`; `None` while it is."""
        ...

    @property
    def value(self) -> Any:
        """A fresh copy of the value."""
        ...


class Lookup(Protocol):
    """What names stand for; `BindingManager` is one."""

    def lookup(self, name: str) -> Bound | None:
        """What `v3` or an alias names; `None` if nothing was ever bound to it, or it is forgotten."""
        ...

    def known(self) -> Iterable[str]:
        """The names whose values are held, the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where one argument leaf came from.

    Attributes:
        kind: `literal`: as the model wrote it. `whole`: a reference's value. `interpolated`: text with
            references in it.
        references: The references as written, such as `$v3.items[0].id`, in their order.
    """

    kind: Literal["literal", "whole", "interpolated"]
    references: tuple[str, ...] = ()


_LITERAL: Final = Source("literal")


@dataclass(frozen=True, slots=True)
class Resolution:
    """Arguments with every reference replaced.

    Attributes:
        arguments: The caller's own copy.
        provenance: For each leaf that the model wrote, by its path such as `$.items[0].id`, its source.
            An object or list that a reference put in is one leaf: what lies below came from the same place.
        used: Ids of the bindings that were put in, in the order of first use.
    """

    arguments: dict[str, Any]
    provenance: Mapping[str, Source]
    used: tuple[str, ...]

    @property
    def sources(self) -> dict[str, str]:
        """For each leaf that came from references, their text; several are joined by spaces."""
        return {path: " ".join(s.references) for path, s in self.provenance.items() if s.references}


def resolve(arguments: Mapping[str, Any], lookup: Lookup, *, limit_bytes: int = LIMIT_BYTES) -> Resolution:
    """Replace every reference by what it names. What was put in is never read for references again.

    Args:
        arguments: JSON values, as `plain` gives them; not changed.
        lookup: What names stand for.
        limit_bytes: Most that the references together may put in.

    Raises:
        UnresolvedReferenceError: A `vN` that is not bound or not held any more, or a path that leads
            nowhere. Nothing is given then, not even the other arguments.
        GuardLimitError: The references would put in more than `limit_bytes`.
    """
    resolver = _Resolver(lookup, limit_bytes)
    resolved = {key: resolver.value(item, member_path("$", key)) for key, item in arguments.items()}
    return Resolution(resolved, resolver.provenance, tuple(resolver.used))


class _Resolver:
    """One pass over the arguments of one call."""

    def __init__(self, lookup: Lookup, limit: int) -> None:
        self.provenance: dict[str, Source] = {}
        self.used: dict[str, None] = {}
        self._lookup = lookup
        self._limit = limit
        self._spent = 0
        self._roots: dict[str, Any] = {}
        self._weights: dict[str, int] = {}

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, str) and "$" in value:
            given, self.provenance[path] = self._text(value)
            return given
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value).items()
            return {key: self.value(item, member_path(path, key)) for key, item in members}
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return [self.value(item, f"{path}[{i}]") for i, item in enumerate(items)]
        self.provenance[path] = _LITERAL
        return value

    def _text(self, text: str) -> tuple[Any, Source]:
        pieces: list[str] = []
        references: list[str] = []
        done = at = 0
        while match := _REFERENCE.search(text, at):
            name = match["braced"] or match["bare"]
            bound = self._live(match, name)
            if bound is None:
                at = match.end("braced") if match["braced"] else match.end("bare")
                continue
            dollars = len(match["dollars"])
            at = match.end()
            if dollars % 2:
                reference = match[0][dollars - 1 :]
                given = self._given(reference, name, bound, match)
                if dollars == 1 and len(match[0]) == len(text):
                    return given, Source("whole", (reference,))
                references.append(reference)
                pieces += text[done : match.start()], "$" * (dollars // 2), _as_text(given)
            else:
                pieces += text[done : match.start()], "$" * (dollars // 2), match[0][dollars:]
            done = at
        pieces.append(text[done:])
        return "".join(pieces), Source("interpolated", tuple(references)) if references else _LITERAL

    def _live(self, match: re.Match[str], name: str) -> Bound | Literal["unbound"] | None:
        """What the match refers to; `None` if it is text."""
        text = match.string
        if match["bare"]:
            before = text[match.start() - 1 : match.start()]
            if before.isascii() and before.isalnum():
                return None
        elif not match["close"] and not match["inner"]:
            after = text[match.end() : match.end() + 1]
            if after not in (".", "["):
                return None
        return self._lookup.lookup(name) or ("unbound" if _NUMBERED.fullmatch(name) else None)

    def _given(
        self, reference: str, name: str, bound: Bound | Literal["unbound"], match: re.Match[str]
    ) -> Any:
        """The caller's own copy of what a reference names."""
        if bound == "unbound":
            raise UnresolvedReferenceError(reference, nearest_names(name, self._lookup))
        steps = parse_path(match["inner"] or match["path"] or "")
        if steps is None or match["open"] or (match["braced"] and not match["close"]):
            rest = _TORN.match(match.string, match.end())
            shown = reference + (rest[0] if rest else "")
            raise UnresolvedReferenceError(shown, (f"${name}",), reason="malformed")
        if bound.gone:
            details = {"tool": bound.tool_name, "size": bound.size}
            raise UnresolvedReferenceError(reference, (), reason=bound.gone, details=details)
        piece = self._piece(reference, name, bound, steps)
        self._spend(reference, bound, steps, piece)
        self.used[bound.id] = None
        return piece

    def _piece(self, reference: str, name: str, bound: Bound, steps: tuple[Step, ...]) -> Any:
        if not steps:
            return bound.value
        if bound.id not in self._roots:
            root = bound.value
            self._roots[bound.id] = opened(root)
        try:
            return _copied(walk(self._roots[bound.id], steps))
        except PathError as error:
            raise lost(error, reference, f"${name}") from None

    def _spend(self, reference: str, bound: Bound, steps: tuple[Step, ...], piece: Any) -> None:
        weight = self._weights.get(reference)
        if weight is None:
            weight = len(_as_text(piece)) if steps else bound.size
            self._weights[reference] = weight
        self._spent += weight
        if self._spent > self._limit:
            raise GuardLimitError("what the references of one call put in", self._spent, self._limit)


def nearest_names(name: str, lookup: Lookup) -> list[str]:
    """References that may have been meant by an unknown name, the likeliest first."""
    return _nearest(f"${name}", [f"${known}" for known in islice(lookup.known(), _CANDIDATES)])


def lost(error: PathError, reference: str, root: str) -> UnresolvedReferenceError:
    """The error of a reference whose path leads nowhere, with what is there instead.

    Args:
        error: What `walk` raised.
        reference: The reference as written.
        root: The name at its head, such as `$v3`.
    """
    at = root + path_text(error.done)
    here = opened(error.value)
    known: list[str] = []
    if isinstance(here, dict):
        keys = list(cast("dict[str, Any]", here))[:_CANDIDATES]
        known = [at + path_text((key,)) for key in _nearest(str(error.step), keys)]
    elif isinstance(here, list) and here:
        known = [f"{at}[{len(cast('list[Any]', here)) - 1}]"]
    details = {"at": at, "kind": kind_of(here)}
    return UnresolvedReferenceError(reference, known, reason="path", details=details)


def _copied(value: Any) -> Any:
    """Scalars are shared; copying by JSON is faster than by recursion (0.6 of its time at 7 MB)."""
    return json.loads(compact(value)) if isinstance(value, dict | list) else value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else compact(value)


def _nearest(wanted: str, known: Sequence[str]) -> list[str]:
    """The likeliest first: the most alike, then numbers close by, then the order given."""
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(a="", b=wanted.casefold())

    def distance(name: str) -> tuple[float, int]:
        matcher.set_seq1(name.casefold())
        return -matcher.ratio(), abs(_number(name) - _number(wanted))

    return sorted(known, key=distance)


def _number(name: str) -> int:
    digits = name.removeprefix("$v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0


def explain(error: UnresolvedReferenceError, wording: Wording | None = None) -> str:
    """The sentence for the model: what does not resolve, and what to write instead."""
    wording = wording or Wording()
    names = ", ".join(quoted(name) for name in error.known[:_NEAREST])
    none = wording.reference_none_known if error.reason == "unknown" else ""
    known = wording.say("reference_known", names=names) if names else none
    values: dict[str, str | int] = {"reference": quoted(error.reference), "known": known}
    for key, value in error.details.items():
        values[key] = quoted(value) if key in ("at", "tool") else value
    return wording.say(f"reference_{error.reason}", **values)


def to_finding(error: UnresolvedReferenceError | GuardLimitError, wording: Wording | None = None) -> Finding:
    """The finding that blocks a call whose references do not resolve, or would put in too much."""
    if isinstance(error, GuardLimitError):
        sizes = {"size": error.size, "limit": error.limit}
        message = (wording or Wording()).say("reference_too_much", **sizes)
        return Finding(Check.REFERENCES, Action.BLOCK, "references.too_large", message, sizes)
    return Finding(
        Check.REFERENCES,
        Action.BLOCK,
        f"references.{error.reason}",
        explain(error, wording),
        {"known": len(error.known)},
    )
