"""One contestant, one transcript: every call made, billed, and looked at for what it still knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from summarizer.meter import Usage

from ..quality.planted import Planted
from .contestants import Contestant, Entry, LooksUp, Ring
from .meters import Meter, Sent, Tokens
from .reader import SUMMARY_TOKENS, Reader, holds, texts_of
from .transcripts import Pace, Step, Transcript

__all__ = ["WINDOW", "Replay", "replay"]

Wire = Mapping[str, Any]
WINDOW: Final = 128_000
"""The smallest window of the models billed; every contestant is told it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How a contestant fared.

    Attributes:
        name: The contestant.
        budgeted: Whether it was held to the common budget.
        transcript: What was replayed.
        meters: Its bills, one for each model, habit and pace.
        largest: Tokens of its largest request.
        summaries: Calls of the summary model.
        known: Planted facts that stood in the request which asked for them, after the last turn.
        visible: Values needed by calls that stood in the request which brought them.
        needed: Values needed by calls.
    """

    name: str
    budgeted: bool
    transcript: Transcript
    meters: Sequence[Meter]
    largest: int
    summaries: int
    known: int
    visible: int
    needed: int

    @property
    def recall(self) -> float:
        """Share of the planted facts that were known."""
        return self.known / len(self.transcript.planted)

    @property
    def evidence(self) -> float | None:
        """Share of the needed values that were visible; `None` if none were needed."""
        return self.visible / self.needed if self.needed else None


class _Run:
    """The clock, the meters and the summary model of one replay."""

    def __init__(
        self, transcript: Transcript, meters: Sequence[Meter], paces: Sequence[Pace], tokens: Tokens
    ) -> None:
        self.tokens = tokens
        self.reader = Reader(transcript.planted, tokens)
        self.meters = meters
        self.paces = {pace.name: pace for pace in paces}
        self.at = dict.fromkeys(self.paces, 0.0)
        self.largest = self.summaries = self.visible = self.needed = 0
        self.billing = True

    def pass_time(self, step: Step, number: int) -> None:
        for name, pace in self.paces.items():
            self.at[name] += pace.before(step, number)

    def now(self) -> float:
        """Seconds since the start, by the first pace: who asks is run for one pace only."""
        return next(iter(self.at.values()))

    def bill_summary(self, messages: Sequence[Wire]) -> None:
        """A call of the summary model; what is asked after the last turn is on nobody's bill."""
        if self.billing:
            self.summaries += 1
            sent = self.tokens.sent(messages)
            for meter in self.meters:
                meter.call(sent, SUMMARY_TOKENS, self.at[meter.pace], summary=True)

    def call(self, sent: Sent, output_tokens: int) -> Usage:
        """The model, billed; the usage that is reported where the breakpoints are those that were sent."""
        self.largest = max(self.largest, sent.tokens)
        usages: dict[str, Usage] = {}
        for meter in self.meters:
            usages[meter.habit] = meter.call(sent, output_tokens, self.at[meter.pace])
            meter.per_turn.append(float(meter.cost_usd))
        return usages.get("as sent") or usages["automatic"]


async def replay(
    entry: Entry,
    transcript: Transcript,
    *,
    budget: int | None,
    meters: Sequence[Meter],
    paces: Sequence[Pace],
    tokens: Tokens,
) -> Replay:
    """Replay a transcript through a contestant.

    Args:
        entry: The contestant.
        transcript: The conversation.
        budget: Most tokens of a request; `None`: the contestant's documented defaults.
        meters: Fresh ones; they hold the bills afterwards.
        paces: Those of the meters.
        tokens: The count of all.
    """
    run = _Run(transcript, meters, paces, tokens)
    ring = Ring(
        transcript.system_prompt,
        budget,
        WINDOW,
        meters[0].model,
        tokens,
        run.reader,
        run.bill_summary,
        run.now,
    )
    contestant = entry.enter(ring)
    for number, step in enumerate(transcript.steps):
        run.pass_time(step, number)
        for message in step.new:
            await contestant.add(message)
        messages = await contestant.request()
        usage = run.call(tokens.sent(messages), tokens.of_answer(step.answer))
        run.visible += _visible(step.needed, messages)
        run.needed += len(step.needed)
        await contestant.add(step.answer, usage)
    run.billing = False
    known = [await _asked(contestant, fact) for fact in transcript.planted]
    return Replay(
        entry.name, budget is not None, transcript, meters,
        run.largest, run.summaries, sum(known), run.visible, run.needed,
    )  # fmt: skip


async def _asked(contestant: Contestant, fact: Planted) -> bool:
    """Whether the request that asks for a fact holds it: its values, and in the same message a label.

    Or the answer of the recall tool, where the model has it, to one call with the question as the query.
    """
    await contestant.add({"role": "user", "content": fact.question})
    messages = await contestant.request()
    told = await contestant.look_up(fact.question) if isinstance(contestant, LooksUp) else ""
    await contestant.add({"role": "assistant", "content": "Let me see."})
    return holds(told, fact) or any(holds(text, fact) for message in messages for text in texts_of(message))


def _visible(values: Sequence[str], messages: Sequence[Wire]) -> int:
    if not values:
        return 0
    texts = [text for message in messages for text in texts_of(message)]
    return sum(any(value in text for text in texts) for value in values)
