"""What a script answered: words, parts, or the error that its first letter stands for. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import PartialBatch, SchemaTooNew, SessionErased, SessionNotFound, StoreConflict
from .scripts import SCHEMA

__all__ = ["answer", "optional_json", "parts"]


def answer(
    told: bytes, session_id: str, *, write: bool = False, passing: bytes = b"", expect: int | None = None
) -> tuple[Sequence[bytes], bytes]:
    """The words of a reply and the head behind them, or the error that its first letter stands for."""
    numbers, _, head = told.partition(b"\t")
    words = numbers.split(b" ")
    letter = words[0]
    if letter in (b"A", passing):
        return words, head
    if letter == b"X" and write:
        raise SessionErased(session_id)
    if letter in (b"N", b"X"):
        raise SessionNotFound(session_id)
    if letter == b"C":
        raise StoreConflict(f"expected last seq {expect}, the log is at {int(words[1])}; load and try again")
    if letter == b"P":
        raise PartialBatch(f"a batch for {session_id!r} is in the log only in part; use fresh event ids")
    assert letter == b"V", told
    raise SchemaTooNew(f"session {session_id!r}", int(words[1]), SCHEMA)


def parts(reply: Any, *otherwise: Any) -> Sequence[Any]:
    """The parts of a reply that carries more than words; a refusal has `otherwise` in their place."""
    return (reply, *otherwise) if isinstance(reply, bytes) else reply


def optional_json(text: bytes) -> Mapping[str, Any] | None:
    """Stored JSON; nothing stored is `None`."""
    return json.loads(text) if text else None
