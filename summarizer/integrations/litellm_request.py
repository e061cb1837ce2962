"""What litellm's arguments and events say: which conversation a call belongs to, and what it cost.

In come the mappings that litellm hands to its callbacks; out go values. Pure, and knows litellm by its
shapes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from math import inf
from typing import Any, Final, cast

from ..config import parse_session_id
from ..errors import InvalidSetting
from ..messages import as_wire
from ..meter import Usage
from ..stores.protocol import Owner

__all__ = [
    "Request",
    "Wires",
    "call_id_of",
    "cost_of",
    "has_message",
    "is_chat",
    "is_hidden",
    "of",
    "request_of",
    "session_named",
    "usage_of",
    "wire_of",
]

_CHAT: Final = frozenset({"completion", "acompletion"})
_SYSTEM: Final = frozenset({"system", "developer"})
_HIDDEN: Final = "redacted-by-litellm"

Wires = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a session.

    Attributes:
        session_id: The session.
        owner: Whom the proxy has authenticated; `None` outside of it.
        model: The model asked, by litellm's name.
        system: The system messages at the beginning.
        messages: All messages behind them.
        tools: Definitions of its functions.
    """

    session_id: str
    owner: Owner
    model: str | None
    system: Wires
    messages: Wires
    tools: Wires


def request_of(kwargs: Mapping[str, Any], told: Mapping[str, Any], keys: Sequence[str]) -> Request | None:
    """What a call is about; `None` if it belongs to no session, to two owners, or has nothing to record.

    Args:
        kwargs: The call's arguments.
        told: Where its metadata stand: among the arguments, or in `litellm_params`.
        keys: Keys of the metadata that name the session, the first found counts.
    """
    session_id, messages = session_named(told, keys), kwargs.get("messages")
    if session_id is None or not isinstance(messages, list) or not messages:
        return None
    listed = cast("list[Any]", messages)
    roles = [wire_of(one).get("role") for one in listed]
    first = next((i for i, role in enumerate(roles) if role not in _SYSTEM), len(listed))
    tools = kwargs.get("tools") or of(kwargs, "optional_params").get("tools")
    owners, model = _owners(told), kwargs.get("model")
    if len(owners) > 1:
        return None
    known = (
        [tool for tool in cast("list[Any]", tools) if _is_function(tool)] if isinstance(tools, list) else []
    )
    return Request(session_id, next(iter(owners), None), model, listed[:first], listed[first:], known)


def session_named(told: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The session that a call names; `None` if it names none. See `request_of`."""
    slots = _slots(told)
    first = [slot.get(key) for key in keys[:1] for slot in slots]
    others = [slot.get(key) for key in keys[1:] for slot in slots]
    named = (*first, told.get("litellm_session_id"), *others)
    given = next((one for one in named if isinstance(one, str | int) and str(one).strip()), None)
    return None if given is None else _usable(str(given))


def call_id_of(kwargs: Mapping[str, Any]) -> str:
    """The id under which litellm reports the call; one that calls itself gives other ids to its own calls."""
    logging_obj = kwargs.get("litellm_logging_obj")
    return str(getattr(logging_obj, "litellm_call_id", None) or kwargs.get("litellm_call_id"))


def is_chat(call_type: object) -> bool:
    """Whether it is the type of a chat completion."""
    return getattr(call_type, "value", call_type) in _CHAT


def wire_of(message: object) -> Mapping[str, Any]:
    """A message as a mapping; litellm's own objects are messages too."""
    return cast("Mapping[str, Any]", message) if isinstance(message, dict) else as_wire(message)


def of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key; empty if there is none."""
    found = value.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _slots(told: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return of(told, "metadata"), of(told, "litellm_metadata")


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and bool(of(cast("dict[str, Any]", tool), "function").get("name"))


def _owners(told: Mapping[str, Any]) -> set[Owner]:
    """Whom the proxy has authenticated: the key's user, else the key's hash; one, or nobody.

    The proxy writes it into one of two slots, which one depends on the route. Two that differ are
    not both the proxy's: a client has made up one of them.
    """
    found: set[Owner] = set()
    for slot in _slots(told):
        if any(key.startswith("user_api_key") for key in slot):
            user, key = slot.get("user_api_key_user_id"), slot.get("user_api_key_hash")
            found.add(str(user) if user else f"key:{key}" if key else None)
    return found


def _usable(session_id: str) -> str:
    """The id, or a digest of one that a store does not take."""
    try:
        _, index = parse_session_id(session_id)
    except InvalidSetting:
        index = -1
    if index == 0 and "^" not in session_id:
        return session_id
    return f"litellm-{blake2b(session_id.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def has_message(response: object) -> bool:
    """Whether it is a whole answer, not a stream."""
    choices = getattr(response, "choices", None)
    return bool(choices) and getattr(choices[0], "message", None) is not None


def is_hidden(response: object) -> bool:
    """Whether litellm, told to keep messages out of callbacks, hands over a text of its own instead."""
    return has_message(response) and cast("Any", response).choices[0].message.content == _HIDDEN


def cost_of(logging_obj: object, response: object) -> object:
    """What litellm will report as the cost of the call; `None` where it has no price."""
    price = getattr(logging_obj, "response_cost_calculator", None)
    price = price or getattr(logging_obj, "_response_cost_calculator", None)  # Before 1.100.
    return price(result=response) if callable(price) else None


def usage_of(response: object, cost: object) -> Usage | None:
    """Usage and cost as litellm reports them."""
    usage = Usage.from_response(response)
    if usage is None or not isinstance(cost, int | float) or not 0 <= cost < inf:
        return usage
    # litellm adds in floats: what lies below a picodollar is their noise.
    return Usage(**usage.to_dict(), cost_usd=round(Decimal(cost), 12))
