"""One finished tool call as it is remembered: what it looked like, how it ended, what it followed.

A trace holds forms, not values (see `shapes`), and everything that a pattern will need of the calls
before it: so every pattern is a sum over traces, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

from procedural.errors import TraceError
from procedural.quoting import ordinary_error, safe_path

__all__ = ["Change", "CompletedCall", "Correction", "Scope", "Trace"]

_SCHEMA: Final = 1
_DECLARED: Final = re.compile(r"[a-z_][A-Za-z_-]*(?:\[\])*")


class CompletedCall(Protocol):
    """A finished call, as `guards` gives it: `guards.CallRecord` has this shape.

    Optional beside these: `call_id` (text; the same id recorded twice counts once).
    """

    @property
    def tool_name(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def result(self) -> Any: ...
    @property
    def error(self) -> str | None: ...
    @property
    def error_kind(self) -> str | None: ...
    @property
    def success(self) -> bool: ...
    @property
    def at(self) -> datetime: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def result_tokens(self) -> int | None: ...
    @property
    def cost_usd(self) -> Decimal | None: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose log a trace is kept in.

    Attributes:
        owner: User or tenant; `None` is the namespace of the unowned, never a wildcard.
        session_id: Kept for this session of the owner alone; `None` for all of the owner's sessions.
        shared: One log for every owner. Its traces carry the owner, so that they can be erased, and no
            value, goal or session.
    """

    owner: str | None = None
    session_id: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if self.shared and (self.owner is not None or self.session_id is not None):
            raise ValueError(f"a shared scope has no owner {self.owner!r} or session {self.session_id!r}")

    @property
    def parts(self) -> tuple[str, str, str]:
        """Kind, owner and session as text, one to one with the scope: a store's key."""
        if self.shared:
            return ("shared", "", "")
        owner = "" if self.owner is None else f"={self.owner}"
        return ("owner", owner, "") if self.session_id is None else ("session", owner, self.session_id)


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One argument that differs between a failed call and the next one.

    Attributes:
        path: Of the argument, list places as `[]`.
        kind: `added`, `removed`, `retyped` (another form), `respelled` (same letters, other writing),
            `extended` (a part added or left out), `raised`, `lowered`, `named` (the error stated the new
            value), `adjusted` (by the difference of two numbers in the error), `renamed` (the same value
            under another name: `before` and `after` are paths).
        before: Its form or plain word before; empty if added.
        after: The same after; empty if removed.
    """

    path: str
    kind: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """A call that tried again after a failure of the same tool for the same goal.

    Attributes:
        error: Key of the failure, as in `Trace.error_key`.
        changes: What differs, at least one, sorted; empty for the same call once more.
    """

    error: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A finished call, without its values.

    Attributes:
        trace_id: A trace recorded twice under one id counts once.
        tool_name: As it was called.
        at: When it began, aware UTC.
        success: How it ended.
        owner: Whose call it was.
        session_id: In which session.
        goal_words: Words of the goal, folded, without secrets, at most 12; never shown.
        forms: For each argument path its form.
        choices: For each path whose value may be a choice, that value.
        error_class: `not found`, `timeout`, ...; `None` if it succeeded.
        error: What the error says without its values; `None` if it succeeded or said nothing.
        result_shape: Outline of the result of a success.
        duration_s: Seconds, `None` if unknown.
        result_tokens: Tokens of the result, `None` if unknown.
        cost_usd: What the call cost, `None` if unknown.
        repeated: Whether one of the last few calls in its session had the same arguments and the same end: it
            counts as a call, and is no further evidence on its arguments.
        hinted: Whether a hint on this tool was shown before the call; `None` if unknown.
        previous: The successful calls just before it in the session, oldest first, at most 2.
        correction: The failure that it tried to correct, if any.
    """

    trace_id: str
    tool_name: str
    at: datetime
    success: bool
    owner: str | None = None
    session_id: str | None = None
    goal_words: tuple[str, ...] = ()
    forms: Mapping[str, str] = field(default_factory=dict[str, str])
    choices: Mapping[str, str] = field(default_factory=dict[str, str])
    error_class: str | None = None
    error: str | None = None
    result_shape: str | None = None
    duration_s: float | None = None
    result_tokens: int | None = None
    cost_usd: Decimal | None = None
    repeated: bool = False
    hinted: bool | None = None
    previous: tuple[str, ...] = ()
    correction: Correction | None = None

    @property
    def error_key(self) -> str:
        """Class and skeleton of the error: equal for errors of one kind."""
        return f"{self.error_class or 'other'}: {self.error or ''}"

    def anonymous(self) -> Trace:
        """The trace as other owners may learn from it: no value, goal or session.

        Argument names and keys of results that look like an id or a name go too, and error texts that hold
        any word but the ordinary ones of error messages.
        """
        return replace(
            self,
            session_id=None,
            goal_words=(),
            forms={_declared(path): form for path, form in self.forms.items()},
            choices={},
            error=self.error and ordinary_error(self.error),
            result_shape=self.result_shape and _without_data(self.result_shape),
            correction=self.correction and _without_values(self.correction),
        )

    def to_json(self) -> dict[str, Any]:
        """The trace as a JSON object, without what is unknown."""
        fields: dict[str, Any] = {
            "schema": _SCHEMA,
            "id": self.trace_id,
            "tool": self.tool_name,
            "at": self.at.isoformat(),
            "ok": self.success,
            "owner": self.owner,
            "session": self.session_id,
            "goal": list(self.goal_words),
            "forms": dict(self.forms),
            "choices": dict(self.choices),
            "error_class": self.error_class,
            "error": self.error,
            "shape": self.result_shape,
            "duration_s": self.duration_s,
            "tokens": self.result_tokens,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
            "repeated": self.repeated or None,
            "hinted": self.hinted,
            "previous": list(self.previous),
            "corrects": self.correction and _correction_json(self.correction),
        }
        return {name: value for name, value in fields.items() if value is not None and value not in ([], {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trace:
        """The trace that `to_json` wrote.

        Raises:
            TraceError: Written by a newer version, or no trace.
        """
        if data.get("schema") != _SCHEMA:
            raise TraceError(
                f"trace of schema {data.get('schema')!r}; this version reads {_SCHEMA}: upgrade longsplice"
            )
        try:
            return cls(
                trace_id=str(data["id"]),
                tool_name=str(data["tool"]),
                at=datetime.fromisoformat(data["at"]).astimezone(UTC),
                success=bool(data["ok"]),
                owner=data.get("owner"),
                session_id=data.get("session"),
                goal_words=tuple(data.get("goal", ())),
                forms=dict(data.get("forms", {})),
                choices=dict(data.get("choices", {})),
                error_class=data.get("error_class"),
                error=data.get("error"),
                result_shape=data.get("shape"),
                duration_s=data.get("duration_s"),
                result_tokens=data.get("tokens"),
                cost_usd=None if data.get("cost_usd") is None else Decimal(data["cost_usd"]),
                repeated=bool(data.get("repeated")),
                hinted=data.get("hinted"),
                previous=tuple(data.get("previous", ())),
                correction=_correction(data.get("corrects")),
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise TraceError(
                f"no trace: {type(error).__name__} at {error}; the row is damaged, erase it"
            ) from error


def _declared(path: str) -> str:
    """The path of an argument; a part with digits or capitalized may be data (`W123`, `Mary`), and is `_`."""
    if path == "$":
        return path
    return ".".join(part if _DECLARED.fullmatch(part) else "_" for part in safe_path(path).split("."))


def _without_data(shape: str) -> str:
    """The outline of a result; without its keys where one of them may be data."""
    name, _, keys = shape.rstrip(")").partition("(")
    return shape if all(_DECLARED.fullmatch(key) for key in keys.split(", ") if key) else name


def _without_values(correction: Correction) -> Correction:
    error_class, _, text = correction.error.partition(": ")
    changes = {
        Change(_declared(c.path), c.kind, *(_nameless(part, c.kind) for part in (c.before, c.after)))
        for c in correction.changes
    }
    return Correction(f"{error_class}: {ordinary_error(text) or ''}", tuple(sorted(changes)))


def _nameless(part: str, kind: str) -> str:
    if kind == "renamed":
        return _declared(part)
    return part if not part or part.startswith("<") else "<word>"


def _correction_json(correction: Correction) -> dict[str, Any]:
    return {
        "error": correction.error,
        "changes": [[c.path, c.kind, c.before, c.after] for c in correction.changes],
    }


def _correction(data: Mapping[str, Any] | None) -> Correction | None:
    if data is None:
        return None
    return Correction(data["error"], tuple(Change(*change) for change in data["changes"]))
