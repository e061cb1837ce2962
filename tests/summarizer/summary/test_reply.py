"""Parsing and judging answers, on a labelled set of good summaries and of what else models send."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import SummaryRejected
from summarizer.summary.judgement import Given, check_narrative
from summarizer.summary.reply import parse_reply, strip_reasoning

LABELLED = json.loads((Path(__file__).parent / "replies.json").read_text())
INSTRUCTIONS = (
    "You keep the notes of a conversation between a user and an assistant. "
    'Answer with {"narrative": "The user ..."}'
)


def words(text: str) -> int:
    return len(text.split())


def judge(reply: dict[str, str], finish_reason: str | None = "stop") -> str:
    texts = LABELLED["sources"][reply["source"]]
    basis = Given(texts, INSTRUCTIONS, sum(map(words, texts)), 200, words)
    try:
        parsed = parse_reply(reply["text"], finish_reason)
        check_narrative(parsed.narrative, basis)
    except SummaryRejected as error:
        return error.reason_code
    return "good"


@pytest.mark.parametrize("reply", LABELLED["replies"], ids=lambda r: f"{r['label']}:{r['text'][:40]!r}")
def test_every_labelled_reply_is_judged_as_labelled(reply: dict[str, str]) -> None:
    """A good summary passes, however terse; anything else is rejected under its own code."""
    assert judge(reply) == reply["label"]


def test_the_labelled_set_is_large_enough_to_mean_something() -> None:
    """Forty replies or more, each kind of failure among them."""
    labels = Counter(reply["label"] for reply in LABELLED["replies"])

    assert labels.total() >= 40
    assert set(labels) == {
        "good", "summary.chat_reply", "summary.question", "summary.refusal", "summary.error_text",
        "summary.empty", "summary.echo", "summary.too_long", "summary.unparsable",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '{"narrative": "Fixed.", "operations": []}',
        '```json\n{"narrative": "Fixed.", "operations": []}\n```',
        'Here you are:\n{"narrative": "Fixed.", "operations": []}\nThat is all.',
        '{"narrative": "Fixed.", "operations": [],}',
        '<think>{"narrative": "draft"}</think>{"narrative": "Fixed."}',
        'the end of my reasoning</think>\n{"narrative": "Fixed."}',
        '{"summary": "Fixed."}',
        '{"narrative": "Fixed.", "operations": [',
        '{"narrative": "Fixed."',
    ],
)
def test_an_answer_is_read_in_every_dress(text: str) -> None:
    """Fences, prose, trailing commas, reasoning and a missing end do not cost an answer."""
    parsed = parse_reply(text, "stop")

    assert (parsed.narrative, parsed.structured) == ("Fixed.", True)


def test_a_plain_text_is_a_narrative_without_operations() -> None:
    """A model that knows no JSON still tells."""
    parsed = parse_reply("The rounding was fixed.", "stop")

    assert (parsed.narrative, parsed.operations, parsed.structured) == ("The rounding was fixed.", (), False)


def test_what_the_provider_cut_off_is_never_completed() -> None:
    """The end of an answer at its token limit is missing: rejected, even if its JSON could be closed."""
    with pytest.raises(SummaryRejected) as caught:
        parse_reply('{"narrative": "Fixed.", "operations": [', "length")

    assert caught.value.reason_code == "summary.too_long"


@pytest.mark.parametrize("finish_reason", ["content_filter", "refusal"])
def test_what_the_provider_filtered_is_a_refusal(finish_reason: str) -> None:
    """A filtered answer is no summary, whatever part of it came through."""
    with pytest.raises(SummaryRejected) as caught:
        parse_reply("The rounding was fixed.", finish_reason)

    assert caught.value.reason_code == "summary.refusal"


def test_a_half_operation_never_survives_without_a_narrative() -> None:
    """Broken JSON whose narrative never came is broken."""
    with pytest.raises(SummaryRejected) as caught:
        parse_reply('{"operations": [{"op": "add", "text": "hal', "stop")

    assert caught.value.reason_code == "summary.unparsable"


def test_operations_alone_are_an_answer() -> None:
    """A narrative may be empty where operations say what changed."""
    parsed = parse_reply('{"narrative": "", "operations": [{"op": "retire", "id": "e1"}, "noise"]}')

    assert parsed.operations == ({"op": "retire", "id": "e1"},)


def test_an_unclosed_thought_is_reasoning_to_the_end() -> None:
    """Reasoning that was cut off is not taken for the answer."""
    assert strip_reasoning("a <think>b</think> c <think>d") == "a  c "


def test_an_answer_as_large_as_its_input_is_rejected_where_a_larger_cap_would_let_it_pass() -> None:
    """A summary is smaller than what it was made from."""
    basis = Given(["short input"], "", 5, 200, words)
    with pytest.raises(SummaryRejected) as caught:
        check_narrative("The user said something short and nothing else at all.", basis)

    assert caught.value.reason_code == "summary.too_long"


def test_details_of_a_rejection_hold_no_content() -> None:
    """What is logged about a rejected answer is figures."""
    texts = LABELLED["sources"]["airline"]
    basis = Given(texts, INSTRUCTIONS, 1000, 500, words)
    with pytest.raises(SummaryRejected) as caught:
        check_narrative(" ".join(texts), basis)

    assert caught.value.reason_code == "summary.echo"
    assert not {"Mia", "EHGLP3", "7447"} & set(str(caught.value).split())


@given(st.text(max_size=300), st.sampled_from(["stop", "length", None, "content_filter"]))
def test_any_text_is_accepted_or_rejected_and_never_raises_anything_else(
    text: str, finish: str | None
) -> None:
    """Whatever a model sends, the judge answers."""
    with suppress(SummaryRejected):
        check_narrative(parse_reply(text, finish).narrative, Given(["some input"], "", 50, 60, words))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["narrative", "operations", "op", "id", "x"]), x, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_parsed_or_rejected(value: object) -> None:
    """JSON of any shape gives a parsed reply of the promised types, or a rejection."""
    try:
        parsed = parse_reply(json.dumps(value))
    except SummaryRejected:
        return
    assert isinstance(parsed.narrative, str)
    assert all(isinstance(operation, dict) for operation in parsed.operations)
