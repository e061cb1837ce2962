"""What messages and requests weigh: text, tool calls, media, and the frame around each message.

The frame is OpenAI's: 3 tokens a message, 1 more for a `name`, 3 once for the reply that follows.
It gives the API's figures for the example of OpenAI's Cookbook ("How to count tokens with
tiktoken", section 6, read 2026-11): 129 on gpt-4, 124 on gpt-4o. Other providers frame differently
by a few tokens; `Calibration` learns that with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from summarizer.errors import InvalidMessage

from .media import media_tokens
from .tokens import TokenCounter, counter_for_model
from .tools import tool_tokens

__all__ = ["REPLY_PRIMING", "count_tokens", "message_tokens", "request_tokens"]

REPLY_PRIMING: Final = 3
"""Tokens that open the reply, once a request."""
_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_PER_CALL: Final = 3
"""Around one tool call: to the model it is a message of its own, addressed to the function."""
_TEXT_KEYS: Final = ("text", "refusal", "thinking", "transcript", "input_text", "output_text")
_UNSEEN_KEYS: Final = frozenset({"type", "id", "cache_control"})
"""Keys of a part that the model is not shown."""
_BLOB_KEYS: Final = frozenset({"data", "file_data", "b64_json", "bytes", "signature", "encrypted_content"})
"""Keys of opaque content, which no provider counts by its length."""
_SHORT: Final = 200
"""Characters up to which a string under such a key is taken for a word."""

Wire = Mapping[str, Any]


def count_tokens(
    text_or_messages: str | Wire | Sequence[Wire],
    *,
    model: str | None = None,
    tools: Sequence[Wire] | None = None,
) -> int:
    """Count the tokens of a text, of one message, or of a request. Offline; synchronous.

    Args:
        text_or_messages: A `str` counts as bare text. A message, or a list of them, in the
            Chat Completions shape counts as a request: frames and the reply's priming included.
        model: Exact for OpenAI models; for others, and for `None`, the nearest table
            (see `counter_for_model`).
        tools: Tool schemas that go with the request.

    Raises:
        InvalidMessage: Not a text and not made of mappings.

    Cost: the tokenizer's own time; the first call of a process reads the rank table (0.1 to 0.5 s).
    """
    counter = counter_for_model(model)
    if isinstance(text_or_messages, str):
        return counter.count(text_or_messages) + tool_tokens(tools or (), counter)
    if isinstance(text_or_messages, Mapping):
        text_or_messages = [text_or_messages]
    if not isinstance(text_or_messages, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        given = type(text_or_messages).__name__
        raise InvalidMessage(f"count_tokens needs a text, a message or a list of messages, got {given!r}")
    return request_tokens(text_or_messages, counter, model=model, tools=tools)


def request_tokens(
    messages: Sequence[Wire],
    counter: TokenCounter,
    *,
    model: str | None = None,
    tools: Sequence[Wire] | None = None,
) -> int:
    """Tokens of a whole prompt: every message, the tool schemas, the reply's priming.

    Raises:
        InvalidMessage: A message is no mapping.
    """
    total = REPLY_PRIMING + sum(message_tokens(message, counter, model) for message in messages)
    if tools:
        with_system = any(message.get("role") in ("system", "developer") for message in messages)
        total += tool_tokens(tools, counter, with_system=with_system)
    return total


def message_tokens(message: Wire, counter: TokenCounter, model: str | None = None) -> int:
    """Tokens of one message, its frame included and the reply's priming not.

    Counted: role, name, content, reasoning that is sent back, and of each tool call its name and
    arguments. Not counted: the ids that pair calls with results, which models are not shown.

    Args:
        message: In the Chat Completions shape; content parts of Responses, Anthropic and Gemini
            are understood too. Unknown parts count as compact JSON, without their base64.
        counter: Whose tokens.
        model: Whose formulas price images and files; the text is `counter`'s.

    Raises:
        InvalidMessage: Not a mapping.
    """
    if not isinstance(message, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # Users pass anything.
        given = type(message).__name__
        raise InvalidMessage(
            f"a message must be a mapping, got {given!r}; send {{'role': ..., 'content': ...}}"
        )
    content = message.get("content")
    total = _PER_MESSAGE + _text(message.get("role"), counter)
    total += counter.count(content) if type(content) is str else _content_tokens(content, counter, model)
    if len(message) == 2 and "content" in message:
        return total
    if name := message.get("name"):
        total += _PER_NAME + _text(name, counter)
    for key in ("refusal", "function_call", "tool_calls", "audio"):
        value = message.get(key)
        if value and "call" in key:
            total += _call_tokens(value, counter)
        elif value:
            total += _content_tokens(value, counter, model)
    # litellm carries the same reasoning twice: as text, and as the provider's blocks.
    reasoning = message.get("thinking_blocks") or message.get("reasoning_content")
    return total + _content_tokens(reasoning, counter, model)


def _text(value: object, counter: TokenCounter) -> int:
    if isinstance(value, str):
        return counter.count(value)
    return 0 if value is None else counter.count(_json(value))


def _call_tokens(calls: object, counter: TokenCounter) -> int:
    """Tokens of `tool_calls`, or of the single call of the older `function_call`."""
    listed = cast("Sequence[object]", calls) if isinstance(calls, (list, tuple)) else [calls]
    total = 0
    for call in listed:
        total += _PER_CALL
        if not isinstance(call, Mapping):
            total += _text(call, counter)
            continue
        call = cast("Wire", call)
        inner = call.get("function") or call.get("custom")
        body = cast("Wire", inner) if isinstance(inner, Mapping) else call
        total += _text(body.get("name"), counter) + _text(body.get("arguments", body.get("input")), counter)
    return total


def _content_tokens(content: object, counter: TokenCounter, model: str | None) -> int:
    if content is None:
        return 0
    if isinstance(content, str):
        return counter.count(content)
    if isinstance(content, (list, tuple)):
        return sum(_part_tokens(part, counter, model) for part in cast("Sequence[object]", content))
    return _part_tokens(content, counter, model)


def _part_tokens(part: object, counter: TokenCounter, model: str | None) -> int:
    if not isinstance(part, Mapping):
        return _text(part, counter)
    part = cast("Wire", part)
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return counter.count(part["text"])
    media = media_tokens(part, model, counter.count)
    if media is not None:
        return media
    if part.get("type") == "tool_use":
        return _call_tokens(part, counter)
    texts = [text for key in _TEXT_KEYS if isinstance(text := part.get(key), str)]
    if texts:
        return sum(map(counter.count, texts))
    if "content" in part:  # Anthropic's and Gemini's results, nested.
        return _content_tokens(part["content"], counter, model)
    return _text({k: _without_blobs(v, k) for k, v in part.items() if k not in _UNSEEN_KEYS}, counter)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _without_blobs(value: object, key: object, depth: int = 0) -> object:
    """The value under `key` with opaque strings left out, nested at most 50 deep."""
    if depth > 50:
        return "..."
    if isinstance(value, Mapping):
        return {
            str(k): _without_blobs(v, k, depth + 1) for k, v in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, (list, tuple)):
        return [_without_blobs(item, key, depth + 1) for item in cast("Sequence[object]", value)]
    if isinstance(value, str) and (value.startswith("data:") or (key in _BLOB_KEYS and _looks_opaque(value))):
        return ""
    return value


def _looks_opaque(text: str) -> bool:
    return len(text) > _SHORT and not any(map(str.isspace, text[:_SHORT]))
