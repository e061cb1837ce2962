"""Limits: what they accept, and how a tool finds its own."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from guards.limits import Limits


def test_nothing_is_limited_unless_said() -> None:
    """Bare limits let everything through; any one field ends that, zero included."""
    assert Limits().unlimited
    assert Limits(warn_at=None, window="run").unlimited
    assert not Limits(per_turn=0).unlimited
    assert not Limits(per_group={"discovery": 3}).unlimited


def test_the_presets_can_be_changed() -> None:
    """A preset is limits like any other, and a field given with it wins."""
    assert (Limits.smooth().per_turn, Limits.smooth().per_tool) == (100, None)
    assert (Limits.strict().per_turn, Limits.strict(per_tool=2).per_tool) == (30, 2)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("web.search", ("web.search", 1)),
        ("docs.search", ("search", 2)),
        ("search", ("search", 2)),
        ("research", ("research", 9)),
        ("web.read", ("web.read", 9)),
    ],
)
def test_a_tool_finds_its_exact_name_then_its_last_part_then_the_rest(
    name: str, found: tuple[str, int]
) -> None:
    """`search` covers `docs.search`, and `*` each other tool for itself."""
    limits = Limits(per_tool={"web.search": 1, "search": 2, "*": 9})

    assert found == limits.for_tool(name)


def test_one_number_holds_for_each_tool() -> None:
    """Each is counted under its own name; without a limit, or without a match, there is none."""
    assert Limits(per_tool=3).for_tool("a.b") == ("a.b", 3)
    assert Limits().for_tool("a") is None
    assert Limits(per_tool={"b": 1}).for_tool("a") is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"total": -1}, "total=-1 is no whole number from 0"),
        ({"per_turn": 1.5}, "per_turn=1.5 is no whole number"),
        ({"per_run": True}, "per_run=True is no whole number"),
        ({"per_tool": -2}, "per_tool=-2"),
        ({"per_tool": {"a": -2}}, r"per_tool\['a'\]=-2"),
        ({"per_tool": {"a": None}}, "leave 'a' out"),
        ({"per_group": {"g": "3"}}, r"per_group\['g'\]='3'"),
        ({"wall_s": float("nan")}, "wall_s=nan is no number from 0"),
        ({"cost_usd": Decimal(-1)}, "cost_usd="),
        ({"spend_per_minute_usd": float("inf")}, "spend_per_minute_usd=inf"),
        ({"window": "day"}, "window='day' is none of turn, run, total"),
        ({"warn_at": 0}, "warn_at=0 is no share"),
        ({"warn_at": 1.1}, "warn_at=1.1 is no share"),
    ],
)
def test_what_is_no_limit_is_refused_when_it_is_made(bad: dict[str, Any], said: str) -> None:
    """The error names the field and its value."""
    with pytest.raises(ValueError, match=said):
        Limits(**bad)


def test_money_given_as_a_float_is_taken_as_written() -> None:
    """Ten cents are ten cents."""
    money: Any = 0.1

    assert Decimal("0.1") == Limits(cost_usd=money).cost_usd


def test_limits_do_not_follow_the_callers_mapping() -> None:
    """A later change to the mapping changes no limit, and limits can be copied."""
    mine = {"a": 1}
    limits = Limits(per_tool=mine, per_group=mine)
    mine["a"] = 100

    assert copy.deepcopy(limits).for_tool("a") == ("a", 1)
    assert limits.per_group == {"a": 1}
