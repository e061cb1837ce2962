"""What segmentations saved, from reported usage: the log in, sums out.

Booked are the segmentations of a policy that weighs costs. Each is compared with not having done it,
until the next one: every call since would have had a prompt longer by what was removed, which
would have come from the cache, or not, as the call's own prefix did. So nothing is said about a conversation
that never segments, which would cost more by far and end at its model's window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final, cast

from ..events import Event, EventKind
from ..meter import Usage
from .tariffs import Tariff

__all__ = ["Savings", "carried_record", "savings_of"]

_PICO: Final = Decimal(10) ** -12
_DATE: Final = re.compile(r"[-@]20\d\d-?\d\d-?\d\d$")
_MARGIN: Final = 128
"""Cached tokens beyond the fixed prefix that do not reach into the seed: frames, and OpenAI's step."""


@dataclass(frozen=True, slots=True)
class Savings:
    """What segmentations saved so far, in picodollars (1e-12 USD); in US dollars by the properties.

    Attributes:
        segmentations: Those that are booked.
        expected_pico: What those whose expectation is known were expected to save.
        unexpected: Those without a known expectation.
        saved_pico: What the calls since, as far as it is known, would have cost more; summaries not deducted.
        known_calls: Calls since whose saving is known.
        unknown_calls: Answers since without usage, or of a model other than the one that was priced.
        summary_pico: What the summaries cost, as far as it is known.
        unknown_summaries: Summary calls of unknown cost, those of the host's own summarizer among them.
        through: Seq up to which the log is counted.
    """

    segmentations: int = 0
    expected_pico: int = 0
    unexpected: int = 0
    saved_pico: int = 0
    known_calls: int = 0
    unknown_calls: int = 0
    summary_pico: int = 0
    unknown_summaries: int = 0
    through: int = 0

    @property
    def expected(self) -> Decimal | None:
        """What they were expected to save, summaries deducted; `None` unless all of it is known."""
        known = self.segmentations and not self.unexpected
        return self.expected_pico * _PICO if known else None

    @property
    def realized(self) -> Decimal | None:
        """What they did save, summaries deducted, negative where they lost; `None` unless all is known."""
        known = self.known_calls and not self.unknown_calls and not self.unknown_summaries
        return (self.saved_pico - self.summary_pico) * _PICO if known else None

    @property
    def estimated(self) -> Decimal:
        """The known part of `realized`."""
        return (self.saved_pico - self.summary_pico) * _PICO

    @property
    def coverage(self) -> float:
        """Share of the calls since whose saving is known, in [0, 1]."""
        calls = self.known_calls + self.unknown_calls
        return self.known_calls / calls if calls else 0.0

    def to_dict(self) -> dict[str, int]:
        """JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Savings:
        """The inverse of `to_dict`; keys of a newer version are left out."""
        return cls(**{f.name: value[f.name] for f in fields(cls) if f.name in value})


def savings_of(events: Sequence[Event]) -> Savings:
    """The savings up to the newest of these events.

    Args:
        events: An open segment, whole. The event that opened it carries the sums of the segments before.
    """
    opening = _opening(events)
    if opening is None:
        return Savings()
    stored: Mapping[str, Any] = opening.data.get("savings") or {}
    carried = Savings.from_dict(stored)
    carried_from, expected = stored.get("expected"), opening.data.get("expected")
    sums = _counted(carried, events, carried.through, opening.seq, carried_from, first=False)
    if expected is None:
        return replace(sums, through=events[-1].seq)
    sums = _booked(sums, opening, expected)
    return replace(_counted(sums, events, opening.seq, None, expected, first=True), through=events[-1].seq)


def carried_record(events: Sequence[Event]) -> dict[str, Any]:
    """What the next opening event must carry of this open segment: the sums, and how they go on.

    A call that is recorded while the summary is written belongs to the segment before.
    """
    opening = _opening(events)
    expected = None if opening is None else opening.data.get("expected")
    sums = savings_of(events)
    if expected is None and sums == Savings():
        return {}
    return {"savings": {**sums.to_dict(), "expected": expected}}


def _opening(events: Sequence[Event]) -> Event | None:
    return next((event for event in reversed(events) if event.kind is EventKind.SEGMENTED), None)


def _counted(
    sums: Savings,
    events: Sequence[Event],
    after_seq: int,
    until_seq: int | None,
    expected: Mapping[str, Any] | None,
    *,
    first: bool,
) -> Savings:
    """The sums with the calls of a range; `expected` is what was stored with the segmentation before them."""
    if expected is None:
        return sums
    for call, added, pause_s in _calls_of(events):
        if call.seq <= after_seq or (until_seq is not None and call.seq >= until_seq):
            continue
        if first and _was_under_way(call, expected):
            sums = _plus(sums, 0)
            continue
        at_once = first and expected["cache"] == "warm" and pause_s <= expected["lifetime_s"]
        tokens = round(expected["ratio"] * added) if at_once else None
        sums, first = _plus(sums, _saved(call, expected, tokens)), False
    return sums


def _was_under_way(call: Event, expected: Mapping[str, Any]) -> bool:
    """Whether the request was made before the child opened, with the long prompt."""
    usage = _usage_of(call, expected["model"])
    return usage is not None and (usage.input_tokens or 0) >= expected["before"]


def _calls_of(events: Sequence[Event]) -> Iterator[tuple[Event, int, float]]:
    """Each call, the raw tokens that were new to its prompt, and the seconds since the call before."""
    added, answered, asked = 0, None, None
    for event in events:
        if event.message is None:
            if event.kind is EventKind.SEGMENTED:
                answered = answered or event.at
        elif event.message.role == "assistant" and not event.data.get("synthetic"):
            pause_s = 0.0 if answered is None or asked is None else (asked - answered).total_seconds()
            yield event, added, pause_s
            added, answered, asked = event.tokens, event.at, None
        else:
            added += event.tokens
            asked = asked or event.at


def _booked(carried: Savings, opening: Event, expected: Mapping[str, Any]) -> Savings:
    calls = cast("Sequence[Mapping[str, Any]]", opening.data.get("model_calls", ()))
    costs = [call.get("cost_pico") for call in calls]
    if not calls and (opening.data["writer"] == "custom" or opening.data["rejections"]):
        # Neither the host's own summarizer nor a call that failed says what it cost.
        costs = [None]
    stated = expected["saving_pico"]
    return replace(
        carried,
        segmentations=carried.segmentations + 1,
        expected_pico=carried.expected_pico + (stated or 0),
        unexpected=carried.unexpected + (stated is None),
        summary_pico=carried.summary_pico + sum(cost for cost in costs if cost is not None),
        unknown_summaries=carried.unknown_summaries + costs.count(None),
    )


def _plus(sums: Savings, saved: float | None) -> Savings:
    if saved is None:
        return replace(sums, unknown_calls=sums.unknown_calls + 1)
    return replace(sums, known_calls=sums.known_calls + 1, saved_pico=sums.saved_pico + round(saved))


def _usage_of(event: Event, model: str | None) -> Usage | None:
    """What was reported, if it was the priced model that answered (a dated name of it included)."""
    named = event.data.get("model")
    if named is not None and model is not None and not _same_model(named, model):
        return None
    reported = event.data.get("usage")
    return None if reported is None or reported.get("input_tokens") is None else Usage.from_dict(reported)


def _same_model(named: str, model: str) -> bool:
    """Whether the names are equal but for the provider before and a date behind."""
    one, other = (_DATE.sub("", name.rpartition("/")[2]) for name in (named, model))
    return one == other


def _saved(event: Event, expected: Mapping[str, Any], added: int | None) -> float | None:
    """What a call would have cost more, `None` if it cannot be known.

    Args:
        event: The answer, with its usage.
        expected: What was stored with the segmentation.
        added: Tokens that were new to the prompt, if this is the first call since, in a warm cache.
    """
    usage, prices = _usage_of(event, expected["model"]), expected["prices_pico"]
    if usage is None or prices is None:
        return None
    tariff, removed = Tariff(**prices), expected["before"] - expected["after"]
    if expected["cache"] == "none":
        return removed * tariff.input
    if added is not None:
        return _saved_at_once(usage, tariff, removed, added)
    # What was removed stood where the seed stands, and was cached if the seed was.
    reached = (usage.cache_read_tokens or 0) > expected["fixed"] + _MARGIN
    return removed * (tariff.read if reached else tariff.write)


def _saved_at_once(usage: Usage, tariff: Tariff, removed: int, added: int) -> float:
    """The first call, in a warm cache: without the segmentation only what was added would be new to it."""
    prompt = usage.input_tokens or 0
    read, written = usage.cache_read_tokens or 0, usage.cache_creation_tokens or 0
    paid = read * tariff.read + written * tariff.write + max(0, prompt - read - written) * tariff.input
    added = min(added, prompt)
    return (prompt + removed - added) * tariff.read + added * tariff.write - paid
