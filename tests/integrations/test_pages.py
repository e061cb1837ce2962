"""The snippets of the pages on runtimes, each page in a process of its own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.runtimes import REQUIRED, version_of
from tests.test_docs import OF_RUNTIMES, ROOT, run_page

NEEDS = {
    "anthropic": ["anthropic"],
    "endpoint": ["starlette", "httpx", "uvicorn"],
    "fastapi": ["fastapi"],
    "google-adk": ["google-adk"],
    "langchain": ["langchain", "langgraph"],
    "litellm": ["litellm"],
    "mcp": ["mcp"],
    "openai-agents": ["openai-agents"],
    "openai-agents-compaction": ["openai-agents"],
    "plain-loops": ["openai", "anthropic"],
    "pydantic-ai": ["pydantic-ai-slim"],
    "strands": ["strands-agents"],
}
"""What each page's snippets import."""


@pytest.mark.parametrize("page", sorted(OF_RUNTIMES.glob("*.md")), ids=lambda page: page.stem)
def test_every_snippet_runs(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run, in order, in one interpreter and an empty folder."""
    missing = [name for name in NEEDS[page.stem] if version_of(name) is None]
    if missing and not REQUIRED.intersection(missing):
        pytest.skip(f"not installed: {', '.join(missing)}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LONGSPLICE_STORE": f"sqlite:///{tmp_path}/docs.db"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.test_pages", str(page)],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    asyncio.run(run_page(Path(sys.argv[1]), {"__name__": "docs", "__file__": sys.argv[1]}))
