import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from guards import ToolGuard
from guards.calls import CallRecord, Outcome, PendingCall
from guards.checks.grounding import GroundingCheck, GroundingPolicy
from guards.checks.sources import Kind
from guards.checks.ungrounded import UngroundedGuard
from guards.references import resolve
from guards.tools import ToolSpec
from guards.verdicts import Action, Check
from guards.wording import Wording

AT = datetime(2026, 11, 21, tzinfo=UTC)
WRITE = ToolSpec("refund", read_only=False)
READ = ToolSpec("find", read_only=True)


def pending(arguments, name="refund", sources=None):
    return PendingCall("c1", name, arguments, arguments, "f", AT, sources=sources or {})


def finished(arguments, result=None, *, outcome=Outcome.OK, error=None, binding=None, read_only=False):
    return CallRecord(
        "c1",
        "refund",
        arguments,
        outcome,
        "f",
        AT,
        result=result,
        error=error,
        binding=binding,
        read_only=read_only,
    )


def flagged(arguments, *, spec=WRITE, said="", policy=None, **bindings):
    check = GroundingCheck(policy)
    check.user_said(said)
    for binding_id, value in bindings.items():
        check.bound(binding_id, value)
    finding = check.examine(pending(arguments), spec)
    return [] if finding is None else finding.evidence["paths"]


@pytest.mark.parametrize(
    ("arguments", "said", "expected"),
    [
        ({"x": {"y": 3.3}}, "", ["$.x.y"]),
        ({"xs": [1.5, 2.5]}, "take 2.5", ["$.xs[0]"]),
        ({"order_id": "W-9"}, "", ["$.order_id"]),
        ({"order_id": "W-9"}, "cancel w-9", []),
        ({"item_ids": ["A1", "B2"]}, "item A1", ["$.item_ids[1]"]),
        ({"zip": "02139"}, "", ["$.zip"]),
        ({"zip": "02139"}, "in 02139", []),
        ({"reservation": "H8Q05L"}, "", ["$.reservation"]),
        ({"email": "ann@example.com"}, "", ["$.email"]),
        ({"amount": 1250}, "1,250 dollars", []),
        ({"amount": "1250"}, "1,250 dollars", []),
        ({"amount": "77"}, "", ["$.amount"]),
        ({"amount": 77}, "", ["$.amount"]),
        ({"amount": 3.14}, "3.14159", []),
        ({"a": 3, "b": 4}, "3-4 items", []),
        ({"a": -4}, "3-4 items", ["$.a"]),
        ({"share": 0.5}, "50%", []),
        ({"share": "50%"}, "50%", []),
        ({"price": "$1,250"}, "1250", []),
        ({"price": "$1,250"}, "", ["$.price"]),
        ({"date": "2024-05-26"}, "on May 26", []),
        ({"date": "2024-05-26"}, "on May 27", ["$.date"]),
        ({"note": "costs $USD", "b": 77}, "", ["$.b"]),
        ({"a": "$USD", "b": 77}, "", ["$.b"]),
        ({"a": "$v9", "b": 77}, "", ["$.b"]),
        ({"name": '"Ann Lee"'}, "", ["$.name"]),
        ({"name": '"Ann Lee"'}, "for ann lee", []),
        ({"url": "https://example.com/a"}, "", ["$.url"]),
        ({"url": "https://www.example.com/a"}, "look at example.com", []),
        ({"span": "100-200"}, "from 100 to 200", []),
        ({"span": "100-200"}, "from 100 to 300", ["$.span"]),
        ({"order_id": "100-200"}, "from 100 to 200", ["$.order_id"]),
        ({"id": 1}, "", ["$.id"]),
    ],
)
def test_a_value_from_nowhere_is_flagged_wherever_it_stands(arguments, said, expected):
    """Numbers, identifiers, dates and quoted text at any depth need a source, in any spelling."""
    assert expected == flagged(arguments, said=said)


