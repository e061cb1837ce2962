"""What recall brings back, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, Self

from .words import words

__all__ = ["Gap", "RecallHit", "Recalled", "fit"]

_NEIGHBOUR: Final = 300
"""Most characters of a neighbour."""
_FLOOR: Final = 40
"""Characters below which an excerpt says nothing."""
ELLIPSIS: Final = "..."
Way = Literal["words", "meaning"]


@dataclass(frozen=True, slots=True)
class RecallHit:
    """A passage of the log that bears on a query.

    Attributes:
        seq: The event it stands in; `SessionManager.read` has the whole.
        session_id: The session whose range holds that event.
        role: Who said it: `system`, `developer`, `user`, `assistant`, `tool` or `function`.
        at: When it was recorded, aware, UTC.
        text: The passage, verbatim; `...` stands where a longer text goes on.
        score: How well it matches, above 0; comparable within one answer only.
        before: The end of what was said before it, empty if nothing was.
        after: The beginning of what was said after it, empty if nothing was.
        found_by: By `words`, by `meaning`, or both.
    """

    seq: int
    session_id: str
    role: str
    at: datetime
    text: str
    score: float
    before: str = ""
    after: str = ""
    found_by: tuple[Way, ...] = ("words",)


@dataclass(frozen=True, slots=True)
class Gap:
    """What a search did not look through, so that nothing found is not taken for nothing there.

    Attributes:
        way: By `words`, or by `meaning` (embeddings).
        reason_code: `index_full` (older events were let go of), `index_failed` (the index is damaged time and
            again), `model_failed` (the embedding model), `out_of_time` (not indexed or embedded yet).
        through: Events up to this seq were not looked through in this way,
        after: and only those after this one.
    """

    way: Way
    reason_code: str
    through: int
    after: int = 0


class Recalled(tuple[RecallHit, ...]):  # noqa: SLOT001 - a tuple can have none that hold anything
    """Hits, best first, and what was not searched.

    Attributes:
        gaps: What was not looked through; empty if everything was.
    """

    gaps: tuple[Gap, ...]

    def __new__(cls, hits: Iterable[RecallHit] = (), gaps: Sequence[Gap] = ()) -> Self:
        """The hits as a tuple, with `gaps`."""
        made = super().__new__(cls, hits)
        made.gaps = tuple(gaps)
        return made


def neighbour(text: str, *, ends: bool) -> str:
    """As much of a neighbour as is shown: its end before a hit, its beginning after one."""
    if len(text) <= _NEIGHBOUR:
        return text
    return f"{ELLIPSIS}{text[-_NEIGHBOUR:]}" if ends else f"{text[:_NEIGHBOUR]}{ELLIPSIS}"


def fit(
    hits: Sequence[RecallHit],
    limit: int,
    room: int | None,
    weigh: Callable[[Sequence[RecallHit]], int],
    sought: Sequence[str],
) -> tuple[RecallHit, ...]:
    """The best hits that weigh at most `room` together.

    One that does not fit loses its neighbours, then becomes an excerpt around the first word that was sought;
    one of which too little would be left is passed over.
    """
    if room is None:
        return tuple(hits[:limit])
    frame = weigh(())
    left = room - frame
    kept: list[RecallHit] = []
    for hit in hits:
        if len(kept) == limit or left < 1:
            break
        for form in _forms(hit, sought):
            weight = weigh((form,)) - frame
            if weight <= left:
                kept.append(form)
                left -= weight
                break
    # A tokenizer may count a whole above the sum of its parts.
    while kept and weigh(kept) > room:
        kept.pop()
    return tuple(kept)


def _forms(hit: RecallHit, sought: Sequence[str]) -> Iterator[RecallHit]:
    """The hit, then ever less of it."""
    yield hit
    yield replace(hit, before="", after="")
    size = len(hit.text) // 2
    while size >= _FLOOR:
        yield replace(hit, text=_excerpt(hit.text, size, sought), before="", after="")
        size //= 2


def _excerpt(text: str, size: int, sought: Sequence[str]) -> str:
    wanted, folded = set(sought), text.casefold()
    places = [folded.find(word) for word in {*words(text)} & wanted]
    found = min((place for place in places if place >= 0), default=0)
    start = max(0, min(found - size // 4, len(text) - size))
    cut = text[start : start + size]
    return f"{ELLIPSIS * (start > 0)}{cut}{ELLIPSIS * (start + size < len(text))}"
