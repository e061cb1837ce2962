"""The ladder: retries, fallbacks, custom summarizers, and what stands when all of it fails."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from summarizer.errors import SummaryModelError
from summarizer.events import Origin
from summarizer.meter import Usage
from summarizer.summary.extractive import ExtractiveSummarizer, extract
from summarizer.summary.ladder import CallableSummarizer, LlmSummarizer, summarize
from summarizer.summary.llm import ModelCallFailed, ModelReply
from summarizer.summary.record import Entry, EntryKind, EntryStatus, Summary, SummaryRequest
from summarizer.testing import Hang, ScriptedModel

MakeRequest = Callable[..., SummaryRequest]

TALK = [
    ("user", "Cancel reservation EHGLP3, please. Never charge any card but the one ending in 7447."),
    ("assistant", "I found EHGLP3, two passengers, insured. The refund would be 612 dollars. Shall I go on?"),
    ("user", "Yes. My sister broke her leg, that is why we cannot travel to Seattle."),
    ("assistant", "EHGLP3 is cancelled, the refund of 612 dollars was started."),
]
TOLD = "The user had reservation EHGLP3 cancelled after an accident; 612 dollars are being refunded."
GOOD = json.dumps({"narrative": TOLD, "operations": []})
DOWN = ModelCallFailed("it is down", "model.unavailable")


def llm(*models: ScriptedModel, **options: Any) -> LlmSummarizer:
    """A summarizer over scripted models `m1`, `m2`, ..., that waits a millisecond between tries."""
    named = {f"m{i}": model for i, model in enumerate(models, 1)}
    return LlmSummarizer(list(named), model_factory=named.__getitem__, **{"backoff_s": 0.001, **options})


def text_model(*steps: Any) -> ScriptedModel:
    return ScriptedModel(
        steps, reply_factory=lambda text: ModelReply(text, Usage(10, 5), "m", Decimal("0.5"), "stop")
    )


async def test_transient_errors_are_tried_again_and_others_are_not(summary_request: MakeRequest) -> None:
    """Three tries at most; a refusal for good goes to the next model at once."""
    refused = ModelCallFailed("no such key", "model.refused")
    async with text_model(DOWN, DOWN, GOOD) as first:
        outcome = await summarize(summary_request(TALK), llm(first))
    async with text_model(refused) as second, text_model(GOOD) as third:
        fallen = await summarize(summary_request(TALK), llm(second, third))

    assert (outcome.summary.writer, outcome.rejections) == ("m1", ())
    assert fallen.summary.writer == "m2"
    assert [(r.step, r.reason_code) for r in fallen.rejections] == [("m1", "model.refused")]


async def test_when_every_model_fails_the_rules_write(summary_request: MakeRequest) -> None:
    """No tries beyond the limit, and an outcome that may stand."""
    request = summary_request(TALK)
    async with text_model(DOWN, DOWN, DOWN) as first, text_model(DOWN, DOWN, DOWN) as second:
        outcome = await summarize(request, llm(first, second))

    assert outcome.summary == extract(request).summary
    assert [r.step for r in outcome.rejections] == ["m1", "m2"]
    assert outcome.calls == ()


async def test_a_model_that_hangs_costs_its_timeout(summary_request: MakeRequest) -> None:
    """Nobody waits longer than `timeout_s` for an answer, nor longer than `deadline_s` for a question."""
    request = summary_request(TALK)
    async with text_model(Hang(), Hang()) as model:
        outcome = await summarize(request, llm(model, timeout_s=0.05, deadline_s=0.08))

    assert outcome.summary.writer == "extractive"
    assert [r.reason_code for r in outcome.rejections] == ["model.timeout"]


async def test_a_wait_that_passes_the_deadline_is_not_begun(summary_request: MakeRequest) -> None:
    """A provider that asks for an hour is left for the next model."""
    busy = ModelCallFailed("busy", "model.unavailable", retry_after_s=3600)
    async with text_model(busy) as first, text_model(GOOD) as second:
        outcome = await summarize(summary_request(TALK), llm(first, second))

    assert outcome.summary.writer == "m2"


async def test_a_client_that_raises_anything_is_a_failed_model(summary_request: MakeRequest) -> None:
    """Errors outside the protocol are logged, recorded, and not tried again."""
    async with text_model(RuntimeError("boom")) as model:
        outcome = await summarize(summary_request(TALK), llm(model))

    assert [r.reason_code for r in outcome.rejections] == ["model.refused"]
    assert "boom" not in outcome.rejections[0].detail


async def test_cancelling_a_summary_cancels_its_calls(summary_request: MakeRequest) -> None:
    """A cancellation passes through, and no model is asked afterwards."""
    hang = Hang()
    async with text_model(hang) as model:
        task = asyncio.create_task(summarize(summary_request(TALK), llm(model)))
        await hang.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_chunks_are_read_in_parallel_and_within_bounds(summary_request: MakeRequest) -> None:
    """As many at once as `concurrency` says, and never more."""
    running = most = 0

    async def answer(_request: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return GOOD

    model = ScriptedModel(answer=answer, reply_factory=ModelReply)
    request = summary_request(
        [("user", f"Point {i}: " + f"detail {i} " * 80) for i in range(40)], seed_budget=1200
    )
    await summarize(request, llm(model, window=4200, concurrency=2))

    assert len(model.requests) > 3
    assert most == 2


async def test_the_extractive_summarizer_is_the_last_step_itself(summary_request: MakeRequest) -> None:
    """Chosen outright, it writes without a rejection."""
    request = summary_request(TALK)

    assert await summarize(request, ExtractiveSummarizer()) == extract(request)


@pytest.mark.parametrize("sync", [True, False])
async def test_a_function_writes_the_narrative_and_rules_the_ledger(
    summary_request: MakeRequest, sync: bool
) -> None:
    """Sync ones run in a thread; both see the unread messages, secrets blacked out, and what came before."""
    seen: list[dict[str, Any]] = []
    threads: list[threading.Thread] = []

    def function(messages: list[dict[str, Any]]) -> str:
        seen.extend(messages)
        threads.append(threading.current_thread())
        return TOLD

    async def coroutine(messages: list[dict[str, Any]]) -> str:
        return function(messages)

    previous = Summary(through=2, model_through=2, narrative="The user greeted.", writer="custom")
    secret = "sk-" + "a1B2" * 8
    request = summary_request([*TALK, ("user", f"use {secret}")], previous=previous)
    outcome = await summarize(request, CallableSummarizer(function if sync else coroutine))

    assert (outcome.summary.narrative, outcome.summary.writer) == (TOLD, "custom")
    assert outcome.summary.model_through == request.cut
    assert any("7447" in e.text for e in outcome.summary.entries if e.kind is EntryKind.CONSTRAINT)
    assert seen[0] == {"role": "user", "content": "Notes on what came before: The user greeted."}
    assert secret not in str(seen)
    assert (threads[0] is threading.main_thread()) is not sync


@pytest.mark.parametrize(
    ("function", "reason_code"),
    [
        (lambda _messages: "Sure! I will do that for you.", "summary.chat_reply"),
        (lambda _messages: "", "summary.empty"),
        (lambda _messages: 7, "summary.unparsable"),
        (lambda messages: " ".join(m["content"] for m in messages), "summary.echo"),
        (lambda _messages: 1 / 0, "custom.failed"),
    ],
)
async def test_a_function_that_fails_leaves_the_rules(
    summary_request: MakeRequest, function: Any, reason_code: str
) -> None:
    """Whatever a user's function does, no message is lost, and the step is recorded."""
    request = summary_request(TALK)
    outcome = await summarize(request, CallableSummarizer(function))

    assert outcome.summary == extract(request).summary
    assert [(r.step, r.reason_code) for r in outcome.rejections] == [("custom", reason_code)]


