"""Does the provider's prompt cache work? Read off reported usage, call by call. Pure.

A call should read what the call before it left in the cache. Where it does not, either something that is
known changed in between (the cache is cold, as it must be), or nothing did: three of those in a row are a
collapse. What cannot be judged is unknown: no figures, no caching, or a host that sends another context.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal, cast

from ..events import Event, EventKind
from ..meter import Usage, price_for, prior_ratio
from .caches import cache_rule

__all__ = ["CacheHealth", "Call", "calls_of", "health_of"]

Status = Literal["ok", "cold", "collapsed", "unknown"]

MISSES: Final = 3
"""Calls in a row that must miss before it is a collapse: providers promise no hit (OpenAI and Gemini route
requests by load, and say so in their guides, 2026-10)."""
MOST_CALLS: Final = 16
"""Newest calls that are looked at."""
_SHARE: Final = 0.5
"""Least share of the expected tokens that counts as a hit; steps and the newest turn cost some of them."""
_LOOKBACK: Final = 20
"""Blocks that Anthropic looks back from a mark (Claude docs, "Prompt caching", read 2026-11)."""

_OURS: Final = ("settings_changed", "tools_changed", "view_changed")
"""Changes that are the host's own doing: one is a cold call, one at each call is a collapse."""


@dataclass(frozen=True, slots=True)
class CacheHealth:
    """What the newest call shows.

    Attributes:
        status: `ok`; `cold` (not read, with a reason that passes); `collapsed` (not read three times
            in a row, or each time because of the same change); `unknown` (nothing to judge by).
        likely_cause: Why, as far as figures tell; `None` if `ok`. `cold`: `first_call`, `model_changed`,
            `segmented`, `view_changed`, `settings_changed`, `tools_changed`, `idle`, `below_minimum`,
            `missed` (nothing changed; not yet often enough). `collapsed`: `prefix_changed_outside` (a clock
            or a random word in the prompt, most likely), `lookback_exceeded` (more blocks between two
            marks than the provider looks back), `settings_changed`, `tools_changed`, `view_changed`.
            `unknown`: `no_calls`, `not_reported`, `not_cached`, `other_context`.
        expected_tokens: What the call should have read; `None` where nothing can be expected.
        reported_tokens: What it read; `None` if not reported.
        misses: Calls in a row that found less than they should.
    """

    status: Status
    likely_cause: str | None = None
    expected_tokens: int | None = None
    reported_tokens: int | None = None
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the host's model, as its answer was recorded.

    Attributes:
        at: When the answer was recorded.
        model: Who answered; `None` if not said.
        usage: What was reported.
        content: Raw content tokens of the log before the answer.
        size: Raw tokens of our context; `None` if not recorded.
        blocks: Messages and calls recorded since the call before.
        changes: What changed since then: `segmented`, `view_changed`, `settings_changed`, `tools_changed`.
        once: Of `size`, what stood in this request alone.
    """

    at: datetime
    model: str | None
    usage: Usage
    content: int = 0
    size: int | None = None
    blocks: int = 0
    changes: frozenset[str] = frozenset()
    once: int = 0


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: Literal["hit", "miss", "cold", "unknown"]
    cause: str | None = None
    expected: int | None = None

    @property
    def counts(self) -> bool:
        """Whether it is one of the calls that make a collapse."""
        return self.kind == "miss" or (self.kind == "cold" and self.cause in _OURS)


_CHANGES: Final = {
    EventKind.SEGMENTED: "segmented",
    EventKind.VIEW_CHANGED: "view_changed",
    EventKind.SETTINGS: "settings_changed",
}


def calls_of(events: Sequence[Event], most: int = MOST_CALLS) -> tuple[Call, ...]:
    """The newest calls whose usage was recorded, oldest first.

    Args:
        events: The open segment, in log order.
        most: Most calls.

    Cost: O(events of those calls).
    """
    found = list(islice((i for i in range(len(events) - 1, -1, -1) if events[i].data.get("usage")), most))
    calls: list[Call] = []
    before, known = found[-1] if len(found) == most else 0, _Known()
    for i in reversed(found):
        changes = {change for event in events[before : i + 1] if (change := known.change(event))}
        calls.append(_call(events[i], events[before:i], frozenset(changes)))
        before = i
    return tuple(calls)


class _Known:
    """System prompt and size of the tool list, as the log told them last."""

    def __init__(self) -> None:
        self._prompt: object = self
        self._tools: object = None

    def change(self, event: Event) -> str | None:
        """What the event changes of a request's beginning."""
        data, change = event.data, _CHANGES.get(event.kind)
        if event.kind is EventKind.SETTINGS:
            before, self._prompt = self._prompt, data["settings"].get("system_prompt")
            return None if before == self._prompt else change
        tools = _report(event).get("tools")
        if tools is not None:
            before, self._tools = self._tools, tools
            return "tools_changed" if before not in (None, tools) else change
        return change


