"""An answer put together from the chunks of its stream: Chat Completions, Anthropic, OpenAI Responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from ..messages import as_wire
from .anthropic_blocks import read_anthropic
from .responses import read_responses
from .turns import parsed_arguments, parts_of

__all__ = ["AnswerBuilder"]

Wire: TypeAlias = Mapping[str, Any]

_GROWS: Final = frozenset(
    ("content", "refusal", "reasoning_content", "reasoning", "thinking", "text", "arguments", "input")
)
"""Fields of a delta whose texts follow each other; any other one replaces what was there."""
_UNNAMED: Final = "unnamed"
"""Name of a call that came without one, which no log takes."""


class _Reader(Protocol):
    """Takes in the chunks of one protocol."""

    done: bool
    model: str | None
    usage: Any

    def add(self, chunk: object) -> None: ...

    def message(self) -> dict[str, Any] | None: ...


class AnswerBuilder:
    """Puts an answer together from chunks: mappings, or the SDKs' own objects. The first tells the protocol.

    Of several choices the first is taken. Chunks of a kind that is not known are passed over.

    Example:
        ```python
        answer = AnswerBuilder()
        for chunk in client.chat.completions.create(stream=True, ...):
            answer.add(chunk)
        sm.record(answer.message(), usage=answer.usage, model=answer.model)
        ```
    """

    def __init__(self) -> None:
        self._reader: _Reader | None = None

    @property
    def is_done(self) -> bool:
        """Whether the model said that the answer ends here; a stream that stops before was cut."""
        return self._reader is not None and self._reader.done

    @property
    def usage(self) -> Any:
        """What the provider reported, in its own shape; `None` if nothing (yet)."""
        return None if self._reader is None else self._reader.usage

    @property
    def model(self) -> str | None:
        """The model that answers; `None` if it was not said."""
        return None if self._reader is None else self._reader.model

    def add(self, chunk: object) -> None:
        """Take in one chunk; it is not changed."""
        if _field(chunk, "type") == "chunk":  # OpenAI's helper `stream()` wraps what came.
            chunk = _field(chunk, "chunk")
        if self._reader is None:
            self._reader = _reader_of(chunk)
        if self._reader is not None:
            self._reader.add(chunk)

    def message(self) -> dict[str, Any] | None:
        """The answer as it stands, as a chat message; `None` if nothing was said.

        Before the end it makes no calls, since their arguments may be cut; see `unfinished_calls`.
        """
        message = None if self._reader is None else self._reader.message()
        return message if message is None or self.is_done else _without_calls(message)

    def unfinished_calls(self) -> list[dict[str, Any]]:
        """The calls that a cut answer was about to make, as far as they came."""
        message = None if self._reader is None or self.is_done else self._reader.message()
        return [] if message is None else list(message.get("tool_calls") or ())


def _without_calls(message: dict[str, Any]) -> dict[str, Any] | None:
    """What a cut answer said. Providers refuse calls without results, and reasoning without its follower."""
    for key in ("tool_calls", "function_call", "responses_output"):
        message.pop(key, None)
    if isinstance(content := message.get("content"), list):
        parts = cast("list[dict[str, Any]]", content)
        answered = {part.get("tool_use_id") for part in parts}
        message["content"] = [
            part
            for part in parts
            if not str(part.get("type")).endswith("tool_use") or part.get("id") in answered
        ]
    return message if any(value for key, value in message.items() if key != "role") else None


def _reader_of(chunk: object) -> _Reader | None:
    kind = _field(chunk, "type")
    if _field(chunk, "choices") is not None:
        return _ChatReader()
    if kind == "message_start":
        return _AnthropicReader()
    return _ResponsesReader() if isinstance(kind, str) and kind.startswith("response.") else None


def _field(value: object, name: str) -> Any:
    return cast("Wire", value).get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _listed(value: object) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


class _ChatReader:
    """Chat Completions, and what providers add to it: reasoning, audio, blocks."""

    def __init__(self) -> None:
        self.done = False
        self.model: str | None = None
        self.usage: Any = None
        self._delta: dict[str, Any] = {}

    def add(self, chunk: object) -> None:
        self.model = self.model or _field(chunk, "model")
        self.usage = _field(chunk, "usage") or self.usage
        for choice in _listed(_field(chunk, "choices")):
            if _field(choice, "index") not in (0, None):
                continue
            delta = _field(choice, "delta")
            if delta is not None:
                _grow(self._delta, as_wire(delta))
            self.done = self.done or _field(choice, "finish_reason") is not None

    def message(self) -> dict[str, Any] | None:
        if not self._delta and not self.done:
            return None
        message: dict[str, Any] = {"content": None, **self._delta, "role": "assistant"}
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_called(call, i) for i, call in enumerate(calls)]
        return message


def _called(call: Wire, i: int) -> dict[str, Any]:
    """A call as it stands in a whole message; some servers send no id, some models no name."""
    rest = {key: value for key, value in call.items() if key not in ("index", "id", "type", "function")}
    kind = call.get("type") or "function"
    body: Wire = call.get(kind) or {}
    body = {**body, "name": body.get("name") or _UNNAMED} if kind == "custom" else _function(body)
    return {"id": call.get("id") or f"call_{i}", "type": kind, **rest, kind: body}


def _function(body: Wire) -> dict[str, Any]:
    return {"name": body.get("name") or _UNNAMED, "arguments": body.get("arguments") or ""}


def _grow(held: dict[str, Any], delta: Wire) -> None:
    for key, value in delta.items():
        old = held.get(key)
        if value is None or (value == "" and old):  # Some servers repeat ids, names and roles empty.
            continue
        if key == "content" and {type(old), type(value)} == {str, list}:
            held[key] = _parts_grown(parts_of(old), parts_of(value))
        elif isinstance(value, Mapping):
            inner = held[key] = cast("dict[str, Any]", old) if isinstance(old, dict) else {}
            _grow(inner, cast("Wire", value))
        elif isinstance(value, list):
            listed = held[key] = cast("list[Any]", old) if isinstance(old, list) else []
            for item in cast("list[Any]", value):
                _grow_list(listed, item)
        elif isinstance(old, str) and isinstance(value, str) and key in _GROWS:
            held[key] = old + value
        else:
            held[key] = value


def _parts_grown(held: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Content of which some chunks are text and others lists of parts, as Mistral's reasoning models do."""
    for part in more:
        last = held[-1] if held else {}
        if part.keys() == last.keys() == {"type", "text"}:
            held[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            held.append(part)
    return held


def _grow_list(held: list[Any], item: Any) -> None:
    """A call's deltas have its index; another id under it is another call, from servers that do not count."""
    if not isinstance(item, Mapping):
        held.append(item)
        return
    delta = cast("Wire", item)
    new_id, index = delta.get("id"), delta.get("index")
    same = [
        cast("dict[str, Any]", one) for one in held if index is not None and _field(one, "index") == index
    ]
    known = same[-1] if same else {}
    if not same or (new_id and known.get("id") not in (None, "", new_id)):
        known = dict[str, Any]()
        held.append(known)
    _grow(known, delta)


class _AnthropicReader:
    """Anthropic's events; those that the SDK's helper adds to them are passed over."""

    def __init__(self) -> None:
        self.done = False
        self.model: str | None = None
        self.usage: Any = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}

    def add(self, chunk: object) -> None:
        match _field(chunk, "type"):
            case "message_start":
                message = _field(chunk, "message")
                self.model = _field(message, "model")
                self._use(_field(message, "usage"))
            case "content_block_start":
                self._blocks[_field(chunk, "index")] = dict(as_wire(_field(chunk, "content_block")))
            case "content_block_delta":
                self._delta(_field(chunk, "index"), _field(chunk, "delta"))
            case "message_delta":
                self._use(_field(chunk, "usage"))
            case "message_stop":
                self.done = True
            case _:
                pass

    def _use(self, usage: object) -> None:
        """Counts of later events are of the whole answer, and leave out what they do not know."""
        if usage is not None:
            known = {key: value for key, value in as_wire(usage).items() if value is not None}
            self.usage = {**(self.usage or {}), **known}

    def _delta(self, index: int, delta: object) -> None:
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        match _field(delta, "type"):
            case "text_delta":
                block["text"] = (block.get("text") or "") + _field(delta, "text")
            case "thinking_delta":
                block["thinking"] = (block.get("thinking") or "") + _field(delta, "thinking")
            case "signature_delta":
                block["signature"] = _field(delta, "signature")
            case "input_json_delta":
                self._inputs[index] = self._inputs.get(index, "") + _field(delta, "partial_json")
            case "citations_delta":
                cited = dict(as_wire(_field(delta, "citation")))
                block["citations"] = [*(block.get("citations") or ()), cited]
            case _:
                pass

    def message(self) -> dict[str, Any] | None:
        blocks = [
            {**block, "input": self._inputs[index]} if self._inputs.get(index) else block
            for index, block in sorted(self._blocks.items())
        ]
        return read_anthropic({"content": [_parsed(block) for block in blocks]}) if blocks else None


