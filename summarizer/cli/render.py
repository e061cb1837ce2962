"""The report as text. Pure: every figure comes from the report, colour from click alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import click

from ..messages import content_text
from .report import Handover, Load, Report

__all__ = ["render"]

_WIDTH: Final = 110
_SEED_LINES: Final = 6
"""Lines of each seed that are shown; `--json` has all of them."""
_SHOWN_MESSAGES: Final = 12


def render(report: Report, title: str) -> str:
    """The report, ready to print; `click.echo` takes the colour out where it does not belong."""
    lines = [click.style(title, bold=True), *_head(report), ""]
    for handover in report.handovers:
        lines += [*_handover(handover), ""]
    lines += [*_open_segment(report), "", *_totals(report), "", *_found(report), "", *_context(report)]
    return "\n".join(lines)


def _head(report: Report) -> Iterator[str]:
    yield f"{report.messages:,} messages, {report.tokens:,} content tokens, tokenizer {report.counter}"
    priced = "list price, prompt cache not counted" if report.price_known else "its price is unknown"
    yield f"priced as {report.model or 'no model'} ({priced}); system prompt {report.system_tokens:,} tokens"


def _handover(one: Handover) -> Iterator[str]:
    events = f"events {one.first_seq}-{one.last_seq}"
    yield click.style(f"segment {one.index}", bold=True) + (
        f"  {events}: {one.messages} messages, {one.tokens_in:,} tokens in; closed by {one.trigger}"
    )
    yield (
        f"  seed       {one.seed_tokens:,} tokens by {one.writer}; "
        f"{one.tail_tokens:,} tokens cross verbatim{_rejected(one.rejections)}"
    )
    yield f"  next call  {_load(one.next_call)}"
    for line in _excerpt(one.seed):
        yield click.style("  | ", dim=True) + line


def _rejected(reasons: tuple[str, ...]) -> str:
    return f"; the model's summary was not taken ({', '.join(dict.fromkeys(reasons))})" if reasons else ""


def _excerpt(seed: str) -> Iterator[str]:
    """For each heading how many entries it has, and the newest."""
    entries: dict[str, list[str]] = {}
    for line in seed.splitlines():
        if line.endswith(":") and not line.startswith("-"):
            entries[line[:-1]] = []
        elif line.startswith("- ") and entries:
            entries[next(reversed(entries))].append(line[2:])
    shown = [f"{heading} ({len(said)}): {said[-1]}" for heading, said in entries.items() if said]
    yield from (_short(line) for line in (shown or seed.splitlines())[:_SEED_LINES])


def _open_segment(report: Report) -> Iterator[str]:
    yield click.style(f"segment {report.segments - 1}", bold=True) + (
        f"  open: {report.open_messages} messages, {report.open_tokens:,} tokens"
    )
    yield f"  next call  {_load(report.next_call)}"
    for reason in dict.fromkeys(report.skipped):
        yield f"  on the way {report.skipped.count(reason)} due segmentation(s) had to wait: {reason}"


def _totals(report: Report) -> Iterator[str]:
    yield (
        click.style("all calls", bold=True)
        + f"  {report.model_calls:,} answers, the input of each call added up"
    )
    yield f"  {_load(report.all_calls)}"
    if report.summary_calls:
        spent = f"{report.summary_tokens:,} tokens, {_usd(report.summary_usd)}"
        yield f"  summaries took {report.summary_calls:,} model calls: {spent}"
    else:
        yield "  summaries took no model calls"


def _found(report: Report) -> Iterator[str]:
    found = report.found
    colour = "green" if found.complete else "red"
    yield click.style(
        f"every event found again: {found.found:,} of {found.expected:,}", fg=colour, bold=True
    ) + ("  (read by a second store that had seen nothing; compared to the byte, keys in order)")
    if found.missing:
        yield f"  not found, or changed: messages {', '.join(map(str, found.missing[:20]))}"
    if found.made_up_calls:
        yield f"  {found.made_up_calls:,} tool result(s) answered no call: kept behind a made-up call each"
    if found.made_up_results:
        yield f"  {found.made_up_results:,} call(s) had no result: each got a made-up one that says so"


def _context(report: Report) -> Iterator[str]:
    count = len(report.context)
    yield click.style("what a model would be sent now", bold=True) + (
        f"  {count} messages, {report.context_tokens:,} tokens, session {report.session_id}"
    )
    hidden = max(0, count - _SHOWN_MESSAGES)
    head = 2 if hidden else count
    for i, message in enumerate(report.context):
        if hidden and i == head:
            yield f"  ...        {hidden} more"
        if i < head or i >= head + hidden:
            yield f"  {message['role']:<9}  {_short(_said(message), _WIDTH - 11)}"


def _said(message: Mapping[str, Any]) -> str:
    text = content_text(message.get("content"))
    calls = [_called(call) for call in message.get("tool_calls") or ()]
    return " ".join([*([text] if text else []), *calls]) or "(no text)"


def _called(call: Mapping[str, Any]) -> str:
    body: Mapping[str, Any] = call.get(call.get("type") or "function") or {}
    return f"-> {body.get('name')}({body.get('arguments') or body.get('input') or ''})"


def _load(load: Load) -> str:
    saved = 1 - load.with_tokens / load.without_tokens if load.without_tokens else 0.0
    return (
        f"{load.with_tokens:,} tokens, {_usd(load.with_usd)} "
        f"(without segmentation {load.without_tokens:,}, {_usd(load.without_usd)}): {saved:.0%} less"
    )


def _usd(amount: Decimal | None) -> str:
    return "cost unknown" if amount is None else f"${amount:.6f}"


def _short(text: str, width: int = _WIDTH) -> str:
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
