"""The nodes for LangGraph, in graphs of one's own and as hooks of its prebuilt agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from guards import LoopPolicy, ToolSpec
from summarizer import SessionManager, open_store
from summarizer.errors import InvalidSetting
from tests.integrations.runtimes import needs, version_of

pytestmark = needs("langgraph", "langchain-core")

if version_of("langgraph") is not None and version_of("langchain-core") is not None:
    from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
    from langgraph.prebuilt import ToolNode, create_react_agent

    from summarizer.integrations.langgraph import LongspliceNodes, is_stopped
    from tests.integrations.langchain_agents import Scripted, calling, thread, turns

    class State(TypedDict, total=False):
        messages: Annotated[list[AnyMessage], add_messages]
        llm_input_messages: list[AnyMessage]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chats.db"


@pytest.fixture
def ran() -> list[Any]:
    """What the tool was called with."""
    return []


@pytest.fixture
def look(ran: list[Any]) -> Any:
    @tool
    def look(n: Any = None) -> str:
        """Look something up."""
        ran.append(n)
        return f"Stop {n} lies behind the old bridge; the road goes on for {n} km. " * 5

    return look


def nodes(store: Any, **given: Any) -> Any:
    given.setdefault("segmentation", "inline")
    return LongspliceNodes(store=store, **given)


def graph(memory: Any, model: Any, look: Any, saver: Any, *, key: str = "llm_input_messages") -> Any:
    """A loop of one's own: context, model, record, tools."""

    def ask(state: Any) -> Any:
        return {"messages": [model.invoke(state[key])]}

    def after(state: Any) -> str:
        return "tools" if state["messages"][-1].tool_calls else END

    def after_tools(state: Any) -> str:
        return END if is_stopped(state["messages"]) else "context"

    builder = StateGraph(State)
    builder.add_node("context", memory.before_model)
    builder.add_node("model", ask)
    builder.add_node("record", memory.after_model)
    wraps = {"wrap_tool_call": memory.wrap_tool_call, "awrap_tool_call": memory.awrap_tool_call}
    builder.add_node("tools", ToolNode([look], **wraps))
    builder.add_edge(START, "context")
    builder.add_edge("context", "model")
    builder.add_edge("model", "record")
    builder.add_conditional_edges("record", after, ["tools", END])
    builder.add_conditional_edges("tools", after_tools, ["context", END])
    return builder.compile(checkpointer=saver)


async def log_of(url: str, session_id: str = "t") -> SessionManager:
    return SessionManager(session_id, store=open_store(url), create=False)


async def roles(sm: SessionManager) -> list[str]:
    return [row["role"] for row in await sm.get_conversation()]


async def test_a_graph_of_ones_own_goes_on_through_segments_and_restarts(url: str, look: Any) -> None:
    """The model is sent little, the state keeps all, and a cold process goes on where the last one was."""
    model, saver = Scripted(turns(10)), InMemorySaver()
    for n in range(10):
        built = graph(nodes(open_store(url), token_threshold=500, tools=[look]), model, look, saver)
        said = [SystemMessage("Be brief.", id="s"), HumanMessage(f"How far is it on from stop {n}?")]
        state = await built.ainvoke({"messages": said}, thread("t"))
    sm = await log_of(url)
    stats = await sm.get_stats()

    assert len(state["messages"]) == 41
    assert max(map(len, model.requests)) <= 18
    assert all(request[0].content == "Be brief." for request in model.requests)
    assert model.requests[-1][1].content.startswith("[Notes on events")
    assert stats.session_segments >= 3
    assert len(await sm.tree()) == stats.session_segments
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"] * 10
    assert (await sm.get_messages_for_llm())[0] == {"role": "system", "content": "Be brief."}


async def test_the_state_can_be_rewritten(url: str, look: Any) -> None:
    """With output='messages' the state holds the summary and the rest, and later turns go on from there."""
    model, saver = Scripted(turns(10)), InMemorySaver()
    sizes: list[int] = []
    for n in range(10):
        memory = nodes(open_store(url), token_threshold=500, output="messages")
        built = graph(memory, model, look, saver, key="messages")
        state = await built.ainvoke({"messages": [HumanMessage(f"How far on from stop {n}?")]}, thread("t"))
        sizes.append(len(state["messages"]))
    sm = await log_of(url)
    stats = await sm.get_stats()

    assert max(sizes) <= 18
    assert stats.session_segments >= 3
    assert len(await sm.tree()) == stats.session_segments
    assert await roles(sm) == ["user", "assistant", "tool", "assistant"] * 10


async def test_a_stopped_loop_leads_to_the_end(url: str, look: Any, ran: list[Any]) -> None:
    """`is_stopped` tells an edge that the guard has ended the run."""

    def again(messages: Any) -> Any:
        return calling((f"c{len(messages)}", "look", {"n": 1}))

    policy = LoopPolicy(nudge_before=3, block_before=4, stop_before=5)
    memory = nodes(url, guard={"loop": policy}, tool_specs=[ToolSpec("look", replay=False)])
    state = await graph(memory, Scripted([again] * 5), look, InMemorySaver()).ainvoke(
        {"messages": [HumanMessage("go")]}, thread("t")
    )

    assert ran == [1, 1, 1]
    assert isinstance(state["messages"][-1], ToolMessage)
    assert state["messages"][-1].status == "error"
    assert await roles(await log_of(url)) == ["user", *["assistant", "tool"] * 5]