@pytest.mark.parametrize(
    "arguments",
    [
        {"flag": True, "nothing": None, "empty": ""},
        {"limit": 50, "offset": 100, "page": 7, "maxResults": 500, "timeout_s": 30.5},
        {"quantity": 2, "step_back": -1, "zero": 0},
        {"query": "flights to Rome 2024", "summary": "The user W-9 wants 5 things"},
        {"city": "Rome", "cabin": "basic_economy", "origin": "ORD"},
        {"path": "src/new_file_123.py", "target": "report-2024.md"},
        {"at": "10:30", "version": "v1.2.3", "size": "1024x768", "algorithm": "sha256", "width": "100px"},
        {"idempotency_key": "a81bc81b-dead-4e5d-abff-90865d1e13b1"},
        {"command": "sed -n 1,200p file.py"},
        {"text": "x" * 10_000, "lines": "a 123\nb 456"},
        {},
    ],
)
def test_what_a_model_may_choose_is_not_flagged(arguments):
    """Prose, paths, switches, small numbers, limits and fresh keys need no source."""
    assert flagged(arguments) == []


def test_a_read_only_tool_is_asked_for_identifiers_alone():
    """A search may try any number or date, but an identifier comes from somewhere."""
    assert flagged({"order_id": "W-9", "price": 77, "date": "2024-05-26"}, spec=READ) == ["$.order_id"]


def test_the_spec_says_what_is_grounded_and_what_is_exempt():
    """`grounded` replaces the choice of parameters, `exempt` takes from it, and so does the policy."""
    arguments = {"order_id": "W-9", "city": "Rome", "amount": 77}

    assert flagged(arguments, spec=ToolSpec("t", grounded=frozenset({"city"}))) == ["$.city"]
    assert flagged(arguments, spec=ToolSpec("t", exempt=frozenset({"order_id"}))) == ["$.amount"]
    assert flagged(arguments, policy=GroundingPolicy(exempt=frozenset({"$.amount"}))) == ["$.order_id"]


def test_the_schema_is_a_source():
    """Defaults, choices and constants of the schema are known to everybody, at any depth."""
    parameters = {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "default": 77},
            "plan": {"enum": ["P-100", "P-200"]},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
            "site": {"anyOf": [{"$ref": "#/$defs/site"}, {"type": "null"}]},
            "name": {"type": "string", "format": "hostname"},
        },
        "$defs": {"site": {"const": 4711}, "row": {"properties": {"code": {"enum": ["R-111"]}}}},
    }
    spec = ToolSpec("t", parameters=parameters)
    known = {"amount": 77, "plan": "P-200", "rows": [{"code": "R-111"}], "site": 4711}
    unknown = {"amount": 78, "plan": "P-300", "rows": [{"code": "R-112"}], "site": 4712, "name": "host"}

    assert flagged(known, spec=spec) == []
    assert flagged(unknown, spec=spec) == ["$.amount", "$.plan", "$.rows[0].code", "$.site", "$.name"]


def test_a_reference_is_a_source():
    """What a reference put in is grounded, and everything below it."""
    check = GroundingCheck()
    call = pending({"row": {"id": "W-9", "n": 77}, "id": "W-8"}, sources={"$.row": "$v1", "$.id": "$v2.id"})

    assert check.examine(call, WRITE) is None
    assert [(leaf.path, leaf.provenance.where) for leaf in check.provenance(call, WRITE)] == [
        ("$.row.id", "$v1"),
        ("$.row.n", "$v1"),
        ("$.id", "$v2.id"),
    ]


def test_provenance_is_told_for_every_leaf():
    """Each leaf has its source, whether or not one is asked for."""
    check = GroundingCheck()
    check.system_said("fee 30")
    check.user_said("order W-9 for 400")
    check.bound("v1", {"total": 12.5})
    call = pending({"id": "W-9", "fee": 30, "total": 12.5, "sum": 430, "note": "hi", "ok": True})

    assert [leaf.provenance.kind.value for leaf in check.provenance(call, WRITE)] == [
        "user",
        "system",
        "binding",
        "arithmetic",
        "nowhere",
        "nowhere",
    ]
    assert not any(leaf.ungrounded for leaf in check.provenance(call, WRITE))


