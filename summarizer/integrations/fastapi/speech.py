"""What a model says, piece by piece, and what is kept of it however it ends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Self, cast

from ...dialects.streams import AnswerBuilder
from ...incoming import read_answer

__all__ = ["Speech", "awaited", "whole"]


class Speech:
    """What a model says, piece by piece; recorded when it ends, and as far as it came when it is cut.

    A cut answer makes no tool calls, and has `{"cut": reason}` in its metadata: `disconnected` where the
    client went away, `unfinished` where the model's stream just ended, else the name of the model's error.
    Exhaust it or close it, as `async with aclosing(speech)` does.

    Attributes:
        cut: Once it has ended, what cut it; `None` for a whole answer.
    """

    def __init__(
        self,
        chunks: AsyncIterable[Any],
        record: Callable[[AnswerBuilder, str | None], Awaitable[None]] | None,
    ) -> None:
        self._source = chunks
        self._chunks = aiter(chunks)
        self._spoken = AnswerBuilder()
        self._record = record
        self._is_text = False
        self.cut: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                await self._end(None)
                raise
            except asyncio.CancelledError:
                await self._end("disconnected")
                raise
            except Exception as error:
                await self._end(type(error).__name__)
                raise
            self._is_text = isinstance(chunk, str)
            self._spoken.add(_chunk({"content": chunk}) if isinstance(chunk, str) else chunk)
            if text := chunk if isinstance(chunk, str) else _text_of(chunk):
                return text

    async def aclose(self) -> None:
        """End it here, the model's stream too."""
        await self._end("disconnected")
        close = getattr(self._source, "aclose", None) or getattr(self._source, "close", None)
        if close is not None:
            await awaited(close())

    async def _end(self, cut: str | None) -> None:
        record, self._record = self._record, None
        if record is None:
            return
        if cut is None and self._is_text:
            self._spoken.add(_chunk({}, finish_reason="stop"))
        self.cut = None if self._spoken.is_done else cut or "unfinished"
        await record(self._spoken, self.cut)


async def awaited(value: Any) -> Any:
    """The value, or what an awaitable one gives."""
    return await value if inspect.isawaitable(value) else value


async def whole(answer: Any) -> AsyncIterator[Any]:
    """A whole answer as a stream of one piece."""
    if isinstance(answer, str):
        yield answer
        return
    read = read_answer(answer)
    yield {**_chunk(read.message.to_wire(), "stop"), "model": read.model, "usage": _field(answer, "usage")}


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _text_of(chunk: object) -> str:
    """The text that a chunk of a known protocol adds to the answer; mappings and objects alike."""
    kind = _field(chunk, "type")
    if kind == "content_block_delta":
        found = _field(_field(chunk, "delta"), "text")
    elif kind == "response.output_text.delta":
        found = _field(chunk, "delta")
    else:
        choices = cast("list[object]", _field(chunk, "choices") or [])
        first = next((one for one in choices if _field(one, "index") in (0, None)), None)
        found = _field(_field(first, "delta"), "content")
    return found if isinstance(found, str) else ""


def _field(value: object, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else getattr(value, name, None)
