"""The seed: a summary as the plain text at the head of a child session. Pure, deterministic.

Every line between the marks belongs to one entry and begins with a dash; text that would look like
a mark or a heading is altered by one character, so it cannot leave its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..events import Event
from . import wording
from .drafts import fact_entity, one_line
from .extraction import normalized, system_sentences
from .ledger import Fitter, fit
from .record import Entry, EntryKind, EntryStatus, Summary
from .redact import redact
from .speech import sentences
from .statements import is_sentence

if TYPE_CHECKING:
    from ..meter import TokenCounter

__all__ = ["render_seed"]

_TINY: Final = 160
"""Tokens below which the frame is a few words."""
_RUNNING_SHARE: Final = 0.5
_SHORTENED_SHARE: Final = 0.34
_ROUNDS: Final = 6
_SLACK: Final = 8
_NARRATIVE_SHARE: Final = 0.4
_MARK: Final = re.compile(r"\[(?=\s*(?:end\s+of\s+)?notes\b|\s*\.\.\. the whole text is)", re.IGNORECASE)
_HEADING_TEXTS: Final = tuple(heading.casefold() for heading in wording.HEADINGS.values())
_FRAMED_LINE: Final = ("request being worked on (", "what happened, up to event")


def render_seed(
    summary: Summary,
    *,
    budget: int,
    counter: TokenCounter,
    running_user: Event | None = None,
    system_prompt: str | None = None,
) -> tuple[str, int, Mapping[str, int]]:
    """Write a summary down.

    Args:
        summary: What to write.
        budget: Most tokens of the text, 0 or more. Where it does not even hold the frame, the
            text is the newest request's beginning, or empty.
        counter: Whose tokens.
        running_user: The user message of the turn that the cut falls into; it stands verbatim, or, beyond
            half of the budget, with head and end.
        system_prompt: Constraints whose sentence it contains are not repeated.

    Returns:
        The text, its tokens, and notes: `ledger.over_budget` (entries not shown, those in the log alone
        included), `running_user.shortened`, `narrative.shortened`.
    """
    notes: dict[str, int] = {}
    running = _running_part(running_user, budget, counter, notes) if running_user is not None else ""
    entries = _shown(
        summary.entries,
        running_user,
        running,
        system_prompt,
    )
    opening = wording.OPEN_TINY if budget < _TINY else wording.OPEN
    head = opening.format(through=summary.through)
    frame = counter.count(f"{head}\n{wording.CLOSE_OMITTED.format(omitted=99999)}\n{running}\n") + 2
    room = max(0, budget - frame)
    narrative = _narrative_part(summary, int(room * _NARRATIVE_SHARE), counter, notes)
    room = max(0, room - (counter.count(narrative) + 1 if narrative else 0))
    fitter = Fitter(entries, counter)
    best: tuple[str, int, int] | None = None
    for _ in range(_ROUNDS):
        kept = fitter.fit(room).entries if room > 0 else ()
        omitted = summary.omitted + len(entries) - len(kept)
        text = "\n".join(_lines(head, running, kept, narrative, omitted))
        tokens = counter.count(text)
        if tokens <= budget and (best is None or tokens > best[1]):
            best = text, tokens, omitted
        if 0 <= budget - tokens < _SLACK or (tokens <= budget and len(kept) == len(entries)) or room <= 0:
            break
        room = max(0, room + budget - tokens - (tokens > budget))
    if best is None:
        notes.pop("narrative.shortened", None)
        best = (*_smallest(summary, running_user, head, budget, counter), summary.omitted + len(entries))
    text, tokens, omitted = best
    if omitted:
        notes["ledger.over_budget"] = omitted
    return text, tokens, notes


def _shown(
    entries: Iterable[Entry], running_user: Event | None, running: str, system_prompt: str | None
) -> list[Entry]:
    """Entries that say more than the running request and the system prompt do."""
    known = system_sentences(system_prompt)
    said = normalized(running) if running_user is not None else ""
    shown: list[Entry] = []
    for entry in entries:
        if entry.status is EntryStatus.RETIRED:
            continue
        if entry.kind is EntryKind.CONSTRAINT and normalized(entry.text) in known:
            continue
        own = running_user is not None and entry.sources[-1] == running_user.seq
        if (
            own
            and entry.kind in (EntryKind.OBJECTIVE, EntryKind.OPEN)
            and (entry.key or "").startswith(("open@", "request@", "objective"))
        ):
            continue
        if (
            own
            and entry.kind in (EntryKind.CONSTRAINT, EntryKind.DECISION)
            and normalized(entry.text.removeprefix("user: ")) in said
        ):
            continue
        shown.append(entry)
    return shown


def _running_part(event: Event, budget: int, counter: TokenCounter, notes: dict[str, int]) -> str:
    text = "" if event.message is None else _safe_block(redact(event.message.text))
    if not text.strip():
        return ""
    most = int(budget * _RUNNING_SHARE)
    whole = f"{wording.RUNNING.format(seq=event.seq)}\n{text}"
    if len(text) <= 40 * most and counter.count(whole) <= most:
        return whole
    notes["running_user.shortened"] = 1
    most = int(budget * _SHORTENED_SHARE)
    head = wording.RUNNING_SHORTENED.format(seq=event.seq) if budget >= _TINY else ""
    middle = wording.SHORTENED.format(seq=event.seq)
    room = most - counter.count(f"{head}\n{middle}\n") - 2
    start = _head(text, max(0, int(room * 0.6)), counter)
    end = _head(text[::-1], max(0, room - counter.count(start)), counter, backwards=True)
    return "\n".join(part for part in (head, start.rstrip(), middle, end.lstrip()) if part)


def _head(text: str, tokens: int, counter: TokenCounter, *, backwards: bool = False) -> str:
    """The longest beginning of a text within some tokens; `backwards` reads and returns it from the end."""
    low, high = 0, min(len(text), tokens * 12)
    while low < high:
        middle = (low + high + 1) // 2
        piece = text[:middle][::-1] if backwards else text[:middle]
        if counter.count(piece) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low][::-1] if backwards else text[:low]


def _narrative_part(summary: Summary, most: int, counter: TokenCounter, notes: dict[str, int]) -> str:
    if not summary.narrative.strip():
        return ""
    head = wording.NARRATIVE.format(seq=summary.model_through)
    whole = f"{head}\n- {_safe_line(summary.narrative)}"
    if counter.count(whole) <= most:
        return whole
    notes["narrative.shortened"] = 1
    kept = head + "\n-"
    for sentence in sentences(summary.narrative):
        longer = f"{kept} {_safe_line(sentence)}"
        if counter.count(longer) > most:
            break
        kept = longer
    return "" if kept.endswith("\n-") else kept


def _lines(head: str, running: str, entries: Sequence[Entry], narrative: str, omitted: int) -> Iterator[str]:
    yield head
    if running:
        yield running
    by_kind: dict[EntryKind, list[Entry]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(entry)
    for kind in _ORDER:
        if kind in by_kind:
            yield wording.HEADINGS[kind]
            yield from _WRITERS.get(kind, _plain)(by_kind[kind])
    if narrative:
        yield narrative
    yield wording.CLOSE_OMITTED.format(omitted=omitted) if omitted else wording.CLOSE


_ORDER: Final = (
    EntryKind.CONSTRAINT,
    EntryKind.OBJECTIVE,
    EntryKind.OPEN,
    EntryKind.DECISION,
    EntryKind.FACT,
    EntryKind.FAILED,
    EntryKind.ARTIFACT,
    EntryKind.TOOL_OUTCOME,
)


def _plain(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        mark = (
            f" [superseded by event {entry.superseded_by}]" if entry.status is EntryStatus.SUPERSEDED else ""
        )
        yield f"- {_safe_line(entry.text)}{mark}"


def _facts(entries: Iterable[Entry]) -> Iterator[str]:
    """One line per sentence and per entity that has attributes; values that stand alone share a line."""
    tails: dict[str, dict[str, list[str]]] = {}
    alone: dict[str, list[str]] = {}
    for entry in entries:
        entity, text = fact_entity(entry), _safe_line(entry.text)
        if is_sentence(entry):
            yield f"- {text}"
            continue
        if entity and entry.text != entity:
            label, _, value = text[len(_safe_line(entity)) + 1 :].partition("=")
            tails.setdefault(entity, {}).setdefault(label, []).append(value)
        elif entity:
            tails.setdefault(entity, {})
        else:
            label, _, value = text.partition("=")
            alone.setdefault(label, []).append(value) if value else alone.setdefault(text, [])
    for entity, parts in tails.items():
        if parts:
            yield f"- {_safe_line(entity)}: {'; '.join(_assignments(parts))}"
        else:
            label, _, value = _safe_line(entity).partition("=")
            alone.setdefault(label, []).append(value)
    if alone:
        yield f"- {'; '.join(_assignments(alone))}"


def _assignments(values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for label, several in values.items():
        told = ", ".join(value for value in dict.fromkeys(several) if value)
        yield f"{label}={told}" if told else label


def _files(entries: Iterable[Entry]) -> Iterator[str]:
    by_verb: dict[str, list[str]] = {}
    for entry in entries:
        verb, _, rest = entry.text.partition(" ")
        verb, rest = (verb, rest) if entry.key == rest else ("other", entry.text)
        by_verb.setdefault(verb, []).append(_safe_line(rest))
    for verb, paths in by_verb.items():
        yield f"- {verb}: {', '.join(paths)}"


_WRITERS: Final = {EntryKind.FACT: _facts, EntryKind.ARTIFACT: _files}


def _smallest(
    summary: Summary, running_user: Event | None, head: str, budget: int, counter: TokenCounter
) -> tuple[str, int]:
    """The head of the newest request in its frame, for a budget that holds no more."""
    newest = fit(
        [e for e in summary.entries if e.kind in (EntryKind.OBJECTIVE, EntryKind.OPEN)], 0, counter
    ).entries
    text = newest[0].text if newest else ""
    if running_user is not None and running_user.message is not None:
        text = redact(running_user.message.text[: budget * 12])
    line = _safe_line(text)
    room = budget - counter.count(f"{head}\n- \n{wording.CLOSE}")
    for tokens in range(room, 0, -1):
        seed = f"{head}\n- {_head(line, tokens, counter)}\n{wording.CLOSE}"
        if (found := counter.count(seed)) <= budget:
            return seed, found
    seed = f"{head}\n{wording.CLOSE}"
    found = counter.count(seed)
    return (seed, found) if found <= budget else ("", 0)


def _safe_line(text: str) -> str:
    return _MARK.sub("(", one_line(text))


def _safe_block(text: str) -> str:
    """A text of several lines, the same to the character unless a line reads like the seed's own."""
    lines = _MARK.sub("(", text).split("\n")
    return "\n".join(f"| {line}" if _looks_framed(line) else line for line in lines)


def _looks_framed(line: str) -> bool:
    bare = line.strip().casefold()
    return bare in _HEADING_TEXTS or bare.startswith(_FRAMED_LINE)
