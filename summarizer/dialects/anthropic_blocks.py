"""Anthropic Messages: what Claude is sent, made of chat messages, and what it answers, made into one.

Claude's answer is a list of blocks. One in the usual order (thinking, text, tool calls) becomes a chat
message as litellm writes it: the thinking in `thinking_blocks`, signatures and all. In any other order, and
with blocks that the chat shape has no word for, the content is the list of blocks itself, in which
`{"type": "tool_use", "id": ...}` marks the place of each call.

Source: the Messages API (version 2023-06-01) as the `anthropic` package 2.12 types it (November 2026).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

from ..context.breakpoints import MOST_BREAKPOINTS
from ..messages import dump_json
from .turns import parsed_arguments, parts_of

__all__ = ["AnthropicPrompt", "anthropic_messages", "chat_of_anthropic", "is_anthropic", "read_anthropic"]

Wire: TypeAlias = Mapping[str, Any]
Block: TypeAlias = dict[str, Any]

_THINKING: Final = ("thinking", "redacted_thinking")
_DATA_URL: Final = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)
_NO_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
"""What Anthropic refuses in the id of a call; other providers' ids may have it."""


class AnthropicPrompt(NamedTuple):
    """What goes into a request.

    Attributes:
        system: Text, or text blocks where one bears a cache mark; `None` without a system prompt.
        messages: User and assistant in turn.
    """

    system: str | list[Block] | None
    messages: list[Block]

    @property
    def arguments(self) -> dict[str, Any]:
        """For `client.messages.create(**prompt.arguments, ...)`: `messages`, and `system` if there is any."""
        told: dict[str, Any] = {} if self.system is None else {"system": self.system}
        return {"messages": self.messages, **told}


# From Claude


def is_anthropic(wire: Wire) -> bool:
    """Whether a mapping is a whole `Message` of Anthropic's."""
    return wire.get("type") == "message" and isinstance(wire.get("content"), list)


def read_anthropic(message: Wire) -> dict[str, Any]:
    """An answer of Claude's as a chat message; nothing of its content is lost."""
    return _assistant(cast("list[Wire]", message["content"]))


def chat_of_anthropic(
    messages: Iterable[Wire], system: str | Sequence[Wire] | None = None
) -> list[dict[str, Any]]:
    """A transcript in Anthropic's shape as chat messages, the system prompt first.

    Results of tools stand in user turns there; here each is a `tool` message.
    """
    told: list[dict[str, Any]] = []
    if system:
        told.append(
            {"role": "system", "content": system if isinstance(system, str) else [*map(dict, system)]}
        )
    for message in messages:
        content = message["content"]
        blocks: list[Wire] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        )
        if message["role"] == "assistant":
            told.append(_assistant(blocks))
            continue
        told += [_result(block) for block in blocks if block["type"] == "tool_result"]
        said = [_part(block) for block in blocks if block["type"] != "tool_result"]
        if said:
            told.append({"role": message["role"], "content": _plain(said)})
    return told


def _assistant(blocks: Sequence[Wire]) -> dict[str, Any]:
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    order = [_rank(block) for block in blocks]
    if 3 in order or order != sorted(order):
        places = [{"type": "tool_use", "id": b["id"]} if b["type"] == "tool_use" else dict(b) for b in blocks]
        message: dict[str, Any] = {"role": "assistant", "content": places}
    else:
        message = {
            "role": "assistant",
            "content": _plain([dict(block) for block in blocks if block["type"] == "text"]),
        }
        if thinking := [dict(block) for block in blocks if block["type"] in _THINKING]:
            message["thinking_blocks"] = thinking
    return message | ({"tool_calls": calls} if calls else {})


def _rank(block: Wire) -> int:
    """Where a block stands in the usual order; 3 for what has no place there."""
    kind = block["type"]
    if kind in _THINKING:
        return 0
    return {"text": 1, "tool_use": 2}.get(kind, 3)


def _plain(parts: list[Block]) -> str | list[Block] | None:
    """The text, if a single part is no more than that."""
    if not parts:
        return None
    one = parts[0]
    return one["text"] if len(parts) == 1 and one.keys() == {"type", "text"} else parts


def _call(block: Wire) -> Block:
    given = block.get("input")
    arguments = given if isinstance(given, str) else dump_json({} if given is None else given)
    rest = {key: value for key, value in block.items() if key not in ("type", "id", "name", "input")}
    function = {"name": block["name"], "arguments": arguments}
    return {"id": block["id"], "type": "function", "function": function, **rest}


def _result(block: Wire) -> dict[str, Any]:
    content: Any = block.get("content")
    read = [_part(one) for one in cast("list[Wire]", content)] if isinstance(content, list) else content
    rest = {k: v for k, v in block.items() if k not in ("type", "tool_use_id", "content")}
    told = "" if read is None else read
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": told, **rest}


def _part(block: Wire) -> Block:
    """A block of a user's as a content part; one that the chat shape has no word for stays as it is."""
    source: Wire = block.get("source") or {}
    if block["type"] != "image" or source.get("type") not in ("base64", "url"):
        return dict(block)
    url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    rest = {key: value for key, value in block.items() if key not in ("type", "source")}
    return {"type": "image_url", "image_url": {"url": url}, **rest}


# To Claude


