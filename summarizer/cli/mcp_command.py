"""Recorded conversations for MCP clients: `longsplice mcp`."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from ..config import default_store_url
from ..errors import InvalidSetting

__all__ = ["mcp"]


@click.command()
@click.option("--store", help="The store's URL.  [default: that of the library]")
@click.option("--owner", help="Whose conversations are shown.  [default: nobody's]")
def mcp(*, store: str | None, owner: str | None) -> int:
    """Serve an MCP client over stdin and stdout: five tools, which read only."""
    url = default_store_url() if store is None else store
    if url.startswith("memory:"):
        raise InvalidSetting(f"--store {url!r} holds nothing here; give a sqlite:/// or redis:// URL")
    from ..integrations.mcp_server import serve_stdio

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    asyncio.run(serve_stdio(url, owner=owner))
    return 0
