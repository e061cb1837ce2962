"""Loose ends of a transcript: what is made up, and that nothing of the file is touched."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from summarizer.formats import canonical_json, steps_of
from summarizer.messages import Message
from summarizer.units import pair_calls

ASK = {"role": "user", "content": "go"}


def calling(*ids: str) -> dict[str, Any]:
    calls = [
        {"id": one, "type": "function", "function": {"name": f"tool_{one}", "arguments": "{}"}} for one in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": f"result of {call_id}"}


def test_a_whole_transcript_stays_as_it_is() -> None:
    """Where calls and results match, nothing is made up."""
    messages = [ASK, calling("a", "b"), result("b"), result("a"), ASK]

    assert [(step.message, step.made_up) for step in steps_of(messages)] == [(one, None) for one in messages]


def test_an_orphan_result_gets_a_call() -> None:
    """A result that answers nothing stands behind a made-up call with its id."""
    marks = [step.made_up for step in steps_of([ASK, result("a")])]

    assert marks == [None, "call", None]


def test_an_unanswered_call_gets_a_result_behind_its_round() -> None:
    """The made-up result stands after the round's own results, before what comes next."""
    steps = steps_of([calling("a", "b"), result("b"), ASK])

    assert [step.made_up for step in steps] == [None, None, "result", None]
    assert (steps[2].message["tool_call_id"], steps[2].tool_name) == ("a", "tool_a")


def test_a_call_that_is_open_at_the_end_stays_open() -> None:
    """Its result may still come."""
    assert [step.made_up for step in steps_of([ASK, calling("a")])] == [None, None]


def test_a_late_result_is_waited_for() -> None:
    """A call whose result comes after a newer user message is answered, so nothing is made up."""
    steps = steps_of([calling("a"), ASK, result("a")])

    assert [step.made_up for step in steps] == [None, None, None]


MESSAGES = st.lists(
    st.one_of(
        st.just(ASK),
        st.just({"role": "assistant", "content": "fine"}),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(lambda ids: calling(*ids)),
        st.sampled_from("abc").map(result),
    ),
    max_size=12,
)


@given(MESSAGES)
def test_nothing_is_lost_and_no_result_stands_alone(messages: list[dict[str, Any]]) -> None:
    """For any order of calls and results: all messages are there, in order, and every result answers."""
    steps = steps_of(messages)
    pairing = pair_calls([Message.from_wire(step.message) for step in steps])

    assert [step.message for step in steps if step.made_up is None] == messages
    assert pairing.orphans == ()


def test_canonical_json_ignores_what_is_no_difference() -> None:
    """Key order, missing values and parsed arguments make no difference; values do."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    loose = {"id": "a", "function": {"arguments": {"x": 1}, "name": "f"}}

    assert canonical_json({"content": None, "role": "assistant", "tool_calls": [call]}) == canonical_json(
        {"tool_calls": [loose], "role": "assistant", "refusal": None}
    )
    assert canonical_json({"role": "user", "content": "a", "tool_calls": []}) == canonical_json(
        {"content": "a", "role": "user"}
    )
    assert canonical_json({"role": "user", "content": "a"}) != canonical_json(
        {"role": "user", "content": "a "}
    )
