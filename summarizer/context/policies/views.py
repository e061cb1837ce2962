"""The segment as policies see it: units that are shown or not, and results that may be rewritten. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from ...events import Event
from ...units import is_reasoning
from ..blocks import Block, arrange
from .references import references_in

__all__ = ["Unit", "View", "is_pinned", "question_before", "view_of"]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a policy shows or leaves out whole: a message, or a calling message with all its results.

    Reasoning that came as a message of its own is part of the unit that it led to.

    Attributes:
        blocks: Its messages as they are shown now.
        events: The events behind them, as recorded.
        shown: Whether the model sees it.
        pinned: No policy may leave it out or rewrite it.
        rewritten: Seqs of the results in it that a policy has rewritten.
    """

    blocks: tuple[Block, ...]
    events: tuple[Event, ...]
    shown: bool = True
    pinned: bool = False
    rewritten: frozenset[int] = frozenset()

    @property
    def tokens(self) -> int:
        """Raw tokens as it would be shown, frames included."""
        # Most units are one block, and this is asked several times of each.
        return self.blocks[0].tokens if len(self.blocks) == 1 else sum(block.tokens for block in self.blocks)

    @property
    def messages(self) -> int:
        """How many messages it sends."""
        return sum([len(block.messages) for block in self.blocks])

    @property
    def first_seq(self) -> int:
        """Seq of its first event."""
        return self.blocks[0].first_seq

    @property
    def last_seq(self) -> int:
        """Seq of its last event."""
        return max(block.last_seq for block in self.blocks)

    @property
    def opens_turn(self) -> bool:
        """Whether it is a user message."""
        return self.blocks[0].opens_turn

    @property
    def role(self) -> str:
        """Whose it is: the role of its message, `tool` for calls with their results."""
        role: str = self.blocks[-1].messages[0]["role"]
        if len(self.blocks[-1].messages) > 1 or (role == "user" and not self.opens_turn):
            return "tool"
        return role

    @property
    def at(self) -> datetime:
        """When its newest event was made."""
        return max(event.at for event in self.events)

    def marked(self, *, shown: bool, pinned: bool) -> Unit:
        """The unit, shown or not, pinned or not."""
        # Written out: `dataclasses.replace` takes five times as long, and this runs for each unit.
        return Unit(self.blocks, self.events, shown, pinned, self.rewritten)


@dataclass(frozen=True, slots=True)
class View:
    """What the model is shown of the open segment; policies take one and give one.

    The methods keep the promises that every view is held to: pinned units, the newest user message
    and the newest unit stay, and what is shown begins with the user wherever the log lets it.

    Attributes:
        units: All units of the segment in request order, whether they are shown or not.
        now: When the newest event was made, or the time that the caller gave.
        count: The conversation's counter.
        newest: Indices of the newest unit and of the newest user message; both stay.
        references: The names under which `sm.tools` bound results, such as `$v3`, by the results' seqs.
        unchanging: Seqs of rewritten results that the model never sees otherwise.
    """

    units: tuple[Unit, ...]
    now: datetime | None
    count: Callable[[str], int]
    newest: frozenset[int] = frozenset()
    references: Mapping[int, str] = field(default_factory=dict[int, str], compare=False)
    unchanging: frozenset[int] = field(default=frozenset(), compare=False)

    @property
    def tokens(self) -> int:
        """Raw tokens of what is shown, frames included; system prompt, tool schemas and seed are not."""
        return sum(unit.tokens for unit in self.units if unit.shown)

    def shown(self) -> Iterator[tuple[int, Unit]]:
        """What is shown, with its indices."""
        return ((i, unit) for i, unit in enumerate(self.units) if unit.shown)

    def without(self, indices: Collection[int]) -> View:
        """The view with these units left out, save those that stay whatever a policy wants."""
        gone = {i for i in indices if i not in self.newest and not self.units[i].pinned}
        units = [
            unit.marked(shown=False, pinned=False) if i in gone and unit.shown else unit
            for i, unit in enumerate(self.units)
        ]
        return replace(self, units=_begun_by_user(units))

    def pin(self, indices: Collection[int]) -> View:
        """The view with these units pinned, each with the user message that opened its turn."""
        chosen = {*indices}
        chosen |= {q for i in indices if (q := question_before(self.units, i)) is not None}
        units = [
            unit.marked(shown=True, pinned=True) if i in chosen else unit for i, unit in enumerate(self.units)
        ]
        return replace(self, units=tuple(units))

    def rewrite(self, texts: Mapping[int, str], *, at_first_sight: bool = False) -> View:
        """The view with the content of tool results replaced, by the seq of the result's event.

        Seqs of anything but a result that stands with its call, and results of pinned units, are passed over.
        `at_first_sight` says that the model never sees them otherwise, so that no prefix changes for it.
        """
        units = [
            _rewritten(unit, texts, self.count)
            if len(unit.events) > 1 and not unit.pinned and any(event.seq in texts for event in unit.events)
            else unit
            for unit in self.units
        ]
        unchanging = self.unchanging | texts.keys() if at_first_sight else self.unchanging - texts.keys()
        return replace(self, units=tuple(units), unchanging=unchanging)


