"""litellm, imported once and kept on this machine."""

import os
import warnings
from types import ModuleType

import pytest

# At its first Anthropic call litellm fetches a list of beta headers unless told otherwise.
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

WARNINGS_OF_LITELLM = (
    "ignore:Item '.*' on TypedDict class 'ChatCompletion.*' is using the `ReadOnly` qualifier:UserWarning",
    "ignore:Accessing the 'model_.*' attribute on the instance is deprecated:DeprecationWarning",
)
"""What litellm 1.106 makes pydantic say at a call; nothing of ours could silence it at its source."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let litellm's own warnings pass in the tests that use it, and in no other."""
    for item in items:
        if "litellm" in getattr(item, "fixturenames", ()):
            for warning in WARNINGS_OF_LITELLM:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def litellm() -> ModuleType:
    """Import litellm, which takes seconds, for all tests that need it."""
    with warnings.catch_warnings():
        # What it and its dependencies deprecate is theirs.
        warnings.simplefilter("ignore")
        import litellm

    litellm.suppress_debug_info = True
    return litellm
