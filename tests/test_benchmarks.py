"""The benchmarks work. What they measure is read by people, never asserted here."""

import json

import pytest

from benchmarks import harness
from benchmarks.__main__ import NAMES, main


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_prints_its_figures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every benchmark runs to its end and prints at least one figure with a value, as JSON too."""
    code = main([name, "--quick", "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert printed["name"] == name
    assert any(figure["value"] is not None for figure in printed["figures"])


def test_a_table_says_what_was_met_and_what_was_missed() -> None:
    """A figure stands beside its target; an unknown one is neither met nor missed."""
    figures = [
        harness.Figure("fast", 1.2, at_most=1.25),
        harness.Figure("slow", 1.3, at_most=1.25),
        harness.Figure("absent", None, at_least=3),
    ]

    table = harness.Result("example", figures, ["a note"]).to_table()

    assert table.splitlines() == [
        "== example",
        "figure    value  unit  target",
        "fast        1.2  x     <= 1.25  met",
        "slow        1.3  x     <= 1.25  MISSED",
        "absent  unknown  x     >= 3",
        "   a note",
    ]


async def test_ways_run_in_turn() -> None:
    """Every way runs once in every round, warming rounds included."""
    ran: list[str] = []

    async def a() -> None:
        ran.append("a")

    async def b() -> None:
        ran.append("b")

    medians = await harness.interleaved({"a": a, "b": b}, rounds=2, warm=1)

    assert sorted(medians) == ["a", "b"]
    assert [sorted(ran[i : i + 2]) for i in range(0, 6, 2)] == [["a", "b"]] * 3
