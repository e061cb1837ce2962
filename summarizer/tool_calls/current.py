"""Which guard `guards.get_tool_state()` gives: a session's, made only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session_tools import SessionTools

__all__ = ["session_state"]


def session_state(tools: Callable[[], SessionTools]) -> AbstractContextManager[None]:
    """Make the guard of `tools` the current one within the block; nothing is loaded until it is asked for."""
    from guards.current import provided

    return provided(lambda: tools().guard)
