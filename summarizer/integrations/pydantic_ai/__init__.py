"""Pydantic AI: endless context, a durable log and guarded tools, as a capability of an agent.

    agent = Agent("openai:gpt-5", capabilities=[LongspliceCapability(SessionManager("trip"))])
    result = await agent.run("Where were we?")

`LongspliceCapability` does all of it; `history_processor` gives a bounded history and records, no more.
"""

from __future__ import annotations

from ...errors import MissingExtra

try:
    import pydantic_ai as _runtime  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise MissingExtra("the Pydantic AI integration", "pydantic-ai") from error

from .capability import LongspliceCapability, history_processor

__all__ = ["LongspliceCapability", "history_processor"]
