"""Budgets: each limit, what counts against it, and what does not."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from guards.calls import Outcome
from guards.checks.budget import BudgetCheck
from guards.limits import Limits
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding
from tests.guards.calls import Clock, finished, pending, wrapped

SPEC = ToolSpec("read", group="discovery")


def checked(clock: Clock | None = None, **limits: Any) -> BudgetCheck:
    """A check with these limits."""
    return BudgetCheck(Limits(**limits), clock=clock or Clock())


def use(check: BudgetCheck, times: int = 1, name: str = "read", **record: Any) -> list[Finding | None]:
    """Make calls as the guard does: one that is blocked is refused, any other begins and ends."""
    findings: list[Finding | None] = []
    for _ in range(times):
        spec = ToolSpec(name, group="discovery")
        call = pending(name, call_id=f"{id(findings)}.{len(findings)}", started_at=check._clock())
        findings.append(check.examine(call, spec))
        if findings[-1] is None or findings[-1].action is not Action.BLOCK:
            check.began(call, spec)
        refused = findings[-1] is not None and findings[-1].action is Action.BLOCK
        check.observe(finished(call, **({"outcome": Outcome.REFUSED} if refused else record)))
    return findings


def actions(findings: list[Finding | None]) -> str:
    """`.` for nothing, `w` for a warning, `b` for a block."""
    return "".join("." if finding is None else finding.action.value[0] for finding in findings)


def code(finding: Finding | None) -> str | None:
    return finding and finding.reason_code


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"total": 5}, "budget.total"),
        ({"per_run": 5}, "budget.run"),
        ({"per_turn": 5}, "budget.turn"),
        ({"per_tool": 5}, "budget.tool"),
        ({"per_tool": {"read": 5}}, "budget.tool"),
        ({"per_group": {"discovery": 5}}, "budget.group"),
    ],
)
def test_calls_are_warned_of_from_a_share_on_and_blocked_at_the_limit(
    limits: dict[str, Any], reason: str
) -> None:
    """Of five, the fourth and fifth warn at 0.8, the sixth is blocked."""
    findings = use(checked(**limits), 7)

    assert actions(findings) == "...wwbb"
    assert [reason] * 4 == [code(finding) for finding in findings[3:]]
    assert (findings[5] and findings[5].evidence) == {"limit": 5, "used": 5}


@pytest.mark.parametrize(
    "limits",
    [
        {"total": 0},
        {"per_tool": {"read": 0}},
        {"per_group": {"discovery": 0}},
        {"result_tokens": 0},
        {"cost_usd": Decimal(0)},
        {"wall_s": 0},
        {"spend_per_minute_usd": Decimal(0)},
    ],
)
def test_zero_allows_nothing_and_none_everything(limits: dict[str, Any]) -> None:
    """Zero is a limit, `None` is none."""
    assert actions(use(checked(**limits), 2)) == "bb"
    assert (
        actions(use(checked(**dict.fromkeys(limits)) if "per_group" not in limits else checked(), 2)) == ".."
    )


def test_a_parallel_batch_shares_what_is_left() -> None:
    """Of five calls that begin before any ends, with one left, one is let through."""
    check = checked(per_turn=1, warn_at=None)
    calls = [pending(call_id=f"p{n}") for n in range(5)]
    allowed = 0
    for call in calls:
        if check.examine(call, SPEC) is None:
            check.began(call, SPEC)
            allowed += 1

    assert allowed == 1


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.REPLAYED])
def test_a_call_that_did_not_run_costs_nothing(outcome: Outcome) -> None:
    """Law 22: whether it had begun or not, the budget is as it was, however often."""
    check = checked(total=1, per_tool=1, per_group={"discovery": 1}, warn_at=None)
    for n in range(3):
        call = pending(call_id=f"r{n}")
        if n:
            check.began(call, SPEC)
        check.observe(finished(call, outcome=outcome))

    assert actions(use(check, 2)) == ".b"


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.UNKNOWN])
def test_a_call_that_failed_was_made(outcome: Outcome) -> None:
    """Whatever was started counts, once."""
    assert actions(use(checked(total=2, warn_at=None), 3, outcome=outcome)) == "..b"


def test_a_new_prompt_gives_back_the_turn_and_a_new_run_the_run() -> None:
    """The total stays used."""
    check = checked(per_turn=1, per_run=2, total=3, warn_at=None)
    turn = use(check, 2)
    check.reset_turn()
    run = use(check, 2)
    check.reset_turn()
    run += use(check, 1)
    check.reset_run()
    total = use(check, 1)
    check.reset_run()
    total += use(check, 1)

    assert (actions(turn), actions(run), actions(total)) == (".b", ".bb", ".b")
    assert [code(turn[1]), code(run[2]), code(total[1])] == ["budget.turn", "budget.run", "budget.total"]


def test_a_call_under_way_stays_with_the_turn_that_made_it() -> None:
    """Its end, or its return, moves nothing in the turn after."""
    check = checked(per_turn=1, result_tokens=10, warn_at=None)
    old = pending(call_id="old")
    check.began(old, SPEC)
    check.reset_turn()
    check.observe(finished(old, result_tokens=100))

    assert actions(use(check, 2)) == ".b"


@pytest.mark.parametrize(("window", "after"), [("turn", "."), ("run", "b"), ("total", "b")])
def test_the_window_says_when_tools_begin_anew(window: str, after: str) -> None:
    """A tool's calls are given back with the window that they are counted in."""
    check = checked(per_tool=1, window=window, warn_at=None)
    use(check, 1)
    check.reset_turn()

    assert after == actions(use(check, 1))


