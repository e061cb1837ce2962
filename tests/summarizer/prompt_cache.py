"""A provider's prompt cache with marks, after its published rules, for requests in our shape.

Source: Claude docs, "Prompt caching" (read 2026-11): a prefix is written where a mark stands, four a request;
each mark looks for what was written at its own block and at the 19 before it. Content, not marks, is
compared. A minimum of tokens and a lifetime are left out: they only make less of the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

LOOKBACK = 20
MOST = 4

Wire = Mapping[str, Any]


def blocks_of(messages: Sequence[Wire]) -> list[tuple[str, bool]]:
    """Every content block of a request in order: what it says, and whether a mark ends it."""
    return [block for message in messages for block in _blocks(message)]


def _blocks(message: Wire) -> Iterator[tuple[str, bool]]:
    role, content = message["role"], message["content"]
    if role == "tool":
        yield json.dumps([role, message["tool_call_id"], content]), "cache_control" in message
        return
    rest = {k: v for k, v in message.items() if k not in ("role", "content", "tool_calls")}
    if rest:
        yield json.dumps([role, rest]), False
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        said = {k: v for k, v in part.items() if k != "cache_control"}
        if said != {"type": "text", "text": ""}:
            yield json.dumps([role, said]), "cache_control" in part
    for call in message.get("tool_calls", ()):
        yield json.dumps([role, call]), False


class PromptCache:
    """What one provider keeps."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def send(self, messages: Sequence[Wire]) -> int:
        """The blocks of this request that are read from the cache; what its marks end is written."""
        prefixes: list[str] = []
        digest = blake2b()
        marks: list[int] = []
        for i, (said, marked) in enumerate(blocks_of(messages)):
            digest.update(said.encode() + b"\0")
            prefixes.append(digest.copy().hexdigest())
            marks += [i] if marked else []
        assert len(marks) <= MOST
        found = [
            i + 1
            for mark in marks
            for i in range(mark, max(-1, mark - LOOKBACK), -1)
            if prefixes[i] in self._written
        ]
        self._written.update(prefixes[i] for i in marks)
        return max(found, default=0)


def marked_blocks(messages: Sequence[Wire]) -> int:
    """Blocks up to the last mark."""
    return max((i + 1 for i, (_, marked) in enumerate(blocks_of(messages)) if marked), default=0)


def unmarked(messages: Sequence[Wire]) -> list[dict[str, Any]]:
    """The messages as they were before they were marked; a text that stands alone is a string again."""
    plain: list[dict[str, Any]] = []
    for message in messages:
        copy = {k: v for k, v in message.items() if k != "cache_control"}
        content = copy["content"]
        if isinstance(content, list) and any("cache_control" in part for part in content):
            parts = [{k: v for k, v in part.items() if k != "cache_control"} for part in content]
            copy["content"] = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
        plain.append(copy)
    return plain
