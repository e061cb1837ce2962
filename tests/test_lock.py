"""The resolved environment holds no release that is known, or said, to be malicious."""

import re
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent

MALICIOUS = (
    "1.82.7",
    "1.82.8",
    "1.107.0",
    "1.107.0.dev1",
    "1.107.0.dev2",
    "1.107.0.dev3",
    "1.107.0rc1",
    "1.107.0rc2",
)
"""Releases of litellm that stole credentials (1.82.*, March 2026) or that a scanner lists (1.107.0)."""


def base_requirements() -> dict[str, Requirement]:
    """What `pip install longsplice` brings, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {one.name: one for one in map(Requirement, project["dependencies"])}


def faults(requirements: Mapping[str, Requirement], resolved: Mapping[str, str]) -> list[str]:
    """What is wrong with a resolved environment: a pre-release, or a version that a requirement refuses."""
    found: list[str] = []
    for name, requirement in requirements.items():
        version = Version(resolved[name])
        if version.is_prerelease:
            found.append(f"{name} {version} is a pre-release")
        elif version not in requirement.specifier:
            found.append(f"{name} {version} is refused by {requirement}")
    return found


def test_this_environment_is_sound() -> None:
    """Every base dependency that is installed here is a final release within its bounds."""
    requirements = base_requirements()

    assert faults(requirements, {name: metadata.version(name) for name in requirements}) == []


@pytest.mark.parametrize("version", MALICIOUS)
def test_a_malicious_release_is_refused(version: str) -> None:
    """No resolver can choose it, not even one that was told to take pre-releases."""
    assert base_requirements()["litellm"].specifier.contains(version, prereleases=True) is False


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8"])
def test_a_lowered_floor_lets_no_malicious_release_in(version: str) -> None:
    """The exclusions stand by themselves, without the floor."""
    exclusions = [one for one in base_requirements()["litellm"].specifier if one.operator == "!="]

    assert any(not one.contains(version, prereleases=True) for one in exclusions)


@pytest.mark.parametrize("version", ["1.83.0", "1.106.2", "1.107.1", "1.109.1"])
def test_an_ordinary_release_is_accepted(version: str) -> None:
    """The floor itself and the releases around the excluded ones are open."""
    assert version in base_requirements()["litellm"].specifier


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.106.2", []),
        ("1.109.0rc1", ["litellm 1.109.0rc1 is a pre-release"]),
        ("1.106.0.dev1", ["litellm 1.106.0.dev1 is a pre-release"]),
        ("1.82.6", ["litellm 1.82.6 is refused by "]),
        ("1.107.0", ["litellm 1.107.0 is refused by "]),
    ],
)
def test_the_check_finds_a_fault(version: str, expected: list[str]) -> None:
    """A pre-release and an excluded version are each named."""
    found = faults({"litellm": base_requirements()["litellm"]}, {"litellm": version})

    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_the_floor_that_is_declared_is_the_floor_that_is_tested() -> None:
    """`run.py floor` installs the lowest litellm that pyproject.toml allows."""
    floor = next(one for one in base_requirements()["litellm"].specifier if one.operator == ">=")
    tested = re.search(
        r'^FLOOR = "litellm==(.+)"$', (ROOT / "run.py").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert tested is not None
    assert tested[1] == floor.version
