"""The guards that stand around every test."""

import asyncio
import os
import socket

import pytest

from tests.conftest import NetworkGuard, NetworkUse, is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", b"localhost", "0.0.0.0", "", None]
)
def test_this_machine_is_reachable(host: object) -> None:
    """Loopback, the unspecified address and no address at all are this machine."""
    assert is_loopback(host) is True


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "10.0.0.1", "example.org", "::ffff:192.0.2.1", "localhost.example"]
)
def test_everything_else_is_not(host: str) -> None:
    """A private address, a public one and any name but localhost lie beyond."""
    assert is_loopback(host) is False


def test_a_connection_beyond_loopback_is_refused(network_guard: NetworkGuard) -> None:
    """The attempt raises before a packet leaves, and is noted."""
    with socket.socket() as client, pytest.raises(NetworkUse, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))

    assert network_guard.refused == ["socket.connect '192.0.2.1'"]
    network_guard.refused.clear()


def test_a_name_is_not_looked_up(network_guard: NetworkGuard) -> None:
    """DNS is network use too."""
    with pytest.raises(NetworkUse, match=r"example\.org"):
        socket.getaddrinfo("example.org", 443)

    assert network_guard.refused == ["socket.getaddrinfo 'example.org'"]
    network_guard.refused.clear()


async def test_asyncio_is_covered(network_guard: NetworkGuard) -> None:
    """A connection that an event loop opens is refused as well."""
    with pytest.raises(NetworkUse):
        await asyncio.open_connection("192.0.2.1", 80)

    assert network_guard.refused != []
    network_guard.refused.clear()


async def test_loopback_works_under_the_guard() -> None:
    """A server on 127.0.0.1 answers as if there were no guard."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"ping\n")
        received = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert received == b"ping\n"


def test_no_setting_leaks_in() -> None:
    """Neither settings nor proxies of the surrounding shell reach a test."""
    leaked = [name for name in os.environ if name.startswith(("SESSION_", "LONGSPLICE_"))]

    assert leaked == []
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