def test_what_is_said_later_counts():
    """The index is live: a value that the user states after a warning is grounded."""
    check = GroundingCheck()
    call = pending({"order_id": "W-9"})
    assert check.examine(call, WRITE) is not None

    check.user_said("yes, W-9")

    assert check.examine(call, WRITE) is None


def test_results_errors_and_what_a_write_made_are_sources():
    """A call's result and error are sources; the arguments of a successful write are real from then on."""
    check = GroundingCheck()
    check.observe(finished({"user_id": "new-77"}, {"id": "R-1"}, binding="v1"))
    check.observe(finished({"user_id": "bad-88"}, outcome=Outcome.ERROR, error="try code E-404"))
    check.observe(finished({"user_id": "no-99"}, outcome=Outcome.REFUSED))

    found = {value: check.sources.find(value) for value in ("new-77", "R-1", "bad-88", "E-404", "no-99")}

    assert [p.kind for p in found.values()] == [
        Kind.TOOL,
        Kind.BINDING,
        Kind.NOWHERE,
        Kind.TOOL,
        Kind.NOWHERE,
    ]
    assert found["R-1"].where == "$v1.id"


def test_the_default_warns_and_off_is_silent():
    """The default never blocks, however often; off sees nothing."""
    check = GroundingCheck()
    call = pending({"order_id": "W-9"})
    for _ in range(5):
        check.observe(finished({"order_id": "W-9"}, outcome=Outcome.ERROR, error="no"))

    finding = check.examine(call, WRITE)

    assert finding is not None
    assert (
        finding.check, finding.action, finding.reason_code,
    ) == (Check.GROUNDING, Action.WARN, "grounding.ungrounded")  # fmt: skip
    assert GroundingCheck(GroundingPolicy("off")).examine(call, WRITE) is None


@pytest.mark.parametrize("grace", [0, 1, 3])
def test_block_begins_after_the_grace_calls_of_a_prompt(grace):
    """`grace` flagged calls run in a prompt, then they are refused; a new prompt renews it."""
    check = GroundingCheck(GroundingPolicy("block", grace=grace))
    arguments = {"order_id": "W-9"}

    def round_of_actions():
        actions = []
        for _ in range(grace + 2):
            finding = check.examine(pending(arguments), WRITE)
            actions.append(finding.action)
            if finding.action is Action.WARN:
                check.began(pending(arguments), WRITE)
        return actions

    expected = [Action.WARN] * grace + [Action.BLOCK] * 2
    assert expected == round_of_actions()
    check.reset_for_new_prompt()
    assert expected == round_of_actions()


def test_parallel_calls_do_not_share_one_grace():
    """Grace is used up when a call begins, not when it ends."""
    guard = ToolGuard([WRITE], grounding=GroundingPolicy("block", grace=1))

    actions = [guard.before_call("refund", {"order_id": f"Z-{i}"}, f"c{i}").action for i in range(3)]

    assert actions == [Action.WARN, Action.BLOCK, Action.BLOCK]


def test_a_copied_value_whose_binding_was_cleared_runs_as_written():
    """What is no longer held is no repair, and no error."""
    guard = ToolGuard([WRITE], grounding=GroundingPolicy(repair=True))
    guard.bind_value("find", {}, {"order_id": "O-1001"})
    guard.reset_for_new_prompt("go", keep_bindings=False)

    verdict = guard.before_call("refund", {"order_id": "O-1001"})

    assert (verdict.action, verdict.arguments) == (Action.ALLOW, {"order_id": "O-1001"})
    assert verdict.findings == ()


