"""Pins: what no policy leaves out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

from ...events import Event
from .composing import Stage
from .selection import check_roles
from .views import Unit, View

__all__ = ["Pin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(Stage):
    """Units that stay, whatever other policies of the composition want; each brings its turn's user message.

    An event recorded with `pinned=True` (`await sm.user_says(text, pinned=True)`) is pinned without this.
    Pins hold within the open segment: what a summary stands for, it stands for.

    Args:
        first_user: The first user message.
        roles: Units of these roles; `tool` are calls with their results.
        seqs: Units that hold one of these events.
        when: Says of an event whether its unit is pinned.

    Raises:
        InvalidSetting: An unknown role.
    """

    first_user: bool = False
    roles: Collection[str] = ()
    seqs: Collection[int] = ()
    when: Callable[[Event], bool] | None = None
    order: ClassVar[int] = -1

    def __post_init__(self) -> None:
        check_roles(self.roles)

    def apply(self, view: View) -> View:
        """The view with these units pinned."""
        chosen = {i for i, unit in enumerate(view.units) if self._wants(unit)}
        first = next((i for i, unit in enumerate(view.units) if unit.opens_turn), None)
        if self.first_user and first is not None:
            chosen.add(first)
        return view.pin(chosen)

    def _wants(self, unit: Unit) -> bool:
        if unit.role in self.roles or any(event.seq in self.seqs for event in unit.events):
            return True
        return self.when is not None and any(map(self.when, unit.events))
