"""Where litellm's data files lie, found without executing litellm (its import takes seconds)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["litellm_folder"]


@cache
def litellm_folder() -> Path | None:
    """The folder of the installed litellm, or `None` if there is none.

    Looking up a top-level package only locates it; nothing of it runs.
    """
    try:
        spec = find_spec("litellm")
    except ValueError:  # An application put a module without a spec in its place.
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
