"""Conversations with planted facts, constraints and obligations: the same for the same seed.

`plant(7, 200)` gives 400 messages, user and assistant in turn, and what was planted in them. Names,
numbers and wordings are drawn at random; between them stands ordinary talk (`filler`), which holds
names and numbers too. What extracts facts from such a conversation must not be tuned to the wordings
here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from .filler import Pair, small_talk
from .sorts import SORTS
from .wordings import CHANGEABLE, CONSTRAINTS, FACTS, NAMES, NUMBERS, OBLIGATIONS, Subject

__all__ = ["COUNTS", "Kind", "Planted", "plant"]

Kind = Literal["fact", "number", "name", "changed", "constraint", "obligation"]
Form = Literal["blunt", "oblique", "documented"]

COUNTS: Final[Mapping[Kind, int]] = {
    "fact": 3, "number": 3, "name": 3, "changed": 3, "constraint": 4, "obligation": 2,
}  # fmt: skip
"""Twelve facts, three of them changed later, four constraints in free wording, two obligations."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One thing that was said.

    Attributes:
        kind: What it is. A changed fact is two of them, `changed` both; the older names the newer.
        text: The sentence, as it stands in the message.
        values: What must be known of it, as it was written.
        question: Asks for it in other words.
        turn: Of the message, from 0: the user's is `messages[2 * turn]`.
        superseded_by: Position of the newer one in the list of planted; `None` if this holds.
        labels: Words of which one must stand with the values.
        form: How it was worded.
    """

    kind: Kind
    text: str
    values: tuple[str, ...]
    question: str
    turn: int
    superseded_by: int | None = None
    labels: tuple[str, ...] = ()
    form: Form = "blunt"


def plant(
    seed: int,
    turns: int,
    *,
    within: int | None = None,
    counts: Mapping[Kind, int] = COUNTS,
    documented: Sequence[Subject] = (),
    filler: Callable[[random.Random], Iterator[Pair]] = small_talk,
) -> tuple[list[dict[str, str]], list[Planted]]:
    """A conversation, and what was planted in it.

    Args:
        seed: The same one gives the same conversation.
        turns: User messages; as many answers follow them.
        within: The first turns, in which everything is planted; `None`: all of them.
        counts: How many of each kind; a changed fact counts as one.
        documented: Further constraints, one of each, in forms that are documented to be found.
        filler: Makes the talk between: pairs of a question and an answer, without end.

    Returns:
        Messages in the Chat Completions shape, and the planted in order of their turns.

    Raises:
        ValueError: More to plant than turns.
    """
    rng = random.Random(seed)
    draw = _Drawing(rng)
    said = [*_firsts(draw, counts), *(draw.say("constraint", each, "documented") for each in documented)]
    rng.shuffle(said)
    room = turns if within is None else min(within, turns)
    changed = [each for each in said if each.change]
    needed = len(said) + len(changed)
    if needed > room:
        raise ValueError(f"{needed} messages are to be planted in {room} turns; give more turns")
    places = sorted(rng.sample(range(room), needed))
    planted = _placed(said, changed, places, draw)
    talk = filler(rng)
    at = {each.turn: each for each in planted}
    messages: list[dict[str, str]] = []
    for turn in range(turns):
        asked, answered = next(talk)
        if turn in at:
            asked, answered = _embedded(rng, at[turn].text, asked, answered)
        messages += ({"role": "user", "content": asked}, {"role": "assistant", "content": answered})
    return messages, planted


@dataclass(frozen=True, slots=True)
class _Said:
    planted: Planted
    change: Subject | None = None
    holes: Mapping[str, str] | None = None


def _firsts(draw: _Drawing, counts: Mapping[Kind, int]) -> Iterator[_Said]:
    subjects: Mapping[Kind, Sequence[Subject]] = {
        "fact": FACTS, "number": NUMBERS, "name": NAMES,
        "changed": CHANGEABLE, "constraint": CONSTRAINTS, "obligation": OBLIGATIONS,
    }  # fmt: skip
    for kind, count in counts.items():
        for number in range(count):
            form: Form = "blunt" if (number + draw.rng.randrange(2)) % 2 else "oblique"
            yield draw.say(kind, draw.subject(kind, subjects[kind]), form)


def _placed(
    said: Sequence[_Said], changed: Sequence[_Said], places: Sequence[int], draw: _Drawing
) -> list[Planted]:
    """Everything at its turn; each change anywhere behind what it changes."""
    order: list[tuple[_Said, Planted | None]] = [(each, None) for each in said]
    for each in changed:
        first = next(i for i, (other, _) in enumerate(order) if other is each)
        order.insert(draw.rng.randint(first + 1, len(order)), (each, draw.changed(each)))
    planted = [
        replace(new or each.planted, turn=turn) for (each, new), turn in zip(order, places, strict=True)
    ]
    for i, (each, new) in enumerate(order):
        if each.change is not None and new is None:
            newer = next(j for j, (other, change) in enumerate(order) if other is each and change)
            planted[i] = replace(planted[i], superseded_by=newer)
    return planted


_OPENERS: Final = (
    "", "", "By the way, ", "Before I forget, ", "Also, ", "So, ", "One thing: ", "Just so you know, ",
    "Oh, and ",
)  # fmt: skip
_ACKS: Final = (
    "Noted.", "Okay, thanks for telling me.", "Understood.", "Got it.", "Thanks, good to know.", "Alright.",
)  # fmt: skip


def _embedded(rng: random.Random, sentence: str, asked: str, answered: str) -> Pair:
    """The planted sentence alone, or before or behind what the user asks anyway."""
    opener = rng.choice(_OPENERS)
    told = opener + (sentence[0].lower() + sentence[1:] if opener and sentence[0:2].istitle() else sentence)
    ack = rng.choice(_ACKS)
    where = rng.randrange(3)
    if where == 0:
        return told, ack
    if where == 1:
        return f"{told} {asked}", f"{ack} {answered}"
    return f"{asked} {told}", f"{answered}"


class _Drawing:
    """Draws what no other planted sentence of the conversation has."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used: set[str] = set()
        self.asked: dict[str, list[Subject]] = {}

    def subject(self, kind: str, several: Sequence[Subject]) -> Subject:
        """Each of them once before any comes again."""
        left = self.asked.get(kind) or self.rng.sample(several, len(several))
        self.asked[kind] = left[1:]
        return left[0]

    def say(self, kind: Kind, subject: Subject, form: Form) -> _Said:
        texts = subject.oblique if form == "oblique" else subject.blunt
        text = self.rng.choice(texts)
        needed = " ".join((text, subject.question, *subject.labels))
        holes = {name: self.fresh(name) for name in _HOLES if f"{{{name}}}" in needed}
        planted = self._planted(kind, subject, form, text, holes)
        return _Said(planted, subject if kind == "changed" else None, holes)

    def changed(self, said: _Said) -> Planted:
        """The same with a new value, in words of change."""
        assert said.change is not None
        assert said.holes is not None
        text = self.rng.choice(said.change.changes)
        return self._planted("changed", said.change, said.planted.form, text, said.holes)

    def _planted(
        self, kind: Kind, subject: Subject, form: Form, text: str, holes: Mapping[str, str]
    ) -> Planted:
        values = {"a": self.fresh(subject.a)} | ({"b": self.fresh(subject.b)} if subject.b else {})
        filled = text.format(**holes, **values)
        return Planted(
            kind,
            filled[0].upper() + filled[1:],
            tuple(values.values()),
            subject.question.format(**holes),
            0,
            labels=tuple(label.format(**holes) for label in subject.labels),
            form=form,
        )

    def fresh(self, name: str) -> str:
        """A value or a label of that sort which the conversation does not have yet."""
        for _ in range(200):
            value = SORTS[name](self.rng)
            if value.casefold() not in self.used:
                self.used.add(value.casefold())
                return value
        raise ValueError(f"no fresh {name!r} is left after 200 draws; plant fewer in one conversation")


_HOLES: Final = ("who", "thing", "place", "event", "service", "relative")
