"""Hits as a model reads them: recorded data in a frame that no text can leave. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from .hits import RecallHit
from .wording import FRAME_CLOSE, FRAME_OPEN, HEADING

__all__ = ["render"]

_LINE_ENDS: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x7f\x85\u2028\u2029"}
"""What some readers take for a line's end, and JSON leaves as it is."""


def render(hits: Sequence[RecallHit], heading: str = HEADING, *, note: str = "") -> str:
    """The hits, oldest first, each one line of JSON between the frame's two lines; the note is ours."""
    lines = [_line(hit) for hit in sorted(hits, key=lambda hit: hit.seq)]
    return "\n".join([heading, *lines, *([note] if note else []), FRAME_CLOSE])


def _line(hit: RecallHit) -> str:
    """One line in which no line of the frame stands, nor begins."""
    fields = {
        "event": hit.seq,
        "at": hit.at.isoformat(timespec="seconds"),
        "role": hit.role,
        "text": hit.text,
    }
    if hit.before:
        fields["said_before"] = hit.before
    if hit.after:
        fields["said_after"] = hit.after
    line = json.dumps(fields, ensure_ascii=False).translate(_LINE_ENDS)
    for mark in (FRAME_OPEN, FRAME_CLOSE):
        line = line.replace(mark, f"\\u005b{mark[1:]}")
    return line
