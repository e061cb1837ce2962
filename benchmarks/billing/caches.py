"""How providers keep the beginnings of prompts, and what of a prompt they therefore charge at which rate.

A prompt is a row of blocks: each text, each tool call, each tool result is one. Two blocks are the same if
they are equal to the last character; a block that differs anywhere counts as new from its beginning, which
understates what is read by at most one block a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Protocol

__all__ = ["BreakpointCache", "Cache", "PrefixCache", "Prompt", "Split"]

_LOOK_BACK: Final = 20
"""Blocks that Anthropic searches back from a breakpoint, itself included (prompt caching guide, 2026-11)."""
_MOST_MARKS: Final = 4


@dataclass(frozen=True, slots=True)
class Split:
    """Tokens of one prompt by rate.

    Attributes:
        read: Read from the cache.
        written: Written to it.
        plain: Neither.
    """

    read: int
    written: int
    plain: int


class Prompt:
    """A prompt as a cache sees it.

    Args:
        blocks: Key and tokens of each block, in order.
        marks: Breakpoints: how many blocks stand before each, ascending.
    """

    def __init__(self, blocks: Sequence[tuple[object, int]], marks: Sequence[int] = ()) -> None:
        self.digests = list(accumulate((key for key, _ in blocks), lambda a, b: hash((a, b)), initial=0))
        """Of the first n blocks, at n."""
        self.ends = list(accumulate((tokens for _, tokens in blocks), initial=0))
        """Tokens of the first n blocks, at n."""
        self.marks = tuple(marks[-_MOST_MARKS:])

    def marked(self, marks: Sequence[int]) -> Prompt:
        """The same with other breakpoints."""
        same = copy(self)
        same.marks = tuple(marks[-_MOST_MARKS:])
        return same

    @property
    def tokens(self) -> int:
        """Tokens of the whole."""
        return self.ends[-1]


class Cache(Protocol):
    """A provider's cache, for one customer."""

    def send(self, prompt: Prompt, at: float) -> Split:
        """What the provider charges for a prompt sent at a time, in seconds; times never go back."""
        ...


@dataclass(slots=True)
class PrefixCache:
    """OpenAI's: any beginning of a request that was sent before, in whole steps, at no price for writing.

    Attributes:
        minimum: Least tokens of a prefix that is kept.
        step: Tokens in which it grows beyond that.
        lifetime_s: Seconds it is kept after its last use. The guide says 5 to 10 minutes without use, at most
            an hour (prompt caching guide, 2026-11); five is the least favourable of these.
    """

    minimum: int = 1024
    step: int = 128
    lifetime_s: float = 300
    _sent: list[tuple[float, list[int]]] = field(default_factory=list)

    def send(self, prompt: Prompt, at: float) -> Split:
        """See `Cache`."""
        self._sent = [(then, digests) for then, digests in self._sent if at - then <= self.lifetime_s]
        shared = [_common(digests, prompt.digests) for _, digests in self._sent]
        read = self._whole_steps(prompt.ends[max(shared, default=0)])
        # A request that this one continues says nothing that this one does not.
        kept = zip(self._sent, shared, strict=True)
        self._sent = [sent for sent, common in kept if common < len(sent[1]) - 1]
        self._sent.append((at, prompt.digests))
        return Split(read, 0, prompt.tokens - read)

    def _whole_steps(self, tokens: int) -> int:
        if tokens < self.minimum:
            return 0
        return self.minimum + (tokens - self.minimum) // self.step * self.step


def _common(old: Sequence[int], new: Sequence[int]) -> int:
    """How many blocks two prompts begin with alike; digests are of whole beginnings, so halving finds it."""
    low, high = 0, min(len(old), len(new)) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if old[middle] == new[middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(slots=True)
class BreakpointCache:
    """Anthropic's: beginnings that end at a breakpoint, written at a price and found from a later breakpoint.

    Attributes:
        minimum: Least tokens of a beginning that is kept, by model: 1,024, 2,048 or 4,096.
        lifetime_s: Seconds it is kept after its last use: 300, or 3,600 at a higher price for writing.
    """

    minimum: int = 1024
    lifetime_s: float = 300
    _used: dict[int, float] = field(default_factory=dict)

    def send(self, prompt: Prompt, at: float) -> Split:
        """See `Cache`."""
        marks = [mark for mark in prompt.marks if prompt.ends[mark] >= self.minimum]
        if not marks:
            return Split(0, 0, prompt.tokens)
        hit = max((self._found(prompt, mark, at) for mark in marks), default=0)
        for position in {hit, *marks} - {0}:
            self._used[prompt.digests[position]] = at
        read, kept = prompt.ends[hit], prompt.ends[marks[-1]]
        return Split(read, kept - read, prompt.tokens - kept)

    def _found(self, prompt: Prompt, mark: int, at: float) -> int:
        """The longest living entry that a breakpoint leads to; 0 if none."""
        for position in range(mark, max(0, mark - _LOOK_BACK), -1):
            used = self._used.get(prompt.digests[position])
            if used is not None and at - used <= self.lifetime_s:
                return position
        return 0
