"""Other shapes of a conversation: Anthropic Messages, OpenAI Responses, streams of chunks. Pure.

In come answers and chunks as providers give them; out go chat messages. In come the chat messages of a
context; out goes what a provider of another shape is sent.
"""

from __future__ import annotations

from .answers import chat_response
from .anthropic_blocks import AnthropicPrompt, anthropic_messages, chat_of_anthropic, read_anthropic
from .responses import ResponsesPrompt, read_responses, responses_input
from .streams import AnswerBuilder
from .turns import merged

__all__ = [
    "AnswerBuilder",
    "AnthropicPrompt",
    "ResponsesPrompt",
    "anthropic_messages",
    "chat_of_anthropic",
    "chat_response",
    "merged",
    "read_anthropic",
    "read_responses",
    "responses_input",
]
