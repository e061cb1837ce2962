"""Tool results that take less room: old ones cleared, large ones shown by a preview."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from ...messages import content_text, dump_json
from .composing import Stage
from .selection import settled
from .views import Unit, View
from .windows import check_count

__all__ = ["CLEARED", "PREVIEW", "ClearToolResults", "Offload", "filled"]

CLEARED: Final = "[Result of {tool} cleared to save room, recorded as {ref}. Call it again if you need it.]"
PREVIEW: Final = (
    "[Result of {tool}, shown in part: {shape}, {characters} characters, recorded in full as {ref}.]\n"
    "{head}\n[...]\n{tail}"
)

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_MOST_OF_ARGUMENT: Final = 200
"""Characters of an argument that a template shows."""
_MOST_PARSED: Final = 200_000
"""Characters of a result that are read as JSON to tell its shape."""


class _Result(NamedTuple):
    """A tool result in a view that stands with its call."""

    seq: int
    unit: int
    tool: str
    arguments_json: str
    text: str
    tokens: int
    rewritten: bool
    reference: str | None


@dataclass(frozen=True, slots=True)
class ClearToolResults(Stage):
    """Old tool results are replaced by a line that says so; calls stay as they were.

    Results are cleared in batches, oldest first, so that the prefix changes once in `batch` results.
    Never cleared: the last `keep`, those of the newest unit (the model may not have read them),
    pinned ones, and those that the line would not make shorter.

    In a template `{name}` stands for an argument of the call, or for `{tool}`, `{seq}`, `{tokens}` and
    `{ref}`; what is unknown becomes "(unknown name)", and never fails. `{ref}` is the name under which
    `sm.tools` bound the result, such as `$v3`, else the event: "event 12".

    Args:
        keep: Newest results that stay, at least; 1 or more.
        batch: Results that are cleared at once.
        template: The line, for tools without one of their own.
        templates: Lines by tool name, such as
            `{"read_file": "File content of {path}. Read again if needed."}`.
        spare: Tools whose results are never cleared.
    """

    keep: int = 5
    batch: int = 5
    template: str = CLEARED
    templates: Mapping[str, str] = field(default_factory=dict[str, str])
    spare: frozenset[str] | set[str] = frozenset()

    def __post_init__(self) -> None:
        check_count("keep", self.keep)
        check_count("batch", self.batch)

    def apply(self, view: View) -> View:
        """The view with old results cleared."""
        results = [result for result in _results(view) if result.tool not in self.spare]
        read = next((k for k, result in enumerate(results) if result.unit in view.newest), len(results))
        due = min(settled(len(results), self.keep, self.batch), read // self.batch * self.batch)
        texts: dict[int, str] = {}
        for result in results[:due]:
            template = self.templates.get(result.tool, self.template)
            text = filled(template, _words(result), result.arguments_json)
            if _is_shorter(text, result, view):
                texts[result.seq] = text
        return view.rewrite(texts) if texts else view


@dataclass(frozen=True, slots=True)
class Offload(Stage):
    """Large tool results are shown by their head and tail, with shape, size and the name of the whole.

    With `keep=0` a result is shown so from the first time, and the prefix never changes for it; the
    model then never reads it whole, so give it a tool that does. With `keep=1` or more the last results
    are whole, and each that ages out changes the prefix once.

    A template knows what one of `ClearToolResults` does, and `{shape}`, `{characters}`, `{head}`, `{tail}`.
    `{ref}` is the event where head or tail name the result's `$vN` already.

    Args:
        over: Tokens above which a result is large.
        characters: Characters of head and tail together.
        keep: Newest large results that are shown whole.
        template: What is shown.
    """

    over: int = 2000
    characters: int = 800
    keep: int = 0
    template: str = PREVIEW

    def __post_init__(self) -> None:
        check_count("over", self.over)
        check_count("characters", self.characters)
        check_count("keep", self.keep, least=0)

    def apply(self, view: View) -> View:
        """The view with previews of large results."""
        large = [result for result in _results(view) if not result.rewritten and result.tokens > self.over]
        texts: dict[int, str] = {}
        for result in large[: settled(len(large), self.keep, 1)]:
            text = filled(self.template, self._words(result), result.arguments_json)
            if _is_shorter(text, result, view):
                texts[result.seq] = text
        return view.rewrite(texts, at_first_sight=not self.keep) if texts else view

    def _words(self, result: _Result) -> dict[str, Callable[[], str]]:
        text, half = result.text, self.characters // 2
        head, tail = text[: self.characters - half], text[len(text) - half :] if half else ""
        known = result.reference
        if known is not None and re.search(rf"{re.escape(known)}(?!\d)", f"{head}\n{tail}"):
            result = result._replace(reference=None)
        return _words(result) | {
            "shape": lambda: _shape(text),
            "characters": lambda: str(len(text)),
            "head": lambda: head,
            "tail": lambda: tail,
        }


def filled(template: str, words: Mapping[str, Callable[[], str]], arguments_json: str = "{}") -> str:
    """A template with its placeholders filled; what is unknown becomes "(unknown name)". Never raises.

    Args:
        template: Text with `{name}` in it; other braces stay.
        words: What is known, by name; called only if it is asked for.
        arguments_json: The arguments of the call, for names that `words` does not know.
    """
    arguments: Mapping[str, Any] | None = None

    def fill(found: re.Match[str]) -> str:
        nonlocal arguments
        name = found[1]
        if name in words:
            return words[name]()
        arguments = _arguments(arguments_json) if arguments is None else arguments
        if name not in arguments:
            return f"(unknown {name})"
        value = arguments[name]
        text = " ".join((value if isinstance(value, str) else dump_json(value)).split())
        return text if len(text) <= _MOST_OF_ARGUMENT else text[: _MOST_OF_ARGUMENT - 3] + "..."

    return _PLACEHOLDER.sub(fill, template)


def _words(result: _Result) -> dict[str, Callable[[], str]]:
    return {
        "tool": lambda: result.tool,
        "seq": lambda: str(result.seq),
        "tokens": lambda: str(result.tokens),
        "ref": lambda: result.reference or f"event {result.seq}",
    }


def _is_shorter(text: str, result: _Result, view: View) -> bool:
    shown = view.count(result.text) if result.rewritten else result.tokens
    return view.count(text) < shown


def _arguments(arguments_json: str) -> Mapping[str, Any]:
    try:
        value = json.loads(arguments_json or "{}")
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _results(view: View) -> list[_Result]:
    """The results that stand with their call and may be rewritten, in order of arrival."""
    found = [
        result
        for i, unit in enumerate(view.units)
        if len(unit.events) > 1 and not unit.pinned
        for result in _results_of(i, unit, view.references)
    ]
    return sorted(found, key=lambda result: result.seq)


def _results_of(i: int, unit: Unit, references: Mapping[int, str]) -> Iterator[_Result]:
    """The results of unit `i`."""
    for block in unit.blocks:
        if len(block.messages) < 2:
            continue
        recorded = {event.seq: event.tokens for event in unit.events}
        calls = dict(_calls(block.messages[0]))
        for message, seq in zip(block.messages[1:], block.seqs[1:], strict=True):
            if not seq:
                continue
            key = message.get("tool_call_id") or f"function:{message.get('name')}"
            tool, arguments = calls.get(key, ("the tool", "{}"))
            text = content_text(message["content"])
            rewritten, known = seq in unit.rewritten, references.get(seq)
            yield _Result(seq, i, tool, arguments, text, recorded[seq], rewritten, known)


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Of each call of a message its key, tool name and arguments."""
    for call in message.get("tool_calls", ()):
        body: Mapping[str, Any] = call[call["type"]]
        yield call["id"], (body["name"], body.get("arguments", "{}"))
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        legacy = cast("Mapping[str, Any]", legacy)
        name = legacy.get("name")
        yield f"function:{name}", (str(name), str(legacy.get("arguments", "{}")))


def _shape(text: str) -> str:
    """What a text is, in a few words."""
    if text[:1] in ("{", "[") and len(text) <= _MOST_PARSED:
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list):
            return f"a list of {len(cast('list[object]', value))}"
        if isinstance(value, dict):
            keys = [str(key)[:40] for key in cast("dict[object, object]", value)]
            return f"an object with {', '.join(keys[:8])}{' and more' if len(keys) > 8 else ''}"
    return f"text of {text.count(chr(10)) + 1} lines"
