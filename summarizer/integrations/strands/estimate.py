"""What Strands' messages weigh, every kind of block counted: an image or a document is never nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from ...meter import TokenCounter, counter_for_model, image_tokens, tool_tokens
from ...meter.headers import image_size
from ...meter.media import media_tokens
from .blocks import Block, blocks_of, mapping_of

__all__ = ["Estimator", "TokenFunction"]

TokenFunction = Callable[[str], int]

_FRAME: Final = 4
"""Tokens around a message, as for chat messages."""
_CALL_FRAME: Final = 8
"""Tokens around a tool use or result: its kind and its id."""
_HEAD: Final = 65_536
"""Bytes of an image in which its size stands."""
_REMEMBERED: Final = 2_048
"""Counts kept; a text's own hash finds it again, so a history is not counted anew before each call."""
_MOST_WEIGHTS: Final = 20_000
"""Messages whose weights are kept, with the messages: an id is one object's while that lives."""
_SHORT: Final = 64
"""Characters below which counting costs no more than looking up."""
_TYPES: Final = {
    "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "mp3": "audio/mpeg", "mp4": "video/mp4",
}  # fmt: skip


class Estimator:
    """Counts tokens of messages, system prompts and tool specs.

    Texts are counted by `token_counter`, else by the model's own tokenizer where there is one. Images cost
    what the model's family charges for their size (the most it charges where the size cannot be read),
    documents their text or their pages, audio and video their length or a minute. What has no rule is
    counted as JSON; cache points and the signatures of reasoning are nothing.

    Args:
        token_counter: From a text to its tokens; an answer below 1 for a text counts as 1.
        model: Whose tokenizer and image formula.
    """

    def __init__(self, token_counter: TokenFunction | None = None, model: str | None = None) -> None:
        self._model = model
        if token_counter is None:
            self._counter = counter_for_model(model)
        else:
            self._counter = TokenCounter("custom", lambda: token_counter, exact=False, whole=True)
        self._weights: dict[int, tuple[Mapping[str, Any], Any, int, int]] = {}
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._fresh)
        self._media = lru_cache(maxsize=_REMEMBERED)(self._media_fresh)

    @property
    def counter(self) -> TokenCounter:
        """The counter of texts, for what is made to fit a budget."""
        return self._counter

    def text(self, text: str) -> int:
        """Tokens of a text; 0 for none, else 1 or more."""
        if not text:
            return 0
        return self._fresh(text) if len(text) < _SHORT else self._remembered(text)

    def messages(self, messages: Iterable[Mapping[str, Any]]) -> int:
        """Tokens of a list of messages."""
        return sum(map(self.message, messages))

    def message(self, message: Mapping[str, Any]) -> int:
        """Tokens of one message with its frame; counted once, for a message object with these blocks."""
        content: Any = message.get("content")
        known = self._weights.get(id(message))
        if known is not None and known[0] is message and known[1] is content and known[2] == len(content):
            return known[3]
        weight = _FRAME + sum(map(self.block, blocks_of(message)))
        if isinstance(content, list):
            if len(self._weights) >= _MOST_WEIGHTS:
                self._weights.clear()
            self._weights[id(message)] = (message, content, len(cast("list[Any]", content)), weight)
        return weight

    def request(
        self,
        messages: Iterable[Mapping[str, Any]],
        system_prompt: object,
        tool_specs: Sequence[Mapping[str, Any]],
    ) -> int:
        """Tokens of a whole request."""
        return self.messages(messages) + self.fixed(system_prompt, tool_specs)

    def fixed(self, system_prompt: object, tool_specs: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of what goes with every request: the system prompt (text or blocks) and the tool specs."""
        if isinstance(system_prompt, str):
            system = self.text(system_prompt) + _FRAME
        else:
            parts = cast("Sequence[Block]", system_prompt or ())
            system = sum(map(self.block, parts)) + (_FRAME if parts else 0)
        return system + tool_tokens([_declared(spec) for spec in tool_specs], self._counter)

    def block(self, block: Block) -> int:
        """Tokens of one content block, by its kind."""
        return sum(self._part(kind, body) for kind, body in block.items())

    def _part(self, kind: str, body: Any) -> int:
        rule = getattr(self, f"_{kind}_block", None) if kind in _RULES else None
        if rule is None or (kind not in ("text", "json") and not isinstance(body, Mapping)):
            return self._json({kind: body})
        return int(rule(body))

    def _text_block(self, body: Any) -> int:
        return self.text(body) if isinstance(body, str) else self._json(body)

    def _json_block(self, body: Any) -> int:
        return self._json(body)

    def _toolUse_block(self, body: Block) -> int:  # noqa: N802 - the wire's own name
        return _CALL_FRAME + self.text(str(body.get("name") or "")) + self._json(body.get("input"))

    def _toolResult_block(self, body: Block) -> int:  # noqa: N802
        return _CALL_FRAME + sum(
            self.block(part) for part in cast("Sequence[Block]", body.get("content") or ())
        )

    def _reasoningContent_block(self, body: Block) -> int:  # noqa: N802
        hidden = body.get("redactedContent")
        seen = cast("Block", body.get("reasoningText") or {}).get("text")
        return self.text(str(seen or "")) + (len(hidden) // 4 if isinstance(hidden, bytes | str) else 0)

    def _cachePoint_block(self, body: Block) -> int:  # noqa: N802, ARG002 - a mark, nothing that is read
        return 0

    def _guardContent_block(self, body: Block) -> int:  # noqa: N802
        text = body.get("text")
        return (
            self.block({**body, "text": cast("Block", text).get("text")})
            if isinstance(text, dict)
            else self.block(body)
        )

    def _image_block(self, body: Block) -> int:
        return self._media("image", str(body.get("format")), _bytes(body))

    def _document_block(self, body: Block) -> int:
        said = "\n".join(str(body[key]) for key in ("name", "context") if body.get(key))
        source = cast("Block", body.get("source") or {})
        text = source.get("text")
        if not isinstance(text, str) and isinstance(content := source.get("content"), list):
            return self.text(said) + sum(self.block(part) for part in cast("list[Block]", content))
        if isinstance(text, str):
            return self.text(said) + max(1, self.text(text))
        return self.text(said) + self._media("document", str(body.get("format") or "pdf"), _bytes(body))

    def _video_block(self, body: Block) -> int:
        return self._media("video", str(body.get("format")), _bytes(body))

    def _audio_block(self, body: Block) -> int:
        return self._media("audio", str(body.get("format")), _bytes(body))

    def _media_fresh(self, kind: str, form: str, data: bytes | None) -> int:
        if kind == "image":
            return image_tokens(self._model, image_size(data[:_HEAD]) if data else None)
        media_type = _TYPES.get(form) or f"{'application' if kind == 'document' else kind}/{form}"
        source: dict[str, Any] = {"media_type": media_type}
        if data:
            source["data"] = base64.b64encode(data).decode()
        return max(1, media_tokens({"type": kind, kind: {"source": source}}, self._model, self.text) or 0)

    def _json(self, value: Any) -> int:
        """Tokens of a value as JSON; bytes in it count by a quarter of their number."""
        hidden: list[int] = []

        def plain(inner: Any) -> str:
            if not isinstance(inner, bytes | bytearray):
                return str(inner)
            hidden.append(len(inner))
            return ""

        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=plain)
        return self.text(text) + sum(hidden) // 4

    def _fresh(self, text: str) -> int:
        return max(1, self._counter.count(text))


_RULES: Final = frozenset(
    {
        "text", "json", "toolUse", "toolResult", "reasoningContent", "cachePoint", "guardContent",
        "image", "document", "video", "audio",
    }
)  # fmt: skip


def _bytes(body: Block) -> bytes | None:
    data = cast("Block", body.get("source") or {}).get("bytes")
    return bytes(data) if isinstance(data, bytes | bytearray) else None


def _declared(spec: Mapping[str, Any]) -> dict[str, Any]:
    schema = spec.get("inputSchema")
    inner = mapping_of(schema).get("json", schema)
    return {"name": spec.get("name"), "description": spec.get("description"), "input_schema": inner}
