from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.meter import Calibration, estimate, prior_ratio
from summarizer.meter.calibration import claude_version

REPORT = st.tuples(st.integers(-10, 10**7), st.integers(-10, 10**7))


@pytest.mark.parametrize("true", [0.6, 1.0, 1.37, 1.79, 2.41])
@given(st.lists(st.integers(500, 10**6), min_size=15, max_size=15))
def test_a_steady_ratio_is_learned_in_fifteen_reports(true: float, raws: list[int]) -> None:
    """Whatever the prior, fifteen reports of one ratio bring the estimate within one percent."""
    learned = Calibration.start("claude-opus-4-8")
    for raw in raws:
        learned = learned.updated(round(raw * true), raw)

    assert learned.ratio == pytest.approx(true, rel=0.01)
    assert learned.samples == 15


@given(st.lists(REPORT, max_size=40))
def test_a_ratio_stays_within_its_bounds(reports: list[tuple[int, int]]) -> None:
    """No report, however wrong, makes the ratio negative, zero or absurd."""
    learned = Calibration.start("m")
    for reported, raw in reports:
        learned = learned.updated(reported, raw)

        assert 0.5 <= learned.ratio <= 4.0


@given(st.integers(1, 10**9), st.integers(500, 10**6), st.floats(0.6, 3.0))
def test_one_outlier_moves_a_learned_ratio_by_an_eighth_at_most(wrong: int, raw: int, true: float) -> None:
    """After three agreeing reports a single wrong one changes little."""
    learned = Calibration(1.0, 0, "m")
    for _ in range(8):
        learned = learned.updated(round(10_000 * true), 10_000)
    after = learned.updated(wrong, raw)

    assert learned.ratio * 0.875 <= after.ratio <= learned.ratio * 1.1251


@pytest.mark.parametrize(("reported", "raw"), [(0, 100), (100, 0), (-5, 100), (100, -5)])
def test_an_impossible_report_teaches_nothing(reported: int, raw: int) -> None:
    """Without a positive report and a positive count there is nothing to learn."""
    before = Calibration(1.3, 2, "m")

    assert before.updated(reported, raw) is before


def test_a_tiny_prompt_teaches_little() -> None:
    """In fifty tokens the provider's fixed overhead rules; the ratio barely moves."""
    assert Calibration(1.0, 0, "m").updated(150, 50).ratio == pytest.approx(1.2)
    assert Calibration(1.0, 0, "m").updated(1500, 500).ratio == pytest.approx(3.0)


def test_the_context_is_estimated_within_two_percent_by_the_fifteenth_report() -> None:
    """Anchored on the last report, the next prompt's estimate is close, though every message differs."""
    rnd, errors = random.Random(3), list[float]()
    for _ in range(20):
        learned, raw, true = Calibration.start("claude-opus-4-8"), 500, 800
        for _ in range(15):
            learned = learned.updated(true, raw)
            new = rnd.choice([20, 60, 200, 500])
            actual = true + round(new * rnd.choice([1.0, 1.37, 1.45, 1.79]))
            last = abs(estimate(true, new, learned.ratio) - actual) / actual
            raw, true = raw + new, actual
        errors.append(last)

    assert statistics.mean(errors) < 0.02


def test_an_estimate_is_the_report_and_the_rest_by_ratio() -> None:
    """Nothing new: the report itself. No report: everything by the ratio. Rounded up."""
    assert estimate(1000, 0, 1.4) == 1000
    assert estimate(1000, 100, 1.4) == 1140
    assert estimate(None, 1001, 1.5) == 1502


@pytest.mark.parametrize(
    ("model", "version", "ratio"),
    [
        ("claude-3-5-sonnet-20241022", (3, 5), 1.1),
        ("claude-3-haiku-20240307", (3, 0), 1.1),
        ("anthropic/claude-sonnet-4-5-20250929", (4, 5), 1.1),
        ("claude-sonnet-4-20250514", (4, 0), 1.1),
        ("openrouter/anthropic/claude-sonnet-4.6", (4, 6), 1.1),
        ("bedrock/us.anthropic.claude-opus-4-7-v1:0", (4, 7), 1.4),
        ("claude-opus-4-8", (4, 8), 1.4),
        ("claude-fable-5", (5, 0), 1.4),
        ("claude-instant", None, 1.4),
        ("gpt-4o", None, 1.0),
        ("gemini/gemini-2.5-pro", None, 1.0),
        (None, None, 1.0),
    ],
)
def test_a_familys_prior_follows_its_version(
    model: str | None, version: tuple[int, int] | None, ratio: float
) -> None:
    """Claude from 4.7 on tokenizes finer; a date in a name is no version."""
    assert prior_ratio(model) == ratio
    assert claude_version(model or "") == version
