"""One request's turn in a chat: recorded once, whole or as far as it came."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.responses import StreamingResponse

from ...dialects.streams import AnswerBuilder
from ...errors import SessionNotFound, StoreConflict
from ...events import Event, keyed_ids
from ...incoming import read_answer
from ...session import SessionManager
from .speech import Speech, awaited, whole

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["Turn"]

Model = Callable[[list[dict[str, Any]]], Any]
"""From the messages to a text, a message, a response, or a stream of texts or chunks; may be awaitable."""

_PASSED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A proxy that collects a stream before it passes it on would take the streaming from it."""


class Turn:
    """One request's turn: the user's message, then the model's answer.

    With a key of the client's (the header `Idempotency-Key`) a request may be repeated: what was said is
    recorded once, and a whole answer is given again without asking the model. An answer that was cut is
    taken back, and the model asked anew. Of two such requests at the same time both ask the model, and the
    first answer is kept.

    Made by `LongspliceChats.turn`.

    Attributes:
        session: The session; whatever else belongs to the turn, such as tool calls, goes through it.
    """

    def __init__(self, session: SessionManager, key: str | None, saving: set[asyncio.Task[Any]]) -> None:
        self.session = session
        self._is_repeatable = key is not None
        self._key = key or secrets.token_urlsafe(16)
        self._saving = saving
        self._answer: Any = None

    async def ask(self, content: object) -> list[dict[str, Any]]:
        """Record what the user says; the messages for the model, of which it is the last.

        What other requests say in this chat at the same time is shown before it, and a question that fell
        to a summary meanwhile is asked all the same.

        Raises:
            SummarizerError: Nothing was recorded, and nothing should be asked.
        """
        message = {"role": "user", "content": content}
        await self.session.record(message, idempotency_key=self._part("user"))
        context = await self.session.context()
        asked = keyed_ids(self._part("user"))(0)
        events = await self.session.open_segment(seen=True)
        own = next((event.seq for event in reversed(events) if event.event_id == asked), None)
        shown = list(zip(context.messages, context.seqs, strict=True))
        last = [wire for wire, seq in shown if seq == own] or [message]
        return [wire for wire, seq in shown if seq != own] + last

    async def reply(self, content: object, model: Model) -> str:
        """Record what the user says, ask the model, record its answer; the answer's text, durable.

        Raises:
            Exception: Whatever `model` raises; the user's message is kept.
        """
        if (before := await self.said_before()) is not None:
            return before
        response = await awaited(model(await self.ask(content)))
        self.answer(response)
        await self.save()
        return read_answer(response).message.text

    async def speak(self, content: object, model: Model) -> Speech:
        """As `reply`, but piece by piece; recorded when the stream ends, however it does."""
        if (before := await self.said_before()) is not None:
            return Speech(whole(before), None)
        stream = await awaited(model(await self.ask(content)))
        chunks = cast("AsyncIterable[Any]", stream) if isinstance(stream, AsyncIterable) else whole(stream)
        return Speech(chunks, self._record_spoken)

    async def stream(self, content: object, model: Model) -> StreamingResponse:
        """`speak` as server-sent events: `{"delta": text}`, then `done`, or `error` where the model failed.

        `done` has the session's id, and `cut` if the model's stream just stopped; it is sent when the answer
        is durable. Errors before the first piece are raised, so that they have a status.
        """
        return _SpokenResponse(self, await self.speak(content, model))

    def answer(self, response: object) -> None:
        """Keep the model's answer; it is recorded once the response is sent.

        Args:
            response: Text, a message mapping, or a provider's response, whose usage is taken.
        """
        self._answer = response

    async def save(self) -> None:
        """Record what `answer` was given, now."""
        answer, self._answer = self._answer, None
        if answer is not None:
            said = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
            await self._kept(self.session.record(said, idempotency_key=self._part("answer")))

    async def said_before(self) -> str | None:
        """The answer to an earlier request with the same key; `None` if there is none.

        It is looked for in the open session and the one before. An answer in the open one that was cut is
        taken back, for this request to give a whole one.
        """
        if not self._is_repeatable:
            return None
        try:
            events = await self.session.open_segment()
        except SessionNotFound:
            return None
        if (said := self._answer_in(events)) is not None:
            return said
        if (said := self._answer_in(await self._segment_before())) is not None:
            return said
        cut = [event.seq for event in events if self._was_cut(event)]
        if cut:
            with suppress(StoreConflict):  # Somebody speaks in this chat: then the cut answer stands.
                await self.session.take_back(cut, expect=events[-1].seq)
        return None

    def _answer_in(self, events: Sequence[Event]) -> str | None:
        answer = keyed_ids(self._part("answer"))(0)
        found = next((event for event in reversed(events) if event.event_id == answer), None)
        return None if found is None or found.message is None else found.message.text

    async def _segment_before(self) -> Sequence[Event]:
        closed = (await self.session.segments())[:-1]
        if not closed:
            return ()
        after, until = closed[-1].start_seq - 1, closed[-1].end_seq
        return await self.session.read(include_all_segments=True, after_seq=after, until_seq=until)

    def _was_cut(self, event: Event) -> bool:
        marks: Mapping[str, Any] = event.data.get("metadata") or {}
        return "cut" in marks and marks.get("request") == keyed_ids(self._part("user"))(0)

    async def _record_spoken(self, spoken: AnswerBuilder, cut: str | None) -> None:
        message = spoken.message()
        if message is None:
            return
        told: dict[str, Any] = {"usage": spoken.usage, "model": spoken.model}
        if cut is None:
            key = self._part("answer")
            await self._kept(self.session.record(message, idempotency_key=key, **told))
        else:
            marks = {"cut": cut, "request": keyed_ids(self._part("user"))(0)}
            await self._kept(self.session.ai_responds(message, **marks, **told))

    async def _kept(self, writing: Coroutine[Any, Any, str]) -> None:
        """Write, even where the request is cancelled meanwhile; the end of the application waits for it."""
        task = asyncio.ensure_future(writing)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        await asyncio.shield(task)

    def _part(self, name: str) -> str:
        return f"{self._key}/{name}"


class _SpokenResponse(StreamingResponse):
    """A speech as server-sent events; it is closed with the response, however that ends."""

    def __init__(self, turn: Turn, speech: Speech) -> None:
        self._events, self._speech = _events(turn, speech), speech
        super().__init__(self._events, media_type="text/event-stream", headers=_PASSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._speech), aclosing(self._events):
            await super().__call__(scope, receive, send)


async def _events(turn: Turn, speech: Speech) -> AsyncGenerator[str]:
    try:
        async for piece in speech:
            yield f"data: {json.dumps({'delta': piece})}\n\n"
    except Exception:
        yield f"event: error\ndata: {json.dumps({'detail': 'the answer broke off'})}\n\n"
        raise
    end = {"session_id": turn.session.session_id, **({} if speech.cut is None else {"cut": speech.cut})}
    yield f"event: done\ndata: {json.dumps(end)}\n\n"
