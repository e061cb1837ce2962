"""Commands in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from summarizer.testing import ProcessFailed, UrlProcess


def command(folder: Path, code: str) -> str:
    """A module that runs `code`; its name."""
    (folder / "command_under_test.py").write_text(code)
    return "command_under_test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_command_that_fails_says_why(folder: Path) -> None:
    """What it wrote to standard error stands in the exception, with the exit code."""
    module = command(folder, "import sys; sys.exit('no model here')")

    with pytest.raises(ProcessFailed, match="exit code 1; it wrote: no model here"):
        UrlProcess(module).start()


def test_a_command_that_stays_silent_is_ended(folder: Path) -> None:
    """Without a URL within its time, it is killed."""
    module = command(folder, "import time; time.sleep(60)")

    with pytest.raises(ProcessFailed, match="exit code -9"):
        UrlProcess(module, start_timeout_s=0.3).start()


def test_a_command_that_ignores_sigterm_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the block ends it in any case."""
    monkeypatch.setattr("summarizer.testing.processes._STOP_S", 0.1)
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('http://x', flush=True)\n"
        "time.sleep(60)\n"
    )
    with UrlProcess(command(folder, code)) as process:
        pid = process.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="not running"):
        _ = process.url
    with pytest.raises(RuntimeError, match="not running"):
        _ = process.pid


def test_a_child_ends_when_its_parent_is_killed() -> None:
    """A killed test run leaves no server behind: soon nobody answers at its address."""
    code = (
        "import os, signal\n"
        "from summarizer.testing import UrlProcess\n"
        "process = UrlProcess('summarizer.testing.server')\n"
        "process.start()\n"
        "print(process.url, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    port = int(parent.stdout.rpartition(":")[2])

    assert parent.returncode == -signal.SIGKILL
    assert wait_until_refused(port)


def wait_until_refused(port: int) -> bool:
    """Wait, ten seconds at most, until nobody listens on the port."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.01)
    return False
