"""What stands in the ring: whoever is told each message and says what to send at each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from .meters import Tokens
from .reader import Reader

__all__ = ["Contestant", "Entry", "Everything", "LooksUp", "Ring"]

Wire = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ring:
    """What a contestant is given.

    Attributes:
        system_prompt: To be sent first in each request.
        budget: Most tokens of a request; `None`: as its documentation would have it.
        window: Most tokens that the model takes.
        model: Which model is billed, for those whose decisions depend on it.
        tokens: The count of all.
        reader: The summary model.
        bill_summary: Books a call of it, with what it is sent.
        now: Seconds since the start, for those whose decisions depend on it.
    """

    system_prompt: str
    budget: int | None
    window: int
    model: str
    tokens: Tokens
    reader: Reader
    bill_summary: Callable[[Sequence[Wire]], None]
    now: Callable[[], float]

    def summary_of(self, messages: Sequence[Wire]) -> str:
        """What the summary model answers; the call is billed."""
        self.bill_summary(messages)
        return self.reader.answer(messages)

    @property
    def system(self) -> list[Wire]:
        """The system prompt as a message; none if it is empty."""
        return [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []

    @property
    def room(self) -> int:
        """Tokens of the budget that the system prompt leaves.

        Raises:
            ValueError: There is no budget.
        """
        if self.budget is None:
            raise ValueError("no budget in this round; ask only where one was given")
        return self.budget - self.tokens.sent(self.system).tokens


class Contestant(Protocol):
    """Keeps one conversation."""

    async def add(self, message: Wire, usage: Any = None) -> None:
        """Take a message that was said; with an answer comes what its call used."""
        ...

    async def request(self) -> Sequence[Wire]:
        """What is sent now."""
        ...


@runtime_checkable
class LooksUp(Protocol):
    """A contestant whose model has a tool that searches what is no longer shown."""

    async def look_up(self, question: str) -> str:
        """What the tool answers if it is asked with the user's own words."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant on the list.

    Attributes:
        name: For the table.
        enter: Makes it.
        rounds: Whether it plays by its documented defaults, within the common budget, or both.
        by_model: Whether what it does depends on model and pace, so that it is run for each.
        ours: Whether it is ours.
        swept: Whether it is drawn at several budgets.
        clears: Whether all that it does is done to tool results, so that a chat leaves it nothing to do.
    """

    name: str
    enter: Callable[[Ring], Contestant]
    rounds: Literal["defaults", "budget", "both"] = "both"
    by_model: bool = False
    ours: bool = False
    swept: bool = False
    clears: bool = False


@dataclass(slots=True)
class Everything:
    """No management: each request holds all that was ever said."""

    ring: Ring
    _said: list[Wire] = field(default_factory=list)

    async def add(self, message: Wire, usage: Any = None) -> None:  # noqa: ARG002
        """See `Contestant`."""
        self._said.append(message)

    async def request(self) -> Sequence[Wire]:
        """See `Contestant`."""
        return [*self.ring.system, *self._said]
