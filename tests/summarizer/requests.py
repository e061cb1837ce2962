"""What providers refuse: strict judges of a request's messages, after their published rules."""

from collections.abc import Mapping, Sequence
from typing import Any

Wire = Mapping[str, Any]


def openai_faults(messages: Sequence[Wire]) -> list[str]:
    """What Chat Completions would refuse, empty if nothing.

    Source: which content may be missing, the `openai` package's types (2.54). The order is no part of the
    reference; the API states it in its refusals: an assistant message with 'tool_calls' "must be followed by
    tool messages responding to each 'tool_call_id'", one with role 'tool' "must be a response to a preceeding
    message with 'tool_calls'" (as users quote them, read 2026-11). Ids that differ are our own rule.
    """
    faults: list[str] = []
    waiting: list[str] = []
    for i, message in enumerate(messages):
        role, key = message["role"], _answered(message)
        if key is not None:
            if key in waiting:
                waiting.remove(key)
            else:
                faults.append(f"{i}: {role} message answers {key!r}, waiting are {waiting}")
            if not isinstance(message["content"], str | list):
                faults.append(f"{i}: {role} message without content")
            continue
        if waiting:
            faults.append(f"{i}: {role} message where {waiting} must be answered")
        waiting = _made(message)
        if len(set(waiting)) != len(waiting):
            faults.append(f"{i}: calls share an id")
        if not waiting and (message["content"] is None or message["content"] == []):
            faults.append(f"{i}: {role} message without content")
    if waiting:
        faults.append(f"the end: {waiting} are not answered")
    return faults


def anthropic_faults(messages: Sequence[Wire]) -> list[str]:
    """What Messages would refuse after system messages were taken out and neighbours of one role merged.

    Source: Claude docs, "Handle tool calls" (read 2026-11): results stand in the next message, before any
    text. Neighbours of one role are merged by the API itself (`anthropic` package 0.121). That the user
    begins was in the API reference until October 2024, and is still what Bedrock's Converse asks for.
    """
    faults: list[str] = []
    turns = _merged(messages)
    if turns and turns[0][0] != "user":
        faults.append("does not begin with the user")
    for i, (role, blocks) in enumerate(turns):
        used = [key for kind, key in blocks if kind == "tool_use"]
        if not used:
            continue
        following = turns[i + 1][1] if i + 1 < len(turns) else []
        answered = [key for kind, key in following if kind == "tool_result"]
        if sorted(used) != sorted(answered):
            faults.append(f"{i} ({role}): calls {used}, answered next {answered}")
        if any(kind == "tool_result" for kind, _ in following[len(answered) :]):
            faults.append(f"{i + 1}: a result behind other content")
    made = sum(kind == "tool_use" for _, blocks in turns for kind, _ in blocks)
    given = sum(kind == "tool_result" for _, blocks in turns for kind, _ in blocks)
    if made != given:
        faults.append(f"{made} calls and {given} results")
    return faults


def responses_faults(messages: Sequence[Wire]) -> list[str]:
    """What Responses would refuse, each message made into items: results by call id, never two for one call.

    Source: what the API answers, as users quote it (read 2026-11): "No tool output found for function call
    ...", "No tool call found for function call output with call_id ...". Order within a turn is free there.
    """
    faults: list[str] = []
    waiting: list[str] = []
    for i, message in enumerate(messages):
        key = _answered(message)
        if key is None:
            waiting += _made(message)
        elif key in waiting:
            waiting.remove(key)
        else:
            faults.append(f"{i}: output for {key!r}, for which no call waits")
    return faults + [f"the end: no output for call {key!r}" for key in waiting]


def bedrock_faults(messages: Sequence[Wire]) -> list[str]:
    """What Converse would refuse after neighbours of one role were merged.

    Source: Amazon Bedrock's guide to the Converse API and its validation errors, as users quote them (read
    2026-11): "A conversation must start with a user message", "Expected toolResult blocks at
    messages.N.content for the following Ids", "The number of toolResult blocks at messages.N.content exceeds
    the number of toolUse blocks of previous turn".
    """
    turns = _merged(messages)
    faults = ["does not begin with the user"] if turns and turns[0][0] != "user" else []
    for i, (role, blocks) in enumerate(turns):
        before = turns[i - 1][1] if i else []
        used = sorted(key for kind, key in before if kind == "tool_use")
        answered = sorted(key for kind, key in blocks if kind == "tool_result")
        if used != answered:
            faults.append(f"{i} ({role}): results {answered} for calls {used}")
    if turns and any(kind == "tool_use" for kind, _ in turns[-1][1]):
        faults.append("the end: calls without results")
    return faults


def gemini_faults(messages: Sequence[Wire]) -> list[str]:
    """What generateContent would refuse after neighbours of one role were merged.

    Source: what the API answers, as users quote it (read 2026-11): "Please ensure that function call turn
    comes immediately after a user turn or after a function response turn", "Please ensure that the number of
    function response parts is equal to the number of function call parts of the function call turn".
    """
    turns = _merged(messages)
    faults: list[str] = []
    for i, (role, blocks) in enumerate(turns):
        calls = sum(kind == "tool_use" for kind, _ in blocks)
        if calls and (role != "assistant" or not i or turns[i - 1][0] != "user"):
            faults.append(f"{i}: a call turn of {role} that follows no user turn")
        following = turns[i + 1][1] if i + 1 < len(turns) else []
        given = sum(kind == "tool_result" for kind, _ in following)
        if calls != given and (calls or role == "assistant"):
            faults.append(f"{i}: {calls} calls, {given} responses in the next turn")
    return faults


def faults_by_dialect(messages: Sequence[Wire]) -> dict[str, list[str]]:
    """What each dialect that we claim would refuse; dialects without a fault are left out."""
    judges = {
        "chat": openai_faults,
        "responses": responses_faults,
        "anthropic": anthropic_faults,
        "bedrock": bedrock_faults,
        "gemini": gemini_faults,
    }
    found = {name: judge(messages) for name, judge in judges.items()}
    return {name: faults for name, faults in found.items() if faults}


def _answered(message: Wire) -> str | None:
    if message["role"] == "tool":
        return message["tool_call_id"]
    return f"function:{message['name']}" if message["role"] == "function" else None


def _made(message: Wire) -> list[str]:
    if message.get("function_call"):
        return [f"function:{message['function_call']['name']}"]
    return [call["id"] for call in message.get("tool_calls", ())]


def _merged(messages: Sequence[Wire]) -> list[tuple[str, list[tuple[str, str]]]]:
    turns: list[tuple[str, list[tuple[str, str]]]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        key = _answered(message)
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = [("tool_result", key)] if key is not None else [("text", "")] * bool(message["content"])
        blocks += [("tool_use", made) for made in _made(message)]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return turns
