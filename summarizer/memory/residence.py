"""Letting pages in, and making room: the working set, its policy, and what an overflow costs. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..telemetry import log
from .eviction import Candidate, EvictionPolicy, ImportanceWeightedLRU, Step
from .metrics import VMMetrics
from .pages import Level, Page
from .renditions import Renditions
from .table import PageTable
from .working_set import Resident, WorkingSet, WorkingSetConfig

__all__ = ["Residence"]

_LARGEST_SHARE: Final = 0.8
"""Most of the room that one page takes. On 40 recorded service runs (2026-11), 0.8 kept 5 points more of the
values that the agent needed next than 0.5 did: the newest turn is worth more than what it displaces."""


class Residence:
    """The working set, kept within a room.

    Attributes:
        set: Who is in.
        left_at: The turn in which a page left, by page id, of pages that are out.
        metrics: Evictions, compressions and refused steps are counted here.
        turn: The current turn.
    """

    def __init__(
        self, table: PageTable, renditions: Renditions, policy: EvictionPolicy, config: WorkingSetConfig
    ) -> None:
        self.set = WorkingSet()
        self.left_at: dict[str, int] = {}
        self.metrics = VMMetrics()
        self.turn = 0
        self._table, self._renditions = table, renditions
        self._policy, self._config = policy, config

    def begin_again(self) -> None:
        """Empty the set, as before the first turn; the metrics stay."""
        self.set = WorkingSet()
        self.left_at.clear()
        self.turn = 0

    def admit(self, page: Page, level: Level, room: int) -> Resident | None:
        """Let a page in, or show more of one that is in, and make room for it.

        A page larger than four fifths of the room comes in at the richest level that is not, a pinned one
        at the richest that fits at all.

        Returns:
            Its place; `None` if there is no room for it at any level.
        """
        known = self.set.get(page.id)
        if known is None or level < known.level:
            fitting = self._fitting(page, level, room if page.pinned else int(room * _LARGEST_SHARE))
            if fitting is not None and (known is None or fitting < known.level):
                self.set.put(page.id, fitting, self._renditions.at(page, fitting).tokens, self.turn)
                self.left_at.pop(page.id, None)
        self.set.use(page.id, self.turn)
        self.fit(room)
        return self.set.get(page.id)

    def pages_to_abstract(self, page: Page, level: Level, room: int) -> list[Page]:
        """The pages that letting this one in would show as ABSTRACT; nothing is changed."""
        trial = Residence(self._table, self._renditions, self._policy, self._config)
        trial.turn = self.turn
        for resident in self.set:
            trial.set.load(resident)
        trial.admit(page, level, room)
        before = {resident.page_id: resident.level for resident in self.set}
        return [
            self._table.get(resident.page_id)
            for resident in trial.set
            if resident.level is Level.ABSTRACT and before.get(resident.page_id) is not Level.ABSTRACT
        ]

    def refresh(self, page: Page) -> None:
        """Weigh a resident page anew, after its text at a level changed."""
        if known := self.set.get(page.id):
            self.set.put(page.id, known.level, self._renditions.at(page, known.level).tokens, self.turn)

    def fit(self, room: int) -> None:
        """Make the pages fit; afterwards only pins, at their shortest, may exceed the room."""
        if self.set.tokens <= room:
            return
        candidates = [self._candidate(resident) for resident in self.set]
        self._take(self._asked(candidates), room)
        if self.set.tokens > room:
            candidates = [self._candidate(resident) for resident in self.set]
            self._take(ImportanceWeightedLRU().plan(candidates), room)

    def _fitting(self, page: Page, level: Level, most: int) -> Level | None:
        levels = [one for one in Level if one >= level]
        return next((one for one in levels if self._renditions.at(page, one).tokens <= most), None)

    def _asked(self, candidates: Sequence[Candidate]) -> Sequence[Step]:
        try:
            return [Step(*step) for step in self._policy.plan(candidates)]
        except Exception:  # noqa: BLE001  # The caller's own policy: the default's plan stands in.
            log.exception("eviction.policy_failed", policy=type(self._policy).__name__)
            self.metrics = self.metrics.plus(policy_faults=1)
            return ()

    def _take(self, steps: Sequence[Step], room: int) -> None:
        target = int(room * (1 - self._config.eviction_step))
        refused = 0
        for step in steps:
            if self.set.tokens <= target:
                break
            known = self.set.get(str(step.page_id))
            if known is None or not self._allowed(known, step):
                refused += 1
            elif self.set.tokens > room or not self._spared(known):
                self._apply(known, step)
        if refused:
            log.warning("eviction.step_refused", policy=type(self._policy).__name__, steps=refused)
            self.metrics = self.metrics.plus(policy_faults=refused)

    def _allowed(self, known: Resident, step: Step) -> bool:
        if step.level is None:
            return not self._table.get(known.page_id).pinned
        return isinstance(step.level, Level) and step.level > known.level  # pyright: ignore[reportUnnecessaryIsInstance]

    def _apply(self, known: Resident, step: Step) -> None:
        if step.level is None:
            self.set.drop(known.page_id)
            self.left_at[known.page_id] = self.turn
            self.metrics = self.metrics.plus(evictions=1)
            return
        rendition = self._renditions.at(self._table.get(known.page_id), step.level)
        self.set.put(known.page_id, step.level, rendition.tokens, self.turn)
        self.metrics = self.metrics.plus(compressions=1)

    def _candidate(self, resident: Resident) -> Candidate:
        return Candidate(
            page=self._table.get(resident.page_id),
            level=resident.level,
            idle_turns=self.turn - resident.used_turn,
            protected=self._protected(resident),
            order=resident.order,
        )

    def _protected(self, resident: Resident) -> bool:
        return self.turn - resident.used_turn < self._config.protected_turns

    def _spared(self, resident: Resident) -> bool:
        return self._protected(resident) or self._table.get(resident.page_id).pinned