def _report(event: Event) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", event.data.get("report") or {})


def _call(event: Event, since: Sequence[Event], changes: frozenset[str]) -> Call:
    messages = [each.message for each in since if each.message is not None]
    return Call(
        at=event.at,
        model=event.data.get("model"),
        usage=Usage.from_dict(event.data["usage"]),
        content=event.cumulative_tokens - event.tokens,
        size=_report(event).get("raw"),
        once=_report(event).get("once", 0),
        blocks=len(messages) + sum(len(message.tool_calls) for message in messages),
        changes=changes,
    )


def health_of(calls: Sequence[Call], *, lifetime_s: float | None = None) -> CacheHealth:
    """Judge the newest call by those before it.

    Args:
        calls: Of one conversation, oldest first; as `calls_of` gives them.
        lifetime_s: Seconds for which the provider keeps a prefix after its last use; `None`: by its rule.
    """
    if not calls:
        return CacheHealth("unknown", "no_calls")
    newest = _verdict(calls, len(calls) - 1, lifetime_s)
    reported = calls[-1].usage.cache_read_tokens
    if newest.kind == "hit":
        return CacheHealth("ok", None, newest.expected, reported)
    verdicts = [*(_verdict(calls, i, lifetime_s) for i in range(len(calls) - 1)), newest]
    streak = _streak(verdicts)
    misses = len(streak)
    if newest.counts and misses >= MISSES:
        cause = _cause(calls, verdicts, streak)
        return CacheHealth("collapsed", cause, newest.expected, reported, misses)
    if newest.kind == "unknown":
        return CacheHealth("unknown", newest.cause, newest.expected, reported)
    return CacheHealth("cold", newest.cause or "missed", newest.expected, reported, misses)


def _streak(verdicts: Sequence[_Verdict]) -> list[int]:
    """Indices of the misses since the last hit, newest first; what has to be cold is passed over."""
    streak: list[int] = []
    for i in range(len(verdicts) - 1, -1, -1):
        if verdicts[i].kind in ("hit", "unknown"):
            break
        if verdicts[i].counts:
            streak.append(i)
    return streak


def _cause(calls: Sequence[Call], verdicts: Sequence[_Verdict], streak: Sequence[int]) -> str:
    """The change that most of the misses share; where nothing known changed, the request changed outside."""
    known = Counter(cause for i in streak if (cause := verdicts[i].cause) is not None)
    if 2 * known.total() > len(streak):
        return known.most_common(1)[0][0]
    wide = all(calls[i].blocks > _LOOKBACK for i in streak)
    return "lookback_exceeded" if wide and _is_marked(calls) else "prefix_changed_outside"


