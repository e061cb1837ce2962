"""The summary that goes before an agent's messages: one ledger, extended by what is left out each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...events import Event, EventKind, Origin, new_event_id
from ...messages import Message as ChatMessage
from ...summary import ModelCall, Rejection, Summarizer, Summary, SummaryRequest, extract, summarize
from ...telemetry import log
from .blocks import Message, marked, pieces_of
from .estimate import Estimator

__all__ = ["RunningSummary", "Written"]

_LEAST: Final = 120
"""Tokens below which no summary says anything."""
_SHARE: Final = 0.5
"""Most of what it replaces that a summary may weigh."""

_ORIGINS: Final = {"user": Origin.USER, "assistant": Origin.ASSISTANT, "tool": Origin.TOOL}


@dataclass(frozen=True, slots=True)
class Written:
    """What stands for messages that were left out.

    Attributes:
        messages: The summary as messages; none if nothing stands for them.
        writer: Who wrote it.
        rejections: Steps that failed.
        calls: Answered requests to summary models.
    """

    messages: tuple[Message, ...] = ()
    writer: str | None = None
    rejections: tuple[Rejection, ...] = ()
    calls: tuple[ModelCall, ...] = ()


class RunningSummary:
    """A summary that grows by what it has not read yet; it never reads itself.

    What is left out while the model cannot be asked is in the ledger, by rules; no model reads it later,
    since nothing but the ledger is kept of it. A session keeps all.

    Args:
        summarizer: Who writes it; whatever it does, rules stand behind it.
    """

    def __init__(self, summarizer: Summarizer) -> None:
        self._summarizer = summarizer
        self._summary: Summary | None = None
        self._seed = ""

    @property
    def messages(self) -> list[Message]:
        """The summary as a message of the user's; none if there is none."""
        return [marked("user", self._seed, "summary")] if self._seed else []

    def forget(self) -> None:
        """Begin anew: what it stood for is shown, or a session's own summary stands for it."""
        self._summary, self._seed = None, ""

    async def extend(
        self, gone: Sequence[Message], weigh: Estimator, *, most: int | None, system_prompt: str | None
    ) -> Written:
        """Stand for these messages too.

        Args:
            gone: Messages that are left out now, in order.
            weigh: The estimator.
            most: Most tokens; `None` for a share of what it replaces.
            system_prompt: Its sentences are not repeated.

        Returns:
            The summary; without messages if none is shorter than what it would replace. Then nothing changed.
        """
        replaced = weigh.messages(gone) + weigh.messages(self.messages)
        budget = int(replaced * _SHARE) if most is None else min(most, int(replaced * _SHARE))
        if budget < _LEAST:
            return Written()
        request = self._request(gone, weigh, budget, system_prompt)
        outcome = await summarize(request, self._summarizer)
        candidate, seed = outcome.summary, outcome.seed
        if weigh.text(seed) >= replaced:
            log.warning("summary.too_long", tokens=weigh.text(seed), replaced=replaced)
            fallback = extract(request)
            candidate, seed = fallback.summary, fallback.seed
        if not seed or weigh.text(seed) >= replaced:
            return Written(rejections=outcome.rejections, calls=outcome.calls)
        self._summary, self._seed = candidate, seed
        return Written(tuple(self.messages), candidate.writer, outcome.rejections, outcome.calls)

    def _request(
        self, gone: Sequence[Message], weigh: Estimator, budget: int, system_prompt: str | None
    ) -> SummaryRequest:
        through = self._summary.through if self._summary is not None else 0
        events: list[Event] = []
        for piece in (piece for message in gone for piece in pieces_of(message)):
            chat = ChatMessage.from_wire(piece.wire)
            tokens = weigh.counter.count(chat.text)
            seq = through + len(events) + 1
            data = {"tool": {"error": piece.error}} if piece.error is not None else {}
            events.append(
                Event(
                    EventKind.MESSAGE,
                    new_event_id(),
                    datetime.now(UTC),
                    _ORIGINS[chat.role],
                    tokens,
                    chat,
                    data,
                    seq,
                )
            )
        cut = through + len(events)
        return SummaryRequest(
            "strands",
            "strands",
            cut,
            tuple(events),
            tuple(events),
            budget,
            weigh.counter,
            self._summary,
            system_prompt,
        )

    def to_dict(self) -> dict[str, Any] | None:
        """As JSON; `None` if there is none."""
        return None if self._summary is None else {"summary": self._summary.to_dict(), "seed": self._seed}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Take up what `to_dict` gave."""
        self.forget()
        if state:
            self._summary, self._seed = Summary.from_dict(state["summary"]), str(state["seed"])
