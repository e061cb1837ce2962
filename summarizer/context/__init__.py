"""What the model sees.

In come the open segment, its seed and a budget; out goes a list of messages that every
provider accepts, with a report. It never writes, and never asks a store or a model.
"""

from .view import Boundary, Context, Frame, Omission, build_context, room_of, with_record

__all__ = ["Boundary", "Context", "Frame", "Omission", "build_context", "room_of", "with_record"]
