"""Messages and responses, made into events: weighed, priced, ready to append. Pure but for the counting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from .context.blocks import MESSAGE_FRAME
from .events import Event, EventKind, Origin, keyed_ids, new_event_id
from .incoming import Answer
from .messages import Message, ToolCall, dump_json, jsonable, result_text
from .meter import Calibration, TokenCounter, Usage, cost_of, message_tokens, price_for, price_table_id
from .stores.protocol import Head

__all__ = [
    "LONG_TEXT",
    "PICO",
    "Recorder",
    "Sent",
    "is_long",
    "report_of",
    "row_of",
]

PICO: Final = 10**12
"""Money is stored in whole picodollars (1e-12 USD)."""
LONG_TEXT: Final = 50_000
"""Characters from which counting is worth a thread; below, the hop costs more than the count."""

_ORIGINS: Final = {
    "system": Origin.SYSTEM,
    "developer": Origin.SYSTEM,
    "user": Origin.USER,
    "assistant": Origin.ASSISTANT,
    "tool": Origin.TOOL,
    "function": Origin.TOOL,
}


class Recorder:
    """Makes events of one conversation.

    Args:
        counter: The conversation's counter.
        model: The host's model, for prices and image formulas; `None` if unknown.
        clock: Aware UTC now.
        idempotency_key: Makes the ids of the events follow from it.
        origin: `imported` for transcripts of others: their text is data, never a constraint.
    """

    def __init__(
        self,
        counter: TokenCounter,
        model: str | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        self._counter = counter
        self._model = model
        self._clock = clock
        self._origin = origin
        self._count = 0
        self._keyed = None if idempotency_key is None else keyed_ids(idempotency_key)

    def message(
        self,
        message: Message,
        *,
        tokens: int | None = None,
        data: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> Event:
        """The event of one message; `tokens` if the host knows its content tokens already."""
        if tokens is None:
            tokens = self.weigh(message)
        origin = self._origin or _ORIGINS[message.role]
        return self._event(EventKind.MESSAGE, origin, tokens, message, data or {}, event_id=event_id)

    def answer(
        self,
        answer: Answer,
        *,
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tokens: int | None = None,
        report: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> Event:
        """The event of an assistant message with its usage and price."""
        model = answer.model or self._model
        data = dict(data or {}) | _reported(answer.usage, model, provider, report)
        if metadata:
            data["metadata"] = jsonable(metadata)
        return self.message(answer.message, tokens=tokens, data=data, event_id=event_id)

    def usage(
        self, answer: Answer, *, provider: str | None = None, report: Mapping[str, Any] | None = None
    ) -> Event:
        """The usage of an answer whose message is recorded by itself, as a record of its own."""
        model = answer.model or self._model
        return self.record(
            EventKind.USAGE, {"completes": True} | _reported(answer.usage, model, provider, report)
        )

    def tool(
        self,
        tool_name: str,
        arguments: object,
        *,
        result: object,
        error: BaseException | str | None,
        tool_call_id: str | None,
        metadata: Mapping[str, Any] | None,
        is_json: bool = False,
    ) -> list[Event]:
        """A tool's result behind its call, which is made up unless an id names an open one.

        A result that is no JSON value is stored as `messages.jsonable` documents. `is_json` says that
        the result is the JSON text of a value, not a text of its own.
        """
        data: dict[str, Any] = {"tool": {"name": tool_name} | ({"json": True} if is_json else {})}
        if metadata:
            data["metadata"] = jsonable(metadata)
        content = result_text(result)
        if error is not None:
            text = result_text(str(error) or type(error).__name__)
            kind = type(error).__name__ if isinstance(error, BaseException) else None
            data["tool"]["error"] = text[:500]
            if kind:
                data["tool"]["error_type"] = kind
            content = f"Error: {text}" if result is None else f"Error: {text}\n{content}"
        events: list[Event] = []
        call_id = tool_call_id
        if call_id is None:
            call_id = f"call_{new_event_id() if self._keyed is None else self._keyed(self._count)}"
            text = (
                arguments if isinstance(arguments, str) else dump_json({} if arguments is None else arguments)
            )
            call = ToolCall(call_id, tool_name, result_text(text))
            events.append(self.message(Message("assistant", None, (call,)), data={"synthetic": True}))
        events.append(self.message(Message("tool", content, tool_call_id=call_id), data=data))
        return events

    def record(self, kind: EventKind, data: Mapping[str, Any]) -> Event:
        """A record that is no message."""
        return self._event(kind, Origin.SYSTEM, 0, None, data)

    def weigh(self, message: Message) -> int:
        """Raw content tokens of a message: its frame left out, calls and media counted."""
        content = message.content
        if isinstance(content, str) and not (message.tool_calls or message.extra or message.name):
            return self._counter.count(content)
        return max(0, message_tokens(message.to_wire(), self._counter, self._model) - MESSAGE_FRAME)

    def _event(
        self,
        kind: EventKind,
        origin: Origin,
        tokens: int,
        message: Message | None,
        data: Mapping[str, Any],
        *,
        event_id: str | None = None,
    ) -> Event:
        if event_id is None:
            event_id = new_event_id() if self._keyed is None else self._keyed(self._count)
        self._count += 1
        return Event(kind, event_id, self._clock(), origin, tokens, message, data)


def is_long(message: Message) -> bool:
    """Whether counting the message is worth a thread."""
    content = message.content
    length = len(content if isinstance(content, str) else message.text)
    if message.tool_calls:
        length += sum(len(call.arguments_json) for call in message.tool_calls)
    return length > LONG_TEXT


def row_of(event: Event) -> dict[str, Any]:
    """A message event as a row of the conversation: wire shape, `seq`, `at`, and its metadata.

    Raises:
        ValueError: The event carries no message.
    """
    if event.message is None:
        raise ValueError(f"event {event.event_id!r} of kind {event.kind.value!r} carries no message")
    row = event.message.to_wire() | {"seq": event.seq, "at": event.at.isoformat()}
    if metadata := event.data.get("metadata"):
        row["metadata"] = metadata
    return row


@dataclass(frozen=True, slots=True)
class Sent:
    """What a context weighs, in raw tokens.

    Attributes:
        tokens: All of it.
        once: The part that stands in this request alone: what recall and virtual memory put at its end.
    """

    tokens: int
    once: int = 0


def report_of(
    answer: Answer, head: Head, *, model: str | None, raw: int, sent: Sent | None = None, tools: int = 0
) -> dict[str, Any] | None:
    """What a provider's usage says about the size of the context; see `Head.report`.

    Args:
        answer: The answer with its usage.
        head: The head before the answer.
        model: The model asked, where the answer does not name one.
        raw: Raw tokens of all that there is to send: system prompt, tool schemas, seed and segment.
        sent: What was sent of it; `None` if that is not known.
        tools: Raw tokens of the tool schemas.
    """
    usage, model = answer.usage, answer.model or model
    if usage is None or not usage.input_tokens or model is None:
        return None
    known = head.report
    if known is not None and known["model"] == model:
        calibration = Calibration(known["ratio"], known["samples"], model)
    else:
        calibration = Calibration.start(model)
    # A host may send less than there is. No model was seen to count less than we do: then it did.
    if sent is not None or usage.input_tokens >= raw:
        calibration = calibration.updated(usage.input_tokens, raw if sent is None else sent.tokens)
    return {
        "tokens": usage.input_tokens + (usage.output_tokens or 0) - (usage.reasoning_tokens or 0),
        "model": model,
        "ratio": round(calibration.ratio, 4),
        "samples": calibration.samples,
        "index": head.index,
        "raw": raw if sent is None else sent.tokens,
        "once": 0 if sent is None else sent.once,
        "tools": tools,
    }


def _reported(
    usage: Usage | None, model: str | None, provider: str | None, report: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What an event says of who answered, and at what price."""
    data: dict[str, Any] = {}
    if model:
        data["model"] = model
    if provider:
        data["provider"] = provider
    if usage is not None:
        data |= _billing(usage, model, provider)
    if report is not None:
        data["report"] = report
    return data


def _billing(usage: Usage, model: str | None, provider: str | None) -> dict[str, Any]:
    price = None if usage.cost_usd is not None else price_for(model, provider)
    cost = usage.cost_usd if price is None else cost_of(usage, price)
    found: dict[str, Any] = {
        "usage": usage.to_dict(),
        "cost_pico": None if cost is None else int(cost * PICO),
    }
    if price is not None and cost is not None:
        found["prices"] = price_table_id()
    return found
