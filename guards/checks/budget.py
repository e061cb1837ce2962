"""Budgets: how much of each limit is used, calls under way included.

A call is charged when it is let through, so a batch of five with one call left gets one. If it then does
not run (refused, replayed), the charge is given back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self, TypeVar

from guards.calls import CallRecord, Outcome, PendingCall, read_time
from guards.limits import Limits
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = ["BudgetCheck"]

_Amount = TypeVar("_Amount", float, Decimal)

_WINDOWS: Final = ("total", "run", "turn")
_NOT_RUN: Final = (Outcome.REFUSED, Outcome.REPLAYED)
_MINUTE: Final = timedelta(seconds=60)
_TOOLS: Final = 4096
"""Tools that are counted by name in one window; further ones share one count, named `*`."""


@dataclass(slots=True, eq=False)
class _Used:
    """What was used within one window. Compared by identity: an equal window is another one."""

    calls: int = 0
    tools: dict[str, int] = field(default_factory=dict[str, int])
    groups: dict[str, int] = field(default_factory=dict[str, int])
    tokens: int = 0
    cost: Decimal = Decimal(0)
    ended: int = 0
    priced: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    def charge(self, tool: str | None, group: str | None, at: datetime) -> None:
        self.count(tool, group, 1)
        if self.first_at is None:
            self.first_at = at
        self.seen(at)

    def count(self, tool: str | None, group: str | None, step: int) -> None:
        self.calls += step
        if tool is not None:
            self.tools[tool] = self.tools.get(tool, 0) + step
        if group is not None:
            self.groups[group] = self.groups.get(group, 0) + step

    def seen(self, at: datetime) -> None:
        if self.last_at is None or at > self.last_at:
            self.last_at = at

    def to_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "tools": dict(self.tools),
            "groups": dict(self.groups),
            "tokens": self.tokens,
            "cost": str(self.cost),
            "ended": self.ended,
            "priced": self.priced,
            "first_at": self.first_at and self.first_at.isoformat(),
            "last_at": self.last_at and self.last_at.isoformat(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _Used:
        return cls(
            calls=int(value["calls"]),
            tools={str(key): int(n) for key, n in dict(value["tools"]).items()},
            groups={str(key): int(n) for key, n in dict(value["groups"]).items()},
            tokens=int(value["tokens"]),
            cost=_decimal(value["cost"]),
            ended=int(value["ended"]),
            priced=int(value["priced"]),
            first_at=_time(value["first_at"]),
            last_at=_time(value["last_at"]),
        )


class _Open(NamedTuple):
    """A charged call under way, and the windows that it was charged to."""

    tool: str | None
    group: str | None
    windows: tuple[_Used, ...]


class _Reading(NamedTuple):
    """One limit, as a call finds it."""

    name: str
    used: float | Decimal
    limit: float | Decimal
    left: float | Decimal
    share: float
    over: bool


class BudgetCheck:
    """Counts what calls use, and says when a limit is near or reached.

    `examine` reads; `began` charges a call that was let through, `observe` takes its end.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        wording: Wording | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start with nothing used.

        Args:
            limits: What may be used; `None`: no limit.
            wording: The sentences for the model.
            clock: Aware UTC. When it jumps back, time and money of the window stay used.
        """
        self.limits = limits or Limits()
        self._unlimited = self.limits.unlimited
        self._wording = wording or Wording()
        self._clock = clock
        self._windows = {name: _Used() for name in _WINDOWS}
        self._open: dict[str, _Open] = {}
        self._spent: deque[tuple[datetime, Decimal]] = deque()

    def examine(self, call: PendingCall, spec: ToolSpec) -> Finding | None:
        """The first limit that this call would exceed, else the nearest from `warn_at` on, else `None`."""
        if self._unlimited:
            return None
        nearest: _Reading | None = None
        for reading in self._readings(call.name, spec.group):
            if reading.over:
                return self._finding(Action.BLOCK, reading, call, spec)
            if nearest is None or reading.share > nearest.share:
                nearest = reading
        warn_at = self.limits.warn_at
        if nearest is None or warn_at is None or nearest.share < warn_at:
            return None
        return self._finding(Action.WARN, nearest, call, spec)

    def began(self, call: PendingCall, spec: ToolSpec) -> None:
        """The call is let through, and charged. Again for the same call changes nothing."""
        if call.call_id not in self._open:
            self._open[call.call_id] = self._charge(call.name, spec.group, call.started_at)

    def observe(self, record: CallRecord) -> None:
        """A call ended: its tokens, its cost, and the time until now are used.

        A call that did not run is given back. One that never `began` here (a log without its
        beginning) is charged now, without its group.
        """
        known = self._open.pop(record.call_id, None)
        if record.outcome in _NOT_RUN:
            if known is not None:
                for used in known.windows:
                    used.count(known.tool, known.group, -1)
            return
        windows = (known or self._charge(record.tool_name, None, record.at)).windows
        ended_at = record.at + timedelta(seconds=record.duration_s or 0.0)
        for used in windows:
            used.ended += 1
            used.tokens += record.result_tokens or 0
            used.seen(ended_at)
            if record.cost_usd is not None:
                used.priced += 1
                used.cost += record.cost_usd
        if record.cost_usd:
            self._spend(ended_at, record.cost_usd)

    def reset_turn(self) -> None:
        """A new prompt: the turn's budgets begin anew. Calls under way stay with the turn that made them."""
        self._windows["turn"] = _Used()

    def reset_run(self) -> None:
        """A new run, and with it a new turn."""
        self._windows["run"] = _Used()
        self.reset_turn()

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        return {
            "windows": {name: used.to_json() for name, used in self._windows.items()},
            "open": {key: self._open_row(call) for key, call in self._open.items()},
            "spent": [[at.isoformat(), str(cost)] for at, cost in self._spent],
        }

    @classmethod
    def restore(cls, value: Mapping[str, Any], limits: Limits | None = None, **settings: Any) -> Self:
        """The inverse of `snapshot`; limits and `settings` are those of the constructor."""
        check = cls(limits, **settings)
        check._windows = {name: _Used.from_json(value["windows"][name]) for name in _WINDOWS}
        for call_id, (tool, group, names) in dict(value["open"]).items():
            windows = tuple(check._windows[name] for name in names)
            check._open[str(call_id)] = _Open(tool, group, windows)
        check._spent = deque((read_time(at), _decimal(cost)) for at, cost in value["spent"])
        return check

    def _charge(self, name: str, group: str | None, at: datetime) -> _Open:
        limit = self.limits.for_tool(name)
        tool = None if limit is None else self._counted_as(limit[0])
        limited = group if group in self.limits.per_group else None
        windows = tuple(self._windows.values())
        for used in windows:
            used.charge(tool, limited, at)
        return _Open(tool, limited, windows)

    def _counted_as(self, tool: str) -> str:
        counts = self._windows["total"].tools
        return tool if tool in counts or len(counts) < _TOOLS else "*"

    def _spend(self, at: datetime, cost: Decimal) -> None:
        """Book money under the end of its second, and forget what is older than a minute."""
        at = at.replace(microsecond=0) + timedelta(seconds=1)
        if self._spent and at <= self._spent[-1][0]:
            at, before = self._spent.pop()
            cost += before
        self._spent.append((at, cost))
        while self._spent[0][0] <= at - _MINUTE:
            self._spent.popleft()

    def _readings(self, name: str, group: str | None) -> Iterator[_Reading]:
        limits, used = self.limits, self._windows[self.limits.window]
        for code, window, limit in (
            ("total", "total", limits.total),
            ("run", "run", limits.per_run),
            ("turn", "turn", limits.per_turn),
        ):
            if limit is not None:
                yield _reading(code, self._windows[window].calls, limit, adds=1)
        tool = limits.for_tool(name)
        if tool is not None:
            yield _reading("tool", used.tools.get(self._counted_as(tool[0]), 0), tool[1], adds=1)
        if group is not None and group in limits.per_group:
            yield _reading("group", used.groups.get(group, 0), limits.per_group[group], adds=1)
        if limits.result_tokens is not None:
            yield _reading("tokens", used.tokens, limits.result_tokens)
        if limits.cost_usd is not None:
            yield _reading("cost", used.cost, limits.cost_usd)
        if limits.wall_s is not None or limits.spend_per_minute_usd is not None:
            yield from self._timed(used, self._clock())

    def _timed(self, used: _Used, now: datetime) -> Iterator[_Reading]:
        if self.limits.wall_s is not None:
            elapsed = 0.0
            if used.first_at is not None and used.last_at is not None:
                elapsed = max(0.0, (max(now, used.last_at) - used.first_at).total_seconds())
            yield _reading("wall", elapsed, self.limits.wall_s)
        if self.limits.spend_per_minute_usd is not None:
            spent = sum((cost for at, cost in self._spent if at > now - _MINUTE), Decimal(0))
            yield _reading("velocity", spent, self.limits.spend_per_minute_usd)

    def _finding(self, action: Action, reading: _Reading, call: PendingCall, spec: ToolSpec) -> Finding:
        name = "calls" if action is Action.WARN and reading.name in _WINDOWS else reading.name
        message = self._wording.say(
            f"budget_{name}_low" if action is Action.WARN else f"budget_{name}",
            limit=_short(reading.limit),
            used=_short(reading.used),
            left=_short(reading.left),
            tool=quoted(call.name),
            group=quoted(spec.group),
        )
        evidence: dict[str, Any] = {"limit": _number(reading.limit), "used": _number(reading.used)}
        if reading.name == "cost":
            used = self._windows[self.limits.window]
            evidence |= {"priced_calls": used.priced, "ended_calls": used.ended}
        return Finding(Check.BUDGET, action, f"budget.{reading.name}", message, evidence)

    def _open_row(self, call: _Open) -> list[Any]:
        names = [name for name, used in self._windows.items() if used in call.windows]
        return [call.tool, call.group, names]


def _reading(name: str, used: _Amount, limit: _Amount, *, adds: int = 0) -> _Reading:
    """A count is over if this call exceeds it; an amount, whose growth is not known yet, if it is reached."""
    left = limit - used - adds
    over = left < 0 or (adds == 0 and left == 0)
    return _Reading(name, used, limit, left, 1.0 if over else float((used + adds) / limit), over)


def _number(value: float | Decimal) -> int | float | str:
    """For evidence: money as text, so that no digit is lost."""
    return str(value) if isinstance(value, Decimal) else value


def _short(value: float | Decimal) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) else f"{value:.0f}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else read_time(text)


def _decimal(text: str) -> Decimal:
    value = Decimal(text) if _is_number(text) else None
    if value is None or not value.is_finite():
        raise ValueError(f"amount {text!r} is no number")
    return value


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except ArithmeticError:
        return False
    return True
