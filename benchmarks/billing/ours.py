"""Ours: `SessionManager` itself, its store in memory, segmenting inline: no figure depends on timing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from summarizer import CostAwarePolicy, Policy, SessionManager
from summarizer.errors import TokenLimitExceeded
from summarizer.recall import RECALL_SCHEMA
from summarizer.summary import LlmSummarizer
from summarizer.summary.llm import ModelReply, ModelRequest

from .contestants import Contestant, Entry, Ring
from .reader import texts_of

__all__ = ["ENTRIES"]

Wire = Mapping[str, Any]
_BEGIN: Final = datetime(2026, 11, 21, tzinfo=UTC)
_COUNTED_EXACTLY: Final = "gpt-4o-mini"
"""The host's model where its prices do not matter: our count of its tokens is the count of all here."""
_ROOM: Final = 0.9
"""Share of the room at which a segment closes: the newest message may be large, and still has to fit."""


@dataclass(slots=True)
class _Ours:
    ring: Ring
    manager: SessionManager
    recall: bool = False
    tool: bool = False
    model: str | None = None

    async def add(self, message: Wire, usage: Any = None) -> None:
        """See `Contestant`."""
        if usage is None or self.model is None:
            await self.manager.record(dict(message))
        else:
            await self.manager.record(dict(message), usage=usage, model=self.model)

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        budget = self.ring.budget
        if self.tool and budget is not None:
            budget -= self.ring.tokens.sent([_TOOL]).tokens
        try:
            context = await self.manager.context(budget, recall=self.recall)
        except TokenLimitExceeded as error:
            # One message larger than the budget: it goes all the same, as with every peer.
            context = await self.manager.context(error.needed)
        return [_TOOL, *context.messages] if self.tool else context.messages

    async def look_up(self, question: str) -> str:
        """What the recall tool answers, if the model has it."""
        return await self.manager.handle_recall({"query": question}) if self.tool else ""


_TOOL: Final[Wire] = {"role": "system", "content": json.dumps(RECALL_SCHEMA)}
"""Its schema is sent with each request, so it is paid for."""


def _made(
    ring: Ring,
    policy: Policy | None = None,
    *,
    asked: bool = False,
    live: bool = False,
    recall: bool = False,
    tool: bool = False,
    by_model: bool = False,
) -> Contestant:
    model = ring.model if by_model else _COUNTED_EXACTLY
    by_tokens = Policy(token_threshold=_threshold(ring), summary_mode="live" if live else "fenced")
    manager = SessionManager(
        store="memory://",
        model=model,
        system_prompt=ring.system_prompt or None,
        policy=policy or by_tokens,
        summarizer=LlmSummarizer([model], model_factory=lambda _: _Model(ring)) if asked else "extractive",
        segmentation="inline",
        tools=[RECALL_SCHEMA] if live else None,  # A live summary needs to know the tools.
        cache_control=True,
        clock=lambda: _BEGIN + timedelta(seconds=ring.now()),
    )
    return _Ours(ring, manager, recall, tool, ring.model if by_model else None)


def _threshold(ring: Ring) -> int:
    """Three quarters of the window (what `infinite_context=True` means), or what the budget leaves."""
    return int(ring.window * 0.75) if ring.budget is None else int(ring.room * _ROOM)


def _cost_aware(ring: Ring, **given: Any) -> Contestant:
    """The policy's defaults, its ceiling at the budget."""
    ceiling = 0.75 if ring.budget is None else int(ring.room * _ROOM)
    return _made(ring, CostAwarePolicy(token_threshold=ceiling), by_model=True, **given)


def _small(ring: Ring, **given: Any) -> Contestant:
    """Segments of 3,000 tokens with a tail and a seed of 300 at most: chosen by hand, with hindsight."""
    return _made(ring, Policy(token_threshold=3000, tail_share=0.1, seed_share=0.1), **given)


class _Model:
    """The scripted model in the shape our summarizer asks for: a narrative, and what the ledger lacks."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def complete(self, request: ModelRequest) -> ModelReply:
        """See `SummaryModel`."""
        ring = self._ring
        ring.bill_summary([_TOOL, *request.messages] if request.tools else request.messages)
        *before, asked = (message["content"] for message in request.messages)
        ledger, _, transcript = str(asked).rpartition(_TRANSCRIPT)
        known = {fact.text for line in ledger.splitlines() for fact in ring.reader.facts_in(line)}
        told = _of_transcript(transcript, ring) if ledger else _of_messages(before, ring)
        operations = [
            {"op": "add", "id": "", "kind": "fact", "text": text, "reason": "", **shown}
            for text, shown in told.items()
            if text not in known
        ]
        narrative = "The user and the assistant went through several requests."
        return ModelReply(
            json.dumps({"narrative": narrative, "operations": operations}), finish_reason="stop"
        )


_TRANSCRIPT: Final = "<<<TRANSCRIPT"


def _of_transcript(transcript: str, ring: Ring) -> dict[str, dict[str, Any]]:
    """Facts of a fenced transcript, each with the seq of its record."""
    found: dict[str, dict[str, Any]] = {}
    for line in transcript.splitlines():
        for fact in ring.reader.facts_in(line) if line.startswith("{") else ():
            found[fact.text] = {"sources": [json.loads(line)["seq"]]}
    return found


def _of_messages(messages: Sequence[Any], ring: Ring) -> dict[str, dict[str, Any]]:
    """Facts of a live request, each with the words that show it."""
    texts = [text for content in messages for text in texts_of({"content": content})]
    return {fact.text: {"quote": fact.text} for text in texts for fact in ring.reader.facts_in(text)}


ENTRIES: Final = (
    Entry("ours, extractive", _made, ours=True),
    Entry("ours, recall tool", partial(_made, tool=True), ours=True, swept=True),
    Entry("ours, recall in each request", partial(_made, recall=True), rounds="budget", ours=True),
    Entry("ours, model", partial(_made, asked=True), rounds="budget", ours=True),
    Entry("ours, model, live", partial(_made, asked=True, live=True, tool=True), rounds="budget", ours=True),
    Entry(
        "ours, cost-aware, recall tool", partial(_cost_aware, tool=True), by_model=True, ours=True, swept=True
    ),
    Entry("ours, small segments, recall tool", partial(_small, tool=True), rounds="budget", ours=True),
)
"""Where no summarizer is named it is the extractive one, which calls nothing."""
