"""The ledger between generations: merging what rules found, and choosing what fits. Pure.

An entry that nothing new concerns stays the same to the byte. Ids are never used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..events import Origin
from .drafts import Draft, fact_entity, fact_value, least_trusted
from .extraction import Extraction, condensed, normalized, stronger
from .record import Entry, EntryKind, EntryStatus
from .speech import is_standing
from .statements import by_turns, is_sentence, statements_by_worth
from .values import specificity

if TYPE_CHECKING:
    from ..meter.tokens import SupportsCount

__all__ = ["Fitted", "Fitter", "Ledger", "fit", "ledger_budget", "merge"]

_LEDGER_FACTOR: Final = 2
_LEDGER_FLOOR: Final = 1024
_PROMISES: Final = 8
_FRESH_PROMISES: Final = 2
"""The newest of these; older ones wait behind the values."""
_WORK_RESERVE: Final = 0.35
"""Share of the budget that constraints leave to facts and work, where there are any."""
_NOTED: Final = "noted"
_TOLD: Final = "told"
_SPOKEN: Final = "spoken"
_SHARES: Final[Mapping[str, float]] = {
    _NOTED: 0.75,
    EntryKind.FACT: 0.42,
    _TOLD: 0.20,
    EntryKind.ARTIFACT: 0.18,
    EntryKind.DECISION: 0.06,
    EntryKind.FAILED: 0.06,
    EntryKind.TOOL_OUTCOME: 0.08,
    _SPOKEN: 0.0,
}
"""First claims on what constraints leave; what one does not need goes to the next. What a model noted comes
first, as it chose it among all that was said; the others share the rest. `told` are sentences of the user,
`spoken` are values out of an assistant's prose that nobody took up."""
_VERB_WORTH: Final = {"edited": 4.0, "wrote": 4.0, "removed": 3.0, "read": 2.5, "seen": 0.5}


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries, oldest first, the number of the next id, and how many old promises were let go."""

    entries: tuple[Entry, ...]
    next_entry: int
    omitted: int = 0


@dataclass(frozen=True, slots=True)
class Fitted:
    """Entries that fit, in the ledger's order, and how many active ones did not."""

    entries: tuple[Entry, ...]
    omitted: int


def ledger_budget(seed_budget: int) -> int:
    """Tokens the ledger may take: more than a seed, so that one narrow seed costs no entry for good."""
    return max(_LEDGER_FACTOR * seed_budget, _LEDGER_FLOOR)


def merge(previous: Sequence[Entry], found: Extraction, next_entry: int) -> Ledger:
    """Previous entries and what rules found since.

    A newer value replaces the older one of its key, under a new id. A repeated line only gains
    sources. Requests that were answered, questions that the user replied to and calls that came
    back are closed. Retired entries are dropped.

    Cost: linear in entries and drafts.
    """
    kept: dict[tuple[str, str], Entry] = {}
    for entry in previous:
        if entry.status is not EntryStatus.RETIRED:
            kept[_identity(entry)] = _mentioned(entry, found)
    reopened = _close(kept, found)
    for draft in (*reopened, *found.drafts):
        identity = _identity(draft)
        known = kept.get(identity)
        new = draft if known is None else _succeeding(draft, known)
        if known is not None and (known.text == new.text or new.key is None):
            kept[identity] = _with_sources(known, new)
            continue
        kept.pop(identity, None)
        kept[identity] = Entry(f"e{next_entry}", new.kind, new.text, new.sources, new.origin, key=new.key)
        next_entry += 1
    omitted = _cap_promises(kept)
    return Ledger(tuple(kept.values()), next_entry, omitted)


def _identity(entry: Entry | Draft) -> tuple[str, str]:
    if entry.key is None:
        return entry.kind.value, normalized(entry.text)
    return f"{entry.kind.value}#", entry.key