def view_of(events: Sequence[Event], count: Callable[[str], int], now: datetime | None = None) -> View:
    """Everything in the open segment, shown; events recorded with `pinned=True` are pinned.

    Args:
        events: The open segment, in log order.
        count: The conversation's counter.
        now: The time by which age is told; `None` for the newest event's.

    Cost: O(events).
    """
    units = _units(events)
    newest = {len(units) - 1} if units else set[int]()
    question = question_before(units, len(units) - 1)
    if question is not None:
        newest.add(question)
    if now is None:
        # Of messages alone: whether the last view change was recorded must not matter.
        now = max((event.at for event in events if event.message is not None), default=None)
    view = View(tuple(units), now, count, frozenset(newest), references_in(events))
    pinned = {event.seq for event in events if event.data and is_pinned(event)}
    if not pinned:
        return view
    return view.pin([i for i, u in enumerate(units) if any(event.seq in pinned for event in u.events)])


def question_before(units: Sequence[Unit], i: int) -> int | None:
    """Index of the user message that opened the turn of unit `i`; `None` if none did."""
    return next((j for j in range(i, -1, -1) if units[j].opens_turn), None)


def _units(events: Sequence[Event]) -> list[Unit]:
    by_seq = {event.seq: event for event in events}
    units: list[Unit] = []
    waiting: list[Block] = []
    for block in arrange(events):
        if waiting and block.opens_turn:
            units.append(_unit(waiting, by_seq))
            waiting = []
        waiting.append(block)
        message = by_seq[block.first_seq].message
        if message is None or message.role != "assistant" or not is_reasoning(message):
            units.append(_unit(waiting, by_seq))
            waiting = []
    return [*units, _unit(waiting, by_seq)] if waiting else units


def _unit(blocks: Sequence[Block], by_seq: Mapping[int, Event]) -> Unit:
    if len(blocks) == 1 and len(blocks[0].seqs) == 1:
        return Unit((blocks[0],), (by_seq[blocks[0].first_seq],))
    return Unit(tuple(blocks), tuple([by_seq[seq] for block in blocks for seq in block.seqs if seq]))


def is_pinned(event: Event) -> bool:
    """Whether an event was recorded with `pinned=True`."""
    metadata: Any = event.data.get("metadata") if event.data else None
    if metadata is None:
        return False
    return isinstance(metadata, Mapping) and bool(cast("Mapping[str, Any]", metadata).get("pinned"))


def _begun_by_user(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units, with the user message of the first shown turn back if it was left out."""
    first = next(
        (i for i, unit in enumerate(units) if unit.shown and unit.role not in ("system", "developer")), None
    )
    question = None if first is None else question_before(units, first)
    if first is None or question is None or units[first].blocks[0].messages[0]["role"] == "user":
        return tuple(units)
    back = units[question].marked(shown=True, pinned=units[question].pinned)
    return (*units[:question], back, *units[question + 1 :])


def _rewritten(unit: Unit, texts: Mapping[int, str], count: Callable[[str], int]) -> Unit:
    events = {event.seq: event for event in unit.events}
    blocks: list[Block] = []
    done: list[int] = []
    for block in unit.blocks:
        messages, tokens = list(block.messages), block.tokens
        for i, seq in enumerate(block.seqs):
            if i and seq in texts:
                before = None if seq in unit.rewritten else events[seq]
                tokens += count(texts[seq]) - _content_tokens(messages[i], before, count)
                messages[i] = {**messages[i], "content": texts[seq]}
                done.append(seq)
        blocks.append(
            Block(tuple(messages), tokens, block.first_seq, block.last_seq, block.opens_turn, seqs=block.seqs)
        )
    return Unit(tuple(blocks), unit.events, unit.shown, unit.pinned, unit.rewritten.union(done))


def _content_tokens(message: Mapping[str, Any], event: Event | None, count: Callable[[str], int]) -> int:
    """What the content weighs: as recorded where that is all there is to the message, else counted.

    Content parts weigh what was recorded, less their sender's name.
    """
    content, name = message["content"], message.get("name")
    if event is not None and (not isinstance(content, str) or message.keys() <= _PLAIN):
        return max(0, event.tokens - (count(name) + 1 if name else 0))
    return count(content)


_PLAIN = frozenset({"role", "content", "tool_call_id"})
