"""How a conversation moves, read off its newest events."""

from dataclasses import replace
from datetime import timedelta

from summarizer.economy import Pace, pace_of
from summarizer.events import Counters, EventKind
from tests.summarizer.histories import AT, assistant, events_of, user


def timed(*steps):
    """A log of `(seconds, message)`."""
    events = events_of([message for _, message in steps])
    return [replace(e, at=AT + timedelta(seconds=at)) for e, (at, _) in zip(events, steps, strict=True)]


def pace(events, lifetime_s=300.0, **counters):
    total = events[-1].cumulative_tokens if events else 0
    return pace_of(events, Counters(**counters), total, lifetime_s)


def test_nothing_is_known_of_an_empty_log():
    """No call: no growth, no pause, nothing idle."""
    assert pace([]) == Pace()


def test_a_pause_lies_between_an_answer_and_the_next_message():
    """The time a model takes to answer is no pause."""
    events = timed((0, user()), (200, assistant("a")), (290, user()), (490, assistant("b")), (900, user()))

    assert pace(events).cold_share == 0.0
    assert pace(events).idle_s == 410
    assert pace(events[:-1]).idle_s is None
    assert pace(events, lifetime_s=60).cold_share == 1.0


def test_a_tool_that_takes_long_lets_the_cache_die_too():
    """What comes next after a tool's result is a call, and the time since the last one counts."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events = timed(
        (0, user()),
        (5, {"role": "assistant", "content": None, "tool_calls": [call]}),
        (700, {"role": "tool", "content": "done", "tool_call_id": "c1"}),
    )

    assert pace(events).idle_s == 695


def test_growth_is_what_a_call_and_its_surroundings_add():
    """With a few calls at hand their own growth counts, before that the conversation's average."""
    few = timed((0, user("word " * 9)), (1, assistant("word " * 9)))
    many = few + timed(*[(i, m) for i in range(20) for m in (user("one"), assistant("two"))])
    total, before = 0, 0
    placed = []
    for event in many:
        total, before = total + event.tokens, before + 1
        placed.append(event.placed(before, total))

    assert pace(few, unbilled_calls=1).tokens_per_call == few[-1].cumulative_tokens
    assert pace(placed, unbilled_calls=21).tokens_per_call is not None
    assert pace(placed[4:], unbilled_calls=21).tokens_per_call == 2


def test_the_opening_of_a_segment_stands_for_the_call_before_it():
    """In a child without a tail, the idle time counts from its opening."""
    events = timed((0, None), (600, user()))
    opened = [replace(events[0], kind=EventKind.SEGMENTED), events[1]]

    assert pace(opened).idle_s == 600
    assert pace(events).idle_s is None
