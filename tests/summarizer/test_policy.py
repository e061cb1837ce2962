"""When a session is full, and what stays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting
from summarizer.events import Counters
from summarizer.policy import Limits, Plan, Policy, Skip, Trigger, due, fullness, limits_of, plan
from summarizer.stores.protocol import Head
from summarizer.units import safe_cuts
from tests.summarizer.histories import assistant, events_of, histories, user

BY_TOKENS = (Trigger.TOKENS, Trigger.HARD_LIMIT)


def head_of(events, *, seed_tokens=0):
    total = events[-1].cumulative_tokens if events else 0
    messages = [event.seq for event in events if event.message is not None]
    return Head(
        "c",
        last_seq=len(events),
        total_tokens=total,
        seed_tokens=seed_tokens,
        message_seq=max(messages, default=0),
        counters=Counters(
            user_messages=sum(e.message is not None and e.message.role == "user" for e in events)
        ),
    )


@given(
    histories(),
    st.integers(0, 300),
    st.integers(1, 2000),
    st.sampled_from(Trigger),
    st.sampled_from([(0.2, 0.25, 0.3), (0.0, 0.5, 0.5), (0.6, 0.4, 0.0), (0.1, 0.1, 0.8)]),
)
def test_a_plan_keeps_its_promise(events, seed_tokens, threshold, trigger, shares):
    """Law 9: tail and seed shrink the context by the minimum (tokens), or do not grow it (turns, by hand)."""
    tail_share, seed_share, minimum_gain = shares
    policy = Policy(threshold, tail_share=tail_share, seed_share=seed_share, minimum_gain=minimum_gain)
    head = head_of(events, seed_tokens=seed_tokens)
    planned = plan(head, events, policy, limits_of(policy), trigger)
    if isinstance(planned, Skip):
        assert planned.reason_code in ("nothing_to_cut", "no_gain")
        return
    after = planned.tail_tokens + planned.seed_budget
    kept = sum(event.tokens for event in events if event.seq > planned.cut.seq)

    assert planned.tail_tokens == kept
    assert planned.before_tokens == head.seed_tokens + head.segment_tokens
    assert 0 <= planned.seed_budget <= threshold * seed_share
    assert after <= planned.before_tokens * ((1 - minimum_gain) if trigger in BY_TOKENS else 1)
    assert any(event.message is not None and event.seq <= planned.cut.seq for event in events)


def test_a_segment_of_records_alone_is_not_cut():
    """A child that holds only the record of its own opening has nothing to summarize."""
    events = events_of([None])
    planned = plan(head_of(events, seed_tokens=50), events, Policy(), limits_of(Policy()), Trigger.MANUAL)

    assert isinstance(planned, Skip)
    assert planned.reason_code == "nothing_to_cut"


def test_a_turn_that_is_open_is_not_cut():
    """One question without an answer: nothing to cut."""
    events = events_of([user()])
    planned = plan(head_of(events), events, Policy(), limits_of(Policy()), Trigger.MANUAL)

    assert isinstance(planned, Skip)
    assert planned.reason_code == "nothing_to_cut"


def test_a_tail_too_large_to_gain_is_said():
    """Where what must stay is almost everything, nothing happens, and the reason is told."""
    events = events_of([user("Hi"), assistant("Hi"), user("word " * 500)])
    planned = plan(head_of(events), events, Policy(100), limits_of(Policy(100)), Trigger.TOKENS)

    assert isinstance(planned, Skip)
    assert planned.reason_code == "no_gain"


@given(histories(), st.integers(0, 300), st.integers(1, 5000))
def test_a_gain_within_reach_is_taken(events, seed_tokens, threshold):
    """Law 9: `no_gain` is said only where no safe cut would leave so little, whatever the shares are."""
    policy, head = Policy(threshold), head_of(events, seed_tokens=seed_tokens)
    planned = plan(head, events, policy, limits_of(policy), Trigger.TOKENS)
    before, tails = seed_tokens + head.total_tokens, [cut.seq for cut in safe_cuts(events) if cut.seq]
    least = min((head.total_tokens - events[seq - 1].cumulative_tokens for seq in tails), default=before)

    assert not (isinstance(planned, Skip) and planned.reason_code == "no_gain") or least >= int(0.7 * before)


def test_the_tail_begins_at_the_earliest_border_that_fits():
    """As much of the newest turns stays verbatim as the tail's share allows."""
    events = events_of([m for i in range(20) for m in (user(f"Question {i}?"), assistant(f"Answer {i}."))])
    policy = Policy(200)
    planned = plan(head_of(events), events, policy, limits_of(policy), Trigger.TOKENS)

    assert isinstance(planned, Plan)
    assert planned.cut.turn_border
    assert planned.tail_tokens <= 40
    cut = planned.cut.seq
    assert sum(event.tokens for event in events[cut - 2 :]) > 40


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10**6), st.booleans())
def test_it_is_never_due_without_a_new_message(opened, skipped, since, full, turn_is_open):
    """Law 9: after an opening or a skip, nothing is due until a message came."""
    policy = Policy(100, max_turns=1)
    head = Head(
        "c", opened_seq=opened, skipped_seq=skipped, message_seq=since, counters=Counters(user_messages=9)
    )
    trigger = due(head, policy, limits_of(policy), full, turn_is_open=turn_is_open)

    assert (trigger is None) == (since <= max(opened, skipped))


