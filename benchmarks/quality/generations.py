"""One planted conversation through the real `SessionManager` and beside it through everything else."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from summarizer import SessionManager
from summarizer.meter import counter_for_model
from summarizer.stores.memory import MemoryStore
from summarizer.summary import Summarizer

from .documented import DOCUMENTED
from .filler import recorded_talk, small_talk
from .judge import Share, invented, lines_of, staleness, stands
from .planted import COUNTS, Planted, plant
from .scripted import scripted_summarizer
from .selections import Bm25, Said, TextRank, can_rank, head_and_tail, keep_last

__all__ = ["GENERATIONS", "METHODS", "Case", "Tally", "measure"]

METHODS: Final = (
    "keep last",
    "head and tail",
    "BM25",
    "TextRank",
    "ours, rules",
    "ours, forgetful model",
    "ours, perfect model",
    "ours, recall",
)
_TALKS: Final = {"small talk": small_talk, "service talk": recorded_talk}
GENERATIONS: Final = (1, 5, 20, 100)
_WITHIN: Final = 40
_DOCUMENTED: Final = 6
_TURN_TOKENS: Final = 60
"""What a turn of the talk weighs on average; only to make the conversation long enough."""
_FRESH: Final = 0.55
"""Share of the threshold that a segment takes in at most: what neither tail nor seed fills."""


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation.

    Attributes:
        seed: Of the conversation.
        budget: Tokens of a context, and the threshold at which ours segments.
        generations: After how many segmentations it is looked at.
        ranks: Whether TextRank goes along.
        talk: What stands between: `small talk`, or `service talk` (see `filler.recorded_talk`).
    """

    seed: int
    budget: int
    generations: Sequence[int] = GENERATIONS
    ranks: bool = True
    talk: str = "small talk"


