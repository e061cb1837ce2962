"""Sentences that a model reads where something of its conversation is not shown."""

from __future__ import annotations

from typing import Final

__all__ = ["CLIPPED", "GAP", "LEFT_OUT", "NOTED"]

LEFT_OUT: Final = (
    "[Left out to save space: the result of {name}, {what}. It began with {head}. "
    "Call the tool again if you need more of it.]"
)
"""In place of an old tool result; `head` is JSON text, so that what a tool said stays a quotation."""
CLIPPED: Final = "\n[... {count} characters are left out here; ask for a smaller part if you need them ...]\n"
"""Between the head and the tail of a tool result that was too large."""
NOTED: Final = "Noted. I go on from there."
"""Said by the assistant behind notes on earlier messages, where a user's message follows: roles alternate."""
GAP: Final = "[Some earlier messages are left out here.]"
"""The same, behind a pinned message."""