def test_tools_of_one_last_part_share_its_limit() -> None:
    """`search` counts `web.search` and `docs.search` together; other tools are free."""
    check = checked(per_tool={"search": 2}, warn_at=None)
    searches = use(check, 1, "web.search") + use(check, 1, "docs.search") + use(check, 1, "web.search")

    assert (actions(searches), actions(use(check, 3, "read"))) == ("..b", "...")


def test_tokens_are_used_by_results_and_unknown_ones_are_not_guessed() -> None:
    """The limit is met after the call that reaches it."""
    check = checked(result_tokens=100)

    assert actions(use(check, 2)) == ".."
    assert actions(use(check, 2, result_tokens=40)) == ".."
    findings = use(check, 2, result_tokens=20)
    assert (actions(findings), code(findings[1])) == ("wb", "budget.tokens")


def test_money_is_exact_and_the_evidence_says_how_much_of_it_is_known() -> None:
    """Ten times ten cents are a dollar; a call of unknown cost is unknown, not free."""
    check = checked(cost_usd=Decimal(1), warn_at=None)
    use(check, 2)
    findings = use(check, 11, cost_usd=Decimal("0.1"))

    assert actions(findings) == "." * 10 + "b"
    assert (findings[10] and findings[10].evidence) == {
        "limit": "1",
        "used": "1.0",
        "priced_calls": 10,
        "ended_calls": 12,
    }


def test_time_runs_from_the_first_call_and_a_clock_that_jumps_back_gives_none_back() -> None:
    """Waiting for the first call costs nothing."""
    clock = Clock()
    check = checked(clock, wall_s=10)
    clock.move(100)
    first = use(check, 1)
    clock.move(9)
    near = use(check, 1)
    clock.move(-5)
    jumped = use(check, 1)
    clock.move(6)
    over = use(check, 1)

    assert (actions(first), actions(near), actions(jumped), actions(over)) == (".", "w", "w", "b")
    assert code(over[0]) == "budget.wall"


def test_spending_is_held_to_a_rate() -> None:
    """A minute later the same sum may be spent again, not earlier."""
    clock = Clock()
    check = checked(clock, spend_per_minute_usd=Decimal(1), warn_at=None)
    findings = use(check, 3, cost_usd=Decimal("0.5"))
    clock.move(59.9)
    findings += use(check, 1, cost_usd=Decimal("0.5"))
    clock.move(1.1)
    findings += use(check, 1, cost_usd=Decimal("0.5"))

    assert actions(findings) == "..bb."
    assert code(findings[2]) == "budget.velocity"


def test_the_warning_names_the_limit_that_is_nearest() -> None:
    """Of several near limits, the one with the smallest share left."""
    check = checked(total=10, per_tool=9, per_turn=100)
    findings = use(check, 9)

    assert code(findings[8]) == "budget.tool"
    assert findings[8] is not None
    assert '0 of 9 calls of "read" are left after this one' in findings[8].message


def test_a_log_without_the_beginning_of_a_call_is_counted_all_the_same() -> None:
    """A record of a call that never began here is charged at its end."""
    check = checked(total=1, warn_at=None)
    check.observe(finished(pending(call_id="x")))

    assert actions(use(check, 1)) == "b"


def test_restored_it_goes_on_with_calls_under_way() -> None:
    """Another worker has the same counts, and takes the end of a call that began here."""
    limits = Limits(total=9, per_turn=9, per_tool=9, per_group={"discovery": 9}, cost_usd=Decimal(9))
    check = BudgetCheck(limits, clock=Clock())
    use(check, 3, cost_usd=Decimal("0.1"), result_tokens=7)
    under_way = pending(call_id="open")
    check.began(under_way, SPEC)
    check.reset_turn()
    other = BudgetCheck.restore(json.loads(json.dumps(check.snapshot())), limits, clock=Clock())
    same = check.snapshot() == other.snapshot()
    for each in (check, other):
        each.observe(finished(under_way, cost_usd=Decimal(1)))

    assert same
    # The turn that the open call was charged to is over, and is not saved.
    assert check.snapshot() == other.snapshot()


