"""Policies applied to a segment: each view is checked, and the context is built from the last valid one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from inspect import isawaitable
from itertools import groupby
from typing import Any, Final, cast

from ...errors import InvalidSetting
from ...events import Event
from ...telemetry import log
from ..blocks import MESSAGE_FRAME, Block
from ..view import Boundary, Context, Frame, Omission, build_context, room_for_events
from .boundaries import boundary_of
from .composing import Compose, Policies, Stage
from .horizon import Landmarks, are_local, have_windows, tails
from .pins import Pin
from .results import ClearToolResults, Offload
from .selection import DropRoles, Importance
from .views import Unit, View, view_of
from .windows import Age, Hybrid, KeepLast, TokenBudget, check_count

__all__ = ["Optimizer", "apply_policies", "build_with_policies"]

_SHORT: Final = 1000
"""Characters of a text whose tokens are remembered: with the most that are, at most 4 MB of text."""

Step = Callable[[View], View | Awaitable[View]]


@dataclass(frozen=True, slots=True)
class Optimizer(Stage):
    """A function of your own that makes the view smaller when it is too large, asked again until it is.

    It runs at every call while the view is above the threshold, since a reader records nothing: keep
    what is dear to compute. What it cannot do in `rounds`, a window of `target` tokens does.

    Args:
        function: A view in, a smaller view out; sync or async.
        above: Tokens above which it is asked.
        target: Tokens to reach; `None` for `above`.
        rounds: Most times it is asked for one context.

    Raises:
        InvalidSetting: A figure below 1, or a target above the threshold.
    """

    function: Step
    above: int
    target: int | None = None
    rounds: int = 3

    def __post_init__(self) -> None:
        check_count("above", self.above)
        check_count("rounds", self.rounds)
        if self.target is not None:
            check_count("target", self.target)
            if self.target > self.above:
                raise InvalidSetting(f"target={self.target!r} is above above={self.above!r}; lower it")

    async def apply(self, view: View) -> View:
        """The view within the target, as far as what is pinned allows."""
        if view.tokens <= self.above:
            return view
        target = self.target or self.above
        for _ in range(self.rounds):
            smaller = await _checked_step(self.function, view, policy="Optimizer.function")
            if smaller.tokens >= view.tokens:
                break
            view = smaller
            if view.tokens <= target:
                return view
        return TokenBudget(target).apply(view)


async def build_with_policies(
    events: Sequence[Event],
    *,
    session_id: str,
    frame: Frame,
    policies: Policies,
    budget: int | None = None,
    ratio: float = 1.0,
    count: Callable[[str], int],
    landmarks: Landmarks | None = None,
) -> Context:
    """Build a request from what the policies show of the open segment.

    As `build_context`; with a budget, a window over what the policies leave keeps it, and knows the pins.
    Only where pinned units and the newest turn alone exceed it, pinned units go too. What was left out
    by policies is reported as `policy`, what was rewritten as `cleared`. Without the segment's `landmarks`
    they are looked for, which takes time in proportion to it.

    Raises:
        TokenLimitExceeded: System prompt, tool schemas and the newest user message alone are larger.
        InvalidSetting: A budget below 1, or something that is no policy.
    """
    given = [Compose([policies])]
    room = 0 if budget is None else room_for_events(frame, budget, ratio)
    if room > 0:
        given.append(Compose([TokenBudget(room)]))
    landmarks = Landmarks.of(events) if landmarks is None else landmarks
    full, view, boundary = await _full_and_shown(events, given, count, landmarks)
    context = build_context(
        events,
        session_id=session_id,
        frame=frame,
        budget=budget,
        ratio=ratio,
        count=count,
        blocks=[block for _, unit in view.shown() for block in unit.blocks],
    )
    read = bisect_left(events, full.units[0].first_seq, key=lambda event: event.seq) if full.units else 0
    omitted = (*_unread(events, read, landmarks), *_omissions(full, view), *context.omitted)
    return replace(context, omitted=omitted, boundary=boundary)


async def _full_and_shown(
    events: Sequence[Event], given: Sequence[Compose], count: Callable[[str], int], landmarks: Landmarks
) -> tuple[View, View, Boundary | None]:
    """What the compositions show, of what, and where the first one's view begins.

    It is all of the segment, or a tail that holds what is shown. A budget for one call is no view change.
    """
    counted = _remembering(count)

    async def shown(part: Sequence[Event]) -> list[View]:
        views = [view_of(part, counted)]
        for composed in given:
            views.append(await apply_policies(composed, views[-1]))
        return views

    policies = [policy for composed in given for policy in composed]
    for tail in tails(events, policies, landmarks):
        views = await shown(tail)
        if not views[-1].units[0].shown:
            known = not views[1].units[0].shown or not have_windows(given[0])
            return views[0], views[-1], _boundary(views[1], given[0]) if known else None
    views = await shown(events)
    return views[0], views[-1], _boundary(views[1], given[0])


def _boundary(view: View, policies: Compose) -> Boundary:
    return boundary_of(view, in_order=are_local(policies))


async def apply_policies(policies: Policies, view: View) -> View:
    """The view after all policies.

    A policy that raises, or returns what is no valid request, is named in a log event and passed over.
    """
    for policy in Compose([policies]):
        name, proven = type(policy).__name__, type(policy) in _PROVEN
        view = await _checked_step(policy.apply, view, policy=name, proven=proven)
    return view


_PROVEN: Final = frozenset(
    {Age, ClearToolResults, DropRoles, Hybrid, Importance, KeepLast, Offload, Optimizer, Pin, TokenBudget}
)
"""Policies whose views hold to the rules for every log, as the tests show; a check may cost what they do."""


async def _checked_step(step: Step, view: View, *, policy: str, proven: bool = False) -> View:
    """The view after one step; the view itself if the step raised, or gave what is no valid request."""
    try:
        given = step(view if proven else _lent(view))
        returned = await given if isawaitable(given) else given
        if proven:
            return returned
        fault, texts = _compared(view, returned)
    except Exception as error:  # noqa: BLE001 - a policy may be the caller's own code
        log.exception("policy.failed", policy=policy, error=type(error).__name__)
        return view
    if fault is not None:
        log.warning("policy.rejected", policy=policy, reason_code=fault)
        return view
    # Built anew from what was recorded, so that nothing but the choices comes from the step.
    chosen = returned.units
    kept = view.rewrite(texts) if texts else view
    units = [
        unit.marked(shown=choice.shown, pinned=choice.pinned)
        if (unit.shown, unit.pinned) != (choice.shown, choice.pinned)
        else unit
        for unit, choice in zip(kept.units, chosen, strict=True)
    ]
    return replace(kept, units=tuple(units)).without(())


def _lent(view: View) -> View:
    """The view with messages of its own: what a step edits in place is then seen, and stays its own."""

    def own(block: Block) -> Block:
        return replace(block, messages=tuple([_copied(message) for message in block.messages]))

    units = [replace(unit, blocks=tuple(map(own, unit.blocks))) for unit in view.units]
    return replace(view, units=tuple(units))


def _copied(value: Any) -> Any:
    """JSON values with every container new."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_copied(item) for item in cast("list[Any]", value)]
    return value


