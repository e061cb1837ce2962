"""How much a guard lets through: calls, time, tokens of results and money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final, Literal, Self

__all__ = ["Limits", "money"]

_COUNTS: Final = ("total", "per_run", "per_turn", "result_tokens")
_AMOUNTS: Final = ("wall_s", "cost_usd", "spend_per_minute_usd")
_WINDOWS: Final = ("turn", "run", "total")


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be used before calls are blocked. `None` is unlimited; 0 allows nothing.

    Only calls that were started count: a refused or replayed call costs nothing. A turn goes from
    one user message to the next, a run from `reset_run` to the next (the work that a host started as one),
    the total is never reset.

    Attributes:
        total: Calls in the guard's whole life, restarts included.
        per_run: Calls in a run.
        per_turn: Calls in a turn.
        per_tool: Calls of one tool, within `window`: one number for each tool, or a mapping. A tool is
            looked up by its exact name, then by what follows the last dot (`search` covers `web.search`
            and `docs.search`, which share that one limit), then under `*`, which holds for each other
            tool alone.
        per_group: Calls of all tools of a group (`ToolSpec.group`), within `window`.
        wall_s: Seconds from the first call of the `window`.
        result_tokens: Tokens of results, within `window`; results that nobody counted do not count.
        cost_usd: Money, within `window`; a call of unknown cost does not count, and the evidence says of
            how many the cost is known.
        spend_per_minute_usd: Money in any 60 seconds.
        window: What the limits that name it are counted over: `turn`, `run` or `total`.
        warn_at: Share of a limit from which on the model is told, in (0, 1]; `None`: never.
    """

    total: int | None = None
    per_run: int | None = None
    per_turn: int | None = None
    per_tool: int | Mapping[str, int] | None = None
    per_group: Mapping[str, int] = field(default_factory=dict[str, int])
    wall_s: float | None = None
    result_tokens: int | None = None
    cost_usd: Decimal | None = None
    spend_per_minute_usd: Decimal | None = None
    window: Literal["turn", "run", "total"] = "turn"
    warn_at: float | None = 0.8

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        if isinstance(self.per_tool, Mapping):
            _check_counts("per_tool", self.per_tool)
            object.__setattr__(self, "per_tool", dict(self.per_tool))
        else:
            _check_count("per_tool", self.per_tool)
        _check_counts("per_group", self.per_group)
        object.__setattr__(self, "per_group", dict(self.per_group))
        for name in _AMOUNTS:
            _check_amount(name, getattr(self, name))
        for name in ("cost_usd", "spend_per_minute_usd"):
            object.__setattr__(self, name, money(getattr(self, name)))
        if self.window not in _WINDOWS:
            raise ValueError(f"window={self.window!r} is none of {', '.join(_WINDOWS)}; choose one")
        if self.warn_at is not None and not 0 < self.warn_at <= 1:
            raise ValueError(f"warn_at={self.warn_at!r} is no share in (0, 1]; use None for no warning")

    @classmethod
    def smooth(cls, **changes: Any) -> Self:
        """Limits that stop a runaway and nothing else: 100 calls in a turn.

        Source: 483 recorded turns of service and coding agents (tau-bench, tau2-bench, mini-swe-agent;
        counted 2026-11): the longest has 98 calls, the next 55.

        Args:
            changes: Fields to set otherwise.
        """
        return replace(cls(per_turn=100), **changes)

    @classmethod
    def strict(cls, **changes: Any) -> Self:
        """Limits for agents that answer people: 30 calls and ten minutes in a turn, 15 calls of one tool.

        Not for coding agents, whose turns are longer. Args as `smooth`.

        Source: of the 427 turns of service agents among these, 2 exceed 30 calls and 1 exceeds 15 of one
        tool. The ten minutes are our choice.
        """
        return replace(cls(per_turn=30, per_tool=15, wall_s=600.0), **changes)

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited."""
        return all(getattr(self, f.name) in (None, {}) for f in fields(self) if f.name not in _NO_LIMITS)

    def for_tool(self, name: str) -> tuple[str, int] | None:
        """Under which key the calls of a tool are counted, and how many may be made; `None`: any number."""
        if self.per_tool is None:
            return None
        if isinstance(self.per_tool, int):
            return name, self.per_tool
        for key in (name, name.rpartition(".")[2]):
            if key in self.per_tool:
                return key, self.per_tool[key]
        return (name, self.per_tool["*"]) if "*" in self.per_tool else None


_NO_LIMITS: Final = ("window", "warn_at")


def _check_count(name: str, value: object) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return
    raise ValueError(f"{name}={value!r} is no whole number from 0; use None for no limit")


def _check_counts(name: str, counts: Mapping[str, int]) -> None:
    for key, value in counts.items():
        if value is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise ValueError(f"{name}[{key!r}]=None: leave {key!r} out for no limit")
        _check_count(f"{name}[{key!r}]", value)


def _check_amount(name: str, value: float | Decimal | None) -> None:
    if value is not None and (isinstance(value, bool) or not math.isfinite(value) or value < 0):
        raise ValueError(f"{name}={value!r} is no number from 0; use None for no limit")


def money(value: float | Decimal | None) -> Decimal | None:
    """The amount as written: `0.1` is ten cents, not the nearest binary fraction.

    Raises:
        ValueError: It is below 0, or no number.
    """
    amount = value if value is None or isinstance(value, Decimal) else Decimal(str(value))
    if amount is not None and not (amount.is_finite() and amount >= 0):
        raise ValueError(f"cost {value!r} is no amount of 0 or more; use None if it is unknown")
    return amount
