"""What stays of the older part: by role, or by a score of your own.

The older part ends at a line that moves in steps, so that between two moves nothing before it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...config import WINDOW_STEP
from ...errors import InvalidSetting
from ...messages import ROLES
from .composing import Stage
from .views import Unit, View
from .windows import check_count

__all__ = ["DropRoles", "Importance", "check_roles", "settled"]


@dataclass(frozen=True, slots=True)
class DropRoles(Stage):
    """Older units of some roles are left out.

    Args:
        roles: `user`, `assistant`, `system`, `developer`, or `tool` for calls with their results.
        recent: Newest units that stay; up to a quarter more do, as the line moves in steps.

    Raises:
        InvalidSetting: An unknown role.
    """

    roles: Collection[str]
    recent: int = 8

    def __post_init__(self) -> None:
        check_count("recent", self.recent)
        check_roles(self.roles)

    def apply(self, view: View) -> View:
        """The view without them."""
        line = settled(len(view.units), self.recent)
        return view.without([i for i, unit in enumerate(view.units[:line]) if unit.role in self.roles])


@dataclass(frozen=True, slots=True)
class Importance(Stage):
    """Of the older units only the most important stay.

    The score is asked once for each older unit at each call, so it must be quick, and it must depend on
    nothing but the unit: an answer that changes breaks the provider's prompt cache.

    Args:
        score: The importance of a unit; larger is more important.
        best: How many older units stay; of equal scores the newer one.
        at_least: The score from which an older unit stays.
        recent: Newest units that stay unasked; up to a quarter more do, as the line moves in steps.

    Raises:
        InvalidSetting: Neither `best` nor `at_least` is given.
    """

    score: Callable[[Unit], float]
    best: int | None = None
    at_least: float | None = None
    recent: int = 8

    def __post_init__(self) -> None:
        check_count("recent", self.recent)
        if self.best is not None:
            check_count("best", self.best, least=0)
        elif self.at_least is None:
            raise InvalidSetting("Importance needs best (how many stay) or at_least (the score from which)")

    def apply(self, view: View) -> View:
        """The view without the less important."""
        older = range(settled(len(view.units), self.recent))
        scores = {i: self.score(view.units[i]) for i in older}
        stay = [i for i in older if self.at_least is None or scores[i] >= self.at_least]
        if self.best is not None:
            stay = sorted(stay, key=lambda i: (scores[i], i), reverse=True)[: self.best]
        return view.without({*older} - {*stay})


def check_roles(roles: Collection[str]) -> None:
    """Refuse what is no set of roles.

    Raises:
        InvalidSetting: It is a text, or names an unknown role.
    """
    if isinstance(roles, str) or not {*roles} <= ROLES:
        raise InvalidSetting(f"roles={roles!r}: use a set of {', '.join(sorted(ROLES))}")


def settled(n: int, recent: int, step: int | None = None) -> int:
    """How many of `n` lie before the line: all but the last `recent`, rounded down to a step.

    The step is a quarter of `recent` if none is given.
    """
    step = max(1, int(recent * WINDOW_STEP)) if step is None else step
    return max(0, n - recent) // step * step
