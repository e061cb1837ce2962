"""What the recordings do not say and this report declares: what each tool does, and what a failure is.

A host states both, in its tool specs and by the exceptions that its tools raise. Here they are read off names
and texts, in these tables and nowhere else.
"""

from __future__ import annotations

import re
from typing import Final

from guards import ToolSpec

__all__ = ["is_empty", "is_failure", "spec_of"]

_READ_ONLY: Final = ("calculate", "check_", "find_", "get_", "list_", "search_", "think")
"""Beginnings of names of tools that change nothing, in the service domains (airline, retail, telecom)."""

_WRITING: Final = (
    "book_", "cancel_", "disable_", "enable_", "exchange_", "modify_", "pay_", "refuel_", "resume_",
    "return_", "send_", "suspend_", "transfer_", "update_",
)  # fmt: skip
"""Beginnings of names of tools that write. What stands in neither table (a shell) is of unknown nature."""

_FAILED: Final = re.compile(
    r"\s*(?:"
    r"Error\b"  # tau-bench and tau2-bench: `Error: payment method not found`
    r"|<returncode>(?!0<)-?\d+</returncode>"  # mini-swe-agent: an exit code, also grep's 1 for no match
    r"|The last command .{0,2000} timed out"
    r")",
    re.DOTALL,
)

_EMPTY: Final = frozenset({"[]", "[[]]", "{}", "null", "None"})


def spec_of(name: str) -> ToolSpec:
    """What a host would have declared."""
    if name.startswith(_READ_ONLY):
        return ToolSpec(name, read_only=True)
    return ToolSpec(name, read_only=False if name.startswith(_WRITING) else None)


def is_failure(text: str, *, flagged: bool = False) -> bool:
    """Whether a tool's answer is an error: flagged so by the recording, or by how it begins."""
    return flagged or _FAILED.match(text) is not None


def is_empty(text: str) -> bool:
    """Whether an answer found nothing; the empty text is none, since some tools answer so by design."""
    return text.strip() in _EMPTY
