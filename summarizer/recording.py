"""Messages and responses, made into events: weighed, priced, ready to append. Pure but for the counting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from .context.blocks import MESSAGE_FRAME
from .dialects.answers import chat_response
from .errors import InvalidMessage, InvalidSetting
from .events import Event, EventKind, Origin, keyed_ids, new_event_id
from .messages import Message, ToolCall, as_wire, dump_json, jsonable, result_text
from .meter import Calibration, TokenCounter, Usage, cost_of, message_tokens, price_for, price_table_id
from .stores.protocol import Head

__all__ = [
    "LONG_TEXT",
    "PICO",
    "Answer",
    "Entry",
    "Recorder",
    "Sent",
    "is_long",
    "read_all",
    "read_answer",
    "read_said",
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, taken out of whatever the host handed over.

    Attributes:
        message: The assistant message.
        usage: What the provider reported, `None` if nothing.
        model: The model that answered, `None` if not said.
    """

    message: Message
    usage: Usage | None = None
    model: str | None = None


class Entry(NamedTuple):
    """A message to be recorded.

    Attributes:
        said: The message; an assistant's with what was reported of it.
        tokens: Its content tokens, if they are known.
        data: Kept with the event, JSON values.
        event_id: The event's id, if it does not follow from the batch's key.
    """

    said: Message | Answer
    tokens: int | None = None
    data: Mapping[str, Any] | None = None
    event_id: str | None = None

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.said.message if isinstance(self.said, Answer) else self.said


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


def role_of(value: object) -> str | None:
    """The role a message-like value names; `None` for text and for whole responses."""
    role = as_wire(value).get("role") if not isinstance(value, str) and hasattr(value, "__iter__") else None
    if role is None:
        role = getattr(value, "role", None)
    return role if isinstance(role, str) else None


def read_answer(
    response: object,
    *,
    usage: object = None,
    model: str | None = None,
    tool_calls: Sequence[object] | None = None,
) -> Answer:
    """Take the assistant's message, its usage and model out of a response.

    Args:
        response: Text; a message mapping; a Chat Completions response as a mapping or an object
            (OpenAI, litellm), an Anthropic `Message`, an OpenAI `Response`; an object with `content`; content
            parts, or `None`.
        usage: Usage handed over beside it; goes before the response's own.
        model: The model's name; goes before the response's own.
        tool_calls: Calls of the answer, in wire shape, beside text, parts or `None`.

    Raises:
        InvalidMessage: Nothing in it can be read as an assistant message.
        InvalidSetting: Usage with a negative number.
    """
    if response is None and not tool_calls:
        raise InvalidMessage("the answer is None; return the model's text or response, or pass tool_calls")
    if response is None or isinstance(response, str | list):
        said: dict[str, object] = {"role": "assistant", "content": cast("object", response)}
        if tool_calls:
            said["tool_calls"] = tool_calls
        return Answer(Message.from_wire(said), None if usage is None else Usage.from_response(usage), model)
    wire = chat_response(_answer_wire(response))
    reported = Usage.from_response(usage) if usage is not None else Usage.from_response(response)
    named = wire.get("model") if "choices" in wire else None
    message = _answer_message(wire)
    return Answer(message, reported, model or (named if isinstance(named, str) else None))


def read_said(value: object, *, usage: object = None, model: str | None = None) -> Message | Answer:
    """Read a message, or a whole response; see `read_answer`."""
    if role_of(value) in (None, "assistant"):
        return read_answer(value, usage=usage, model=model)
    return Message.from_wire(value)


def read_all(
    values: Sequence[object],
    data: Sequence[Mapping[str, Any] | None] | None,
    tokens: Sequence[int | None] | None,
    keys: Sequence[str] | None,
    *,
    usage: object = None,
    model: str | None = None,
) -> list[Entry]:
    """Read several messages; `usage` and `model` are of the last answer among them.

    Raises:
        InvalidMessage: One of them cannot be read.
        InvalidSetting: `data`, `tokens` or `keys` of another length.
    """
    for name, given in (("data", data), ("tokens", tokens), ("idempotency_key", keys)):
        if given is not None and len(given) != len(values):
            raise InvalidSetting(
                f"{name} has {len(given)} entries for {len(values)} messages; give one for each"
            )
    said = [read_said(value) for value in values]
    if usage is not None or model is not None:
        last = next((i for i in range(len(said) - 1, -1, -1) if isinstance(said[i], Answer)), None)
        if last is None:
            raise InvalidSetting(
                "usage and model are of an answer, but there is no assistant message; leave them out"
            )
        said[last] = read_answer(values[last], usage=usage, model=model)
    nothing: Sequence[None] = [None] * len(values)
    kept = nothing if data is None else [one and jsonable(one) for one in data]
    ids = nothing if keys is None else [keyed_ids(key)(0) for key in keys]
    return list(map(Entry, said, nothing if tokens is None else tokens, kept, ids))


def _answer_wire(response: object) -> Mapping[str, Any]:
    try:
        return as_wire(response)
    except InvalidMessage:
        message = _by_attributes(response)
        if message is None:
            raise InvalidMessage(
                f"cannot read an answer from {type(response).__name__}; pass text, a message mapping or a "
                "Chat Completions response"
            ) from None
        return message


def _by_attributes(response: object) -> Mapping[str, Any] | None:
    """The answer of a client whose objects cannot be dumped; `None` if it has no content where we look."""
    choices = getattr(response, "choices", None)
    if not isinstance(choices, Sequence) or not choices:
        content = getattr(response, "content", None)
        return {"role": "assistant", "content": content} if isinstance(content, str) else None
    message = getattr(cast("Sequence[object]", choices)[0], "message", None)
    content, calls = getattr(message, "content", None), getattr(message, "tool_calls", None)
    if not isinstance(content, str) and not calls:
        return None
    wire = {"role": "assistant", "content": content, "tool_calls": calls}
    return {"choices": [{"message": wire}], "model": getattr(response, "model", None)}


def _answer_message(wire: Mapping[str, Any]) -> Message:
    choices = wire.get("choices")
    if choices is None:
        message = wire if "role" in wire or "content" not in wire else {"role": "assistant", **wire}
        return Message.from_wire({k: v for k, v in message.items() if k not in ("usage", "model")})
    if not isinstance(choices, Sequence) or not choices:
        raise InvalidMessage("the response has no choices; was the request refused? record the error instead")
    choice = as_wire(cast("Sequence[object]", choices)[0])
    return Message.from_wire(choice.get("message"))


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
