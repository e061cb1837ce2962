"""Where the traces of tool calls live: `procedural.TraceStore`, beside the log and in the same place.

In come a scope and its traces; out go pages and checkpoints, from the connections of the open `EventStore`.
Never here: what a trace teaches.
"""

from .opening import open_trace_store

__all__ = ["open_trace_store"]