def anthropic_messages(messages: Iterable[Wire]) -> AnthropicPrompt:
    """Chat messages as Anthropic takes them: results inside user turns, neighbours of one role merged.

    Thinking goes back with its signatures; what has none is left out, as Anthropic refuses it. So are blank
    texts, messages that hold nothing else, and cache marks beyond the four that it takes. An id that comes
    back in a later round is sent as another. A system message behind the first other one becomes text of
    the user's, in `<system>`. Content parts of an unknown type go through as they are.

    Args:
        messages: In wire shape, as contexts give them.
    """
    rest = list(messages)
    start = next((i for i, message in enumerate(rest) if message["role"] not in _SYSTEM), len(rest))
    system = [block for message in rest[:start] for block in _blocks(message.get("content"))]
    turns: list[Block] = []
    for message in rest[start:]:
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _ROLES.get(message["role"], _user)(message)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    _identify(turns)
    _limit_marks([*system, *(block for turn in turns for block in turn["content"])])
    return AnthropicPrompt(_plain(system), [_turn(**turn) for turn in turns])


def _identify(turns: Iterable[Block]) -> None:
    """Give each call an id that Anthropic takes, and none twice; other providers' may come back."""
    times: Counter[str] = Counter()
    sent: dict[str, str] = {}
    for block in (block for turn in turns for block in turn["content"]):
        if block["type"] == "tool_use":
            call_id = _NO_ID.sub("_", block["id"])
            times[call_id] += 1
            again = times[call_id] > 1
            sent[block["id"]] = block["id"] = f"{call_id}_again_{times[call_id]}" if again else call_id
        elif block["type"] == "tool_result":
            block["tool_use_id"] = sent.get(block["tool_use_id"]) or _NO_ID.sub("_", block["tool_use_id"])


def _limit_marks(blocks: Iterable[Block]) -> None:
    """Anthropic refuses more than four cache marks: the first and the newest stay."""
    marked: list[Block] = []
    for block in blocks:
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            block["content"] = inner = parts_of(block["content"])
            marked += [part for part in inner if part.get("cache_control")]
        if block.get("cache_control"):
            marked.append(block)
    if len(marked) > MOST_BREAKPOINTS:
        for one in marked[1 : 1 - MOST_BREAKPOINTS]:
            del one["cache_control"]


def _turn(role: str, content: list[Block]) -> Block:
    """Anthropic wants the results at the beginning of the turn behind their calls."""
    if role == "user":
        content = sorted(content, key=lambda block: block["type"] != "tool_result")
    return {"role": role, "content": _plain(content)}


def _user(message: Wire) -> list[Block]:
    return _blocks(message.get("content"))


def _told(message: Wire) -> list[Block]:
    blocks = _blocks(message.get("content"))
    return [{**b, "text": f"<system>\n{b['text']}\n</system>"} if b["type"] == "text" else b for b in blocks]


def _tool(message: Wire) -> list[Block]:
    content = message.get("content")
    told = content if isinstance(content, str) else _blocks(content)
    known = ("role", "content", "tool_call_id", "name")
    rest = {key: value for key, value in message.items() if key not in known}
    return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": told, **rest}]


def _spoken(message: Wire) -> list[Block]:
    calls = {call["id"]: _tool_use(call) for call in message.get("tool_calls") or ()}
    thinking: list[Wire] = message.get("thinking_blocks") or []
    blocks = [dict(block) for block in thinking if block.get("signature") or block.get("data")]
    for block in _blocks(message.get("content")):
        if block["type"] == "tool_use" and "input" not in block:
            if placed := calls.pop(block["id"], None):
                blocks.append(placed)
        elif block["type"] != "thinking" or block.get("signature"):
            blocks.append(block)
    if not blocks and isinstance(refusal := message.get("refusal"), str) and refusal.strip():
        blocks.append({"type": "text", "text": refusal})
    return [*blocks, *calls.values()]


def _tool_use(call: Wire) -> Block:
    kind: str = call.get("type") or "function"
    body: Wire = call[kind]
    rest = {key: value for key, value in call.items() if key not in ("id", "type", kind)}
    given = {"input": body["input"]} if kind == "custom" else parsed_arguments(body.get("arguments"))
    return {"type": "tool_use", "id": call["id"], "name": body["name"], "input": given, **rest}


def _blocks(content: object) -> list[Block]:
    return [block for part in parts_of(content) if (block := _block(part)) is not None]


def _block(part: Wire) -> Block | None:
    match part["type"]:
        case "text":
            return dict(part) if part["text"].strip() else None
        case "refusal":
            return {"type": "text", "text": part["refusal"]} if part["refusal"].strip() else None
        case "image_url":
            return _image(part)
        case "file":
            return _document(part)
        case _:
            return dict(part)


def _image(part: Wire) -> Block:
    given = part["image_url"]
    rest = {key: value for key, value in part.items() if key not in ("type", "image_url")}
    return {"type": "image", "source": _source(given if isinstance(given, str) else given["url"]), **rest}


def _document(part: Wire) -> Block:
    file: Wire = part["file"]
    rest = {key: value for key, value in part.items() if key not in ("type", "file")}
    if not isinstance(data := file.get("file_data"), str):
        return {"type": "document", "source": {"type": "file", "file_id": file.get("file_id")}, **rest}
    titled = {"title": file["filename"]} if file.get("filename") else {}
    return {"type": "document", "source": _source(data), **titled, **rest}


def _source(url: str) -> Block:
    if found := _DATA_URL.fullmatch(url):
        return {"type": "base64", "media_type": found[1], "data": found[2]}
    return {"type": "url", "url": url}


_SYSTEM: Final = ("system", "developer")
_ROLES: Final = {"system": _told, "developer": _told, "tool": _tool, "assistant": _spoken}
