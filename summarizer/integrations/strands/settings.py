"""What both conversation managers are told, checked where it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import InvalidSetting
from .estimate import TokenFunction
from .reducing import Reduced

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """See `SlidingWindowManager` and `SummarizingManager` for each.

    Raises:
        InvalidSetting: One is out of range.
    """

    window_size: int | None
    max_context_tokens: int | None
    token_counter: TokenFunction | None
    compactable_after_messages: int | None
    proactive_threshold: float | None
    per_turn: bool | int
    pin_first: int | None
    slide: float
    model: str | None
    on_reduced: Callable[[Reduced], object] | None
    seed_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window_size", "max_context_tokens", "compactable_after_messages", "per_turn"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool) and value < 1:
                raise InvalidSetting(f"{name}={value!r}: use 1 or more, or None")
        if self.proactive_threshold is not None and not 0 < self.proactive_threshold <= 1:
            raise InvalidSetting(f"proactive_threshold={self.proactive_threshold!r}: use a share in (0, 1]")
        for name in ("slide", "seed_share"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidSetting(f"{name}={getattr(self, name)!r}: use a share in [0, 1)")
        if self.pin_first is not None and self.pin_first < 0:
            raise InvalidSetting(f"pin_first={self.pin_first!r}: use 0 or more, or None")

    @property
    def batch(self) -> int:
        """How many messages with stale results are gathered before they are replaced."""
        return max(1, round((self.compactable_after_messages or 0) * self.slide))

    def window_due(self, model_calls: int) -> bool:
        """Whether window and stale results are looked at before this model call of the agent's."""
        often = self.per_turn
        return often if isinstance(often, bool) else model_calls % often == 0
