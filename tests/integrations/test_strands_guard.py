"""The guard in a real Strands agent: loops, replays, references, people, faults."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from guards import Action, GroundingPolicy, PermissionPolicy, ToolSpec
from summarizer.errors import InvalidSetting, StoreUnavailable
from tests.integrations.runtimes import needs, version_of
from tests.test_examples import run

pytestmark = [needs("strands-agents"), pytest.mark.filterwarnings("ignore:context_window_limit is not set")]

if version_of("strands-agents") is not None:
    from strands import tool

    from summarizer import sync
    from summarizer.integrations.strands import (
        LongspliceGuard,
        LongspliceSessionManager,
        SlidingWindowManager,
        tool_flags,
    )
    from summarizer.integrations.strands.flags import spec_of
    from tests.integrations.strands_agents import agent_of, assert_valid, assistant, page, result, used, user

RUNS: list[Any] = []


@pytest.fixture(autouse=True)
def _runs() -> None:
    RUNS.clear()


if version_of("strands-agents") is not None:

    @tool_flags(read_only=True)
    @tool
    def stock(sku: str) -> str:
        """How many are left."""
        RUNS.append(sku)
        return json.dumps({"sku": sku, "left": 3})

    @tool
    @tool_flags(destructive=True, requires_confirmation=True)
    def refund(order: str, amount: float = 1.0) -> str:
        """Pay back."""
        RUNS.append((order, amount))
        return f"refunded {amount} of {order}"

    @tool
    def note(text: str) -> str:
        """Write something down."""
        RUNS.append(text)
        return "ok"

    @tool
    async def slow(seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        RUNS.append(seconds)
        return f"waited {seconds}"

    @tool
    def broken(x: int) -> str:
        """Raise."""
        raise ValueError(f"no {x}")


def guarded(script: list[Any], store: str = "memory://", **settings: Any) -> tuple[Any, Any]:
    """An agent with session and guard, and the session."""
    tools = settings.pop("tools", [stock, refund, note, slow, broken] if version_of("strands-agents") else [])
    session = LongspliceSessionManager("s", store=store)
    settings.setdefault("grounding", GroundingPolicy(mode="off"))
    agent = agent_of(
        script, tools=tools, session_manager=session, hooks=[LongspliceGuard(session, **settings)]
    )
    return agent, session


def results(agent: Any) -> list[tuple[str, str]]:
    return [
        (b["toolResult"]["status"], b["toolResult"]["content"][0]["text"])
        for m in agent.messages
        for b in m["content"]
        if "toolResult" in b
    ]


def call(name: str, /, *ids: str, **arguments: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(call_id, name, arguments) for call_id in ids]


def test_an_equal_call_is_replayed_as_a_success() -> None:
    """A read-only tool runs once; the second answer is the first one's, and no error."""
    agent, _ = guarded([call("stock", "a", sku="A-7"), call("stock", "b", sku="A-7"), "3"])
    agent("How many A-7?")
    (first, second) = results(agent)

    assert RUNS == ["A-7"]
    assert (first[0], second[0]) == ("success", "success")
    assert json.loads(first[1])["left"] == 3
    assert '"left":3' in second[1]


def test_equal_calls_at_once_run_once() -> None:
    """Of parallel equal calls one runs; both are answered (law 21)."""
    agent, _ = guarded([call("stock", "a", "b", "c", sku="A-7"), "3"])
    agent("How many A-7?")

    assert RUNS == ["A-7"]
    assert [status for status, _ in results(agent)] == ["success"] * 3


def test_a_loop_ends_the_turn_cleanly() -> None:
    """The tool is refused first, then the agent's turn ends, and says why; the history stays valid."""
    agent, session = guarded([*(call("note", f"n{i}", text="same") for i in range(40)), "never"])
    outcome = agent("Write same.")

    assert outcome.stop_reason == "end_turn"
    assert outcome.state["longsplice"]["stopped"].startswith("loop.")
    assert outcome.state["longsplice"]["tool"] == "note"
    assert len(RUNS) < 6
    assert len(agent.model.seen) < 12
    assert_valid([*agent.messages, user("x")])
    assert agent.messages[-1]["role"] == "assistant"
    assert session.run(lambda sm: sm.get_conversation())[-1]["role"] == "assistant"
    agent.model.script[:] = ["fine"]
    assert str(agent("Thanks.")).strip() == "fine"


