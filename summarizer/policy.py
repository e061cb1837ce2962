"""When a session is full, and how much of it stays. Pure: a head and settings in, decisions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final, Literal, Self

from .config import (
    FALLBACK_WINDOW,
    HARD_FACTOR,
    HARD_WAIT_S,
    LEASE_S,
    MINIMUM_GAIN,
    REPLY_RESERVE,
    SEED_SHARE,
    TAIL_SHARE,
)
from .economy import LEAST_SEED, Decision
from .errors import InvalidSetting
from .events import Event
from .stores.protocol import Head
from .units import Cut, safe_cuts

__all__ = [
    "Limits",
    "Plan",
    "Policy",
    "Skip",
    "Trigger",
    "due",
    "fullness",
    "limits_of",
    "plan",
    "request_size",
]


class Trigger(StrEnum):
    """Why a segmentation is due."""

    TOKENS = "tokens"
    HARD_LIMIT = "hard_limit"
    COST = "cost"
    COLD = "cold"
    TURNS = "turns"
    MANUAL = "manual"


_MUST_GAIN: Final = frozenset({Trigger.TOKENS, Trigger.HARD_LIMIT, Trigger.COST, Trigger.COLD})


@dataclass(frozen=True, slots=True)
class Policy:
    """When to segment and what to keep.

    Attributes:
        token_threshold: Soft limit: content tokens of seed and events (int, 1 or more), or a share of
            the model's window in (0, 1] (float), which measures system prompt and tool schemas too.
            `None`: tokens never trigger.
        max_turns: User messages since the segment was opened at which it is full; `None`: never.
        hard_factor: Hard limit over soft limit, 1 or more.
        tail_share: Most of the threshold that stays verbatim, in [0, 0.9].
        seed_share: Most of the threshold that the seed may take, in (0, 0.9].
        minimum_gain: Least share by which a segmentation by tokens shrinks the context, in [0, 0.9].
        on_hard_limit: `wait` for the summary until `hard_wait_s`, then extract; or `extract` at
            once. `None`: `wait` with a model, `extract` without.
        hard_wait_s: Seconds, above 0.
        lease_s: Seconds a claim lasts unless renewed, above 0.
        summary_mode: How a model is asked for the summary: `fenced` sends it the transcript, `live` extends
            the host's own request, which the provider has cached, if the summarizer has the host's model
            (see `docs/prompt-cache.md`). `auto`: as a policy that weighs costs decides, else `fenced`.
    """

    token_threshold: int | float | None = None
    max_turns: int | None = None
    hard_factor: float = HARD_FACTOR
    tail_share: float = TAIL_SHARE
    seed_share: float = SEED_SHARE
    minimum_gain: float = MINIMUM_GAIN
    on_hard_limit: Literal["wait", "extract"] | None = None
    hard_wait_s: float = HARD_WAIT_S
    lease_s: float = LEASE_S
    summary_mode: Literal["auto", "live", "fenced"] = "auto"

    def __post_init__(self) -> None:
        threshold = self.token_threshold
        if threshold is not None and not _good_threshold(threshold):
            raise InvalidSetting(
                f"token_threshold={threshold!r}: use a whole number of tokens from 1, "
                "or a share of the model's window in (0, 1]"
            )
        if self.max_turns is not None and not _is_count(self.max_turns):
            raise InvalidSetting(f"max_turns={self.max_turns!r}: use a whole number from 1, or None")
        for name, low, high in (
            ("hard_factor", 1, 100),
            ("tail_share", 0, 0.9),
            ("seed_share", 0.01, 0.9),
            ("minimum_gain", 0, 0.9),
            ("hard_wait_s", 0.001, 3600),
            ("lease_s", 0.05, 3600),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InvalidSetting(f"{name}={value!r}: use a number from {low} to {high}")
        if self.tail_share + self.seed_share > 1 - self.minimum_gain + 1e-9:
            raise InvalidSetting(
                f"tail_share {self.tail_share} plus seed_share {self.seed_share} leave less than the "
                f"minimum_gain {self.minimum_gain}; lower one of them"
            )
        if self.on_hard_limit not in (None, "wait", "extract"):
            raise InvalidSetting(f"on_hard_limit={self.on_hard_limit!r}: use 'wait', 'extract' or None")
        if self.summary_mode not in ("auto", "live", "fenced"):
            raise InvalidSetting(f"summary_mode={self.summary_mode!r}: use 'auto', 'live' or 'fenced'")

    @property
    def segments(self) -> bool:
        """Whether anything but a call by hand ever segments."""
        return self.token_threshold is not None or self.max_turns is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON, whole."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; keys of a newer version are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in value.items() if k in known})

    def without_triggers(self) -> Self:
        """The same with no trigger but a call by hand."""
        return replace(self, token_threshold=None, max_turns=None)


@dataclass(frozen=True, slots=True)
class Limits:
    """A policy in tokens, for one model.

    Attributes:
        soft: Where segmentation becomes due; `None` if tokens never trigger.
        hard: Where no turn goes on without it.
        of_window: Whether the limits measure the whole request (a share of the window) or seed and events.
        basis: What tail and seed are shares of.
    """

    soft: int | None
    hard: int | None
    of_window: bool
    basis: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to cut, and how large the seed may be.

    Attributes:
        cut: The position.
        tail_tokens: Raw tokens of the events behind it.
        seed_budget: Most raw tokens of the new seed.
        before_tokens: Raw tokens of the old seed and the open segment.
        summary_mode: How a model is asked for the summary: about the `fenced` transcript, or by a request
            that extends the `live` one, which the provider has cached.
    """

    cut: Cut
    tail_tokens: int
    seed_budget: int
    before_tokens: int
    summary_mode: Literal["fenced", "live"] = "fenced"


