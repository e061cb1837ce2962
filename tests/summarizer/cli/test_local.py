"""`longsplice demo --summarizer local`: the whole way with a real model, on this machine alone."""

import json
import subprocess
import sys

import pytest

from summarizer.testing import LocalModel


@pytest.mark.skipif(
    bool(LocalModel.missing()),
    reason=f"not installed: {', '.join(LocalModel.missing())}; see LocalModelNotInstalled",
)
@pytest.mark.slow
def test_the_demo_runs_with_a_real_model() -> None:
    """It is asked and its tokens are booked; good or not, each seed has a writer and every event is there.

    Eight messages, of which one segment closes: the model reads some 1,200 tokens.
    """
    command = [sys.executable, "-m", "summarizer.cli", "demo", "--summarizer", "local"]
    done = subprocess.run(
        [*command, "--limit", "8", "--threshold", "400", "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    report = json.loads(done.stdout or "{}")

    assert (done.returncode, done.stderr) == (0, "")
    assert report["summary_calls"] >= 1
    assert report["summary_tokens"] > 400
    assert report["summary_usd"] is None
    (closed,) = report["handovers"]
    assert closed["seed"]
    assert closed["writer"] != "extractive" or closed["rejections"]
    assert (report["found"]["found"], report["found"]["missing"]) == (8, [])
