"""Where a view begins: what tells the prefix of one context by policies from that of another. Pure."""

from __future__ import annotations

from ..blocks import MESSAGE_FRAME
from ..view import Boundary
from .identity import short_digest
from .views import View

__all__ = ["boundary_of"]


def boundary_of(view: View, *, in_order: bool) -> Boundary:
    """The boundary of a view after all policies.

    Args:
        view: The view; units that it does not hold are left out and lie before it.
        in_order: Its policies rewrite results oldest first, so that the newest tells of all.
    """
    first_seq = tokens = 0
    opens = False
    before: list[int] = []
    behind: list[int] = []
    cleared: list[int] = []
    for unit in view.units:
        if not unit.shown:
            before += behind
            behind, opens = [], True
            continue
        if opens:
            first_seq, opens = unit.first_seq, False
        behind.append(unit.first_seq)
        cleared += unit.rewritten - view.unchanging
        for block in unit.blocks:
            tokens += block.tokens - MESSAGE_FRAME * len(block.messages)
    among = [] if in_order else sorted(cleared)
    others = short_digest([before, among]) if before or among else ""
    return Boundary(first_seq, max(cleared, default=0), others, tokens)
