"""Stores by URL."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from summarizer.errors import InvalidSetting
from summarizer.stores import MemoryStore, SQLiteStore, default_store, open_store
from tests.summarizer.stores.contract import ROOT, message


async def test_memory_is_private_unless_it_is_named() -> None:
    """`memory://` is a new store each time; `memory://name` is one per process and name."""
    assert open_store("memory://") is not open_store("memory://")
    assert open_store("memory://here") is open_store("memory://here")
    assert open_store("memory://here") is not open_store("memory://there")
    assert open_store("memory://here").url == "memory://here"


def test_a_path_is_absolute_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes are relative to the current folder, four are absolute, and `~` is home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert open_store("sqlite:///a/b.db").url == f"sqlite:///{tmp_path / 'a/b.db'}"
    assert open_store(f"sqlite:///{tmp_path}/c%20d#e.db").url == f"sqlite:///{tmp_path}/c%20d#e.db"
    assert open_store("sqlite:///~/f.db").url == f"sqlite:///{tmp_path / 'home/f.db'}"
    assert list(tmp_path.iterdir()) == []


def test_a_url_leads_back_to_its_store(tmp_path: Path) -> None:
    """`open_store(store.url)` opens the same data with the same promise."""
    url = f"sqlite:///{tmp_path}/a.db?durability=power"

    assert open_store(url).url == url
    assert open_store(f"sqlite:///{tmp_path}/a.db?durability=process").url == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://relative.db",
        "sqlite:///a.db?durability=replica",
        "sqlite:///a.db?durability",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a\x00b",
        "sqlite:",
        "postgres://127.0.0.1/x",
        "sessions.db",
        "",
        "://",
    ],
)
def test_a_wrong_url_says_what_is_right(url: str) -> None:
    """An unknown scheme, option or a missing path is `InvalidSetting`, and the text shows a right URL."""
    with pytest.raises(InvalidSetting, match=r"sqlite:///|durability"):
        open_store(url)


def test_the_environment_names_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL the environment decides; without that, a file in the user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    default = open_store()
    monkeypatch.setenv("SESSION_PROVIDER", "memory")
    provided = open_store()
    monkeypatch.setenv("LONGSPLICE_STORE", "sqlite:////x/y.db")

    assert default.url == f"sqlite:///{tmp_path}/longsplice/sessions.db"
    assert isinstance(provided, MemoryStore)
    assert open_store().url == "sqlite:////x/y.db"
    assert list(tmp_path.iterdir()) == []


def test_a_default_store_belongs_to_its_loop() -> None:
    """One per URL and running loop: callers of a loop share it, another loop gets its own."""

    async def get() -> tuple[object, object, object]:
        return default_store("memory://"), default_store("memory://"), default_store("memory://other")

    first, same, other = asyncio.run(get())
    later, _, _ = asyncio.run(get())

    assert first is same
    assert first is not other
    assert first is not later


def test_a_default_store_needs_a_loop() -> None:
    """Outside a loop there is nothing to cache it for."""
    with pytest.raises(RuntimeError):
        default_store("memory://")


def test_a_default_file_serves_one_run_after_the_other(tmp_path: Path) -> None:
    """Scripts that call `asyncio.run` again and again find their data, and end no store by hand."""
    url = f"sqlite:///{tmp_path / 'a.db'}"

    async def turn(number: int) -> int:
        store = default_store(url)
        if not number:
            await store.create(None, "c", {})
        return (await store.append(None, "c", [message("x")])).last_seq

    assert [asyncio.run(turn(number)) for number in range(5)] == [1, 2, 3, 4, 5]


def test_opening_loads_no_engine() -> None:
    """Importing the stores loads neither SQLite nor a Redis client, and touches no file."""
    code = (
        "import sys, summarizer.stores as s; s.open_store('memory://'); "
        "print([m for m in ('sqlite3', 'redis', 'structlog') if m in sys.modules]); "
        "s.open_store('sqlite:///x.db'); print('sqlite3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("[]\nFalse\n", "")


def test_the_engines_are_found_by_name() -> None:
    """`SQLiteStore` is loaded on demand and is the class behind the URL."""
    assert isinstance(open_store("sqlite:///x.db"), SQLiteStore)
