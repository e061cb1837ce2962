"""Loops of tool calls that the client runs: judged from the log, before the model is asked again.

The endpoint never runs a tool, so it cannot refuse a call. It sees the calls that the model made and the
results that came back; where they repeat without progress, the guard's words stand before the newest
result that the model reads (for this request alone: the log keeps the result as it came). Where the guard
says that the run must end, the model is not asked any more, and its words are the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..session import SessionManager

__all__ = ["Judgement", "judged", "nudged"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard says before the model is asked.

    Attributes:
        words: For the model, or where the run ends for the client; empty if there is nothing to say.
        reason_code: Such as `loop.repeat`; `None` if there is nothing to say.
        stops: Whether the run ends here.
    """

    words: str = ""
    reason_code: str | None = None
    stops: bool = False


async def judged(sm: SessionManager, messages: Sequence[Mapping[str, Any]]) -> Judgement:
    """Judge the run, if a tool's result has just come."""
    if not messages or messages[-1].get("role") != "tool":
        return Judgement()
    verdict = (await sm.tools.open()).check_runaway()
    return Judgement(verdict.message, verdict.reason_code, verdict.should_stop)


def nudged(messages: Sequence[Mapping[str, Any]], words: str) -> list[Mapping[str, Any]]:
    """The messages with the guard's words before the newest tool result."""
    at = max((i for i, message in enumerate(messages) if message.get("role") == "tool"), default=-1)
    if at < 0 or not words:
        return list(messages)
    content = messages[at].get("content")
    if isinstance(content, list):
        told: Any = [{"type": "text", "text": words}, *content]
    else:
        told = f"{words}\n\n{content or ''}"
    return [*messages[:at], {**messages[at], "content": told}, *messages[at + 1 :]]
