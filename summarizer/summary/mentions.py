"""Which values were meant again: by the user, by the assistant, or as an argument of a call. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..events import Event, Origin
from .values import words_of

__all__ = ["Mentions"]


@dataclass(slots=True)
class Mentions:
    """Where each token was last said by the user or the assistant, or used as an argument."""

    last: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    trust: dict[int, Origin] = field(default_factory=dict[int, Origin])

    def add(self, event: Event, text: str, trust: Origin) -> None:
        """Note every token of a text."""
        self.trust[event.seq] = trust
        for word in set(words_of(text[:20_000])):
            for token in {word, word.strip(".#-/\\")}:
                seqs = self.last.get(token, ())
                if not seqs or seqs[-1] != event.seq:
                    self.last[token] = (*seqs[-2:], event.seq)

    def of(self, value: str) -> tuple[int, ...]:
        """Seqs of up to three messages that mention a value: all of its tokens."""
        if len(value) < 3 or len(value) > 120:
            return ()
        words = words_of(value)[:8]
        if not words:
            return ()
        common = set(self.last.get(words[0], ()))
        for word in words[1:]:
            common &= set(self.last.get(word, ()))
        return tuple(sorted(common))
