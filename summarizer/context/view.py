"""The messages that a model is sent: system prompt, seed, the open segment, within a budget. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from ..config import WINDOW_STEP
from ..errors import InvalidSetting, TokenLimitExceeded
from ..events import Event
from ..meter.counting import REPLY_PRIMING
from .blocks import MESSAGE_FRAME, Block, arrange

__all__ = [
    "Boundary",
    "Context",
    "Frame",
    "Omission",
    "build_context",
    "raw_budget",
    "room_for_events",
    "room_of",
    "with_record",
]


_CLIPPED: Final = "\n[... shortened to fit, {} characters left out; recorded in full as event {} ...]\n"
_SEED_LEFT_OUT: Final = "[Notes on the earlier part of this conversation were left out to fit.]"
"""Stands for a seed that does not fit: the model learns of the gap, and a user message still comes first."""
_SEED_LEFT_OUT_TOKENS: Final = 20
"""Upper bound on its tokens under any table."""
_CLIP_FLOOR: Final = 200
"""Characters of a result that clipping leaves at least."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Something the log holds and this context does not.

    Attributes:
        reason_code: `budget` (older blocks left out), `clipped` (a result shortened), `seed` (the
            seed left out; a line that says so stands in its place), `policy` (left out by a context
            policy), `cleared` (results that a policy rewrote).
        first_seq: First event concerned, 0 for the seed.
        last_seq: Last event concerned.
        tokens: Raw tokens left out.
    """

    reason_code: str
    first_seq: int
    last_seq: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Boundary:
    """What policies leave out and rewrite of the open segment: equal boundaries, equal prefix.

    Attributes:
        first_seq: From this event on all is shown; 0 if nothing is left out.
        cleared_through: Newest result that was rewritten since the model first saw it; 0 if none was.
        others: Stands for what is shown before `first_seq` and, where results are not rewritten in their
            order, for which ones are; empty if there is nothing of the kind.
        tokens: Raw content tokens of the segment's events that are shown.
    """

    first_seq: int = 0
    cleared_through: int = 0
    others: str = ""
    tokens: int = field(default=0, compare=False)

    @property
    def is_whole(self) -> bool:
        """Whether all of the segment is shown, as it was at first sight."""
        return not (self.first_seq or self.cleared_through or self.others)


@dataclass(frozen=True, slots=True)
class Context:
    """A request's messages and what they weigh.

    Attributes:
        messages: OpenAI-shaped dicts, ready to send; yours to change.
        session_id: The tip that it shows.
        last_seq: Newest event it could have shown.
        tokens: What the model will count, estimated: the parts' sum times `ratio`, rounded up.
        parts: Raw tokens of `system`, `tools`, `seed`, `events`, `framing`, and of `recall`, `pages` and
            `memory` (the suffix of virtual memory) where there are any.
        ratio: The model's tokens per raw token, learned from reported usage; 1.0 for OpenAI models.
        budget: The limit that was kept, `None` for none.
        omitted: What was left out; empty if nothing.
        recalled: Seqs of the events of which the last message brings back passages; empty without recall.
        first_seq: Oldest event it could have shown.
        boundary: Where the view of its policies begins; `None` without policies, and where the budget alone
            decides that.
        volatile: Messages at the end that stand in this request alone, and would only cost in a cache.
        paged: Seqs of the events that stand whole on pages of virtual memory.
        seqs: Of each message the seq of the event it is of; 0 for the system prompt, the seed, and what
            stands in for a result that is missing or was put in for this request. A message may be a
            rewritten form of its event's.
    """

    messages: list[dict[str, Any]]
    session_id: str
    last_seq: int
    tokens: int
    parts: dict[str, int]
    ratio: float = 1.0
    budget: int | None = None
    omitted: tuple[Omission, ...] = ()
    recalled: tuple[int, ...] = ()
    first_seq: int = 1
    boundary: Boundary | None = None
    volatile: int = 0
    paged: frozenset[int] = frozenset()
    seqs: tuple[int, ...] = ()

    def shows(self, seq: int) -> bool:
        """Whether the event of this seq stands in it whole, if it is a message."""
        if seq in self.paged:
            return True
        if not self.first_seq <= seq <= self.last_seq:
            return False
        return not any(gone.first_seq <= seq <= gone.last_seq for gone in self.omitted)


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the segment's blocks in a request."""

    system_prompt: str | None = None
    system_tokens: int = 0
    tools_tokens: int = 0
    seed: str | None = None
    seed_tokens: int = 0


