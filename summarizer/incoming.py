"""What hosts hand over, read: messages, whole responses of several providers, batches. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from .dialects.answers import chat_response
from .errors import InvalidMessage, InvalidSetting
from .events import keyed_ids
from .messages import Message, as_wire, jsonable
from .meter import Usage

__all__ = ["Answer", "Entry", "read_all", "read_answer", "read_said"]


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
