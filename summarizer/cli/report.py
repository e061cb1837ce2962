"""Every figure that the commands print, computed from what the store holds. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from ..context.blocks import MESSAGE_FRAME
from ..events import Event, EventKind
from ..formats import canonical_json
from ..meter import Price, Usage, cost_of
from ..meter.counting import REPLY_PRIMING
from .recorder import Reading

__all__ = ["Found", "Handover", "Load", "Report", "report_on", "report_to_json"]

_PICO: Final = Decimal(10) ** -12


@dataclass(frozen=True, slots=True)
class Load:
    """What requests weigh, with segmentation and without.

    Attributes:
        with_tokens: Input tokens of what longsplice sends: system prompt, seed, open segment.
        without_tokens: Input tokens if the whole conversation were sent.
        with_usd: At the model's list price, no prompt cache; `None` if the price is unknown.
        without_usd: Likewise.
    """

    with_tokens: int
    without_tokens: int
    with_usd: Decimal | None
    without_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Handover:
    """One segment that was closed, and the seed that stands for it in the next.

    Attributes:
        index: Number of the closed segment, from 0.
        session_id: Its id.
        first_seq: First event of its range.
        last_seq: Last event of its range.
        messages: Messages in the range.
        tokens_in: Raw content tokens of the range.
        trigger: Why it was closed.
        writer: Who wrote the summary.
        rejections: Reasons for which a model's summaries were not taken, in order.
        seed_tokens: Raw tokens of the child's seed.
        tail_tokens: Raw tokens that crossed verbatim.
        seed: The seed's text.
        next_call: The call that follows.
    """

    index: int
    session_id: str
    first_seq: int
    last_seq: int
    messages: int
    tokens_in: int
    trigger: str
    writer: str
    rejections: tuple[str, ...]
    seed_tokens: int
    tail_tokens: int
    seed: str
    next_call: Load


@dataclass(frozen=True, slots=True)
class Found:
    """Whether the log holds every message of the transcript, unchanged and in order.

    Attributes:
        expected: Messages of the transcript, its system prompt included.
        found: Those that came back equal.
        missing: Positions in the transcript, from 1, of those that did not.
        made_up_calls: Calls made up for results that answered none; not counted above.
        made_up_results: Results made up for calls that nothing answered; not counted above.
    """

    expected: int
    found: int
    missing: tuple[int, ...]
    made_up_calls: int
    made_up_results: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one replay.

    Attributes:
        conversation_id: The root.
        session_id: The tip.
        model: The model whose prices and counts hold; `None` if none was named.
        counter: The tokenizer that counted.
        price_known: Whether the price table lists the model.
        messages: Messages in the log.
        tokens: Raw content tokens of the log.
        system_tokens: Raw tokens of the system prompt, which goes along with every call.
        segments: Sessions of the chain.
        open_messages: Messages of the open segment.
        open_tokens: Their raw tokens.
        skipped: Reasons for which a due segmentation did not happen.
        handovers: One for each closed segment.
        model_calls: Answers of the host's model in the log: each stands for one call.
        all_calls: All of them added up.
        next_call: The call that would come now.
        summary_calls: Requests to summary models.
        summary_tokens: Their input and output.
        summary_usd: What they cost; `None` unless all of it is known.
        found: The check against the transcript.
        context_tokens: Tokens of the context below.
        context: The messages that a model would be sent now.
    """

    conversation_id: str
    session_id: str
    model: str | None
    counter: str
    price_known: bool
    messages: int
    tokens: int
    system_tokens: int
    segments: int
    open_messages: int
    open_tokens: int
    skipped: tuple[str, ...]
    handovers: tuple[Handover, ...]
    model_calls: int
    all_calls: Load
    next_call: Load
    summary_calls: int
    summary_tokens: int
    summary_usd: Decimal | None
    found: Found
    context_tokens: int
    context: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Weighs a request from the log's running totals.

    `tokens[i]` and `messages[i]` are the totals up to and with the event `i + 1`.
    """

    tokens: Sequence[int]
    messages: Sequence[int]
    system_tokens: int
    has_system: bool
    ratio: float
    price: Price | None

    def weigh(self, upto: int, cut: int, seed_tokens: int) -> Load:
        """The request after event `upto`, with the segment behind `cut` and with everything."""
        frames = self._total(self.messages, upto) + self.has_system
        without = self.system_tokens + self._total(self.tokens, upto) + MESSAGE_FRAME * frames
        folded = self._total(self.tokens, cut) + MESSAGE_FRAME * self._total(self.messages, cut)
        seed = seed_tokens + MESSAGE_FRAME if seed_tokens else 0
        return self._load(without - folded + seed + REPLY_PRIMING, without + REPLY_PRIMING)

    def as_sent(self, load: Load, tokens: int) -> Load:
        """The load with the weight of the context itself, which holds stand-ins for results still to come."""
        without = load.without_tokens + max(0, tokens - load.with_tokens)
        return Load(tokens, without, self._usd(tokens), self._usd(without))

    def _load(self, with_raw: int, without_raw: int) -> Load:
        with_tokens, without_tokens = math.ceil(with_raw * self.ratio), math.ceil(without_raw * self.ratio)
        return Load(with_tokens, without_tokens, self._usd(with_tokens), self._usd(without_tokens))

    def _usd(self, tokens: int) -> Decimal | None:
        return None if self.price is None else cost_of(Usage(tokens, 0), self.price)

    @staticmethod
    def _total(totals: Sequence[int], seq: int) -> int:
        return totals[seq - 1] if seq else 0


def report_on(reading: Reading, transcript: Sequence[Mapping[str, Any]], price: Price | None) -> Report:
    """Compute the report.

    Args:
        reading: What a cold store gave back.
        transcript: What was to be recorded.
        price: Of the model in the reading's settings; `None` if unknown.
    """
    settings, events, segments, context = reading.settings, reading.events, reading.segments, reading.context
    scale = _Scale(
        tokens=[event.cumulative_tokens for event in events],
        messages=list(accumulate(int(event.message is not None) for event in events)),
        system_tokens=settings["system_tokens"],
        has_system=settings["system_prompt"] is not None,
        ratio=context.ratio,
        price=price,
    )
    calls, final = _loads(events, scale)
    final = scale.as_sent(final, context.tokens)
    open_events = events[segments[-1].start_seq - 1 :]
    summary_calls = [call for event in events for call in event.data.get("model_calls", ())]
    return Report(
        conversation_id=segments[0].session_id,
        session_id=segments[-1].session_id,
        model=settings["model"],
        counter=settings["counter"],
        price_known=price is not None,
        messages=sum(event.message is not None for event in events),
        tokens=sum(event.tokens for event in events),
        system_tokens=settings["system_tokens"],
        segments=len(segments),
        open_messages=sum(event.message is not None for event in open_events),
        open_tokens=sum(event.tokens for event in open_events),
        skipped=tuple(e.data["reason_code"] for e in events if e.kind is EventKind.SKIPPED),
        handovers=_handovers(reading, scale),
        model_calls=len(calls),
        all_calls=_sum(calls, price),
        next_call=final,
        summary_calls=len(summary_calls),
        summary_tokens=sum(_summary_tokens(call) for call in summary_calls),
        summary_usd=_summary_usd(summary_calls),
        found=_found(reading, transcript),
        context_tokens=context.tokens,
        context=tuple(context.messages),
    )


def report_to_json(report: Report) -> dict[str, Any]:
    """JSON values; money as text, so that no digit is lost, and `None` for what is unknown."""
    return _plain(asdict(report))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _handovers(reading: Reading, scale: _Scale) -> tuple[Handover, ...]:
    created = {event.data["index"]: event for event in reading.events if event.kind is EventKind.SEGMENTED}
    found: list[Handover] = []
    for closed, child in zip(reading.segments, reading.segments[1:], strict=False):
        event = created[child.index]
        own = reading.events[closed.start_seq - 1 : closed.end_seq]
        cut, seed_tokens = event.data["cut"], event.data["seed_tokens"]
        found.append(
            Handover(
                index=closed.index,
                session_id=closed.session_id,
                first_seq=closed.start_seq,
                last_seq=cut,
                messages=sum(one.message is not None for one in own),
                tokens_in=sum(one.tokens for one in own),
                trigger=event.data["trigger"],
                writer=event.data["writer"],
                rejections=tuple(one["reason_code"] for one in event.data["rejections"]),
                seed_tokens=seed_tokens,
                tail_tokens=event.data["tail_tokens"],
                seed=(child.summary or {}).get("seed", ""),
                next_call=scale.weigh(event.seq, cut, seed_tokens),
            )
        )
    return tuple(found)


def _loads(events: Sequence[Event], scale: _Scale) -> tuple[list[Load], Load]:
    """The call behind each of the model's answers, and the one that would come now."""
    calls: list[Load] = []
    cut = seed_tokens = 0
    for event in events:
        if event.kind is EventKind.SEGMENTED:
            cut, seed_tokens = event.data["cut"], event.data["seed_tokens"]
        elif event.message is not None and event.message.role == "assistant" and _made_up(event) is None:
            calls.append(scale.weigh(event.seq - 1, cut, seed_tokens))
    return calls, scale.weigh(len(events), cut, seed_tokens)


