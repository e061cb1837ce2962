"""Which patterns matter for what is about to be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, log1p

from procedural.goals import goal_of
from procedural.patterns import Pattern

__all__ = ["recall"]


def recall(
    patterns: Sequence[Pattern], tool: str | None = None, goal: str | None = None, *, limit: int = 5
) -> tuple[Pattern, ...]:
    """Patterns in the order of their use for a tool and a goal.

    The tool's own comes first. Others follow if their past goals share words with this one, rare words
    counting more; among equals the one with more to say and more recent calls leads. Without a tool and
    a goal all are ranked by that alone.

    Args:
        patterns: To choose from.
        tool: About to be called.
        goal: What the user wants, in any words.
        limit: How many at most.
    """
    words = goal_of(goal)[1]
    rarity = {word: _rarity(word, patterns) for word in words}
    whole = sum(rarity.values())
    ranked: list[tuple[bool, float, float, str, Pattern]] = []
    for pattern in patterns:
        shared = sum(weight for word, weight in rarity.items() if word in pattern.goal_words)
        fit = shared / whole if whole else 0.0
        if pattern.tool_name == tool or fit > 0 or (tool is None and not words):
            ranked.append((pattern.tool_name != tool, -fit, -_weight(pattern), pattern.tool_name, pattern))
    ranked.sort(key=lambda entry: entry[:4])
    return tuple(pattern for *_, pattern in ranked[: max(0, limit)])


def _rarity(word: str, patterns: Sequence[Pattern]) -> float:
    having = sum(word in pattern.goal_words for pattern in patterns)
    return log(1 + len(patterns) / (1 + having)) if having else 0.1


def _weight(pattern: Pattern) -> float:
    """How much a pattern has to say: findings, then calls, less with age."""
    findings = (
        len(pattern.fixes) * 3 + len(pattern.drift) * 2 + len(pattern.arguments) + len(pattern.errors) / 2
    )
    return (findings + log1p(pattern.calls)) / (1 + pattern.age_days / 30)
