"""Which items of a Responses history belong together, and what they weigh."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.integrations.openai_agents.items import (
    awaits_answer,
    call_key,
    is_summary,
    item_tokens,
    output_key,
    pair,
    parts_of,
    text_of,
    units,
    without_orphans,
)
from tests.integrations.openai_histories import (
    PAIRS,
    PNG,
    Item,
    call,
    histories,
    output,
    reasoning,
    said,
    user,
)

WORDS = "w " * 20_000


def quarter(text: str) -> int:
    return max(1, len(text) // 4)


def spans(items: list[Item]) -> list[tuple[int, int]]:
    return [(unit.start, unit.stop) for unit in units(items)]


@pytest.mark.parametrize("kind", PAIRS)
def test_a_call_and_its_output_are_one_unit(kind: str) -> None:
    """Each kind of call that the SDK knows is kept with its output and what lies between."""
    items = [user("q"), call("k", kind), said("wait"), output("k", kind), said("r")]

    assert spans(items) == [(0, 1), (1, 4), (4, 5)]
    assert call_key(items[1]) == output_key(items[3])


def test_a_batch_is_one_unit_with_its_reasoning() -> None:
    """Parallel calls, their outputs in any order, and all the reasoning before them are not parted."""
    items = [
        *(user("q"), reasoning("1"), call("a"), reasoning("2"), call("b")),
        *(output("b"), output("a"), reasoning("3"), said("r"), user("next")),
    ]

    assert spans(items) == [(0, 1), (1, 7), (7, 9), (9, 10)]


def test_an_output_belongs_to_the_newest_open_call_with_its_id() -> None:
    """An id that a model uses again pairs within its own turn."""
    items = [user("1"), call("x"), output("x"), user("2"), call("x"), output("x")]

    assert pair(items).links == ((1, 2), (4, 5))
    assert spans(items) == [(0, 1), (1, 3), (3, 4), (4, 6)]


def test_a_local_shell_output_may_name_the_call_by_its_item_id() -> None:
    """The API pairs a local shell by the call's `id`, the SDK by its `call_id`; both are found."""
    shell = {"type": "local_shell_call", "id": "item", "call_id": "call", "action": {}}

    by_id = pair([shell, {"type": "local_shell_call_output", "id": "item", "output": "o"}])
    by_call = pair([shell, {"type": "local_shell_call_output", "call_id": "call", "output": "o"}])

    assert by_id == by_call
    assert by_id.links == ((0, 1),)
    assert by_id.open == ()


def test_searches_without_an_id_are_paired_in_order() -> None:
    """A hosted tool search has no call id, and its output follows."""
    items = [{"type": "tool_search_call", "arguments": {}}, {"type": "tool_search_output", "tools": []}]

    assert pair(items).links == ((0, 1),)


def test_a_kind_of_tomorrow_is_paired_by_its_names() -> None:
    """A call and output of kinds that nobody knows yet stay together if they share a call id."""
    items = [{"type": "robot_call", "call_id": "r"}, user("q"), {"type": "robot_call_output", "call_id": "r"}]

    assert spans(items) == [(0, 3)]


def test_orphans_are_dropped_with_their_reasoning() -> None:
    """An output of no call goes; so does a call that nothing answered, unless it may still be answered."""
    items = [
        output("x"),
        user("1"),
        reasoning("1"),
        reasoning("2"),
        call("a"),
        user("2"),
        reasoning("3"),
        call("b"),
    ]

    assert without_orphans(items, 5) == [user("1"), user("2"), reasoning("3"), call("b")]
    assert awaits_answer(items)


def test_unknown_kinds_and_approvals_are_never_dropped() -> None:
    """An approval may still be answered, and nobody knows what a kind of tomorrow needs."""
    items = [
        {"type": "robot_call_output", "call_id": "r"},
        {"type": "mcp_approval_request", "id": "m", "name": "n", "arguments": "{}"},
        user("q"),
    ]

    assert without_orphans(items, 2) == items


