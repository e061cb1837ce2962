"""What recall finds, and what it brings in vain: facts asked for, crowded by repetition, and never told.

Conversations of `quality.planted`: facts in the wording of their generator, among recorded and made-up talk.
Each is asked for in other words; the questions of another conversation's facts, and its talk, ask for what
was never told. The share of the question's weight that a passage must answer to be brought unasked is varied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from summarizer import EventStore, open_store
from summarizer.meter import counter_named
from summarizer.recall import Log, RecallHit, search_path
from summarizer.stores.protocol import HEAD_ONLY

from .harness import Figure, Result
from .logs import SETTINGS, message_event
from .quality.filler import recorded_talk
from .quality.planted import Planted, plant

_SEEDS, _TURNS = range(12), 400
_CUTOFFS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)
_SHOWN = 40
"""Newest events, which a context shows anyway; nothing is planted among them."""
_ROOM = 1000
_HITS = 5
_CROWD = 60
_REPEATS = ("{}", "I asked before: {}", "Again, number {n}: {}", "{} Please look it up, try {n}.")


@dataclass(frozen=True, slots=True)
class _Talk:
    """A conversation, what can be asked of it, and what cannot."""

    log: Log
    planted: Sequence[Planted]
    untold: Sequence[str]
    talk: Sequence[str]


async def run(*, quick: bool = False) -> Result:
    """Measure; `quick` takes two short conversations."""
    seeds, turns = (range(2), 120) if quick else (_SEEDS, _TURNS)
    store = open_store("memory://bench-bearing")
    talks = [await _talk(store, seed, turns) for seed in seeds]
    asked = [(talk.log, each) for talk in talks for each in talk.planted]
    never = {
        "a question to what was never told": [(talk.log, text) for talk in talks for text in talk.untold],
        "other talk": [(talk.log, text) for talk in talks for text in talk.talk],
    }
    figures: list[Figure] = []
    for name, crowd in (("asked", 0), (f"asked behind {_CROWD} repeats", _CROWD)):
        logs = {talk.log.head.conversation_id: talk.log for talk in talks}
        found = [await _found(logs[log.head.conversation_id], each, crowd, store) for log, each in asked]
        figures.append(
            _share(f"{name}: the first hit holds the value", [places[:1] == [True] for places in found])
        )
        figures.append(_share(f"{name}: one of five does", [any(places) for places in found]))
    for cutoff in _CUTOFFS:
        brought = [await _hits(log, each.question, cutoff) for log, each in asked]
        held = [_holds(hits, each) for hits, (_, each) in zip(brought, asked, strict=True)]
        figures.append(_share(f"cutoff {cutoff}: the value is brought", held))
        for name, texts in never.items():
            vain = [await _hits(log, text, cutoff) for log, text in texts]
            figures.append(_share(f"cutoff {cutoff}: {name} brings something", [bool(hits) for hits in vain]))
            tokens = sum(map(_weigh, vain)) / max(1, len(vain))
            figures.append(Figure(f"cutoff {cutoff}: {name} brings, mean", tokens, "tokens"))
    await store.close()
    notes = [
        f"{len(talks)} conversations of {turns} turns; {len(asked)} questions to what was told, "
        + ", ".join(f"{len(texts)} times {name}" for name, texts in never.items()),
        f"the newest {_SHOWN} events count as shown; at most {_HITS} hits of {_ROOM} tokens together",
    ]
    return Result("recall_bearing", figures, notes)


async def _talk(store: EventStore, seed: int, turns: int) -> _Talk:
    messages, planted = plant(seed, turns, within=turns - _SHOWN // 2, filler=recorded_talk)
    others, elsewhere = plant(1000 + seed, turns, filler=recorded_talk)
    told = [each for each in planted if each.superseded_by is None and each.question]
    subjects = {each.question for each in told}
    untold = [each.question for each in elsewhere if each.question and each.question not in subjects]
    talk = [message["content"] for message in others[: 2 * len(untold) : 2]]
    return _Talk(await _grown(store, f"talk-{seed}", messages), told, untold, talk)


async def _grown(store: EventStore, root: str, messages: Sequence[dict[str, str]]) -> Log:
    await store.create(None, root, SETTINGS)
    await store.append(None, root, [message_event(each["role"], each["content"]) for each in messages])
    return await _log(store, root)


async def _log(store: EventStore, root: str) -> Log:
    return Log(store, None, (await store.load(None, root, after_seq=HEAD_ONLY)).head, ())


async def _found(log: Log, each: Planted, crowd: int, store: EventStore) -> list[bool]:
    """Of each of the best hits, whether it holds what was asked for."""
    if crowd:
        root = f"{log.head.conversation_id}-{each.turn}"
        events = await store.read(log.owner, log.head.conversation_id)
        said = [event.message for event in events if event.message is not None]
        messages = [{"role": message.role, "content": message.text} for message in said]
        messages += [{"role": "user", "content": text} for text in _repeats(each.question, crowd)]
        log = await _grown(store, root, messages)
    hits = await search_path(log, (), each.question, _HITS, None, _weigh)
    if crowd:
        await store.erase(None, log.head.conversation_id)
    return [_holds((hit,), each) for hit in hits]


def _repeats(question: str, count: int) -> list[str]:
    return [_REPEATS[n % len(_REPEATS)].format(question, n=n) for n in range(count)]


async def _hits(log: Log, question: str, cutoff: float) -> Sequence[RecallHit]:
    last = log.head.last_seq - _SHOWN
    return await search_path(
        log, (), question, _HITS, _ROOM, _weigh, hidden=lambda seq: seq > last, bearing=cutoff
    )


def _weigh(hits: Sequence[RecallHit]) -> int:
    count = counter_named("o200k_base").count
    return sum(count(text) for hit in hits for text in (hit.text, hit.before, hit.after))


def _holds(hits: Sequence[RecallHit], each: Planted) -> bool:
    """Whether a passage holds the values; its neighbours do not count."""
    return any(all(value in hit.text for value in each.values) for hit in hits)


def _share(name: str, outcomes: Sequence[bool]) -> Figure:
    return Figure(name, 100 * sum(outcomes) / max(1, len(outcomes)), "%")