@dataclass(frozen=True, slots=True)
class Skip:
    """No segmentation now: `nothing_to_cut` (no safe position) or `no_gain` (it would not shrink enough)."""

    reason_code: str
    detail: str


def limits_of(policy: Policy, *, window: int | None = None, reply: int | None = None) -> Limits:
    """The policy's limits in tokens.

    Args:
        policy: The policy.
        window: The model's context window; unknown is taken as `config.FALLBACK_WINDOW` for a share.
        reply: Tokens to keep free for the reply; unknown is `config.REPLY_RESERVE`.
    """
    threshold = policy.token_threshold
    if threshold is None:
        return Limits(None, None, False, None)
    of_window = isinstance(threshold, float)
    room = window if window is not None else (FALLBACK_WINDOW if of_window else None)
    soft = max(1, int(threshold * (room or 1))) if of_window else int(threshold)
    hard = int(soft * policy.hard_factor)
    if room is not None:
        ceiling = max(1, room - min(reply if reply is not None else REPLY_RESERVE, room // 4))
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    return Limits(soft, hard, of_window, soft)


def fullness(head: Head, limits: Limits, *, fixed_tokens: int, ratio: float, model: str | None) -> int:
    """How full the context is, in the terms of `limits`.

    An absolute limit measures raw tokens of seed and events. A share of the window measures
    the request as the model counts it: what the provider last reported plus `ratio` times
    the raw tokens since, or, where there is no report of this model since the segment was
    opened, `ratio` times everything.

    Args:
        head: The head.
        limits: The limits.
        fixed_tokens: Raw tokens of system prompt, tool schemas and framing.
        ratio: The model's tokens per raw token.
        model: The host's model; a report by another does not count.
    """
    if not limits.of_window:
        return head.seed_tokens + head.segment_tokens
    return request_size(head, fixed_tokens=fixed_tokens, ratio=ratio, model=model)


def request_size(head: Head, *, fixed_tokens: int, ratio: float, model: str | None) -> int:
    """Tokens of the whole request as the model counts them; see `fullness`."""
    report = head.report
    if report is not None and report["index"] == head.index and model in (None, report["model"]):
        return int(report["tokens"] + ratio * max(0, head.total_tokens - head.report_total))
    return int(ratio * (head.seed_tokens + head.segment_tokens + fixed_tokens))


def due(
    head: Head,
    policy: Policy,
    limits: Limits,
    full: int,
    *,
    turn_is_open: bool = False,
    decision: Decision | None = None,
) -> Trigger | None:
    """Why a segmentation is due; `None` if it is not. From the head alone, unless the policy weighs costs.

    It is never due before a new message came since the segment was opened or a
    segmentation was skipped.

    Args:
        head: The head.
        policy: The policy.
        limits: The policy's limits for the model.
        full: See `fullness`.
        turn_is_open: The newest turn still runs, so it does not count as a turn.
        decision: What pays, of a policy that weighs costs.
    """
    if head.message_seq <= max(head.opened_seq, head.skipped_seq):
        return None
    if limits.hard is not None and full >= limits.hard:
        return Trigger.HARD_LIMIT
    if limits.soft is not None and full >= limits.soft:
        return Trigger.TOKENS
    if decision is not None and decision.due is not None:
        return Trigger(decision.due)
    turns = head.counters.user_messages - head.opened_turns - turn_is_open
    if policy.max_turns is not None and turns >= policy.max_turns:
        return Trigger.TURNS
    return None


def plan(
    head: Head,
    events: Sequence[Event],
    policy: Policy,
    limits: Limits,
    trigger: Trigger,
    *,
    decision: Decision | None = None,
) -> Plan | Skip:
    """Choose the cut and the seed's budget.

    Takes the earliest safe cut whose tail keeps within its share, a border between turns
    before one inside a turn. The seed gets its share, less where a larger tail (an open call, a long
    newest message) would else undo the gain. Where the gain leaves less than both shares (most of the
    window is system prompt and tools), they shrink alike. Where a seed so small that it says nothing would
    stand alone, the newest turn stays verbatim instead.

    Open calls stay in the child. Where that alone would let the segment outgrow its hard limit (or
    `hard_factor` times `max_turns`), those that an answered user message overtook are left behind.

    With a `decision` (of a policy that weighs costs) the shares are its numbers of tokens, and where no
    border fits its tail, the newest unit stays verbatim if the seed finds room beside it.
    """
    before = head.seed_tokens + head.segment_tokens
    shares = _shares(policy, limits.basis if limits.basis is not None else before, decision)
    gain = policy.minimum_gain if trigger in _MUST_GAIN else 0.0
    planned = _plan(head, events, safe_cuts(events), shares, gain)
    if isinstance(planned, Skip) and _pressed(head, policy, trigger):
        planned = _plan(head, events, safe_cuts(events, leave_overtaken=True), shares, gain)
    if isinstance(planned, Skip):
        return planned
    if decision is not None:
        return replace(planned, summary_mode=decision.summary_mode)
    return replace(planned, summary_mode="live" if policy.summary_mode == "live" else "fenced")


@dataclass(frozen=True, slots=True)
class _Shares:
    """What tail and seed may take, in raw tokens; whether the newest unit stays where no tail fits."""

    tail: int
    seed: int
    newest_unit: bool

    def within(self, most: int) -> _Shares:
        """Both smaller alike, where they exceed what the segment may have at most."""
        whole = self.tail + self.seed
        if whole <= most:
            return self
        return replace(self, tail=most * self.tail // whole, seed=most * self.seed // whole)


def _shares(policy: Policy, basis: int, decision: Decision | None) -> _Shares:
    if decision is not None:
        return _Shares(decision.tail_tokens, decision.seed_tokens, newest_unit=True)
    return _Shares(int(basis * policy.tail_share), int(basis * policy.seed_share), newest_unit=False)


def _pressed(head: Head, policy: Policy, trigger: Trigger) -> bool:
    if trigger is Trigger.TURNS and policy.max_turns is not None:
        turns = head.counters.user_messages - head.opened_turns
        return turns >= policy.max_turns * policy.hard_factor
    return trigger is Trigger.HARD_LIMIT


def _plan(
    head: Head, events: Sequence[Event], safe: Sequence[Cut], shares: _Shares, gain: float
) -> Plan | Skip:
    first = next((event.seq for event in events if event.message is not None), head.last_seq + 1)
    cuts = [cut for cut in safe if cut.seq >= max(first, head.start_seq)]
    if not cuts:
        return Skip("nothing_to_cut", f"no finished unit in {len(events)} events from seq {head.start_seq}")
    before = head.seed_tokens + head.segment_tokens
    cumulative = {event.seq: event.cumulative_tokens for event in events}
    tail_of = {cut: head.total_tokens - cumulative[cut.seq] for cut in cuts}
    most = int((1 - gain) * before)
    fitting = shares.within(most) if gain else shares
    cut = _earliest(cuts, tail_of, fitting.tail)
    if not tail_of[cut]:
        if shares.newest_unit:
            cut = next((c for c in reversed(cuts) if 0 < tail_of[c] <= most - fitting.seed), cut)
        elif min(most, shares.seed) < LEAST_SEED:
            cut = next((c for c in reversed(cuts) if c.turn_border and 0 < tail_of[c] <= most), cut)
    tail = tail_of[cut]
    room = most - tail
    if room < 0 or (room == 0 and gain):
        return Skip("no_gain", f"{tail} of {before} tokens must stay; a gain of {gain:.0%} is out of reach")
    return Plan(cut, tail, min(room, shares.seed), before)


def _earliest(cuts: Sequence[Cut], tail_of: Mapping[Cut, int], tail_budget: int) -> Cut:
    fitting = [cut for cut in cuts if tail_of[cut] <= tail_budget]
    borders = [cut for cut in fitting if cut.turn_border]
    return (borders or fitting or cuts[-1:])[0]


def _good_threshold(threshold: object) -> bool:
    if isinstance(threshold, bool):
        return False
    if isinstance(threshold, float):
        return 0 < threshold <= 1
    return _is_count(threshold)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
