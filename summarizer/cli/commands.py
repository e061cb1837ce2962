"""The commands: options in, one replay, one report out."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..errors import InvalidSetting, SummarizerError
from ..formats import InvalidTranscript, Step, Transcript, read_transcripts, steps_of
from ..meter import price_for
from ..session import SessionManager
from ..stores import open_store
from ..summary import LlmSummarizer
from .mcp_command import mcp
from .recorder import Reading, read_back, record_steps
from .render import render
from .report import Report, report_on, report_to_json
from .serving import serve
from .transfer import export, put_back

__all__ = ["run"]

DEMO_THRESHOLD: Final = 4000
DEMO_MODEL: Final = "gpt-4o-mini"
LOCAL_THRESHOLD: Final = 600
LOCAL_LIMIT: Final = 18
"""What the demo gives the local model unless told otherwise: it reads some 100 tokens a second."""
_TRANSCRIPT: Final = "airline_desk.jsonl"


@dataclass(frozen=True, slots=True)
class Job:
    """One replay as the options describe it.

    Attributes:
        title: The report's first line.
        transcript: What to record.
        threshold: Content tokens at which a child is opened.
        model: For counts and prices.
        summarizer: As `--summarizer` was given.
        store: A URL; `None` for a file that is removed afterwards.
        as_json: Print JSON.
    """

    title: str
    transcript: Transcript
    threshold: int
    model: str
    summarizer: str
    store: str | None
    as_json: bool


_Command = Callable[..., int]


def _options(command: _Command) -> _Command:
    """The options that all commands share."""
    shared = (
        click.option(
            "--threshold",
            type=click.IntRange(min=200),
            help=f"Content tokens at which a new segment is opened.  [default: {DEMO_THRESHOLD}]",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Take the first N messages only."),
        click.option(
            "--model", default=DEMO_MODEL, show_default=True, help="Whose counts and prices to use."
        ),
        click.option(
            "--summarizer",
            default="extractive",
            show_default=True,
            help="'extractive', a litellm model name, or 'local' (a real, tiny model on this machine).",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    )
    for option in reversed(shared):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longsplice", prog_name="longsplice")
def cli() -> None:
    """Conversations without end."""


cli.add_command(export)
cli.add_command(mcp)
cli.add_command(put_back)
cli.add_command(serve)


@cli.command()
@_options
def demo(*, threshold: int | None, limit: int | None, model: str, summarizer: str, as_json: bool) -> int:
    """Show the main job on a real transcript; no key, no server."""
    with as_file(files("summarizer.cli") / "data" / _TRANSCRIPT) as path:
        (transcript,) = read_transcripts(path)
    if summarizer == "local":
        threshold, limit = threshold or LOCAL_THRESHOLD, limit or LOCAL_LIMIT
    title = "longsplice demo: ten customers of an airline's desk, one conversation"
    return _replay(
        Job(title, _first(transcript, limit), threshold or DEMO_THRESHOLD, model, summarizer, None, as_json)
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
@click.option("--conversation", type=click.IntRange(min=1), help="Which one, where the file holds several.")
@click.option("--store", help="Keep the result in this store, a URL.  [default: a file, removed afterwards]")
def replay(
    *,
    file: Path,
    threshold: int | None,
    limit: int | None,
    model: str,
    summarizer: str,
    as_json: bool,
    conversation: int | None,
    store: str | None,
) -> int:
    """Do the same with your own transcript: OpenAI messages as JSON or JSONL."""
    transcript = _chosen(read_transcripts(file), str(file), conversation)
    title = f"longsplice replay: {file.name}"
    return _replay(
        Job(title, _first(transcript, limit), threshold or DEMO_THRESHOLD, model, summarizer, store, as_json)
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors become one sentence on stderr and an exit code."""
    try:
        color = False if os.environ.get("NO_COLOR") else None
        given = None if arguments is None else list(arguments)
        return int(cli.main(given, prog_name="longsplice", standalone_mode=False, color=color) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _failed(f"{error.format_message().rstrip('.')}; see longsplice --help", 2)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (InvalidSetting, InvalidTranscript, ImportError) as error:
        return _failed(str(error), 2)
    except SummarizerError as error:
        return _failed(str(error), 1)
    except BrokenPipeError:
        # The reader has gone, as with `| head`; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _failed(text: str, code: int) -> int:
    problem, separator, fix = " ".join(text.split()).rpartition("; ")
    if not separator:
        problem, separator, fix = fix.partition(": pip install")
        fix = f"pip install{fix}" if separator else "see longsplice --help"
    click.echo(f"longsplice: {problem}; fix: {fix}", err=True)
    return code


def _chosen(transcripts: Sequence[Transcript], source: str, wanted: int | None) -> Transcript:
    count = len(transcripts)
    if wanted is None and count > 1:
        problem = f"holds {count} conversations"
        raise InvalidTranscript(source, None, problem, f"choose one with --conversation 1 to {count}")
    if (wanted or 1) > count:
        problem = f"has no conversation {wanted}, it holds {count}"
        raise InvalidTranscript(source, None, problem, f"choose one with --conversation 1 to {count}")
    return transcripts[(wanted or 1) - 1]


def _first(transcript: Transcript, limit: int | None) -> Transcript:
    return Transcript(transcript.messages[:limit], transcript.line)


def _replay(job: Job) -> int:
    with _summarizer(job.summarizer) as summarizer, _store_url(job.store) as url:
        report = asyncio.run(_recorded_and_read(job, url, summarizer))
    if job.as_json:
        click.echo(json.dumps(report_to_json(report), ensure_ascii=False, indent=2))
    else:
        click.echo(render(report, job.title))
        if job.store is not None:
            click.echo(f"\nkept in {open_store(job.store).url} as conversation {report.conversation_id}")
    return 0 if report.found.complete else 1


async def _recorded_and_read(job: Job, url: str, summarizer: object) -> Report:
    messages = job.transcript.messages
    prompt = job.transcript.system_prompt
    steps = steps_of(messages if prompt is None else messages[1:])
    conversation_id = f"replay-{secrets.token_urlsafe(9)}"
    manager_of = {
        "system_prompt": prompt,
        "model": job.model,
        "token_threshold": job.threshold,
        "summarizer": summarizer,
        "segmentation": "inline",
    }
    await _record(url, conversation_id, steps, manager_of)
    reading = await _read(url, conversation_id, job.model)
    return report_on(reading, messages, price_for(job.model))


async def _record(url: str, conversation_id: str, steps: Sequence[Step], settings: Mapping[str, Any]) -> None:
    store = open_store(url)
    try:
        manager = SessionManager(conversation_id, store=store, **settings)
        with _progress(len(steps)) as advance:
            await record_steps(manager, steps, advance)
    finally:
        await store.close()


async def _read(url: str, conversation_id: str, model: str) -> Reading:
    """Read by a store that has seen nothing of the writing."""
    store = open_store(url)
    try:
        return await read_back(store, conversation_id, model=model)
    finally:
        await store.close()


@contextmanager
def _summarizer(name: str) -> Generator[object]:
    """What `SessionManager` takes as its summarizer; the local model runs as long as the block."""
    if name != "local":
        yield name
        return
    from ..testing import LocalModel

    with LocalModel() as local:
        yield LlmSummarizer(
            [local.model_name],
            api_base=local.base_url,
            api_key="local",
            window=4096,
            prompt="compact",
            timeout_s=120.0,
            tries=1,
        )


@contextmanager
def _store_url(given: str | None) -> Generator[str]:
    if given is not None:
        if given.startswith("memory:"):
            raise InvalidSetting(f"--store {given!r} keeps nothing; give a sqlite:/// or redis:// URL")
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="longsplice-") as folder:
        yield f"sqlite:///{Path(folder, 'replay.db').as_posix()}"


@contextmanager
def _progress(total: int) -> Generator[Callable[[], None]]:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recording", total=total)
        yield lambda: bar.advance(task)
