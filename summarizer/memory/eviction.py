"""Which pages give way when the working set is too large, and in which steps.

A policy proposes; the memory applies. Whatever a policy says, a pinned page is never taken out, no page
is shown at a richer level, and the budget holds: what is refused or missing is planned by the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from .pages import Level, Modality, Page, PageType

__all__ = [
    "Candidate",
    "EvictionPolicy",
    "ImportanceWeightedLRU",
    "LRUEvictionPolicy",
    "ModalityAwareLRU",
    "Step",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A resident page, as a policy sees it.

    Attributes:
        page: The page; `page.pinned` forbids taking it out.
        level: How much of it is shown.
        idle_turns: Turns since it was last used.
        protected: It was used so recently that others should give way first.
        order: Rises with each use.
    """

    page: Page
    level: Level
    idle_turns: int
    protected: bool
    order: int


class Step(NamedTuple):
    """One thing to do: show a page at a lower level, or take it out."""

    page_id: str
    level: Level | None
    """The new level; `None` takes the page out."""


class EvictionPolicy(Protocol):
    """Decides what leaves."""

    def plan(self, candidates: Sequence[Candidate]) -> Sequence[Step]:
        """Steps to take until enough room is free, the least harmful first.

        The memory stops as soon as the pages fit, so a plan may go on to the last page. Steps on protected
        and pinned pages are only taken while the budget itself is exceeded.
        """
        ...


_STAGES: Final = (Level.REDUCED, Level.ABSTRACT, None)
_LOSS: Final[Mapping[Level | None, float]] = {Level.REDUCED: 1.0, Level.ABSTRACT: 2.0, None: 4.0}
"""What a step costs, relative to the first: REDUCED keeps most values, ABSTRACT the gist."""

_TYPE_WEIGHT: Final[Mapping[PageType, float]] = {
    PageType.CLAIM: 1.0,
    PageType.PROCEDURE: 0.8,
    PageType.SUMMARY: 0.8,
    PageType.INDEX: 0.5,
    PageType.ARTIFACT: 0.4,
    PageType.TRANSCRIPT: 0.2,
}
_MODALITY_WEIGHT: Final[Mapping[Modality, float]] = {
    Modality.VIDEO: 0.1,
    Modality.AUDIO: 0.15,
    Modality.IMAGE: 0.2,
    Modality.STRUCTURED: 0.6,
    Modality.TEXT: 1.0,
}

_Cost = Callable[[Candidate, Level | None], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class ImportanceWeightedLRU:
    """What is worth least and was used longest ago gives way first; the default.

    A page's worth is its importance plus half its type's weight, and halves every `half_life_turns`
    without a use. Each page is shortened before it is taken out.
    """

    half_life_turns: float = 8.0

    def plan(self, candidates: Sequence[Candidate]) -> Sequence[Step]:
        def cost(candidate: Candidate, stage: Level | None) -> tuple[float, ...]:
            return (_worth(candidate, self.half_life_turns) * _LOSS[stage], candidate.order)

        return _in_order(candidates, cost)


@dataclass(frozen=True, slots=True)
class LRUEvictionPolicy:
    """What was used longest ago gives way first, whatever it is: all pages are shortened, then they leave."""

    def plan(self, candidates: Sequence[Candidate]) -> Sequence[Step]:
        def cost(candidate: Candidate, stage: Level | None) -> tuple[float, ...]:
            return (_LOSS[stage], candidate.order)

        return _in_order(candidates, cost)


@dataclass(frozen=True, slots=True)
class ModalityAwareLRU:
    """As `ImportanceWeightedLRU`, but media give up their pixels and sound long before text gives up words.

    What a medium loses by leaving altogether counts in full: its caption is text like any other.
    """

    half_life_turns: float = 8.0

    def plan(self, candidates: Sequence[Candidate]) -> Sequence[Step]:
        def cost(candidate: Candidate, stage: Level | None) -> tuple[float, ...]:
            weight = _MODALITY_WEIGHT[candidate.page.modality] if stage is Level.REDUCED else 1.0
            return (_worth(candidate, self.half_life_turns) * _LOSS[stage] * weight, candidate.order)

        return _in_order(candidates, cost)


def _worth(candidate: Candidate, half_life_turns: float) -> float:
    page = candidate.page
    return (page.importance + _TYPE_WEIGHT[page.type] / 2) * 0.5 ** (candidate.idle_turns / half_life_turns)


def _in_order(candidates: Sequence[Candidate], cost: _Cost) -> list[Step]:
    """All steps on all pages: ordinary ones by cost, then protected, then what pins allow."""
    ranked: list[tuple[int, tuple[float, ...], Step]] = []
    for candidate in candidates:
        group = 2 if candidate.page.pinned else int(candidate.protected)
        for stage in _stages(candidate):
            loss = cost(candidate, None if stage is Level.REFERENCE else stage)
            ranked.append((group, loss, Step(candidate.page.id, stage)))
    return [step for _, _, step in sorted(ranked, key=lambda one: one[:2])]


def _stages(candidate: Candidate) -> Iterator[Level | None]:
    for stage in _STAGES:
        if stage is None and not candidate.page.pinned:
            yield None
        elif (lower := stage or Level.REFERENCE) > candidate.level:
            yield lower
