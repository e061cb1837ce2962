"""What the model is sent: within its budget, stable at its front, and honest about what is missing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.context import Frame, build_context
from summarizer.context.blocks import PENDING, arrange
from summarizer.errors import InvalidSetting, TokenLimitExceeded
from summarizer.meter import count_tokens
from tests.summarizer.histories import (
    MODEL,
    answering,
    assistant,
    calling,
    count,
    events_of,
    histories,
    history,
    user,
)
from tests.summarizer.requests import anthropic_faults, openai_faults

PROMPT = "You answer questions about the weather."
SEED = "Notes on the earlier part of this conversation: " + "the user lives in Oslo. " * 12
FRAME = Frame(PROMPT, count(PROMPT), 0, SEED, count(SEED))
BARE = Frame()


def build(events, budget=None, *, frame=FRAME, ratio=1.0):
    return build_context(events, session_id="s", frame=frame, budget=budget, ratio=ratio, count=count)


def test_without_a_budget_everything_is_there():
    """System prompt, seed and all messages, in this order, and nothing reported as left out."""
    context = build(events_of([user(), assistant()]))

    assert [m["role"] for m in context.messages] == ["system", "user", "user", "assistant"]
    assert context.messages[1]["content"] == SEED
    assert context.omitted == ()
    assert context.last_seq == 2


def test_an_empty_system_prompt_is_none():
    """Some providers refuse an empty text block."""
    assert build(events_of([user()]), frame=Frame("")).messages == [user()]


def test_an_empty_conversation_has_an_empty_context():
    """No messages, no tokens but the reply's frame."""
    context = build([], frame=BARE)

    assert (context.messages, context.last_seq, context.omitted) == ([], 0, ())


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_below_one_is_refused(budget):
    """A budget is a whole number from 1."""
    with pytest.raises(InvalidSetting, match="max_tokens"):
        build(events_of([user()]), budget)


@given(histories(), st.integers(1, 1200), st.floats(0.5, 3))
def test_a_context_never_exceeds_its_budget(events, budget, ratio):
    """Law 15: the report keeps the budget, and so does an independent count; or an error says why not."""
    try:
        context = build(events, budget, ratio=ratio)
    except TokenLimitExceeded:
        return

    assert context.tokens <= budget
    if ratio >= 1:
        assert count_tokens(context.messages, model=MODEL) <= budget
    assert openai_faults(context.messages) == []
    assert anthropic_faults(context.messages) == []


@given(histories(), st.integers(1, 1200))
def test_every_omission_is_reported(events, budget):
    """Law 15: tokens kept and tokens reported as left out add up to those of the whole segment and seed."""
    try:
        context = build(events, budget)
    except TokenLimitExceeded:
        return
    whole = sum(block.tokens for block in arrange(events))
    framing = 4 * len(context.messages[2:])
    left_out = sum(o.tokens for o in context.omitted if o.reason_code != "seed")

    assert context.parts["events"] + framing + left_out == whole
    assert any(o.reason_code == "seed" for o in context.omitted) == (context.messages[1]["content"] != SEED)
    gone = {
        seq
        for o in context.omitted
        if o.reason_code == "budget"
        for seq in range(o.first_seq, o.last_seq + 1)
    }
    sent = json.dumps(context.messages)
    for event in events:
        if event.message is not None and event.seq not in gone and event.message.role == "user":
            assert json.dumps(event.message.text)[1:-1] in sent


@given(histories(), st.integers(40, 1200))
def test_the_newest_user_message_is_kept(events, budget):
    """Whatever is left out, the newest user message is sent whole, or an error says that it does not fit."""
    users = [e.message for e in events if e.message is not None and e.message.role == "user"]
    try:
        context = build(events, budget)
    except TokenLimitExceeded:
        return

    if users:
        assert users[-1].to_wire() in context.messages


@given(histories(most=16))
def test_the_context_only_grows_at_its_end(events):
    """Law 11: where no call is waiting, what comes next leaves every message before it as it was.

    A call that a newer user message overtook does not wait: its result comes as a note at the end.
    """
    for k in range(len(events)):
        before = build(events[:k]).messages
        if any(message["content"] == PENDING for message in before):
            continue
        after = build(events[: k + 1]).messages

        assert json.dumps(after[: len(before)]) == json.dumps(before)


def test_a_call_that_waits_changes_when_it_is_answered_and_nothing_before_it_does():
    """The stand-in of an open call is the one thing that changes, and it stands at the end."""
    events = events_of([user(), assistant(), user(), calling("a"), answering("a")])
    waiting, answered = build(events[:4]).messages, build(events).messages

    assert waiting[:-1] == answered[:-1]
    assert waiting[-1] != answered[-1]


def test_older_turns_go_first_and_in_steps():
    """A window moves by a quarter of the room at once, so that the next turns find the same prefix."""
    events = events_of([m for i in range(60) for m in (user(f"Question {i}?"), assistant(f"Answer {i}."))])
    starts = [build(events[: 2 * n], 300, frame=BARE).messages[0]["content"] for n in range(20, 60)]

    assert len(set(starts)) <= 14
    assert all(start.startswith("Question") for start in starts)


def test_a_long_result_of_the_newest_round_is_shortened_and_reported():
    """Where the newest round alone is too large, its longest result keeps head and end."""
    text = "first " + "degrees " * 900 + "last"
    context = build(events_of([user(), calling("a"), answering("a", text)]), 300, frame=BARE)
    short = context.messages[-1]["content"]

    assert short.startswith("first")
    assert short.endswith("last")
    assert [o.reason_code for o in context.omitted] == ["clipped"]


def test_the_seed_goes_last_and_a_line_says_so():
    """A seed that does not fit is replaced by a line about it, in the user's role."""
    context = build(history([("user", 1), ("answer", 1)]), 100)

    assert context.messages[1]["content"] == (
        "[Notes on the earlier part of this conversation were left out to fit.]"
    )
    assert context.omitted[0].reason_code == "seed"


def test_rounds_left_out_of_the_newest_turn_leave_its_question():
    """Inside a long turn older tool rounds go; what is reported does not cover the question that stays."""
    rounds = [m for i in range(20) for m in (calling(f"c{i}"), answering(f"c{i}", "degrees " * 20))]
    context = build(events_of([user("Old?"), assistant(), user("New?"), *rounds]), 300, frame=BARE)

    assert context.messages[0] == user("New?")
    assert [(o.first_seq, o.reason_code) for o in context.omitted] == [(1, "budget"), (4, "budget")]


def test_a_turn_that_does_not_fit_is_a_typed_error():
    """Law 15: where the newest question alone is larger, the error says how much is needed."""
    with pytest.raises(TokenLimitExceeded) as caught:
        build(events_of([user("word " * 500)]), 100)

    assert caught.value.needed > caught.value.limit == 100