def _compared(view: View, returned: object) -> tuple[str | None, dict[int, str]]:
    """Why a returned view cannot be used (`None` if it can), and the results that it rewrites."""
    if not isinstance(returned, View):
        return "no_view", {}
    if [unit.first_seq for unit in returned.units] != [unit.first_seq for unit in view.units]:
        return "units_changed", {}
    texts: dict[int, str] = {}
    for i, (before, after) in enumerate(zip(view.units, returned.units, strict=True)):
        if (before.pinned and not after.pinned) or (after.pinned and not after.shown):
            return "pin_lost", {}
        if i in view.newest and not after.shown:
            return "newest_left_out", {}
        found = _rewriting(before, after)
        if found is None or (found and before.pinned):
            return "message_changed", {}
        texts |= found
    return None, texts


def _rewriting(before: Unit, after: Unit) -> dict[int, str] | None:
    """The new texts of results, by seq; `None` if anything else differs."""
    texts: dict[int, str] = {}
    if [block.seqs for block in before.blocks] != [block.seqs for block in after.blocks]:
        return None
    for old, new in zip(before.blocks, after.blocks, strict=True):
        if len(old.messages) != len(new.messages):
            return None
        for i, (was, now) in enumerate(zip(old.messages, new.messages, strict=True)):
            if now == was:
                continue
            text: Any = now.get("content")
            if not i or not old.seqs[i] or not isinstance(text, str) or now != {**was, "content": text}:
                return None
            texts[old.seqs[i]] = text
    return texts


def _unread(events: Sequence[Event], read: int, landmarks: Landmarks) -> Iterator[Omission]:
    """What lies before the tail that was read; stand-ins and frames of notes are not counted."""
    if messages := landmarks.messages_before(events, read):
        first, last = events[0], events[read - 1]
        tokens = last.cumulative_tokens - first.cumulative_tokens + first.tokens
        yield Omission("policy", first.seq, last.seq, tokens + MESSAGE_FRAME * messages)


def _omissions(full: View, view: View) -> Iterator[Omission]:
    """One for each run of units left out, and for each unit with results rewritten."""
    both = list(zip(full.units, view.units, strict=True))
    for hidden, run in groupby(both, lambda pair: not pair[1].shown):
        units = list(run)
        if hidden:
            first, last = units[0][0].first_seq, max(unit.last_seq for unit, _ in units)
            yield Omission("policy", first, last, sum(unit.tokens for unit, _ in units))
            continue
        for before, after in units:
            if after.rewritten:
                saved = before.tokens - after.tokens
                yield Omission("cleared", min(after.rewritten), max(after.rewritten), saved)


@lru_cache(maxsize=4096)
def _remembered(count: Callable[[str], int], text: str) -> int:
    return count(text)


def _remembering(count: Callable[[str], int]) -> Callable[[str], int]:
    """The counter, which counts a short text once: the lines of cleared results are the same at each read."""

    def counted(text: str) -> int:
        return _remembered(count, text) if len(text) <= _SHORT else count(text)

    return counted
