"""Other shapes of a conversation, to and from the chat shape: Anthropic, OpenAI Responses, streams. Pure."""
