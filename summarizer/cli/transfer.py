"""Conversations to a file and back: `longsplice export`, `longsplice import`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TextIO

import click

from ..config import default_store_url
from ..errors import InvalidSetting
from ..formats import export_tree, import_tree
from ..stores import open_store

__all__ = ["export", "put_back"]


@click.command()
@click.argument("session_id")
@click.option("--store", help="The store's URL.  [default: that of the library]")
@click.option("--owner", help="Whose conversation it is.  [default: nobody's]")
@click.option("--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="A file.")
def export(*, session_id: str, store: str | None, owner: str | None, output: TextIO) -> int:
    """Write a conversation and all forks of it as JSON lines."""
    return asyncio.run(_export(_url(store), owner, session_id, output))


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", help="The store's URL.  [default: that of the library]")
@click.option("--owner", help="Who shall own it.  [default: nobody]")
def put_back(*, file: Path, store: str | None, owner: str | None) -> int:
    """Put back what `export` wrote, under the same ids."""
    return asyncio.run(_import(_url(store), owner, file))


async def _export(url: str, owner: str | None, session_id: str, output: TextIO) -> int:
    store = open_store(url)
    try:
        async for line in export_tree(store, owner, session_id):
            click.echo(line, file=output)
    finally:
        await store.close()
    return 0


async def _import(url: str, owner: str | None, file: Path) -> int:
    store = open_store(url)
    try:
        text = await asyncio.to_thread(file.read_text, encoding="utf-8")
        # Only "\n" ends a line: JSON strings may hold the other separators that splitlines() knows.
        names = await import_tree(store, owner, text.split("\n"), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{str(file)!r} cannot be read ({error}); name a file that is") from None
    finally:
        await store.close()
    for name in names:
        click.echo(name)
    return 0


def _url(given: str | None) -> str:
    url = default_store_url() if given is None else given
    if url.startswith("memory:"):
        raise InvalidSetting(f"--store {url!r} keeps nothing; give a sqlite:/// or redis:// URL")
    return url