async def test_a_function_that_hangs_is_left_behind(summary_request: MakeRequest) -> None:
    """Nobody waits for it beyond its timeout."""
    outcome = await summarize(
        summary_request(TALK), CallableSummarizer(lambda _m: asyncio.sleep(60, TOLD), timeout_s=0.05)
    )

    assert [r.reason_code for r in outcome.rejections] == ["model.timeout"]


class Own:
    """A user's summarizer that gives what it was made with."""

    def __init__(self, make: Callable[[SummaryRequest], Any]) -> None:
        self.make = make

    async def summarize(self, request: SummaryRequest) -> Summary:
        return self.make(request)


async def test_an_object_may_add_and_never_take_away_what_rules_protect(summary_request: MakeRequest) -> None:
    """New entries come in by the laws of operations; constraints of the rules stay, whatever it returns."""
    request = summary_request(TALK)
    added = Entry("x1", EntryKind.DECISION, "The trip to Seattle was called off.", (3, 99), Origin.SYSTEM)
    outcome = await summarize(
        request, Own(lambda r: Summary(through=r.cut, entries=(added,), narrative=TOLD))
    )
    entries = outcome.summary.entries
    mine = [e for e in entries if e.writer == "model"]

    assert [(e.kind, e.text, e.sources, e.origin) for e in mine] == [
        (EntryKind.DECISION, added.text, (3,), Origin.USER)
    ]
    assert {e.text for e in extract(request).summary.entries if e.kind is EntryKind.CONSTRAINT} <= {
        e.text for e in entries if e.status is EntryStatus.ACTIVE
    }
    assert (outcome.summary.narrative, outcome.summary.writer) == (TOLD, "custom")
    assert outcome.seed_tokens <= request.seed_budget


@pytest.mark.parametrize(
    ("make", "reason_code"),
    [
        (lambda r: Summary(through=r.cut - 1, narrative=TOLD), "summary.wrong_range"),
        (lambda _r: "a text", "summary.unparsable"),
        (lambda r: Summary(through=r.cut, narrative="Sure! I'll do that for you."), "summary.chat_reply"),
        (lambda _r: 1 / 0, "custom.failed"),
    ],
)
async def test_an_object_that_fails_leaves_the_rules(
    summary_request: MakeRequest, make: Any, reason_code: str
) -> None:
    """A summary of something else, or of no shape, never stands."""
    request = summary_request(TALK)
    outcome = await summarize(request, Own(make))

    assert outcome.summary == extract(request).summary
    assert [r.reason_code for r in outcome.rejections] == [reason_code]


async def test_the_log_holds_ids_and_figures_and_no_content(
    summary_request: MakeRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """`summary.rejected`, `summary.fallback_used` and `summary.written`, each with the session's ids."""
    with caplog.at_level(logging.INFO, logger="summarizer"):
        async with text_model("Sure! I cancelled EHGLP3 for you.", "Sure!") as model:
            await summarize(summary_request(TALK), llm(model, tries=2))
    lines = [record.getMessage() for record in caplog.records]

    assert lines == ["summary.rejected", "summary.rejected", "summary.fallback_used", "summary.written"]
    assert all(getattr(record, "conversation_id", None) == "c1" for record in caplog.records)
    assert "EHGLP3" not in caplog.text + str([vars(record) for record in caplog.records])


async def test_a_plain_error_of_a_client_keeps_its_own_kind(summary_request: MakeRequest) -> None:
    """`transient` of a foreign client is honoured as it says."""
    async with text_model(SummaryModelError("busy", transient=True), GOOD) as model:
        outcome = await summarize(summary_request(TALK), llm(model))

    assert outcome.summary == replace(outcome.summary, writer="m1")
