"""What an image costs, by each family's published formula.

Sources, read 2026-11: OpenAI "Images and vision", Anthropic "Vision", Google "Image understanding"
and "Media resolution". Checked against published measurements (data set JOHNISKING/image-token-cost
of 2026-10, ten sizes): equal for GPT-5.5, GPT-6, Claude 4.5 and 5.5 at every size that the measuring
client did not shrink first. Where a size is not known, or a document leaves a choice open, the larger
figure holds: an estimate that is too small overruns a window, one that is too large costs an early
segmentation and is corrected by the next reported usage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

__all__ = ["Size", "image_tokens", "page_tokens"]

Size = tuple[int, int]
"""Width and height in pixels."""

_PAGE: Final[Size] = (1275, 1650)
"""A letter page at 150 dots per inch."""
_PAGE_TEXT: Final = 1000
"""Tokens of text on a full page, sent beside its picture; about 700 words."""


class _Rule(Protocol):
    def tokens(self, size: Size | None, detail: str) -> int: ...


@dataclass(frozen=True, slots=True)
class _Tiles:
    """OpenAI's tile models: fit into 2048², short side to 768, then squares of 512."""

    base: int
    tile: int

    def tokens(self, size: Size | None, detail: str) -> int:
        if detail == "low":
            return self.base
        width, height = size or (768, 2048)
        width, height = _fit(width, height, 2048 / max(width, height))
        width, height = _fit(width, height, 768 / min(width, height))
        return self.base + self.tile * math.ceil(width / 512) * math.ceil(height / 512)


def _fit(width: int, height: int, scale: float) -> Size:
    return (max(1, round(width * scale)), max(1, round(height * scale))) if scale < 1 else (width, height)