def test_references_are_numbered_by_the_order_of_the_calls() -> None:
    """`$v1` is the first call's result though it ends last; references resolve in later arguments."""
    agent, session = guarded(
        [
            [("a", "slow", {"seconds": 0.2}), ("b", "slow", {"seconds": 0.01})],
            call("note", "c", text="$v1"),
            "done",
        ]
    )
    agent("Wait twice.")

    assert RUNS == [0.01, 0.2, "waited 0.2"]
    assert [text for _, text in results(agent)][:2] == ["waited 0.2", "waited 0.01"]
    bindings = session.run(lambda sm: sm.tools.open()).bindings
    assert bindings.get("v2").value == "waited 0.01"


def test_json_results_are_bound_as_values() -> None:
    """A part of a JSON result is passed on with its type."""
    agent, _ = guarded(
        [call("stock", "a", sku="A-7"), call("refund", "b", order="$v1.sku", amount="$v1.left"), "ok"],
        confirm=lambda verdict: True,
    )
    agent("Refund A-7.")

    assert RUNS == ["A-7", ("A-7", 3.0)]


def test_tools_run_at_once() -> None:
    """The guard does not put calls in a row: forty tools that wait take the time of one."""
    calls = [(f"c{i}", "slow", {"seconds": 0.3 + i / 1e6}) for i in range(40)]
    agent, _ = guarded([calls, "done"])
    began = time.monotonic()
    agent("Wait.")

    assert len(RUNS) == 40
    assert time.monotonic() - began < 4


def test_a_tool_that_raises_is_told_and_bound_to_nothing() -> None:
    """The model reads the error, the log has it, and the agent goes on."""
    agent, session = guarded([call("broken", "a", x=1), "sorry"])
    outcome = agent("Try.")

    assert outcome.stop_reason == "end_turn"
    assert results(agent) == [("error", "The tool failed: ValueError: no 1")]
    assert session.run(lambda sm: sm.get_conversation())[2]["content"] == "The tool failed: ValueError: no 1"


def test_a_middleware_that_raises_or_says_nothing_harms_no_other_call() -> None:
    """Another plugin's fault is that call's error; the rest of the round goes on."""
    from strands.middleware import ExecuteToolStage

    agent, session = guarded([[*call("note", "a", text="x"), *call("stock", "b", sku="A-7")], "ok"])

    async def faulty(context: Any, next_fn: Any) -> Any:
        if context.tool_use["name"] == "note":
            return
        async for event in next_fn(context):
            yield event

    agent.add_middleware(ExecuteToolStage, faulty)
    outcome = agent("Go.")

    assert outcome.stop_reason == "end_turn"
    assert [status for status, _ in results(agent)] == ["error", "success"]
    assert [r["role"] for r in session.run(lambda sm: sm.get_conversation())].count("tool") == 2


def test_an_argument_may_have_any_name() -> None:
    """`self` and `name` are names like any other."""

    @tool
    def odd(name: str, arguments: str, call_id: str) -> str:
        """Odd."""
        return name + arguments + call_id

    agent, _ = guarded([call("odd", "a", name="1", arguments="2", call_id="3", self="4"), "ok"], tools=[odd])
    agent("Go.")

    assert results(agent) == [("success", "123")]


def test_an_unknown_tool_is_an_error() -> None:
    """A name that no tool has is answered by Strands, and recorded."""
    agent, _ = guarded([call("nothing", "a", x=1), "sorry"])
    agent("Try.")

    assert results(agent)[0][0] == "error"
    assert "nknown tool" in results(agent)[0][1]


def test_results_with_media_keep_them() -> None:
    """The text is guarded, the picture stays beside it, also after a restart."""
    picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}

    @tool
    def look(at: str) -> dict[str, Any]:
        """See."""
        return {"status": "success", "content": [{"text": "a cat"}, picture]}

    agent, _ = guarded([call("look", "a", at="it"), "a cat"], "memory://media", tools=[look])
    agent("Look.")
    again, _ = guarded([], "memory://media", tools=[look])

    assert agent.messages[2]["content"][0]["toolResult"]["content"] == [{"text": "a cat"}, picture]
    assert again.messages[2]["content"] == agent.messages[2]["content"]


