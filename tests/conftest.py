"""What holds for every test: no network beyond this machine, and no settings of whoever runs it."""

import gc
import ipaddress
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CALLERS_OF_LITELLM = frozenset(
    {
        "test_wire",
        "test_live_wire",
        "test_litellm",
        "test_recall_embeddings",
        "test_local_model",
        "test_llm",
        "test_tracking",
        "test_errors",
    }
)
"""Modules whose tests make litellm open connections."""
SETTINGS = ("SESSION_", "LONGSPLICE_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

# litellm fetches its price table at import unless told otherwise; collecting tests may import it.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


class NetworkUse(BaseException):
    """A test reached beyond loopback. No `except Exception` of the code under test can hide it."""


class NetworkGuard:
    """Refuses connections, datagrams and look-ups of names beyond loopback, in this process.

    An audit hook sees them below every library, asyncio included, and cannot be taken out again.
    Processes that a test starts are not covered.
    """

    ADDRESS_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
    NAME_EVENTS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})

    def __init__(self) -> None:
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge one audit event; anything that is not about the network costs one comparison."""
        if not event.startswith("socket."):
            return
        if event in self.ADDRESS_EVENTS:
            address = arguments[1]
            # A string or bytes is a Unix socket's path; None belongs to a connected socket.
            if isinstance(address, tuple) and not is_loopback(address[0]):
                self.refuse(event, address[0])
        elif event in self.NAME_EVENTS and not is_loopback(arguments[0]):
            self.refuse(event, arguments[0])

    def refuse(self, event: str, host: object) -> None:
        """Note the attempt, so that it fails the test even where it was caught, and stop it."""
        self.refused.append(f"{event} {host!r}")
        message = f"{event} to {host!r}: tests may use loopback only; start a server on 127.0.0.1"
        raise NetworkUse(message)


def is_loopback(host: object) -> bool:
    """Say whether a host is this machine: loopback, unspecified (a server's own), or absent."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name is None or name in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(str(name))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


_guard = NetworkGuard()
sys.addaudithook(_guard)


@pytest.fixture
def network_guard() -> NetworkGuard:
    """Give the guard to a test that provokes it; such a test clears `refused`."""
    return _guard


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fail a test that tried to leave this machine, even if the code under test caught the refusal."""
    _guard.refused.clear()
    yield
    refused = list(_guard.refused)
    _guard.refused.clear()

    assert refused == []


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hide settings and proxies of whoever runs the tests, and put user data into a temporary folder."""
    for name in list(os.environ):
        if name.startswith(SETTINGS) or name.upper() in PROXIES:
            monkeypatch.delenv(name)
    data = tmp_path_factory.getbasetemp() / "user-data"
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.setenv("LOCALAPPDATA", str(data))
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return data


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Leave structlog as an application finds it; `capture_logs` alone leaves it configured."""
    yield
    if "structlog" in sys.modules:
        sys.modules["structlog"].reset_defaults()


@pytest.fixture(autouse=True)
def no_leftovers_of_litellm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let litellm's cached clients go in the test that made them; it leaves their connections open.

    Left to chance, the collector would find them in some later test and fail that one.
    """
    yield
    if request.path.stem in CALLERS_OF_LITELLM and "litellm" in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
