"""The steps that make a history fit, the least harmful first. Pure: messages in, new lists out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from ...summary import ModelCall, Rejection
from .blocks import Message, is_plain_user, mark_of
from .estimate import Estimator
from .shrinking import Cut, clipped, cuts_of, pinned_in, stand_in

__all__ = ["Aim", "Draft", "Parting", "Reduced", "parting", "place", "squeeze", "stale_results"]

_CLIP_SHARE: Final = 0.25
"""Share of the budget that one tool result may take before it is cut down."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a reduction did to an agent's messages.

    Attributes:
        reason: `window`, `budget`, `threshold`, `overflow`, `stale_results`, or `segmented` (by a session).
        messages_before: Messages before.
        messages_after: Messages after.
        tokens_before: Estimated tokens of the whole request, system prompt and tool specs included; of a
            session's segmentation, of the messages alone.
        tokens_after: The same after it.
        removed: Messages of the conversation that are no longer shown.
        shortened: Messages whose tool results became stand-ins or were cut down.
        over_budget: The newest turn alone is larger than the budget; nothing more can be left out.
        summarized_by: Who wrote the summary that stands for what was removed; `None` if none does.
        rejections: Steps of the summarizer that failed.
        calls: Answered, and billed, requests to summary models.
    """

    reason: str
    messages_before: int
    messages_after: int
    tokens_before: int
    tokens_after: int
    removed: int = 0
    shortened: int = 0
    over_budget: bool = False
    summarized_by: str | None = None
    rejections: tuple[Rejection, ...] = ()
    calls: tuple[ModelCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """What a reduction is to reach.

    Attributes:
        reason: See `Reduced`.
        tokens: Most tokens of the request; `None` if they do not matter.
        keep_tokens: What is aimed at once messages must go: below `tokens`, so that the next call need not
            reduce again.
        window: Messages above which some must go; `None` for no limit.
        keep_messages: What is aimed at then.
        reserve: Tokens kept free for what stands for the rest.
    """

    reason: str
    tokens: int | None = None
    keep_tokens: int | None = None
    window: int | None = None
    keep_messages: int | None = None
    reserve: int = 0

    @property
    def enough(self) -> int | None:
        """Tokens at which the mild steps will do: half-way, so that not every call changes the prefix."""
        if self.tokens is None or self.keep_tokens is None:
            return self.tokens
        return (self.tokens + self.keep_tokens) // 2


@dataclass(slots=True)
class Draft:
    """A history in the making.

    Attributes:
        messages: As they stand.
        weigh: The estimator.
        fixed: Tokens of what goes with every request.
        stand_ins: Messages by id, and what may stand for them; outlives the draft.
        originals: What a shortened message was, by the id of its present form.
    """

    messages: list[Message]
    weigh: Estimator
    fixed: int
    stand_ins: dict[int, tuple[Message, Message | None]]
    originals: dict[int, Message] = field(default_factory=dict[int, Message])

    @property
    def tokens(self) -> int:
        """Tokens of the request as it stands."""
        return self.fixed + self.weigh.messages(self.messages)

    def original(self, message: Message) -> Message:
        """What the message was before it was shortened."""
        return self.originals.get(id(message), message)

    def shorten(self, index: int, form: Message) -> None:
        """Put a shorter form in place of a message."""
        self.originals[id(form)] = self.original(self.messages[index])
        self.messages[index] = form

    def stand_in(self, index: int) -> Message | None:
        """The message with stand-ins for its results, those of what it was at first."""
        message = self.original(self.messages[index])
        known = self.stand_ins.get(id(message))
        if known is None or known[0] is not message:
            caller = self.messages[index - 1] if index else {}
            known = self.stand_ins[id(message)] = (message, stand_in(message, caller, self.weigh.block))
        return known[1]

    @property
    def with_results(self) -> list[int]:
        """Indices of messages with tool results."""
        return [i for i, m in enumerate(self.messages) if m.get("role") == "user" and not is_plain_user(m)]


def stale_results(draft: Draft, after: int | None) -> int:
    """Put stand-ins for the results that at least `after` messages follow; how many messages changed."""
    if after is None:
        return 0
    pinned = pinned_in(draft.messages)
    changed = 0
    for i in draft.with_results:
        if i in pinned or i >= len(draft.messages) - after:
            continue
        if (form := draft.stand_in(i)) is not None:
            draft.shorten(i, form)
            changed += 1
    return changed


def squeeze(draft: Draft, aim: Aim, *, hard: bool = False) -> int:
    """Cut down tool results until the request fits; how many messages changed.

    Args:
        draft: Changed in place.
        aim: Where `tokens` is `None`, nothing is done.
        hard: The last resort, when nothing more can be left out: the largest first, as far as it takes, media
            included. Else the oldest first, and none below a quarter of the budget.
    """
    wanted = aim.tokens if hard else aim.enough
    if wanted is None or aim.tokens is None:
        return 0
    weigh = draft.weigh
    pinned = set[int]() if hard else pinned_in(draft.messages)
    order = draft.with_results
    if hard:
        order.sort(key=lambda i: -weigh.message(draft.messages[i]))
    changed, over = 0, draft.tokens - wanted
    for i in order:
        if over <= 0:
            break
        now = weigh.message(draft.messages[i])
        most = max(0, now - over) if hard else int(aim.tokens * _CLIP_SHARE)
        forms = [] if i in pinned else [clipped(draft.original(draft.messages[i]), most, weigh.block)]
        forms += [draft.stand_in(i)] if hard else []
        lighter = [form for form in forms if form is not None and weigh.message(form) < now]
        if lighter:
            form = next((f for f in lighter if weigh.message(f) <= most), lighter[-1])
            draft.shorten(i, form)
            over -= now - weigh.message(form)
            changed += 1
    return changed


def place(draft: Draft, aim: Aim) -> Cut | None:
    """The earliest cut that reaches the aim, the newest one if none does, `None` if none is needed."""
    messages, weigh = draft.messages, draft.weigh
    over_tokens = aim.enough is not None and draft.tokens > aim.enough
    over_window = aim.window is not None and len(messages) > aim.window
    if not (over_tokens or over_window):
        return None
    pinned = pinned_in(messages)
    weights = [weigh.message(message) for message in messages]
    behind = list(accumulate(reversed(weights), initial=0))[::-1]
    most = None if aim.keep_tokens is None else aim.keep_tokens - draft.fixed - aim.reserve
    cuts = [cut for cut in cuts_of(messages) if cut.at > 0]
    for cut in cuts:
        stays = {i for i in pinned if i < cut.at} | (set[int]() if cut.task is None else {cut.task})
        weight = behind[cut.at] + sum(weights[i] for i in stays)
        count = len(messages) - cut.at + len(stays)
        if (most is None or weight <= most) and (aim.keep_messages is None or count <= aim.keep_messages):
            return cut
    return cuts[-1] if cuts else None


@dataclass(frozen=True, slots=True)
class Parting:
    """What a cut does to the messages before it.

    Attributes:
        gone: The conversation's own messages that are left out, as they were at first.
        early: What stays before the summary: the seed of a session, what is pinned.
        summary: The summary so far, as messages.
        late: What stays behind it: the user's message of the running turn, what is pinned since.
        tail: The messages from the cut on.
    """

    gone: list[Message]
    early: list[Message]
    summary: list[Message]
    late: list[Message]
    tail: list[Message]


def parting(draft: Draft, cut: Cut) -> Parting:
    """Part the messages at a cut."""
    before = draft.messages[: cut.at]
    pinned = pinned_in(draft.messages)
    own = {i for i, message in enumerate(before) if mark_of(message) in ("summary", "gap")}
    stays = [i for i in range(cut.at) if (i in pinned or i == cut.task) and i not in own]
    task = cut.at if cut.task is None else cut.task
    return Parting(
        gone=[draft.original(m) for i, m in enumerate(before) if i not in own and i not in stays],
        early=[before[i] for i in stays if i < task],
        summary=[before[i] for i in sorted(own) if mark_of(before[i]) == "summary"],
        late=[before[i] for i in stays if i >= task],
        tail=draft.messages[cut.at :],
    )
