"""Any composition of policies gives a request that providers take, in steps that leave the prefix alone."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from summarizer.context import Boundary, Frame
from summarizer.context.blocks import PENDING
from summarizer.context.policies import (
    Age,
    ClearToolResults,
    Compose,
    DropRoles,
    Hybrid,
    Importance,
    KeepLast,
    Offload,
    Pin,
    TokenBudget,
    apply_policies,
    view_of,
)
from summarizer.errors import InvalidSetting, TokenLimitExceeded
from summarizer.meter import count_tokens
from tests.summarizer.context.compositions import build, compositions, done, score
from tests.summarizer.histories import (
    MODEL,
    answering,
    assistant,
    calling,
    count,
    events_of,
    histories,
    user,
)
from tests.summarizer.requests import faults_by_dialect, openai_faults


def shown(given, events):
    """The view of a log by policies."""
    return done(apply_policies(given, view_of(events, count)))


def messages_of(given, events):
    """The messages that the policies show."""
    return [m for _, unit in shown(given, events).shown() for block in unit.blocks for m in block.messages]


@given(histories(), compositions)
def test_every_composition_gives_a_valid_request(events, given):
    """Law 16: no orphan result, no call without its results; what begins with the user still does."""
    messages = messages_of(given, events)

    assert openai_faults(messages) == []
    assert faults_by_dialect([user(), *messages]) == {}
    whole = messages_of([], events)
    if not faults_by_dialect(whole):
        assert faults_by_dialect(messages) == {}


@given(histories(), compositions, st.integers(1, 1200), st.floats(0.5, 3))
def test_every_composition_keeps_the_budget(events, given, budget, ratio):
    """Law 15: a context is within its budget by an independent count too, or an error says why not."""
    try:
        context = build(given, events, budget, ratio=ratio)
    except TokenLimitExceeded:
        return

    assert context.tokens <= budget
    if ratio >= 1:
        assert count_tokens(context.messages, model=MODEL) <= budget
    assert faults_by_dialect(context.messages) == {}


@given(histories(), compositions)
def test_every_omission_of_a_policy_is_reported(events, given):
    """Tokens shown and tokens reported as left out or cleared add up to those of the whole segment."""
    context, whole = build(given, events), build([], events)

    shown_tokens = sum(v for k, v in context.parts.items())
    assert shown_tokens + sum(o.tokens for o in context.omitted) == sum(whole.parts.values())


@given(histories(), compositions)
def test_pinned_and_newest_units_never_leave(events, given):
    """What is pinned, the newest user message and the newest unit are in every view."""
    pinned = Pin(first_user=True, seqs={4})
    view = shown(Compose([given, pinned]), events)

    for i, unit in enumerate(view.units):
        if i in view.newest or any(event.seq == 4 for event in unit.events):
            assert unit.shown
    first = next((unit for unit in view.units if unit.opens_turn), None)
    assert first is None or first.shown


@given(histories(), st.integers(1, 600), compositions)
def test_a_token_budget_holds_wherever_it_stands(events, budget, given):
    """It acts last, so what it leaves is within it, or is what no policy may leave out."""
    view = shown(TokenBudget(budget) | given, events)
    held = {i for i, unit in view.shown() if not (unit.pinned or i in view.newest)}

    if view.tokens > budget:
        assert held - {i for i in held if view.units[i].opens_turn} == set()


class Foreign:
    """One of our policies that is not known as such, so that what it returns is checked."""

    def __init__(self, policy):
        self.apply = policy.apply


@given(histories(), compositions)
def test_our_own_views_pass_the_check(events, given):
    """What our policies return needs no check: checked, each view is the same, and nothing is logged."""
    with capture_logs() as logs:
        checked = shown([Foreign(policy) for policy in given], events)

    assert logs == []
    assert checked == shown(given, events)


@given(histories(most=20), compositions)
def test_a_view_is_a_function_of_the_log(events, given):
    """Two readers of one log see the same, and reading changes nothing."""
    assert json.dumps(messages_of(given, events)) == json.dumps(messages_of(given, list(events)))


@given(histories(most=16), compositions)
def test_between_two_view_changes_the_view_only_grows_at_its_end(events, given):
    """Law 11: while the boundary is the same, every message stays as it was, to the byte."""
    for k in range(len(events)):
        before, after = (build(given, events[:n]) for n in (k, k + 1))
        earlier, later = before.messages, after.messages
        if before.boundary != after.boundary or any(m["content"] == PENDING for m in earlier):
            continue

        assert json.dumps(later[: len(earlier)]) == json.dumps(earlier)


LONG = events_of(
    [
        m
        for i in range(60)
        for m in (
            user(f"Question {i}?"),
            calling(f"c{i}"),
            answering(f"c{i}", f"{i} degrees. " * 12),
            assistant(f"Answer {i}."),
        )
    ]
)
"""60 turns of 4 events and 3 units, about 60 tokens each."""


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (KeepLast(items=40), 240 / 10),
        (KeepLast(units=40), 180 / 10),
        (KeepLast(turns=20), 60 / 5),
        (TokenBudget(1200), 240 * 25 / 300),
        (Age(timedelta(seconds=80)), 240 / 20),
        (Hybrid(40, 12), 120 / 10 + 60 / 3),
        (DropRoles({"tool"}, 20), 180 / 5),
        (Importance(score, best=6, recent=20), 180 / 5),
        (ClearToolResults(4, 10), 60 / 10),
        (Offload(30), 0),
        (KeepLast(units=40) | TokenBudget(900), 180 / 10 + 240 * 25 / 225),
        (ClearToolResults(4, 10) | TokenBudget(1200), 6 + 240 * 25 / 300),
    ],
)
def test_the_prefix_changes_rarely(given, steps):
    """Law 11: over 60 turns the prefix breaks no more often than the boundary moves, and that by steps."""
    breaks = changes = 0
    before, boundary = [], Boundary()
    for n in range(len(LONG)):
        context = build(given, LONG[: n + 1], frame=Frame())
        after = context.messages
        changes += context.boundary != boundary
        boundary = context.boundary
        if any(m["content"] == PENDING for m in after):
            continue
        breaks += after[: len(before)] != before
        before = after

    assert breaks <= changes <= steps


def test_policies_compose_with_a_bar_and_nest():
    """`|` and lists build the same flat order: pins first, budgets last, the rest as given."""
    composed = TokenBudget(9) | KeepLast(units=3) | [ClearToolResults(), Pin(first_user=True)]

    assert [type(policy).__name__ for policy in composed] == [
        "Pin",
        "KeepLast",
        "ClearToolResults",
        "TokenBudget",
    ]
    assert list(Compose([[KeepLast(units=3)] | TokenBudget(9)])) == [KeepLast(units=3), TokenBudget(9)]


@pytest.mark.parametrize("given", [3, "KeepLast", KeepLast, [None], object()])
def test_what_is_no_policy_is_refused(given):
    """The error says what a policy needs."""
    with pytest.raises(InvalidSetting, match="apply"):
        Compose([given])