@dataclass(frozen=True, slots=True)
class _Patches:
    """OpenAI's patch models: squares of 32, shrunk to a budget, times a factor.

    Attributes:
        percent: The factor, in hundredths.
        budget: Most patches an image may have.
        budgets: Budgets of single detail levels.
        low: Whether `low` means a picture fitted into 512²; older models ignore the level.
    """

    percent: int
    budget: int
    budgets: Mapping[str, int] = field(default_factory=dict[str, int])
    low: bool = False

    def tokens(self, size: Size | None, detail: str) -> int:
        budget = self.budgets.get(detail, self.budget)
        if self.low and detail == "low":
            width, height = size or (512, 512)
            size, budget = _fit(width, height, 512 / max(width, height)), 256
        patches = budget if size is None else _patches(*size, budget)
        return -(-patches * self.percent // 100)


def _patches(width: int, height: int, budget: int) -> int:
    """Patches of 32 pixels after shrinking to `budget`, by the steps OpenAI's guide gives.

    The API has been seen to bill the whole budget where this gives up to 6 % less
    (community.openai.com topic 1281361, 2025-06).
    """
    if (whole := math.ceil(width / 32) * math.ceil(height / 32)) <= budget:
        return whole
    scale = math.sqrt(budget / (width * height))
    across, down = width * scale, height * scale
    shrink = min(math.floor(across) / across, math.floor(down) / down)
    return min(budget, math.ceil(round(across * shrink, 6)) * math.ceil(round(down * shrink, 6))) or budget


@dataclass(frozen=True, slots=True)
class _Claude:
    """Anthropic: squares of 28, the picture shrunk to an edge and to a number of squares."""

    edge: int
    limit: int

    def tokens(self, size: Size | None, detail: str) -> int:  # noqa: ARG002  # Claude has no detail levels.
        if size is None:
            return self.limit
        long, short = max(size), min(size)
        low, high = 0, min(long, self.edge)
        while low < high:  # The longest edge whose squares stay within the limit.
            edge = (low + high + 1) // 2
            low, high = (edge, high) if self._squares(edge, short / long) <= self.limit else (low, edge - 1)
        return self._squares(low, short / long)

    @staticmethod
    def _squares(edge: int, ratio: float) -> int:
        return max(1, math.ceil(edge / 28)) * max(1, math.ceil(round(edge * ratio) / 28))


@dataclass(frozen=True, slots=True)
class _GeminiTiles:
    """Gemini up to 2.5: 258, or 258 for each tile of a picture over 384 pixels."""

    def tokens(self, size: Size | None, detail: str) -> int:  # noqa: ARG002  # Gemini 2 has no detail per image.
        width, height = size or (3072, 3072)
        if max(width, height) <= 384:
            return 258
        unit = min(768, max(256, math.floor(min(width, height) / 1.5)))
        return 258 * math.ceil(width / unit) * math.ceil(height / unit)


@dataclass(frozen=True, slots=True)
class _Levels:
    """Gemini from 3 on: a budget per media resolution, whatever the size."""

    budgets: Mapping[str, int]
    default: int

    def tokens(self, size: Size | None, detail: str) -> int:  # noqa: ARG002  # The budget alone decides.
        return self.budgets.get(detail, self.default)


_GEMINI_3: Final = _Levels({"low": 280, "medium": 560, "high": 1120, "ultra_high": 2240}, 1120)
_CLAUDE_STANDARD: Final = _Claude(1568, 1568)
_CLAUDE_LARGE: Final = _Claude(2576, 4784)
_TILES_4O: Final = _Tiles(85, 170)
_LARGE_BUDGETS: Final = {"high": 2500}

_OPENAI: Final[tuple[tuple[str, _Rule], ...]] = (
    ("gpt-4o-mini", _Tiles(2833, 5667)),
    ("gpt-4.1-mini", _Patches(162, 1536)),
    ("gpt-4.1-nano", _Patches(246, 1536)),
    ("gpt-4", _TILES_4O),  # 4o, 4.1, 4.5, 4-turbo
    ("chatgpt-4o", _TILES_4O),
    ("o4-mini", _Patches(172, 1536)),
    ("o1", _Tiles(75, 150)),
    ("o3", _Tiles(75, 150)),
    ("computer-use-preview", _Tiles(65, 129)),
    ("gpt-5.4-mini", _Patches(162, 1536, low=True)),
    ("gpt-5.4-nano", _Patches(246, 1536, low=True)),
    ("gpt-5-mini", _Patches(162, 1536)),
    ("gpt-5-nano", _Patches(246, 1536)),
    ("gpt-5.1-codex-mini", _Patches(162, 1536)),
    ("gpt-5.1", _Tiles(70, 140)),
    ("gpt-5.2", _Patches(120, 1536, low=True)),
    ("gpt-5.3", _Patches(120, 1536, low=True)),
    ("gpt-5.", _Patches(120, 10_000, _LARGE_BUDGETS, low=True)),
    ("gpt-5", _Tiles(70, 140)),
    # Measured without a budget up to 11,970 patches, a picture of 12 megapixels.
    ("gpt-6", _Patches(120, 12_000, _LARGE_BUDGETS, low=True)),
)
"""First match wins. 1.2 for GPT-5.2 and later is measured, not stated; GPT-5.4 mini and nano are taken to
be like their predecessors."""


def image_tokens(model: str | None, size: Size | None, detail: str | None = None) -> int:
    """Tokens of one image.

    Args:
        model: Whose formula; for an unknown one Claude's standard formula, which is
            the largest of the usual ones for a common picture (at most 1,568).
        size: Pixels; `None` gives the most that the family charges at this level.
        detail: `low`, `high`, `auto`, and where the family has them `original`,
            `medium`, `ultra_high`. Anything else counts as `auto`.
    """
    return _rule(model).tokens(size, detail or "auto")


def page_tokens(model: str | None) -> int:
    """Tokens of one page of a PDF: its text and its picture.

    Claude 3,000: the upper end of what Anthropic states (1,500 to 3,000, read 2026-11);
    measured 2,100 to 3,150 on full pages. Gemini 258, from version 3 on 560 (Google,
    "Document understanding"). Others send a picture beside the text and publish no sum:
    a letter page's picture plus 1,000.
    """
    rule = _rule(model)
    if rule in (_CLAUDE_STANDARD, _CLAUDE_LARGE) and "claude" in (model or "").lower():
        return 3000
    if isinstance(rule, _GeminiTiles):
        return 258
    return 560 if rule is _GEMINI_3 else rule.tokens(_PAGE, "auto") + _PAGE_TEXT


@lru_cache(maxsize=256)
def _rule(model: str | None) -> _Rule:
    name = (model or "").lower().rsplit("/", 1)[-1].removeprefix("ft:")
    if "claude" in name:
        from .calibration import claude_version

        version = claude_version(name)
        return _CLAUDE_STANDARD if version and version < (4, 7) else _CLAUDE_LARGE
    if found := re.search(r"gemini-(\d+)", name):
        return _GEMINI_3 if int(found[1]) >= 3 else _GeminiTiles()
    if "gemini" in name:
        return _GEMINI_3
    return next((rule for prefix, rule in _OPENAI if name.startswith(prefix)), _CLAUDE_STANDARD)
