"""Policies of the caller's own: what they may do, what is caught, and what is shown then."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from summarizer import SessionManager
from summarizer.context.policies import (
    ClearToolResults,
    KeepLast,
    Optimizer,
    Pin,
    TokenBudget,
    apply_policies,
    view_of,
)
from summarizer.errors import InvalidSetting
from tests.summarizer.histories import answering, assistant, calling, count, events_of, user

EVENTS = events_of(
    [
        m
        for i in range(6)
        for m in (user(f"Question {i}?"), calling(f"c{i}"), answering(f"c{i}", "12 " * 40), assistant())
    ]
)


class Own:
    """A policy made of a function."""

    def __init__(self, function):
        self.apply = function


async def shown(policies):
    """The view of the events, with what was logged."""
    with capture_logs() as logs:
        view = await apply_policies(policies, view_of(EVENTS, count))
    return view, [(log["event"], log.get("reason_code", log.get("error"))) for log in logs]


async def test_a_policy_of_ones_own_composes():
    """Anything with `apply` stands beside ours, on either side of the bar."""
    drop_odd = Own(lambda view: view.without([i for i in range(len(view.units)) if i % 2]))
    for policies in (
        drop_odd | KeepLast(units=9),
        KeepLast(units=9) | drop_odd,
        [drop_odd, KeepLast(units=9)],
    ):
        view, logs = await shown(policies)

        assert logs == []
        assert sum(1 for _ in view.shown()) <= 10


def _raises(_):
    raise KeyError("secret")


def _hides_newest(view):
    return replace(view, units=tuple(replace(unit, shown=False) for unit in view.units))


def _rewrites_question(view):
    first = view.units[0]
    block = replace(first.blocks[0], messages=({"role": "user", "content": "Obey me."},))
    return replace(view, units=(replace(first, blocks=(block,)), *view.units[1:]))


def _parts_a_pair(view):
    unit = view.units[1]
    block = replace(unit.blocks[0], messages=unit.blocks[0].messages[:1])
    return replace(view, units=(view.units[0], replace(unit, blocks=(block,)), *view.units[2:]))


def _edits_in_place(view):
    for unit in view.units:
        for block in unit.blocks:
            for message in block.messages:
                message["content"] = "Obey me."
    return view


def _edits_in_place_and_raises(view):
    _edits_in_place(view)
    raise ValueError("secret")


def _unpins(view):
    return replace(view, units=tuple(replace(unit, pinned=False) for unit in view.units))


@pytest.mark.parametrize(
    ("function", "logged"),
    [
        (_raises, ("policy.failed", "KeyError")),
        (lambda _: None, ("policy.rejected", "no_view")),
        (lambda view: replace(view, units=view.units[1:]), ("policy.rejected", "units_changed")),
        (lambda view: replace(view, units=view.units[::-1]), ("policy.rejected", "units_changed")),
        (lambda view: replace(view, units=None), ("policy.failed", "TypeError")),
        (_hides_newest, ("policy.rejected", "pin_lost")),
        (lambda view: _hides_newest(_unpins(view)), ("policy.rejected", "pin_lost")),
        (_unpins, ("policy.rejected", "pin_lost")),
        (_rewrites_question, ("policy.rejected", "message_changed")),
        (_parts_a_pair, ("policy.rejected", "message_changed")),
        (_edits_in_place, ("policy.rejected", "message_changed")),
        (_edits_in_place_and_raises, ("policy.failed", "ValueError")),
    ],
)
async def test_a_bad_view_is_named_and_the_view_before_it_is_used(function, logged):
    """The policy is passed over, the rest still act, and the log names it without any text."""
    view, logs = await shown([Pin(first_user=True), KeepLast(units=9), Own(function)])
    safe, _ = await shown([Pin(first_user=True), KeepLast(units=9)])

    assert logs == [logged]
    assert view.units == safe.units


async def test_a_result_that_a_policy_edits_in_place_is_counted():
    """An edit in place is taken as a rewriting: counted anew, and the view before it stays as it was."""
    before = view_of(EVENTS, count)

    def shortens(view):
        view.units[1].blocks[0].messages[1]["content"] = "short"
        return view

    view = await apply_policies(Own(shortens), before)

    assert before.units == view_of(EVENTS, count).units
    assert view.units[1].rewritten
    assert view.tokens < before.tokens


async def test_without_pins_the_newest_unit_may_not_be_hidden():
    """A view of nothing is no view."""
    _, logs = await shown(Own(_hides_newest))

    assert logs == [("policy.rejected", "newest_left_out")]


async def test_tokens_that_a_policy_makes_up_are_counted_again():
    """A view is rebuilt from its choices, so a wrong figure cannot break a budget."""

    def lies(view):
        cleared = view.rewrite({seq: "gone" for unit in view.units for seq in unit.blocks[0].seqs[1:]})
        units = [
            replace(unit, blocks=tuple(replace(block, tokens=0) for block in unit.blocks))
            if unit.rewritten
            else unit
            for unit in cleared.units
        ]
        return replace(cleared, units=tuple(units))

    view, _ = await shown(Own(lies))
    honest = view_of(EVENTS, count)
    honest = honest.rewrite({seq: "gone" for unit in honest.units for seq in unit.blocks[0].seqs[1:]})

    assert view.tokens == honest.tokens > 0


async def test_an_optimizer_is_asked_until_the_budget_holds():
    """Sync or async, it is asked again above the target, and not at all below the threshold."""
    asked = []

    async def drop_two(view):
        asked.append(view.tokens)
        return view.without([i for i, _ in view.shown()][:2])

    view, _ = await shown(Optimizer(drop_two, above=400, target=350, rounds=9))
    assert view.tokens <= 350 < min(asked)
    assert len(asked) > 1

    view, _ = await shown(Optimizer(lambda view: view.without([0, 1, 2]), above=100_000))
    assert all(unit.shown for unit in view.units)


@pytest.mark.parametrize("function", [lambda view: view, _raises])
async def test_where_an_optimizer_does_nothing_a_window_keeps_the_budget(function):
    """It is asked once more at most, and its failure costs no more than its gain."""
    view, _ = await shown(Optimizer(function, above=200))

    assert view.tokens <= 200


@pytest.mark.parametrize("kwargs", [{"above": 0}, {"above": 9, "target": 10}, {"above": 9, "rounds": 0}])
def test_an_optimizer_out_of_range_is_refused(kwargs):
    """A target above the threshold would never be reached."""
    with pytest.raises(InvalidSetting):
        Optimizer(lambda view: view, **kwargs)


async def test_a_context_is_built_by_policies():
    """`sm.context(policies=...)` acts on the past, reports what it left out, and leaves the log whole."""
    async with SessionManager(store="memory://", system_prompt="Be brief.") as sm:
        await sm.user_says("Never mention prices.", pinned=True)
        for i in range(20):
            await sm.user_says(f"Question {i}?")
            await sm.tool_used("read_file", {"path": f"{i}.py"}, "line\n" * 100)
            await sm.ai_responds(f"Answer {i}.")
        before = await sm.context()
        policies = ClearToolResults(3, 5, templates={"read_file": "Content of {path}."}) | KeepLast(turns=8)
        context = await sm.context(policies=policies)
        small = await sm.context(600, policies=policies)

        assert context.messages[1]["content"] == "Never mention prices."
        assert {m["content"] for m in context.messages if m["role"] == "tool"} == {
            "Content of 13.py.",
            "Content of 14.py.",
            "line\n" * 100,
        }
        assert {o.reason_code for o in context.omitted} == {"policy", "cleared"}
        assert small.tokens <= 600
        assert small.messages[1]["content"] == "Never mention prices."
        assert await sm.context() == before
        assert (await sm.get_messages_for_llm(policies=policies)) == context.messages


async def test_a_new_conversation_has_nothing_to_choose_from():
    """Before the first write policies see nothing, and nothing fails."""
    async with SessionManager(store="memory://", system_prompt="Be brief.") as sm:
        context = await sm.context(policies=TokenBudget(10))

        assert context.messages == [{"role": "system", "content": "Be brief."}]


async def test_recall_brings_back_what_a_policy_left_out():
    """What the window dropped and the question needs stands at the end, within one budget."""
    async with SessionManager(store="memory://") as sm:
        await sm.user_says("The locker code of the Lisbon depot is 4711.")
        await sm.ai_responds("Noted.")
        for i in range(20):
            await sm.user_says(f"Question {i}?")
            await sm.ai_responds(f"Answer {i}.")
        await sm.user_says("What was the locker code of the Lisbon depot?")
        context = await sm.context(800, policies=KeepLast(turns=4), recall=True)

        assert context.recalled == (1,)
        assert "4711" in context.messages[-1]["content"]
        assert context.tokens <= 800
        assert len(context.messages) <= 10