@pytest.mark.parametrize("path", [("windows",), ("open",), ("spent",), ("windows", "turn", "cost")])
def test_a_broken_snapshot_is_refused(path: tuple[str, ...]) -> None:
    """With an error of the documented kinds."""
    snapshot: Any = checked(total=1).snapshot()
    inner = snapshot
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "broken"

    with pytest.raises((KeyError, TypeError, ValueError)):
        BudgetCheck.restore(snapshot)


def test_tools_beyond_the_bound_share_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a model makes up cost no memory without end."""
    monkeypatch.setattr("guards.checks.budget._TOOLS", 2)
    check = checked(per_tool=1, warn_at=None)
    for name in ("a", "b", "c", "d"):
        use(check, 1, name)

    assert {"a", "b", "*"} == set(check.snapshot()["windows"]["turn"]["tools"])
    assert actions(use(check, 1, "e")) == "b"


STEPS = st.lists(
    st.tuples(st.sampled_from(["examine", "begin", "ok", "refused", "turn"]), st.integers(0, 3)), max_size=40
)


@given(STEPS)
def test_looking_changes_nothing_and_no_more_than_the_limit_ever_runs(steps: list[tuple[str, int]]) -> None:
    """Law 22, in any order of looks, beginnings, ends and prompts."""
    check = checked(per_turn=2, total=5, warn_at=None)
    turn, total, open_calls = 0, 0, dict[str, bool]()
    for i, (step, n) in enumerate(steps):
        call = pending(call_id=f"{i}")
        before = check.snapshot()
        finding = check.examine(call, SPEC)
        assert before == check.snapshot()
        assert (finding is None) == (turn < 2 and total < 5)
        if step == "begin" and finding is None:
            check.began(call, SPEC)
            open_calls[call.call_id] = True
            turn, total = turn + 1, total + 1
        elif step in ("ok", "refused") and open_calls:
            call_id = list(open_calls)[n % len(open_calls)]
            this_turn = open_calls.pop(call_id)
            check.observe(finished(pending(call_id=call_id), outcome=Outcome(step)))
            if step == "refused":
                turn, total = turn - this_turn, total - 1
        elif step == "turn":
            check.reset_turn()
            turn, open_calls = 0, dict.fromkeys(open_calls, False)


def test_what_the_model_reads() -> None:
    """Each sentence says which limit, how much of it, and what to do now."""
    said: list[str] = []
    for limits in (
        {"total": 2},
        {"per_run": 2},
        {"per_turn": 2},
        {"per_tool": 2},
        {"per_group": {"discovery": 2}},
        {"wall_s": 10},
        {"result_tokens": 100},
        {"cost_usd": Decimal("0.10")},
        {"spend_per_minute_usd": Decimal("0.10")},
    ):
        clock = Clock()
        check = checked(clock, **limits)
        for _ in range(3):
            findings = use(check, 1, result_tokens=45, cost_usd=Decimal("0.045"))
            said += [finding.message for finding in findings if finding]
            clock.move(4.5)
        clock.move(2)
        said += [finding.message for finding in use(check, 1) if finding]

    assert wrapped(dict.fromkeys(said)) == snapshot("""\
0 of 2 tool calls are left after this one. Keep to what the answer needs.

Not run: all 2 tool calls of this conversation are used. Answer with what you have, and say what is
missing.

Not run: all 2 tool calls of this run are used. Answer with what you have, and say what is missing.

Not run: all 2 tool calls for this request are used. Answer with what you have, and say what is
missing.

0 of 2 calls of "read" are left after this one. Keep to what the answer needs.

Not run: all 2 calls of "read" are used. Use another tool, or answer with what you have.

0 of 2 calls of "discovery" tools are left after this one. Keep to what the answer needs.

Not run: all 2 calls of "discovery" tools are used. Go on with what they brought, or answer with
what you have.

1 of 10 s for tool calls are left. Finish what the answer needs.

Not run: the 10 s for tool calls are over. Answer with what you have, and say what is missing.

10 of 100 tokens for tool results are left. Ask for small parts, and only what the answer needs.

Not run: tool results took 135 of 100 tokens. Answer with the results that you have.

0.01 of 0.1 USD for tool calls are left. Keep to what the answer needs.

Not run: tool calls cost 0.135 of 0.1 USD. Answer with what you have, and say what is missing.

0.01 of 0.1 USD for tool calls in a minute are left. Make fewer paid calls at a time.

Not run: tool calls cost 0.135 USD within a minute, the limit is 0.1. Go on without paid calls, or
wait a minute before the next.\
""")
