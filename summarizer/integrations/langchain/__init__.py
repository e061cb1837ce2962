"""LangChain: a middleware for `create_agent`, and messages translated without loss.

See `docs/integrations/langchain.md`. Needs `pip install 'longsplice[langchain]'`.
"""

from typing import TYPE_CHECKING, Any

from .translate import Translated, from_chat, to_chat

if TYPE_CHECKING:
    from .middleware import LongspliceMiddleware

__all__ = ["LongspliceMiddleware", "Translated", "from_chat", "to_chat"]


def __getattr__(name: str) -> Any:
    # LangGraph alone has the messages, and not the agents that a middleware is for.
    if name == "LongspliceMiddleware":
        from .middleware import LongspliceMiddleware

        return LongspliceMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
