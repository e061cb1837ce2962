"""`longsplice serve`: the endpoint, until it is interrupted."""

from __future__ import annotations

import os
from typing import Any

import click

from ..errors import InvalidSetting, MissingExtra
from ..stores import open_store

__all__ = ["serve"]


@click.command()
@click.option(
    "--upstream",
    envvar="LONGSPLICE_UPSTREAM",
    required=True,
    help="Base URL, such as https://api.openai.com/v1.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for a free one."
)
@click.option(
    "--mode",
    default="append",
    show_default=True,
    type=click.Choice(["append", "full-history"]),
    help="What clients send, where their header does not say: what is new, or all.",
)
@click.option("--store", help="Where conversations are kept, a URL.  [default: as everywhere]")
@click.option(
    "--threshold",
    type=float,
    help="Tokens, or share of the model's window up to 1, at which a segment is closed.  [default: 0.75]",
)
@click.option(
    "--summarizer",
    default="extractive",
    show_default=True,
    type=click.Choice(["extractive", "upstream"]),
    help="Who writes summaries: rules, or the caller's model by the caller's key.",
)
@click.option("--token", envvar="LONGSPLICE_TOKEN", help="What callers must send as X-Longsplice-Token.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="Host name under which it may be reached; repeatable, * for any.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option(
    "--max-body-mb",
    default=32.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Largest request.",
)
@click.option(
    "--keepalive",
    "keepalive_s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between signs of life while a stream waits.",
)
@click.option(
    "--guard/--no-guard", default=True, show_default=True, help="Nudge and stop loops of tool calls."
)
@click.option(
    "--ask-usage/--no-ask-usage",
    default=True,
    show_default=True,
    help="Ask for usage where a stream's client did not.",
)
def serve(
    *, host: str, port: int, workers: int, threshold: float | None, max_body_mb: float, **given: Any
) -> int:
    """Serve an OpenAI-compatible endpoint with endless context, in front of another one."""
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("the endpoint", "serve") from error
    from ..server import Settings
    from ..server.settings import VARIABLE, check_bind

    check_bind(host, given["token"])
    store = open_store(given["store"])  # Nothing is touched yet: a wrong URL is told here, in one sentence.
    if workers > 1 and store.url.startswith("memory:"):
        raise InvalidSetting(
            f"--store {store.url!r} is of one process; give a sqlite:/// or redis:// URL, or --workers 1"
        )
    settings = Settings(
        threshold=threshold if threshold is None or threshold <= 1 else int(threshold),
        max_body_bytes=int(max_body_mb * 1024 * 1024),
        **given,
    )
    os.environ[VARIABLE] = settings.to_json()
    click.echo(f"longsplice: {settings.mode} mode, in front of {settings.upstream}", err=True)
    uvicorn.run(
        "summarizer.server:app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        server_header=False,
        access_log=False,
        timeout_keep_alive=75,  # Longer than clients keep theirs, so that none writes to a closed one.
        timeout_graceful_shutdown=30,
    )
    return 0