@pytest.mark.parametrize(
    ("item", "least", "most"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}, 1000, 2000),
        (
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": PNG}},
            1000,
            2000,
        ),
        (
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "f"}},
            1000,
            2000,
        ),
        ({"type": "function_call_output", "output": [{"type": "input_image", "image_url": PNG}]}, 1000, 2000),
        ({"type": "image_generation_call", "id": "i", "result": "A" * 200_000}, 1000, 2000),
        ({"type": "custom_tool_call_output", "call_id": "k", "output": WORDS}, 10_000, 10_100),
        ({"type": "shell_call_output", "call_id": "k", "output": [{"stdout": WORDS}]}, 10_000, 10_100),
        ({"type": "apply_patch_call_output", "call_id": "k", "output": WORDS}, 10_000, 10_100),
        ({"type": "mcp_call", "id": "k", "name": "n", "arguments": "{}", "output": WORDS}, 10_000, 10_100),
        ({"type": "program_output", "call_id": "k", "result": WORDS}, 10_000, 10_100),
        ({"type": "tool_search_output", "tools": [{"name": "n", "description": WORDS}]}, 10_000, 10_100),
        (
            {"type": "code_interpreter_call", "code": "x", "outputs": [{"type": "logs", "logs": WORDS}]},
            10_000,
            10_100,
        ),
        ({"type": "reasoning", "summary": [], "encrypted_content": "E" * 20_000}, 3_700, 3_800),
        ({"type": "compaction", "encrypted_content": "E" * 20_000}, 3_700, 3_800),
        ({"role": "user", "content": [{"type": "input_file", "file_data": "d" * 40_000}]}, 2_000, 15_000),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, 1_000, 4_000),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": WORDS}]},
            10_000,
            10_100,
        ),
        ({"type": "of_tomorrow", "payload": {"nested": [{"text": WORDS}]}}, 10_000, 10_100),
    ],
)
def test_everything_is_counted(item: Item, least: int, most: int) -> None:
    """Images and files weigh by formulas, sealed text by its length, everything else by its text."""
    assert least <= item_tokens(item, quarter) <= most


def test_plain_items_weigh_what_they_did() -> None:
    """Text by the counter, and 4 for the frame: name and arguments, prose, an output's text."""
    assert item_tokens(user("x" * 40), quarter) == 14
    assert item_tokens(said("x" * 40), quarter) == 14
    assert item_tokens(call("k", arguments="x" * 36), quarter) == 14
    assert item_tokens(output("k", text="x" * 40), quarter) == 14
    assert item_tokens(user(""), quarter) == 5


def test_text_is_told_apart_from_what_the_model_does_not_read() -> None:
    """Ids, states and log probabilities are no text of an item."""
    item = said("hello")
    item["content"][0]["logprobs"] = [{"token": "hello", "logprob": -1.0}]

    assert text_of(item) == "hello"


def test_notes_and_compaction_items_are_summaries() -> None:
    """A provider's compaction is a summary, as is a user's message that holds notes of ours."""
    assert is_summary({"type": "compaction", "encrypted_content": "E"})
    assert is_summary(
        user("[Notes on the earlier part of this conversation, items 1-3, a record made from it.]")
    )
    assert not is_summary(user("[Notes]"))


HOSTILE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("\ud800"), st.binary()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "role",
                    "content",
                    "call_id",
                    "output",
                    "text",
                    "image_url",
                    "file_data",
                    "caller",
                    "id",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["function_call", "function_call_output", "reasoning", "program", "message", "computer_call"]
)


@given(
    st.lists(
        st.one_of(HOSTILE, st.fixed_dictionaries({"type": KINDS}, optional={"call_id": HOSTILE})), max_size=6
    )
)
def test_nothing_raises_on_hostile_items(items: list[Any]) -> None:
    """Whatever an item holds, it has units that cover it, a weight, and parts."""
    covered = [i for unit in units(items) for i in range(unit.start, unit.stop)]
    without_orphans(items, 0)

    assert covered == list(range(len(items)))
    assert all(item_tokens(item, quarter) >= 5 for item in items)
    assert all(isinstance(text, str) for item in items for text in parts_of(item).texts)


@given(histories())
def test_units_hold_pairs_together_and_are_no_larger_than_need_be(items: list[Item]) -> None:
    """No answer lies in another unit than its call, and nothing of a sound history is an orphan."""
    unit_of = {i: n for n, unit in enumerate(units(items)) for i in range(unit.start, unit.stop)}
    pairing = pair(items)

    assert all(unit_of[a] == unit_of[b] for a, b in pairing.links)
    assert pairing.orphans == ()
    assert without_orphans(items, len(items) - 2) == items


@given(st.text(max_size=200), st.integers(0, 4000))
def test_sealed_text_weighs_by_its_length_alone(text: str, length: int) -> None:
    """Three sixteenths of a token a character, whatever the counter says."""
    item = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}],
        "encrypted_content": "E" * length,
    }

    assert item_tokens(item, len) == max(1, len(text) + math.ceil(length * 3 / 16)) + 4


def test_items_may_be_pydantic_objects() -> None:
    """An object of a model library is read as its fields."""
    pydantic = pytest.importorskip("pydantic")
    made = pydantic.create_model("Call", type=(str, "function_call"), call_id=(str, "k"), name=(str, "n"))()

    assert call_key(made) == ("function_call_output", "k")
    assert json.loads(json.dumps(text_of(made))) == "n"