def _mentioned(entry: Entry, found: Extraction) -> Entry:
    if entry.kind not in (EntryKind.FACT, EntryKind.ARTIFACT):
        return entry
    value = entry.key if entry.kind is EntryKind.ARTIFACT else fact_value(entry)
    seqs = found.mentions.of(value or "")
    if not seqs or set(seqs) <= set(entry.sources):
        return entry
    trust = least_trusted((entry.origin, *(found.mentions.trust[seq] for seq in seqs)))
    return replace(entry, sources=condensed((*entry.sources, *seqs)), origin=trust)


def _with_sources(entry: Entry, draft: Draft) -> Entry:
    sources = condensed((*entry.sources, *draft.sources))
    if sources == entry.sources:
        return entry
    return replace(entry, sources=sources, origin=least_trusted((entry.origin, draft.origin)))


def _succeeding(draft: Draft, known: Entry) -> Draft:
    """A draft that takes the place of an entry; of a file the stronger deed stays."""
    if draft.kind is not EntryKind.ARTIFACT or draft.key is None:
        return draft
    verb = stronger(draft.text.partition(" ")[0], known.text.partition(" ")[0])
    sources = condensed((*known.sources, *draft.sources))
    return replace(
        draft, text=f"{verb} {draft.key}", sources=sources, origin=least_trusted((known.origin, draft.origin))
    )


def _close(kept: dict[tuple[str, str], Entry], found: Extraction) -> list[Draft]:
    """Take out open entries that are settled; an answered request stays as a past one."""
    past: list[Draft] = []
    for identity, entry in list(kept.items()):
        about, _, number = (entry.key or "").partition("@")
        if (
            entry.kind is EntryKind.FAILED
            and (subject := (entry.key or "").removeprefix("failed|")) in found.fixed
        ):
            if "; later worked: " not in entry.text:
                kept[identity] = replace(entry, text=f"{entry.text}; later worked: {found.fixed[subject]}")
        elif entry.kind is EntryKind.OPEN and entry.writer == "rules":
            last = entry.sources[-1]
            if about == "open" and last < found.answered_seq:
                del kept[identity]
                past.append(
                    Draft(EntryKind.OBJECTIVE, entry.text, entry.sources, entry.origin, f"request@{number}")
                )
            elif (about == "awaiting" and last < found.user_seq) or (
                about == "call" and number in found.finished_calls
            ):
                del kept[identity]
    return past


def _cap_promises(kept: dict[tuple[str, str], Entry]) -> int:
    """Keep the newest promises; an assistant makes one in every other answer and never takes it back."""
    promises = [identity for identity, entry in kept.items() if (entry.key or "").startswith("promise@")]
    for identity in promises[:-_PROMISES]:
        del kept[identity]
    return max(0, len(promises) - _PROMISES)


def fit(entries: Sequence[Entry], budget: int, counter: SupportsCount) -> Fitted:
    """Choose what a budget holds; see `Fitter.fit`."""
    return Fitter(entries, counter).fit(budget)


