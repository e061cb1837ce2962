"""The conversation managers in a real Strands agent: what stays, what it weighs, and when."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from tests.integrations.runtimes import needs, version_of

pytestmark = [needs("strands-agents"), pytest.mark.filterwarnings("ignore:context_window_limit is not set")]

if version_of("strands-agents") is not None:
    from strands.types.exceptions import ContextWindowOverflowException

    from summarizer.integrations.strands import Estimator, Reduced, SlidingWindowManager, SummarizingManager
    from summarizer.integrations.strands.blocks import mark_of
    from summarizer.integrations.strands.shrinking import cuts_of
    from tests.integrations.strands_agents import (
        add,
        agent_of,
        assert_valid,
        assistant,
        kinds,
        page,
        result,
        used,
        user,
    )


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(100_000)


def loop_of(calls: int, text: str = "r") -> list[dict[str, Any]]:
    messages = [user("THE TASK")]
    for i in range(calls):
        messages += [used(f"t{i}", given={"a": i, "b": 0}), result(f"t{i}", text)]
    return messages


def count(text: str) -> int:
    return max(1, len(text) // 4)


# Estimates


@pytest.mark.parametrize(
    ("block", "least", "most"),
    [
        ({"text": "one two three"}, 3, 4),
        ({"image": {"format": "png", "source": {"bytes": png(1000, 1000)}}}, 765, 765),
        ({"image": {"format": "png", "source": {"location": {"type": "s3", "uri": "s3://b/k"}}}}, 85, 2000),
        (
            {"document": {"format": "pdf", "name": "d", "source": {"bytes": b"%PDF" + bytes(80_000)}}},
            5000,
            50_000,
        ),
        ({"document": {"format": "txt", "name": "d", "source": {"bytes": b"word " * 1000}}}, 900, 1100),
        ({"document": {"format": "md", "name": "d", "source": {"text": "word " * 1000}}}, 900, 1100),
        ({"video": {"format": "mp4", "source": {"bytes": bytes(312_500)}}}, 3000, 3000),
        (
            {"video": {"format": "mp4", "source": {"location": {"type": "s3", "uri": "s3://b/k"}}}},
            18_000,
            18_000,
        ),
        ({"reasoningContent": {"reasoningText": {"text": "word " * 100, "signature": "x" * 999}}}, 90, 110),
        ({"reasoningContent": {"redactedContent": bytes(400)}}, 100, 100),
        ({"guardContent": {"text": {"text": "word " * 100, "qualifiers": ["query"]}}}, 90, 110),
        ({"toolUse": {"toolUseId": "t", "name": "add", "input": {"a": "word " * 100}}}, 100, 130),
        ({"citationsContent": {"content": [{"text": "word " * 100}], "citations": []}}, 100, 140),
        ({"hologram": {"rays": "word " * 100, "data": bytes(4000)}}, 1100, 1150),
        ({"cachePoint": {"type": "default"}}, 0, 0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_kind_of_block_is_counted(block: dict[str, Any], least: int, most: int) -> None:
    """Images, documents, video and unknown kinds are never nothing; what is media counts as media."""
    assert least <= Estimator(model="gpt-4o").block(block) <= most


def test_media_inside_a_tool_result_is_counted_too() -> None:
    """A picture that a tool gave costs what a picture costs."""
    picture = {"image": {"format": "png", "source": {"bytes": png(1000, 1000)}}}

    assert Estimator(model="gpt-4o").message(result("t", "seen", picture)) >= 765


def test_system_prompt_and_tool_specs_are_in_the_budget() -> None:
    """What goes with every request is part of its weight, as text or as blocks."""
    weigh = Estimator(count)
    bare = weigh.request([user("hi")], None, [])

    assert weigh.request([user("hi")], "w" * 400, []) == bare + 100 + 4
    assert (
        weigh.request([user("hi")], [{"text": "w" * 400}, {"cachePoint": {"type": "default"}}], [])
        == bare + 104
    )
    assert weigh.request([user("hi")], None, [add.tool_spec]) > bare + 10


def test_hostile_text_is_counted() -> None:
    """A tokenizer's control string and lone surrogates are text like any other."""
    assert Estimator().text("<|endoftext|>") > 0
    assert Estimator().block({"text": "\ud800"}) > 0


# Windows


