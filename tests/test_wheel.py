"""The built wheel: what users get."""

import email
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("summarizer", "guards", "procedural")

IMPORT_PROBE = """
import importlib, json, sys
sys.path.extend(sys.argv[1:3])
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[3:]}))
"""


def pip(*arguments: str | Path) -> None:
    """Run pip without the network; its output is the failure's text."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree, once."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, ".")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty folder."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel)
    return folder


def test_the_top_level_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    """No test, example or stray module lands in the user's site-packages."""
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}

    assert sorted(top) == sorted([*PACKAGES, "longsplice-0.1.0.dist-info"])


def test_all_three_import_from_an_empty_environment(installed: Path) -> None:
    """With the dependencies and without this tree, each package imports from where it was installed."""
    # -I and -S keep out the tree, the user's packages and the .pth file of the editable installation.
    command = [sys.executable, "-I", "-S", "-B", "-c", IMPORT_PROBE]
    places = [str(installed), sysconfig.get_path("purelib")]
    done = subprocess.run([*command, *places, *PACKAGES], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert json.loads(done.stdout) == {name: str(installed / name / "__init__.py") for name in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_is_typed(wheel: Path, package: str) -> None:
    """Type checkers of users find the marker."""
    with zipfile.ZipFile(wheel) as archive:
        assert f"{package}/py.typed" in archive.namelist()


def test_every_source_file_is_in_the_wheel(wheel: Path) -> None:
    """What is imported in the tree is there for the user, data files included."""
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.partition("/")[0] in PACKAGES}

    assert packed == expected


def test_the_wheel_states_its_licence_and_its_command(wheel: Path) -> None:
    """The licence is named and included, and `longsplice` is a command."""
    with zipfile.ZipFile(wheel) as archive:
        info = "longsplice-0.1.0.dist-info"
        about = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        commands = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE")

    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    assert "longsplice = summarizer.cli:main" in commands
    assert licence == (ROOT / "LICENSE").read_bytes()
