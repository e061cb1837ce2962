"""Google ADK: endless context, a durable log and guarded tools, as a plugin of an app.

app = App(name="shop", root_agent=agent, plugins=[LongsplicePlugin(token_threshold=8000)])
"""

from __future__ import annotations

from ...errors import MissingExtra

try:
    import google.adk as _runtime  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise MissingExtra("the Google ADK integration", "google-adk") from error

from .plugin import LongsplicePlugin

__all__ = ["LongsplicePlugin"]
