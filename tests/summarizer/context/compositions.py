"""Compositions of policies, drawn by hypothesis, and the contexts that they build."""

from datetime import timedelta

import pytest
from hypothesis import strategies as st

from summarizer.context import Frame
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
    build_with_policies,
)
from tests.summarizer.histories import count

SEED = "Notes on the earlier part of this conversation: the user lives in Oslo."
SEEDED = Frame("You answer.", count("You answer."), 0, SEED, count(SEED))


def score(unit):
    return (unit.first_seq * 7919) % 13


few = st.integers(1, 12)
policies = st.one_of(
    st.builds(lambda n: KeepLast(items=n), few),
    st.builds(lambda n: KeepLast(units=n), few),
    st.builds(lambda n: KeepLast(turns=n), few),
    st.builds(TokenBudget, st.integers(1, 600)),
    st.builds(lambda s: Age(timedelta(seconds=s)), few),
    st.builds(Hybrid, few, st.integers(0, 6)),
    st.builds(
        lambda first, roles: Pin(first_user=first, roles=roles),
        st.booleans(),
        st.sampled_from([(), {"system"}, {"tool"}]),
    ),
    st.builds(lambda seq: Pin(seqs={seq}), few),
    st.builds(
        DropRoles, st.sets(st.sampled_from(["user", "assistant", "tool", "system"]), max_size=3), recent=few
    ),
    st.builds(lambda best, recent: Importance(score, best=best, recent=recent), st.integers(0, 6), few),
    st.builds(lambda recent: Importance(score, at_least=6, recent=recent), few),
    st.builds(lambda keep, batch: ClearToolResults(keep, batch, template="[gone]"), few, few),
    st.builds(lambda over, keep: Offload(over, 40, keep, template="[{shape}]"), few, st.integers(0, 3)),
)
compositions = st.lists(policies, max_size=4).map(Compose)


def done(coroutine):
    """What a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def build(given, events, budget=None, *, frame=SEEDED, ratio=1.0):
    return done(
        build_with_policies(
            events, session_id="s", frame=frame, policies=given, budget=budget, ratio=ratio, count=count
        )
    )