def test_a_loop_of_thirty_calls_keeps_its_task_and_begins_with_it() -> None:
    """Window 20 over one long turn: the user's message stays first, and no pair is parted."""
    agent = agent_of([], messages=loop_of(30), conversation_manager=SlidingWindowManager(20))
    agent.conversation_manager.apply_management(agent)

    assert agent.messages[0] == user("THE TASK")
    assert len(agent.messages) <= 20
    assert agent.messages[1:] == loop_of(30)[-(len(agent.messages) - 1) :]
    assert_valid(agent.messages)


@pytest.mark.parametrize("window", range(2, 100, 7))
@pytest.mark.parametrize("slide", [0.0, 0.25])
def test_every_window_is_contiguous_and_begins_with_a_user(window: int, slide: float) -> None:
    """Whatever its size, the window is a tail of the conversation, but for the task of its turn."""
    history: list[dict[str, Any]] = []
    for i in range(20):
        history += [
            user(f"q{i}"),
            used(f"a{i}"),
            result(f"a{i}"),
            used(f"b{i}"),
            result(f"b{i}"),
            assistant("yes"),
        ]
    agent = agent_of(
        [], messages=list(history), conversation_manager=SlidingWindowManager(window, slide=slide)
    )
    agent.conversation_manager.apply_management(agent)
    kept = agent.messages

    assert len(kept) <= max(window, 3)
    assert kept[1:] == history[-(len(kept) - 1) :]
    assert kept[0] in history
    assert kept[0]["role"] == "user"
    assert_valid(kept)
    assert agent.conversation_manager.removed_message_count == len(history) - len(kept)


def test_reused_call_ids_are_paired_with_the_newest_use() -> None:
    """A local model that gives every call the same id does not glue all rounds together."""
    messages = [user("go")]
    for _ in range(3):
        messages += [used("same"), result("same")]

    assert [cut.at for cut in cuts_of(messages)] == [0, 1, 3, 5]


def test_pinned_messages_stay_with_their_partners() -> None:
    """`pin_first` keeps the first messages for ever, and a word between where two users would meet."""
    history = [
        user("first"),
        *(m for i in range(30) for m in (assistant(f"a{i}"), user(f"u{i}"))),
        assistant("a"),
    ]
    agent = agent_of(
        ["done"], messages=list(history), conversation_manager=SlidingWindowManager(10, pin_first=1)
    )
    agent("next")

    assert agent.messages[0]["content"] == [{"text": "first"}]
    assert mark_of(agent.messages[1]) == "gap"
    assert len(agent.messages) <= 11
    assert_valid(agent.messages)


def test_per_turn_bounds_a_running_turn() -> None:
    """With `per_turn`, every model call of a long turn is within the window."""
    script = [[(f"t{i}", "add", {"a": i, "b": 1})] for i in range(30)]
    agent = agent_of([*script, "done"], conversation_manager=SlidingWindowManager(12, per_turn=True))
    agent("THE TASK")

    assert max(map(len, agent.model.seen)) <= 12
    assert all(seen[0]["content"] == [{"text": "THE TASK"}] for seen in agent.model.seen)
    for seen in agent.model.seen:
        assert_valid([*seen, assistant("x")] if "toolResult" in seen[-1]["content"][0] else seen)


# Budgets


def test_every_request_is_within_the_budget() -> None:
    """Whatever tools return, no model call gets more than `max_context_tokens`, tools and prompt included."""
    told: list[Reduced] = []
    manager = SlidingWindowManager(None, max_context_tokens=2000, token_counter=count, on_reduced=told.append)
    script = [[(f"t{i}", "page", {"number": i})] for i in range(40)]
    agent = agent_of([*script, "done"], conversation_manager=manager, system_prompt="p" * 400, tools=[page])
    agent("THE TASK " + "t" * 1000)
    weigh = Estimator(count)
    fixed = weigh.fixed("p" * 400, [page.tool_spec])

    assert max(fixed + weigh.messages(seen) for seen in agent.model.seen) <= 2000
    assert told
    assert all(r.reason == "budget" and r.tokens_after < r.tokens_before for r in told)
    assert all(r.tokens_after <= 2000 and not r.over_budget for r in told)
    assert len(told) < 20  # The window slides: not at each of the 40 calls.


def test_one_huge_tool_result_does_not_cost_the_history() -> None:
    """It is cut down to head and tail, and says so; everything else stays."""
    history = [user("q"), used("t"), result("t", "head " + "w " * 20_000 + "tail"), assistant("r")]
    agent = agent_of(
        ["ok"], messages=list(history), conversation_manager=SlidingWindowManager(max_context_tokens=1000)
    )
    agent("next")
    (seen,) = agent.model.seen
    text = seen[2]["content"][0]["toolResult"]["content"][0]["text"]

    assert kinds(seen) == ["user:text", "assistant:toolUse", "user:toolResult", "assistant:text", "user:text"]
    assert text.startswith("head ")
    assert text.endswith("tail")
    assert "characters are left out here" in text
    assert history[2]["content"][0]["toolResult"]["content"][0]["text"].count("w") == 20_000


def test_a_huge_newest_result_is_cut_down_and_not_dropped() -> None:
    """In a running turn the newest result is all there is to cut; media too large become a stand-in."""
    picture = {"image": {"format": "png", "source": {"bytes": png(1000, 1000)}}}
    messages = [user("q"), used("t"), result("t", "w " * 5000, picture)]
    manager = SlidingWindowManager(max_context_tokens=400, model="gpt-4o", proactive_threshold=0.5)
    agent = agent_of([], messages=messages, conversation_manager=manager, tools=[])
    manager.apply_management(agent)
    text = agent.messages[2]["content"][0]["toolResult"]["content"][0]["text"]

    assert "1 image" in text
    assert "10,000 characters" in text
    assert Estimator(model="gpt-4o").messages(agent.messages) <= 400


@pytest.mark.parametrize("stale", [None, 24])
def test_reductions_come_in_steps(stale: int | None) -> None:
    """Between two reductions the request only grows at its end: the prompt cache stays warm (law 11)."""
    manager = SlidingWindowManager(
        None, max_context_tokens=1500, compactable_after_messages=stale, per_turn=True
    )
    script = [[(f"t{i}", "page", {"number": i})] for i in range(60)]
    agent = agent_of([*script, "done"], conversation_manager=manager, tools=[page])
    agent("THE TASK")
    grown = [b[: len(a)] == a for a, b in pairwise(agent.model.seen)]

    assert 0 < grown.count(False) <= 20


def test_what_cannot_be_held_is_said() -> None:
    """A prompt larger than the budget is sent, flagged: the user's words are never cut."""
    told: list[Reduced] = []
    manager = SlidingWindowManager(max_context_tokens=100, token_counter=count, on_reduced=told.append)
    agent = agent_of(["ok"], conversation_manager=manager)
    agent("w" * 4000)

    assert [r.over_budget for r in told][:1] == [True]
    assert agent.model.seen[0][-1]["content"] == [{"text": "w" * 4000}]


def test_the_threshold_is_a_share_of_the_models_window() -> None:
    """`proactive_threshold` holds before the call, by an estimate that knows pictures."""
    picture = {
        "role": "user",
        "content": [{"image": {"format": "png", "source": {"bytes": png(1000, 1000)}}}],
    }
    history = [m for _ in range(10) for m in (picture, assistant("seen"))]
    manager = SlidingWindowManager(None, proactive_threshold=0.5, model="gpt-4o")
    agent = agent_of(["ok"], limit=8000, messages=history, conversation_manager=manager)
    agent("next")

    assert 0 < sum("image" in m["content"][0] for m in agent.model.seen[0]) <= 5


def test_stale_results_become_stand_ins_that_say_what_was_there() -> None:
    """Old tool results are replaced, recent ones and the calls stay; the agent's objects are not changed."""
    history = [*loop_of(6, "forty-two " * 50), assistant("done")]
    contents = [message["content"] for message in history]
    manager = SlidingWindowManager(None, compactable_after_messages=4, per_turn=True)
    agent = agent_of(["ok"], messages=list(history), conversation_manager=manager)
    agent("next")
    seen = agent.model.seen[0]
    texts = [b["toolResult"]["content"][0]["text"] for m in seen for b in m["content"] if "toolResult" in b]

    assert [text.startswith("[Left out") for text in texts] == [True] * 5 + [False]
    assert "result of add, 500 characters of text" in texts[0]
    assert "forty-two" in texts[0]
    assert [message["content"] for message in history] == contents
    assert_valid(seen)


def test_a_cycle_is_reduced_once() -> None:
    """Nothing is reduced again before a message has come, so an agent's own calls cost nothing twice."""
    told: list[Reduced] = []
    manager = SlidingWindowManager(10, slide=0.0, on_reduced=told.append)
    agent = agent_of([], messages=loop_of(30), conversation_manager=manager)
    for _ in range(3):
        manager.apply_management(agent)
        manager.reduce_context(agent)

    assert len(told) == 1


# Overflows


def test_an_overflow_shrinks_until_the_model_takes_it() -> None:
    """The provider's "too long" makes the history smaller each time, and the turn goes on."""
    told: list[Reduced] = []
    too_long = ContextWindowOverflowException("too long")
    history = [m for i in range(20) for m in (user(f"q{i} " + "x" * 200), assistant("y" * 200))]
    manager = SlidingWindowManager(None, on_reduced=told.append)
    agent = agent_of([too_long, too_long, "ok"], messages=history, conversation_manager=manager)
    outcome = agent("go")

    assert outcome.stop_reason == "end_turn"
    assert [r.reason for r in told] == ["overflow", "overflow"]
    assert len(agent.model.seen[0]) > len(agent.model.seen[1]) > len(agent.model.seen[2])


@pytest.mark.parametrize("manager", ["window", "summary"])
def test_an_overflow_that_nothing_can_mend_is_raised(manager: str) -> None:
    """With nothing to leave out, the provider's own exception comes back."""
    too_long = ContextWindowOverflowException("too long")
    made = SlidingWindowManager() if manager == "window" else SummarizingManager("extractive")
    agent = agent_of([too_long], conversation_manager=made)

    with pytest.raises(ContextWindowOverflowException) as raised:
        agent("go")

    assert raised.value is too_long


# Summaries


def talk(turns: int, start: int = 0) -> list[dict[str, Any]]:
    filler = "Some more words that say little about anything at all. " * 4
    return [
        m
        for i in range(start, start + turns)
        for m in (
            user(f"Order O-{1000 + i} must ship by Friday. {filler}"),
            assistant(f"Order O-{1000 + i} noted. {filler}"),
        )
    ]


def test_a_summary_stands_before_the_newest_messages() -> None:
    """What is left out is summarized by rules, in a user's message, within the budget."""
    told: list[Reduced] = []
    manager = SummarizingManager("extractive", max_context_tokens=1500, on_reduced=told.append)
    agent = agent_of(["ok"], messages=talk(20), conversation_manager=manager)
    agent("next")
    seen = agent.model.seen[0]

    assert "O-1000" in json.dumps(seen[0])
    assert seen[-1]["content"] == [{"text": "next"}]
    assert [(r.reason, r.summarized_by, r.over_budget) for r in told] == [("budget", "extractive", False)]
    assert Estimator(model="gpt-4o-mini").messages(seen) <= 1500
    assert_valid(seen)


def test_a_summary_is_never_summarized_again() -> None:
    """Each round reads the new messages alone; the ledger goes along as it is (law 8)."""
    read: list[list[dict[str, Any]]] = []

    def narrate(messages: list[dict[str, Any]]) -> str:
        read.append(messages)
        return f"The user named orders, round {len(read)}."

    manager = SummarizingManager(narrate, max_context_tokens=1500)
    agent = agent_of(["ok"] * 4, messages=talk(20), conversation_manager=manager)
    for n in range(4):
        agent("next")
        agent.messages.extend(talk(12, 100 * (n + 1)))
    orders = [
        json.dumps([m["content"] for m in messages if "Notes on what came before" not in str(m["content"])])
        for messages in read
    ]

    assert len(read) == 4
    assert all("left out" not in text and "earlier part" not in text for text in orders)
    assert sum("O-1000 must ship" in text for text in orders) == 1
    assert "O-1000" in json.dumps(agent.model.seen[-1][0])
    assert agent.conversation_manager.removed_message_count > 60


@pytest.mark.parametrize("answer", ["S" * 50_000, "", None])
def test_a_bad_summary_never_stands(answer: str | None) -> None:
    """One that is empty, no text, or longer than what it replaces is refused, said, and rules write."""
    told: list[Reduced] = []
    manager = SummarizingManager(lambda messages: answer, max_context_tokens=1500, on_reduced=told.append)  # type: ignore[arg-type,return-value]
    agent = agent_of(["ok"], messages=talk(20), conversation_manager=manager)
    agent("next")

    assert told[0].summarized_by == "extractive"
    assert told[0].rejections
    assert told[0].tokens_after < told[0].tokens_before
    assert "S" * 100 not in json.dumps(agent.messages)


