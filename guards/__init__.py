"""What a tool call may do.

In: a tool call before it runs, and its outcome after. Out: a verdict, resolved
arguments and a binding for the result. Never: runs a model, reads the log or does I/O.
"""

import logging

from guards.errors import (
    GuardError,
    GuardLimitError,
    InvalidArgumentsError,
    SnapshotError,
    UnknownCallError,
    UnresolvedReferenceError,
)

__all__ = [
    "GuardError",
    "GuardLimitError",
    "InvalidArgumentsError",
    "SnapshotError",
    "UnknownCallError",
    "UnresolvedReferenceError",
]

logging.getLogger("guards").addHandler(logging.NullHandler())
