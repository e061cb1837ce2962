"""What can be reached from a package equals what it promises."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("summarizer", "guards", "procedural")
NEVER_EXPORTS = frozenset({"TYPE_CHECKING", "annotations"})


def fronts() -> list[str]:
    """The three packages and those of their rooms that are folders."""
    found = [file.parent for name in PACKAGES for file in (ROOT / name).glob("**/__init__.py")]
    parts = [folder.relative_to(ROOT).parts for folder in found]
    return sorted(".".join(names) for names in parts if len(names) <= 2)


def reachable(front: ModuleType) -> list[str]:
    """The public names of ours that a user finds; lazy ones are listed by the module's `__dir__`."""
    return sorted(name for name in dir(front) if not name.startswith("_") and is_ours(front, name))


def is_ours(front: ModuleType, name: str) -> bool:
    """Whether a name is part of the interface, not a module or something imported for our own use."""
    value = getattr(front, name)
    if isinstance(value, ModuleType) or name in NEVER_EXPORTS:
        return False
    origin = getattr(value, "__module__", None)
    return origin is None or str(origin).partition(".")[0] in PACKAGES


@pytest.mark.parametrize("name", fronts())
def test_what_can_be_reached_is_what_is_promised(name: str) -> None:
    """`__all__`, `dir()` and `getattr` agree, name by name."""
    front = importlib.import_module(name)

    assert reachable(front) == sorted(name for name in front.__all__ if not name.startswith("__"))


@pytest.mark.parametrize("name", fronts())
def test_every_promise_is_kept_once(name: str) -> None:
    """Each name in `__all__` is there, and is listed once."""
    promised = list(importlib.import_module(name).__all__)

    assert [one for one in promised if not hasattr(importlib.import_module(name), one)] == []
    assert len(promised) == len(set(promised))


@pytest.mark.parametrize("name", fronts())
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """A lazy front refuses a wrong name as an ordinary module does."""
    front = importlib.import_module(name)

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = front.no_such_name


@pytest.mark.parametrize("name", fronts())
def test_each_front_says_what_comes_in_and_out(name: str) -> None:
    """The docstring of a package or room is more than its name."""
    assert len((importlib.import_module(name).__doc__ or "").strip().splitlines()) >= 3


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_is_typed(name: str) -> None:
    """Type checkers of users read our annotations."""
    assert (ROOT / name / "py.typed").is_file()