@dataclass(slots=True)
class Tally:
    """What was counted, under `(method, generation, group)`.

    Attributes:
        shares: Of the planted that should stand, how many do; groups are kinds, and forms of constraints. Of
            the changed facts, how many are `stale` or stand `beside` (see `judge`). Under `invented`, values
            that nobody said, and how many notes were looked through.
    """

    shares: dict[tuple[str, int, str], Share] = field(default_factory=dict[tuple[str, int, str], Share])

    def add(self, method: str, generation: int, group: str, hit: bool | int, of: int = 1) -> None:
        """Count."""
        key = (method, generation, group)
        self.shares[key] = self.shares.get(key, Share()) + Share(int(hit), of)

    def share(self, method: str, generation: int, *groups: str) -> Share:
        """The share over some groups."""
        return sum((self.shares.get((method, generation, group), Share()) for group in groups), Share())

    def join(self, other: Tally) -> None:
        """Add what another conversation gave."""
        for (method, generation, group), share in other.shares.items():
            self.add(method, generation, group, share.hits, share.of)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A conversation, what was planted in it, and what is counted."""

    case: Case
    messages: Sequence[Mapping[str, str]]
    planted: Sequence[Planted]
    tally: Tally

    @property
    def current(self) -> list[Planted]:
        """What holds at the end."""
        return [each for each in self.planted if each.superseded_by is None]

    def look(self, method: str, generation: int, texts: Sequence[str]) -> None:
        """Judge everything planted against one context."""
        for each in self.current:
            self.judge(method, generation, each, texts)

    def judge(self, method: str, generation: int, each: Planted, texts: Sequence[str]) -> None:
        """Judge one thing planted against one context."""
        lines = [line for text in texts for line in text.splitlines()]
        group = f"constraint, {each.form}" if each.kind == "constraint" else each.kind
        self.tally.add(method, generation, group, any(stands(each, line) for line in lines))
        place = self.planted.index(each)
        for old in (one for one in self.planted if one.superseded_by == place):
            found = staleness(old, each, lines)
            self.tally.add(method, generation, "stale", found == "stale")
            self.tally.add(method, generation, "beside", found == "beside")


async def measure(case: Case) -> Tally:
    """Everything that is measured on one conversation."""
    turns = _WITHIN + int(case.generations[-1] * case.budget * _FRESH * 1.4 / _TURN_TOKENS)
    forms = random.Random(case.seed).sample(DOCUMENTED, _DOCUMENTED)
    messages, planted = plant(
        case.seed, turns, within=_WITHIN, counts=COUNTS, documented=forms, filler=_TALKS[case.talk]
    )
    scene = _Scene(case, messages, planted, Tally())
    stops = await _ours("ours, rules", None, scene)
    await _ours("ours, perfect model", scripted_summarizer(planted), scene)
    await _ours("ours, forgetful model", scripted_summarizer(planted, forgetful=case.seed), scene)
    _others(scene, stops)
    return scene.tally


async def _ours(method: str, summarizer: Summarizer | None, scene: _Scene) -> dict[int, int]:
    """Record the conversation and look at the context after each of the wanted segmentations.

    A segmentation counts once everything planted lies behind its cut.

    Returns:
        By generation, how many messages had been recorded then.
    """
    case, messages = scene.case, scene.messages
    manager = SessionManager(
        "planted",
        store=MemoryStore(),
        token_threshold=case.budget,
        segmentation="inline",
        summarizer=summarizer or "extractive",
    )
    last_turn = scene.planted[-1].turn
    planted_seq, generation, tip = 0, 0, ""
    stops: dict[int, int] = {}
    for turn, (asked, answered) in enumerate(zip(messages[::2], messages[1::2], strict=True)):
        await manager.turn(asked["content"], answered["content"])
        if turn == last_turn:
            planted_seq = (await manager.context()).last_seq
        if manager.session_id == tip:
            continue
        tip = manager.session_id
        context = await manager.context(max_tokens=case.budget)
        generation += turn > last_turn and context.first_seq > planted_seq
        if generation in case.generations and generation not in stops:
            stops[generation] = 2 * turn + 2
            scene.look(method, generation, lines_of(context.messages))
            _look_for_inventions(
                method, generation, str(context.messages[0]["content"]), scene, stops[generation]
            )
            if summarizer is None:
                await _ask(manager, generation, scene)
        if generation >= case.generations[-1]:
            return stops
    raise ValueError(f"{case!r} ended after {generation} segmentations; make the conversation longer")


async def _ask(manager: SessionManager, generation: int, scene: _Scene) -> None:
    """Put every question, one turn each, to a copy of the conversation that is thrown away."""
    events = await manager.store.read(None, manager.conversation_id)
    store = copy.deepcopy(manager.store, {id(event): event for event in events})
    asking = SessionManager(manager.session_id, store=store, segmentation="inline")
    for each in scene.current:
        await asking.user_says(each.question)
        context = await asking.context(max_tokens=scene.case.budget, recall=True)
        scene.judge("ours, recall", generation, each, lines_of(context.messages))
        await asking.ai_responds("Let me see.")


def _others(scene: _Scene, stops: Mapping[int, int]) -> None:
    """The other ways, at the same points of the same conversation."""
    budget, count = scene.case.budget, counter_for_model(None).count
    log = [Said(each["content"], count(each["content"])) for each in scene.messages[: max(stops.values())]]
    ranking = TextRank(budget, count) if scene.case.ranks and can_rank() else None
    bm25, ranked = Bm25(), 0
    for generation, stop in sorted(stops.items()):
        said = log[:stop]
        scene.look("keep last", generation, keep_last(said, budget))
        scene.look("head and tail", generation, head_and_tail(said, budget))
        for each in scene.current:
            scene.judge("BM25", generation, each, bm25.find(said, each.question, budget))
        if ranking is not None:
            for one in said[ranked:]:
                ranking.add(one)
            ranked = stop
            scene.look("TextRank", generation, ranking.lines(budget))
    bm25.close()


def _look_for_inventions(method: str, generation: int, seed: str, scene: _Scene, stop: int) -> None:
    """Count what notes hold and nobody said."""
    everything = "\n".join(each["content"] for each in scene.messages[:stop]).lower()
    scene.tally.add(method, generation, "invented", len(invented(seed, everything)), 1)
