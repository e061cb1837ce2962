"""The pipeline without I/O: what it asks, in which order, and what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from summarizer.errors import SummaryModelError
from summarizer.events import Event
from summarizer.meter import Usage, counter_named
from summarizer.summary.extractive import extract
from summarizer.summary.llm import ModelCallFailed, ModelReply
from summarizer.summary.pipeline import summary_steps
from summarizer.summary.prompts import COMPACT, FULL
from summarizer.summary.reading import Answer, Ask, Question, Reader
from summarizer.summary.record import EntryKind, Summary, SummaryOutcome, SummaryRequest

MakeRequest = Callable[..., SummaryRequest]
Script = Callable[[int, Question], Answer]

COUNTER = counter_named("utf8/4")
TALK = [
    ("user", "Cancel reservation EHGLP3, please. Never charge any card but the one ending in 7447."),
    ("assistant", "I found EHGLP3, two passengers, insured. The refund would be 612 dollars. Shall I go on?"),
    ("user", "Yes. My sister broke her leg, that is why we cannot travel to Seattle."),
    ("assistant", "EHGLP3 is cancelled, the refund of 612 dollars was started."),
]
TOLD = "The user had reservation EHGLP3 cancelled after an accident; 612 dollars are being refunded."


def reader(name: str = "m1", window: int = 8192, **changes: Any) -> Reader:
    return replace(Reader(name, window, FULL, COUNTER), **changes)


def reply(narrative: str = TOLD, *operations: dict[str, Any], finish: str = "stop") -> Answer:
    text = json.dumps({"narrative": narrative, "operations": operations})
    return Answer(ModelReply(text, Usage(100, 20), "m", Decimal("0.01"), finish), duration_s=0.5)


def raw(text: str, finish: str = "stop") -> Answer:
    return Answer(ModelReply(text, Usage(100, 20), "m", Decimal("0.01"), finish), duration_s=0.5)


def failed(reason_code: str, tries: int = 1) -> Answer:
    return Answer(None, ModelCallFailed("it failed", reason_code), tries)


@dataclass
class Played:
    """A run of the pipeline against a script, and what it asked."""

    outcome: SummaryOutcome
    asks: list[Ask] = field(default_factory=list[Ask])

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(ask.reader, len(ask.questions)) for ask in self.asks]


def play(request: SummaryRequest, readers: Sequence[Reader], script: Script, *, tries: int = 3) -> Played:
    """Drive the generator; `script` answers question by question."""
    boundaries = iter(f"b{i:015d}" for i in range(10_000))
    steps = summary_steps(request, readers, timeout_s=5.0, tries=tries, boundary=lambda: next(boundaries))
    asks: list[Ask] = []
    answers: list[Answer] | None = None
    while True:
        try:
            ask = next(steps) if answers is None else steps.send(answers)
        except StopIteration as done:
            return Played(done.value, asks)
        asks.append(ask)
        answers = [script(ask.reader, question) for question in ask.questions]


def scripted(*answers: Answer) -> Script:
    left = list(answers)
    return lambda _reader, _question: left.pop(0)


def seqs_of(question: Question) -> list[int]:
    """The events that a question shows."""
    body = question.request.messages[1]["content"].split("<<<TRANSCRIPT")[1]
    return [json.loads(line)["seq"] for line in body.splitlines() if line.startswith('{"seq"')]


def texts_of(asks: Sequence[Ask], events: Sequence[Event]) -> dict[int, str]:
    """Each event's text as all questions together show it."""
    shown = dict.fromkeys((event.seq for event in events), "")
    for ask in asks:
        for question in ask.questions:
            body = question.request.messages[1]["content"].split("<<<TRANSCRIPT")[1]
            for line in body.splitlines():
                if line.startswith('{"seq"'):
                    record = json.loads(line)
                    shown[record["seq"]] += record["text"]
    return shown


def test_one_answer_becomes_the_summary(summary_request: MakeRequest) -> None:
    """A model's narrative stands, signed by the model, up to the cut; the rules' entries stand beside it."""
    request = summary_request(TALK)
    outcome = play(request, [reader()], scripted(reply())).outcome
    summary = outcome.summary

    assert (summary.narrative, summary.narrative_model, summary.writer) == (TOLD, "m1", "m1")
    assert (summary.through, summary.model_through) == (4, 4)
    assert TOLD in outcome.seed
    assert outcome.seed_tokens == COUNTER.count(outcome.seed) <= request.seed_budget
    assert any("7447" in e.text for e in summary.entries if e.kind is EntryKind.CONSTRAINT)
    assert [(c.model, c.usage, c.cost_usd) for c in outcome.calls] == [
        ("m1", Usage(100, 20), Decimal("0.01"))
    ]
    assert outcome.rejections == ()


