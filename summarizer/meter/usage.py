"""What one call was billed, in one shape for every provider.

Buckets are inclusive: cache reads and writes are part of `input_tokens`, reasoning is part of
`output_tokens`. Unknown is `None`, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar, cast

from summarizer.errors import InvalidSetting

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of several added up.

    Attributes:
        input_tokens: The whole prompt, cached or not.
        output_tokens: Everything generated, reasoning included.
        cache_read_tokens: Of the input, what came from the provider's cache.
        cache_creation_tokens: Of the input, what was written to it.
        reasoning_tokens: Of the output, what was thought and not said.
        cost_usd: What the host was told that the call cost; goes before our price list.

    Raises:
        InvalidSetting: A number is negative or no integer (it is a ValueError too).

    Addition: a bucket of a sum is known where it is known in both, else `None`. `Usage.NOTHING`
    is the neutral element. To add up many calls of which some are unknown, sum the known ones
    and keep their share beside the sum.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None

    NOTHING: ClassVar[Usage]

    def __post_init__(self) -> None:
        for name in _NAMES:
            _checked(name, getattr(self, name))
        if (cost := self.cost_usd) is not None and not (cost.is_finite() and cost >= 0):
            raise InvalidSetting(f"usage cost_usd={self.cost_usd!r} must be 0 or more, or None if unknown")

    def __add__(self, other: Usage) -> Usage:
        mine, others = self.cost_usd, other.cost_usd
        return Usage(
            **{name: _sum(getattr(self, name), getattr(other, name)) for name in _NAMES},
            cost_usd=None if mine is None or others is None else mine + others,
        )

    def to_dict(self) -> dict[str, int]:
        """The known buckets, ready for JSON."""
        return {name: value for name in _NAMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Usage:
        """Read what `to_dict` wrote; keys that are not buckets are ignored.

        Raises:
            InvalidSetting: A number is negative or no integer.
        """
        return cls(*(value.get(name) for name in _NAMES))

    @classmethod
    def from_response(cls, response: object) -> Usage | None:
        """Read the usage out of a provider's response, or out of its usage alone.

        Understood, as mappings and as objects: Chat Completions and litellm, OpenAI Responses,
        Anthropic Messages (whose `input_tokens` leave cached ones out; they are added here),
        Gemini `usageMetadata`, Bedrock Converse, and our own shape.

        Returns:
            `None` where there is no usage, as in a stream that was asked for none.

        Raises:
            InvalidSetting: A number is negative or no integer.
        """
        inner = (_get(response, key) for key in ("usage", "usageMetadata", "usage_metadata"))
        usage: object = next((found for found in inner if found is not None), response)
        if isinstance(usage, Usage):
            return usage
        return next((found for read in _READERS if (found := read(usage)) is not None), None)


_NAMES = tuple(f.name for f in fields(Usage) if f.name != "cost_usd")


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _get(value: object, *path: str) -> Any:
    """The value at a path of keys or attributes; `None` where it ends early."""
    for name in path:
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value).get(name)
        else:
            value = getattr(value, name, None)
        if value is None:
            return None
    return value


def _number(value: object, *paths: str) -> int | None:
    """The first number found; a path is written with dots."""
    for path in paths:
        found = _get(value, *path.split("."))
        if found is not None:
            return _checked(path, found)
    return None


def _checked(name: str, value: object) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise InvalidSetting(f"usage {name}={value!r} must be an integer of 0 or more, or None if unknown")


def _total(parts: Iterable[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _ours(usage: object) -> Usage | None:
    if all(_get(usage, name) is None for name in _NAMES[2:]):
        return None
    return Usage(**{name: _number(usage, name) for name in _NAMES}, cost_usd=None)


def _chat(usage: object) -> Usage | None:
    """Chat Completions and litellm; DeepSeek's cache hits and litellm's Anthropic fields beside."""
    prompt, output = _number(usage, "prompt_tokens"), _number(usage, "completion_tokens")
    if prompt is None and output is None:
        return None
    reasoning = _number(usage, "completion_tokens_details.reasoning_tokens")
    total = _number(usage, "total_tokens")
    if reasoning and output is not None and total == (prompt or 0) + output + reasoning:
        output += reasoning  # xAI reports reasoning beside the completion; the total gives it away.
    return Usage(
        prompt,
        output,
        _number(
            usage,
            "prompt_tokens_details.cached_tokens",
            "cache_read_input_tokens",
            "prompt_cache_hit_tokens",
        ),
        _number(
            usage,
            "prompt_tokens_details.cache_creation_tokens",
            "prompt_tokens_details.cache_write_tokens",
            "cache_creation_input_tokens",
        ),
        reasoning,
    )


def _gemini(usage: object) -> Usage | None:
    """Gemini leaves out what is 0; thoughts stand beside the candidates, tool prompts beside the prompt."""
    prompt = _number(usage, "promptTokenCount", "prompt_token_count")
    total = _number(usage, "totalTokenCount", "total_token_count")
    if prompt is None and total is None:
        return None
    prompt = _total((prompt, _number(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")))
    thoughts = _number(usage, "thoughtsTokenCount", "thoughts_token_count")
    output = _total((_number(usage, "candidatesTokenCount", "candidates_token_count"), thoughts))
    if output is None and prompt is not None and total is not None:
        output = max(0, total - prompt)
    read = _number(usage, "cachedContentTokenCount", "cached_content_token_count")
    return Usage(prompt, output, read, None, thoughts)


def _responses(usage: object) -> Usage | None:
    if _get(usage, "input_tokens_details") is None or _get(usage, "input_tokens") is None:
        return None
    return Usage(
        _number(usage, "input_tokens"),
        _number(usage, "output_tokens"),
        _number(usage, "input_tokens_details.cached_tokens"),
        _number(
            usage, "input_tokens_details.cache_write_tokens", "input_tokens_details.cache_creation_tokens"
        ),
        _number(usage, "output_tokens_details.reasoning_tokens"),
    )


def _anthropic(usage: object) -> Usage | None:
    """Anthropic and Bedrock: the prompt is what they call input, plus cache reads, plus cache writes."""
    fresh = _number(usage, "input_tokens", "inputTokens")
    output = _number(usage, "output_tokens", "outputTokens")
    if fresh is None and output is None:
        return None
    read = _number(usage, "cache_read_input_tokens", "cacheReadInputTokens")
    created = _number(usage, "cache_creation_input_tokens", "cacheWriteInputTokens")
    whole = None if fresh is None else _total((fresh, read, created))
    return Usage(whole, output, read, created, _number(usage, "output_tokens_details.thinking_tokens"))


Usage.NOTHING = Usage(0, 0, 0, 0, 0, Decimal(0))
_READERS = (_chat, _gemini, _ours, _responses, _anthropic)
