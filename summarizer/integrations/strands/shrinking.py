"""How a history is made smaller without breaking it: where it may be cut, what may stand for a result. Pure.

Every function takes messages and gives new ones; a message that the agent holds is never changed in place,
since a session may have recorded it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from . import wording
from .blocks import (
    Block,
    Message,
    blocks_of,
    call_ids,
    custom_of,
    is_plain_user,
    mark_of,
    marked,
    metadata_of,
    result_ids,
)

__all__ = [
    "Cut",
    "clipped",
    "cuts_of",
    "is_pinned",
    "joined",
    "pinned",
    "pinned_in",
    "stand_in",
    "with_results",
]

_HEAD_SHOWN: Final = 80
"""Characters of an old result that its stand-in quotes."""
_SMALLEST_CLIP: Final = 200
"""Characters that a clipped text keeps at either end, at least."""

Weigh = Callable[[Block], int]


@dataclass(frozen=True, slots=True)
class Cut:
    """A place at which the messages before it may be left out.

    Attributes:
        at: Index of the first message that stays.
        task: Index of the user's message that opened the turn, if the place is inside a turn; it stays too.
    """

    at: int
    task: int | None


def cuts_of(messages: Sequence[Message]) -> list[Cut]:
    """The places to cut at, the oldest first: before a user's own message, or between finished tool rounds.

    No cut parts a tool use from its result. Inside a turn there is a cut only if the user's message that
    opened it is there.
    """
    last_use: dict[str, int] = {}
    opened: list[int] = [0] * (len(messages) + 1)  # How many pairs span the border before a message.
    for i, message in enumerate(messages):
        for result in result_ids(message):
            if (use := last_use.get(result)) is not None:
                opened[use + 1] += 1
                opened[i + 1] -= 1
        for use_id in call_ids(message):
            last_use[use_id] = i
    found: list[Cut] = []
    spanning, task = 0, None
    for i, message in enumerate(messages):
        spanning += opened[i]
        plain = is_plain_user(message)
        if plain:
            task = i
        if spanning == 0 and (plain or (message.get("role") == "assistant" and task is not None)):
            found.append(Cut(i, None if plain else task))
    return found


def is_pinned(message: Mapping[str, Any]) -> bool:
    """Whether the message itself is pinned, in the way Strands marks it (`metadata.custom.pinned`)."""
    return custom_of(message).get("pinned") is True


def pinned(message: Message) -> Message:
    """The message, pinned; a copy."""
    metadata = {**metadata_of(message), "custom": {**custom_of(message), "pinned": True}}
    return {**message, "metadata": metadata}


def pinned_in(messages: Sequence[Message]) -> set[int]:
    """Indices of what is pinned, a pinned tool use with its results and the other way round."""
    found = {i for i, message in enumerate(messages) if is_pinned(message)}
    held = {call for i in found for call in (*call_ids(messages[i]), *result_ids(messages[i]))}
    if held:
        found |= {i for i, m in enumerate(messages) if not held.isdisjoint((*call_ids(m), *result_ids(m)))}
    return found


def joined(head: Sequence[Message], tail: Sequence[Message]) -> list[Message]:
    """Both, with a word between wherever two messages of one role would meet: roles alternate."""
    found: list[Message] = []
    for message in (*head, *tail):
        if found and message.get("role") == found[-1].get("role") and _ours_or_pinned(found[-1]):
            said = wording.NOTED if mark_of(found[-1]) else wording.GAP
            found.append(marked("assistant" if message.get("role") == "user" else "user", said, "gap"))
        found.append(message)
    return found


def _ours_or_pinned(message: Message) -> bool:
    return mark_of(message) is not None or is_pinned(message)


# Tool results


def stand_in(message: Message, caller: Message, weigh: Weigh) -> Message | None:
    """The message with a short stand-in for each of its results that is larger; `None` if none is.

    Args:
        message: With tool results.
        caller: The message before it, which names the tools.
        weigh: Tokens of a block.
    """
    names = _names_of(caller)

    def short(result: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        content = cast("list[Block]", result.get("content") or [])
        said = wording.LEFT_OUT.format(
            name=names.get(str(result.get("toolUseId")), "a tool"), what=_what(content), head=_head(content)
        )
        stand: list[dict[str, Any]] = [{"text": said}]
        return stand if weigh(stand[0]) < sum(map(weigh, content)) else None

    return with_results(message, short)


def clipped(message: Message, most: int, weigh: Weigh) -> Message | None:
    """The message with each text of a result cut down to head and tail, so that no result weighs over `most`.

    Media stay as they are: `stand_in` replaces them. `None` if nothing changed.
    """

    def short(result: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        content = [dict(block) for block in cast("list[Block]", result.get("content") or [])]
        weight = sum(map(weigh, content))
        texts = {i: t for i, block in enumerate(content) if (t := _text_of(block)) is not None}
        written = sum(weigh(content[i]) for i in texts)
        if weight <= most or not written:
            return None
        share = max(0.0, (most - (weight - written)) / written)
        cut = {i: _clip(text, int(len(text) * share)) for i, text in texts.items()}
        if all(len(cut[i]) >= len(text) for i, text in texts.items()):
            return None
        return [{"text": cut[i]} if i in cut else block for i, block in enumerate(content)]

    return with_results(message, short)


def with_results(
    message: Message, change: Callable[[Mapping[str, Any]], list[dict[str, Any]] | None]
) -> Message | None:
    """A copy with the content of its results changed; `None` if `change` gave `None` for each."""
    changed = False
    blocks: list[dict[str, Any]] = []
    for block in blocks_of(message):
        content = change(block["toolResult"]) if "toolResult" in block else None
        if content is None:
            blocks.append(block)
        else:
            changed = True
            blocks.append({**block, "toolResult": {**block["toolResult"], "content": content}})
    return {**message, "content": blocks} if changed else None


def _names_of(message: Mapping[str, Any]) -> dict[str, str]:
    uses = [block["toolUse"] for block in blocks_of(message) if "toolUse" in block]
    return {str(use.get("toolUseId")): str(use.get("name")) for use in uses}


def _text_of(block: Block) -> str | None:
    if isinstance(text := block.get("text"), str):
        return text
    return json.dumps(block["json"], ensure_ascii=False, default=str) if "json" in block else None


def _what(content: Sequence[Block]) -> str:
    texts = [text for block in content if (text := _text_of(block)) is not None]
    found = [f"{sum(map(len, texts)):,} characters of text"] if texts else []
    kinds = [kind for block in content for kind in block if kind not in ("text", "json")]
    found += [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return " and ".join(found) or "empty"


def _head(content: Sequence[Block]) -> str:
    text = next((text for block in content if (text := _text_of(block))), "")
    return json.dumps(" ".join(text[: 4 * _HEAD_SHOWN].split())[:_HEAD_SHOWN], ensure_ascii=False)


def _clip(text: str, most: int) -> str:
    """Head and tail of the text, the note between them included in `most` where that leaves any."""
    side = max(_SMALLEST_CLIP, (most - len(wording.CLIPPED)) // 2)
    if 2 * side >= len(text):
        return text
    return text[:side] + wording.CLIPPED.format(count=f"{len(text) - 2 * side:,}") + text[-side:]