def test_a_summarizer_that_raises_costs_nothing() -> None:
    """The turn goes on with the rules' summary; the failure is in the event."""
    told: list[Reduced] = []

    def down(messages: list[dict[str, Any]]) -> str:
        raise RuntimeError("provider down")

    agent = agent_of(
        ["ok"],
        messages=talk(20),
        conversation_manager=SummarizingManager(down, max_context_tokens=1500, on_reduced=told.append),
    )
    outcome = agent("next")

    assert outcome.stop_reason == "end_turn"
    assert [r.reason_code for r in told[0].rejections] == ["custom.failed"]


def test_a_summary_keeps_a_running_turns_task() -> None:
    """In a long tool loop the summary covers finished rounds; the task stays word for word."""
    manager = SummarizingManager("extractive", max_context_tokens=1200)
    agent = agent_of(
        ["ok"], messages=loop_of(30, "The file has 1234 lines. " * 10), conversation_manager=manager
    )
    manager.apply_management(agent)

    assert kinds(agent.messages)[:3] == ["user:text", "assistant:text", "user:text"]
    assert agent.messages[2] == user("THE TASK")
    assert_valid(agent.messages)


async def test_summaries_inside_a_running_loop() -> None:
    """`invoke_async` and an async summarizer work in one loop; nothing waits for itself."""

    async def narrate(messages: list[dict[str, Any]]) -> str:
        return "The user named orders."

    manager = SummarizingManager(narrate, max_context_tokens=1500)
    agent = agent_of(["ok"], messages=talk(20), conversation_manager=manager)
    outcome = await agent.invoke_async("next")

    assert outcome.stop_reason == "end_turn"
    assert "The user named orders." in json.dumps(agent.messages[0])


async def test_a_summary_at_the_end_of_a_turn_waits_for_the_next_call() -> None:
    """No turn of an event loop is blocked by a summary model: the next model call awaits it."""
    told: list[Reduced] = []
    manager = SummarizingManager("extractive", window_size=20, on_reduced=told.append)
    agent = agent_of(["ok", "ok"], messages=talk(20), conversation_manager=manager)
    await agent.invoke_async("one")
    assert told == []
    await agent.invoke_async("two")

    assert [r.reason for r in told] == ["window"]
    assert len(agent.model.seen[1]) <= 20
    assert_valid(agent.model.seen[1])


# State and settings


def test_state_survives_as_json() -> None:
    """Count and summary come back in another process, the summary before the messages."""
    manager = SummarizingManager("extractive", max_context_tokens=1500)
    agent = agent_of([], messages=talk(20), conversation_manager=manager)
    manager.apply_management(agent)
    state = json.loads(json.dumps(manager.get_state()))
    other = SummarizingManager("extractive", max_context_tokens=1500)

    assert other.restore_from_session(state) == [agent.messages[0]]
    assert other.removed_message_count == manager.removed_message_count > 0
    assert other.get_state() == manager.get_state()
    with pytest.raises(ValueError, match="Invalid conversation manager state"):
        SlidingWindowManager().restore_from_session(state)


@pytest.mark.parametrize(
    "setting",
    [
        {"window_size": 0},
        {"max_context_tokens": 0},
        {"compactable_after_messages": -1},
        {"proactive_threshold": 1.5},
        {"per_turn": 0},
        {"pin_first": -1},
        {"slide": 1.0},
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, Any]) -> None:
    """Each limit is checked where it is given."""
    with pytest.raises(ValueError, match=next(iter(setting))):
        SlidingWindowManager(**setting)


def test_a_failing_callback_costs_nothing() -> None:
    """What `on_reduced` raises is logged; the model call goes on."""

    def broken(done: Reduced) -> None:
        raise RuntimeError("mine")

    agent = agent_of(
        ["ok"],
        messages=loop_of(30),
        conversation_manager=SlidingWindowManager(10, per_turn=True, on_reduced=broken),
    )

    assert agent("next").stop_reason == "end_turn"


def test_without_strands_the_import_says_what_to_install() -> None:
    """A missing runtime is named, with the line that installs it."""
    code = "import sys; sys.modules['strands'] = None\nimport summarizer.integrations.strands"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "pip install 'longsplice[strands]'" in done.stderr
