"""One fresh store after the other for the contract suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.summarizer.stores.factories import FACTORIES, Fresh


@pytest.fixture(params=list(FACTORIES))
async def fresh_store(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as fresh:
        yield fresh


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet, in a folder that is not there yet."""
    return tmp_path / "data" / "log.db"
