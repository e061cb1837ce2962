"""What a run says when the guard has ended it: data, with an id and a version."""

from typing import Final

__all__ = ["STOPPED", "VERSION"]

VERSION: Final = "langchain.wording/1"
STOPPED: Final = (
    "I have stopped here: the tool calls went round in circles and brought nothing new. "
    "Tell me what to try instead, or what to leave out."
)
"""The run's last message, for its user; the model reads it in the next turn as its own."""
