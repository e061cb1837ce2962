"""Server-sent events of a chat completion: bytes passed on as they are, a copy of them understood."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import uuid4

__all__ = ["KEEPALIVE", "Passed", "StreamReader", "StreamedAnswer", "completion", "completion_events"]

KEEPALIVE: Final = b": keepalive\n\n"
_BLANK: Final = re.compile(rb"(?:\r\n|(?<!\r)\n|\r(?!\n)){2}")
_MOST_EVENT: Final = 8 * 1024 * 1024
"""Bytes of one event; one without an end is passed on and no longer read."""
_MOST_ANSWER: Final = 12 * 1024 * 1024
"""Characters of an answer that are kept; the store's limit of one event is above it."""


@dataclass(slots=True)
class StreamedAnswer:
    """What an assistant has said so far, in choice 0 of a stream's chunks.

    Attributes:
        model: Who says it.
        usage: What was reported, as it came.
        finish_reason: Why it ended; `None` while it goes on.
        failed: Whether an error came in place of a chunk, or more than can be kept.
    """

    model: str | None = None
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    failed: bool = False
    _texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _others: dict[str, Any] = field(default_factory=dict[str, Any])
    _calls: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    _size: int = 0

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one chunk."""
        if "error" in chunk and "choices" not in chunk:
            self.failed = True
        if isinstance(model := chunk.get("model"), str) and model:
            self.model = model
        if isinstance(usage := chunk.get("usage"), Mapping):
            self.usage = cast("Mapping[str, Any]", usage)
        choices = chunk.get("choices")
        for choice in cast("list[object]", choices) if isinstance(choices, list) else ():
            if isinstance(choice, Mapping) and not cast("Mapping[str, Any]", choice).get("index"):
                self._add_choice(cast("Mapping[str, Any]", choice))

    def message(self, *, whole: bool) -> dict[str, Any] | None:
        """The assistant's message; `None` if nothing was said.

        Args:
            whole: Whether the answer came to its end. Of one that did not, calls are left out: nobody
                can know whether their arguments are all there.
        """
        said = {name: "".join(parts) for name, parts in self._texts.items()}
        message: dict[str, Any] = {"role": "assistant", "content": said.pop("content", None) or None}
        message |= {name: text for name, text in said.items() if text}
        message |= self._others
        calls = [call for _, call in sorted(self._calls.items())]
        if whole and calls:
            message["tool_calls"] = calls
        if not whole:
            message.pop("function_call", None)
        return message if any(value for key, value in message.items() if key != "role") else None

    def response(self, *, whole: bool) -> dict[str, Any] | None:
        """The same as a response that did not come in events."""
        message = self.message(whole=whole)
        if message is None:
            return None
        found: dict[str, Any] = {"choices": [{"message": message, "finish_reason": self.finish_reason}]}
        return found | {"model": self.model, "usage": self.usage}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason
        delta = choice.get("delta")
        for name, value in cast("Mapping[str, Any]", delta).items() if isinstance(delta, Mapping) else ():
            if name == "tool_calls":
                for call in cast("list[object]", value) if isinstance(value, list) else ():
                    if isinstance(call, Mapping):
                        self._add_call(cast("Mapping[str, Any]", call))
            elif name != "role" and value is not None:
                self._add_value(name, value)

    def _add_value(self, name: str, value: object) -> None:
        if isinstance(value, str):
            self._grow(value)
            self._texts.setdefault(name, []).append(value)
        elif isinstance(value, list):
            known = self._others.get(name)
            before = cast("list[Any]", known) if isinstance(known, list) else []
            self._others[name] = [*before, *cast("list[Any]", value)]
        elif isinstance(value, dict):
            if not isinstance(self._others.get(name), dict):
                self._others[name] = {}
            self._merge(self._others[name], cast("dict[str, Any]", value))
        else:
            self._others[name] = value

    def _add_call(self, delta: Mapping[str, Any]) -> None:
        index = delta.get("index")
        at = index if isinstance(index, int) else len(self._calls)
        call = self._calls.setdefault(at, {"id": "", "type": "function"})
        self._merge(call, {k: v for k, v in delta.items() if k != "index"})

    def _merge(self, known: dict[str, Any], delta: Mapping[str, Any]) -> None:
        """Names and ids come whole, texts in pieces."""
        for name, value in delta.items():
            if isinstance(value, Mapping):
                inner = known.setdefault(name, {})
                if isinstance(inner, dict):
                    self._merge(cast("dict[str, Any]", inner), cast("Mapping[str, Any]", value))
            elif isinstance(value, str) and name in _IN_PIECES:
                self._grow(value)
                known[name] = str(known.get(name) or "") + value
            elif value is not None and value != "":
                known[name] = value

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > _MOST_ANSWER:
            self.failed = True
            self._texts.clear()
            self._calls.clear()


_IN_PIECES: Final = frozenset({"arguments", "input", "data", "transcript"})


@dataclass(frozen=True, slots=True)
class Passed:
    """What to pass on of some bytes: now, and once the answer is recorded."""

    now: bytes
    held: bytes = b""


class StreamReader:
    """Reads a copy of a stream; its bytes come out as they went in, wherever they were split.

    Events come out whole, so that a comment or an error can stand between any two.

    Args:
        strip_usage: Leave out the frame that holds nothing but usage, since the client did not ask for it.

    Attributes:
        answer: What was said so far.
        done: Whether `[DONE]` has come.
    """

    def __init__(self, *, strip_usage: bool) -> None:
        self.answer = StreamedAnswer()
        self.done = False
        self._strip = strip_usage
        self._event = bytearray()
        self._searched = 0
        self._blind = False

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end."""
        return not self.answer.failed and (self.done or self.answer.finish_reason is not None)

    def feed(self, chunk: bytes) -> Passed:
        """Take in some bytes, however they were split."""
        if self._blind:
            return Passed(chunk)
        self._event += chunk
        now, held = bytearray(), bytearray()
        start = 0
        while (match := _BLANK.search(self._event, max(start, self._searched - 3))) is not None:
            raw = bytes(self._event[start : match.end()])
            if self._take(raw):
                (held if self.done else now).extend(raw)
            start = self._searched = match.end()
        del self._event[:start]
        self._searched = len(self._event)
        if len(self._event) > _MOST_EVENT:
            self._blind = self.answer.failed = True
            now += self._event
            self._event.clear()
        return Passed(bytes(now), bytes(held))

    def rest(self) -> bytes:
        """What is left at the stream's orderly end: an event that no blank line follows."""
        rest = bytes(self._event)
        self._event.clear()
        return rest if not rest.strip() or self._take(rest) else b""

    def _take(self, raw: bytes) -> bool:
        """Read an event; whether it is the client's to see."""
        lines = [line[5:].removeprefix(b" ") for line in raw.splitlines() if line.startswith(b"data:")]
        data = b"\n".join(lines).strip()
        if data == b"[DONE]":
            self.done = True
            return True
        try:
            chunk: object = json.loads(data.decode()) if data else None
        except (ValueError, RecursionError):
            return True  # Not ours to judge: it goes to the client as it is.
        if not isinstance(chunk, dict):
            return True
        chunk = cast("dict[str, Any]", chunk)
        self.answer.add(chunk)
        return not (self._strip and chunk.get("choices") == [] and isinstance(chunk.get("usage"), Mapping))


def completion(message: Mapping[str, Any], finish_reason: str, model: str | None) -> dict[str, Any]:
    """A completion of ours: nobody was asked for it, and nothing was used."""
    said = {"role": "assistant", "content": None, "refusal": None, **message}
    return {
        "id": f"chatcmpl-longsplice-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model or "",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def completion_events(completion: Mapping[str, Any], *, usage: bool) -> bytes:
    """The same as a stream."""
    choice = completion["choices"][0]
    head = {k: v for k, v in completion.items() if k not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    said = {k: v for k, v in choice["message"].items() if k != "role" and v is not None}
    if "tool_calls" in said:
        said["tool_calls"] = [{"index": i, **call} for i, call in enumerate(said["tool_calls"])]
    pieces: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        (said, None),
        ({}, choice["finish_reason"]),
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in pieces]
    if usage:
        chunks.append({**head, "choices": [], "usage": completion["usage"]})
    frames = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join([*frames, "data: [DONE]\n\n"]).encode("utf-8", "replace")
