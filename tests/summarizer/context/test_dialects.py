"""Law 16 on the wire: contexts as litellm's own adapters hand them to each provider, offline."""

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from summarizer.context import with_record
from summarizer.errors import TokenLimitExceeded
from summarizer.summary.llm import load_litellm
from tests.summarizer.context.compositions import build, compositions
from tests.summarizer.histories import history, steps

pytestmark = pytest.mark.slow

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}
LEGACY = {"old call", "old result"}
"""The older `function` role: litellm's adapters make up ids for it that do not match."""


@pytest.fixture(autouse=True, scope="module")
def _litellm_loaded():
    """Litellm takes seconds to import; no timeout of a test may have to cover them."""
    asyncio.run(load_litellm())


def anthropic_turns(messages):
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    body = AnthropicConfig().transform_request(
        model="claude-sonnet-4-5",
        messages=messages,
        optional_params={"max_tokens": 5},
        litellm_params={},
        headers={},
    )
    kinds = {"tool_use": "id", "tool_result": "tool_use_id"}
    return _turns(body["messages"], lambda part: (part["type"], part.get(kinds.get(part["type"]))))


def bedrock_turns(messages):
    from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig

    body = AmazonConverseConfig().transform_request(
        model="anthropic.claude-sonnet-4-5-20250929-v1:0",
        messages=messages,
        optional_params={"maxTokens": 5, "tools": [TOOL]},
        litellm_params={},
        headers={},
    )

    def read(part):
        used, given = part.get("toolUse"), part.get("toolResult")
        if used or given:
            return ("tool_use" if used else "tool_result"), (used or given)["toolUseId"]
        return "text", part.get("text")

    return _turns(body["messages"], read)


def gemini_turns(messages):
    from litellm.llms.vertex_ai.gemini.transformation import _gemini_convert_messages_with_history

    def read(part):
        used, given = part.get("function_call"), part.get("function_response")
        return ("tool_use" if used else "tool_result" if given else "text"), None

    contents = _gemini_convert_messages_with_history(messages)
    return _turns([{**c, "content": c["parts"]} for c in contents], read)


def responses_items(messages):
    from litellm.completion_extras.litellm_responses_transformation.transformation import (
        LiteLLMResponsesTransformationHandler,
    )

    items, _ = LiteLLMResponsesTransformationHandler().convert_chat_completion_messages_to_responses_api(
        messages
    )
    return items


def _turns(messages, read):
    return [(m["role"], [read(part) for part in m["content"]]) for m in messages if m["role"] != "system"]


def faults_of(turns: list[tuple[str, list[tuple[str, Any]]]], *, alternating: bool = True) -> list[str]:
    """What Anthropic, Bedrock and Gemini have in common: the user begins, results stand in the next turn.

    Gemini takes two turns of one role in a row.
    """
    faults = [] if not turns or turns[0][0] == "user" else ["does not begin with the user"]
    for i, (role, parts) in enumerate(turns):
        following = turns[i + 1] if i + 1 < len(turns) else ("", [])
        if alternating and role == following[0]:
            faults.append(f"{i}: two turns of {role}")
        if not parts:
            faults.append(f"{i}: an empty turn of {role}")
        used = sorted(str(key) for kind, key in parts if kind == "tool_use")
        answered = sorted(str(key) for kind, key in following[1] if kind == "tool_result")
        if used != answered:
            faults.append(f"{i}: calls {used}, answered next {answered}")
        kinds = [kind for kind, _ in following[1]]
        if "tool_result" in kinds[len(answered) :]:
            faults.append(f"{i + 1}: a result behind other content")
    return faults


def items_faults(items) -> list[str]:
    """What Responses asks for: an output behind each call, and none without one."""
    waiting: list[str] = []
    faults = [f"{item['role']} is no role" for item in items if item.get("role") == "function"]
    for item in items:
        if item["type"] == "function_call":
            waiting.append(item["call_id"])
        elif item["type"] == "function_call_output":
            if item["call_id"] not in waiting:
                faults.append(f"no call for {item['call_id']}")
            else:
                waiting.remove(item["call_id"])
    return faults + [f"no output for {key}" for key in waiting]


def distinct(messages):
    """The messages with arguments that differ: Gemini's adapter drops a call that equals the one before."""
    messages = copy.deepcopy(messages)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps({"city": call["id"]})
    return messages


modern = st.lists(steps.filter(lambda step: step[0] not in LEGACY), max_size=24)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(modern, compositions, st.none() | st.integers(100, 1200), st.booleans())
def test_every_composition_is_valid_on_the_wire(made, composition, budget, recalled):
    """Whatever is left out or cleared, and with a recalled record at the end, each provider takes it."""
    try:
        context = build(composition, history(made), budget)
    except TokenLimitExceeded:
        assume(False)
    if recalled:
        context = with_record(context, "[Recorded data] The door code is AB-7731.", 12, (1,))
    messages = distinct(context.messages)

    assert faults_of(anthropic_turns(copy.deepcopy(messages))) == []
    assert faults_of(bedrock_turns(copy.deepcopy(messages))) == []
    assert faults_of(gemini_turns(copy.deepcopy(messages)), alternating=False) == []
    assert items_faults(responses_items(copy.deepcopy(messages))) == []