def _verdict(calls: Sequence[Call], i: int, lifetime_s: float | None) -> _Verdict:
    call = calls[i]
    read, model = call.usage.cache_read_tokens, call.model
    if read is None or call.usage.input_tokens is None:
        return _Verdict("unknown", "not_reported")
    if not _caches(calls[: i + 1]):
        return _Verdict("unknown", "not_cached")
    before = next((j for j in range(i - 1, -1, -1) if calls[j].model == model), None)
    if before is None:
        return _Verdict("cold", "model_changed" if i else "first_call")
    expected = _expected(calls[before], call, _is_marked(calls[: i + 1]))
    if expected is not None and expected > 0 and read >= _SHARE * expected:
        return _Verdict("hit", None, expected)
    changes = frozenset[str]().union(*(each.changes for each in calls[before + 1 : i + 1]))
    kept_s = cache_rule(model).lifetime_s if lifetime_s is None else lifetime_s
    idle = (call.at - calls[before].at).total_seconds() > kept_s
    cause = _reason(calls[before], expected, changes, idle=idle)
    if cause is not None:
        return _Verdict("cold", cause, expected)
    if expected is None or not expected:
        return _Verdict("unknown", "not_cached" if expected == 0 else "not_reported")
    if _is_foreign(calls, i):
        return _Verdict("unknown", "other_context", expected)
    return _Verdict("miss", None, expected)


def _reason(before: Call, expected: int | None, changes: frozenset[str], *, idle: bool) -> str | None:
    """Why the cache must be cold, `None` if it should be warm."""
    least = cache_rule(before.model).minimum_tokens
    if (before.usage.input_tokens or 0) < least or (expected is not None and 0 < expected < least):
        return "below_minimum"
    if idle and "segmented" not in changes:
        return "idle"
    return next((cause for cause in ("segmented", *_OURS) if cause in changes), None)


def _is_marked(calls: Sequence[Call]) -> bool:
    """Whether writes to the cache are reported, as where requests mark what is to be kept."""
    return any(call.usage.cache_creation_tokens for call in calls)


def _expected(before: Call, call: Call, marked: bool) -> int | None:
    """What the call before left in the cache and this one repeats; `None` if not reported."""
    usage, prompt = before.usage, call.usage.input_tokens
    if usage.input_tokens is None or prompt is None:
        return None
    left = usage.input_tokens
    if marked:
        left = (usage.cache_read_tokens or 0) + (usage.cache_creation_tokens or 0)
    elif before.size:
        left -= left * before.once // before.size
    return min(left, prompt)


def _caches(calls: Sequence[Call]) -> bool:
    """Whether the newest call's model caches: it was seen to, or its prices say that it does by itself."""
    model = calls[-1].model
    own = [call.usage for call in calls if call.model == model]
    if any(usage.cache_read_tokens or usage.cache_creation_tokens for usage in own):
        return True
    price = price_for(model)
    stated = price is not None and price.rates.cache_read is not None and not price.rates.cache_creation
    return stated and cache_rule(model).automatic


_LESS: Final = 0.4
_MORE: Final = 4.0
_FRAME: Final = 16
_UNTOLD: Final = 4000
"""Reported over our own count: 1.0 to 2.4 (see `meter.calibration`), reasoning that is sent again beside; a
few tokens for each message; and what a host may add to each prompt without telling us."""


def _is_foreign(calls: Sequence[Call], i: int) -> bool:
    """Whether the host sends another context than ours: of another size, or growing at another pace.

    Pace is taken over the calls since the last known change, so that a prompt of steady size is found out.
    """
    call = calls[i]
    prompt, ratio = call.usage.input_tokens or 0, prior_ratio(call.model)
    if call.size is not None:
        ours = call.size * ratio
        if prompt < _LESS * ours or prompt > _MORE * ours + _UNTOLD:
            return True
    first, blocks = i, 0
    while first and not calls[first].changes and calls[first - 1].model == call.model:
        blocks += calls[first].blocks
        first -= 1
    start = calls[first]
    if first == i or start.usage.input_tokens is None:
        return False
    grown = prompt - start.usage.input_tokens
    ours = (call.content - start.content) * ratio
    slack = _FRAME * blocks
    return not _LESS * ours - slack <= grown <= _MORE * ours + slack
