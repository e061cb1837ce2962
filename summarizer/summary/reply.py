"""What a model answered, parsed: strict JSON, fenced JSON, JSON among prose, plain text. Pure.

Whether it is a summary is judged in `judgement`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..errors import SummaryRejected

__all__ = ["ParsedReply", "parse_reply", "strip_reasoning"]

_CUT_SHORT: Final = frozenset({"length", "max_tokens"})
_FILTERED: Final = frozenset({"content_filter", "refusal", "safety"})


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What an answer says.

    Attributes:
        narrative: Its text; may be empty where there are operations.
        operations: The operations as they came, objects only.
        structured: Whether it came as JSON.
    """

    narrative: str
    operations: tuple[Mapping[str, Any], ...] = ()
    structured: bool = False


def parse_reply(text: str, finish_reason: str | None = None) -> ParsedReply:
    """Read an answer.

    Reasoning (`<think>...</think>`) is cut off first and never taken for the answer. JSON that
    ends early is completed only if the provider did not cut it off.

    Raises:
        SummaryRejected: `summary.refusal` (filtered by the provider), `summary.empty`, `summary.tool_call` (a
            call and no notes), `summary.too_long` (cut off at the limit), `summary.error_text`,
            `summary.unparsable`.
    """
    if finish_reason in _FILTERED:
        raise SummaryRejected("summary.refusal", f"the provider ended the answer: {finish_reason}")
    body = strip_reasoning(text).strip()
    if finish_reason in _CUT_SHORT:
        raise SummaryRejected("summary.too_long", f"cut off at the token limit after {len(text)} characters")
    if not body and finish_reason != "tool_calls":
        raise SummaryRejected("summary.empty", "no text besides reasoning" if text.strip() else "no text")
    found = _find_object(body)
    if found is not None:
        return _from_object(found)
    if finish_reason == "tool_calls":
        raise SummaryRejected("summary.tool_call", f"a tool call after {len(body)} characters of talk")
    if body[0] in "{[" or "```json" in body:
        raise SummaryRejected("summary.unparsable", f"broken JSON of {len(body)} characters")
    return ParsedReply(_without_preface(body))


def strip_reasoning(text: str) -> str:
    """The text without its reasoning; what an unclosed tag opens is reasoning to the end."""
    text = _REASONING.sub("", text)
    _, closing, rest = text.rpartition("</think>")
    return rest if closing else text


_REASONING: Final = re.compile(
    r"<(think|thinking|reasoning|thought)>(?:(?!</\1>).)*(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL
)


def _find_object(body: str) -> Mapping[str, Any] | None:
    """The first JSON object in the text that could be an answer; `None` if there is none."""
    candidates = [body, *(match[1] for match in _FENCED.finditer(body))]
    start = body.find("{")
    if start >= 0:
        end = body.rfind("}")
        candidates += [body[start : end + 1]] if end > start else []
        candidates.append(body[start:])
    for candidate in candidates:
        value = _load(candidate.strip())
        if isinstance(value, dict) and _looks_like_answer(cast("dict[str, Any]", value), body):
            return cast("dict[str, Any]", value)
    return None


_FENCED: Final = re.compile(r"```[\w-]*\n(.*?)```", re.DOTALL)
_TRAILING: Final = re.compile(r",(?=\s*[}\]])")


def _looks_like_answer(value: Mapping[str, Any], body: str) -> bool:
    return not value.keys().isdisjoint(("narrative", "operations", "summary", "error")) or body.startswith(
        "{"
    )


def _load(text: str) -> Any:
    for attempt in (text, _TRAILING.sub("", text)):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    return _salvaged(text)


def _salvaged(text: str) -> Any:
    """What JSON that ends early says, if its narrative is whole; `None` otherwise."""
    for attempt in _completed(text):
        try:
            value: Any = json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and cast("dict[str, Any]", value).get("narrative"):
            return cast("Any", value)
    return None


_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],"]', re.DOTALL)
_DEEPEST: Final = 16
"""Brackets within brackets; an answer has four."""
_CLOSING: Final = {"{": "}", "[": "]"}


def _completed(text: str) -> tuple[str, str]:
    """The text with its open brackets closed: as it ends, and without its unfinished last member."""
    stack: list[str] = []
    stop, closing = 0, ""
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == '"' or len(stack) > _DEEPEST:
            break
        if mark[0] == '"':
            continue
        if mark in _CLOSING:
            stack.append(_CLOSING[mark])
        elif mark != "," and stack:
            stack.pop()
        stop = token.start() if mark == "," else token.end()
        closing = "".join(reversed(stack))
    return text.rstrip() + closing, text[:stop] + closing


def _from_object(value: Mapping[str, Any]) -> ParsedReply:
    narrative = value.get("narrative", value.get("summary"))
    if narrative is None and "error" in value:
        raise SummaryRejected("summary.error_text", "a JSON error object")
    operations = value.get("operations", ())
    if not isinstance(narrative, str | None) or not isinstance(operations, list | tuple | None):
        raise SummaryRejected("summary.unparsable", "JSON of another shape than the schema's")
    kept = tuple(
        cast("Mapping[str, Any]", op)
        for op in cast("Sequence[Any]", operations or ())
        if isinstance(op, Mapping)
    )
    if narrative is None and not kept and "operations" not in value:
        raise SummaryRejected("summary.unparsable", "JSON without a narrative")
    return ParsedReply((narrative or "").strip(), kept, structured=True)


_PREFACE: Final = re.compile(
    r"\A(?:[*_#\s]*(?:(?:sure|certainly|of course|okay|ok)[,!.]?\s+)?here(?: is|'s|’s| are)[^\n.:]{0,80}"
    r"(?:summary|notes|narrative)[^\n.:]{0,80}:[*_\s]*"
    r"|[*_#\s]*(?:summary|narrative|notes)[*_\s]*:[*_\s]*|#+\s*(?:summary|narrative|notes)\s*\n)",
    re.IGNORECASE,
)


def _without_preface(text: str) -> str:
    """Plain text without its heading ("Here is a summary of the conversation:")."""
    return _PREFACE.sub("", text, count=1).strip()
