"""What past tool calls teach.

In: finished tool calls, as traces. Out: patterns with their evidence, and short hints for
a model. Never: crosses owners unasked, runs a tool, or repeats a secret or an instruction.
"""

import logging

from procedural.errors import ProceduralError, TraceError, TraceStoreError

__all__ = ["ProceduralError", "TraceError", "TraceStoreError"]

logging.getLogger("procedural").addHandler(logging.NullHandler())
