"""The command line: `longsplice demo`, `replay FILE`, `export SESSION_ID`, `import FILE`.

In come arguments; out go a report on stdout, errors on stderr in one sentence with a fix, and the exit
code: 0 done, 1 something failed, 2 the call must change. Never here: what the library does not offer too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; `None` takes those of the process.

    Returns:
        The exit code: 0, 1 or 2 as above, 130 if interrupted.
    """
    try:
        from .commands import run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        problem = f"the command line needs {package}, which is not installed"
        print(f"longsplice: {problem}; fix: pip install 'longsplice[cli]'", file=sys.stderr)
        return 2
    return run(arguments)