def test_triggers_come_in_order_of_need():
    """The hard limit goes before the soft one, and both before the turns."""
    policy = Policy(100, max_turns=2)
    head = Head("c", message_seq=1, counters=Counters(user_messages=2))

    assert due(head, policy, limits_of(policy), 125) is Trigger.HARD_LIMIT
    assert due(head, policy, limits_of(policy), 100) is Trigger.TOKENS
    assert due(head, policy, limits_of(policy), 99) is Trigger.TURNS
    assert due(head, policy, limits_of(policy), 99, turn_is_open=True) is None


def test_turns_count_from_the_opening():
    """User messages of earlier segments do not count."""
    policy = Policy(max_turns=3)
    head = Head("c", message_seq=9, opened_turns=5, counters=Counters(user_messages=7))

    assert due(head, policy, limits_of(policy), 0) is None
    assert due(replace(head, opened_turns=4), policy, limits_of(policy), 0) is Trigger.TURNS


@given(
    st.one_of(st.integers(1, 10**6), st.floats(0.01, 1)), st.none() | st.integers(1, 10**6), st.floats(1, 5)
)
def test_limits_stay_below_the_window(threshold, window, factor):
    """The soft limit is never above the hard one, and neither leaves the reply without room."""
    limits = limits_of(Policy(threshold, hard_factor=factor), window=window)

    assert limits.soft is not None
    assert limits.hard is not None
    assert 1 <= limits.soft <= limits.hard
    if window is not None:
        assert limits.hard <= max(1, window - min(1024, window // 4))


def test_a_share_measures_what_the_provider_reported():
    """The report counts while it is of this model and this segment; else the ratio times everything."""
    limits = limits_of(Policy(0.5), window=1000)
    report = {"tokens": 700, "model": "m", "ratio": 1.2, "samples": 1, "index": 0}
    head = Head("c", total_tokens=500, seed_tokens=100, report=report, report_total=400)

    assert fullness(head, limits, fixed_tokens=50, ratio=2.0, model="m") == 900
    assert fullness(head, limits, fixed_tokens=50, ratio=2.0, model="other") == 1300
    assert fullness(replace(head, index=1), limits, fixed_tokens=50, ratio=2.0, model="m") == 1300
    assert fullness(head, Limits(9, 9, False, 9), fixed_tokens=50, ratio=2.0, model="m") == 600


def test_a_policy_is_stored_and_read():
    """What was stored comes back; a newer version's keys are left out."""
    policy = Policy(0.5, max_turns=7, on_hard_limit="extract", lease_s=5)

    assert Policy.from_dict(policy.to_dict() | {"unknown": 1}) == policy
    assert not policy.without_triggers().segments


@pytest.mark.parametrize(
    "setting",
    [
        {"token_threshold": 0},
        {"token_threshold": True},
        {"token_threshold": 1.5},
        {"token_threshold": "4000"},
        {"token_threshold": float("nan")},
        {"max_turns": 0},
        {"max_turns": True},
        {"max_turns": 2.5},
        {"max_turns": "3"},
        {"hard_factor": 0.9},
        {"hard_factor": float("nan")},
        {"tail_share": "0.2"},
        {"tail_share": 0.6},
        {"minimum_gain": -0.1},
        {"hard_wait_s": 0},
        {"lease_s": True},
        {"on_hard_limit": "later"},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused(setting):
    """A policy that cannot hold is refused where it is made, and the error names the setting."""
    with pytest.raises(InvalidSetting, match=next(iter(setting))):
        Policy(**setting)
