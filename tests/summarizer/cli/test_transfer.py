"""`longsplice export` and `longsplice import`."""

import asyncio
from pathlib import Path

import pytest

from summarizer import SessionManager
from summarizer.cli import main
from summarizer.stores import SQLiteStore


async def written(path: Path) -> None:
    store = SQLiteStore(path)
    sm = SessionManager("trip", store=store, owner="ana")
    await sm.turn("Hello\u2028there", "Hello, Ana.")
    await sm.fork(at=1, session_id="again")
    await store.close()


async def read(path: Path) -> list[list[str]]:
    store = SQLiteStore(path)
    rows = [
        await SessionManager(name, store=store, owner="bob", create=False).get_conversation()
        for name in ("trip", "again")
    ]
    await store.close()
    return [[row["content"] for row in one] for one in rows]


def test_a_tree_goes_to_a_file_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From one store to another, under another owner; the ids are printed."""
    asyncio.run(written(tmp_path / "a.db"))
    here, there = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    file = tmp_path / "tree.jsonl"
    codes = [
        main(["export", "trip", "--store", here, "--owner", "ana", "--output", str(file)]),
        main(["import", str(file), "--store", there, "--owner", "bob"]),
    ]

    assert codes == [0, 0]
    assert capsys.readouterr().out.split() == ["trip", "again"]
    assert asyncio.run(read(tmp_path / "b.db")) == [["Hello\u2028there", "Hello, Ana."], ["Hello\u2028there"]]


def test_what_is_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing session, file or store: an exit code, and what to do."""
    store = f"sqlite:///{tmp_path}/a.db"
    codes = [
        main(["export", "nobody", "--store", store]),
        main(["import", str(tmp_path / "none.jsonl"), "--store", store]),
        main(["export", "nobody", "--store", "memory://"]),
    ]
    told = capsys.readouterr()

    assert (codes, told.out) == ([1, 2, 2], "")
    assert len(told.err.splitlines()) == 3
    assert all("; fix: " in line for line in told.err.splitlines())
