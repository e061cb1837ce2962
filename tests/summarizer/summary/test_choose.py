"""Who writes the summaries, by setting."""

from __future__ import annotations

from typing import Any

import pytest

from summarizer.errors import InvalidSetting
from summarizer.summary.choose import resolve_summarizer
from summarizer.summary.extractive import ExtractiveSummarizer
from summarizer.summary.ladder import CallableSummarizer, LlmSummarizer
from summarizer.summary.record import Summary, SummaryRequest


class Own:
    async def summarize(self, request: SummaryRequest) -> Summary:
        return Summary(through=request.cut)


class Blocking:
    def summarize(self, request: SummaryRequest) -> Summary:
        return Summary(through=request.cut)


def told(messages: list[dict[str, Any]]) -> str:
    return f"{len(messages)} messages."


def test_nothing_configured_means_rules() -> None:
    """Without a setting no model is ever asked."""
    assert isinstance(resolve_summarizer(None), ExtractiveSummarizer)
    assert isinstance(resolve_summarizer("extractive"), ExtractiveSummarizer)


def test_the_environment_names_models_with_fallbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LONGSPLICE_SUMMARIZER` is read when it is needed, names separated by commas; an argument beats it."""
    monkeypatch.setenv("LONGSPLICE_SUMMARIZER", " gpt-4o-mini, anthropic/claude-haiku-4-5 ")
    found = resolve_summarizer(None)

    assert isinstance(found, LlmSummarizer)
    assert found.models == ("gpt-4o-mini", "anthropic/claude-haiku-4-5")
    assert isinstance(resolve_summarizer("extractive"), ExtractiveSummarizer)


@pytest.mark.parametrize("spec", ["gpt-4o-mini", ["gpt-4o-mini"], ("gpt-4o-mini",)])
def test_names_are_models(spec: Any) -> None:
    """A name, or a list of names, is asked through litellm."""
    found = resolve_summarizer(spec)

    assert isinstance(found, LlmSummarizer)
    assert found.models == ("gpt-4o-mini",)


def test_objects_stay_themselves_and_functions_are_wrapped() -> None:
    """What has an async `summarize` is a summarizer; what can be called makes the narrative."""
    own = Own()
    ready = LlmSummarizer(["gpt-4o-mini"])
    wrapped = resolve_summarizer(told)

    assert resolve_summarizer(own) is own
    assert resolve_summarizer(ready) is ready
    assert isinstance(wrapped, CallableSummarizer)
    assert wrapped.function is told


@pytest.mark.parametrize(
    "spec", ["", " ", [], ["gpt-4o-mini", ""], ["gpt-4o-mini", "extractive"], 7, Own, Blocking(), [3]]
)
def test_anything_else_is_an_invalid_setting(spec: Any) -> None:
    """A setting that cannot work fails when it is made, not at the first segmentation."""
    with pytest.raises(InvalidSetting, match="summarizer"):
        resolve_summarizer(spec)


@pytest.mark.parametrize(
    "changes", [{"timeout_s": 0}, {"tries": 0}, {"window": 100}, {"prompt": "long"}, {"concurrency": 0}]
)
def test_numbers_out_of_range_are_invalid_settings(changes: dict[str, Any]) -> None:
    """Limits are checked where they are given."""
    with pytest.raises(InvalidSetting):
        LlmSummarizer(["gpt-4o-mini"], **changes)