class Fitter:
    """Chooses from one ledger for any number of budgets; ranks it and counts each line once."""

    def __init__(self, entries: Sequence[Entry], counter: SupportsCount) -> None:
        self._active = [entry for entry in entries if entry.status is not EntryStatus.RETIRED]
        self._first, self._constraints, self._requests, self._waiting, self._promises = _protected(
            self._active
        )
        self._work = _ranked(self._active)
        self._count = _counting_once(counter)

    def fit(self, budget: int) -> Fitted:
        """Choose what a budget holds.

        In order: the newest request, what is open, constraints (rules before wishes, newest and oldest by
        turns, all but a reserve for the rest), what the assistant waits for and last promised, the first
        objective; then what a model noted, facts, what the user told, artifacts, decisions, failed attempts
        and tool outcomes by their shares, the most useful first; then older promises and earlier requests.
        The newest request is kept whatever it weighs.

        Args:
            budget: Tokens of the entries' lines.
        """
        choice = _Choice(budget, self._count)
        work, requests = dict(self._work), self._requests
        reserved = _WORK_RESERVE if any(work.values()) else 0.0
        for i, entry in enumerate(self._first):
            choice.take(entry, always=i == 0, keep_free=0 if i == 0 else int(reserved * budget / 2))
        reserve = int(reserved * max(0, choice.room))
        left = [entry for entry in self._constraints if not choice.take(entry, keep_free=reserve)]
        for entry in (*self._waiting, *self._promises[:_FRESH_PROMISES], *requests[-1:]):
            choice.take(entry, keep_free=reserve)
        room = choice.room
        for kind, share in _SHARES.items():
            floor = choice.room - int(share * room)
            work[kind] = [entry for entry in work[kind] if not choice.take(entry, keep_free=max(0, floor))]
            room = choice.room if kind == _NOTED else room
        for rest in (work[_NOTED], left, *(work[kind] for kind in _SHARES), self._promises, requests[-2::-1]):
            for entry in rest:
                if choice.room < _CHEAPEST:
                    break
                choice.take(entry)
        kept = tuple(entry for entry in self._active if entry.id in choice.taken)
        return Fitted(kept, len(self._active) - len(kept))


def _counting_once(counter: SupportsCount) -> Callable[[str], int]:
    known: dict[str, int] = {}

    def count(text: str) -> int:
        found = known.get(text)
        if found is None:
            found = known[text] = counter.count(text)
        return found

    return count


_CHEAPEST: Final = 3


class _Choice:
    """Entries taken so far, and the tokens left."""

    def __init__(self, budget: int, count: Callable[[str], int]) -> None:
        self.room, self.count = budget, count
        self.taken: set[str] = set()
        self.entities: set[str] = set()
        self.labels: set[tuple[str, str]] = set()

    def take(self, entry: Entry, *, keep_free: int = 0, always: bool = False) -> bool:
        if entry.id in self.taken:
            return True
        free = self.room - keep_free
        if not always and (free <= 0 or len(entry.text) > 40 * free):
            return False
        entity = fact_entity(entry) if entry.kind is EntryKind.FACT else ""
        cost = self._cost(entry, entity)
        if cost > free and not always:
            return False
        self.room -= cost
        self.taken.add(entry.id)
        if entity:
            self.entities.add(entity)
        return True

    def _cost(self, entry: Entry, entity: str) -> int:
        count = self.count
        if entry.kind is EntryKind.ARTIFACT:
            return count(f" {entry.key or entry.text},")
        if not entity:
            loose = entry.kind is EntryKind.FACT and not is_sentence(entry)
            return count(f" {entry.text}," if loose else f"- {entry.text}\n")
        tail = entry.text[len(entity) + 1 :]
        label, _, value = tail.partition("=")
        if value and (entity, label) in self.labels:
            tail = value
        self.labels.add((entity, label))
        head = 0 if entity in self.entities else count(f"- {entity}:\n")
        return head + (count(f" {tail},") if tail else 0)


def _protected(active: Iterable[Entry]) -> tuple[list[Entry], ...]:
    """The newest request and what is open; constraints; requests, the first at the end; waiting; promises."""
    by_age = sorted(active, key=lambda entry: (entry.sources[-1], _number(entry)))
    requests = [entry for entry in by_age if entry.kind is EntryKind.OBJECTIVE]
    opens = [entry for entry in by_age if entry.kind is EntryKind.OPEN]
    promises = [entry for entry in opens if (entry.key or "").startswith("promise@")]
    waiting = [entry for entry in opens if (entry.key or "").startswith("awaiting@")]
    constraints = [entry for entry in by_age if entry.kind is EntryKind.CONSTRAINT]
    asked = [
        entry
        for entry in (*requests, *opens)
        if entry.kind is EntryKind.OBJECTIVE or (entry.key or "").startswith("open@")
    ]
    newest = max(asked, key=lambda entry: (entry.sources[-1], entry.kind is EntryKind.OPEN), default=None)
    first = [] if newest is None else [newest]
    first += [entry for entry in reversed(opens) if entry not in (newest, *promises, *waiting)]
    others = [entry for entry in requests if entry is not newest and entry.key != "objective"]
    others += [entry for entry in requests if entry is not newest and entry.key == "objective"]
    return first, _rules_first(constraints[::-1]), others, waiting[::-1], promises[::-1]


