"""The scripted summary model: kind to whoever asks it, and the same for all.

It misses no planted fact of what it is sent, repeats the newest values with a digit in them as long as there
is room, and writes nothing false. Its answer has a fixed length. So a contestant that summarizes by a model
loses only what it does not send, or sends too late.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from ..quality.planted import Planted
from .meters import Tokens

__all__ = ["SUMMARY_TOKENS", "Reader", "holds", "texts_of"]

SUMMARY_TOKENS: Final = 600
"""Tokens of each answer, billed as output. LangChain's and Strands' prompts state no length."""
_VALUE: Final = re.compile(r"[\w.@/+-]*\d[\w.@/+-]*")
_MOST_VALUES: Final = 100
_PADDING: Final = " The rest of what was said repeats this or was settled at once."


class Reader:
    """The model.

    Args:
        facts: What it must not miss.
        tokens: The count of all.
    """

    def __init__(self, facts: Sequence[Planted], tokens: Tokens) -> None:
        self._facts = facts
        self._tokens = tokens

    def facts_in(self, text: str) -> list[Planted]:
        """The planted facts that a text holds."""
        folded = text.casefold()
        return [fact for fact in self._facts if _holds(folded, fact)]

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """A summary of about `SUMMARY_TOKENS` tokens."""
        told = [text for message in messages for text in texts_of(message)]
        known = dict.fromkeys(fact.text for text in told for fact in self.facts_in(text))
        text = " ".join(("The user and the assistant went through several requests.", *known))
        values = dict.fromkeys(value for one in reversed(told) for value in reversed(_VALUE.findall(one)))
        for value in islice(values, _MOST_VALUES):
            text = f"{text} {value}"
        return self.padded(text)

    def padded(self, text: str) -> str:
        """The text brought to about `SUMMARY_TOKENS` tokens: longer with padding, never shorter."""
        missing = SUMMARY_TOKENS - self._tokens.of_text(text)
        return text + _PADDING * max(0, missing // self._tokens.of_text(_PADDING))


def holds(text: str, fact: Planted) -> bool:
    """Whether a text has all values of a fact and one of its labels."""
    return _holds(text.casefold(), fact)


def _holds(folded: str, fact: Planted) -> bool:
    return all(value.casefold() in folded for value in fact.values) and any(
        label.casefold() in folded for label in fact.labels
    )


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """What a message says: its content, its parts, and the arguments of its calls."""
    content = message.get("content")
    parts = [part.get("text", "") for part in content] if isinstance(content, list) else [content or ""]
    arguments = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
    return [str(text) for text in (*parts, *arguments) if text]