def test_a_refused_answer_is_asked_for_once_more_and_then_the_next_model_is_asked(
    summary_request: MakeRequest,
) -> None:
    """The same model with what was wrong, the next model; each step recorded, each answer booked."""
    played = play(
        summary_request(TALK),
        [reader("m1"), reader("m2")],
        scripted(raw("Sure! I cancelled it for you."), raw("Would you like more?"), reply()),
    )

    assert played.sizes == [(0, 1), (0, 1), (1, 1)]
    assert "it was a reply to somebody" in played.asks[1].questions[0].request.messages[1]["content"]
    assert [(r.step, r.reason_code) for r in played.outcome.rejections] == [
        ("m1", "summary.chat_reply"),
        ("m1", "summary.question"),
    ]
    assert played.outcome.summary.writer == "m2"
    assert len(played.outcome.calls) == 3


def test_a_refused_answer_is_not_asked_for_again_beyond_the_tries(summary_request: MakeRequest) -> None:
    """Tries of transport and of judgement come out of one purse."""
    late = replace(raw("Sure! I cancelled it for you."), tries=3)
    played = play(summary_request(TALK), [reader()], scripted(late), tries=3)

    assert played.sizes == [(0, 1)]


def test_without_an_answer_the_rules_write_and_the_model_reads_on_from_where_it_was(
    summary_request: MakeRequest,
) -> None:
    """An outage moves `through` and not `model_through`; the outcome is the extractive one."""
    previous = Summary(through=2, model_through=2, narrative="The user greeted.", narrative_model="m1")
    request = summary_request(TALK, previous=previous)
    played = play(request, [reader("m1"), reader("m2")], lambda *_: failed("model.unavailable", 3))
    expected = extract(request)

    assert played.outcome.summary == expected.summary
    assert (played.outcome.summary.through, played.outcome.summary.model_through) == (6, 2)
    assert played.outcome.seed == expected.seed
    assert [r.step for r in played.outcome.rejections] == ["m1", "m2"]


def test_a_model_is_asked_about_what_none_has_read_and_nothing_else(summary_request: MakeRequest) -> None:
    """Incremental: new events and the narrative so far; never the events behind it."""
    previous = Summary(through=10, model_through=10, narrative="The user greeted.", narrative_model="m1")
    played = play(summary_request(TALK, previous=previous), [reader()], scripted(reply()))
    (question,) = played.asks[0].questions

    assert seqs_of(question) == [11, 12, 13, 14]
    assert '{"narrative": "The user greeted."}' in question.request.messages[1]["content"]


def test_a_narrative_that_was_not_carried_on_is_kept_beside_the_new_one(summary_request: MakeRequest) -> None:
    """A small model is not shown the narrative so far, and an empty answer does not erase it."""
    previous = Summary(through=10, model_through=10, narrative="The user greeted.", narrative_model="m1")
    request = summary_request(TALK, previous=previous)
    compact = play(request, [reader(prompt=COMPACT)], scripted(reply()))
    fact = {
        "op": "add",
        "id": "",
        "kind": "fact",
        "text": "The sister broke her leg.",
        "sources": [13],
        "reason": "",
    }
    silent = play(request, [reader()], scripted(reply("", fact)))

    assert compact.outcome.summary.narrative == f"The user greeted.\n\n{TOLD}"
    assert silent.outcome.summary.narrative == "The user greeted."


def test_nothing_to_read_asks_nobody(summary_request: MakeRequest) -> None:
    """Where the unread events hold no message, the model has read to the cut."""
    request = summary_request(TALK)
    bare = tuple(replace(event, message=None) for event in request.unread)
    played = play(replace(request, unread=bare), [reader()], scripted())

    assert played.asks == []
    assert played.outcome.summary.model_through == request.cut


