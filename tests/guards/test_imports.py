"""What `from guards import ToolGuard` brings along: nothing that a synchronous host does not need."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROBE = """
import sys
sys.path.insert(0, {root!r})
before = set(sys.modules)
from guards import ToolGuard
print(*sorted({{"asyncio", "pydantic", "pathlib", "random", "uuid"}} & (set(sys.modules) - before)))
"""


def test_a_guard_is_imported_without_asyncio_and_pydantic() -> None:
    """The standard library is enough, and its large parts wait for their first use."""
    command = [sys.executable, "-I", "-S", "-B", "-c", PROBE.format(root=str(ROOT))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == []
