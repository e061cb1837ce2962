"""Who writes the summaries: a setting in, a summarizer out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import cast

from ..errors import InvalidSetting
from .extractive import ExtractiveSummarizer
from .ladder import CallableSummarizer, LlmSummarizer, SummaryFunction
from .record import Summarizer

__all__ = ["SummarizerSpec", "resolve_summarizer"]

SummarizerSpec = str | Sequence[str] | Summarizer | SummaryFunction | None

_VARIABLE = "LONGSPLICE_SUMMARIZER"


def resolve_summarizer(spec: SummarizerSpec) -> Summarizer:
    """The summarizer that a setting names. No model is loaded or called here.

    Args:
        spec: `None`: as `LONGSPLICE_SUMMARIZER` says (names separated by commas), else extractive.
            `"extractive"`. A litellm model name, or a list of them (fallbacks, in order). An object
            with `async summarize(request) -> Summary`. A sync or async function `(messages) -> str`.

    Raises:
        InvalidSetting: None of these; an object whose `summarize` is not async; an empty name or list.
    """
    if spec is None:
        named = [name.strip() for name in os.environ.get(_VARIABLE, "").split(",") if name.strip()]
        return _by_names(named, _VARIABLE) if named else ExtractiveSummarizer()
    if isinstance(spec, str):
        return _by_names([spec], "summarizer")
    if not isinstance(spec, type):
        if isinstance(spec, Sequence):
            return _by_names(cast("Sequence[object]", spec), "summarizer")
        if method := getattr(spec, "summarize", None):
            if not inspect.iscoroutinefunction(method):
                raise InvalidSetting(
                    f"summarizer {spec!r} has a summarize() that is not async; write `async def summarize`"
                )
            return cast("Summarizer", spec)
        if callable(spec):
            return CallableSummarizer(spec)
    raise InvalidSetting(
        f"summarizer {spec!r} is unknown; use 'extractive', a litellm model name, a list of names, an object "
        "with `async summarize(request)`, or a function of the messages"
    )


def _by_names(names: Sequence[object], setting: str) -> Summarizer:
    if any(not isinstance(name, str) or not name.strip() for name in names) or not names:
        raise InvalidSetting(f"{setting}={list(names)!r} must name models, at least one, none empty")
    stripped = [cast("str", name).strip() for name in names]
    if stripped == ["extractive"]:
        return ExtractiveSummarizer()
    if "extractive" in stripped:
        raise InvalidSetting(
            f"{setting}={stripped!r}: the extractive summarizer stands behind every list; leave it out"
        )
    return LlmSummarizer(stripped)
