"""Recorded agent runs: are the values that the next call needs still to be seen when it is made?

Evidence is a value of a tool call's arguments that an earlier tool result or user message holds as a whole
word: an id, a number, a path, an address, no prose. It counts where the conversation has outgrown the budget.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, cast

from summarizer import SessionManager, TokenLimitExceeded
from summarizer.meter import counter_for_model
from summarizer.stores.memory import MemoryStore

from ..agent_report.recordings import Ran, Run
from ..agent_report.recordings import Said as Spoken
from .judge import Share
from .selections import Bm25, Said, TextRank, can_rank, head_and_tail, keep_last

__all__ = ["Evidence", "needed_values", "weigh"]

_TELLING: Final = re.compile(r"[\w./@#:+-]{4,80}")
_LONGEST: Final = 60_000
"""Characters of a result that are recorded; a few of the recordings are larger."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one run gave at one budget.

    Attributes:
        shares: By method, of the needed values, how many are to be seen.
        gone: The same of those values that `keep last` does not show.
        calls: Calls that were looked at.
    """

    shares: dict[str, Share]
    gone: dict[str, Share]
    calls: int


async def weigh(run: Run, budget: int, *, ranks: bool = True) -> Evidence:
    """Replay a run through `SessionManager` and the other ways, and look before each call."""
    scene = _Scene(budget, ranks=ranks and can_rank())
    calls = 0
    for step in run.steps():
        if isinstance(step, Ran):
            values = needed_values(step.call.arguments, scene.source)
            if values and scene.tokens > budget:
                calls += 1
                await scene.look(values)
            await scene.ran(step)
        elif isinstance(step, Spoken) and step.role in ("user", "assistant"):
            await scene.said(step)
    scene.bm25.close()
    return Evidence(scene.shares, scene.gone, calls)


def needed_values(arguments: str, source: str) -> list[str]:
    """The values of a call's arguments that stand in what was read or told before."""
    try:
        leaves = list(_leaves(json.loads(arguments)))
    except ValueError:
        return []
    words = {word.strip(".:-+") for leaf in leaves for word in _TELLING.findall(leaf)}
    telling = [word for word in words if len(word) >= 4 and re.search(r"[\d_@/]", word)]
    return sorted(word for word in telling if _stands(word, source))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(cast("dict[str, object]", value).values())
    if isinstance(value, list):
        for child in cast("list[object]", value):
            yield from _leaves(child)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield str(value)


def _stands(word: str, text: str) -> bool:
    """Whether a text holds it as a whole word."""
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        at = text.find(word, at + 1)
    return False


class _Scene:
    def __init__(self, budget: int, *, ranks: bool) -> None:
        self.budget = budget
        self.count = counter_for_model(None).count
        self.manager = SessionManager(
            "run", store=MemoryStore(), token_threshold=budget, segmentation="inline", summarizer="extractive"
        )
        self.log: list[Said] = []
        self.bm25 = Bm25()
        self.ranking = TextRank(budget, self.count) if ranks else None
        self.tokens, self.source, self.question = 0, "", ""
        self.shares: dict[str, Share] = {}
        self.gone: dict[str, Share] = {}

    async def said(self, step: Spoken) -> None:
        if step.role == "user":
            await self.manager.user_says(step.text)
            self.source, self.question = f"{self.source}\n{step.text}", step.text
        else:
            await self.manager.ai_responds(step.text)
        self._add(step.text)

    async def ran(self, step: Ran) -> None:
        result = (step.text or "")[:_LONGEST]
        await self.manager.tool_used(step.call.name, step.call.arguments, result)
        self.source = f"{self.source}\n{result}"
        self._add(f"{step.call.name} {step.call.arguments}")
        self._add(result)

    def _add(self, text: str) -> None:
        said = Said(text, self.count(text))
        self.log.append(said)
        self.tokens += said.tokens
        if self.ranking is not None:
            self.ranking.add(said)

    async def look(self, values: Sequence[str]) -> None:
        """Which of the values each way shows now."""
        log, budget = self.log, self.budget
        kept = "\n".join(keep_last(log, budget))
        gone = {value for value in values if not _stands(value, kept)}
        self._judge("keep last", [kept], values, gone)
        self._judge("head and tail", head_and_tail(log, budget), values, gone)
        newest = keep_last(log, budget // 2)
        found = self.bm25.find(log, self.question[:2000], budget - budget // 2)
        self._judge("BM25, half of it keep last", [*found, *newest], values, gone)
        if self.ranking is not None:
            self._judge("TextRank", self.ranking.lines(budget), values, gone)
        for method, recall in (("ours, rules", False), ("ours, recall", True)):
            try:
                context = await self.manager.context(max_tokens=budget, recall=recall)
                self._judge(method, list(_texts(context.messages)), values, gone)
            except TokenLimitExceeded:
                self._judge(method, [], values, gone)

    def _judge(
        self, method: str, texts: Sequence[str], values: Sequence[str], gone: AbstractSet[str]
    ) -> None:
        text = "\n".join(texts)
        seen = {value for value in values if _stands(value, text)}
        self.shares[method] = self.shares.get(method, Share()) + Share(len(seen), len(values))
        self.gone[method] = self.gone.get(method, Share()) + Share(len(seen & gone), len(gone))


def _texts(messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        yield str(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            yield f"{call['function']['name']} {call['function']['arguments']}"