def _parsed(block: dict[str, Any]) -> dict[str, Any]:
    """A server's own call has its input as an object; that of a host's tool may stay the model's text."""
    if block["type"] == "tool_use" or not isinstance(block.get("input"), str):
        return block
    return {**block, "input": parsed_arguments(block["input"])}


class _ResponsesReader:
    """The Responses API; its last event carries the whole answer."""

    def __init__(self) -> None:
        self.done = False
        self.model: str | None = None
        self.usage: Any = None
        self._items: list[Wire] = []
        self._text = ""

    def add(self, chunk: object) -> None:
        kind = _field(chunk, "type")
        response = _field(chunk, "response")
        if response is not None:
            self.model = _field(response, "model") or self.model
        if kind in ("response.completed", "response.incomplete"):
            wire = as_wire(response)
            self._items, self._text, self.usage = list(wire["output"]), "", wire.get("usage")
            self.done = True
        elif kind == "response.output_text.delta":
            self._text += _field(chunk, "delta")
        elif kind == "response.output_item.done":
            item = as_wire(_field(chunk, "item"))
            self._items.append(item)
            self._text = "" if item["type"] == "message" else self._text

    def message(self) -> dict[str, Any] | None:
        parts = [{"type": "output_text", "text": self._text}] if self._text else []
        items = [*self._items, *([{"type": "message", "content": parts}] if parts else [])]
        return read_responses({"output": items}) if items else None
