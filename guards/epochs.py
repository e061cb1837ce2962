"""Write epochs: whether something may have changed since a result was read.

A scope names what a tool reads or writes (`orders`, `file:/etc/hosts`); `None` is anything.
A write moves its own scope; a write to anything moves every scope, and whoever reads anything
sees every write. So a result may be used again only while its scope's epoch stands still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Epochs"]

_SCOPES = 4096
"""Scopes with an epoch of their own; beyond, all of them are moved at once and forgotten."""


class Epochs:
    """Counters of writes, one a scope. Only ever grow."""

    def __init__(self) -> None:
        self._all = 0
        self._everywhere = 0
        self._of: dict[str, int] = {}

    def current(self, scope: str | None) -> int:
        """The scope's epoch: any write that may have touched it has moved it."""
        if scope is None:
            return self._all
        return max(self._everywhere, self._of.get(scope, 0))

    def move(self, scope: str | None) -> None:
        """Something was written in the scope."""
        self._all += 1
        if scope is None or (scope not in self._of and len(self._of) >= _SCOPES):
            self._everywhere = self._all
            self._of.clear()
        else:
            self._of[scope] = self._all

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        return {"all": self._all, "everywhere": self._everywhere, "of": dict(self._of)}

    @classmethod
    def restore(cls, value: Mapping[str, Any]) -> Epochs:
        """The inverse of `snapshot`."""
        epochs = cls()
        epochs._all, epochs._everywhere = int(value["all"]), int(value["everywhere"])
        epochs._of = {str(scope): int(epoch) for scope, epoch in value["of"].items()}
        return epochs