def test_media_of_reused_call_ids_stay_apart() -> None:
    """What is kept verbatim belongs to one result, not to every result of its call id."""

    @tool
    def look(at: str) -> dict[str, Any]:
        """See."""
        picture = {"image": {"format": "png", "source": {"bytes": at.encode()}}}
        return {"status": "success", "content": [{"text": at}, picture]}

    script = [call("look", "same", at="one"), call("look", "same", at="two"), "done"]
    agent, _ = guarded(script, "memory://reused", tools=[look])
    agent("Look.")
    again, _ = guarded([], "memory://reused", tools=[look])

    assert [m["content"] for m in again.messages] == [m["content"] for m in agent.messages]


# People


def test_a_call_that_needs_a_person_is_asked_for() -> None:
    """`requires_confirmation` asks `confirm`; a refusal is what the model reads."""
    asked: list[Any] = []

    async def confirm(verdict: Any) -> bool:
        asked.append((verdict.name, verdict.arguments))
        return len(asked) == 1

    agent, _ = guarded(
        [call("refund", "a", order="O-1"), call("refund", "b", order="O-2"), "ok"], confirm=confirm
    )
    agent("Refund O-1 and O-2.")

    assert [name for name, _ in asked] == ["refund", "refund"]
    assert RUNS == [("O-1", 1.0)]
    assert [status for status, _ in results(agent)] == ["success", "error"]


@pytest.mark.parametrize(
    ("response", "runs_it"), [("approve", True), (True, True), ("too much money", False)]
)
def test_a_confirmation_outlives_the_process(tmp_path: Path, response: Any, runs_it: bool) -> None:
    """Without `confirm` the agent stops with an interrupt; another process takes the answer and goes on."""
    store = f"sqlite:///{tmp_path / 'log.db'}"
    script = [[("a", "refund", {"order": "O-1"}), ("b", "note", {"text": "x"})]]
    agent, _ = guarded(script, store)
    outcome = agent("Refund O-1, note x.")
    assert outcome.stop_reason == "interrupt"
    assert outcome.interrupts[0].reason["tool"] == "refund"
    assert RUNS == ["x"]
    sync.close()

    again, session = guarded(["done"], store)
    answer = {"interruptResponse": {"interruptId": outcome.interrupts[0].id, "response": response}}
    finished = again([answer])

    assert finished.stop_reason == "end_turn"
    assert (("O-1", 1.0) in RUNS) is runs_it
    assert RUNS.count("x") == 1
    assert_valid(again.model.seen[0])
    said = json.dumps(again.model.seen[0])
    assert ("refunded 1.0 of O-1" in said) is runs_it
    assert ("too much money" in said) is not runs_it
    assert [r["role"] for r in session.run(lambda sm: sm.get_conversation())].count("tool") == 2


def test_a_policy_decides() -> None:
    """The hook sees call and flags, and may allow, ask or refuse."""

    def policy(pending: Any, spec: ToolSpec) -> Action | None:
        if pending.name == "note":
            return Action.BLOCK
        return Action.ALLOW if spec.requires_confirmation else None

    agent, _ = guarded([call("note", "a", text="x"), call("refund", "b", order="O-1"), "ok"], policy=policy)
    agent("Go.")

    assert RUNS == [("O-1", 1.0)]
    assert [status for status, _ in results(agent)] == ["error", "success"]


def test_denied_tools_do_not_run() -> None:
    """`PermissionPolicy` goes to the guard as it is."""
    agent, _ = guarded([call("note", "a", text="x"), "ok"], permissions=PermissionPolicy(deny=("note",)))
    agent("Go.")

    assert RUNS == []
    assert results(agent)[0][0] == "error"