def test_input_beyond_the_window_is_chunked_and_shown_whole(summary_request: MakeRequest) -> None:
    """Every character of every event is shown once, in chunks that fit; the parts are joined in order."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 60) for i in range(24)]
    talk[5] = ("user", "A long paste: " + "x1y2 " * 4000)
    request = summary_request(talk, seed_budget=1200)
    model = reader(window=4200)
    played = play(request, [model], lambda _r, q: reply(f"The user made points up to {seqs_of(q)[0]}."))
    (ask,) = played.asks
    told = [f"The user made points up to {seqs_of(q)[0]}." for q in ask.questions]

    assert len(ask.questions) > 3
    assert texts_of(played.asks, request.events) == {
        e.seq: e.message.text for e in request.events if e.message
    }
    for question in ask.questions:
        tokens = sum(model.count(m["content"]) for m in question.request.messages)
        assert tokens + question.request.max_output_tokens <= model.window
    assert played.outcome.summary.narrative == "\n\n".join(told)
    assert played.outcome.summary.model_through == request.cut


def test_narratives_too_long_together_are_merged_by_the_model(summary_request: MakeRequest) -> None:
    """One more question joins them; its answer is judged like any other."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 80) for i in range(24)]
    request = summary_request(talk, seed_budget=300)
    merged = "The user made many points in order."

    def script(_reader: int, question: Question) -> Answer:
        if "<<<NOTES" in question.request.messages[1]["content"]:
            return reply(merged)
        last = seqs_of(question)[-1]
        return reply(
            f"The user made a number of points, the last of which was number {last}. " + "It went on. " * 9
        )

    played = play(request, [reader(window=4200)], script)

    assert len(played.asks) == 2
    assert played.outcome.summary.narrative == merged
    assert len(played.outcome.calls) == len(played.asks[0].questions) + 1


def test_a_failed_merge_costs_the_merge_and_not_the_summary(summary_request: MakeRequest) -> None:
    """The narratives are shortened by whole sentences instead."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 80) for i in range(24)]
    request = summary_request(talk, seed_budget=300)

    def script(_reader: int, question: Question) -> Answer:
        if "<<<NOTES" in question.request.messages[1]["content"]:
            return failed("model.unavailable", 3)
        return reply(
            f"Point {seqs_of(question)[-1]} was made. " + "The user went on about it for a while. " * 3
        )

    played = play(request, [reader(window=4200)], script)

    assert played.outcome.summary.writer == "m1"
    assert 0 < COUNTER.count(played.outcome.summary.narrative) <= 100
    assert played.outcome.summary.narrative.startswith("Point ")


def test_a_prompt_that_is_too_large_after_all_is_cut_in_half_once(summary_request: MakeRequest) -> None:
    """A refusal for length gives smaller chunks; a second one is a failure."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 60) for i in range(20)]
    request = summary_request(talk, seed_budget=1200)

    def script(_reader: int, question: Question) -> Answer:
        if len(seqs_of(question)) > 12:
            return failed("model.context_window")
        return reply(f"The user made points up to {seqs_of(question)[-1]}.")

    played = play(request, [reader(window=12_000)], script)
    always = play(request, [reader(window=12_000)], lambda *_: failed("model.context_window"))

    assert len(played.asks[0].questions) == 1
    assert played.outcome.summary.model_through == 20
    assert len(always.asks) == 2
    assert always.outcome.summary.writer == "extractive"