def build_context(
    events: Sequence[Event],
    *,
    session_id: str,
    frame: Frame,
    budget: int | None = None,
    ratio: float = 1.0,
    count: Callable[[str], int],
    blocks: Sequence[Block] | None = None,
) -> Context:
    """Build a request from the open segment.

    Without a budget everything is there. With one, older whole turns are left out first, in
    steps so that the prompt's prefix rarely changes; then older tool rounds of the newest turn;
    then the longest results of the newest round are shortened; then the seed is left out. Each is reported.

    Args:
        events: The open segment, in log order.
        session_id: The tip.
        frame: System prompt, tool schemas and seed with their raw tokens.
        budget: Most tokens as the model counts them, 1 or more.
        ratio: The model's tokens per raw token.
        count: The conversation's counter.
        blocks: What context policies show of the segment; `None` for all of it.

    Raises:
        TokenLimitExceeded: System prompt, tool schemas and the newest user message alone are larger.
        InvalidSetting: A budget below 1.

    Cost: O(events of the open segment).
    """
    blocks = arrange(events) if blocks is None else blocks
    if budget is None:
        return _context(blocks, frame, session_id, events, ratio=ratio, budget=None, omitted=())
    if budget < 1:
        raise InvalidSetting(f"max_tokens={budget!r}: use a whole number from 1, or None for no limit")
    raw = raw_budget(budget, ratio)
    for part in _frames(frame):
        room = raw - _fixed_tokens(part)
        fitted = _fit(blocks, room, count)
        if fitted is not None:
            kept, omitted = fitted
            if part.seed != frame.seed:
                omitted = (Omission("seed", 0, 0, frame.seed_tokens), *omitted)
            return _context(kept, part, session_id, events, ratio=ratio, budget=budget, omitted=omitted)
    newest = blocks[_newest_turn(blocks)].tokens if blocks else 0
    needed = math.ceil((newest + _fixed_tokens(replace(frame, seed=None))) * ratio)
    raise TokenLimitExceeded(max(needed, budget + 1), budget, "the system prompt with the newest turn")


def _context(
    blocks: Sequence[Block],
    frame: Frame,
    session_id: str,
    events: Sequence[Event],
    *,
    ratio: float,
    budget: int | None,
    omitted: tuple[Omission, ...],
) -> Context:
    messages: list[dict[str, Any]] = []
    if frame.system_prompt:
        messages.append({"role": "system", "content": frame.system_prompt})
    if frame.seed:
        messages.append({"role": "user", "content": frame.seed})
    seqs = [0] * len(messages)
    for block in blocks:
        messages += block.messages
        seqs += block.seqs
    framing = MESSAGE_FRAME * len(messages) + REPLY_PRIMING
    inner = MESSAGE_FRAME * sum(len(block.messages) for block in blocks)
    parts = {
        "system": frame.system_tokens,
        "tools": frame.tools_tokens,
        "seed": frame.seed_tokens if frame.seed else 0,
        "events": sum(block.tokens for block in blocks) - inner,
        "framing": framing,
    }
    tokens = math.ceil(sum(parts.values()) * ratio)
    first, last = (events[0].seq, events[-1].seq) if events else (1, 0)
    return Context(
        messages,
        session_id,
        last,
        tokens,
        parts,
        ratio,
        budget,
        omitted,
        first_seq=first,
        seqs=tuple(seqs),
    )


def room_of(context: Context, most: int) -> int:
    """Raw tokens of content that one more message may have within the context's budget, at most `most`."""
    if context.budget is None:
        return most
    left = raw_budget(context.budget, context.ratio) - sum(context.parts.values()) - MESSAGE_FRAME
    return max(0, min(most, left))


def with_record(context: Context, text: str, tokens: int, recalled: tuple[int, ...]) -> Context:
    """The context with a record in the user's role at its end, for this one request.

    All that stands before stays the same to the byte. `tokens` are the text's raw tokens.
    """
    framing = context.parts["framing"] + MESSAGE_FRAME
    parts = {**context.parts, "framing": framing, "recall": tokens}
    return replace(
        context,
        messages=[*context.messages, {"role": "user", "content": text}],
        tokens=math.ceil(sum(parts.values()) * context.ratio),
        parts=parts,
        recalled=recalled,
        volatile=context.volatile + 1,
        seqs=(*context.seqs, 0),
    )


def room_for_events(frame: Frame, budget: int, ratio: float) -> int:
    """Raw tokens that a budget leaves for the segment's blocks; may be negative."""
    return raw_budget(budget, ratio) - _fixed_tokens(frame)


def _fixed_tokens(frame: Frame) -> int:
    fixed = REPLY_PRIMING + frame.tools_tokens + frame.system_tokens
    fixed += MESSAGE_FRAME * bool(frame.system_prompt)
    return fixed + (frame.seed_tokens + MESSAGE_FRAME if frame.seed else 0)


