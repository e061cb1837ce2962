"""What each policy shows, and what it refuses to be told."""

from datetime import datetime, timedelta

import pytest

from summarizer.context.policies import (
    Age,
    ClearToolResults,
    DropRoles,
    Hybrid,
    Importance,
    KeepLast,
    Offload,
    Pin,
    TokenBudget,
    view_of,
)
from summarizer.context.policies.results import filled
from summarizer.errors import InvalidSetting
from summarizer.messages import Message
from tests.summarizer.histories import AT, answering, assistant, calling, count, event, events_of, user

CHAT = events_of([m for i in range(10) for m in (user(f"Question {i}?"), assistant(f"Answer {i}."))])
ROUNDS = events_of(
    [user("Go."), *(m for i in range(10) for m in (calling(f"c{i}"), answering(f"c{i}", f"{i} " * 30)))]
)


def texts(policy, events):
    """The texts of what a policy shows."""
    view = policy.apply(view_of(events, count))
    return [m["content"] for _, unit in view.shown() for block in unit.blocks for m in block.messages]


def pins_of(text):
    """A user message that is recorded as pinned, at the head of the chat."""
    pinned = event(1, Message("user", text))
    return [
        type(pinned)(
            pinned.kind,
            "p",
            pinned.at,
            pinned.origin,
            pinned.tokens,
            pinned.message,
            {"metadata": {"pinned": True}},
            1,
        ),
        *(one.placed(one.seq + 1, one.cumulative_tokens) for one in CHAT),
    ]


@pytest.mark.parametrize("policy", [KeepLast(units=8), KeepLast(items=8), KeepLast(turns=4)])
def test_a_window_holds_at_most_its_number(policy):
    """20 messages leave the last 8, which is a whole number of steps of 2."""
    assert texts(policy, CHAT) == [m for i in range(6, 10) for m in (f"Question {i}?", f"Answer {i}.")]


def test_a_window_slides_in_steps():
    """With 21 messages a window of 8 moves on by 2 and shows 7."""
    assert len(texts(KeepLast(units=8), events_of([*(e.message for e in CHAT), user("New?")]))) == 7


def test_a_window_inside_a_turn_keeps_its_question():
    """The model is never shown tool rounds without what was asked."""
    shown = texts(KeepLast(units=4), ROUNDS)

    assert shown[0] == "Go."
    assert shown[2::2] == [f"{i} " * 30 for i in (6, 7, 8, 9)]


def test_a_token_budget_counts_pins_and_the_question():
    """What stays beside the window is inside the budget."""
    events = pins_of("Always answer in French, please.")
    view = TokenBudget(100).apply(view_of(events, count))

    assert view.units[0].shown
    assert 75 <= view.tokens <= 100


def test_an_age_moves_in_steps_of_a_quarter():
    """Events are a second apart; of an age of 8 seconds 7 to 9 are shown, and the question before them."""
    lengths = {len(texts(Age(timedelta(seconds=8)), CHAT[:n])) for n in range(12, 21)}

    assert lengths <= {8, 9, 10}


def test_an_age_is_told_from_the_moment_given():
    """An hour later only what always stays is shown."""
    late = Age(timedelta(minutes=1), now=AT + timedelta(hours=1))

    assert texts(late, CHAT) == ["Question 9?", "Answer 9."]


def test_a_hybrid_keeps_messages_and_rounds_apart():
    """The last messages stay although many rounds came after; the question of the first comes along."""
    events = events_of([*(e.message for e in CHAT), *(e.message for e in ROUNDS)])
    shown = texts(Hybrid(last=4, tool_rounds=2), events)

    assert shown[:5] == ["Question 8?", "Answer 8.", "Question 9?", "Answer 9.", "Go."]
    assert shown[5:] == [None, "8 " * 30, None, "9 " * 30]


def test_roles_of_the_older_part_are_left_out():
    """The newest units stay whatever their role."""
    shown = texts(DropRoles({"assistant"}, recent=4), CHAT)

    assert shown == [
        *(f"Question {i}?" for i in range(8)),
        "Question 8?",
        "Answer 8.",
        "Question 9?",
        "Answer 9.",
    ]


