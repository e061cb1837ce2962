"""What is too large, too many or broken: a flagged context or a typed error, never silence."""

from datetime import timedelta

import pytest

from summarizer import SessionManager, TokenLimitExceeded
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
)
from summarizer.meter import count_tokens
from tests.summarizer.context.compositions import build
from tests.summarizer.histories import MODEL, answering, assistant, calling, events_of, user
from tests.summarizer.requests import faults_by_dialect

POLICIES = KeepLast(turns=4) | ClearToolResults(2, 2) | TokenBudget(2000)
HUGE = "The river is 12 metres deep here. " * 20_000


@pytest.mark.parametrize("policies", [[], POLICIES])
async def test_a_budget_below_the_newest_message_is_an_error_that_says_so(policies):
    """It names what is needed and what was given."""
    async with SessionManager(store="memory://") as sm:
        await sm.user_says("Where is order 77? " * 40)
        with pytest.raises(TokenLimitExceeded) as raised:
            await sm.context(50, policies=policies)

        assert raised.value.limit == 50
        assert raised.value.needed > 50


@pytest.mark.parametrize("policies", [[], POLICIES])
async def test_a_system_prompt_larger_than_the_window_is_an_error(policies):
    """No part of it is cut in silence; recording goes on."""
    async with SessionManager(store="memory://", model="gpt-4", system_prompt=HUGE) as sm:
        await sm.user_says("Hello.")
        with pytest.raises(TokenLimitExceeded, match="system prompt"):
            await sm.context(policies=policies)
        await sm.ai_responds("Good morning.")

        assert len(await sm.get_conversation()) == 2


@pytest.mark.parametrize("policies", [[], POLICIES, Offload(over=500), KeepLast(turns=1)])
async def test_a_result_larger_than_the_window_is_shortened_and_flagged(policies):
    """The request is valid and within the window; the log holds the whole."""
    async with SessionManager(store="memory://", model="gpt-4") as sm:
        await sm.user_says("How deep is it?")
        await sm.tool_used("sound", {"river": "Elbe"}, HUGE)
        context = await sm.context(policies=policies)

        assert context.tokens <= 8192
        assert count_tokens(context.messages, model="gpt-4") <= 8192
        assert {gone.reason_code for gone in context.omitted} & {"clipped", "cleared"}
        assert faults_by_dialect(context.messages) == {}
        assert (await sm.get_conversation())[-1]["content"] == HUGE


TINY = events_of(
    [m for i in range(2500) for m in (user("?"), calling(f"c{i}"), answering(f"c{i}", "1"), assistant("!"))]
)
"""10,000 events."""


@pytest.mark.parametrize(
    "policies",
    [
        KeepLast(items=40),
        KeepLast(turns=10) | TokenBudget(400),
        Age(timedelta(seconds=90)),
        Hybrid(20, 10),
        DropRoles({"tool"}) | KeepLast(units=90),
        Importance(lambda unit: unit.first_seq % 7, best=20),
        ClearToolResults() | Offload() | TokenBudget(900),
        Pin(first_user=True) | KeepLast(units=9),
    ],
    ids=lambda policies: type(policies).__name__,
)
def test_ten_thousand_tiny_events_are_no_trouble(policies):
    """Whatever acts on them, the request is valid and within its budget."""
    context = build(policies, TINY, 3000)

    assert context.tokens <= 3000
    assert count_tokens(context.messages, model=MODEL) <= 3000
    assert faults_by_dialect(context.messages) == {}
    assert context.messages[-1]["content"] == "!"


async def _fails(view):
    raise RuntimeError(f"no {len(view.units)}")


class Failing:
    """A policy of somebody's own, which never works."""

    def __init__(self, function):
        self.apply = function


@pytest.mark.parametrize("function", [_fails, lambda _: 5, lambda view: view.units])
async def test_a_broken_policy_leaves_the_others_at_work(function):
    """The context is that of the others, whether the policy is the manager's or the call's."""
    async with SessionManager(
        store="memory://", context_policies=[Failing(function), KeepLast(units=4)]
    ) as sm:
        for n in range(9):
            await sm.user_says(f"Question {n}?")
        expected = await sm.get_messages_for_llm(policies=KeepLast(units=4))

        assert await sm.get_messages_for_llm() == expected
        assert await sm.get_messages_for_llm(policies=[KeepLast(units=4), Failing(function)]) == expected