def _frames(frame: Frame) -> tuple[Frame, ...]:
    """The frame, then the frame without its seed, should that be too much."""
    if not frame.seed or frame.seed_tokens <= _SEED_LEFT_OUT_TOKENS:
        return (frame,)
    return (frame, replace(frame, seed=_SEED_LEFT_OUT, seed_tokens=_SEED_LEFT_OUT_TOKENS))


def raw_budget(budget: int, ratio: float) -> int:
    """The most raw tokens whose estimate keeps within the budget."""
    raw = math.floor(budget / ratio)
    return raw if math.ceil(raw * ratio) <= budget else raw - 1


def _newest_turn(blocks: Sequence[Block]) -> int:
    """Index of the block that opens the newest turn; 0 if none does."""
    return next((i for i in range(len(blocks) - 1, -1, -1) if blocks[i].opens_turn), 0)


def _fit(
    blocks: Sequence[Block], room: int, count: Callable[[str], int]
) -> tuple[list[Block], tuple[Omission, ...]] | None:
    total = sum(block.tokens for block in blocks)
    if total <= room:
        return list(blocks), ()
    if not blocks or room <= 0:
        return None
    newest = _newest_turn(blocks)
    start = _window_start(blocks, newest, total, room)
    kept = list(blocks[start:])
    if sum(block.tokens for block in kept) > room:
        kept = _newest_rounds(kept, room)
    omitted = _left_out(blocks, kept)
    excess = sum(block.tokens for block in kept) - room
    if excess > 0:
        clipped = _clip(kept[-1], excess, count)
        if clipped is None:
            return None
        omitted = (
            *omitted,
            Omission("clipped", clipped.first_seq, clipped.last_seq, kept[-1].tokens - clipped.tokens),
        )
        kept[-1] = clipped
    return kept, omitted


def _window_start(blocks: Sequence[Block], newest: int, total: int, room: int) -> int:
    """Where the window opens: at a turn's start, moved in steps of a quarter of the room."""
    step = max(1, int(room * WINDOW_STEP))
    target = math.ceil((total - room) / step) * step
    dropped, last_fitting = 0, newest
    for i, block in enumerate(blocks):
        if i > newest:
            break
        if block.opens_turn and dropped >= total - room:
            if dropped >= target:
                return i
            last_fitting = i
        dropped += block.tokens
    return last_fitting


def _newest_rounds(turn: Sequence[Block], room: int) -> list[Block]:
    """The turn's user message and as many of its newest blocks as fit, one at least."""
    head = [turn[0]] if turn[0].opens_turn and len(turn) > 1 else []
    left = room - sum(block.tokens for block in head)
    tail: list[Block] = []
    for block in reversed(turn[len(head) :]):
        if tail and block.tokens > left:
            break
        left -= block.tokens
        tail.append(block)
    return [*head, *reversed(tail)]


def _left_out(blocks: Sequence[Block], kept: Sequence[Block]) -> tuple[Omission, ...]:
    """One omission for each run of blocks that are not kept."""
    held = {id(block) for block in kept}
    runs = [list(run) for gone, run in groupby(blocks, lambda block: id(block) not in held) if gone]
    return tuple(
        Omission("budget", run[0].first_seq, max(b.last_seq for b in run), sum(b.tokens for b in run))
        for run in runs
    )


def _clip(block: Block, excess: int, count: Callable[[str], int]) -> Block | None:
    """The block with its results shortened by at least `excess` tokens, `None` if they are too short."""
    if len(block.messages) < 2:
        return None
    messages = [dict(message) for message in block.messages]
    saved = 0
    texts = [i for i in range(1, len(messages)) if isinstance(messages[i]["content"], str)]
    for i in sorted(texts, key=lambda i: -len(messages[i]["content"])):
        text: str = messages[i]["content"]
        size = count(text)
        left = max(0, size - (excess - saved) - 40)
        keep = max(_CLIP_FLOOR, int(len(text) * left / max(1, size)))
        while keep < len(text):
            half = keep // 2
            short = (
                text[:half]
                + _CLIPPED.format(len(text) - 2 * half, block.first_seq)
                + text[len(text) - half :]
            )
            if size - count(short) >= excess - saved or keep <= _CLIP_FLOOR:
                messages[i]["content"] = short
                saved += max(0, size - count(short))
                break
            keep = max(_CLIP_FLOOR, keep * 3 // 4)
        if saved >= excess:
            return replace(block, messages=tuple(messages), tokens=block.tokens - saved)
    return None
