"""How providers cache prompts: how long, from what size, and whether they do it by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["CacheRule", "cache_rule"]


@dataclass(frozen=True, slots=True)
class CacheRule:
    """A provider's prompt cache.

    Attributes:
        lifetime_s: Seconds a prefix surely outlives its last use; where a provider states a range,
            its lower end.
        minimum_tokens: Prompt below which nothing is cached.
        automatic: Whether requests are cached without being marked.
        long_lifetime_s: A longer life that can be bought, `None` if there is none.
        long_write: What its writes cost, in terms of the input price; 1.0 or more.
        source: Where this is stated, and when it was read.
    """

    lifetime_s: float
    minimum_tokens: int
    automatic: bool
    source: str
    long_lifetime_s: float | None = None
    long_write: float = 1.0


_ANTHROPIC: Final = CacheRule(
    300,
    1024,
    automatic=False,
    long_lifetime_s=3600,
    long_write=2.0,
    source="Anthropic's prompt caching guide, 2026-09: 5 minutes from the last use, or 1 hour for twice the "
    "input price; 512 to 4,096 tokens by model",
)
_OPENAI: Final = CacheRule(
    300,
    1024,
    automatic=True,
    long_lifetime_s=86_400,
    source="OpenAI's prompt caching guide, 2026-03: 5 to 10 minutes of inactivity, at most 1 hour; up to 24 "
    "hours on request",
)
_GEMINI: Final = CacheRule(
    300,
    4096,
    automatic=True,
    source="Gemini's caching guide, 2026-10: 4,096 tokens (2.5: 2,048); it states no lifetime for implicit "
    "caching, 5 minutes are our assumption",
)
_DEEPSEEK: Final = CacheRule(
    3600,
    1024,
    automatic=True,
    source="DeepSeek's context caching guide, 2026-11: on disk, kept for hours; 1 hour and 1,024 "
    "tokens are our assumption",
)
_BEDROCK: Final = CacheRule(
    300,
    1024,
    automatic=False,
    long_lifetime_s=3600,
    long_write=2.0,
    source="Amazon Bedrock's prompt caching guide, 2026-09: 5 minutes from the last use, 1 hour for some "
    "Claude models; 1,024 to 4,096 tokens by model",
)
_UNKNOWN: Final = CacheRule(
    300, 1024, automatic=True, source="no rule known for this provider; the shortest of the known lifetimes"
)

_BY_PROVIDER: Final[Mapping[str, CacheRule]] = {
    "anthropic": _ANTHROPIC,
    "openai": _OPENAI,
    "azure": _OPENAI,
    "gemini": _GEMINI,
    "vertex_ai": _GEMINI,
    "deepseek": _DEEPSEEK,
    "bedrock": _BEDROCK,
}
_BY_FAMILY: Final[Mapping[str, CacheRule]] = {
    "claude": _ANTHROPIC,
    "gpt-": _OPENAI,
    "gemini": _GEMINI,
    "deepseek": _DEEPSEEK,
}
_LARGER_MINIMUM: Final[Mapping[str, int]] = {
    "opus-4-5": 4096,
    "opus-4-6": 4096,
    "opus-4-7": 2048,
    "haiku-4-5": 4096,
    "haiku-3-5": 2048,
    "3-5-haiku": 2048,
    "gemini-2-5": 2048,
}
"""Of names that contain this, dots read as dashes; from the guides cited above."""


def cache_rule(model: str | None, provider: str | None = None) -> CacheRule:
    """The rule of a model's provider.

    Args:
        model: A litellm name; a prefix such as `bedrock/` goes before the family that the name tells.
        provider: Who serves it, in litellm's words; goes before the name.

    Returns:
        For a provider that is not listed, a cautious one, whose `source` says so.
    """
    name = (model or "").lower()
    said = (provider or name.partition("/")[0]).lower()
    found = next((rule for key, rule in _BY_PROVIDER.items() if said.startswith(key)), None)
    family = next((rule for key, rule in _BY_FAMILY.items() if key in name), None)
    if found is not _BEDROCK and family is _ANTHROPIC:  # Other clouds host it as Anthropic does.
        found = family
    rule = found or family or _UNKNOWN
    dashed = name.replace(".", "-")
    larger = next((least for key, least in _LARGER_MINIMUM.items() if key in dashed), None)
    if larger is None:
        return rule
    return replace(rule, minimum_tokens=larger)