def test_a_repair_too_large_to_put_in_leaves_the_call_as_written(monkeypatch):
    """The guard's own proposal never fails the call."""
    guard = ToolGuard([WRITE], grounding=GroundingPolicy(repair=True))
    guard.bind_value("find", {}, {"order_id": "O-1001"})
    monkeypatch.setattr(resolve, "__kwdefaults__", {"limit_bytes": 1})

    assert guard.before_call("refund", {"order_id": "O-1001"}).arguments == {"order_id": "O-1001"}


def test_a_binding_that_was_cleared_is_not_offered():
    """`Did you mean` names only what would resolve."""
    guard = ToolGuard([WRITE])
    guard.bind_value("find", {}, {"order_id": "W1588712"})
    offered = guard.check_ungrounded_call("refund", {"order_id": "W1588721"}).message
    guard.reset_for_new_prompt("go", keep_bindings=False)

    assert "$v1.order_id" in offered
    assert "$v1" not in guard.check_ungrounded_call("refund", {"order_id": "W1588721"}).message


def test_a_near_value_is_offered():
    """A slip in an identifier is answered with the reference that was meant."""
    check = GroundingCheck(GroundingPolicy("block", grace=0))
    check.bound("v2", {"order_id": "W1588712", "total": 12.5})

    finding = check.examine(pending({"order_id": "W1588721"}), WRITE)

    assert finding.reason_code == "grounding.similar"
    assert finding.evidence["likely"] == {"$.order_id": "$v2.order_id"}
    assert finding.message == snapshot(
        'Not run: refund was called with $.order_id = "W1588721", which nobody gave: not the '
        "user, not the instructions, no tool. Did you mean $v2.order_id? Call again with the "
        "reference, or ask the user."
    )


def test_a_field_of_the_same_name_is_offered():
    """Where no value is near, the field that bears the parameter's name is offered."""
    check = GroundingCheck()
    check.bound("v2", {"order_id": "W1588712"})

    finding = check.examine(pending({"order_id": "QQ"}), WRITE)

    assert finding.reason_code == "grounding.ungrounded"
    assert finding.message == snapshot(
        'refund was called with $.order_id = "QQ", which nobody gave: not the user, not the '
        "instructions, no tool. Did you mean $v2.order_id? Check the result, and pass values by "
        "reference."
    )


def test_the_sentences_say_what_happened_and_what_to_do():
    """Each finding tells the model what came from nowhere, and what to do now."""
    call = pending({"order_id": "W-9", "amount": 77})
    warned = GroundingCheck().examine(call, WRITE)
    blocked = GroundingCheck(GroundingPolicy("block", grace=0)).examine(call, WRITE)

    assert warned.message == snapshot(
        'refund was called with $.order_id = "W-9", $.amount = 77, which nobody gave: not the '
        "user, not the instructions, no tool. Check the result; look such values up, or ask the "
        "user, before you use them."
    )
    assert blocked.message == snapshot(
        'Not run: refund was called with $.order_id = "W-9", $.amount = 77, which nobody gave: '
        "not the user, not the instructions, no tool. Look the value up with a tool, or ask the "
        "user for it; then call again."
    )


def test_repair_proposes_the_reference_of_a_copied_value():
    """A literal equal to exactly one bound value is proposed as that reference; equal to two it is not."""
    check = GroundingCheck(GroundingPolicy(repair=True))
    check.bound("v1", {"order_id": "W-9", "twice": [88, 88]})
    finding = check.examine(pending({"row": {"order_id": "w-9"}, "n": 88, "note": "hi"}), WRITE)

    assert finding.repair == {"$.row.order_id": "$v1.order_id"}
    assert (finding.action, finding.reason_code) == (Action.ALLOW, "grounding.copied")
    assert finding.message == snapshot(
        "refund: write $.row.order_id = $v1.order_id instead of copying the value."
    )