def test_the_next_model_is_asked_what_the_first_could_not_read(summary_request: MakeRequest) -> None:
    """One failed chunk among several costs that chunk alone; the summary is whole."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 80) for i in range(24)]
    request = summary_request(talk, seed_budget=1200)

    def script(index: int, question: Question) -> Answer:
        if index == 0 and 10 in seqs_of(question):
            return failed("model.unavailable", 3)
        return reply(f"The user made points up to {seqs_of(question)[-1]}.")

    played = play(request, [reader("m1", 4200), reader("m2", 4200)], script)
    (first, second) = played.asks
    missed = next(seqs_of(q) for q in first.questions if 10 in seqs_of(q))

    assert [seqs_of(q) for q in second.questions] == [missed]
    assert played.outcome.summary.model_through == 24


def test_what_lies_behind_an_unread_chunk_waits_for_the_next_summary(summary_request: MakeRequest) -> None:
    """The narrative ends before the gap, the model reads on from there, the rules cover everything."""
    talk = [("user" if i % 2 == 0 else "assistant", f"Point {i}: " + f"detail {i} " * 80) for i in range(24)]
    request = summary_request(talk, seed_budget=1200)

    def script(_reader: int, question: Question) -> Answer:
        if 10 in seqs_of(question):
            return failed("model.unavailable", 3)
        return reply(f"The user made points up to {seqs_of(question)[-1]}.")

    played = play(request, [reader("m1", 4200)], script)
    gap = next(seqs_of(q)[0] for q in played.asks[0].questions if 10 in seqs_of(q))
    summary = played.outcome.summary

    assert (summary.through, summary.model_through) == (24, gap - 1)
    assert summary.narrative.endswith(f"The user made points up to {gap - 1}.")
    assert played.outcome.notes["events.unread"] == 24 - (gap - 1)


def test_a_window_without_room_is_a_step_of_the_ladder(summary_request: MakeRequest) -> None:
    """A model that cannot even hold the instructions is passed over, and said so."""
    played = play(summary_request(TALK), [reader("tiny", 256), reader("m2")], scripted(reply()))

    assert [(r.step, r.reason_code) for r in played.outcome.rejections] == [("tiny", "model.context_window")]
    assert played.outcome.summary.writer == "m2"


def test_the_compact_prompt_shows_no_ledger_and_takes_no_operations(summary_request: MakeRequest) -> None:
    """A small model writes a narrative; the ledger is left to the rules."""
    request = summary_request(TALK)
    answer = reply(
        TOLD, {"op": "retire", "id": "e1", "kind": "fact", "text": "", "sources": [1], "reason": "x"}
    )
    played = play(request, [reader(prompt=COMPACT)], scripted(answer))

    assert "<<<LEDGER" not in played.asks[0].questions[0].request.messages[1]["content"]
    assert played.outcome.summary.entries == extract(request).summary.entries
    assert played.outcome.summary.narrative == TOLD


def test_operations_amend_the_ledger_within_its_laws(summary_request: MakeRequest) -> None:
    """A fact with a source is added; what has none, or would retire a constraint, is not."""
    request = summary_request(TALK)
    constraint = next(e for e in extract(request).summary.entries if e.kind is EntryKind.CONSTRAINT)
    add = {
        "op": "add",
        "id": "",
        "kind": "fact",
        "text": "The sister of the user broke her leg.",
        "sources": [3],
        "reason": "",
    }
    played = play(
        request,
        [reader()],
        scripted(
            reply(
                TOLD,
                add,
                {**add, "text": "Nobody knows why.", "sources": []},
                {**add, "text": "It was in the future.", "sources": [99]},
                {
                    "op": "retire",
                    "id": constraint.id,
                    "kind": "constraint",
                    "text": "",
                    "sources": [4],
                    "reason": "done",
                },
                {"op": "dance"},
            )
        ),
    )
    entries = played.outcome.summary.entries
    added = [e for e in entries if e.writer == "model"]

    assert [(e.kind, e.text, e.sources) for e in added] == [(EntryKind.FACT, add["text"], (3,))]
    assert any(e.text == constraint.text and e.status == "active" for e in entries)


def test_values_that_nobody_said_do_not_reach_the_narrative(summary_request: MakeRequest) -> None:
    """A number or an identifier that occurs nowhere in the sources is marked or removed."""
    played = play(summary_request(TALK), [reader()], scripted(reply(f"{TOLD} The case number is QX99173.")))
    narrative = played.outcome.summary.narrative

    assert "612" in narrative
    assert "QX99173" not in narrative
    assert narrative.endswith("The case number is [unverified].")
    assert played.outcome.notes["values.unproved"] == 1


@pytest.mark.parametrize("text", ["", "{", "<think>hm</think>", '{"narrative": 7}', "x" * 100_000])
def test_no_answer_whatever_it_holds_breaks_the_outcome(summary_request: MakeRequest, text: str) -> None:
    """A model that sends nonsense leaves the extractive summary."""
    request = summary_request(TALK)
    played = play(request, [reader()], lambda *_: raw(text))

    assert played.outcome.summary == extract(request).summary
    assert len(played.outcome.rejections) == len(played.outcome.calls) == 2


def test_an_error_without_a_code_is_recorded_by_its_kind(summary_request: MakeRequest) -> None:
    """Clients that raise the plain error still give a reason."""
    error = SummaryModelError("it is down", transient=True)
    played = play(summary_request(TALK), [reader()], lambda *_: Answer(None, error))

    assert [r.reason_code for r in played.outcome.rejections] == ["model.unavailable"]
