"""The prompt that virtual memory gives, put together within its budget. Pure.

The parts stand in the order of how rarely they change, so that a provider's prompt cache holds: system
prompt and rules, resident pages in the order in which they came in, then what serves one question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from ..meter import TokenCounter, tool_tokens
from ..meter.counting import REPLY_PRIMING
from .manifest import manifest_head
from .pages import Level
from .renditions import weigh

__all__ = [
    "CONTEXT",
    "MANIFEST",
    "PREFETCHED",
    "Frame",
    "MemoryContext",
    "Shown",
    "assemble",
    "block",
    "content",
    "fixed_tokens",
    "system_text",
]

_RULES: Final = "<VM:RULES>\n{}\n</VM:RULES>"
CONTEXT: Final = ("<VM:CONTEXT>", "</VM:CONTEXT>")
PREFETCHED: Final = ("<VM:PREFETCHED>", "</VM:PREFETCHED>")
MANIFEST: Final = ("<VM:MANIFEST_JSON>", "</VM:MANIFEST_JSON>")
_MESSAGES: Final = 3
_MESSAGE_FRAME: Final = 4
"""Tokens around one message; see `summarizer.meter.counting`."""


class MemoryContext(TypedDict):
    """What `MemoryManager.build_context` gives; JSON values throughout."""

    developer_message: str
    """Everything as one text, for hosts that send it so. It carries no media, only their captions."""
    messages: list[dict[str, Any]]
    """The same, ready to send: the system message, the pages as a user message, then manifest and
    prefetched pages as another. Put the last one after the newest user message, and do not record it."""
    tools: list[dict[str, Any]]
    """Tool schemas to send along; empty in PASSIVE mode."""
    tokens: int
    """Of messages and tools together; an upper bound, never above the budget."""
    shown: dict[str, str]
    """The level at which each resident page is shown, by page id."""
    prefetched: list[str]
    """Pages shown for this question only."""
    left_out: list[str]
    """Pinned pages for which there was no room even as a reference."""
    not_shown: int
    """Pages that are not shown at all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One record of the prompt."""

    page_id: str
    level: Level
    line: str
    tokens: int
    part: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What of a prompt does not depend on the pages.

    Attributes:
        system: The system message.
        tools: Tool schemas.
        tokens: Of both, the tags, an empty manifest and the frames of the messages.
    """

    system: str
    tools: tuple[dict[str, Any], ...]
    tokens: int


def system_text(system_prompt: str, rules: str) -> str:
    """The host's prompt as it is, then the rules."""
    block = _RULES.format(rules)
    return f"{system_prompt}\n\n{block}" if system_prompt else block


def fixed_tokens(system: str, tools: Sequence[Mapping[str, Any]], counter: TokenCounter) -> int:
    """Upper bound on the tokens of a prompt without any page."""
    tags = [tag for pair in (CONTEXT, PREFETCHED, MANIFEST) for tag in pair]
    return (
        REPLY_PRIMING
        + _MESSAGES * _MESSAGE_FRAME
        + weigh(system, counter)
        + sum(weigh(tag, counter) for tag in tags)
        + manifest_head(counter)
        + tool_tokens(tools, counter)
    )


def assemble(
    frame: Frame,
    residents: Sequence[Shown],
    prefetched: Sequence[Shown],
    manifest: tuple[str, int],
    *,
    left_out: Sequence[str],
    not_shown: int,
) -> MemoryContext:
    """The finished context; the caller has seen to it that the parts fit.

    `manifest` is its text, and the tokens of what it lists.
    """
    context = block(CONTEXT, [record.line for record in residents])
    suffix = block(MANIFEST, [manifest[0]])
    if prefetched:
        suffix = f"{block(PREFETCHED, [record.line for record in prefetched])}\n{suffix}"
    records = sum(record.tokens for record in (*residents, *prefetched))
    return {
        "developer_message": f"{frame.system}\n{context}\n{suffix}",
        "messages": [
            {"role": "system", "content": frame.system},
            {"role": "user", "content": content(context, residents)},
            {"role": "user", "content": content(suffix, prefetched)},
        ],
        "tools": list(frame.tools),
        "tokens": frame.tokens + records + manifest[1],
        "shown": {record.page_id: record.level.label for record in residents},
        "prefetched": [record.page_id for record in prefetched],
        "left_out": list(left_out),
        "not_shown": not_shown,
    }


def block(tags: tuple[str, str], lines: Sequence[str]) -> str:
    """Lines between their tags."""
    return "\n".join((tags[0], *lines, tags[1]))


def content(text: str, records: Sequence[Shown]) -> str | list[dict[str, Any]]:
    """A message's content: the text, followed by the media of its records in their order."""
    media = [dict(record.part) for record in records if record.part is not None]
    return [{"type": "text", "text": text}, *media] if media else text
