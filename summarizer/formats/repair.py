"""What to record, message by message, so that a transcript with loose ends still makes a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..messages import Message
from ..units import pair_calls

__all__ = ["Step", "canonical_json", "steps_of"]

NO_RESULT: Final = "[the transcript holds no result of this call]"
UNKNOWN_TOOL: Final = "unknown_tool"


@dataclass(frozen=True, slots=True)
class Step:
    """One message to record.

    Attributes:
        message: In wire shape.
        made_up: `None`: the file's own message. `call`: a call for a result that answers none.
            `result`: a result for a call that nothing answers.
        tool_name: The tool, for a made-up result.
    """

    message: Mapping[str, Any]
    made_up: Literal["call", "result"] | None = None
    tool_name: str = UNKNOWN_TOOL


def steps_of(messages: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return every message once, in order, and what must be made up so that none stands alone.

    A tool result that answers no call gets a call before it. A call that nothing answers gets a
    result that says so, behind its round, since an open call holds every later cut back. Calls that are
    open when the transcript ends stay open: their results may still come.

    Raises:
        InvalidMessage: A message that is none.
    """
    read = [Message.from_wire(message) for message in messages]
    pairing = pair_calls(read)
    orphans = set(pairing.orphans)
    unanswered: list[tuple[str, str]] = []
    steps: list[Step] = []
    for i, message in enumerate(read):
        if message.role not in ("tool", "function"):
            steps += [_made_up_result(call_id, name) for call_id, name in unanswered]
            unanswered = []
        if message.role == "tool" and i in orphans:
            steps.append(_made_up_call(message))
        steps.append(Step(messages[i]))
        names = {call.id: call.name for call in message.tool_calls}
        unanswered += [(key, names[key]) for key in pairing.open.get(i, ()) if key in names]
    return tuple(steps)


def _made_up_call(result: Message) -> Step:
    function = {"name": result.name or UNKNOWN_TOOL, "arguments": "{}"}
    call = {"id": result.tool_call_id, "type": "function", "function": function}
    return Step({"role": "assistant", "content": None, "tool_calls": [call]}, "call", function["name"])


def _made_up_result(call_id: str, tool_name: str) -> Step:
    return Step({"role": "tool", "tool_call_id": call_id, "content": NO_RESULT}, "result", tool_name)


def canonical_json(message: Mapping[str, Any]) -> str:
    """One text for equal messages: keys sorted, keys without a value left out, arguments as wire text.

    Two messages with one canonical text are the same request to a provider; `content` counts as `null`
    where it is missing.
    """
    kept = {key: value for key, value in message.items() if value is not None}
    kept.setdefault("content", None)
    calls: Sequence[Mapping[str, Any]] = kept.pop("tool_calls", None) or ()
    if calls:
        kept["tool_calls"] = [_canonical_call(call) for call in calls]
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _canonical_call(call: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in call.items() if value is not None}
    kind = kept.setdefault("type", "function")
    body: Mapping[str, Any] = kept.get(kind) or {}
    text = body.get("input" if kind == "custom" else "arguments")
    if not isinstance(text, str):
        text = json.dumps({} if text is None else text, ensure_ascii=False, separators=(",", ":"))
    return {**kept, kind: {"name": body.get("name"), "text": text}}
