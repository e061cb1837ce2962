"""What the README and the docs say, held against the code."""

import ast
import asyncio
import contextlib
import functools
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from summarizer import settle

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_RUNTIMES = ROOT / "docs" / "integrations"
"""Pages whose snippets need an agent runtime; tests/integrations/test_pages.py runs them."""
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)")
LAWS = 23


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Fenced blocks with the number of their first line."""
    text = page.read_text("utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found.group(2))
        for found in FENCE.finditer(text)
        if found.group(1) == language
    ]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


async def run_block(source: str, names: dict[str, Any]) -> None:
    """Run a block as if typed into `python -m asyncio`: `await` may stand at the top.

    One that never awaits runs in a thread, as a script would: it may call `asyncio.run`.
    """
    code = compile(source, names["__file__"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        await eval(code, names)
    else:
        await asyncio.to_thread(eval, code, names)


async def run_page(page: Path, names: dict[str, Any]) -> None:
    """Run the Python blocks of a page in order, each knowing the names of those before."""
    for line, source in blocks(page, "python"):
        await run_block("\n" * line + source, names)
    await settle()


@pytest.mark.parametrize(
    "page", [page for page in pages_with("python") if page.parent != OF_RUNTIMES], ids=name_of
)
async def test_every_snippet_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run, in order, in one interpreter and an empty folder."""
    monkeypatch.setenv("LONGSPLICE_STORE", f"sqlite:///{tmp_path}/docs.db")
    names: dict[str, Any] = {"__name__": "docs", "__file__": name_of(page)}
    with contextlib.chdir(tmp_path):
        await run_page(page, names)


def command_of(line: str) -> list[str]:
    """The command of a `$` line, run by this Python and without an environment of its own."""
    words = shlex.split(line.removeprefix("$ "))
    if words[:3] == ["python3", "run.py", "demo"]:
        return [sys.executable, "-m", "summarizer.cli", "demo", *words[3:]]
    assert words[0] == "python", f"the docs show {line!r}; this test knows `python` and `python3 run.py demo`"
    return [
        sys.executable,
        *(str(ROOT / word) if word.startswith("examples/") else word for word in words[1:]),
    ]


@functools.cache
def output_of(line: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LONGSPLICE_STORE": f"sqlite:///{folder}/docs.db"}
    done = subprocess.run(
        command_of(line),
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
async def test_every_terminal_block_is_reproduced(page: Path, tmp_path: Path) -> None:
    """Each line shown under a command is printed by it, in this order.

    `...` stands for lines that are left out, and at the end of a line for its rest.
    """
    for _, block in blocks(page, "console"):
        command, *shown = block.splitlines()
        printed = iter((await asyncio.to_thread(output_of, command, tmp_path)).splitlines())

        missing = [
            line for line in shown if line != "..." and not any(is_shown_by(line, it) for it in printed)
        ]

        assert missing == []


def is_shown_by(shown: str, printed: str) -> bool:
    return printed.startswith(shown[:-4]) if shown.endswith(" ...") else printed == shown


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of this repository."""
    targets = [(page.parent / target).resolve() for target in LINK.findall(page.read_text("utf-8"))]

    assert [target for target in targets if not target.exists()] == []


def test_every_law_names_the_tests_that_hold_it() -> None:
    """Each law has a section, and each section names at least one test."""
    sections = re.split(r"^### (\d+)\. ", (ROOT / "docs" / "laws.md").read_text("utf-8"), flags=re.MULTILINE)
    laws = dict(zip(map(int, sections[1::2]), sections[2::2], strict=True))

    assert sorted(laws) == list(range(1, LAWS + 1))
    assert [number for number, text in laws.items() if not names_in(text)] == []


def test_every_named_test_exists() -> None:
    """A test that the docs name is there."""
    named = [test for page in PAGES for test in names_in(page.read_text("utf-8"))]

    assert [f"{file}::{name}" for file, name in named if not is_test(ROOT / file, name)] == []


def names_in(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)


def is_test(file: Path, name: str) -> bool:
    return (
        file.exists()
        and re.search(rf"^(async )?def {name}\(", file.read_text("utf-8"), re.MULTILINE) is not None
    )


def test_every_log_event_is_listed() -> None:
    """The event names in the code are those of the page on logs."""
    emitted = re.compile(r"\b(?:log\.(?:debug|info|warning|error|exception)|_tell_once)\(\s*\"([\w.]+)\"")
    sources = [path.read_text("utf-8") for path in (ROOT / "summarizer").rglob("*.py")]
    listed = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "logs.md").read_text("utf-8"), re.MULTILINE)

    assert {name for cell in listed for name in re.findall(r"`([\w.]+)`", cell)} == {
        name for source in sources for name in emitted.findall(source)
    }
