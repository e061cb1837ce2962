"""What rules find, before it has an id: drafts of ledger entries, and whose word they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..events import Event, Origin
from .record import Entry, EntryKind

__all__ = [
    "Draft",
    "clip",
    "event_trust",
    "fact_entity",
    "fact_value",
    "least_trusted",
    "one_line",
    "sentence_pieces",
]

_TRUST: Final = (Origin.SYSTEM, Origin.USER, Origin.ASSISTANT, Origin.TOOL, Origin.IMPORTED)
_ROLE_TRUST: Final = {
    "system": Origin.SYSTEM,
    "developer": Origin.SYSTEM,
    "user": Origin.USER,
    "assistant": Origin.ASSISTANT,
    "tool": Origin.TOOL,
    "function": Origin.TOOL,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no id yet.

    Attributes:
        kind: What it says.
        text: One line.
        sources: Seqs of the events it stands for, ascending.
        origin: The least trusted of them.
        key: What it is about. For facts `entity|label`: `order_id=W1|status`; see `fact_value`.
    """

    kind: EntryKind
    text: str
    sources: tuple[int, ...]
    origin: Origin
    key: str | None = None


def least_trusted(origins: Iterable[Origin]) -> Origin:
    """The origin that decides what a text may become; `imported` for none at all."""
    return max(origins, key=_TRUST.index, default=Origin.IMPORTED)


def event_trust(event: Event) -> Origin:
    """Whose word an event is: the less trusted of its origin and its message's role."""
    if event.message is None:
        return event.origin
    return least_trusted((event.origin, _ROLE_TRUST[event.message.role]))


def fact_entity(entry: Entry | Draft) -> str:
    """What a fact belongs to (`order_id=W1`), or nothing."""
    entity = (entry.key or "").rpartition("|")[0]
    return entity if entry.text == entity or entry.text.startswith(f"{entity} ") else ""


def fact_value(entry: Entry | Draft) -> str:
    """The bare value of a fact, as written."""
    entity = fact_entity(entry)
    text = entry.text[len(entity) + 1 :] if entity and entry.text != entity else entry.text
    value = text.partition("=")[2] or text
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def one_line(text: str) -> str:
    """The text with every run of white space, line ends of all kinds included, as one blank."""
    return " ".join(text.split())


def clip(text: str, limit: int) -> str:
    """At most `limit` characters; what was cut off the end shows as `[...]`."""
    return text if len(text) <= limit else f"{text[: max(0, limit - 6)].rstrip()} [...]"


def sentence_pieces(text: str) -> list[str]:
    """A text parted behind its sentences and lines; joined, it is the text again."""
    found: list[str] = []
    start = 0
    for i, character in enumerate(text):
        if character in ".!?\n。！？" and (character in "\n。！？" or text[i + 1 : i + 2].isspace()):
            found.append(text[start : i + 1])
            start = i + 1
    return [*found, text[start:]] if start < len(text) else found
