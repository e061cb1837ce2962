"""The whole summarizer through litellm: three wire protocols, their faults, and a real small model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pytest

from summarizer.meter import Usage, cost_of, price_for
from summarizer.summary.extractive import extract
from summarizer.summary.ladder import LlmSummarizer, summarize
from summarizer.summary.llm import load_litellm
from summarizer.summary.record import SummaryOutcome, SummaryRequest
from summarizer.testing import Fault, LocalModel, LoopbackServer, Prompt, Reply

MakeRequest = Callable[..., SummaryRequest]

WIRES = {
    "openai": ("openai/gpt-4o-mini", "openai_url"),
    "anthropic": ("anthropic/claude-haiku-4-5", "url"),
    "gemini": ("gemini/gemini-2.5-flash", "gemini_url"),
}
TALK = [
    ("user", "Cancel reservation EHGLP3, please. Never charge any card but the one ending in 7447."),
    ("assistant", "I found EHGLP3, two passengers, insured. The refund would be 612 dollars. Shall I go on?"),
    ("user", "Yes. My sister broke her leg, that is why we cannot travel to Seattle."),
    ("assistant", "EHGLP3 is cancelled, the refund of 612 dollars was started."),
]
TOLD = "The user had reservation EHGLP3 cancelled after an accident; 612 dollars are being refunded."
GOOD = json.dumps({"narrative": TOLD, "operations": []})
BILLED = Usage(1000, 50)


@pytest.fixture(autouse=True, scope="module")
def _litellm_loaded() -> None:
    """Litellm takes seconds to import; no timeout of a test may have to cover them."""
    asyncio.run(load_litellm())


@pytest.fixture(params=sorted(WIRES))
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


def summarizer(server: LoopbackServer, wire: str, **options: Any) -> LlmSummarizer:
    model, url = WIRES[wire]
    settings = {
        "timeout_s": 30.0,
        "backoff_s": 0.001,
        "api_base": getattr(server, url),
        "api_key": "k",
    } | options
    return LlmSummarizer([model], **settings)


async def write(
    request: SummaryRequest, wire: str, *steps: Any, **options: Any
) -> tuple[SummaryOutcome, int]:
    """The outcome against a server that plays these steps, and the requests that came."""
    async with LoopbackServer(steps) as server:
        outcome = await summarize(request, summarizer(server, wire, **options))
        return outcome, len(server.requests)


async def test_a_summary_comes_over_every_wire(summary_request: MakeRequest, wire: str) -> None:
    """One request, a schema with it, the transcript in one user message; usage and cost booked."""
    model = WIRES[wire][0]
    async with LoopbackServer([Reply(GOOD, usage=BILLED)]) as server:
        outcome = await summarize(summary_request(TALK), summarizer(server, wire))
        (seen,) = server.requests
    prompt = seen.prompt
    assert prompt is not None
    (call,) = outcome.calls
    price = price_for(model)

    assert (outcome.summary.writer, outcome.summary.narrative) == (model, TOLD)
    assert [m["role"] for m in prompt.messages] == ["system", "user"]
    assert "EHGLP3" in prompt.messages[1]["content"]
    assert prompt.response_schema is not None or prompt.forced_tool is not None
    assert call.usage is not None
    assert price is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (1000, 50)
    assert call.cost_usd == cost_of(Usage(1000, 50), price)
    assert call.cost_usd is not None
    assert call.cost_usd > Decimal(0)
    assert seen.protocol == wire


@pytest.mark.parametrize(
    ("fault", "reason_code"),
    [
        (Fault.status(429, retry_after=0), "model.unavailable"),
        (Fault.status(500), "model.unavailable"),
        (Fault.status(503), "model.unavailable"),
        (Fault.status(529), "model.unavailable"),
        (Fault.cut(), "model.unavailable"),
        (Fault.cut_body(GOOD), "model.unavailable"),
        (Fault.empty_body(), "model.unavailable"),
        (Fault.invalid_json(), "model.unavailable"),
        (Fault.html(), "model.unavailable"),
        (Fault.html(200), "model.unavailable"),
        (Fault.error_body(), "model.unavailable"),
    ],
    ids=lambda value: f"{value.name}{value.code or ''}" if isinstance(value, Fault) else "",
)
async def test_a_passing_fault_is_tried_again_and_counted_once(
    summary_request: MakeRequest, wire: str, fault: Fault, reason_code: str
) -> None:
    """A fault, then an answer: two requests. Faults without end: as many as the tries, none doubled."""
    request = summary_request(TALK)
    passed, twice = await write(request, wire, fault, GOOD)
    failed, thrice = await write(request, wire, fault, fault, fault)

    assert (passed.summary.narrative, twice) == (TOLD, 2)
    assert (failed.summary, thrice) == (extract(request).summary, 3)
    assert [r.reason_code for r in failed.rejections] == [reason_code]


@pytest.mark.parametrize("code", [400, 401, 403, 404])
async def test_a_refusal_for_good_is_not_tried_again(
    summary_request: MakeRequest, wire: str, code: int
) -> None:
    """A wrong key or name fails at once."""
    if (wire, code) == ("anthropic", 403) and version("litellm") == "1.83.0":
        pytest.skip("litellm 1.83.0 tells Anthropic's 403 as a broken connection, so it is tried again")
    outcome, requests = await write(summary_request(TALK), wire, Fault.status(code))

    assert requests == 1
    assert [r.reason_code for r in outcome.rejections] == ["model.refused"]


@pytest.mark.parametrize(
    ("fault", "reason_code"),
    [
        (Fault.empty_content(), "summary.empty"),
        (Fault.error_text(), "summary.error_text"),
        (Fault.invalid_content(), "summary.unparsable"),
        (Fault.over_long(), "summary.too_long"),
        (Fault.apology(), "summary.refusal"),
        (Fault.refusal(), "summary.refusal"),
        (Fault.content_filter(), "summary.refusal"),
        (Reply("Sure! I have cancelled your reservation. Anything else?"), "summary.chat_reply"),
        (Reply("Would you like me to go on?"), "summary.question"),
        (Reply(" ".join(text for _, text in TALK)), "summary.echo"),
        (Reply(GOOD, finish_reason="length"), "summary.too_long"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_an_answer_that_is_no_summary_never_becomes_one(
    summary_request: MakeRequest, wire: str, fault: Any, reason_code: str
) -> None:
    """It is asked for once more, booked both times, rejected by its code; then the rules write."""
    request = summary_request(TALK)
    outcome, requests = await write(request, wire, fault, fault)

    assert requests == len(outcome.calls) == 2
    assert outcome.summary == extract(request).summary
    assert [r.reason_code for r in outcome.rejections] == [reason_code] * 2


async def test_a_server_that_hangs_costs_the_timeout(summary_request: MakeRequest, wire: str) -> None:
    """The deadline holds over the wire, and the connection is given up."""
    outcome, requests = await write(summary_request(TALK), wire, Fault.hang(), timeout_s=0.2, deadline_s=0.2)

    assert requests == 1
    assert [r.reason_code for r in outcome.rejections] == ["model.timeout"]


async def test_a_prompt_beyond_the_window_is_halved(summary_request: MakeRequest, wire: str) -> None:
    """The provider's own words for it lead to smaller chunks, once."""

    def by_size(prompt: Prompt) -> Any:
        return Fault.context_window() if prompt.text.count('{"seq"') > 10 else GOOD

    request = summary_request(
        [("user", f"Point {i}: " + f"detail {i} " * 80) for i in range(16)], seed_budget=1200
    )
    async with LoopbackServer(answer=by_size) as server:
        outcome = await summarize(request, summarizer(server, wire))

    assert outcome.summary.model_through == 16
    assert [r.reason_code for r in outcome.rejections] == ["model.context_window"]


