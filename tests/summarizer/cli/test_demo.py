"""`longsplice demo`: the shipped transcript, and every printed figure recomputed from the store."""

import json
import math
import re
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from summarizer import SessionManager, open_store
from summarizer.cli import main

TRANSCRIPT = Path(str(files("summarizer.cli") / "data" / "airline_desk.jsonl"))
INPUT_RATE = Decimal("0.15") / 1_000_000
"""gpt-4o-mini, US dollars per input token; OpenAI's price list, November 2026."""


@pytest.fixture(scope="module")
def messages() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TRANSCRIPT.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str, str]:
    """The transcript replayed into a store that stays: its URL, the printed text, the conversation's id."""
    url = f"sqlite:///{(tmp_path / 'kept.db').as_posix()}"
    code = main(["replay", str(TRANSCRIPT), "--store", url])
    text = capsys.readouterr().out

    assert code == 0
    return url, text, text.rsplit(" ", 1)[1].strip()


def test_the_transcript_is_a_long_one_with_tool_calls(messages: list[dict[str, Any]]) -> None:
    """At least 100 messages, real calls with their results, below 300 kB, and its licence beside it."""
    calls = [call["id"] for one in messages for call in one.get("tool_calls") or ()]
    results = [one["tool_call_id"] for one in messages if one["role"] == "tool"]

    assert len(messages) >= 100
    assert messages[0]["role"] == "system"
    assert len(calls) >= 20
    assert sorted(results) == sorted(calls)
    assert TRANSCRIPT.stat().st_size < 300_000
    assert "MIT License" in TRANSCRIPT.with_name("SOURCE.md").read_text(encoding="utf-8")


def test_the_demo_needs_nothing_and_finds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Without key, server or argument: five segments, every message found again, plain text, exit code 0."""
    code = main(["demo"])
    out, err = capsys.readouterr()

    assert code == 0
    assert "every event found again: 223 of 223" in out
    assert len(re.findall(r"^segment \d+ ", out, re.MULTILINE)) >= 5
    assert "\x1b" not in out
    assert err == ""


def test_json_and_text_hold_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """What `--json` gives is what the text prints."""
    main(["demo", "--limit", "80"])
    text = capsys.readouterr().out
    main(["demo", "--limit", "80", "--json"])
    report = json.loads(capsys.readouterr().out)

    loads = [one["next_call"] for one in report["handovers"]] + [report["next_call"], report["all_calls"]]
    printed = re.findall(r"([\d,]+) tokens, \$([\d.]+) \(without segmentation ([\d,]+), \$([\d.]+)\)", text)

    assert [(int(a.replace(",", "")), int(c.replace(",", ""))) for a, _, c, _ in printed] == [
        (one["with_tokens"], one["without_tokens"]) for one in loads
    ]
    assert [(b, d) for _, b, _, d in printed] == [
        (f"{Decimal(one['with_usd']):.6f}", f"{Decimal(one['without_usd']):.6f}") for one in loads
    ]


async def rows_of(url: str, conversation_id: str) -> dict[str, Any]:
    """What the store holds, by its public face alone."""
    store = open_store(url)
    manager = SessionManager(conversation_id, store=store, create=False)
    found = {
        "events": await manager.read(include_all_segments=True),
        "segments": await manager.segments(),
        "stats": await manager.get_stats(),
        "context": await manager.context(),
        "prompt_tokens": (await store.load(None, conversation_id)).settings["system_tokens"],  # type: ignore[index]
    }
    await store.close()
    return found


def request_tokens(events: list[Any], prompt_tokens: int, seed_tokens: int = 0) -> int:
    """A request by the published rule: 4 a message, 3 for the reply's priming."""
    messages = [event for event in events if event.message is not None]
    count = len(messages) + 1 + bool(seed_tokens)
    return sum(event.tokens for event in messages) + prompt_tokens + seed_tokens + 4 * count + 3


def load_line(with_tokens: int, without_tokens: int) -> str:
    """How the report says it."""
    saved = 1 - with_tokens / without_tokens
    return (
        f"{with_tokens:,} tokens, ${with_tokens * INPUT_RATE:.6f} "
        f"(without segmentation {without_tokens:,}, ${without_tokens * INPUT_RATE:.6f}): {saved:.0%} less"
    )


