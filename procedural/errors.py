"""What can go wrong in procedural memory, as a tree.

    ProceduralError
    ├── TraceError (ValueError)   a finished call that cannot be kept as a trace
    └── TraceStoreError           the traces could not be read or written

No traces yet is no error: patterns are then empty. A store that could not be asked is one.
"""

__all__ = ["ProceduralError", "TraceError", "TraceStoreError"]


class ProceduralError(Exception):
    """Root of every error that `procedural` raises on purpose."""


class TraceError(ProceduralError, ValueError):
    """A finished call cannot be kept as a trace; the memory is as it was."""


class TraceStoreError(ProceduralError):
    """The traces could not be read or written.

    A write may or may not have landed; a trace recorded twice under one id counts once.
    """
