"""ProceduralContextFormatter: patterns in, a short text for a prompt out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from typing import Final

from procedural.evidence import Rate
from procedural.patterns import ArgumentPattern, Drift, Fix, Pattern
from procedural.quoting import WITHHELD, quotable_error, safe_name, safe_path, safe_value
from procedural.traces import Change
from procedural.wording import Wording

__all__ = ["ProceduralContextFormatter", "estimate_tokens"]

_PIECES: Final = re.compile(r"[A-Za-z]+|\d+|\s+|[^A-Za-z\d\s]")
_FORMS: Final = re.compile(r"[A-Za-z0-9 #/_.:-]{1,40}")
_SHAPE: Final = re.compile(r"(object|list|text|blank text|null|bool|number|empty list)(?:\(([^()]*)\))?")

_FIX, _DRIFT, _ERROR, _ARGUMENT, _SEQUENCE, _RATE, _LATENCY = range(7)
"""What is told first when there is little room."""


def estimate_tokens(text: str) -> int:
    """An estimate of tokens without a tokenizer, on the high side for English text."""
    pieces = _PIECES.findall(text)
    return sum(ceil(len(one) / 5) if one.isalpha() else ceil(len(one) / 3) for one in pieces if one != " ")


class ProceduralContextFormatter:
    """Turns patterns into hints with their evidence, within a number of tokens.

    No argument value but a short plain choice is shown, no goal, no result. Error texts stand between quotes,
    values replaced by X, and only if they read like an error; see `quoting` for what is withheld.

    Args:
        max_tokens: Most tokens of the text, 0 or more; what does not fit is left out.
        count_tokens: Counts the tokens of a text; by default `estimate_tokens`.
        wording: The sentences.
        per_tool: Most hints on one tool.

    Raises:
        ValueError: `max_tokens` is below 0 or `per_tool` below 1.
    """

    def __init__(
        self,
        *,
        max_tokens: int = 500,
        count_tokens: Callable[[str], int] = estimate_tokens,
        wording: Wording | None = None,
        per_tool: int = 6,
    ) -> None:
        if max_tokens < 0:
            raise ValueError(f"max_tokens {max_tokens!r} is below 0; give 0 for no text at all")
        if per_tool < 1:
            raise ValueError(f"per_tool {per_tool!r} is below 1; pass no patterns to get no hints")
        self.max_tokens = max_tokens
        self._count = count_tokens
        self._wording = Wording() if wording is None else wording
        self._per_tool = per_tool

    def format(self, patterns: Iterable[Pattern]) -> str:
        """The hints, one a line under a header; empty if there are none or the first does not fit.

        Findings go before plain rates, and each tool's most telling one before any tool's second, in the
        order of the patterns.
        """
        return self.format_with_tools(patterns)[0]

    def format_with_tools(self, patterns: Iterable[Pattern]) -> tuple[str, frozenset[str]]:
        """The text of `format`, and the names of the tools on which it holds a hint."""
        patterns = tuple(patterns)
        tools = [sorted(self._hints(pattern))[: self._per_tool] for pattern in patterns]
        turns = sorted(
            (kind >= _RATE, place, tool, text)
            for tool, hints in enumerate(tools)
            for place, (kind, _, text) in enumerate(hints)
        )
        chosen: list[tuple[int, int, str]] = []
        for _, place, tool, text in turns:
            more = [*chosen, (place, tool, text)]
            if self._count(self._render(more)) <= self.max_tokens:
                chosen = more
        names = frozenset(patterns[tool].tool_name for _, tool, _ in chosen)
        return (self._render(chosen), names) if chosen else ("", names)

    def _render(self, hints: Sequence[tuple[int, int, str]]) -> str:
        by_tool = sorted(hints, key=lambda hint: (hint[1], hint[0]))
        return "\n".join([self._wording.header, *(f"- {text}" for _, _, text in by_tool)])

    def _hints(self, pattern: Pattern) -> Iterator[tuple[int, int, str]]:
        """(kind, place within it, sentence) of everything that could be said."""
        tool = safe_name(pattern.tool_name)
        say = self._wording.say
        for place, fix in enumerate(pattern.fixes[:3]):
            yield _FIX, place, self._fix(tool, fix, pattern)
        for place, drift in enumerate(pattern.drift):
            yield _DRIFT, place, self._drift(tool, drift)
        for place, error in enumerate(pattern.errors[:3]):
            shown = self._error(error.error_class, error.text, pattern)
            if shown is not None and (error.count >= 2 or pattern.calls <= 3):
                yield (
                    _ERROR,
                    place,
                    say("error", tool=tool, count=error.count, calls=pattern.calls, error=shown),
                )
        told: set[str] = set()
        for place, argument in enumerate(pattern.arguments):
            sentence = self._argument(tool, argument)
            if sentence and argument.path not in told:
                told.add(argument.path)
                yield _ARGUMENT, place, sentence
        for place, sequence in enumerate(one for one in pattern.sequences if one.better):
            previous = ", then ".join(safe_name(name) for name in sequence.previous)
            yield _SEQUENCE, place, say("sequence", tool=tool, previous=previous, **_counts(sequence.rate))
        yield _RATE, 0, say("rate", tool=tool, age=self._age(pattern.age_days), **_rated(pattern.rate))
        if pattern.latency and pattern.latency.calls >= 3:
            p50, p90 = _seconds(pattern.latency.p50_s), _seconds(pattern.latency.p90_s)
            yield _LATENCY, 0, say("latency", tool=tool, calls=pattern.latency.calls, p50=p50, p90=p90)

    def _fix(self, tool: str, fix: Fix, pattern: Pattern) -> str:
        say = self._wording.say
        changes = list(dict.fromkeys(self._change(change) for change in fix.changes))
        values = {
            "tool": tool,
            "error": self._error(fix.error_class, fix.error_text, pattern) or self._wording.error_unknown,
            "sessions": say("sessions", count=fix.sessions) if fix.sessions > 1 else "",
            "age": self._age(fix.age_days),
            **_rated(fix.rate),
        }
        del values["share"]
        if not changes:
            return say("retry", **values)
        return say("fix", change=self._wording.join.join(changes[:3]), **values)

    def _change(self, change: Change) -> str:
        renamed = change.kind == "renamed"
        show = safe_path if renamed else _shown
        values = {"path": safe_path(change.path), "before": show(change.before), "after": show(change.after)}
        used = {
            "added": ("path", "after"),
            "retyped": ("path", "before", "after"),
            "renamed": ("before", "after"),
        }
        names = used.get(change.kind, ("path",))
        return self._wording.say(f"change_{change.kind}", **{name: values[name] for name in names})

    def _error(self, error_class: str, text: str, pattern: Pattern) -> str | None:
        """How an error is named, `None` if nothing of it may be shown."""
        name = safe_name(pattern.tool_name)
        changed = (change.path for fix in pattern.fixes for change in fix.changes)
        paths = (*changed, *(argument.path for argument in pattern.arguments))
        names = " ".join(["" if name == WITHHELD else name, *map(safe_path, paths)])
        known = re.findall("[A-Za-z]+", names)
        quoted = quotable_error(text, known) if text else None
        if quoted is not None:
            return self._wording.say("error_quoted", text=quoted)
        name = safe_value(error_class)
        return self._wording.say("error_classed", name=name) if name and name != "other" else None

    def _argument(self, tool: str, argument: ArgumentPattern) -> str | None:
        path = safe_path(argument.path)
        if argument.value is not None:
            value = safe_value(argument.value)
            feature = value and self._wording.say("feature_value", path=path, value=value)
        else:
            feature = self._wording.say("feature_form", path=path, form=_form(argument.form or ""))
        if not feature:
            return None
        template = "argument_good" if argument.having.share > argument.lacking.share else "argument_bad"
        others = {"other_ok": argument.lacking.successes, "other_calls": argument.lacking.calls}
        return self._wording.say(template, tool=tool, feature=feature, **_counts(argument.having), **others)

    def _drift(self, tool: str, drift: Drift) -> str:
        if drift.kind == "result":
            shapes = {"before": _shape(drift.before_shape), "recent": _shape(drift.recent_shape)}
            return self._wording.say("drift_result", tool=tool, recent_calls=drift.recent.calls, **shapes)
        return self._wording.say(
            "drift_rate",
            tool=tool,
            recent_ok=drift.recent.successes,
            recent_calls=drift.recent.calls,
            before_ok=drift.before.successes,
            before_calls=drift.before.calls,
        )

    def _age(self, days: int) -> str:
        if days < 1:
            return self._wording.today
        return self._wording.day if days == 1 else self._wording.say("days", count=days)


def _counts(rate: Rate) -> dict[str, int]:
    return {"ok": rate.successes, "calls": rate.calls}


def _rated(rate: Rate) -> dict[str, int]:
    shares = {name: round(100 * getattr(rate, name)) for name in ("share", "low", "high")}
    return {**_counts(rate), **shares}


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _shown(part: str) -> str:
    """The form or plain word of a change."""
    if part.startswith("<"):
        return _form(part.strip("<>"))
    value = safe_value(part)
    return f'"{value}"' if value else "another value"


def _form(form: str) -> str:
    return form if _FORMS.fullmatch(form) else "another form"


def _shape(shape: str) -> str:
    """The outline of a result, its keys as safe paths."""
    match = _SHAPE.fullmatch(shape)
    if match is None:
        return "another value"
    keys = ", ".join(safe_path(key.strip()) for key in (match[2] or "").split(",") if key.strip())
    return f"{match[1]} with {keys}" if keys else match[1]