def test_flags_stay_on_the_tool() -> None:
    """Above or below `@tool`, on methods, and on tools of others; the tool still works by hand."""

    class Desk:
        @tool_flags(destructive=True)
        @tool
        def close(self, order: str) -> str:
            """Close."""
            return order

    assert spec_of(stock).read_only
    assert spec_of(refund).requires_confirmation
    assert spec_of(refund).destructive
    assert spec_of(Desk().close).destructive
    assert tool_flags(note, idempotent=True) is note
    assert spec_of(note).idempotent
    assert stock(sku="x") == json.dumps({"sku": "x", "left": 3})
    with pytest.raises(ValueError, match="read_only and destructive"):
        tool_flags(read_only=True, destructive=True)
    with pytest.raises(TypeError, match="hologram"):
        tool_flags(hologram=True)


def test_mcp_annotations_only_make_the_guard_more_careful() -> None:
    """A server's word that a tool destroys counts; its word that it only reads does not."""

    class Foreign:
        tool_name = "x"

        def __init__(self, **annotations: bool) -> None:
            self.tool_spec = {"name": "x", "inputSchema": {}, "annotations": annotations}

    assert spec_of(Foreign(readOnlyHint=True)).read_only is None
    assert spec_of(Foreign(destructiveHint=True)).destructive is True


# Sessions and faults


def test_a_whole_life(tmp_path: Path) -> None:
    """Tool calls, several segmentations, a restart in the middle and a stopped loop, in one session."""
    settings: dict[str, Any] = {"token_threshold": 500, "segmentation": "inline"}
    store = f"sqlite:///{tmp_path / 'log.db'}"

    def opened(script: list[Any]) -> tuple[Any, Any]:
        session = LongspliceSessionManager("s", store=store, **settings)
        manager = SlidingWindowManager(None, max_context_tokens=3000, compactable_after_messages=8)
        hooks = [LongspliceGuard(session)]
        tools = [page, note, stock]
        agent = agent_of(
            script, tools=tools, session_manager=session, conversation_manager=manager, hooks=hooks
        )
        return agent, session

    reading = [call("page", f"p{i}", number=i) for i in range(12)]
    agent, _ = opened([*reading[:6], RuntimeError("down")])
    with pytest.raises(Exception, match="down"):
        agent("Read the pages 0 to 11 of order O-4711.")
    sync.close()
    again, session = opened([*reading[6:], "read", *(call("note", f"n{i}", text="same") for i in range(30))])
    assert str(again("Go on.")).strip() == "read"
    stopped = again("Write it down.")
    rows = session.run(lambda sm: sm.get_conversation())
    told = [r["content"] for r in rows if r["role"] == "tool"][:12]

    assert stopped.state["longsplice"]["stopped"].startswith("loop.")
    assert len(session.run(lambda sm: sm.get_session_chain())) >= 3
    assert [f"Page {i}:" in text for i, text in enumerate(told)] == [True] * 12
    assert session.run(lambda sm: sm.tools.open()).bindings.get("v12").value.startswith("Page 11")
    for model in (agent.model, again.model):
        for seen in model.seen:
            assert_valid(seen)
            assert "O-4711" in json.dumps(seen, default=str)


def test_the_guard_survives_a_restart(tmp_path: Path) -> None:
    """Bindings, replays and loop counts go on in the next process."""
    store = f"sqlite:///{tmp_path / 'log.db'}"
    agent, _ = guarded([call("stock", "a", sku="A-7"), "3"], store)
    agent("How many A-7?")
    sync.close()
    again, _ = guarded([call("stock", "b", sku="A-7"), call("note", "c", text="$v1.sku"), "3"], store)
    again("And now?")

    assert RUNS == ["A-7", "A-7"]
    assert [status for status, _ in results(again)] == ["success"] * 3
    assert_valid(again.model.seen[-1])


def test_a_guard_without_a_session_books_usage() -> None:
    """Its own session in memory has tokens and cost of each model call, and the earlier messages."""
    guard = LongspliceGuard()
    history = [user("hi"), used("z", "note", {"text": "q"}), result("z"), assistant("ok")]
    agent = agent_of([call("stock", "a", sku="A-7"), "3"], tools=[stock], hooks=[guard], messages=history)
    outcome = agent("How many?")
    stats = guard.session.run(lambda sm: sm.get_stats())

    assert stats.input_tokens == outcome.metrics.accumulated_usage["inputTokens"]
    assert stats.estimated_cost > 0
    assert RUNS == ["A-7"]


