"""A LangGraph of your own: one node before the model, one behind it, and a guarded tool node.

python examples/langgraph_node.py  # no key, no network: a scripted model
"""

import asyncio
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.prebuilt import ToolNode

from summarizer import SessionManager
from summarizer.integrations.langgraph import LongspliceNodes, is_stopped

STORE = "sqlite:///langgraph.db"
sent: list[int] = []


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    llm_input_messages: list[AnyMessage]  # what the model is sent; replaced before each call


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: 21 degrees, a light wind from the west, no rain until the evening."


async def model(state: State) -> dict[str, Any]:
    """Stands in for a model: looks up the weather, then tells it. A real one gets the same list."""
    messages = state["llm_input_messages"]
    sent.append(len(messages))
    if isinstance(messages[-1], HumanMessage):
        call = {"name": "weather", "args": {"city": messages[-1].text}, "id": f"call_{len(sent)}"}
        return {"messages": [AIMessage("", tool_calls=[call])]}
    return {"messages": [AIMessage(f"As asked: {messages[-1].text}")]}


def after(state: State) -> str:
    """To the tools, if the answer calls some."""
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def build(memory: LongspliceNodes) -> Any:
    graph = StateGraph(State)
    graph.add_node("context", memory.before_model)
    graph.add_node("model", model)
    graph.add_node("record", memory.after_model)
    tools = ToolNode([weather], wrap_tool_call=memory.wrap_tool_call, awrap_tool_call=memory.awrap_tool_call)
    graph.add_node("tools", tools)
    graph.add_edge(START, "context")
    graph.add_edge("context", "model")
    graph.add_edge("model", "record")
    graph.add_conditional_edges("record", after, ["tools", END])
    graph.add_conditional_edges("tools", lambda state: END if is_stopped(state["messages"]) else "context")
    return graph.compile(checkpointer=InMemorySaver())


async def main() -> None:
    graph = build(LongspliceNodes(store=STORE, token_threshold=400, tools=[weather]))
    for n in range(20):
        city = ("Lisbon", "Porto", "Faro", "Braga")[n % 4]
        said = {"messages": [HumanMessage(f"{city} {n}")]}
        state = await graph.ainvoke(said, {"configurable": {"thread_id": "weather"}})
    print(f"messages in the graph's state: {len(state['messages'])}")
    print(f"most messages sent to the model: {max(sent)}")
    async with SessionManager("weather", store=STORE) as sm:
        print(f"sessions in the log: {(await sm.get_stats()).session_segments}")


if __name__ == "__main__":
    asyncio.run(main())