def test_synchronous_graphs_do_the_same(url: str, look: Any) -> None:
    """`invoke` runs the same nodes."""
    model = Scripted(turns(3))
    built = graph(nodes(url), model, look, InMemorySaver())
    for n in range(3):
        built.invoke({"messages": [HumanMessage(str(n))]}, thread("t"))

    async def told() -> list[str]:
        return await roles(await log_of(url))

    assert asyncio.run(told()) == ["user", "assistant", "tool", "assistant"] * 3


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
@pytest.mark.parametrize("output", ["llm_input_messages", "messages"])
async def test_the_prebuilt_agent_takes_them_as_hooks(url: str, look: Any, output: Any) -> None:
    """`pre_model_hook` and `post_model_hook` keep the agent's requests small, with usage in the log."""
    usage: Any = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    steps = [step.model_copy(update={"usage_metadata": usage}) for step in turns(8)]
    model = Scripted(steps)
    memory = nodes(url, token_threshold=500, tools=[look], output=output)
    agent = create_react_agent(
        model,
        [look],
        prompt="Be brief.",
        pre_model_hook=memory.before_model,
        post_model_hook=memory.after_model,
        checkpointer=InMemorySaver(),
    )
    for n in range(8):
        state = await agent.ainvoke({"messages": [HumanMessage(f"How far on from stop {n}?")]}, thread("t"))
    sm = await log_of(url)
    stats = await sm.get_stats()

    assert max(map(len, model.requests)) <= 18
    assert (len(state["messages"]) == 32) is (output == "llm_input_messages")
    assert stats.session_segments >= 3
    assert stats.input_tokens == 160
    assert len(await sm.tree()) == stats.session_segments


async def test_an_agent_that_shares_the_graphs_messages_goes_on_with_them(url: str, look: Any) -> None:
    """A subgraph that is run anew each turn on the same messages has one conversation, not many."""
    model = Scripted(turns(3))
    worker = graph(nodes(url), model, look, None)
    builder = StateGraph(MessagesState)
    builder.add_node("worker", worker)
    builder.add_edge(START, "worker")
    outer = builder.compile(checkpointer=InMemorySaver())
    for n in range(3):
        await outer.ainvoke({"messages": [HumanMessage(str(n))]}, thread("t"))
    rows = await open_store(url).list(None)

    assert len(rows) == 1
    assert rows[0].conversation_id.startswith("t/worker/")
    assert (
        await roles(await log_of(url, rows[0].conversation_id))
        == ["user", "assistant", "tool", "assistant"] * 3
    )


async def test_a_node_that_fails_is_run_again(url: str, look: Any) -> None:
    """A model that raises leaves the user's message in the log; resuming records nothing twice."""
    model, saver = Scripted([RuntimeError("down"), *turns(1)]), InMemorySaver()
    built = graph(nodes(open_store(url)), model, look, saver)
    with pytest.raises(RuntimeError, match="down"):
        await built.ainvoke({"messages": [HumanMessage("x")]}, thread("t"))
    assert await roles(await log_of(url)) == ["user"]
    await graph(nodes(open_store(url)), model, look, saver).ainvoke(None, thread("t"))

    assert await roles(await log_of(url)) == ["user", "assistant", "tool", "assistant"]


async def test_a_change_of_the_state_by_hand_is_a_fork(url: str, look: Any) -> None:
    """`update_state` that edits a message rewrites the history: the log keeps both versions."""
    model = Scripted([AIMessage("one"), AIMessage("two")])
    built = graph(nodes(url), model, look, InMemorySaver())
    await built.ainvoke({"messages": [HumanMessage("first", id="m1")]}, thread("t"))
    await built.aupdate_state(thread("t"), {"messages": [HumanMessage("first, edited", id="m1")]})
    await built.ainvoke({"messages": [HumanMessage("second")]}, thread("t"))
    sm = await log_of(url)
    (fork,) = [node.session_id for node in await sm.tree() if "^" in node.session_id]
    told = await (await log_of(url, fork)).get_conversation()

    assert [row["content"] for row in await sm.get_conversation()] == ["first", "one"]
    assert [row["content"] for row in told] == ["first, edited", "one", "second", "two"]


def test_an_unknown_output_is_refused(url: str) -> None:
    """The error names what there is."""
    with pytest.raises(InvalidSetting, match="llm_input_messages"):
        LongspliceNodes(store=url, output="elsewhere")  # type: ignore[arg-type]


def test_the_example_runs(tmp_path: Path) -> None:
    """The example prints that the state grew and the requests did not."""
    from tests.test_examples import run

    printed = run("langgraph_node.py", folder=tmp_path)

    assert "messages in the graph's state: 80" in printed
    assert "sessions in the log: 1" not in printed