def test_the_hosts_own_calls_are_not_guarded() -> None:
    """`agent.tool.name(...)` runs as it is, and is recorded once."""
    agent, session = guarded(["ok"])
    agent.tool.note(text="mine")
    agent("Go on.")
    roles = [r["role"] for r in session.run(lambda sm: sm.get_conversation())]

    assert RUNS == ["mine"]
    assert roles.count("tool") == 1


async def test_a_cancelled_run_closes_its_calls() -> None:
    """Cancelled while a tool runs: the call is answered in the log, and the session goes on."""
    agent, _ = guarded([call("slow", "a", seconds=30), "never"], "memory://cancelled")
    task = asyncio.create_task(agent.invoke_async("Wait."))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    again, other = guarded(["back"], "memory://cancelled")
    outcome = await again.invoke_async("Are you there?")
    rows = await asyncio.to_thread(lambda: other.run(lambda sm: sm.get_conversation()))

    assert outcome.stop_reason == "end_turn"
    assert RUNS == []
    assert "cancelled" in json.dumps([r["content"] for r in rows if r["role"] == "tool"])


def test_agent_cancel_leaves_a_valid_history() -> None:
    """`agent.cancel()` between tools ends the run with Strands' own stop reason."""
    agent, session = guarded(
        [call("stopper", "a", x=1), call("note", "b", text="late"), "never"], tools=[note]
    )

    @tool
    def stopper(x: int) -> str:
        """Stop."""
        agent.cancel()
        return "stopping"

    agent.tool_registry.process_tools([stopper])
    outcome = agent("Stop.")

    assert outcome.stop_reason == "cancelled"
    assert RUNS == []
    assert [r["role"] for r in session.run(lambda sm: sm.get_conversation())][:3] == [
        "user",
        "assistant",
        "tool",
    ]


def test_a_retried_model_call_numbers_nothing_twice() -> None:
    """A model that fails once and is called again by the host: each call is recorded once."""
    agent, session = guarded([RuntimeError("down"), call("stock", "a", sku="A-7"), "3"])
    with pytest.raises(Exception, match="down"):
        agent("How many A-7?")
    agent("How many A-7?")
    bindings = session.run(lambda sm: sm.tools.open()).bindings

    assert [b.id for b in bindings] == ["v1"]
    assert [r["role"] for r in session.run(lambda sm: sm.get_conversation())] == [
        "user",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_guard_of_another_session_is_refused() -> None:
    """Session and guard of an agent are of one conversation, or the agent cannot be made."""
    guard = LongspliceGuard(LongspliceSessionManager("other", store="memory://"))

    with pytest.raises(InvalidSetting, match="'other' is not that of agent 'default'"):
        agent_of([], hooks=[guard])


def test_a_store_that_fails_stops_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that cannot be written down does not run, and the failure is not a success."""
    agent, session = guarded([call("refund", "a", order="O-1"), "never"], confirm=lambda verdict: True)
    store = session.run(_store_of)

    async def down(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("gone")

    agent.model.script[0] = lambda messages: (
        monkeypatch.setattr(store, "append", down) or call("refund", "a", order="O-1")
    )
    with pytest.raises(Exception, match="gone"):
        agent("Refund O-1.")

    assert RUNS == []


async def _store_of(sm: Any) -> Any:
    return sm.store


def test_the_example_runs(tmp_path: Path) -> None:
    """It asks a person, goes on in another process, and stops a loop."""
    printed = run("strands_agents.py", folder=tmp_path)

    assert "stopped: interrupt; asked for refund {'order_id': 'O-1', 'amount': 12.5}" in printed
    assert "another process: It is paid back." in printed
    assert "stopped: end_turn because of loop.repeat" in printed


def test_reused_call_ids_do_no_harm() -> None:
    """A local model that gives every call the same id: each is run and answered."""
    agent, session = guarded([call("note", "same", text="1"), call("note", "same", text="2"), "done"])
    agent("Note 1 and 2.")

    assert RUNS == ["1", "2"]
    assert [r["role"] for r in session.run(lambda sm: sm.get_conversation())].count("tool") == 2
