"""What a provider's count is, in units of ours: learned from the usage that it reports. Pure.

Our count of a text is the model's own only for OpenAI models. For others the ratio of the two is
steady within a conversation and differs between languages: from 1.02 (Chinese) over 1.37 (English)
to 2.41 (German) on Claude 4.8 against o200k (ctok, a reconstruction of Anthropic's counter, 2026-11).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Calibration", "claude_version", "estimate", "prior_ratio"]

_LOWEST: Final = 0.5
_HIGHEST: Final = 4.0
"""Measured were 1.0 to 2.4. Far outside, the report is wrong, or what was counted is another prompt."""
_JUMP: Final = 1.5
"""Most that one report may differ from what three or more others taught, as a factor."""
_SLOWEST: Final = 0.25
"""Least weight of a new report: the text of a conversation changes, so old reports fade."""
_FULL_WEIGHT: Final = 500
"""Raw tokens from which a report counts in full; in smaller ones the provider's fixed overhead rules."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A learned ratio of reported prompt tokens to raw ones, for one model.

    Attributes:
        ratio: Reported over raw, from 0.5 to 4.
        samples: Reports it has learned from.
        model: The model it holds for; another one starts anew.
    """

    ratio: float
    samples: int
    model: str

    @classmethod
    def start(cls, model: str) -> Calibration:
        """The calibration before the first report: the family's prior."""
        return cls(prior_ratio(model), 0, model)

    def updated(self, reported: int, raw: int) -> Calibration:
        """Learn from one report.

        Args:
            reported: Prompt tokens as the provider reports them, cached ones included.
            raw: Our count of the same prompt, system prompt and tool schemas included.

        Returns:
            The new calibration; the same one where either number is not positive.
        """
        if reported <= 0 or raw <= 0:
            return self
        seen = min(_HIGHEST, max(_LOWEST, reported / raw))
        if self.samples >= 3:
            seen = min(self.ratio * _JUMP, max(self.ratio / _JUMP, seen))
        weight = max(1 / (self.samples + 1), _SLOWEST) * min(1.0, raw / _FULL_WEIGHT)
        return replace(self, ratio=self.ratio + weight * (seen - self.ratio), samples=self.samples + 1)


def estimate(report_tokens: int | None, raw_since: int, ratio: float) -> int:
    """Tokens a prompt will have: what was last reported, and the rest by the ratio.

    Args:
        report_tokens: The last report; `None` where there is none that still holds.
        raw_since: Raw tokens added since; of the whole prompt without a report.
        ratio: See `Calibration`.
    """
    return (report_tokens or 0) + math.ceil(raw_since * ratio)


def prior_ratio(model: str | None) -> float:
    """The ratio to assume before a model's first report.

    Claude from 4.7 on 1.4, earlier Claude 1.1: English chat, code and JSON came to 1.37,
    1.45 and 1.50, and to 1.00, 1.16 and 1.12, against o200k (ctok, 2026-11). Every other
    model 1.0: not measured, or OpenAI's own count.
    """
    if not model or "claude" not in model.lower():
        return 1.0
    version = claude_version(model)
    return 1.1 if version and version < (4, 7) else 1.4


_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")


def claude_version(model: str) -> tuple[int, int] | None:
    """Version in a Claude model's name (`claude-3-5-sonnet`, `claude-opus-4-8`); `None` if it has none."""
    found = _CLAUDE.search(model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else None