def test_importance_keeps_the_best_of_the_older_part():
    """Of equal scores the newer stays; the question of the first shown turn comes along."""
    wanted = Importance(lambda unit: float("3" in unit.events[0].message.text), best=2, recent=4)

    assert texts(wanted, CHAT)[:2] == ["Question 3?", "Answer 3."]
    assert len(texts(wanted, CHAT)) == 6


def test_pinned_messages_and_the_first_user_message_stay():
    """Pinned by the policy or when it was recorded, a message is in every view; its turn's question too."""
    pinned = pins_of("Never mention prices.")

    assert texts(KeepLast(units=4), pinned)[0] == "Never mention prices."
    view = Pin(first_user=True, when=lambda e: e.seq == 6).apply(view_of(CHAT, count))
    shown = KeepLast(units=4).apply(view)
    assert [unit.first_seq for _, unit in shown.shown()] == [1, 5, 6, 17, 18, 19, 20]


def test_old_results_are_cleared_by_their_tools_template():
    """Calls stay, the last results stay, and the batch is whole."""
    clear = ClearToolResults(keep=3, batch=4, templates={"look_up": "Weather of {city}. Ask again."})
    results = texts(clear, ROUNDS)[2::2]

    assert results[:4] == ["Weather of Oslo. Ask again."] * 4
    assert results[4:] == [f"{i} " * 30 for i in range(4, 10)]


def test_the_newest_result_is_never_cleared():
    """Results of the newest unit, a parallel batch included, may not have been read."""
    batch = events_of([user(), calling("a", "b", "c"), *(answering(k, "long " * 50) for k in "abc")])

    assert texts(ClearToolResults(keep=1, batch=1), batch)[2:] == ["long " * 50] * 3


def test_a_short_result_is_not_cleared():
    """Clearing never makes a prompt longer."""
    short = events_of([user(), *(m for i in range(9) for m in (calling(f"c{i}"), answering(f"c{i}", "12")))])

    assert texts(ClearToolResults(keep=1, batch=1), short) == texts(KeepLast(units=99), short)


@pytest.mark.parametrize(
    ("template", "arguments", "text"),
    [
        ("File content of {path}.", '{"path":"a.py"}', "File content of a.py."),
        ("File content of {path}.", "{}", "File content of (unknown path)."),
        ("File content of {path}.", "not json", "File content of (unknown path)."),
        ("File content of {path}.", "[1]", "File content of (unknown path)."),
        ("{a} {b!r} {} {{", '{"a":[1,2]}', "[1,2] {b!r} {} {{"),
        ("{tool}: {a}", '{"a":"' + "x" * 300 + '"}', "T: " + "x" * 197 + "..."),
        ("{a}", '{"a":"two\\nlines"}', "two lines"),
    ],
)
def test_a_template_never_fails(template, arguments, text):
    """Unknown placeholders, odd braces, long values and bad arguments are all text."""
    assert filled(template, {"tool": lambda: "T"}, arguments) == text


def test_a_large_result_is_shown_by_head_and_tail():
    """Shape, size and the seq of the whole stand before it; small results stay."""
    events = events_of([user(), calling("a"), answering("a", '["first",' + '"x",' * 900 + '"last"]')])
    shown = texts(Offload(over=200, characters=40), events)[-1]

    assert shown.startswith(
        "[Result of look_up, shown in part: a list of 902, 3616 characters, recorded in full as event 3.]"
    )
    assert '"first"' in shown
    assert '"last"]' in shown
    assert count(shown) < 60


@pytest.mark.parametrize(
    "make",
    [
        KeepLast,
        lambda: KeepLast(items=3, units=3),
        lambda: KeepLast(turns=0),
        lambda: TokenBudget(0),
        lambda: TokenBudget(True),
        lambda: Age(timedelta(0)),
        lambda: Age(timedelta(1), now=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda: Hybrid(0, 1),
        lambda: Hybrid(1, -1),
        lambda: Pin(roles="tool"),
        lambda: DropRoles({"robot"}),
        lambda: Importance(len),
        lambda: ClearToolResults(keep=0),
        lambda: ClearToolResults(batch=0),
        lambda: Offload(over=0),
    ],
)
def test_a_figure_out_of_range_is_refused(make):
    """A policy that cannot be meant is refused when it is made, not when a model waits."""
    with pytest.raises(InvalidSetting):
        make()