def _sum(loads: Sequence[Load], price: Price | None) -> Load:
    known = price is not None and all(load.with_usd is not None for load in loads)
    return Load(
        sum(load.with_tokens for load in loads),
        sum(load.without_tokens for load in loads),
        sum((load.with_usd or Decimal(0) for load in loads), Decimal(0)) if known else None,
        sum((load.without_usd or Decimal(0) for load in loads), Decimal(0)) if known else None,
    )


def _summary_tokens(call: Mapping[str, Any]) -> int:
    usage: Mapping[str, int] = call.get("usage") or {}
    return (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)


def _summary_usd(calls: Sequence[Mapping[str, Any]]) -> Decimal | None:
    costs = [call.get("cost_pico") for call in calls]
    return None if None in costs else sum((cost * _PICO for cost in costs if cost is not None), Decimal(0))


def _made_up(event: Event) -> str | None:
    metadata: Mapping[str, Any] = event.data.get("metadata") or {}
    return metadata.get("made_up")


def _found(reading: Reading, transcript: Sequence[Mapping[str, Any]]) -> Found:
    messages = [event for event in reading.events if event.message is not None]
    made_up = [_made_up(event) for event in messages]
    held = [
        canonical_json(event.message.to_wire())
        for event, mark in zip(messages, made_up, strict=True)
        if event.message is not None and mark is None
    ]
    prompt = reading.settings["system_prompt"]
    if prompt is not None:
        held.insert(0, canonical_json({"role": "system", "content": prompt}))
    wanted = [canonical_json(_recorded(message)) for message in transcript]
    padded = [*held, *([None] * len(wanted))]
    missing = tuple(i for i, text in enumerate(wanted, 1) if text != padded[i - 1])
    return Found(
        expected=len(wanted),
        found=len(wanted) - len(missing),
        missing=missing,
        made_up_calls=made_up.count("call"),
        made_up_results=made_up.count("result"),
    )


def _recorded(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message without what is kept beside it: an answer's usage and model are the event's own data."""
    if message.get("role") != "assistant":
        return message
    return {key: value for key, value in message.items() if key not in ("usage", "model")}