def test_evidence_holds_no_argument():
    """Evidence names paths and counts, never what an argument said."""
    finding = GroundingCheck().examine(pending({"token_id": "SECRET-1234"}), WRITE)

    assert "SECRET" not in json.dumps(dict(finding.evidence))


def test_other_words_can_be_given():
    """A host's wording replaces ours."""
    check = GroundingCheck(wording=Wording(grounding_warned="Woher kommt {leaves}?"))

    assert check.examine(pending({"id": "W-9"}), WRITE).message == 'Woher kommt $.id = "W-9"?'


def test_a_snapshot_keeps_grace_and_sources():
    """A check that went through JSON says what it would have said."""
    check = GroundingCheck(GroundingPolicy("block", grace=1))
    check.user_said("order W-9")
    check.began(pending({"order_id": "Z-1"}), WRITE)

    again = GroundingCheck.restore(json.loads(json.dumps(check.snapshot())), check.policy)

    for arguments in ({"order_id": "W-9"}, {"order_id": "Z-2"}):
        assert check.examine(pending(arguments), WRITE) == again.examine(pending(arguments), WRITE)
    assert Action.BLOCK is again.examine(pending({"order_id": "Z-2"}), WRITE).action


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "maybe"}, "mode='maybe': use 'off', 'warn' or 'block'"),
        ({"grace": -1}, "grace=-1 calls: use 0 or more"),
        ({"tolerance": 1.0}, "tolerance=1.0: use a share from 0, and below 1"),
        ({"small": -1}, "small=-1: use 0 or more"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(settings, message):
    """A mistake in a policy is told at once, with the limit."""
    with pytest.raises(ValueError, match=message):
        GroundingPolicy(**settings)


def test_tolerance_is_the_hosts_choice():
    """A wider tolerance accepts what a narrow one flags."""
    assert flagged({"x": 101.5}, said="100.5") == ["$.x"]
    assert flagged({"x": 101.5}, said="100.5", policy=GroundingPolicy(tolerance=0.01)) == []


def test_the_guard_alone_warns_then_blocks():
    """`UngroundedGuard` needs no session: it takes texts and bindings, and counts its own grace."""
    guard = UngroundedGuard("block", grace=1, exempt=["level"])

    assert guard.check("f", {"order_id": "W-1", "level": 9}, user_text="W-1 please") is None
    assert guard.check("f", '{"x": "$v1", "y": 4.0}', bindings={"v1": 4.0}) is None
    assert Action.WARN is guard.check("f", {"x": 77}).action
    assert Action.BLOCK is guard.check("f", {"x": 77}).action
    assert guard.check("f", {"x": 77}, results=[{"x": 77}]) is None
    guard.reset_for_new_prompt()
    assert Action.WARN is guard.check("f", {"x": 78}, system_text="be brief").action


def test_arguments_of_any_size_are_looked_at_within_bounds():
    """Thousands of leaves and deep nesting neither fail nor take long."""
    deep = value = {}
    for _ in range(150):
        value["a"] = [{}]
        value = value["a"][0]
    value["id"] = "W-9"

    finding = GroundingCheck().examine(pending({"xs": list(range(1_000, 6_000)), "deep": deep}), WRITE)

    assert finding.evidence["count"] <= 1_000
    assert len(flagged({"deep": deep})) == 1


LEAVES = (
    st.text(max_size=30)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
)
OBJECT_KEYS = st.sampled_from(["id", "amount", "n"])
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(OBJECT_KEYS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(max_size=8), NESTED, max_size=4)


@given(ARGUMENTS)
def test_examine_changes_nothing_and_what_was_bound_is_never_flagged(arguments):
    """Looking leaves call and check as they were, and values of a binding are grounded."""
    check = GroundingCheck()
    call = pending(arguments)
    before = copy.deepcopy((arguments, check.snapshot()))
    first = check.examine(call, WRITE)

    assert first == check.examine(call, WRITE)
    assert before == (arguments, check.snapshot())
    check.bound("v1", arguments)
    assert check.examine(call, WRITE) is None