def expected_figures(rows: dict[str, Any], expected_messages: int) -> list[str]:
    """Every line of the report that has figures, recomputed event by event."""
    events, segments, stats, context = rows["events"], rows["segments"], rows["stats"], rows["context"]
    prompt, total = rows["prompt_tokens"], [event for event in events if event.message is not None]
    lines = [
        f"{len(total):,} messages, {stats.total_tokens:,} content tokens, tokenizer o200k_base",
        f"priced as gpt-4o-mini (list price, prompt cache not counted); system prompt {prompt:,} tokens",
    ]
    seeds = [0, *(e.data["seed_tokens"] for e in events if e.kind == "segment.created")]
    for segment, child in pairwise(segments):
        own = [e for e in total if segment.start_seq <= e.seq <= segment.end_seq]
        opening = next(e for e in events if e.kind == "segment.created" and e.data["index"] == child.index)
        before = [e for e in total if e.seq < opening.seq]
        tail = [e for e in before if e.seq > segment.end_seq]
        seed = seeds[child.index]
        weight = sum(e.tokens for e in own)
        span = f"events {segment.start_seq}-{segment.end_seq}"
        said = f"{len(own)} messages, {weight:,} tokens in; closed by {opening.data['trigger']}"
        crossed = f"{sum(e.tokens for e in tail):,} tokens cross verbatim"
        lines += [
            f"segment {segment.index}  {span}: {said}",
            f"  seed       {seed:,} tokens by extractive; {crossed}",
            f"  next call  {load_line(request_tokens(tail, prompt, seed), request_tokens(before, prompt))}",
        ]
    rest = [e for e in total if e.seq >= segments[-1].start_seq]
    lines += [
        f"segment {len(segments) - 1}  open: {len(rest)} messages, {sum(e.tokens for e in rest):,} tokens",
        f"  next call  {load_line(context.tokens, request_tokens(total, prompt))}",
        f"all calls  {stats.ai_messages:,} answers, the input of each call added up",
        f"  {load_line(*all_calls(events, total, seeds, prompt))}",
        "  summaries took no model calls",
        f"every event found again: {expected_messages:,} of {expected_messages:,}",
        f"what a model would be sent now  {len(context.messages)} messages, {context.tokens:,} tokens",
    ]
    return lines


def all_calls(events: list[Any], total: list[Any], seeds: list[int], prompt: int) -> tuple[int, int]:
    """The requests behind all answers, each weighed on its own."""
    sums = [0, 0]
    for answer in (e for e in total if e.message.role == "assistant"):
        opened = [e for e in events if e.kind == "segment.created" and e.seq < answer.seq]
        cut = opened[-1].data["cut"] if opened else 0
        before = [e for e in total if e.seq < answer.seq]
        sums[0] += request_tokens([e for e in before if e.seq > cut], prompt, seeds[len(opened)])
        sums[1] += request_tokens(before, prompt)
    return math.ceil(sums[0]), sums[1]


async def test_every_figure_comes_from_the_store(
    kept: tuple[str, str, str], messages: list[dict[str, Any]]
) -> None:
    """Each line with figures, recomputed another way from what the store holds, stands in the text."""
    url, text, conversation_id = kept
    rows = await rows_of(url, conversation_id)
    expected = expected_figures(rows, len(messages))

    assert [line for line in expected if line not in text] == []
    assert [e.message.to_wire() for e in rows["events"] if e.message is not None] == messages[1:]


def test_calls_that_are_open_at_the_end_weigh_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the transcript stops between a call and its result, the next call is still the shown context."""
    main(["demo", "--limit", "24", "--json"])
    report = json.loads(capsys.readouterr().out)

    assert report["context"][-1]["role"] == "tool"
    assert report["next_call"]["with_tokens"] == report["context_tokens"]


async def test_the_next_call_is_what_the_manager_would_send(kept: tuple[str, str, str]) -> None:
    """The report's weight of the coming call is the context's own, to the token."""
    url, text, conversation_id = kept
    context = (await rows_of(url, conversation_id))["context"]

    assert f"  next call  {context.tokens:,} tokens" in text
