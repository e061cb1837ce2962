"""A plain loop over the OpenAI and Anthropic SDKs: contexts in their shape, answers recorded, streams too.

`SessionManager.record` takes whole answers of both SDKs, and `sm.tools.run` the calls. What is here is the
rest: `anthropic_messages` and `responses_input` for providers of another shape, `merged` for models that
want user and assistant in turn, `recorded` for streams.

    async with recorded(sm, await client.chat.completions.create(stream=True, ...)) as stream:
        async for chunk in stream:
            ...

Neither SDK is imported: what they give is told by its shape.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast

from .. import dialects
from ..context import Context
from ..dialects import AnswerBuilder, AnthropicPrompt, ResponsesPrompt
from ..errors import StoreError
from ..session import SessionManager
from ..telemetry import log

__all__ = [
    "AnswerBuilder",
    "AnthropicPrompt",
    "RecordedStream",
    "ResponsesPrompt",
    "anthropic_messages",
    "merged",
    "recorded",
    "responses_input",
]

Shown: TypeAlias = Context | Iterable[Mapping[str, Any]]
Chunk = TypeVar("Chunk")


def anthropic_messages(context: Shown) -> AnthropicPrompt:
    """What Anthropic's SDK is sent: `(system, messages)`.

    Neighbours of one role are merged, results of tools stand inside user turns, thinking goes back with its
    signatures. `client.messages.create(**prompt.arguments, ...)` leaves an absent system prompt out.

    Args:
        context: Of `SessionManager.context`, or its messages.
    """
    return dialects.anthropic_messages(_messages(context))


def responses_input(context: Shown) -> ResponsesPrompt:
    """What OpenAI's Responses API is sent: `(instructions, input)`; reasoning goes back as it came."""
    return dialects.responses_input(_messages(context))


def merged(context: Shown) -> list[dict[str, Any]]:
    """The messages with neighbours of one role made into one, for models that demand alternation."""
    return dialects.merged(_messages(context))


def _messages(context: Shown) -> Iterable[Mapping[str, Any]]:
    return context.messages if isinstance(context, Context) else context


class RecordedStream(Generic[Chunk]):
    """A stream whose answer is recorded when it ends; its chunks pass through unchanged.

    A stream that breaks off, is cancelled or is left early is recorded as far as it came, with
    `{"cut": reason}` in the message's metadata. A cut answer makes no calls: their arguments may be half.
    Leave the block, or exhaust the stream: an iterator that is dropped records nothing.

    Made by `recorded`.

    Attributes:
        answer: The answer as it stands, with its usage and model.
    """

    def __init__(self, sm: SessionManager, stream: AsyncIterator[Chunk], model: str | None = None) -> None:
        self.answer = AnswerBuilder()
        self._sm = sm
        self._stream = stream
        self._chunks = aiter(stream)
        self._model = model
        self._is_kept = False

    @property
    def message(self) -> dict[str, Any] | None:
        """The answer as a chat message, with its tool calls once it is complete."""
        return self.answer.message()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            await self._keep("the stream ended without an end of the answer")
            raise
        except BaseException as error:
            await self._keep(type(error).__name__)
            raise
        self.answer.add(chunk)
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._keep("left early" if kind is None else kind.__name__)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the provider's stream; what is not recorded by then is lost."""
        close = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await cast("Callable[[], Awaitable[object]]", close)()

    async def _keep(self, reason: str) -> None:
        """Record the answer, once, even if the task is being cancelled."""
        message = self.answer.message()
        if self._is_kept or message is None:
            return
        self._is_kept = True
        cut: dict[str, Any] = {} if self.answer.is_done else {"cut": reason}
        model = self.answer.model or self._model
        writing = self._sm.ai_responds(message, usage=self.answer.usage, model=model, **cut)
        try:
            await asyncio.shield(asyncio.ensure_future(writing))
        except StoreError as error:
            if not cut:
                raise
            # The caller is told what ended the stream; that goes before what was lost of its answer.
            log.warning("stream.cut_not_recorded", session_id=self._sm.session_id, error=type(error).__name__)


def recorded(
    sm: SessionManager, stream: AsyncIterator[Chunk], *, model: str | None = None
) -> RecordedStream[Chunk]:
    """Pass a stream through, and record its answer with the usage it reports.

    OpenAI reports usage in streams only if asked: `stream_options={"include_usage": True}`.

    Args:
        sm: The session.
        stream: What `create(stream=True)` of either SDK gives, or `messages.stream()` of Anthropic's.
        model: The model that answers, if its chunks do not say.

    Raises:
        StoreError: The store failed, at the end of the stream.
    """
    return RecordedStream(sm, stream, model)
