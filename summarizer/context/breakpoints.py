"""Where a request asks its provider to cache it: marks that the next request finds again. Pure.

A mark says: keep everything up to here. Providers that take marks (Anthropic, and Claude on Bedrock and
Vertex) find a kept prefix only where an earlier request had a mark, at most 20 content blocks before a mark
of the new one. So each request repeats the last mark of the one before it, which the messages themselves
give away: a request ended where the answer to it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from ..errors import InvalidSetting
from .blocks import PENDING

__all__ = ["MOST_BREAKPOINTS", "CacheControl", "breakpoints", "check_cache_control", "with_breakpoints"]

CacheControl = bool | Literal["5m", "1h"]
"""Whether to mark, and for how long the provider shall keep what is marked; `True`: as it does by default."""

MOST_BREAKPOINTS: Final = 4
"""Marks that one request may carry.
Source: Claude docs, "Prompt caching" (read 2026-11); litellm 1.106.2 passes them on uncounted."""


def check_cache_control(cache_control: object) -> None:
    """Refuse what is no `CacheControl`.

    Raises:
        InvalidSetting: Neither a bool nor `5m` nor `1h`.
    """
    if not isinstance(cache_control, bool) and cache_control not in ("5m", "1h"):
        raise InvalidSetting(f"cache_control={cache_control!r}: use True, False, '5m' or '1h'")


def with_breakpoints(
    messages: Sequence[dict[str, Any]], at: Iterable[int], cache_control: CacheControl = True
) -> list[dict[str, Any]]:
    """The messages with a mark at the end of some of them, which are copies; all text stays as it is.

    A mark stands in the last content part, and on the message itself where that is a tool's result: litellm
    1.106.2 copies a part of a result into `tool_result.content`, where Anthropic refuses the mark.

    Args:
        messages: In wire shape; not changed.
        at: Indices, as `breakpoints` gives them.
        cache_control: `True`, or the lifetime.
    """
    kind: dict[str, str] = {"type": "ephemeral"}
    if isinstance(cache_control, str):
        kind["ttl"] = cache_control
    marked = [*messages]
    for i in at:
        message = marked[i] = {**marked[i]}
        if message["role"] == "tool":
            message["cache_control"] = kind
            continue
        content = message["content"]
        parts: list[dict[str, Any]] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        )
        message["content"] = [*parts[:-1], {**parts[-1], "cache_control": kind}]
    return marked


def breakpoints(
    messages: Sequence[Mapping[str, Any]], head: Sequence[int] = (), volatile: int = 0
) -> tuple[int, ...]:
    """Indices of the messages to mark, ascending, four at most.

    The head keeps its marks whatever happens behind it. In the tail, the last message that stays is marked,
    and the one that was marked last by the request before. Where marks are left, so is the end of the turn
    before the newest.

    Args:
        messages: A request's messages, in wire shape.
        head: Indices of the messages that stay from request to request: system prompt, seed, pages.
        volatile: Messages at the end that stand in this request alone.

    Cost: O(messages), 60 microseconds for 1,000 (2026-11).
    """
    end = _stable_end(messages, len(messages) - volatile)
    start = max(head, default=-1) + 1
    marks = [i for i in head if i < end and _bears(messages[i], head=True)][: MOST_BREAKPOINTS - 2]
    for stop in _ends(messages, start, end):
        found = next((i for i in range(stop - 1, start - 1, -1) if _bears(messages[i])), None)
        if found is not None and found not in marks:
            marks.append(found)
        if len(marks) == MOST_BREAKPOINTS:
            break
    return tuple(sorted(marks))


def _stable_end(messages: Sequence[Mapping[str, Any]], end: int) -> int:
    """Where what may still change begins: the suffix, or a result that has not come yet."""
    awaited = (i for i in range(end) if messages[i]["content"] == PENDING)
    return next((i for i in awaited if messages[i]["role"] in ("tool", "function")), end)


def _ends(messages: Sequence[Mapping[str, Any]], start: int, end: int) -> list[int]:
    """Ends of prefixes worth a mark, the most useful first: of this request, of the one before, of the turn.

    A host that records each answer as it comes sent its last request just before the newest answer. One that
    records whole turns asks for a context that ends with an answer, and did so one turn before.
    """
    answer = _newest(messages, "assistant", start, end)
    turn = _newest(messages, "user", start, end)
    whole_turns = answer == end - 1
    return [end, turn, answer] if whole_turns else [end, answer, turn]


def _newest(messages: Sequence[Mapping[str, Any]], role: str, start: int, end: int) -> int:
    """Index of the newest message of a role; `start` if there is none."""
    return next((i for i in range(end - 1, start - 1, -1) if messages[i]["role"] == role), start)


_PLAIN: Final = frozenset({"role", "content", "name"})


def _bears(message: Mapping[str, Any], *, head: bool = False) -> bool:
    """Whether a mark at the message's end is accepted, and changes nothing else on its way to the provider.

    Empty text cannot be cached. Adapters move `system` messages out of the tail. Beside calls or
    reasoning the order of an assistant's blocks depends on whether its content is a text or a list.
    """
    role, content = message["role"], message["content"]
    if role == "tool":
        return bool(content)
    if role not in (("user", "assistant", "system") if head else ("user", "assistant")):
        return False
    if not message.keys() <= _PLAIN:
        return False
    if isinstance(content, str):
        return bool(content.strip())
    last: Mapping[str, Any] = content[-1] if content else {}
    if role == "user" and last.get("type") == "image_url":
        return True
    return last.get("type") == "text" and bool(str(last.get("text")).strip())
