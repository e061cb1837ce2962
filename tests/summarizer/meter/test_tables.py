from __future__ import annotations

import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest

from summarizer.meter import counter_for_model, counter_named, tables
from summarizer.meter.installed import litellm_folder

pytestmark = pytest.mark.usefixtures("fresh")
FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"


def shipped() -> Path:
    folder = litellm_folder()
    assert folder is not None
    return folder / "litellm_core_utils" / "tokenizers"


def test_counting_needs_neither_litellm_nor_the_network() -> None:
    """Importing loads no heavy package; a first count imports no litellm and opens no socket."""
    code = """
import sys, socket
def refuse(*a, **k): raise AssertionError("network")
import summarizer.meter as m
heavy = {"litellm", "tiktoken", "structlog", "requests", "pydantic", "asyncio"} & set(sys.modules)
socket.socket.connect = socket.getaddrinfo = refuse
n = m.count_tokens("hello world", model="gpt-4o"), m.price_for("gpt-4o") is not None
print(sorted(heavy), n, "litellm" in sys.modules, "requests" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.stderr) == ("[] (2, True) False False", "")


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base", "p50k_base"])
def test_the_tables_are_tiktokens_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks, pattern and control tokens equal those that tiktoken builds from the same files."""
    import tiktoken
    import tiktoken.load
    import tiktoken_ext.openai_public as public

    fetch = public.load_tiktoken_bpe
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shipped()))
    theirs = tiktoken.get_encoding(name)
    ours = counter_named(name).load().__closure__[0].cell_contents.__self__  # type: ignore[index]

    assert ours._mergeable_ranks == theirs._mergeable_ranks
    assert (ours._pat_str, ours._special_tokens) == (theirs._pat_str, theirs._special_tokens)
    assert public.load_tiktoken_bpe is fetch


def test_without_any_table_the_estimator_counts_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ranks on the machine: new conversations are fixed to the estimator, stored ones still count."""
    monkeypatch.setattr(tables, "litellm_folder", lambda: None)
    new, stored = counter_for_model("gpt-4o"), counter_named("o200k_base")

    assert (new.name, new.exact, new.count("abcdefgh")) == ("utf8/4", False, 2)
    assert (stored.name, stored.exact, stored.count("abcdefgh")) == ("o200k_base", False, 2)


def test_the_users_cache_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks in TIKTOKEN_CACHE_DIR are enough; litellm is not asked."""
    (tmp_path / FILE).write_bytes((shipped() / FILE).read_bytes())
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tables, "litellm_folder", lambda: None)

    assert counter_for_model("gpt-4o").count("hello world") == 2
    assert counter_for_model("gpt-4").exact is False


def test_a_damaged_table_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file whose SHA-256 is wrong is never used, and is named in the log."""
    (tmp_path / FILE).write_bytes(b"aGk= 0\n")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with caplog.at_level(logging.WARNING, "summarizer"):
        counter = counter_for_model("gpt-4o")

    assert counter.exact
    assert counter.count("hello world") == 2
    assert "tokens.table_rejected" in caplog.text


def test_a_table_that_vanishes_before_its_first_use_is_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding and reading a table anything may happen; a count happens all the same."""
    table = tmp_path / FILE
    table.write_bytes((shipped() / FILE).read_bytes())
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tables, "litellm_folder", lambda: None)
    counter = counter_for_model("gpt-4o")
    table.unlink()

    assert counter.count("abcdefgh") == 2


def quicktok(count: object) -> types.ModuleType:
    module = types.ModuleType("quicktok")
    module.get_encoding = lambda name: types.SimpleNamespace(count=count)  # type: ignore[attr-defined]
    return module


def test_quicktok_counts_first_if_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """LONGSPLICE_TOKENIZER=quicktok uses it, as long as it counts like the tables; surrogates included."""
    real = counter_named("o200k_base").load()
    asked: list[str] = []

    def count(text: str) -> int:
        text.encode()  # As quicktok, which raises on lone surrogates.
        asked.append(text)
        return real(text)

    monkeypatch.setitem(sys.modules, "quicktok", quicktok(count))
    monkeypatch.setenv("LONGSPLICE_TOKENIZER", "quicktok")
    tables._find.cache_clear()
    length = tables.find_table("o200k_base")

    assert length is not None
    assert (length()("hello world"), length()("a\ud800b")) == (2, real("a\ud800b"))
    assert "hello world" in asked


@pytest.mark.parametrize("count", [len, None, lambda text: "32"])
def test_a_package_that_merely_bears_the_name_is_refused(
    count: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another quicktok, with other counts, changes nothing."""
    monkeypatch.setitem(sys.modules, "quicktok", quicktok(count))
    monkeypatch.setenv("LONGSPLICE_TOKENIZER", "quicktok")

    assert counter_for_model("gpt-4o").count("hello world") == 2


def test_quicktok_stands_in_for_missing_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rank files, quicktok's own ranks keep the counts exact."""
    real = counter_named("o200k_base").load()
    tables._find.cache_clear()
    monkeypatch.setattr(tables, "litellm_folder", lambda: None)
    monkeypatch.setitem(sys.modules, "quicktok", quicktok(real))

    assert counter_for_model("gpt-4o").exact


def test_litellm_is_located_without_running_it() -> None:
    """The folder is found although litellm is not imported; a module without a spec is no litellm."""
    code = (
        "import sys, types; from summarizer.meter.installed import litellm_folder as f;"
        "a = f().name; f.cache_clear(); sys.modules['litellm'] = types.ModuleType('litellm'); print(a, f())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "litellm None"
