"""What an item of a Responses history is, and by what it is paired with others. Pure.

Sources, read 2026-11: openai-agents 0.20.0 and 0.24.0 (`run_internal/items.py`, `_tool_invocation.py`) for
which kinds answer which, openai 3 (`types/responses/response_input_item_param.py`) for their keys. Nothing
here raises, whatever an item holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from ...messages import jsonable

__all__ = [
    "ANSWERED_BY",
    "NOTES",
    "OUTPUTS",
    "Item",
    "Key",
    "Wire",
    "call_key",
    "id_of",
    "is_instruction",
    "is_model_output",
    "is_summary",
    "is_user",
    "kind_of",
    "output_key",
    "wire_of",
]

Item = Any
"""One item: a mapping, or a pydantic object; anything else is an item of no known kind."""
Wire = Mapping[str, Any]
Key = tuple[str, str]
"""What pairs a call with its answer: the answer's kind, and the id they share ("" where they have none)."""

ANSWERED_BY: Final[Mapping[str, str]] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
    "program": "program_output",
    "mcp_approval_request": "mcp_approval_response",
}
"""Which kind answers which. The API refuses a call of these that nothing answers, the approval excepted."""
OUTPUTS: Final = frozenset(ANSWERED_BY.values())
_CALL, _OUTPUT = "_call", "_call_output"
"""Endings by which a kind that is newer than this list is paired all the same, if it carries a `call_id`."""

NOTES: Final = "[Notes on the earlier part of this conversation"
"""How a summary that stands in a user's message begins."""


def wire_of(item: Item) -> Wire:
    """The item as a mapping; empty for what is none."""
    if type(item) is dict or isinstance(item, Mapping):  # A dict is told far quicker by its type.
        return cast("Wire", item)
    value = jsonable(item) if hasattr(item, "model_dump") else None
    return cast("Wire", value) if isinstance(value, dict) else {}


def kind_of(item: Item) -> str:
    """The item's `type`; `message` for the short form that has a role only, "" where there is neither."""
    wire = wire_of(item)
    kind = wire.get("type")
    if kind is None and isinstance(wire.get("role"), str):
        return "message"
    return kind if isinstance(kind, str) else ""


def is_user(item: Item) -> bool:
    """Whether the item is a user's message, where a turn begins."""
    return kind_of(item) == "message" and wire_of(item).get("role") == "user"


def is_instruction(item: Item) -> bool:
    """Whether the item is a system or developer message."""
    return kind_of(item) == "message" and wire_of(item).get("role") in ("system", "developer")


def is_summary(item: Item) -> bool:
    """Whether the item stands for everything before it: a provider's `compaction`, or notes of ours."""
    if kind_of(item) == "compaction":
        return True
    content = wire_of(item).get("content") if is_user(item) else None
    return isinstance(content, str) and content.startswith(NOTES)


def is_model_output(item: Item) -> bool:
    """Whether a model wrote the item: neither a message to it, nor an answer to one of its calls."""
    if kind_of(item) == "message":
        return wire_of(item).get("role") not in ("user", "system", "developer")
    return output_key(item) is None


def call_key(item: Item) -> Key | None:
    """What an answer to this item will carry; `None` if it is nothing that waits for one."""
    wire, kind = wire_of(item), kind_of(item)
    if kind == "mcp_approval_request":
        return ANSWERED_BY[kind], id_of(wire, "id")
    if kind in ANSWERED_BY:
        return ANSWERED_BY[kind], id_of(wire, "call_id") or (id_of(wire, "id") if "local" in kind else "")
    if kind.endswith(_CALL) and id_of(wire, "call_id"):
        return f"{kind}_output", id_of(wire, "call_id")
    return None


def output_key(item: Item) -> Key | None:
    """What the call that this item answers is known by; `None` if it answers none."""
    wire, kind = wire_of(item), kind_of(item)
    if kind == "mcp_approval_response":
        return kind, id_of(wire, "approval_request_id")
    if kind in OUTPUTS:
        return kind, id_of(wire, "call_id") or (id_of(wire, "id") if "local" in kind else "")
    if kind.endswith(_OUTPUT) and id_of(wire, "call_id"):
        return kind, id_of(wire, "call_id")
    return None


def id_of(wire: Wire, key: str) -> str:
    """The id under a key; "" where there is none."""
    value = wire.get(key)
    return value if isinstance(value, str) else ""