async def test_a_schema_that_a_server_refuses_is_left_out_from_then_on(
    summary_request: MakeRequest, wire: str
) -> None:
    """One more request, without the schema; the next summary does not try it again."""
    refused = Fault.status(
        400, message="Unsupported parameter: response_format / output_config / responseSchema"
    )
    async with LoopbackServer([refused, GOOD, GOOD]) as server:
        ours = summarizer(server, wire)
        first = await summarize(summary_request(TALK), ours)
        second = await summarize(summary_request(TALK), ours)
        schemas = [r.prompt.response_schema is not None for r in server.requests if r.prompt]

    assert (first.summary.narrative, second.summary.narrative) == (TOLD, TOLD)
    assert schemas == [True, False, False]


async def test_the_next_model_is_asked_when_the_first_is_down(summary_request: MakeRequest) -> None:
    """Fallbacks by name, over the same server."""

    def by_model(prompt: Prompt) -> Any:
        return Fault.status(500) if prompt.model == "gpt-4o" else GOOD

    async with LoopbackServer(answer=by_model) as server:
        ours = LlmSummarizer(
            ["openai/gpt-4o", "openai/gpt-4o-mini"], api_base=server.openai_url, api_key="k", backoff_s=0.001
        )
        outcome = await summarize(summary_request(TALK), ours)
        asked = [r.prompt.model for r in server.requests if r.prompt]

    assert outcome.summary.writer == "openai/gpt-4o-mini"
    assert asked == ["gpt-4o"] * 3 + ["gpt-4o-mini"]


def test_each_loop_has_connections_of_its_own(summary_request: MakeRequest, wire: str) -> None:
    """A summarizer that one event loop has used works in the next."""
    with LoopbackServer(answer=GOOD) as server:
        ours = summarizer(server, wire)
        written = [asyncio.run(summarize(summary_request(TALK), ours)).summary.writer for _ in range(2)]

    assert written == [WIRES[wire][0]] * 2


@pytest.mark.slow
@pytest.mark.skipif(bool(LocalModel.missing()), reason="the extra local-llm is not installed")
async def test_a_real_small_model_gives_a_valid_outcome_whatever_it_says(
    summary_request: MakeRequest,
) -> None:
    """The way to a model works end to end; a poor answer is caught, and what is written may stand."""
    request = summary_request(TALK, seed_budget=300)
    async with LocalModel(context_tokens=2048) as local:
        ours = LlmSummarizer(
            [local.model_name], api_base=local.base_url, api_key="none", prompt="compact", window=2048
        )
        outcome = await summarize(request, ours)
    summary = outcome.summary

    assert outcome.calls
    assert all(call.usage is not None and call.usage.output_tokens for call in outcome.calls)
    assert all(call.cost_usd is None for call in outcome.calls)
    assert summary.through == 4
    assert outcome.seed_tokens <= 300
    assert any("7447" in entry.text for entry in summary.entries)
    if summary.writer == "extractive":
        assert summary == extract(request).summary
        assert outcome.rejections
    else:
        assert (summary.writer, summary.model_through) == (local.model_name, 4)
