"""A window over a long segment reads its end alone, and shows what it would show if it read all."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.context import Frame
from summarizer.context.blocks import PENDING
from summarizer.context.policies import (
    Age,
    ClearToolResults,
    Compose,
    DropRoles,
    KeepLast,
    Landmarks,
    Offload,
    Pin,
    TokenBudget,
    build_with_policies,
    horizon,
    view_of,
)
from tests.summarizer.context.compositions import done
from tests.summarizer.context.test_policies_composed import shown
from tests.summarizer.histories import answering, assistant, calling, count, events_of, histories, user

few = st.integers(1, 6)
windows = st.one_of(
    st.builds(lambda n: KeepLast(units=n), few),
    st.builds(lambda n: KeepLast(items=n), few),
    st.builds(lambda n: KeepLast(turns=n), few),
    st.builds(TokenBudget, st.integers(1, 200)),
    st.builds(lambda s: Age(timedelta(seconds=s)), few),
)
LONG = events_of(
    [
        m
        for i in range(700)
        for m in (user(f"Question {i}?"), calling(f"c{i}"), answering(f"c{i}"), assistant(f"Answer {i}."))
    ]
)


def build(policies, events):
    return done(build_with_policies(events, session_id="s", frame=Frame(), policies=policies, count=count))


@given(histories())
def test_landmarks_say_what_stands_where(events):
    """Messages before an index, and the index before which so many stand, as counting gives them."""
    landmarks = Landmarks.of(events)
    for first in range(min(3, len(events))):
        part = events[first:]
        for i in range(len(part) + 1):
            messages = sum(event.message is not None for event in part[:i])

            assert landmarks.messages_before(part, i) == messages
            found = landmarks.index_of(part, messages)
            assert sum(event.message is not None for event in part[:found]) == messages
            assert found == len(part) or part[found].message is not None


@given(histories(), st.lists(windows, min_size=1, max_size=2).map(Compose), st.integers(1, 4))
def test_what_a_tail_leaves_unread_no_window_shows(events, policies, step):
    """A tail whose first unit is left out holds every unit that the policies show of the whole segment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(horizon, "STEP", step)
        tails = list(horizon.tails(events, list(policies), Landmarks.of(events)))
    units = {unit.first_seq: unit for unit in view_of(events, count).units}
    for tail in tails:
        view = shown(policies, tail)

        assert [unit.blocks for unit in view.units] == [
            unit.blocks for seq, unit in units.items() if seq >= tail[0].seq
        ]
        if not view.units[0].shown:
            assert min(unit.first_seq for _, unit in shown(policies, events).shown()) >= tail[0].seq


@pytest.mark.parametrize(
    "policies",
    [KeepLast(units=20), TokenBudget(400), ClearToolResults(2, 2, template="[gone]") | KeepLast(turns=8)],
)
def test_a_long_segment_is_read_from_its_end(policies):
    """The context keeps the window, names everything before it, and its prefix breaks only in steps."""
    whole = sum(event.tokens + 4 for event in LONG)
    context = build(policies, LONG)
    breaks, before = 0, []
    for n in range(2500, 2620):
        after = build(policies, LONG[:n]).messages
        if any(message["content"] == PENDING for message in after):
            continue
        breaks += after[: len(before)] != before
        before = after

    assert 1 <= len(context.messages) <= 80
    assert sum(context.parts.values()) - 3 + sum(o.tokens for o in context.omitted) == whole
    assert context.omitted[0].first_seq == 1
    assert breaks <= 120 / 4


@pytest.mark.parametrize(
    "policies",
    [
        Pin(first_user=True) | KeepLast(units=20),
        KeepLast(units=20) | DropRoles({"tool"}),
        ClearToolResults(),
        Offload(),
        KeepLast(units=5000),
    ],
)
def test_where_the_past_matters_all_is_read(policies):
    """Pins, roles and anything without a window may show what lies far back."""
    context = build(policies, LONG)

    assert context.messages == [
        message
        for _, unit in shown(policies, LONG).shown()
        for block in unit.blocks
        for message in block.messages
    ]


def test_a_message_recorded_as_pinned_is_found_however_far_back():
    """Nothing before a tail is pinned, or it is read."""
    pinned = [*LONG[:1], *LONG[1:]]
    first = LONG[0]
    pinned[0] = type(first)(
        first.kind,
        first.event_id,
        first.at,
        first.origin,
        first.tokens,
        first.message,
        {"metadata": {"pinned": True}},
        first.seq,
        first.cumulative_tokens,
    )

    assert build(KeepLast(units=20), pinned).messages[0]["content"] == "Question 0?"
