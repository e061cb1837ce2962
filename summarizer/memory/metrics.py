"""How well the working set serves: counters, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["VMMetrics"]


@dataclass(frozen=True, slots=True)
class VMMetrics:
    """Counts since the memory was made; they survive `snapshot` and `restore`.

    Attributes:
        turns: Turns begun.
        faults: Pages the model had to ask for.
        hits: Pages the model cited, or asked for, while they were shown.
        thrash: Faults on pages that had left within `thrash_turns`.
        evictions: Pages that left.
        compressions: Times a page was shown at a lower level to make room.
        prefetched: Times a page was fetched for a question.
        policy_faults: Steps of an eviction policy that could not be taken, and plans that raised.
    """

    turns: int = 0
    faults: int = 0
    hits: int = 0
    thrash: int = 0
    evictions: int = 0
    compressions: int = 0
    prefetched: int = 0
    policy_faults: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of wanted pages that were there; `None` as long as none was wanted."""
        wanted = self.hits + self.faults
        return self.hits / wanted if wanted else None

    @property
    def thrash_rate(self) -> float | None:
        """Share of faults that an eviction of late caused; `None` without faults."""
        return self.thrash / self.faults if self.faults else None

    def plus(self, **counts: int) -> VMMetrics:
        """The metrics with some counters raised."""
        return replace(self, **{name: getattr(self, name) + count for name, count in counts.items()})

    def to_json(self) -> dict[str, int]:
        """The counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}
