"""What is resident: which pages, at which level, since when; and the budget they share. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..config import WINDOW_STEP
from ..errors import InvalidSetting
from .pages import Level

__all__ = ["Resident", "WorkingSet", "WorkingSetConfig"]


@dataclass(frozen=True, slots=True)
class WorkingSetConfig:
    """Budgets and limits, each in this one place.

    Attributes:
        max_l0_tokens: Most tokens of the whole prompt that `build_context` gives: system prompt, rules, tool
            schemas, pages, manifest and message frames.
        suffix_share: Share of what system prompt and rules leave that pages never take: it is kept for the
            manifest and for pages fetched for one question.
        page_share: In a session, share of what system prompt and rules leave that is kept for resident pages
            once the messages do not fit as they are. 0.4 showed more of what the next call needed than 0.25
            and 0.15 on 40 recorded service runs at 1,500 to 4,000 tokens (2026-11).
        manifest_tokens: Most tokens of the manifest.
        eviction_step: Share of the pages' budget that is freed at once when it overflows, so that the
            prompt's prefix rarely changes.
        protected_turns: Turns for which a page that came in, was asked for or was cited is spared while
            others can give way.
        faults_per_turn: `page_fault` calls served a turn.
        searches_per_turn: `search_pages` calls served a turn.
        fault_tokens: Most tokens of one tool answer, 128 or more; `None` for a quarter of
            `max_l0_tokens`, and at least 128. In a session 3,000 is the most.
        prefetch_pages: Most pages fetched for one question; 0 for none.
        thrash_turns: A fault on a page that left within so many turns counts as thrash.
    """

    max_l0_tokens: int = 32_000
    suffix_share: float = 0.2
    page_share: float = 0.4
    manifest_tokens: int = 400
    eviction_step: float = WINDOW_STEP
    protected_turns: int = 2
    faults_per_turn: int = 3
    searches_per_turn: int = 5
    fault_tokens: int | None = None
    prefetch_pages: int = 3
    thrash_turns: int = 5

    def __post_init__(self) -> None:
        least = {"max_l0_tokens": 1, "fault_tokens": 128}
        for name in self.__slots__:
            value = getattr(self, name)
            if name in ("suffix_share", "page_share", "eviction_step"):
                if not 0 <= value < 1:
                    raise InvalidSetting(f"{name}={value!r} must be from 0 to below 1")
            elif value is not None and value < least.get(name, 0):
                raise InvalidSetting(f"{name}={value!r} must be at least {least.get(name, 0)}")

    @property
    def answer_tokens(self) -> int:
        """Most tokens of one tool answer."""
        return self.fault_tokens or max(128, self.max_l0_tokens // 4)


@dataclass(frozen=True, slots=True)
class Resident:
    """One page in the working set.

    Attributes:
        page_id: Which.
        level: How much of it is shown.
        tokens: What its record takes at that level.
        used_turn: When it last came in, was asked for or was cited.
        order: Rises with each use; tells uses of one turn apart.
    """

    page_id: str
    level: Level
    tokens: int
    used_turn: int
    order: int


class WorkingSet:
    """The residents, in the order in which they came in: the prompt grows at its end."""

    def __init__(self) -> None:
        self._residents: dict[str, Resident] = {}
        self._uses = 0
        self.tokens = 0

    def __iter__(self) -> Iterator[Resident]:
        return iter(self._residents.values())

    def __len__(self) -> int:
        return len(self._residents)

    def __contains__(self, page_id: object) -> bool:
        return page_id in self._residents

    def get(self, page_id: str) -> Resident | None:
        """The page's place; `None` if it is not resident."""
        return self._residents.get(page_id)

    def put(self, page_id: str, level: Level, tokens: int, turn: int) -> Resident:
        """Let a page in at the end, or change the level of one that is in, where it stands."""
        known = self._residents.get(page_id)
        used, order = (known.used_turn, known.order) if known else (turn, self._next())
        self.tokens += tokens - (known.tokens if known else 0)
        found = self._residents[page_id] = Resident(page_id, level, tokens, used, order)
        return found

    def use(self, page_id: str, turn: int) -> None:
        """Note a use; no effect on a page that is not resident."""
        if known := self._residents.get(page_id):
            self._residents[page_id] = replace(known, used_turn=turn, order=self._next())

    def drop(self, page_id: str) -> Resident | None:
        """Take a page out; `None` if it was not in."""
        known = self._residents.pop(page_id, None)
        self.tokens -= known.tokens if known else 0
        return known

    def load(self, resident: Resident) -> None:
        """Put a stored place back as it was."""
        self.drop(resident.page_id)
        self._residents[resident.page_id] = resident
        self.tokens += resident.tokens
        self._uses = max(self._uses, resident.order)

    def _next(self) -> int:
        self._uses += 1
        return self._uses
