"""What a provider is asked, and what it answers: one neutral form for three wires."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..messages import ToolCall
from ..meter.usage import Usage

if TYPE_CHECKING:
    from .faults import Fault

__all__ = [
    "COUNTED",
    "Answer",
    "FinishReason",
    "Outcome",
    "Prompt",
    "Reply",
    "Step",
    "settled",
]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]

COUNTED = "counted"
"""Usage is counted: one token for each four characters begun, of prompt and of answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model behind the server.

    Attributes:
        text: The answer; may be empty.
        tool_calls: Calls that the model makes.
        finish_reason: Why it ended; `None` stands for `tool_calls` if there are any, else `stop`.
        usage: What the provider reports: inclusive buckets, which each wire writes in its own
            words, leaving out what is `None` or what it has no word for (cache creation:
            OpenAI, Gemini; reasoning: Anthropic). `counted` by the server, or `None` to report none.
        model: The model that claims to have answered; `None`: the one asked for.

    Raises:
        ValueError: A part of the usage is larger than what it is part of.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | Literal["counted"] | None = COUNTED
    model: str | None = None

    def __post_init__(self) -> None:
        usage = self.usage
        if not isinstance(usage, Usage):
            return
        cached = (usage.cache_read_tokens or 0) + (usage.cache_creation_tokens or 0)
        if usage.input_tokens is not None and cached > usage.input_tokens:
            raise ValueError(
                f"cached tokens exceed input_tokens in {usage!r}; input_tokens includes both cache parts"
            )
        if usage.output_tokens is not None and (usage.reasoning_tokens or 0) > usage.output_tokens:
            raise ValueError(
                f"reasoning_tokens exceed output_tokens in {usage!r}; output_tokens includes reasoning"
            )

    @property
    def ending(self) -> FinishReason:
        """The finish reason, never `None`."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model was asked, whichever wire it came by.

    It has the attributes of the summary room's model request (`messages`,
    `response_schema`, `max_output_tokens`), so one answer function serves a
    `LoopbackServer` and a `ScriptedModel`.

    Attributes:
        protocol: `openai`, `anthropic` or `gemini`.
        model: The model asked for.
        number: Arrival number of the request at this server, from 1.
        messages: Role and text of each message, the system prompt first; parts that are
            no text are left out (they stand in `body`).
        response_schema: The JSON schema that the answer must have, if one was sent.
        max_output_tokens: The limit sent; `None` if none was.
        forced_tool: The one tool that the model has to call, if so.
        stream: Whether events are wanted.
        body: The request's body as it came.
    """

    protocol: str
    model: str
    number: int
    messages: tuple[dict[str, Any], ...]
    response_schema: Mapping[str, Any] | None
    max_output_tokens: int | None
    forced_tool: str | None
    stream: bool
    body: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All texts of the prompt, one paragraph each."""
        return "\n\n".join(message["content"] for message in self.messages)


Outcome: TypeAlias = "str | Reply | Fault"
Answer: TypeAlias = Callable[[Prompt], "Outcome | Awaitable[Outcome]"]
Step: TypeAlias = "Outcome | Answer"


def settled(said: str | Reply, prompt: Prompt) -> Reply:
    """The reply as this prompt gets it: model named, usage counted, forced tool called.

    Structured output by way of a forced tool is how litellm asks older Anthropic models
    (measured on 1.106.2): a model that is made to call a tool answers by calling it.
    """
    reply = Reply(said) if isinstance(said, str) else said
    usage = reply.usage
    if usage == COUNTED:
        spoken = reply.text + "".join(call.arguments_json for call in reply.tool_calls)
        usage = Usage(_quarter(prompt.text), _quarter(spoken))
    reply = replace(reply, usage=usage, model=reply.model or prompt.model)
    if prompt.forced_tool is None or reply.tool_calls or reply.ending != "stop":
        return reply
    call = ToolCall(f"call_{prompt.number}", prompt.forced_tool, reply.text)
    return reply if call.arguments is None or not reply.text else replace(reply, text="", tool_calls=(call,))


def _quarter(text: str) -> int:
    return -(-len(text) // 4)
