"""Which agent runtimes are here, and which must be: a runtime that is missing never looks like a pass."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

import pytest

REQUIRED = frozenset(os.environ.get("LONGSPLICE_REQUIRE", "").split())
"""Distributions that must be installed, such as `python3 run.py compat` names: without one, tests fail."""


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, `None` if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def needs(*distributions: str) -> pytest.MarkDecorator:
    """Skip a module's tests, visibly, where a runtime is absent; fail where it was required.

    Raises:
        RuntimeError: A required distribution is not installed.
    """
    missing = [name for name in distributions if version_of(name) is None]
    if required := REQUIRED.intersection(missing):
        raise RuntimeError(f"LONGSPLICE_REQUIRE names {', '.join(sorted(required))}, not installed here")
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