def _rules_first(newest_first: Sequence[Entry]) -> list[Entry]:
    """What a model noted, what binds for good, wishes; of the first two the newest and the oldest by turns.

    So neither a rule of the first turn nor one of the last goes where many say the like in between.
    """
    noted = [entry for entry in newest_first if entry.writer != "rules"]
    found = [entry for entry in newest_first if entry.writer == "rules"]
    rules = [entry for entry in found if is_standing(entry.text)]
    return [*by_turns(noted), *by_turns(rules), *(entry for entry in found if not is_standing(entry.text))]


def _number(entry: Entry) -> int:
    digits = entry.id.lstrip("e")
    return int(digits) if digits.isdecimal() else 0


def _share_of(entry: Entry) -> str:
    """Under which of `_SHARES` an entry claims its room."""
    if entry.kind in (EntryKind.FACT, EntryKind.DECISION) and entry.writer != "rules":
        return _NOTED
    if is_sentence(entry):
        return _TOLD
    if entry.kind is EntryKind.FACT and entry.origin is Origin.ASSISTANT and len(entry.sources) < 2:
        return _SPOKEN
    return entry.kind


def _ranked(active: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Entries of the kinds that share, the most useful first."""
    newest = max((entry.sources[-1] for entry in active), default=1)
    oldest = min((entry.sources[-1] for entry in active), default=0)
    span = max(1, newest - oldest)
    ranked: dict[str, list[Entry]] = {}
    for share in _SHARES:
        fading = 4.0 if share == EntryKind.ARTIFACT else 2.0
        scored = [
            (_worth(entry, share) + fading * (entry.sources[-1] - oldest) / span, entry)
            for entry in active
            if _share_of(entry) == share
        ]
        scored.sort(key=lambda pair: (-pair[0], -_number(pair[1])))
        ordered = _distinct_first(scored) if share == EntryKind.FACT else [entry for _, entry in scored]
        ranked[share] = statements_by_worth(ordered) if share == _TOLD else ordered
    return ranked


def _worth(entry: Entry, share: str) -> float:
    """How useful an entry is among those that share its room, its age apart."""
    if share in (EntryKind.FACT, _SPOKEN):
        return fact_worth(entry)
    if share == EntryKind.ARTIFACT:
        return _VERB_WORTH.get(entry.text.partition(" ")[0], 1.0) + _references(entry)
    if share == EntryKind.TOOL_OUTCOME:
        return 2.0 * entry.text.startswith("did ")
    return 0.3 * (share == EntryKind.DECISION and entry.text.startswith("user: "))


def fact_worth(entry: Entry) -> float:
    """How useful a fact is, its age apart: how exact it must stay, and how often it was meant."""
    entity, value = fact_entity(entry), fact_value(entry)
    label = (entry.key or entry.text).rpartition("|")[2].partition("=")[0] or entity.partition("=")[0]
    bulk = (len(entry.text) - len(entity)) / 25
    return (
        specificity(label, value) + _references(entry) + 0.8 * (entry.origin.value == "user") - min(bulk, 3.0)
    )


def _references(entry: Entry) -> float:
    return 0.9 * min(len(entry.sources) - 1, 3)


def _distinct_first(scored: list[tuple[float, Entry]]) -> list[Entry]:
    """The same, with later repetitions of one value moved down."""
    seen: set[str] = set()
    again: list[tuple[float, Entry]] = []
    for score, entry in scored:
        value = fact_value(entry).casefold()
        again.append((score - 3.0 if value in seen else score, entry))
        seen.add(value)
    again.sort(key=lambda pair: (-pair[0], -_number(pair[1])))
    return [entry for _, entry in again]
