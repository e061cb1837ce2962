"""When repetition is too much."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LoopPolicy"]


@dataclass(frozen=True, slots=True)
class LoopPolicy:
    """When repetition without progress is too much.

    Attributes:
        enabled: Whether the check looks at all.
        nudge_before: The equal call before which the model is nudged, 2 or more; `None`: never.
        block_before: The equal call before which calls are blocked; `None`: never.
        stop_before: The equal call before which the run ends; `None`: never.
        waiting_factor: Factor on all three where the answer says that work goes on, 1 or more.
        window: Calls without anything new, whatever their order, before which the model is nudged; blocks
            and the end of the run come later in proportion. 2 or more.
        memory: Different calls remembered since the user spoke, 16 or more.
    """

    enabled: bool = True
    nudge_before: int | None = 4
    block_before: int | None = 6
    stop_before: int | None = 9
    waiting_factor: float = 2.0
    window: int = 24
    memory: int = 512

    def __post_init__(self) -> None:
        steps = [
            step for step in (self.nudge_before, self.block_before, self.stop_before) if step is not None
        ]
        if any(step < 2 for step in steps) or steps != sorted(steps):
            raise ValueError(
                f"nudge_before={self.nudge_before!r}, block_before={self.block_before!r}, "
                f"stop_before={self.stop_before!r}: use rising numbers of 2 or more, or None for never"
            )
        if self.waiting_factor < 1:
            raise ValueError(f"waiting_factor={self.waiting_factor!r}: use 1 or more; 1 is no extra patience")
        if self.window < 2:
            raise ValueError(f"window={self.window!r}: use 2 calls or more")
        if self.memory < 16:
            raise ValueError(f"memory={self.memory!r}: use 16 calls or more, so that a cycle fits")

    @classmethod
    def smooth(cls) -> LoopPolicy:
        """Nudges before the 5th equal call, blocks before the 9th, ends the run before the 16th."""
        return cls(nudge_before=5, block_before=9, stop_before=16, window=36)

    @classmethod
    def strict(cls) -> LoopPolicy:
        """Nudges before the 3rd equal call, blocks before the 4th, ends the run before the 6th."""
        return cls(nudge_before=3, block_before=4, stop_before=6, window=18)

    @classmethod
    def off(cls) -> LoopPolicy:
        """Looks at nothing."""
        return cls(enabled=False)

    def level(self, equal: int, patience: float = 1.0) -> int:
        """0 to 3: nothing, nudge, block, stop, for a call that `equal` ones went before."""
        steps = (self.nudge_before, self.block_before, self.stop_before)
        return max(
            (i for i, step in enumerate(steps, 1) if step and equal + 1 >= math.ceil(step * patience)),
            default=0,
        )

    def least(self, patience: float) -> int:
        """Equal calls below which nothing is found at this patience."""
        first = self.nudge_before or self.block_before or self.stop_before
        return math.ceil(min(first, self.window) * patience) - 1 if first else 1 << 62

    def window_factor(self) -> float:
        """What turns the thresholds for equal calls into those for calls without anything new."""
        first = self.nudge_before or self.block_before or self.stop_before or 4
        return self.window / first
