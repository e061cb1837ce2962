"""The bill's transcripts, meters and contestants, on cases that can be checked by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.agent_report.recordings import load
from benchmarks.billing import ours
from benchmarks.billing.caches import Prompt
from benchmarks.billing.contestants import Entry, Everything
from benchmarks.billing.meters import TARIFFS, Sent, Tokens, meters_of
from benchmarks.billing.replay import replay
from benchmarks.billing.transcripts import PACES, Kind, Transcript, transcript_of
from summarizer.meter import Price, set_price

_RUNS = load(Path(__file__).parents[1] / "benchmarks" / "data")


def _transcript(kind: Kind, turns: int) -> Transcript:
    return transcript_of(_RUNS, kind, turns)


@pytest.fixture
def round_prices() -> Iterator[None]:
    """One dollar a token of input, three of output, a tenth for reading and 1.25 for writing."""
    sonnet, *automatic = (tariff.model for tariff in TARIFFS)
    set_price(sonnet, Price.per_million(1e6, 3e6, 1e5, 1.25e6))
    for model in automatic:
        set_price(model, Price.per_million(1e6, 3e6, 1e5))
    yield
    for model in (sonnet, *automatic):
        set_price(model, None)


@pytest.mark.parametrize("kind", ["chat", "agent"])
def test_a_joined_transcript_is_legal_and_repeatable(kind: Kind) -> None:
    """Every result answers an open call, no call is open when a user speaks, and twice is the same."""
    transcript = _transcript(kind, 300)

    waiting: list[str] = []
    for step in transcript.steps:
        for message in step.new:
            if message["role"] == "tool":
                waiting.remove(message["tool_call_id"])
            else:
                assert not waiting
        assert not waiting
        waiting = [call["id"] for call in step.answer.get("tool_calls", ())]
    assert transcript == _transcript(kind, 300)
    assert len(transcript.steps) == 300


def test_what_is_planted_is_said_at_its_turn() -> None:
    """Each of the twelve facts stands in a user's message of its turn."""
    transcript = _transcript("agent", 60)

    said = [transcript.steps[fact.turn].new[-1] for fact in transcript.planted]
    assert len(said) == 12
    assert all(
        fact.text in message["content"] for fact, message in zip(transcript.planted, said, strict=True)
    )
    assert {message["role"] for message in said} == {"user"}


def test_a_recording_that_begins_again_has_other_names() -> None:
    """No user message with a number in it comes twice word for word."""
    transcript = _transcript("chat", 400)

    said = [step.new[-1]["content"] for step in transcript.steps]
    numbered = [text for text in said if any(character.isdigit() for character in text)]
    assert transcript.rounds > 2
    assert len(set(numbered)) > 0.9 * len(numbered)


@pytest.mark.usefixtures("round_prices")
def test_a_meter_bills_reading_writing_and_the_rest_at_their_rates() -> None:
    """2,000 tokens written, then read with 104 more: 2500 + 3 dollars, then 200 + 130 + 3."""
    meter = next(m for m in meters_of(TARIFFS[:1], "steady") if m.habit == "newest")
    first, second = Prompt([("s", 2000)]), Prompt([("s", 2000), ("u", 104)])

    used = [meter.call(Sent(first, 1), 1, 0), meter.call(Sent(second, 1), 1, 60)]

    assert [usage.cache_read_tokens for usage in used] == [0, 2000]
    assert float(meter.cost_usd) == pytest.approx(2500 + 3 + 200 + 130 + 3)


async def test_without_management_everything_is_known() -> None:
    """All facts are known, all values visible, and the largest request is the whole conversation."""
    transcript = _transcript("agent", 60)

    told = await replay(
        Entry("no management", Everything),
        transcript,
        budget=None,
        meters=meters_of(TARIFFS, "steady"),
        paces=PACES[:1],
        tokens=Tokens(),
    )

    assert (told.recall, told.evidence) == (1, 1)
    assert all(len(meter.per_turn) == 60 for meter in told.meters)


@pytest.mark.parametrize("entry", ours.ENTRIES, ids=lambda entry: entry.name)
async def test_ours_keeps_to_the_budget(entry: Entry) -> None:
    """No request of ours is larger than the budget, whatever else it is asked to do."""
    meters = meters_of(TARIFFS[:1], "steady")

    told = await replay(
        entry, _transcript("agent", 60), budget=4000, meters=meters, paces=PACES[:1], tokens=Tokens()
    )

    assert told.largest <= 4000
