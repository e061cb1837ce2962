"""What the agents have in common: the script of their model, their tool, and the history they begin with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from ..logs import ANSWER, QUESTION

__all__ = ["MODEL", "SETTINGS", "TOKENS", "WHOLE", "Script", "Talk", "Way", "chunks", "turns"]

MODEL: Final = "gpt-4o-mini"
TOKENS: Final = 8_000
"""Most tokens of the open segment, and of peers that count."""
SETTINGS: Final[dict[str, Any]] = {"token_threshold": TOKENS, "model": MODEL}
_ITEMS_OF_TURN: Final = 4
WHOLE: Final = 1_000
"""Items that are handed over at once by hosts that hand over all the earlier ones with them."""


class Talk(Protocol):
    """A conversation that has its history."""

    script: Script

    async def turn(self, calls: int) -> object:
        """One user's message, the calls that the model makes in one answer, and its answer to them."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """A manager of a runtime's history.

    Attributes:
        name: What it is called in tables.
        kind: The runtime alone, its own managers and those of others, or ours.
        begin: Opens a conversation with so many items of history, its files in the folder.
    """

    name: str
    kind: Literal["bare", "theirs", "ours"]
    begin: Callable[[int, Path], Awaitable[Talk]]


class Script:
    """Decides what the model answers, and is the tool that it calls.

    Attributes:
        ran: Calls that the tool ran for.
    """

    def __init__(self) -> None:
        self.ran = 0
        self._numbers = count(1_000_000)
        self._calls = 0

    def ask(self, calls: int) -> str:
        """What the user says; the next answer makes so many calls."""
        self._calls = calls
        return f"{next(self._numbers)} {QUESTION}"

    def next_calls(self) -> list[tuple[str, dict[str, int]]]:
        """Ids and arguments of the calls of the next answer; none: it is the turn's last."""
        made, self._calls = self._calls, 0
        return [(f"call_{n}", {"number": n}) for n in (next(self._numbers) for _ in range(made))]

    def look(self, number: int) -> str:
        """Look a parcel up."""
        self.ran += 1
        return f"{number} {ANSWER}"


def turns(length: int) -> Iterator[tuple[str, str, dict[str, int], str, str]]:
    """A history of so many items, by fours: question, id of a call, its arguments, its result, answer."""
    for n in range(length // _ITEMS_OF_TURN):
        yield f"{n} {QUESTION}", f"call_{n}", {"number": n}, f"{n} {ANSWER}", f"{n} {ANSWER}"


def chunks(items: Sequence[Any], at_once: int = 100) -> Iterator[list[Any]]:
    """A history in the pieces in which it is handed over, so that ours is segmented as it is in use."""
    return (list(items[start : start + at_once]) for start in range(0, len(items), at_once))
